package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"backstop/internal/config"
	"backstop/internal/directory"
	"backstop/internal/directory/access"
	"backstop/internal/directory/book"
	"backstop/internal/directory/ldapdir"
	"backstop/internal/evidence"
	"backstop/internal/mail"
)

// RecipientsQuery says whose recipients are wanted.
type RecipientsQuery struct {
	Domains    []string // names or aliases, folded; none: all that the configuration has
	Source     string   // of this source alone, by its name; "": of all sources of a domain
	Remembered bool     // of sources that cannot be listed, those that are remembered as existing

	// Patterns is given the lines of Sendmail's files that accept, or defer, one user with any +detail:
	// user+*@domain, or user++@domain where the detail may not be empty. nil: they are passed over. Its
	// error ends the call.
	Patterns func(mail.Address) error
	// Partly is told of each domain of which not everybody can be named although the call succeeds, and why,
	// perhaps more than once; nil: nobody is told.
	Partly func(domain, why string)
}

// Recipients hands over all recipients of the domains that their sources can name, each under
// its domain's own name; the same one may come more than once. Files are read again, directory
// servers and databases are asked for all that they have. Whom a file defers (450) exists as far as anybody
// knows, and is among them. The error is yield's, or names
// all sources whose recipients cannot be had: then what was handed over is not whole.
func (d *Daemon) Recipients(ctx context.Context, q RecipientsQuery, yield func(mail.Address) error) error {
	g := &gathering{d: d, s: d.current.Load(), q: q, yield: yield}
	if err := g.find(); err != nil {
		return err
	}
	for _, p := range g.places {
		if err := g.from(ctx, p); err != nil {
			if !errors.Is(err, errCannotList) {
				return err
			}
			g.missing = append(g.missing, err)
		}
	}
	if len(g.missing) > 0 {
		return &hinted{errors.Join(g.missing...), g.advice}
	}
	return nil
}

// errCannotList is wrapped by the errors about sources that have no list to give.
var errCannotList = errors.New("cannot be listed")

// puller is the system behind a source from which all recipients can be had, or nil: there is
// none, or what it is asked tells of single ones only.
func (s *setup) puller(src directory.Source) directory.Puller {
	p := s.plugs[src.Name()]
	switch {
	case p == nil,
		p.cfg.Kind == config.SourceSQL && !p.cfg.SQL.Sync,
		p.cfg.Kind == config.SourceLDAP && ldapdir.CanPull(p.cfg.LDAP.Filter) != nil:
		return nil
	}
	puller, _ := p.asked.(directory.Puller)
	return puller
}

// gathering is one call of Recipients.
type gathering struct {
	d       *Daemon
	s       *setup
	q       RecipientsQuery
	yield   func(mail.Address) error
	places  []*place
	missing []error
	advice  string
}

// place is something from which recipients come, for one domain or several: a file is read
// once, and a server asked once, however many domains have it.
type place struct {
	source directory.Source // of one of them
	file   string
	format book.Format
	asks   string           // the question under which its answers are remembered
	stale  time.Duration    // how long they are used
	by     map[string]*seat // by the domain's name
	seats  []*seat          // the same, in the order of the configuration
}

// seat is a source's place in the chain of a domain.
type seat struct {
	domain string
	source directory.Source
	before []directory.Source // those whose no is the last word
}

// find says where the recipients come from, in the order of the configuration.
func (g *gathering) find() error {
	wanted := map[string]bool{}
	for _, name := range g.q.Domains {
		r := g.s.cfg.Routes.Find(name)
		if r == nil {
			return fmt.Errorf("%s is not a domain of ours", name)
		}
		wanted[r.Name] = true
	}
	index := map[any]*place{}
	known := map[string]bool{}
	for i := range g.s.cfg.Domains {
		c := &g.s.cfg.Domains[i]
		if len(wanted) > 0 && !wanted[c.Name] {
			continue
		}
		sources := g.s.domains[g.s.cfg.Routes.Find(c.Name)].Chain.Sources()
		var before []directory.Source
		for n, src := range sources {
			known[src.Name()] = true
			if g.q.Source == "" || g.q.Source == src.Name() {
				g.add(index, &c.Sources[n], &seat{c.Name, src, slices.Clone(before)})
			}
			if !asksNext(&c.Sources[n]) {
				before = append(before, src)
			}
		}
	}
	if len(g.places) == 0 && g.q.Source != "" {
		names := make([]string, 0, len(known))
		for name := range known {
			names = append(names, name)
		}
		slices.Sort(names)
		return &hinted{fmt.Errorf("no source is called %q", g.q.Source), "there are " + strings.Join(names, ", ")}
	}
	return nil
}

