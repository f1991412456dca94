package synced

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"backstop/internal/directory"
	"backstop/internal/directory/snapshot"
	"backstop/internal/mail"
)

// What is noted of an object while a pull runs.
const (
	known snapshot.Bits = 1 << iota // the copy has it
	named                           // by Take or Still
	taken                           // by Take: what the copy has of it does not hold any more
	live                            // taken with an address
)

// maxAgain bounds what is remembered of objects that come more than once in a pull.
const maxAgain = 1_000_000

// maxExamples is how many addresses that are none the log is told.
const maxExamples = 3

// taking is a pull under way: what has come so far. With ids all that comes is written
// down record by record and put in order at the end; without, each address goes into the new set at once.
type taking struct {
	s     *Source
	full  bool
	key   snapshot.Key
	old   *snapshot.Set // nil: there is no copy
	count *atomic.Int64
	most  int // recipients and addresses that may come still

	mu       sync.Mutex
	err      error // the first one, which ends the pull
	marks    *snapshot.Marks
	loaded   bool // marks has all objects of the copy
	stills   int  // named and not taken
	log      *spool
	records  *recordWriter // into log
	again    map[snapshot.Hash]int
	set      *snapshot.Builder // without ids
	one      []found           // of the recipient that is taken
	scratch  []byte
	bad      int
	examples []string
	told     time.Time // when the log heard of the progress
}

// found is an address of a recipient.
type found struct {
	hash   snapshot.Hash
	domain string
}

var _ directory.Copy = (*taking)(nil)

var (
	errMixed = errors.New("the directory gives ids to some recipients and none to others")
	errAgain = fmt.Errorf("the directory names more than %d recipients again and again", maxAgain)
	errStill = errors.New("the directory calls a recipient unchanged of whom nothing is known")
)

func (s *Source) newTaking(full bool) (*taking, error) {
	t := &taking{s: s, full: full, key: s.base.key, old: s.view.Load().set, count: &s.taken, again: map[snapshot.Hash]int{}, told: s.cfg.Now(), most: s.cfg.Most}
	t.count.Store(0)
	t.log = &spool{pattern: s.files.spool}
	t.records = newRecordWriter(t.log, t.key, newMark())
	expected := 0
	if full {
		expected = int(s.base.totals.Objects)
	}
	var err error
	t.marks, err = snapshot.NewMarks(expected)
	return t, err
}

// close gives back all that was not handed on.
func (t *taking) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err == nil {
		t.err = errors.New("the pull is over")
	}
	t.marks.Free()
	t.log.close()
	if t.set != nil {
		t.set.Discard()
	}
}

func (t *taking) fail(err error) error {
	if t.err == nil {
		t.err = err
	}
	return t.err
}

// id is the hash of an object's id, other than that of any address.
func (t *taking) id(id string) snapshot.Hash {
	t.scratch = append(append(t.scratch[:0], 1), id...)
	return t.key.SumBytes(t.scratch)
}

// Take notes a recipient, in place of what was noted under its id before.
func (t *taking) Take(id string, addresses ...string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err != nil {
		return t.err
	}
	if err := t.heard(len(addresses)); err != nil {
		return err
	}
	t.parse(addresses)
	if id == "" {
		return t.list()
	}
	if t.set != nil {
		return t.fail(errMixed)
	}
	object := t.id(id)
	was := t.marks.Get(object)
	bits := was&known | named | taken
	if len(t.one) > 0 {
		bits |= live
	}
	if err := t.marks.Set(object, bits); err != nil {
		return t.fail(err)
	}
	switch {
	case was&taken != 0:
		if t.again[object]++; len(t.again) > maxAgain {
			return t.fail(errAgain)
		}
		t.records.put(record{object: object, domain: elsewhere})
	case was&named != 0:
		t.stills--
	}
	for _, f := range t.one {
		t.records.put(record{object, f.hash, t.records.domain(f.domain)})
	}
	if t.records.err != nil {
		return t.fail(fmt.Errorf("what is pulled cannot be written down: %w", t.records.err))
	}
	return nil
}

