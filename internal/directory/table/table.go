package table

import (
	"hash/maphash"
	"math/bits"
)

// Table is a set of keys, or a map from keys to small numbers. It may be read from
// many goroutines once nothing is inserted any more.
//
// It is a hash table with open addressing, whose entries stand in the order of their
// hashes. A search ends at the first greater one, so that even at four fifths full an
// absent key costs three steps on average.
type Table struct {
	seeds  [2]maphash.Seed
	slots  []Hash
	values []uint16 // nil: a set
	places uint64   // a key's place is its hash scaled to this; slots has some spare ones behind
	n      int
}

// Hash is what is kept of a key, under the seeds of one table. The zero hash is no
// key: lo is never zero.
type Hash struct{ hi, lo uint64 }

func (h Hash) before(o Hash) bool { return h.hi < o.hi || h.hi == o.hi && h.lo < o.lo }

// spare slots take the entries that are pushed over the end, so that a search never wraps around.
const spare = 256

// New makes a set with room for n keys.
func New(n int) *Table {
	t := &Table{places: uint64(n)*5/4 + 1}
	t.seeds[0], t.seeds[1] = maphash.MakeSeed(), maphash.MakeSeed()
	t.slots = make([]Hash, t.places+spare)
	return t
}

// NewMap makes a map with room for n keys.
func NewMap(n int) *Table {
	t := New(n)
	t.values = make([]uint16, len(t.slots))
	return t
}

// Len is how many keys there are.
func (t *Table) Len() int { return t.n }

// Size is how many octets the keys and values take.
func (t *Table) Size() int { return 16*len(t.slots) + 2*len(t.values) }

// Hash is the hash of a key in this table.
func (t *Table) Hash(key string) Hash {
	return Hash{maphash.String(t.seeds[0], key), maphash.String(t.seeds[1], key) | 1}
}

// HashBytes is Hash.
func (t *Table) HashBytes(key []byte) Hash {
	return Hash{maphash.Bytes(t.seeds[0], key), maphash.Bytes(t.seeds[1], key) | 1}
}

func (t *Table) place(hi uint64) uint64 {
	p, _ := bits.Mul64(hi, t.places)
	return p
}

// InsertAll adds hashes to a set, and uses hs up. Those whose place is free go first:
// these steps do not wait for each other, so the processor fetches many places at
// once, and finds them near when it comes to the rest.
func (t *Table) InsertAll(hs []Hash) {
	rest := hs[:0]
	for _, h := range hs {
		at := &t.slots[t.place(h.hi)]
		if at.lo == 0 {
			*at = h
			t.n++
			continue
		}
		rest = append(rest, h)
	}
	for _, h := range rest {
		t.Insert(h, 0)
	}
}

// Insert adds a key. One that is there already keeps its value, and fresh is false.
// In a set the value is not kept.
func (t *Table) Insert(h Hash, value uint16) (fresh bool) {
	i := t.place(h.hi)
	for ; ; i++ {
		if i == uint64(len(t.slots)) {
			t.grow()
		}
		if at := t.slots[i]; at == h {
			return false
		} else if at.lo == 0 || h.before(at) {
			break
		}
	}
	t.n++
	for ; ; i++ { // the greater ones move on by one, up to the first free slot
		if i == uint64(len(t.slots)) {
			t.grow()
		}
		t.slots[i], h = h, t.slots[i]
		if t.values != nil {
			t.values[i], value = value, t.values[i]
		}
		if h.lo == 0 {
			return true
		}
	}
}

func (t *Table) grow() {
	t.slots = append(t.slots, Hash{})
	if t.values != nil {
		t.values = append(t.values, 0)
	}
}

// Has says whether the key is there.
func (t *Table) Has(key string) bool {
	hi := maphash.String(t.seeds[0], key)
	for i := t.place(hi); i < uint64(len(t.slots)); i++ {
		at := &t.slots[i]
		if at.hi < hi && at.lo != 0 {
			continue
		}
		// An absent key nearly always ends here, with half its hash computed.
		if at.hi != hi || at.lo == 0 {
			return false
		}
		if at.lo == maphash.String(t.seeds[1], key)|1 {
			return true
		}
	}
	return false
}

// Get returns the value of a key of a map.
func (t *Table) Get(key []byte) (value uint16, found bool) {
	hi := maphash.Bytes(t.seeds[0], key)
	for i := t.place(hi); i < uint64(len(t.slots)); i++ {
		at := &t.slots[i]
		if at.hi < hi && at.lo != 0 {
			continue
		}
		if at.hi != hi || at.lo == 0 {
			return 0, false
		}
		if at.lo == maphash.Bytes(t.seeds[1], key)|1 {
			return t.values[i], true
		}
	}
	return 0, false
}

// Change gives another value to a key that is there.
func (t *Table) Change(h Hash, value uint16) {
	for i := t.place(h.hi); i < uint64(len(t.slots)) && t.slots[i].lo != 0; i++ {
		if t.slots[i] == h {
			t.values[i] = value
			return
		}
	}
}
