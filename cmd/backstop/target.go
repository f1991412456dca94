package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"backstop/internal/config"
	"backstop/internal/directory/book"
	"backstop/internal/mail"
	"backstop/internal/safefile"
)

// targets says into which list an address goes.
type targets struct {
	only    string            // --domain, by its own name; "": all
	names   map[string]string // a domain's own name by each of its names
	by      map[string]*target
	all     *target // --to: whatever the domain
	why     map[string]string
	passed  map[string]int // addresses that go nowhere, by domain
	lists   []*target
	ambig   map[string][]string // the lists of a domain that has several
	unowned int                 // local parts alone that no list was clear for
}

// target is one list.
type target struct {
	importedList
	sole string // the one domain that uses it: local parts alone are his; "": there are several, or nobody knows
	book *book.Book
	old  *book.Book // what is in the file; nil: there is no file
}

// targets reads from the configuration which domain has which list. With --to there need be none.
func (a *app) targets(f importFlags) (*targets, error) {
	t := &targets{only: f.domain, names: map[string]string{}, by: map[string]*target{}, passed: map[string]int{}, why: map[string]string{}, ambig: map[string][]string{}}
	var cfg *config.Config
	_, statErr := os.Stat(a.file)
	if f.to == "" || !errors.Is(statErr, fs.ErrNotExist) {
		var err error
		cfg, err = a.load()
		switch {
		case err != nil && f.to == "":
			return nil, withHint(err, "name the list with --to FILE where there is no configuration")
		case err != nil && !absent(f.to):
			return nil, err // a list that is there may be another domain's, too
		case err != nil: // it may lack just the list that is to be made
			a.complainOne("warning: "+a.file+" has mistakes, so aliases of domains are not known", "`backstop check` lists them")
			cfg = &config.Config{}
		}
		for i := range cfg.Domains {
			d := &cfg.Domains[i]
			for _, name := range append([]string{d.Name}, d.Aliases...) {
				t.names[name] = d.Name
			}
		}
	}
	if own, ours := t.names[t.only]; ours {
		t.only = own
	} else if t.only != "" && f.to == "" {
		return nil, hint("the list of another domain is named with --to FILE", "%s is not a domain of %s", t.only, a.file)
	}
	if f.to != "" {
		t.all = newTarget(f.to)
		if !shared(cfg, f.to, t.only) {
			t.all.sole = t.only
		}
		t.lists = []*target{t.all}
		return t, nil
	}
	t.fromConfig(cfg)
	return t, nil
}

func absent(file string) bool {
	_, err := os.Stat(file)
	return errors.Is(err, fs.ErrNotExist)
}

// shared says whether the file is the list of a domain other than this one, too. cfg may be nil.
func shared(cfg *config.Config, file, domain string) bool {
	info, err := os.Stat(file)
	if cfg == nil || err != nil {
		return false
	}
	for i := range cfg.Domains {
		d := &cfg.Domains[i]
		for _, s := range d.Sources {
			other, err := os.Stat(s.File)
			if s.Kind == config.SourceList && d.Name != domain && err == nil && os.SameFile(info, other) {
				return true
			}
		}
	}
	return false
}

// withHint gives err a line of advice where it has none that fits better.
func withHint(err error, advice string) error {
	var list *config.Errors
	if errors.As(err, &list) && len(list.List) == 1 && list.List[0].Line == 0 {
		return hint(advice, "%s", list.List[0].String())
	}
	return err
}

func newTarget(file string) *target {
	return &target{importedList: importedList{File: file}, book: book.New()}
}

