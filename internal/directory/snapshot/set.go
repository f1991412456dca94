package snapshot

import (
	"runtime"
	"slices"
	"time"
)

// Set is an immutable set of keys. Its methods may be called from many goroutines.
type Set struct {
	t       *table
	key     Key
	apart   bool
	origin  string
	made    time.Time
	domains []Domain
	others  uint64
	locals  bool
}

// Has says whether the folded address or local part was added. It allocates nothing.
func (s *Set) Has(key string) bool { return s.t.has(keep(sum(s.key, key))) }

// HasHash is Has for a key of which there is only the hash, under the set's key.
func (s *Set) HasHash(h Hash) bool { return s.t.has(h) }

// Key is the key of the set's hashes.
func (s *Set) Key() Key { return s.key }

// Sum is the same for sets of the same keys under the same Key, and hardly ever for others.
// It reads the whole table.
func (s *Set) Sum() Hash {
	var all Hash
	for i := range s.t.slots() {
		rest(i)
		all = all.Plus(slotAt(s.t.mem, i)) // an empty slot adds nothing
	}
	runtime.KeepAlive(s.t)
	return all
}

// Free gives the memory back at once. Nobody may use the set from then on; one that others may
// have is left to the collector.
func (s *Set) Free() { s.t.free() }

// Len is the number of different keys.
func (s *Set) Len() int { return int(s.t.n) }

// Size is the memory of the table, in octets.
func (s *Set) Size() int64 { return int64(len(s.t.mem)) }

// Origin is what the set was made of, as it was said to Finish.
func (s *Set) Origin() string { return s.origin }

// Made is when that was read.
func (s *Set) Made() time.Time { return s.made }

// Domains returns how many entries each domain has, in the order in which the domains came, and
// how many entries are in domains beyond the first 10,000.
func (s *Set) Domains() (byName []Domain, others uint64) { return slices.Clone(s.domains), s.others }

// HasLocals says whether there may be local parts alone among the keys.
func (s *Set) HasLocals() bool { return s.locals }

// withLocals notes what HasLocals says, for it is asked in every look-up.
func (s *Set) withLocals() *Set {
	s.locals = s.others > 0 || slices.ContainsFunc(s.domains, func(d Domain) bool { return d.Name == "" && d.Entries > 0 })
	return s
}