// list adds what parse found to the set itself.
func (t *taking) list() error {
	if !t.full || t.marks.Len() > 0 {
		return t.fail(errMixed)
	}
	if t.set == nil {
		b, err := t.s.newBuilder(t.old, 0)
		if err != nil {
			return t.fail(err)
		}
		t.set = b
	}
	for _, f := range t.one {
		t.set.AddHash(f.hash, t.set.Domain(f.domain))
	}
	return nil
}

// newBuilder begins the set that is to replace old. expected is how many addresses it will have; 0: some more than old.
func (s *Source) newBuilder(old *snapshot.Set, expected int) (*snapshot.Builder, error) {
	if old != nil && expected == 0 {
		expected = old.Len() + old.Len()/64
	}
	b, err := snapshot.NewBuilder(s.base.key, expected)
	if err != nil {
		return nil, err
	}
	b.Reveal()
	for _, name := range s.domains(old) {
		b.Domain(name)
	}
	if old != nil {
		b.Compare(old)
	}
	return b, nil
}

var errNoDomain = errors.New("it has no domain")

// parse finds the addresses, each once.
func (t *taking) parse(addresses []string) {
	t.one = t.one[:0]
	for _, text := range addresses {
		a, err := mail.ParseAddress(strings.TrimSpace(text))
		if err == nil && a.Domain() == "" { // a wrong column or attribute: as users of every domain they would be believed
			err = errNoDomain
		}
		if err != nil {
			if t.bad++; len(t.examples) < maxExamples {
				t.examples = append(t.examples, fmt.Sprintf("%.80q: %v", text, err))
			}
			continue
		}
		key, domain := a.Key(), a.Domain()
		if name := t.s.cfg.Canonical(domain); name != domain {
			key, domain = a.LocalKey()+"@"+name, name
		}
		t.one = append(t.one, found{t.key.Sum(key), domain})
	}
	if len(t.one) > 1 {
		slices.SortFunc(t.one, func(a, b found) int { return a.hash.Compare(b.hash) })
		t.one = slices.CompactFunc(t.one, func(a, b found) bool { return a.hash == b.hash })
	}
}

// Has says whether a recipient is known, from before or from this pull. A full pull knows nobody at first.
func (t *taking) Has(id string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err != nil {
		return false
	}
	if !t.full && !t.loaded {
		if err := t.load(); err != nil {
			t.fail(err)
			return false
		}
	}
	bits := t.marks.Get(t.id(id))
	return bits&live != 0 || bits&known != 0 && bits&taken == 0
}

// load notes all objects of the copy.
func (t *taking) load() error {
	t.loaded = true
	if t.marks.Len() == 0 {
		marks, err := snapshot.NewMarks(int(t.s.base.totals.Objects))
		if err != nil {
			return err
		}
		t.marks.Free()
		t.marks = marks
	}
	var last snapshot.Hash
	return t.s.files.readObjects(&t.s.base, func(r record, _ string) error {
		if r.object == last {
			return nil
		}
		last = r.object
		return t.marks.Set(last, known|t.marks.Get(last))
	})
}

// Still notes that a recipient is as it was.
func (t *taking) Still(id string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err != nil {
		return t.err
	}
	if err := t.heard(0); err != nil {
		return err
	}
	object := t.id(id)
	bits := t.marks.Get(object)
	switch {
	case bits&live != 0, bits&(named|taken) == named:
		return nil
	case t.full, bits&taken != 0, t.loaded && bits&known == 0:
		return t.fail(fmt.Errorf("%w: %w", errStill, directory.ErrStartOver))
	}
	t.stills++
	if err := t.marks.Set(object, bits|named); err != nil {
		return t.fail(err)
	}
	return nil
}

// progressEvery is how often the log hears of a pull that takes long.
const progressEvery = 10 * time.Second

// heard counts a recipient with so many addresses.
func (t *taking) heard(addresses int) error {
	n := t.count.Add(1)
	if t.most -= 1 + addresses; t.most < 0 {
		return t.fail(fmt.Errorf("the pull brings more than %d recipients and addresses, which no directory has: look at filter or query", t.s.cfg.Most))
	}
	if n%256 != 0 {
		return nil
	}
	now := t.s.cfg.Now()
	if now.Sub(t.told) < progressEvery {
		return nil
	}
	t.told = now
	t.s.cfg.Logger.Info("a source is being pulled", "source", t.s.cfg.Name, "recipients", n, "full", t.full)
	return nil
}
