package access

import (
	"context"
	"log/slog"
	"time"

	"backstop/internal/directory"
	"backstop/internal/directory/watch"
	"backstop/internal/evidence"
	"backstop/internal/mail"
)

// Kind is a kind of file.
type Kind uint8

const (
	Access        Kind = iota // Sendmail's access text
	Virtusertable             // Sendmail's virtual users
	Postmap                   // Postfix's map text
	kinds
)

var kindNames = [kinds]string{"access", "virtusertable", "postmap"}

func (k Kind) String() string { return kindNames[k] }

// Options of a source. All fields may be zero.
type Options struct {
	// Canonical turns an alias of a domain into the domain's name, and leaves any
	// other name as it is; nil leaves all.
	Canonical func(domain string) string
	// Logger is told when a changed file is taken over and when it is not, and of
	// warnings; nil: nobody.
	Logger *slog.Logger
	// Changed is called after each look at a file that had changed, from one goroutine.
	Changed func(watch.State)
	// Ticks replaces the clock that says when to look at the file without an event.
	Ticks <-chan time.Time
	// NoEvents leaves the file to the clock alone.
	NoEvents bool
	// Now is the clock; time.Now.
	Now func() time.Time
}

// Source is a file of recipients. Its methods are called from many goroutines.
type Source struct {
	kind Kind
	name string
	file *watch.File[content]
}

var _ directory.Ruled = (*Source)(nil)

// Open reads the file and begins to watch it. The error names file and line of
// each bad line, up to ten, or says why the file cannot be read.
func Open(kind Kind, path string, o Options) (*Source, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Canonical == nil {
		o.Canonical = same
	}
	f, err := watch.Open(path, parser(kind, path, o.Canonical, o.Logger), watch.Options{
		What: kind.String() + " file", Logger: o.Logger, Changed: o.Changed, Ticks: o.Ticks, NoEvents: o.NoEvents, Now: o.Now,
	})
	if err != nil {
		return nil, err
	}
	return &Source{kind: kind, name: kind.String() + ":" + path, file: f}, nil
}

func same(domain string) string { return domain }

// Check reads the file once, and says what is wrong with it, as Open does, and of what
// it warns.
func Check(kind Kind, path string) (warnings []*watch.Mistake, err error) {
	c, err := watch.Read(path, parser(kind, path, same, slog.New(slog.DiscardHandler)))
	if err != nil {
		return nil, err
	}
	return c.warnings, nil
}

// Close ends the watching. The source answers on from what it has.
func (s *Source) Close() { s.file.Close() }

// Name is the kind and the file, "access:/etc/mail/access".
func (s *Source) Name() string { return s.name }

// State says what the source answers from.
func (s *Source) State() watch.State { return s.file.State() }

// Look reads the file now, if it has changed, and says what the source answers from then. The error is
// that of watch.File.Look.
func (s *Source) Look(ctx context.Context) (watch.State, error) { return s.file.Look(ctx) }

// Warnings are about lines that are allowed and probably not meant.
func (s *Source) Warnings() []*watch.Mistake { return s.file.Get().warnings }

// Rule says what the file says of an address, given by its key (mail.Address.Key).
// It allocates only where a virtusertable rewrites the address.
func (s *Source) Rule(key string) directory.Ruling {
	c := s.file.Get()
	switch s.kind {
	case Virtusertable:
		return c.virtual(key)
	case Postmap:
		return c.mapped(key)
	}
	return c.access(key)
}

// Known is the standing of Rule.
func (s *Source) Known(key string) evidence.Standing { return s.Rule(key).Standing }

// Lookup is Rule.
func (s *Source) Lookup(_ context.Context, addr mail.Address) directory.Answer {
	r := s.Rule(addr.Key())
	return directory.Answer{Standing: r.Standing, Detail: r.Detail, Blind: r.Blind}
}
