package snapshot

import (
	"crypto/rand"
	"encoding/binary"
	"math/bits"
)

// Key makes the hashes of one set different from those of any other. The zero Key is none.
type Key [16]byte

// NewKey draws a key.
func NewKey() Key {
	var k Key
	rand.Read(k[:])
	return k
}

// Hash is what is kept of a key in a set: 128 bits, and never the zero Hash.
type Hash struct{ hi, lo uint64 } // in a table lo is never zero: the slot of zeros is the empty one

// HashSize is how many octets a Hash has.
const HashSize = 16

// Sum is the hash of a folded address or local part, or of anything else that wants one.
func (k Key) Sum(text string) Hash { return keep(sum(k, text)) }

// SumBytes is Sum.
func (k Key) SumBytes(text []byte) Hash { return keep(sum(k, text)) }

// Append appends the octets of the hash, the lowest of each half first.
func (h Hash) Append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint64(b, h.hi)
	return binary.LittleEndian.AppendUint64(b, h.lo)
}

// HashFrom reads what Append wrote.
func HashFrom(b []byte) Hash {
	return Hash{binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])}
}

// Plus is the sum of both, whose order does not count. It is for digests of many hashes.
func (h Hash) Plus(o Hash) Hash {
	lo, carry := bits.Add64(h.lo, o.lo, 0)
	hi, _ := bits.Add64(h.hi, o.hi, carry)
	return Hash{hi, lo}
}

// Compare orders hashes as tables do.
func (h Hash) Compare(o Hash) int {
	switch {
	case h.before(o):
		return -1
	case h == o:
		return 0
	}
	return 1
}

func (h Hash) before(o Hash) bool { return h.hi < o.hi || h.hi == o.hi && h.lo < o.lo }
