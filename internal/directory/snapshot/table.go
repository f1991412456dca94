package snapshot

import (
	"encoding/binary"
	"math/bits"
	"runtime"
)

const slotSize = 16 // octets: hi and lo, the lowest octet of each first

// spare slots take the entries that are pushed over the end, so that a search never wraps around.
const spare = 256

// table is a hash table with open addressing whose entries stand in the order of
// their hashes, in the very octets of the file. Each entry has a place (its hash
// scaled to the size) and stands there or behind, with no empty slot between. A
// search ends at the first greater entry, so an absent key costs as few steps as a present one.
type table struct {
	mem     []byte // outside the Go heap: see allocate
	places  uint64
	n       uint64
	cleanup runtime.Cleanup
}

// placesFor: at most seven eighths are used.
func placesFor(n uint64) uint64 { return n + n/7 + 1 }

func newTable(places uint64) (*table, error) {
	mem, err := allocate((places + spare) * slotSize)
	if err != nil {
		return nil, err
	}
	t := &table{mem: mem, places: places}
	// The last reader of a table that was swapped away is found by the collector, which costs
	// readers nothing, and nobody can let go too early.
	t.cleanup = runtime.AddCleanup(t, release, mem)
	return t, nil
}

// free gives the memory back at once, when nobody else can have the table.
func (t *table) free() {
	if t.mem == nil {
		return
	}
	t.cleanup.Stop()
	release(t.mem)
	t.mem = nil
}

func (t *table) slots() uint64 { return uint64(len(t.mem)) / slotSize }

func (t *table) place(hi uint64) uint64 {
	p, _ := bits.Mul64(hi, t.places)
	return p
}

func slotAt(mem []byte, i uint64) Hash {
	s := mem[i*slotSize:][:slotSize]
	return Hash{binary.LittleEndian.Uint64(s), binary.LittleEndian.Uint64(s[8:])}
}

func (t *table) put(i uint64, h Hash) {
	s := t.mem[i*slotSize:][:slotSize]
	binary.LittleEndian.PutUint64(s, h.hi)
	binary.LittleEndian.PutUint64(s[8:], h.lo)
}

func (t *table) has(h Hash) bool {
	found := false
	for i, end := t.place(h.hi), t.slots(); i < end; i++ {
		at := slotAt(t.mem, i)
		if at.lo != 0 && at.before(h) {
			continue
		}
		found = at == h
		break
	}
	runtime.KeepAlive(t) // or the memory might go while it is read
	return found
}

// What became of an insertion.
type insertion uint8

const (
	added insertion = iota
	present
	full // the greatest of the entries has no room, and is handed back
)

// insert adds a hash. When the table is full it returns the entry that fell off the
// end, which need not be the one that was inserted.
func (t *table) insert(h Hash) (Hash, insertion) {
	for i, end := t.place(h.hi), t.slots(); i < end; i++ {
		at := slotAt(t.mem, i)
		switch {
		case at.lo == 0:
			t.put(i, h)
			t.n++
			return Hash{}, added
		case at == h:
			return Hash{}, present
		case h.before(at):
			t.put(i, h)
			h = at
		}
	}
	return h, full
}

// rest lets look-ups go first, once in a while. Whoever computes on is interrupted by the runtime
// too, but after 10 to 20 ms, and on a busy machine everybody who came meanwhile has waited for that.
func rest(slot uint64) {
	if slot%step == 0 {
		runtime.Gosched()
	}
}

// step is how many slots are worked on without a rest: some 0.1 ms.
const step = 1 << 14

// copyTo writes all entries into an empty table of another size. It
// returns false when they do not fit.
func (t *table) copyTo(to *table) bool {
	next, end := uint64(0), to.slots()
	for i := range t.slots() {
		rest(i)
		h := slotAt(t.mem, i)
		if h.lo == 0 {
			continue
		}
		at := max(next, to.place(h.hi))
		if at >= end {
			return false
		}
		to.put(at, h)
		next = at + 1
	}
	to.n = t.n
	return true
}

// checker looks at the slots of a table in their order and says whether every search
// in it ends where it must.
type checker struct {
	t     *table
	slot  uint64 // the next one
	open  uint64 // an entry may have its place here or later: behind the last empty slot
	last  Hash
	count uint64
}

// check looks at slots up to the one before end.
func (c *checker) check(end uint64) bool {
	for ; c.slot < end; c.slot++ {
		h := slotAt(c.t.mem, c.slot)
		if h.lo == 0 {
			if h.hi != 0 {
				return false
			}
			c.open = c.slot + 1
			continue
		}
		if place := c.t.place(h.hi); !c.last.before(h) || place < c.open || place > c.slot {
			return false
		}
		c.last = h
		c.count++
	}
	return true
}
