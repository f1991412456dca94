package synced

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"backstop/internal/directory"
	"backstop/internal/directory/snapshot"
	"backstop/internal/evidence"
	"backstop/internal/mail"
)

// Source is a synced source. Its methods are called from many goroutines.
type Source struct {
	cfg     Config
	view    atomic.Pointer[view]
	taken   atomic.Int64 // of the pull under way
	retired atomic.Bool

	ctx  context.Context // ends with Close
	stop context.CancelFunc
	done sync.WaitGroup
	wake chan struct{} // somebody waits for a pull

	mu      sync.Mutex
	state   State
	run     *run // the pull under way, or wanted
	started bool
	closed  bool

	// Of the goroutine that pulls:
	base      base
	files     files
	found     mark // of the kept set when it was opened
	failures  int  // pulls in a row
	badTold   int  // what the log was told of last
	staleTold bool
}

var _ directory.Ruled = (*Source)(nil)

// view is all that a look-up needs. It never changes.
type view struct {
	set    *snapshot.Set // nil: there is no copy
	made   time.Time
	none   string // why nothing is said, while there is no copy
	old    string // the same once it is too old
	unsure string // why a recipient who is not in it is not missing, once it is old
}

// Open takes what is kept, and changes nothing there: until Start another source may pull into
// the same folder. Its error is about the configuration; that what is kept is damaged is for the log to say.
func Open(cfg Config) (*Source, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	s := &Source{cfg: cfg, wake: make(chan struct{}, 1), state: State{Name: cfg.Name}}
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.files = filesOf(&s.cfg)
	s.show(s.openKept())
	if s.view.Load().set == nil && s.base.unused.total() == 0 && cfg.Instead != nil {
		s.base.unused = s.counted(cfg.Instead.Domains())
	}
	return s, nil
}

// Retire closes a source that another one takes the place of. Whom its copy does not have may have
// come since, so from now on it says missing of nobody.
func (s *Source) Retire() {
	s.retired.Store(true)
	s.Close()
}

// Start begins to pull, and to write to the folder: whoever did that before must be closed by
// now. A source that is started, closed or offline is left as it is.
func (s *Source) Start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.started || s.closed || s.cfg.Offline {
		return
	}
	s.started = true
	s.done.Go(s.loop)
}

// Close ends the pulling. The source answers on from what it has, until that is too old.
func (s *Source) Close() {
	s.stop()
	s.mu.Lock()
	if !s.started {
		s.end()
	}
	s.mu.Unlock()
	s.done.Wait()
}

// Name is the name in the configuration.
func (s *Source) Name() string { return s.cfg.Name }

// Known says Exists for an address in the copy, Missing for any other, and
// Unavailable while there is no copy or it is too old. A Missing becomes too old sooner: a recipient who came
// after the last pull is not refused for days.
func (s *Source) Known(key string) evidence.Standing { return s.Rule(key).Standing }

// Rule is Known, with how old that knowledge is, and why there is none.
func (s *Source) Rule(key string) directory.Ruling {
	v := s.view.Load()
	if v.set == nil {
		return directory.Ruling{Standing: evidence.Unavailable, Detail: v.none}
	}
	age := s.cfg.Now().Sub(v.made)
	if age > s.cfg.MaxStale {
		return directory.Ruling{Standing: evidence.Unavailable, Detail: v.old, Made: v.made}
	}
	if v.set.Has(key) {
		return directory.Ruling{Standing: evidence.Exists, Exact: true, Made: v.made}
	}
	if age > s.cfg.MissingFor || s.retired.Load() {
		return directory.Ruling{Standing: evidence.Unavailable, Detail: v.unsure, Made: v.made}
	}
	return directory.Ruling{Standing: evidence.Missing, Made: v.made}
}

// Lookup is Rule.
func (s *Source) Lookup(_ context.Context, addr mail.Address) directory.Answer {
	r := s.Rule(addr.Key())
	a := directory.Answer{Standing: r.Standing, Detail: r.Detail}
	if !r.Made.IsZero() {
		a.Age = max(0, s.cfg.Now().Sub(r.Made))
	}
	return a
}

// State says what the source answers from, and how its pulls go.
func (s *Source) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.state
	if st.Pulling {
		st.Taken = int(s.taken.Load())
	}
	st.Stale = s.stale()
	return st
}

// stale says whether nothing is said any more, or yet. Source.mu is locked.
func (s *Source) stale() bool {
	return s.state.Made.IsZero() || s.cfg.Now().Sub(s.state.Made) > s.cfg.MaxStale
}

// show puts a set in force, which may be the one that is. The one before goes back to the system
// once nobody looks into it any more.
func (s *Source) show(set *snapshot.Set) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := &view{set: set, made: s.base.made}
	if set != nil {
		s.state.Entries, s.state.Size, s.state.Made, s.state.Full = set.Len(), set.Size(), s.base.made, s.base.full
	}
	why := "the first pull has not come to its end"
	switch {
	case s.cfg.Offline:
		why = "nothing is pulled here"
	case s.state.Err != nil:
		why = s.state.Err.Error()
	case s.state.Held != nil && len(s.state.Held.Domains) == 0:
		why = "the first pull found nobody, and waits to be confirmed"
	case s.state.Held != nil:
		why = "the last pull loses too many recipients, and waits to be confirmed"
	}
	v.none = fmt.Sprintf("there is no copy of %s yet: %s", s.cfg.Name, why)
	v.unsure = fmt.Sprintf("the copy of %s does not have it, and was last right at %s: he may have come since", s.cfg.Name, v.made.UTC().Format(time.RFC3339))
	v.old = fmt.Sprintf("the copy of %s was last right at %s, which is more than %s ago: %s", s.cfg.Name, v.made.UTC().Format(time.RFC3339), s.cfg.MaxStale, why)
	s.view.Store(v)
}
