package snapshot

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// refused says that nothing may be concluded from these octets.
func refused(t *testing.T, file []byte, what string, at int) {
	t.Helper()
	s, err := read(bytes.NewReader(file), int64(len(file)), Key{})
	if s != nil || !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrVersion) {
		t.Fatalf("%s at octet %d of %d: %v, %v", what, at, len(file), s, err)
	}
}

func octetsOf(tb testing.TB, s *Set) []byte {
	tb.Helper()
	file, err := os.ReadFile(written(tb, s))
	if err != nil {
		tb.Fatal(err)
	}
	return file
}

func TestEveryFlippedOctetIsNoticed(t *testing.T) {
	file := octetsOf(t, users(t, Key{}, 30, 30))
	for i := range file {
		for _, flip := range []byte{1, 2, 4, 8, 16, 32, 64, 128, 255} {
			file[i] ^= flip
			refused(t, file, "flipped", i)
			file[i] ^= flip
		}
	}
	if _, err := read(bytes.NewReader(file), int64(len(file)), Key{}); err != nil {
		t.Fatal(err) // or the test would have shown nothing
	}
}

func TestRandomFlipsOfALargerFile(t *testing.T) {
	n, flips := 60_000, 10_000 // two pieces
	if testing.Short() {
		flips = 500
	}
	file := octetsOf(t, users(t, Key{}, n, n))
	random := rand.New(rand.NewPCG(1, 2))
	for range flips {
		i, flip := random.IntN(len(file)), byte(1+random.IntN(255))
		file[i] ^= flip
		refused(t, file, "flipped", i)
		file[i] ^= flip
	}
	if _, err := read(bytes.NewReader(file), int64(len(file)), Key{}); err != nil {
		t.Fatal(err)
	}
}

func TestEveryOtherLengthIsNoticed(t *testing.T) {
	file := octetsOf(t, users(t, Key{}, 30, 30))
	for n := range file {
		refused(t, file[:n], "cut", n)
	}
	for n := 1; n < 100; n++ {
		refused(t, append(bytes.Clone(file), make([]byte, n)...), "grown", n)
	}
	// The size is asked first, and the file is cut while it is read.
	for _, n := range []int{3, 100, 200, len(file) - 1} {
		if s, err := read(bytes.NewReader(file[:n]), int64(len(file)), Key{}); s != nil || !errors.Is(err, ErrDamaged) {
			t.Errorf("cut to %d while it was read: %v", n, err)
		}
	}
}

// sealed repairs the checksums of a file that was changed, as a writer with a fault would.
func sealed(file []byte) []byte {
	size, err := headerSize(file[:16])
	if err != nil || size > len(file) {
		return file
	}
	le := binary.LittleEndian
	table := file[size:]
	if at := size - 4 - 4*int(pieces(uint64(len(table)))); at >= 16 {
		for len(table) > 0 {
			piece := table[:min(len(table), pieceSize)]
			le.PutUint32(file[at:], crc32.Checksum(piece, castagnoli))
			at += 4
			table = table[len(piece):]
		}
	}
	le.PutUint32(file[size-4:], crc32.Checksum(file[:size-4], castagnoli))
	return file
}

// Also one whose checksums are right is refused when a search in it could end too soon.
func TestWrongOrderIsNoticed(t *testing.T) {
	s := users(t, Key{}, 300, 300)
	file := octetsOf(t, s)
	size := len(file) - len(s.t.mem)
	slot := func(i int) []byte { return file[size+i*slotSize:][:slotSize] }
	used := func(i int) bool { return slotAt(s.t.mem, uint64(i)).lo != 0 }
	moved := 0
	for i := range int(s.t.slots()) - 1 {
		a, b := bytes.Clone(slot(i)), bytes.Clone(slot(i+1))
		if !used(i) || !used(i+1) && s.t.place(slotAt(s.t.mem, uint64(i)).hi) == uint64(i) && i%2 == 0 {
			continue
		}
		copy(slot(i), b)
		copy(slot(i+1), a)
		refused(t, sealed(file), "moved", i)
		copy(slot(i), a)
		copy(slot(i+1), b)
		copy(slot(i), make([]byte, slotSize))
		refused(t, sealed(file), "lost", i)
		copy(slot(i), a)
		moved++
	}
	if moved < 100 {
		t.Errorf("only %d entries were moved", moved)
	}
	if _, err := read(bytes.NewReader(sealed(file)), int64(len(file)), Key{}); err != nil {
		t.Fatal(err)
	}
}

func TestNoSnapshot(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(filepath.Join(dir, "none"), Key{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
	if _, err := Open(dir, Key{}); !errors.Is(err, ErrDamaged) {
		t.Errorf("a folder: %v", err)
	}
	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, []byte("ann@example.com\nbob@example.com\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(text, Key{}); !errors.Is(err, ErrDamaged) {
		t.Errorf("a text: %v", err)
	}
	if err := users(t, Key{}, 1, 1).Write(filepath.Join(dir, "none", "set")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

func FuzzOpen(f *testing.F) {
	small, locals := octetsOf(f, users(f, Key{}, 3, 3)), octetsOf(f, users(f, Key{9}, 0, 0))
	f.Add(small, true, 0, byte(1))
	f.Add(small, false, 100, byte(0))
	f.Add(small, true, 56, byte(1))
	f.Add(small, true, 64, byte(0x80))
	f.Add(small, true, 108, byte(2))
	f.Add(locals, true, 12, byte(3))
	f.Fuzz(func(t *testing.T, file []byte, seal bool, at int, flip byte) {
		file = bytes.Clone(file)
		if at >= 0 && at < len(file) {
			file[at] ^= flip
		}
		if seal && len(file) > fixedSize+4 {
			file = sealed(file)
		}
		s, err := read(bytes.NewReader(file), int64(len(file)), Key{})
		if err != nil {
			return
		}
		found := 0
		for i := range s.t.slots() { // whatever was opened finds all that it holds
			if h := slotAt(s.t.mem, i); h.lo != 0 {
				if !s.t.has(h) {
					t.Fatalf("entry %d is not found", i)
				}
				found++
			}
		}
		if found != s.Len() {
			t.Fatalf("%d entries, says %d", found, s.Len())
		}
		s.Has("ann@example.com")
		s.Domains()
	})
}
