package list

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"backstop/internal/directory"
	"backstop/internal/directory/snapshot"
	"backstop/internal/directory/watch"
	"backstop/internal/evidence"
	"backstop/internal/mail"
)

// Options of a list. All fields may be zero.
type Options struct {
	// Aliases gives the name of a domain for each of its aliases, both folded.
	Aliases map[string]string
	// Keep is a folder for what the text was compiled into, so that the next Open does
	// not have to read the text; it is made where it is missing. "": nothing is kept.
	Keep string
	// Logger is told when a changed file is taken over and when it is not; nil: nobody.
	Logger *slog.Logger
	// Changed is called after each look at a file that had changed, from one goroutine.
	Changed func(State)
	// Kept is called after the set in force was written to the folder Keep, or could not be, from one goroutine.
	Kept func(error)
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
	path string
	name string
	opts Options
	file *watch.File[snapshot.Set]
}

var _ directory.Known = (*List)(nil)

// Open reads the file, or what was kept of it, and begins to watch it. The error
// names file and line of each bad line, up to ten, or says why the file cannot be read.
func Open(path string, opts Options) (*List, error) {
	opts.fill()
	l := &List{path: path, name: "list:" + path, opts: opts}
	var err error
	l.file, err = watch.OpenKept(path, parser(path, &l.opts), &shelf{path: path, opts: &l.opts}, watch.Options{
		What: "list of recipients", Logger: opts.Logger, Changed: opts.Changed, Ticks: opts.Ticks, NoEvents: opts.NoEvents, Now: opts.Now,
	})
	if err != nil {
		return nil, err
	}
	return l, nil
}

func (o *Options) fill() {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Kept == nil {
		o.Kept = func(error) {}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
}

// Check reads the file and says what is wrong with it, as Open does.
func Check(path string) error {
	_, err := watch.Read(path, parser(path, &Options{}))
	return err
}

// Close ends the watching. The list answers on from what it has.
func (l *List) Close() { l.file.Close() }

// Name is "list:" and the file.
func (l *List) Name() string { return l.name }

// State says what the list answers from.
func (l *List) State() State { return l.file.State() }

// Look reads the file now, if it has changed, and says what the list answers from then. The error is that
// of watch.File.Look.
func (l *List) Look(ctx context.Context) (State, error) { return l.file.Look(ctx) }

// Domains returns how many entries each domain has in the list in force, and how many are in
// domains beyond the first 10,000.
func (l *List) Domains() (byName []snapshot.Domain, others uint64) { return l.file.Get().Domains() }

// Known says Exists for a listed address and NotAsked for any other: whether a list's
// silence means that the recipient is missing depends on who else may be asked.
func (l *List) Known(key string) evidence.Standing {
	s := l.file.Get()
	if s.Has(key) {
		return evidence.Exists
	}
	if s.HasLocals() {
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