// asksNext says whether the source leaves whom it does not have to the next one.
func asksNext(c *config.Source) bool {
	switch c.Kind {
	case config.SourceLDAP, config.SourceSQL, config.SourceHTTP:
		return askedOf(c).Next
	}
	return false
}

// add puts a seat to its place.
func (g *gathering) add(index map[any]*place, c *config.Source, at *seat) {
	type file struct {
		path   string
		format book.Format
	}
	var key any = at.source
	var f file
	if format, is := formats[c.Kind]; is {
		f = file{c.File, format}
		key = f
	}
	p := index[key]
	if p == nil {
		p = &place{source: at.source, file: f.path, format: f.format, asks: questionOf(c), stale: livesOf(g.s.cfg, c).MaxStale, by: map[string]*seat{}}
		index[key] = p
		g.places = append(g.places, p)
	}
	if p.by[at.domain] == nil { // named twice in one chain
		p.by[at.domain] = at
		p.seats = append(p.seats, at)
	}
}

// formats are those of the sources that are files.
var formats = map[config.SourceKind]book.Format{
	config.SourceList: book.List, config.SourceAccess: book.Access, config.SourceVirtusertable: book.Virtusertable, config.SourcePostmap: book.Postfix,
}

// from hands over what one place has.
func (g *gathering) from(ctx context.Context, p *place) error {
	take := func(a mail.Address) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return g.give(p, a, g.giveTo)
	}
	if p.file != "" {
		if err := g.namesAll(p); err != nil {
			return err
		}
		f, err := os.Open(p.file)
		if err != nil {
			return err
		}
		defer f.Close()
		patterns := func(a mail.Address) error { return g.give(p, a, g.givePattern) }
		_, err = book.Read(p.file, f, book.Options{Format: p.format, Pattern: patterns}, take)
		if bad := (*book.Mistake)(nil); errors.As(err, &bad) {
			return &config.Errors{List: fileProblems(p.file, err)}
		}
		return err
	}
	puller := g.s.puller(p.source)
	switch _, anybody := p.source.(directory.Anybody); {
	case anybody:
		return g.cannot(p, p.names(), "it accepts everybody and knows nobody", "export the other domains by name, with --domain")
	case puller != nil:
		_, err := puller.Full(ctx, &names{g, p, take})
		if err != nil {
			return fmt.Errorf("%s: %w", p.source.Name(), err)
		}
		return nil
	case !g.q.Remembered:
		return g.cannot(p, p.names(), "it says who exists only when asked about somebody", "--remembered exports those whom it is remembered to have said exist; --source NAME takes one source alone")
	}
	g.partly(p.names(), "of "+p.source.Name()+" only those who are remembered")
	return g.remembered(p, take)
}

// partly tells that not everybody in these domains is named.
func (g *gathering) partly(names []string, why string) {
	for _, name := range names {
		if g.q.Partly != nil {
			g.q.Partly(name, why)
		}
	}
}

// nobody is a local part that no user has.
const nobody = "nobody.can.have.this.name"

// namesAll makes sure that no line of a file says yes to anybody: nobody can write these down. Of one that
// defers everybody it tells.
func (g *gathering) namesAll(p *place) error {
	var blind []string
	for _, at := range p.seats {
		f, ok := at.source.(*access.Source)
		if !ok {
			continue
		}
		anybody := func(name string) bool {
			r := f.Rule(name + "@" + at.domain)
			return r.Standing == evidence.Exists && r.Blind
		}
		if anybody(nobody) || anybody(nobody+"+"+nobody) {
			blind = append(blind, at.domain)
		}
		if key := nobody + "@" + at.domain; f.Rule(key).Standing == evidence.Unavailable && !at.denies(key) {
			g.partly([]string{at.domain}, f.Name()+" defers whom it does not name")
		}
	}
	if blind == nil {
		return nil
	}
	return g.cannot(p, blind, "a line of it accepts everybody there, so its users are not all named", "name the users in it, or export the other domains with --domain")
}

