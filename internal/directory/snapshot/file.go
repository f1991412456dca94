package snapshot

import (
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"runtime"

	"backstop/internal/safefile"
)

// Write replaces the file at path by this set, for its owner alone to read (mode 0600). A crash
// leaves the old file or the new one, whole.
func (s *Set) Write(path string) error {
	defer runtime.KeepAlive(s.t)
	head, err := appendHeader(nil, s)
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	return safefile.Write(path, func(w io.Writer) error {
		if _, err := w.Write(head); err != nil {
			return err
		}
		_, err := w.Write(s.t.mem)
		return err
	}, 0o600)
}

// Open reads and checks the whole file and returns its set, which from then on needs
// the file no more. key is the zero Key, or the one that was handed to NewBuilder. The
// error wraps ErrDamaged, ErrVersion, ErrKey, or what the system said.
func Open(path string, key Key) (*Set, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: %w", path, damaged("it is no plain file"))
	}
	s, err := read(f, info.Size(), key)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// Origin reads of the file no more than its header and returns what Set.Origin would.
func Origin(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	h, _, err := readHeader(f, info.Size())
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return h.set.origin, nil
}

// readHeader reads the header of a snapshot that has so many octets.
func readHeader(r io.Reader, octets int64) (h *header, size int, err error) {
	start := make([]byte, 16)
	if _, err := io.ReadFull(r, start); err != nil {
		return nil, 0, short(err)
	}
	size, err = headerSize(start)
	if err != nil {
		return nil, 0, err
	}
	if int64(size) > octets {
		return nil, 0, damaged("it ends too soon")
	}
	b := make([]byte, size)
	copy(b, start)
	if _, err := io.ReadFull(r, b[16:]); err != nil {
		return nil, 0, short(err)
	}
	h, err = parseHeader(b)
	return h, size, err
}

// short turns the end of the file where none should be into what it means.
func short(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return damaged("it ends too soon")
	}
	return err
}

// read reads a snapshot that has so many octets.
func read(r io.Reader, octets int64, key Key) (*Set, error) {
	h, size, err := readHeader(r, octets)
	if err != nil {
		return nil, err
	}
	if uint64(octets) != uint64(size)+h.slots*slotSize {
		return nil, damaged("it has %d octets and should have %d", octets, uint64(size)+h.slots*slotSize)
	}
	s := &h.set
	if s.apart = !h.inside; s.apart || key != (Key{}) {
		s.key = key
	}
	if string(proof(s.key)) != string(h.proof[:]) {
		return nil, ErrKey
	}
	t, err := newTable(h.slots - spare)
	if err != nil {
		return nil, err
	}
	t.places, t.n = h.places, h.n
	if err := fill(t, r, h.sums); err != nil {
		t.free()
		return nil, err
	}
	s.t = t
	return s.withLocals(), nil
}

// fill reads the table, and checks each piece while the processor still has it at hand.
func fill(t *table, r io.Reader, sums []uint32) error {
	c := checker{t: t}
	for i, from := 0, 0; from < len(t.mem); i++ {
		to := min(from+pieceSize, len(t.mem))
		if _, err := io.ReadFull(r, t.mem[from:to]); err != nil {
			return short(err)
		}
		if crc32.Checksum(t.mem[from:to], castagnoli) != sums[i] {
			return damaged("the checksum of its octets %d to %d of the table is wrong", from, to-1)
		}
		if !c.check(uint64(to) / slotSize) {
			return damaged("its entries stand in the wrong order")
		}
		from = to
	}
	if c.count != t.n {
		return damaged("it has %d entries and should have %d", c.count, t.n)
	}
	return nil
}
