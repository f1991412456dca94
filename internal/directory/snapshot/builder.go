package snapshot

import (
	"errors"
	"runtime"
	"slices"
	"time"
)

// Domain is how many entries a domain has.
type Domain struct {
	Name    string // folded; "" for local parts alone
	Entries uint64
}

// MaxDomains is how many domains are counted by name; the entries of others are counted together.
const MaxDomains = 10_000

// batchSize is how many hashes are inserted together.
const batchSize = 1024

// pending is a hash that is not in the table yet, and the index of its domain.
type pending struct {
	Hash
	domain int
}

// Builder makes a set. It is used by one goroutine.
type Builder struct {
	key     Key
	apart   bool // the key was handed in, and stays with whoever did
	t       *table
	err     error
	batch   []pending
	names   map[string]int
	domains []Domain
	others  uint64
	last    int // the domain of the last key
	old     *Set
	kept    []uint64 // by domain: entries that old has too; the last one is of the others
}

// NewBuilder begins a set of about expected keys. More or fewer may come; a right guess
// spares copying. A key that is handed in is not written to the set's file and must be handed
// to Open; for the zero Key one is drawn that stands in the file.
func NewBuilder(key Key, expected int) (*Builder, error) {
	b := &Builder{key: key, apart: key != Key{}, batch: make([]pending, 0, batchSize), names: map[string]int{}, last: -1}
	if !b.apart {
		b.key = NewKey()
	}
	t, err := newTable(placesFor(uint64(max(expected, 0))))
	if err != nil {
		return nil, err
	}
	b.t = t
	return b, nil
}

// Reveal has the key that was handed in written to the file, as one that was drawn.
func (b *Builder) Reveal() { b.apart = false }

// Compare has the builder count which entries old has too, for Kept. Both must have the same key.
func (b *Builder) Compare(old *Set) { b.old, b.kept = old, make([]uint64, len(b.domains)+1) }

// Kept says, after Finish, how many entries of each domain the set that was compared has too,
// and how many in domains that are not counted by name.
func (b *Builder) Kept() (byName map[string]uint64, others uint64) {
	byName = map[string]uint64{}
	for i := range b.domains {
		if b.old != nil && b.kept[i] > 0 {
			byName[b.domains[i].Name] = b.kept[i]
		}
	}
	if b.old != nil {
		others = b.kept[len(b.kept)-1]
	}
	return byName, others
}

// Add adds the folded address or local part, as mail.Address gives it with Key or LocalKey.
func (b *Builder) Add(key string) { add(b, key) }

// AddBytes is Add. It does not keep key.
func (b *Builder) AddBytes(key []byte) { add(b, key) }

// AddHash adds a key of which there is only the hash, under the builder's key. domain is what Domain said.
func (b *Builder) AddHash(h Hash, domain int) {
	b.batch = append(b.batch, pending{h, domain})
	if len(b.batch) == batchSize {
		b.flush()
	}
}

// Domain returns the number under which the entries of a domain are counted, -1 when there
// are too many to count this one by name.
func (b *Builder) Domain(name string) int { return domain(b, name) }

func add[T string | []byte](b *Builder, key T) {
	b.AddHash(keep(sum(b.key, key)), domain(b, nameOf(key)))
}

// keep is the hash as it stands in tables.
func keep(h Hash) Hash {
	if h.lo == 0 {
		h.lo = 1
	}
	return h
}

// nameOf returns the domain in a key.
func nameOf[T string | []byte](key T) T {
	at := len(key) // where the domain begins
	if at > 0 && key[at-1] != '"' {
		for i := at - 1; i >= 0; i-- {
			if key[i] == '@' {
				at = i + 1
				break
			}
		}
	}
	return key[at:]
}

func domain[T string | []byte](b *Builder, name T) int {
	if b.last >= 0 && string(name) == b.domains[b.last].Name {
		return b.last
	}
	i, known := b.names[string(name)]
	if !known {
		if len(b.domains) == MaxDomains {
			return -1
		}
		i = len(b.domains)
		b.names[string(name)] = i
		b.domains = append(b.domains, Domain{Name: string(name)})
		if b.old != nil {
			b.kept = slices.Insert(b.kept, i, 0)
		}
	}
	b.last = i
	return i
}

// flush inserts the batch. Those whose place is free go first: these steps do not
// wait for each other, so the processor fetches many places at once, and finds them near when
// it comes to the rest.
func (b *Builder) flush() {
	if need := placesFor(b.t.n + uint64(len(b.batch))); need > b.t.places {
		b.resize(max(need, 2*b.t.places))
	}
	if b.err != nil {
		b.batch = b.batch[:0]
		return
	}
	rest := b.batch[:0]
	for _, p := range b.batch {
		if i := b.t.place(p.hi); slotAt(b.t.mem, i).lo == 0 {
			b.t.put(i, p.Hash)
			b.t.n++
			b.count(p)
			continue
		}
		rest = append(rest, p)
	}
	for _, p := range rest {
		if b.insert(p.Hash) {
			b.count(p)
		}
	}
	b.batch = b.batch[:0]
	runtime.Gosched() // as rest does
}

// maxTries ends what chance never begins: hashes that crowd at one place.
const maxTries = 32

var errCrowded = errors.New("the hashes of the entries crowd at one place")

// insert says whether the hash was new.
func (b *Builder) insert(h Hash) bool {
	left, what := b.t.insert(h)
	for tries := 0; what == full && b.err == nil; tries++ {
		if tries == maxTries {
			b.err = errCrowded
			break
		}
		b.resize(b.t.places + b.t.places/16 + spare)
		if b.err == nil {
			left, what = b.t.insert(left)
		}
	}
	return what != present
}

func (b *Builder) count(p pending) {
	if b.old != nil && b.old.t.has(p.Hash) {
		at := p.domain
		if at < 0 {
			at = len(b.kept) - 1
		}
		b.kept[at]++
	}
	if p.domain < 0 {
		b.others++
		return
	}
	b.domains[p.domain].Entries++
}

// resize moves the entries to a table of another size.
func (b *Builder) resize(places uint64) {
	for b.err == nil {
		t, err := newTable(places)
		if err != nil {
			b.err = err
			return
		}
		if b.t.copyTo(t) {
			b.t.free()
			b.t = t
			return
		}
		t.free()
		places += places/16 + spare
	}
}

var errFinished = errors.New("the set was finished already")

// Finish returns the set. origin says what it was made of, in the caller's own words;
// made is when that was read. The builder is used up. The error is about memory.
func (b *Builder) Finish(origin string, made time.Time) (*Set, error) {
	if b.t == nil {
		return nil, errFinished
	}
	b.flush()
	if want := placesFor(b.t.n); b.t.places > want+want/8 {
		b.resize(want)
	}
	t := b.t
	b.t = nil
	if b.err != nil {
		t.free()
		return nil, b.err
	}
	named := slices.DeleteFunc(slices.Clone(b.domains), func(d Domain) bool { return d.Entries == 0 })
	s := &Set{t: t, key: b.key, apart: b.apart, origin: origin, made: made, domains: named, others: b.others}
	return s.withLocals(), nil
}

// Discard gives the memory of an unfinished set back.
func (b *Builder) Discard() {
	if b.t != nil {
		b.t.free()
		b.t = nil
		b.err = errFinished
	}
}
