package list

import (
	"bytes"
	"hash/maphash"
	"math/bits"
)

// set is an immutable set of keys: a hash table with open addressing, whose
// entries stand in the order of their hashes. A search ends at the first greater one,
// so that even at four fifths full an absent key costs three steps on average.
type set struct {
	seeds  [2]maphash.Seed
	slots  []hash
	places uint64 // a key's place is its hash scaled to this; slots has some spare ones behind
	n      int
	locals bool // some entries are local parts alone
}

// hash is what is kept of a key; the zero hash is an empty slot.
// lo is never zero.
type hash struct{ hi, lo uint64 }

func (h hash) before(o hash) bool { return h.hi < o.hi || h.hi == o.hi && h.lo < o.lo }

// spare slots take the entries that are pushed over the end, so that a search never wraps around.
const spare = 256

// newSet makes a set with room for n keys.
func newSet(n int) *set {
	s := &set{places: uint64(n)*5/4 + 1}
	s.seeds[0], s.seeds[1] = maphash.MakeSeed(), maphash.MakeSeed()
	s.slots = make([]hash, s.places+spare)
	return s
}

func (s *set) hash(key string) hash {
	return hash{maphash.String(s.seeds[0], key), maphash.String(s.seeds[1], key) | 1}
}

func (s *set) hashBytes(key []byte) hash {
	return hash{maphash.Bytes(s.seeds[0], key), maphash.Bytes(s.seeds[1], key) | 1}
}

func (s *set) place(hi uint64) uint64 {
	p, _ := bits.Mul64(hi, s.places)
	return p
}

// insertAll adds hashes, and uses hs up. Those whose place is free go first: these
// steps do not wait for each other, so the processor fetches many places at once,
// and finds them near when it comes to the rest.
func (s *set) insertAll(hs []hash) {
	rest := hs[:0]
	for _, h := range hs {
		at := &s.slots[s.place(h.hi)]
		if at.lo == 0 {
			*at = h
			s.n++
			continue
		}
		rest = append(rest, h)
	}
	for _, h := range rest {
		s.insert(h)
	}
}

// insert adds a key's hash. It belongs to the making of a set.
func (s *set) insert(h hash) {
	for i := s.place(h.hi); ; i++ {
		if i == uint64(len(s.slots)) {
			s.slots = append(s.slots, hash{})
		}
		at := &s.slots[i]
		switch {
		case *at == hash{}:
			*at = h
			s.n++
			return
		case *at == h:
			return
		case h.before(*at):
			*at, h = h, *at
		}
	}
}

func (s *set) has(key string) bool {
	hi := maphash.String(s.seeds[0], key)
	for i := s.place(hi); i < uint64(len(s.slots)); i++ {
		at := &s.slots[i]
		if at.hi < hi && at.lo != 0 {
			continue
		}
		// An absent key nearly always ends here, with half its hash computed.
		if at.hi != hi || at.lo == 0 {
			return false
		}
		if at.lo == maphash.String(s.seeds[1], key)|1 {
			return true
		}
	}
	return false
}

// isPlain says whether line is its own folded key: local@domain in lower-case ASCII
// without quotes, in the domain that was found good before. It spares
// nearly every line of a large file the full parser, and is never right about one
// which that would refuse.
func isPlain(line, domain []byte) bool {
	n := len(line) - len(domain)
	if len(domain) == 0 || n < 2 || n-1 > maxLocal || line[n-1] != '@' || !bytes.Equal(line[n:], domain) {
		return false
	}
	dot := true // a dot may not stand here
	for _, c := range line[:n-1] {
		if c == '.' {
			if dot {
				return false
			}
			dot = true
			continue
		}
		if !plain[c] {
			return false
		}
		dot = false
	}
	return !dot
}

const maxLocal = 64 // mail.MaxLocalPart

// plain: the atext of RFC 5322, 3.2.3, that is folded already, but for "#",
// which the caller would have to tell from a comment.
var plain = func() (t [256]bool) {
	for _, c := range []byte("abcdefghijklmnopqrstuvwxyz0123456789!$%&'*+-/=?^_`{|}~") {
		t[c] = true
	}
	return t
}()
