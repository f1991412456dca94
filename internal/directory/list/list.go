package list

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
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
	path  string
	name  string
	opts  Options
	set   atomic.Pointer[snapshot.Set]
	state atomic.Pointer[State]
	end   chan struct{}
	done  sync.WaitGroup
	once  sync.Once

	// Of the goroutine that watches:
	seen   stamp  // the content that was last read, good or bad
	last   stamp  // the content at the last tick
	target string // the file behind the symbolic links, taken before it was read
	unkept bool   // the set in force is not in the folder Keep yet
	sum    uint32 // of the text that the set in force was read from
	young  bool   // see reading
}

var _ directory.Known = (*List)(nil)

// pollEvery is how often a file is looked at without an event.
const pollEvery = 30 * time.Second

// large is the size in octets from which the memory of a set is not left to the next collection, which may be minutes away.
const large = 16 << 20

// Open reads the file, or what was kept of it, and begins to watch it. The error
// names file and line of each bad line, up to ten, or says why the file cannot be read.
func Open(path string, opts Options) (*List, error) {
	opts.fill()
	l := &List{path: path, name: "list:" + path, opts: opts, end: make(chan struct{})}
	var w *watcher
	if !opts.NoEvents {
		// Before the first reading, so that no change falls between the two.
		var err error
		if w, err = listen(path); err != nil {
			opts.Logger.Warn("changes of this file are noticed late: its folder cannot be watched", "file", path, "error", err)
		}
	}
	l.target = target(path)
	r, err := l.kept()
	if err != nil {
		r, err = read(path, &opts)
		l.unkept = opts.Keep != ""
	}
	if err != nil {
		w.close()
		return nil, err
	}
	l.seen, l.last, l.sum, l.young = r.stamp, r.stamp, r.sum, r.young
	l.set.Store(r.set)
	l.state.Store(&State{Path: path, Entries: r.set.Len(), Read: r.set.Made()})
	l.done.Go(func() { l.follow(w) })
	return l, nil
}

func (o *Options) fill() {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Changed == nil {
		o.Changed = func(State) {}
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
	_, err := read(path, &Options{Now: time.Now})
	return err
}

// Close ends the watching. The list answers on from what it has.
func (l *List) Close() {
	l.once.Do(func() { close(l.end) })
	l.done.Wait()
}

// Name is "list:" and the file.
func (l *List) Name() string { return l.name }

// State says what the list answers from.
func (l *List) State() State { return *l.state.Load() }

// Domains returns how many entries each domain has in the list in force, and how many are in
// domains beyond the first 10,000.
func (l *List) Domains() (byName []snapshot.Domain, others uint64) { return l.set.Load().Domains() }

// Known says Exists for a listed address and NotAsked for any other: whether a list's
// silence means that the recipient is missing depends on who else may be asked.
func (l *List) Known(key string) evidence.Standing {
	s := l.set.Load()
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

// follow looks at the file when something happened to it.
func (l *List) follow(w *watcher) {
	defer func() { w.close() }() // whichever it is by then
	ticks := l.opts.Ticks
	if ticks == nil {
		t := time.NewTicker(pollEvery)
		defer t.Stop()
		ticks = t.C
	}
	for {
		l.keep()
		select {
		case <-l.end:
			return
		case e, ok := <-w.events():
			if !ok { // the folder is gone; the clock goes on, and finds it again
				w.close()
				w = nil
				l.look()
				continue
			}
			if now := target(l.path); e.name == filepath.Base(l.path) || e.lost || now != l.target {
				l.target = now
				l.look()
			}
		case <-ticks:
			if w == nil && !l.opts.NoEvents {
				w, _ = listen(l.path) // what happened meanwhile is found by this tick and the next
			}
			l.tick()
		}
	}
}

// tick looks at a file that has changed since it was read, but not since the last
// tick: one that is being written must not be read by halves.
func (l *List) tick() {
	now := stampFile(l.path)
	still := now == l.last
	l.last = now
	if still && now != l.seen {
		l.look()
	}
}

// look reads the file, and takes it over when it is good.
func (l *List) look() {
	old := l.State()
	r, err := read(l.path, &l.opts)
	if errors.Is(err, errChanged) {
		return // whoever writes it has not finished: that will be another event
	}
	l.seen = r.stamp
	if err != nil {
		old.Err = err
		l.state.Store(&old)
		l.opts.Logger.Error("a changed list of recipients was not taken over; the one before it stays in force",
			"file", l.path, "entries", old.Entries, "error", err)
		l.opts.Changed(old)
		return
	}
	if before := l.set.Swap(r.set).Size(); before >= large {
		runtime.GC() // which finds out that nobody looks into the one before, and gives its memory back
	}
	l.unkept, l.sum, l.young = l.opts.Keep != "", r.sum, r.young
	state := State{Path: l.path, Entries: r.set.Len(), Read: r.set.Made()}
	l.state.Store(&state)
	l.opts.Logger.Info("a changed list of recipients was taken over", "file", l.path, "entries", state.Entries, "before", old.Entries)
	l.opts.Changed(state)
}

// target is the file behind the symbolic links on the way, "" where there is none.
func target(path string) string {
	t, err := filepath.EvalSymlinks(path)
	if err != nil {
		return ""
	}
	return t
}

func stampFile(path string) stamp {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{}
	}
	return stampOf(info)
}
