package snapshot

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"runtime"
	"time"
)

// The file, version 1. All numbers have their lowest octet first.
//
//	octets       what
//	8            magic
//	4            version
//	4            octets of the header, its checksum included
//	4            1: the key stands here; 0: it was handed in
//	4            nothing
//	16           the key, or zeros
//	16           hash of keyProof under the key, so that another key is noticed
//	8 8 8        entries, places, slots
//	8            when the source was read, nanoseconds since 1970
//	8            entries in domains that have no line below
//	4 4 4        octets of the origin, domains, pieces
//	             the origin
//	8 2 name     a domain: its entries, octets of its name, name
//	4            a piece: CRC-32C of so many octets of the table (pieceSize; the last one may be shorter)
//	4            CRC-32C of all of the header before
//	             the table: 16 octets a slot
const (
	magic     = "backsnap"
	version   = 1
	fixedSize = 116
	pieceSize = 1 << 20
	maxHeader = 64 << 20
	keyProof  = "\x00the key of this snapshot" // no address has a zero octet
)

// castagnoli: both kinds of processor that matter compute it faster than memory delivers.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var (
	// ErrDamaged is wrapped by the error of Open when the file is not as it was written: cut
	// short, grown, or changed in any octet. Nothing may be concluded from it.
	ErrDamaged = errors.New("the snapshot is damaged")
	// ErrVersion is wrapped when the file is of a version that this program does not read.
	ErrVersion = errors.New("the snapshot is of another version")
	// ErrKey is wrapped when the key that was handed in is not the one the file was made with.
	ErrKey = errors.New("the snapshot was made with another key")
)

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrDamaged, fmt.Sprintf(format, args...))
}

func proof(key Key) []byte { return sum(key, keyProof).Append(nil) }

func pieces(octets uint64) uint64 { return (octets + pieceSize - 1) / pieceSize }

// header is all that stands before the table.
type header struct {
	set    Set // all but its table
	inside bool
	proof  [16]byte
	n      uint64
	places uint64
	slots  uint64
	sums   []uint32 // of the pieces
}

var errTooLong = errors.New("origin and domain names are too long for a snapshot")

// appendHeader encodes the header of a set, for which it reads the whole table.
func appendHeader(b []byte, s *Set) ([]byte, error) {
	le := binary.LittleEndian
	b = append(b, magic...)
	b = le.AppendUint32(b, version)
	b = le.AppendUint32(b, 0) // the header's size, below
	key, inside := s.key, uint32(1)
	if s.apart {
		key, inside = Key{}, 0
	}
	b = le.AppendUint32(b, inside)
	b = le.AppendUint32(b, 0)
	b = append(b, key[:]...)
	b = append(b, proof(s.key)...)
	b = le.AppendUint64(b, s.t.n)
	b = le.AppendUint64(b, s.t.places)
	b = le.AppendUint64(b, s.t.slots())
	b = le.AppendUint64(b, uint64(s.made.UnixNano()))
	b = le.AppendUint64(b, s.others)
	b = le.AppendUint32(b, uint32(len(s.origin)))
	b = le.AppendUint32(b, uint32(len(s.domains)))
	b = le.AppendUint32(b, uint32(pieces(uint64(len(s.t.mem)))))
	b = append(b, s.origin...)
	for _, d := range s.domains {
		if len(d.Name) > math.MaxUint16 {
			return nil, errTooLong
		}
		b = le.AppendUint64(b, d.Entries)
		b = le.AppendUint16(b, uint16(len(d.Name)))
		b = append(b, d.Name...)
	}
	for rest := s.t.mem; len(rest) > 0; {
		piece := rest[:min(len(rest), pieceSize)]
		b = le.AppendUint32(b, crc32.Checksum(piece, castagnoli))
		rest = rest[len(piece):]
		runtime.Gosched() // as rest does
	}
	if len(b)+4 > maxHeader {
		return nil, errTooLong
	}
	le.PutUint32(b[12:], uint32(len(b)+4))
	return le.AppendUint32(b, crc32.Checksum(b, castagnoli)), nil
}

// headerSize reads the first 16 octets. Without it no more can be read.
func headerSize(start []byte) (int, error) {
	if string(start[:8]) != magic {
		return 0, damaged("it does not begin like one")
	}
	if v := binary.LittleEndian.Uint32(start[8:]); v != version {
		return 0, fmt.Errorf("%w: %d, not %d", ErrVersion, v, version)
	}
	size := binary.LittleEndian.Uint32(start[12:])
	if size < fixedSize+4 || size > maxHeader {
		return 0, damaged("its header cannot have %d octets", size)
	}
	return int(size), nil
}

// field takes the octets of a header one after the other. Once they do not suffice it says so and gives zeros.
type field struct {
	b     []byte
	short bool
}

func (f *field) take(n uint64) []byte {
	if n > uint64(len(f.b)) {
		f.short = true
		return make([]byte, min(n, 16))
	}
	taken := f.b[:n]
	f.b = f.b[n:]
	return taken
}

func (f *field) u64() uint64 { return binary.LittleEndian.Uint64(f.take(8)) }
func (f *field) u32() uint32 { return binary.LittleEndian.Uint32(f.take(4)) }
func (f *field) u16() uint16 { return binary.LittleEndian.Uint16(f.take(2)) }

// parseHeader reads a header of which headerSize was asked.
func parseHeader(b []byte) (*header, error) {
	end := len(b) - 4
	if crc32.Checksum(b[:end], castagnoli) != binary.LittleEndian.Uint32(b[end:]) {
		return nil, damaged("the checksum of its header is wrong")
	}
	f := field{b: b[16:end]}
	h := &header{inside: f.u32() == 1}
	f.take(4)
	copy(h.set.key[:], f.take(16))
	copy(h.proof[:], f.take(16))
	h.n, h.places, h.slots = f.u64(), f.u64(), f.u64()
	h.set.made = time.Unix(0, int64(f.u64()))
	h.set.others = f.u64()
	origin, domains, sums := f.u32(), f.u32(), f.u32()
	h.set.origin = string(f.take(uint64(origin)))
	for range domains {
		n := f.u64()
		h.set.domains = append(h.set.domains, Domain{Entries: n, Name: string(f.take(uint64(f.u16())))})
		if f.short {
			break
		}
	}
	if h.slots < spare || h.slots > math.MaxInt64/slotSize || h.places > h.slots || h.n > h.slots || uint64(sums) != pieces(h.slots*slotSize) {
		return nil, damaged("its sizes contradict each other")
	}
	if uint64(len(f.b)) != 4*uint64(sums) || f.short {
		return nil, damaged("its header is not as long as it says")
	}
	for range sums {
		h.sums = append(h.sums, f.u32())
	}
	return h, nil
}
