package watch

import (
	"context"
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
	keeper  Keeper[T] // nil: nothing is kept
	opts    Options
	content atomic.Pointer[T]
	state   atomic.Pointer[State]
	asked   chan chan error // of Look
	end     chan struct{}
	done    sync.WaitGroup
	once    sync.Once

	// Of the goroutine that watches:
	seen   stamp  // the content that was last read, good or bad
	last   stamp  // the content at the last tick
	target string // the file behind the symbolic links, taken before it was read
	unkept bool   // the content in force is to be kept
	sum    uint32 // of the text of the content in force
	young  bool   // see reading
}

// ErrClosed is the error of Look after Close.
var ErrClosed = errors.New("the file is no longer watched")

// pollEvery is how often a file is looked at without an event.
const pollEvery = 30 * time.Second

// Open reads the file and begins to watch it. The error is the parser's, or says why
// the file cannot be read.
func Open[T any](path string, parse Parser[T], opts Options) (*File[T], error) {
	return open(path, parse, nil, opts)
}

func open[T any](path string, parse Parser[T], keeper Keeper[T], opts Options) (*File[T], error) {
	opts.fill()
	f := &File[T]{path: path, parse: parse, keeper: keeper, opts: opts, asked: make(chan chan error), end: make(chan struct{})}
	var l *listener
	if !opts.NoEvents {
		// Before the first reading, so that no change falls between the two.
		var err error
		if l, err = listen(path); err != nil {
			opts.Logger.Warn("changes of this file are noticed late: its folder cannot be watched", "file", path, "error", err)
		}
	}
	f.target = target(path)
	r, ok := f.kept()
	if !ok {
		var err error
		if r, err = read(path, parse, opts.Now()); err != nil {
			l.close()
			return nil, err
		}
		f.unkept = keeper != nil
	}
	f.seen, f.last, f.sum, f.young = r.stamp, r.stamp, r.sum, r.young
	f.content.Store(r.content)
	f.state.Store(&State{Path: path, Entries: r.entries, Read: r.begun})
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
		f.keep()
		select {
		case <-f.end:
			return
		case answer := <-f.asked:
			f.target = target(f.path)
			answer <- f.lookAnew()
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

// Look reads the file now, if it has changed, and says what is in force then. The error
// is ctx's, ErrClosed, or wraps ErrChanged: whoever writes the file has not finished.
func (f *File[T]) Look(ctx context.Context) (State, error) {
	answer := make(chan error, 1)
	select {
	case f.asked <- answer:
		return f.answered(<-answer)
	case <-f.end:
		return f.answered(ErrClosed)
	case <-ctx.Done():
		return f.answered(ctx.Err())
	}
}

func (f *File[T]) answered(err error) (State, error) { return f.State(), err }

// lookAnew is look, unless the file in force is still there as it was.
func (f *File[T]) lookAnew() error {
	if stampFile(f.path) == f.seen && f.State().Err == nil && (!f.young || f.same()) {
		return nil
	}
	return f.look()
}

// look reads the file, and takes it over when it is good. The error wraps ErrChanged.
func (f *File[T]) look() error {
	old := f.State()
	r, err := read(f.path, f.parse, f.opts.Now())
	if errors.Is(err, ErrChanged) {
		return err // whoever writes it has not finished: that will be another event
	}
	f.seen = r.stamp
	if err != nil {
		old.Err = err
		f.state.Store(&old)
		f.opts.Logger.Error("a changed "+f.opts.What+" was not taken over; the one before it stays in force",
			"file", f.path, "entries", old.Entries, "error", err)
		f.opts.Changed(old)
		return nil
	}
	if before := f.content.Swap(r.content); f.keeper != nil {
		f.keeper.Replaced(before)
	}
	f.unkept, f.sum, f.young = f.keeper != nil, r.sum, r.young
	state := State{Path: f.path, Entries: r.entries, Read: r.begun}
	f.state.Store(&state)
	f.opts.Logger.Info("a changed "+f.opts.What+" was taken over", "file", f.path, "entries", r.entries, "before", old.Entries)
	f.opts.Changed(state)
	return nil
}
