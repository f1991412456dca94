package synced

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"time"

	"backstop/internal/directory"
	"backstop/internal/directory/snapshot"
)

// pullOnce pulls what has changed, or everything.
func (s *Source) pullOnce(r *run, begun time.Time) (Report, error) {
	b := &s.base
	full := b.cursor == nil || !b.objects || b.build != thisBuild() || begun.Sub(b.full) >= s.cfg.Full || begun.Before(b.full)
	if !full {
		report, err := s.pullSome(r, begun, false)
		if !errors.Is(err, directory.ErrStartOver) && !errors.Is(err, errObjects) {
			return report, err
		}
		s.cfg.Logger.Info("everything is pulled, since what has changed cannot be told", "source", s.cfg.Name, "reason", err.Error())
	}
	return s.pullSome(r, begun, true)
}

// pullSafely is pullOnce, and a panic in it a pull that failed: one odd entry of a directory must not end the program.
func (s *Source) pullSafely(r *run, begun time.Time) (report Report, err error) {
	defer func() {
		if v := recover(); v != nil {
			s.cfg.Logger.Error("internal error in a pull", "source", s.cfg.Name, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			report, err = Report{Before: s.entries(), Entries: s.entries()}, fmt.Errorf("internal error, see the log: %v", v)
		}
	}()
	return s.pullOnce(r, begun)
}

func (s *Source) pullSome(r *run, begun time.Time, full bool) (Report, error) {
	t, err := s.newTaking(full)
	if err != nil {
		return Report{Full: full}, err
	}
	defer t.close()
	var p directory.Pulled
	if full {
		p, err = s.cfg.Puller.Full(s.ctx, t)
	} else {
		p, err = s.cfg.Puller.Changes(s.ctx, s.base.cursor, t)
	}
	if err == nil {
		err = s.ctx.Err()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err != nil {
		err = t.err
	}
	report := Report{Full: full, Taken: int(t.count.Load()), Bad: t.bad, Before: s.entries(), Entries: s.entries()}
	if err != nil {
		return report, err
	}
	s.complain(t)
	return report, s.take(r, t, &p, begun, &report)
}

func (s *Source) entries() int {
	if set := s.view.Load().set; set != nil {
		return set.Len()
	}
	return 0
}

// complain logs addresses that are none, where there were not as many before.
func (s *Source) complain(t *taking) {
	if t.bad != s.badTold && t.bad > 0 {
		s.cfg.Logger.Warn("some addresses of a source are none, and are passed over", "source", s.cfg.Name, "addresses", t.bad, "first", t.examples)
	}
	if t.full || t.bad > 0 {
		s.badTold = t.bad
	}
}

// The ends of a pull that are no failures.
var (
	errSame = errors.New("nothing has changed")
	errLost = errors.New("it loses too much")
)

// result is what a pull makes of the copy.
type result struct {
	set     *snapshot.Set
	mark    mark
	objects bool
	totals  totals
	held    *Held
}

// take puts what was pulled in force. t is locked.
func (s *Source) take(r *run, t *taking, p *directory.Pulled, begun time.Time, report *Report) error {
	res := &result{mark: newMark()}
	var err error
	if t.full && t.marks.Len() == 0 {
		err = s.listing(r, t, res, begun)
	} else {
		err = s.merge(r, t, p, res, begun)
	}
	switch {
	case err == errSame:
		return s.same(t, p, begun)
	case err == errLost:
		res.set.Free()
		report.Held = res.held
		return fmt.Errorf("%w: %s", ErrHeld, res.held)
	case res.set == nil:
		return err
	}
	if err == nil {
		err = s.keep(res)
	}
	b := base{key: t.key, mark: res.mark, kept: err == nil, objects: res.objects && err == nil, made: begun, full: s.base.full}
	if b.objects {
		b.totals, b.cursor = res.totals, p.Cursor
	}
	if t.full {
		b.full, b.build = begun, thisBuild()
	} else {
		b.build = s.base.build
	}
	s.base = b
	report.Changed, report.Entries = true, res.set.Len()
	s.show(res.set)
	if err == nil {
		err = s.writeState()
	}
	if err != nil {
		s.base.kept, s.base.cursor = false, nil
		return fmt.Errorf("what was pulled is in force, but cannot be kept: %w", err)
	}
	return nil
}

// same notes that the copy was right.
func (s *Source) same(t *taking, p *directory.Pulled, begun time.Time) error {
	b := &s.base
	b.made = begun
	if b.objects {
		b.cursor = p.Cursor
	}
	if t.full {
		b.full, b.build = begun, thisBuild()
	}
	s.show(t.old)
	return s.writeState()
}

// keep writes the set, whose objects are written already.
func (s *Source) keep(res *result) error {
	if s.files.folder == "" {
		return nil
	}
	if !res.objects {
		if err := os.MkdirAll(s.files.folder, 0o700); err != nil {
			return err
		}
		_ = os.Remove(s.files.objects) // their mark is of another copy, so they are of no use
	}
	return res.set.Write(s.files.snapshot)
}

// listing ends a pull that brought addresses without ids.
func (s *Source) listing(r *run, t *taking, res *result, begun time.Time) error {
	b := t.set
	if t.set = nil; b == nil { // nobody came at all
		var err error
		if b, err = s.newBuilder(t.old, 0); err != nil {
			return err
		}
	}
	set, err := b.Finish(origin(&s.cfg)+res.mark.String(), begun)
	if err != nil {
		return err
	}
	res.set = set
	if t.old != nil && s.base.kept && t.old.Len() == set.Len() && t.old.Sum() == set.Sum() {
		set.Free()
		return errSame
	}
	return s.weigh(r, t, res, b)
}

// weigh says whether too much would be lost.
func (s *Source) weigh(r *run, t *taking, res *result, b *snapshot.Builder) error {
	kept, others := b.Kept()
	if h := s.guard(t.old, res.set, kept, others); h != nil && !s.confirmed(r, h) {
		h.At = s.cfg.Now()
		res.held = h
		return errLost
	}
	return nil
}

// merge makes the new copy of the one before and what has come, and writes its objects. With
// an error and a set, the set is good, and its objects are not written.
func (s *Source) merge(r *run, t *taking, p *directory.Pulled, res *result, begun time.Time) error {
	fresh, err := t.records.finish()
	if err != nil {
		return err
	}
	comparable := t.old != nil && s.base.objects && s.base.kept
	switch {
	case !comparable:
	case t.full && len(t.again) == 0 && fresh == s.base.totals:
		return errSame
	case !t.full && !p.Listed && fresh.Records == 0 && t.marks.Len() == 0:
		return errSame
	}
	tried, within := false, error(nil)
	fill := func(w io.Writer) error {
		tried, within = true, s.fill(w, r, t, p, res, begun, comparable)
		return within
	}
	err = s.files.writeObjects(fill)
	if !tried { // the folder cannot be written, which need not be the end
		fill(io.Discard)
	}
	if within == errSame || within == errLost || res.set == nil {
		return within // which has nothing to do with the file
	}
	return err
}

// fill writes the objects of the new copy and makes its set.
func (s *Source) fill(w io.Writer, r *run, t *taking, p *directory.Pulled, res *result, begun time.Time, comparable bool) error {
	expected := 0
	if t.full {
		expected = int(t.records.totals.Records)
		t.marks.Free() // who was named is of no use any more, and takes as much as a set
	}
	b, err := s.newBuilder(t.old, expected)
	if err != nil {
		return err
	}
	defer b.Discard()
	m := &merger{t: t, listed: p.Listed, set: b, out: newRecordWriter(w, t.key, res.mark)}
	if err := m.all(); err != nil {
		return err
	}
	all, written := m.out.finish()
	if comparable && all == s.base.totals {
		return errSame
	}
	set, err := b.Finish(origin(&s.cfg)+res.mark.String(), begun)
	if err != nil {
		return err
	}
	res.set, res.totals, res.objects = set, all, true
	if err := s.weigh(r, t, res, b); err != nil {
		return err
	}
	return written
}

// merger puts together what holds of the copy and what has come.
type merger struct {
	t      *taking
	listed bool
	set    *snapshot.Builder
	out    *recordWriter

	object snapshot.Hash // of the record before
	bits   snapshot.Bits // what is noted of it
	stills int           // called unchanged, and found
}

func (m *merger) all() error {
	t := m.t
	for _, name := range t.s.domains(t.old) {
		m.out.domain(name)
	}
	if !t.full {
		if err := t.s.files.readObjects(&t.s.base, m.before); err != nil {
			return err
		}
		if m.stills != t.stills {
			return fmt.Errorf("%w: %w", errStill, directory.ErrStartOver)
		}
	}
	in, err := t.log.read()
	if err != nil {
		return err
	}
	return readRecords(in, t.key, t.records.mark, m.fresh)
}

// before takes a record of the copy that still holds.
func (m *merger) before(r record, domain string) error {
	if r.object != m.object {
		m.object, m.bits = r.object, m.t.marks.Get(r.object)
		if m.bits&named != 0 && m.bits&taken == 0 {
			m.stills++
		}
	}
	if m.bits&taken != 0 || m.listed && m.bits&named == 0 {
		return nil
	}
	m.put(r, domain)
	return nil
}

// fresh takes a record that has come, unless its object comes once more.
func (m *merger) fresh(r record, domain string) error {
	if len(m.t.again) > 0 {
		left, more := m.t.again[r.object]
		switch {
		case !more:
		case r.address == snapshot.Hash{}:
			m.t.again[r.object] = left - 1
			return nil
		case left > 0:
			return nil
		}
	}
	m.put(r, domain)
	return nil
}

func (m *merger) put(r record, domain string) {
	no := -1
	if r.domain != elsewhere {
		no = m.set.Domain(domain)
		r.domain = m.out.domain(domain)
	}
	m.out.put(r)
	m.set.AddHash(r.address, no)
}
