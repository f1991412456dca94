package synced

import (
	"errors"
	"log/slog"
	"time"

	"backstop/internal/directory"
	"backstop/internal/directory/snapshot"
)

// Config of a source. Name and Puller must be set, Puller not with Offline.
type Config struct {
	// Name is the source as the configuration names it. Two sources in one folder need two names.
	Name string
	// Puller is the directory.
	Puller directory.Puller
	// Identity says what the copy is of: server, base, filter, attributes, aliases. What is
	// kept under another identity is not used, but a pull that finds far fewer is held back.
	Identity string
	// Folder is where the copy is kept; it is made where it is missing. "": nowhere but in memory.
	Folder string
	// Instead is the source that this one takes the place of, with other settings; nil: none is known.
	// Where no folder tells what was known before, losses are counted against its copy.
	Instead *Source
	// Every is how often to pull; 15 minutes.
	Every time.Duration
	// Full is how often at least everything is pulled, in place of the changes; 24 hours.
	Full time.Duration
	// MaxStale is how old the copy may be; 7 days. Beyond, every answer is Unavailable.
	MaxStale time.Duration
	// Most bounds what one pull may bring, in recipients and addresses together; 200 million. One that brings
	// more has failed.
	Most int
	// MissingFor is how old the copy may be for its silence to mean that somebody is missing;
	// two hours more than Every.
	MissingFor time.Duration
	// Canonical turns an alias of a domain into the domain's name, and leaves any
	// other name as it is; nil leaves all.
	Canonical func(domain string) string
	// Offline answers from what is kept, pulls nothing and writes nothing.
	Offline bool
	// Logger is told once of each change of state; nil: nobody.
	Logger *slog.Logger
	// Now is the clock; time.Now.
	Now func() time.Time
	// Ticks replaces the clock that says when to pull: each one begins a pull.
	Ticks <-chan time.Time
	// Changed is called after each pull, from one goroutine.
	Changed func(State)
}

// firstPause is how long after the first failure in a row the next pull begins.
const firstPause = 10 * time.Second

func (c *Config) fill() error {
	if c.Name == "" {
		return errors.New("a synced source needs a name")
	}
	if c.Puller == nil && !c.Offline {
		return errors.New("a synced source needs somebody to pull from")
	}
	or := func(d *time.Duration, usual time.Duration) {
		if *d <= 0 {
			*d = usual
		}
	}
	or(&c.Every, 15*time.Minute)
	or(&c.Full, 24*time.Hour)
	or(&c.MaxStale, 7*24*time.Hour)
	or(&c.MissingFor, c.Every+2*time.Hour)
	if c.Most <= 0 {
		c.Most = 200_000_000
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Canonical == nil {
		c.Canonical = func(domain string) string { return domain }
	}
	if c.Changed == nil {
		c.Changed = func(State) {}
	}
	return nil
}

// State is what a source answers from, and how its pulls go.
type State struct {
	Name    string
	Entries int       // addresses in the copy
	Size    int64     // octets of memory that it takes
	Made    time.Time // when it was last known to be right; zero: there is no copy
	Stale   bool      // it is older than MaxStale, or there is none: every answer is Unavailable
	Pulling bool
	Taken   int   // recipients that the pull under way has heard of
	Bad     int   // addresses of the last pull that are none, and were passed over
	Held    *Held // the last pull that did not fail was held back
	// Err is why the last pull failed, or why what it brought cannot be kept; nil: neither.
	Err   error
	Since time.Time // since when Err and Held are what they are; zero: nothing was pulled yet
	Full  time.Time // when everything was pulled last
	Next  time.Time // when the next pull begins; zero: it is under way, or nobody knows
}

// Held is what a pull that was held back would lose.
type Held struct {
	At            time.Time // when that pull began
	Before, After int       // addresses in all domains
	Domains       []Loss    // which lose too much, the greatest loss first; none: the first pull brought nobody
}

// Loss is what a domain would lose.
type Loss struct {
	Domain string // Elsewhere: the domains that are not counted by name
	Before int    // addresses
	After  int
	Lost   int // addresses that were there and are no more
}

// Elsewhere is in a Loss the name of all domains beyond those that are counted by name.
const Elsewhere = "(other domains)"

// Report is how a pull went.
type Report struct {
	Full    bool // everything was pulled, and not the changes
	Taken   int  // recipients that it heard of
	Bad     int  // addresses that are none
	Before  int  // addresses in the copy
	Entries int  // and after the pull
	Changed bool // the copy is another
	Held    *Held
	Took    time.Duration
}

var (
	// ErrHeld is wrapped by the error of Sync when the pull was held back. The Report says why.
	ErrHeld = errors.New("the pull was held back, for it loses too many recipients; confirm it if that is right")
	// ErrOffline is the error of Sync where nothing is ever pulled.
	ErrOffline = errors.New("this source answers from what is kept, and pulls nothing")
	// ErrClosed is the error of Sync after Close.
	ErrClosed = errors.New("the source was closed")
)

// Domains returns how many addresses of each domain the copy has, and how many in domains
// beyond the first 10,000.
func (s *Source) Domains() (byName []snapshot.Domain, others uint64) {
	if v := s.view.Load(); v.set != nil {
		return v.set.Domains()
	}
	return nil, 0
}