// names are the place's domains.
func (p *place) names() (names []string) {
	for _, at := range p.seats {
		names = append(names, at.domain)
	}
	return names
}

// cannot is the error for a place that has no list of the recipients of these domains.
func (g *gathering) cannot(p *place, names []string, why, advice string) error {
	if g.advice == "" {
		g.advice = advice
	}
	const few = 3
	if n := len(names); n > few {
		names = append(names[:few], fmt.Sprintf("%d more", n-few))
	}
	return fmt.Errorf("the recipients of %s at %s %w: %s", strings.Join(names, ", "), p.source.Name(), errCannotList, why)
}

// give hands over an address that a place names, by to, if it is of a domain that is wanted. A local part alone
// is one of each domain.
func (g *gathering) give(p *place, a mail.Address, to func(*seat, mail.Address) error) error {
	if a.Domain() == "" {
		for _, at := range p.seats {
			full, err := a.WithDomain(at.domain)
			if err != nil {
				return err
			}
			if err := to(at, full); err != nil {
				return err
			}
		}
		return nil
	}
	r := g.s.cfg.Routes.Find(a.Domain())
	if r == nil || p.by[r.Name] == nil {
		return nil
	}
	return to(p.by[r.Name], r.Canonical(a))
}

func (g *gathering) giveTo(at *seat, a mail.Address) error {
	if at.denies(a.Key()) {
		return nil
	}
	return g.yield(a)
}

// givePattern judges a pattern by a detail that nobody has.
func (g *gathering) givePattern(at *seat, a mail.Address) error {
	user := a.LocalKey()
	user = user[:len(user)-1] // the star, or the second plus
	if g.q.Patterns == nil || at.denies(user+nobody+"@"+a.Domain()) {
		return nil
	}
	return g.q.Patterns(a)
}

// denies says whether the place, or who is asked before it, says that whom it names in one line does not exist.
func (at *seat) denies(key string) bool {
	if f, ok := at.source.(*access.Source); ok {
		if s := f.Rule(key).Standing; s != evidence.Exists && s != evidence.Unavailable {
			return true // another line of the file refuses him
		}
	}
	for _, src := range at.before {
		if known, ok := src.(directory.Known); ok && known.Known(key) == evidence.Missing {
			return true // has the word first, and says no
		}
	}
	return false
}

// remembered hands over whom a source said to exist, as long ago as its word is used.
func (g *gathering) remembered(p *place, take func(mail.Address) error) error {
	var failed error
	oldest := g.d.o.Now().Add(-p.stale)
	g.d.directory.Remembered(p.source.Name(), p.asks, func(key string, at time.Time) bool {
		if at.Before(oldest) {
			return true
		}
		a, err := mail.ParseAddress(key)
		if err == nil {
			err = take(a)
		}
		failed = err
		return err == nil
	})
	return failed
}

// names takes what a directory.Puller has.
type names struct {
	g    *gathering
	p    *place
	take func(mail.Address) error
}

// Take hands the addresses over. One that is none names nobody who could get mail.
func (n *names) Take(_ string, addresses ...string) error {
	for _, text := range addresses {
		a, err := mail.ParseAddress(strings.TrimSpace(text))
		if err != nil || a.Domain() == "" {
			n.g.d.log.Debug("passed over: not an address", "source", n.p.source.Name(), "address", text)
			continue
		}
		if err := n.take(a); err != nil {
			return err
		}
	}
	return nil
}

// Has says no: each pull is a whole one.
func (n *names) Has(string) bool { return false }

// Still has nothing to do, since nothing is had.
func (n *names) Still(string) error { return nil }
