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
		for rest := s.t.mem; len(rest) > 0; {
			n, err := w.Write(rest[:min(len(rest), ioSize)])
			if err != nil {
				return err
			}
			rest = rest[n:]
			runtime.Gosched() // as rest does
		}
		return nil
	}, 0o600)
}

// ioSize is how many octets are read and written at a time. Of a call that takes longer than some microseconds
// the runtime takes notice only after up to 20 ms, and goroutines that stand behind this one wait until then.
const ioSize = 64 << 10

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
	s, err := head(path)
	if err != nil {
		return "", err
	}
	return s.origin, nil
}

// Domains reads of the file no more than its header and returns what Set.Domains would. That
// the rest is damaged it does not notice.
func Domains(path string) (byName []Domain, others uint64, err error) {
	s, err := head(path)
	if err != nil {
		return nil, 0, err
	}
	return s.domains, s.others, nil
}

// head is the set in the file without its table.
func head(path string) (*Set, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	h, _, err := readHeader(f, info.Size())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &h.set, nil
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
	sum := uint32(0)
	for from := 0; from < len(t.mem); {
		to := min(from+ioSize, len(t.mem))
		for i := from; i < to; i += 4096 {
			t.mem[i] = 0 // has the page made here, and not in the call below, which is to be short
		}
		if _, err := io.ReadFull(r, t.mem[from:to]); err != nil {
			return short(err)
		}
		sum = crc32.Update(sum, castagnoli, t.mem[from:to])
		if piece := (to - 1) / pieceSize; to%pieceSize == 0 || to == len(t.mem) {
			if sum != sums[piece] {
				return damaged("the checksum of its octets %d to %d of the table is wrong", piece*pieceSize, to-1)
			}
			if !c.check(uint64(to) / slotSize) {
				return damaged("its entries stand in the wrong order")
			}
			sum = 0
		}
		from = to
		runtime.Gosched() // as rest does
	}
	if c.count != t.n {
		return damaged("it has %d entries and should have %d", c.count, t.n)
	}
	return nil
}
