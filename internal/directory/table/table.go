package table

import (
	"hash/maphash"
	"math/bits"
)

// Table is a map from keys to small numbers. It may be read from many goroutines once
// nothing is inserted any more.
//
// It is a hash table with open addressing, whose entries stand in the order of their
// hashes. A search ends at the first greater one, so that even at four fifths full an
// absent key costs three steps on average.
type Table struct {
	seeds  [2]maphash.Seed
	slots  []Hash
	values []uint16
	notes  []uint32 // nil as long as there are none
	places uint64   // a key's place is its hash scaled to this; slots has some spare ones behind
	n      int
}

// Hash is what is kept of a key, under the seeds of one table. The zero hash is no
// key: lo is never zero.
type Hash struct{ hi, lo uint64 }

func (h Hash) before(o Hash) bool { return h.hi < o.hi || h.hi == o.hi && h.lo < o.lo }

// spare slots take the entries that are pushed over the end, so that a search never wraps around.
const spare = 256

// New makes a table with room for n keys.
func New(n int) *Table {
	t := &Table{places: uint64(n)*5/4 + 1}
	t.seeds[0], t.seeds[1] = maphash.MakeSeed(), maphash.MakeSeed()
	t.slots = make([]Hash, t.places+spare)
	t.values = make([]uint16, len(t.slots))
	return t
}

// Len is how many keys there are.
func (t *Table) Len() int { return t.n }

// Size is how many octets the keys and values take.
func (t *Table) Size() int { return 16*len(t.slots) + 2*len(t.values) + 4*len(t.notes) }

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

// Insert adds a key. One that is there already keeps its value, and fresh is false.
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
	note := uint32(0)
	for ; ; i++ { // the greater ones move on by one, up to the first free slot
		if i == uint64(len(t.slots)) {
			t.grow()
		}
		t.slots[i], h = h, t.slots[i]
		t.values[i], value = value, t.values[i]
		if t.notes != nil {
			t.notes[i], note = note, t.notes[i]
		}
		if h.lo == 0 {
			return true
		}
	}
}

func (t *Table) grow() {
	t.slots, t.values = append(t.slots, Hash{}), append(t.values, 0)
	if t.notes != nil {
		t.notes = append(t.notes, 0)
	}
}

// Get returns the value of a key.
func (t *Table) Get(key []byte) (value uint16, found bool) {
	i, found := t.find(key)
	if !found {
		return 0, false
	}
	return t.values[i], true
}

// GetNote returns the value of a key, and what was noted of it.
func (t *Table) GetNote(key []byte) (value uint16, note uint32, found bool) {
	i, found := t.find(key)
	if !found {
		return 0, 0, false
	}
	if t.notes != nil {
		note = t.notes[i]
	}
	return t.values[i], note, true
}

// find returns the slot of a key.
func (t *Table) find(key []byte) (i uint64, found bool) {
	hi := maphash.Bytes(t.seeds[0], key)
	for i = t.place(hi); i < uint64(len(t.slots)); i++ {
		at := &t.slots[i]
		if at.hi < hi && at.lo != 0 {
			continue
		}
		if at.hi != hi || at.lo == 0 {
			return 0, false
		}
		if at.lo == maphash.Bytes(t.seeds[1], key)|1 {
			return i, true
		}
	}
	return 0, false
}

// Change gives another value to a key that is there.
func (t *Table) Change(h Hash, value uint16) {
	if i, found := t.slot(h); found {
		t.values[i] = value
	}
}

// Note keeps a number with a key that is there, beside its value. The first note of
// a table makes room for one of each key.
func (t *Table) Note(h Hash, note uint32) {
	if t.notes == nil {
		t.notes = make([]uint32, len(t.slots))
	}
	if i, found := t.slot(h); found {
		t.notes[i] = note
	}
}

// slot is find for a hash.
func (t *Table) slot(h Hash) (i uint64, found bool) {
	for i = t.place(h.hi); i < uint64(len(t.slots)) && t.slots[i].lo != 0; i++ {
		if t.slots[i] == h {
			return i, true
		}
	}
	return 0, false
}
