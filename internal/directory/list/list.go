package list

import (
	"context"
	"io"
	"log/slog"
	"strings"
	"time"

	"backstop/internal/directory"
	"backstop/internal/directory/watch"
	"backstop/internal/evidence"
	"backstop/internal/mail"
)

// Options of a list. All fields may be zero.
type Options struct {
	// Canonical turns an alias of a domain into the domain's name, and leaves any
	// other name as it is; nil leaves all.
	Canonical func(domain string) string
	// Logger is told when a changed file is taken over and when it is not; nil: nobody.
	Logger *slog.Logger
	// Changed is called after each look at a file that had changed, from one goroutine.
	Changed func(State)
	// Ticks replaces the clock that says when to look at the file without an event.
	Ticks <-chan time.Time
	// NoEvents leaves the file to the clock alone.
	NoEvents bool
	// Now is the clock; time.Now.
	Now func() time.Time
}

// State is what a list answers from.
type State = watch.State

// List is a listed source. Its methods are called from many goroutines.
type List struct {
	name string
	file *watch.File[set]
}

var _ directory.Known = (*List)(nil)

// Open reads the file and begins to watch it. The error names file and line of
// each bad line, up to ten, or says why the file cannot be read.
func Open(path string, o Options) (*List, error) {
	if o.Canonical == nil {
		o.Canonical = same
	}
	f, err := watch.Open(path, parser(path, o.Canonical), watch.Options{
		What: "list of recipients", Logger: o.Logger, Changed: o.Changed, Ticks: o.Ticks, NoEvents: o.NoEvents, Now: o.Now,
	})
	if err != nil {
		return nil, err
	}
	return &List{name: "list:" + path, file: f}, nil
}

func same(domain string) string { return domain }

func parser(path string, canonical func(string) string) watch.Parser[set] {
	return func(in io.Reader, lines int) (*set, int, error) {
		r := newReader(path, canonical, lines)
		err := r.all(in, lines)
		return r.set, r.set.Len(), err
	}
}

// Check reads the file and says what is wrong with it, as Open does.
func Check(path string) error {
	_, err := watch.Read(path, parser(path, same))
	return err
}

// Close ends the watching. The list answers on from what it has.
func (l *List) Close() { l.file.Close() }

// Name is "list:" and the file.
func (l *List) Name() string { return l.name }

// State says what the list answers from.
func (l *List) State() State { return l.file.State() }

// Known says Exists for a listed address and NotAsked for any other: whether a list's
// silence means that the recipient is missing depends on who else may be asked.
func (l *List) Known(key string) evidence.Standing {
	s := l.file.Get()
	if s.Has(key) {
		return evidence.Exists
	}
	if s.locals {
		if at := strings.LastIndexByte(key, '@'); at > 0 && s.Has(key[:at]) {
			return evidence.Exists
		}
	}
	return evidence.NotAsked
}

// Lookup is Known.
func (l *List) Lookup(_ context.Context, addr mail.Address) directory.Answer {
	return directory.Answer{Standing: l.Known(addr.Key())}
}
