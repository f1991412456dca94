package watch

import (
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// Options of a file. All fields may be zero.
type Options struct {
	// What the file is, in the log: "list of recipients"; "" is "file".
	What string
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

// State is what is in force.
type State struct {
	Path    string
	Entries int
	Read    time.Time // when the content in force was read
	// Err says why the file as it is now is not what is in force; nil: it is.
	Err error
}

// File is a file whose content is in memory as a T. Its methods are called from many
// goroutines.
type File[T any] struct {
	path    string
	parse   Parser[T]
	opts    Options
	content atomic.Pointer[T]
	state   atomic.Pointer[State]
	end     chan struct{}
	done    sync.WaitGroup
	once    sync.Once

	// Of the goroutine that watches:
	seen   stamp  // the content that was last read, good or bad
	last   stamp  // the content at the last tick
	target string // the file behind the symbolic links, taken before it was read
}

// pollEvery is how often a file is looked at without an event.
const pollEvery = 30 * time.Second

// Open reads the file and begins to watch it. The error is the parser's, or says why
// the file cannot be read.
func Open[T any](path string, parse Parser[T], opts Options) (*File[T], error) {
	opts.fill()
	f := &File[T]{path: path, parse: parse, opts: opts, end: make(chan struct{})}
	var l *listener
	if !opts.NoEvents {
		// Before the first reading, so that no change falls between the two.
		var err error
		if l, err = listen(path); err != nil {
			opts.Logger.Warn("changes of this file are noticed late: its folder cannot be watched", "file", path, "error", err)
		}
	}
	f.target = target(path)
	content, n, seen, err := read(path, parse)
	if err != nil {
		l.close()
		return nil, err
	}
	f.seen, f.last = seen, seen
	f.content.Store(content)
	f.state.Store(&State{Path: path, Entries: n, Read: opts.Now()})
	f.done.Go(func() { f.follow(l) })
	return f, nil
}

func (o *Options) fill() {
	if o.What == "" {
		o.What = "file"
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Changed == nil {
		o.Changed = func(State) {}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
}

// Close ends the watching. What is in force stays so.
func (f *File[T]) Close() {
	f.once.Do(func() { close(f.end) })
	f.done.Wait()
}

// Get returns what is in force. Nobody may change it.
func (f *File[T]) Get() *T { return f.content.Load() }

// State says what is in force.
func (f *File[T]) State() State { return *f.state.Load() }

// follow looks at the file when something happened to it.
func (f *File[T]) follow(l *listener) {
	defer func() { l.close() }() // whichever it is by then
	ticks := f.opts.Ticks
	if ticks == nil {
		t := time.NewTicker(pollEvery)
		defer t.Stop()
		ticks = t.C
	}
	for {
		select {
		case <-f.end:
			return
		case e, ok := <-l.events():
			if !ok { // the folder is gone; the clock goes on, and finds it again
				l.close()
				l = nil
				f.look()
				continue
			}
			if now := target(f.path); e.name == filepath.Base(f.path) || e.lost || now != f.target {
				f.target = now
				f.look()
			}
		case <-ticks:
			if l == nil && !f.opts.NoEvents {
				l, _ = listen(f.path) // what happened meanwhile is found by this tick and the next
			}
			f.tick()
		}
	}
}

// tick looks at a file that has changed since it was read, but not since the last
// tick: one that is being written must not be read by halves.
func (f *File[T]) tick() {
	now := stampFile(f.path)
	still := now == f.last
	f.last = now
	if still && now != f.seen {
		f.look()
	}
}

// look reads the file, and takes it over when it is good.
func (f *File[T]) look() {
	old := f.State()
	content, n, seen, err := read(f.path, f.parse)
	if errors.Is(err, ErrChanged) {
		return // whoever writes it has not finished: that will be another event
	}
	f.seen = seen
	if err != nil {
		old.Err = err
		f.state.Store(&old)
		f.opts.Logger.Error("a changed "+f.opts.What+" was not taken over; the one before it stays in force",
			"file", f.path, "entries", old.Entries, "error", err)
		f.opts.Changed(old)
		return
	}
	f.content.Store(content)
	state := State{Path: f.path, Entries: n, Read: f.opts.Now()}
	f.state.Store(&state)
	f.opts.Logger.Info("a changed "+f.opts.What+" was taken over", "file", f.path, "entries", n, "before", old.Entries)
	f.opts.Changed(state)
}