func (t *targets) fromConfig(cfg *config.Config) {
	byFile := map[string]*target{}
	for i := range cfg.Domains {
		d := &cfg.Domains[i]
		var files []string
		for _, s := range d.Sources {
			if s.Kind == config.SourceList && !slices.Contains(files, s.File) {
				files = append(files, s.File)
			}
		}
		switch len(files) {
		case 0:
			t.why[d.Name] = `it has no list (recipients = ["list:FILE"]); name one with --to`
		case 1:
			l := byFile[files[0]]
			if l == nil {
				l = newTarget(files[0])
				byFile[files[0]], l.sole = l, d.Name
				t.lists = append(t.lists, l)
			} else {
				l.sole = ""
			}
			t.by[d.Name] = l
		default:
			t.ambig[d.Name] = files
		}
	}
}

// add puts an address where it belongs.
func (t *targets) add(a mail.Address) {
	domain := a.Domain()
	if domain == "" {
		domain = t.only
	} else if own, ours := t.names[domain]; ours {
		domain = own
	}
	switch {
	case t.only != "" && domain != t.only:
		t.pass(domain, "not the domain of --domain")
	case t.all != nil:
		t.all.book.AddTo(domain, a.LocalKey())
	case domain == "" && len(t.lists) == 1:
		t.lists[0].book.AddTo(t.lists[0].sole, a.LocalKey())
	case domain == "":
		t.unowned++
	case t.by[domain] != nil:
		t.by[domain].book.AddTo(domain, a.LocalKey())
	default:
		t.pass(domain, "not a domain of the configuration")
	}
}

// pass counts an address that goes nowhere; a reason that the domain has already stays.
func (t *targets) pass(domain, why string) {
	t.passed[domain]++
	if t.why[domain] == "" {
		t.why[domain] = why
	}
}

// ready says what stands against writing, once all is read. nobody is why there is no address at all, or "".
func (t *targets) ready(nobody string) error {
	if t.unowned > 0 {
		return hint("say whose they are with --domain DOMAIN, or where they go with --to FILE", "local parts without a domain: %d, and the configuration has %d lists", t.unowned, len(t.lists))
	}
	for _, domain := range slices.Sorted(maps.Keys(t.ambig)) {
		if t.passed[domain] > 0 {
			return hint("name the one that is meant with --to FILE", "%s has several lists: %s", domain, strings.Join(t.ambig[domain], ", "))
		}
	}
	t.lists = slices.DeleteFunc(t.lists, func(l *target) bool { return l.book.Len() == 0 })
	if len(t.lists) > 0 {
		return nil
	}
	if nobody != "" {
		return hint(nobody, "there is nothing to bring in, and nothing was written")
	}
	advice := "no recipient of the domains in question was read"
	for _, o := range t.others() {
		if t.only == "" || o.Domain == t.only {
			advice = fmt.Sprintf("read and passed over were %d at %s: %s", o.Addresses, o.Domain, o.Why)
			break
		}
	}
	return hint(advice, "there is nothing to bring in, and nothing was written")
}

// others are the domains whose addresses go nowhere.
func (t *targets) others() (out []passedDomain) {
	for _, domain := range slices.Sorted(maps.Keys(t.passed)) {
		out = append(out, passedDomain{domain, t.passed[domain], t.why[domain]})
	}
	return out
}

// compare reads the lists as they are, and says what would change. What is too much is an error.
func (t *targets) compare(f importFlags) error {
	for _, l := range t.lists {
		if err := l.read(t.names); err != nil {
			return err
		}
		if err := l.plan(f, t.only); err != nil {
			return err
		}
		if f.replace && t.only != "" {
			l.keepOthers(t.only)
		}
	}
	return nil
}

// read reads the file that is there.
func (l *target) read(names map[string]string) error {
	in, err := os.Open(l.File)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	l.old = book.New()
	if info.Size() == 0 {
		return nil
	}
	_, err = book.Read(l.File, in, book.Options{Format: book.List}, func(a mail.Address) error {
		domain := a.Domain()
		if own, ours := names[domain]; ours {
			domain = own
		} else if domain == "" {
			domain = l.sole
		}
		l.old.AddTo(domain, a.LocalKey())
		return nil
	})
	if err != nil {
		return l.noList(mistakesOf(err))
	}
	return nil
}

// noList says in one line that the file is no plain list, where its mistakes show no less; else it tells of them.
func (l *target) noList(mistakes error) error {
	var list *config.Errors
	if !errors.As(mistakes, &list) {
		return mistakes
	}
	in, err := os.Open(l.File)
	if err != nil {
		return err
	}
	defer in.Close()
	const advice = "recipients are brought into a list with one address a line; name one with --to, or a file that is yet to be made"
	switch format, err := book.Recognise(l.File, in); {
	case err != nil:
		return hint(advice, "%s is no plain list, so nothing can be added to it", l.File)
	case format != book.List:
		return hint(advice, "%s is no plain list but looks like %v, so nothing can be added to it", l.File, format)
	}
	return mistakes
}

// plan compares by domain. A domain that loses more than a fifth is refused: half a
// file, or the wrong one, is likelier than that. Where only one domain is brought in, no other one loses any.
func (l *target) plan(f importFlags, only string) error {
	old := l.old
	if old == nil {
		old = book.New()
	}
	domains := slices.Concat(l.book.Domains(), old.Domains())
	slices.Sort(domains)
	for _, domain := range slices.Compact(domains) {
		now, was := l.book.Of(domain), old.Of(domain)
		d := importedDomain{Domain: domain, Read: now.Len(), New: len(now.Without(was))}
		d.Already = d.Read - d.New
		d.Total = was.Len() + d.New
		if f.replace && (only == "" || domain == only) {
			d.Removed, d.Total = was.Len()-d.Already, d.Read
		}
		if lost := d.Removed; lost > 1 && lost*5 > was.Len() && !f.force {
			return hint("if that is meant, say --force; without --replace nothing is taken out",
				"%s would lose %d of its %d recipients in %s, more than a fifth: nothing was written", localsOr(domain), lost, was.Len(), l.File)
		}
		if d.Read > 0 || d.Removed > 0 {
			l.Domains = append(l.Domains, d)
		}
	}
	return nil
}

// keepOthers takes over what the list has of other domains, local parts alone that are not this
// one's alone among them.
func (l *target) keepOthers(only string) {
	if l.old == nil {
		return
	}
	for _, domain := range l.old.Domains() {
		if domain == only {
			continue
		}
		for _, name := range l.old.Of(domain).Sorted() {
			l.book.AddTo(domain, name)
		}
	}
}

// write writes the list, if it changes.
func (l *target) write(f importFlags) error {
	if !l.changes() || f.dryRun {
		return nil
	}
	fill := l.merge
	if f.replace {
		fill = func(w io.Writer) error {
			_, err := book.Write(w, book.List, l.book, nil)
			return err
		}
	}
	if err := safefile.Replace(l.File, fill, 0o644); err != nil {
		return err
	}
	l.Written = true
	return nil
}

// merge copies the file as it is, and appends what it lacks.
func (l *target) merge(w io.Writer) error {
	old := l.old
	if old == nil {
		old = book.New()
	} else if err := copyWhole(w, l.File); err != nil {
		return err
	}
	for _, domain := range l.book.Domains() {
		if err := book.AppendList(w, domain, l.book.Of(domain).Without(old.Of(domain))); err != nil {
			return err
		}
	}
	return nil
}

// copyWhole copies a text, and ends its last line.
func copyWhole(w io.Writer, path string) error {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer in.Close()
	last := &lastOctet{w: w, c: '\n'}
	if _, err := io.Copy(last, in); err != nil {
		return err
	}
	if last.c != '\n' {
		_, err = io.WriteString(w, "\n")
	}
	return err
}

// lastOctet remembers the last octet that it passed on.
type lastOctet struct {
	w io.Writer
	c byte
}

func (l *lastOctet) Write(p []byte) (int, error) {
	if len(p) > 0 {
		l.c = p[len(p)-1]
	}
	return l.w.Write(p)
}
