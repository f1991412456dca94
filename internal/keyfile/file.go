package keyfile

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"backstop/internal/directory/watch"
	"backstop/internal/keyring"
)

// Name is the name of the file in the state folder.
const Name = "keys.json"

// Lifetime is the longest that something which a key made can be good: an SRS address, for 21 days and the
// rest of one. Tags and seals live shorter.
const Lifetime = 22 * 24 * time.Hour

// secretSize is that of the secrets that are made: as many octets as SHA-256 has.
const secretSize = 32

// Options of a file of keys. All fields may be zero.
type Options struct {
	// Logger is told when changed keys are taken over and when they are not; nil: nobody.
	Logger *slog.Logger
	// Now is the clock; time.Now.
	Now func() time.Time
	// NoEvents leaves the file to a look every half minute.
	NoEvents bool
	// Ticks replaces the clock of these looks.
	Ticks <-chan time.Time
	// Changed is called after each change of what the file says, or of who may read it, from one goroutine.
	Changed func(State)
}

// State is how the file is.
type State struct {
	Path    string    // "": the keys are in memory only
	Keys    int       // that are not retired
	Read    time.Time // when they were read; zero: there is no file
	Err     error     // why the file as it is now is not what is in force; nil: it is
	Exposed bool      // others than its owner may read the file
}

// content is what was read of a file.
type content struct {
	all  keyring.Ring
	live keyring.Ring // those that were not retired when it was read
}

// File is the keys of a state folder. Its methods may be called from many goroutines.
type File struct {
	folder, path string
	opts         Options
	wait         time.Duration // for a lock

	memory  *content // where there is no file
	opening sync.Mutex
	closed  bool // under opening
	watched atomic.Pointer[watch.File[content]]

	parsed, heard *content // what was read, and what was told of, last; of the goroutine that watches
	trouble       string   // what was told of
	open          bool     // the file was exposed, and that was told
}

// lockWait is how long a change waits for that of another.
const lockWait = 10 * time.Second

// Open reads the keys of a folder and begins to follow their changes. A folder without a file has none: Ensure
// makes the first. Whoever opened it closes it.
func Open(folder string, o Options) (*File, error) {
	o.fill()
	info, err := os.Stat(folder)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, hint("start the daemon once, which makes it, or make it for the daemon's user", "there is no folder %s to keep keys in", folder)
	case err != nil:
		return nil, err
	case !info.IsDir():
		return nil, fmt.Errorf("%s is no folder, so no keys can be kept in it", folder)
	}
	f := &File{folder: folder, path: filepath.Join(folder, Name), opts: o, wait: lockWait}
	if err := f.follow(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return f, nil
}

func (o *Options) fill() {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Changed == nil {
		o.Changed = func(State) {}
	}
}

// Memory is one key that is made now and lives as long as the process: for a daemon without a state folder. It
// cannot be changed (ErrMemory).
func Memory(now time.Time) *File {
	o := Options{}
	o.fill()
	r, _ := keyring.New(keyring.Key{ID: firstID, Secret: newSecret(), Created: now, SignsFrom: now}) // one key with a secret is a ring
	return &File{opts: o, memory: &content{all: r, live: r}}
}

func newSecret() keyring.Secret {
	s := make(keyring.Secret, secretSize)
	_, _ = rand.Read(s) // it never fails (Go 1.24)
	return s
}

// follow begins to watch the file, if there is one and that was not yet done; otherwise it has
// what is watched looked at.
func (f *File) follow() error {
	f.opening.Lock()
	defer f.opening.Unlock()
	if f.closed {
		return nil
	}
	if w := f.watched.Load(); w != nil {
		_, err := w.Look(context.Background()) // it answers from its goroutine, which only Close ends
		return err
	}
	f.heard = nil
	w, err := watch.Open(f.path, f.parse, watch.Options{
		What: "file of keys", Changed: f.changed, NoEvents: f.opts.NoEvents, Ticks: f.opts.Ticks, Now: f.opts.Now,
	})
	if err != nil {
		return f.told(err)
	}
	f.watched.Store(w)
	f.warn()
	return nil
}

func (f *File) parse(in *watch.Text) (*content, int, error) {
	keys, err := decode(f.path, in)
	if err != nil {
		return nil, 0, err
	}
	c, n, err := contentOf(keys, f.opts.Now())
	if f.parsed = c; f.heard == nil { // the first; nothing has to be told of it
		f.heard, f.open = c, f.exposed()
	}
	return c, n, err
}

func contentOf(keys []keyring.Key, now time.Time) (c *content, n int, err error) {
	c = &content{}
	if c.all, err = keyring.New(keys...); err == nil {
		c.live, err = keyring.New(living(keys, now)...)
	}
	return c, c.live.Len(), err
}

// living are the keys that are not retired.
func living(keys []keyring.Key, now time.Time) (out []keyring.Key) {
	for _, k := range keys {
		if k.Retired.IsZero() || now.Before(k.Retired) {
			out = append(out, k)
		}
	}
	return out
}

// changed tells of a look at the file. It is done here and not by package watch, whose words are about recipients.
func (f *File) changed(s watch.State) {
	if !f.news(s) {
		return
	}
	if s.Err != nil {
		f.opts.Logger.Error("the changed file of keys was not taken over; the keys before it stay in force", "file", f.path, "keys", s.Entries, "error", f.told(s.Err))
	} else {
		f.opts.Logger.Info("the changed file of keys was taken over", "file", f.path, "keys", s.Entries)
		f.warn()
	}
	f.opts.Changed(f.stateOf(s))
}

// news says whether a look found something that was not told of yet. What this File writes is looked at by itself, and once
// more when the event comes.
func (f *File) news(s watch.State) bool {
	trouble, open := "", f.exposed()
	if s.Err != nil {
		trouble = s.Err.Error()
	}
	same := trouble == f.trouble && open == f.open && (s.Err != nil || slices.EqualFunc(f.parsed.all.Keys(), f.heard.all.Keys(), sameKey))
	f.trouble, f.open = trouble, open
	if s.Err == nil {
		f.heard = f.parsed
	}
	return !same
}

func sameKey(a, b keyring.Key) bool {
	return a.ID == b.ID && string(a.Secret) == string(b.Secret) && a.Created.Equal(b.Created) && a.SignsFrom.Equal(b.SignsFrom) && a.Retired.Equal(b.Retired)
}

// told is an error of package watch in words that fit keys.
func (f *File) told(err error) error {
	if errors.Is(err, watch.ErrEmpty) {
		return broken(fmt.Errorf("%s is empty", f.path))
	}
	return err
}

func (f *File) warn() {
	if f.exposed() {
		f.opts.Logger.Warn("others than its owner may read the file of keys: chmod 600 it, and retire the keys if somebody else had them", "file", f.path)
	}
}

func (f *File) exposed() bool {
	info, err := os.Stat(f.path)
	return err == nil && info.Mode().Perm()&0o077 != 0
}

// now is what is in force.
func (f *File) now() *content {
	if f.memory != nil {
		return f.memory
	}
	if w := f.watched.Load(); w != nil {
		return w.Get()
	}
	return &content{}
}

// Ring is the keys that hold now, without those that are retired. It costs nothing and waits for nobody.
func (f *File) Ring() keyring.Ring { return f.now().live }

// All is every key of the file, those that are retired too: for people who ask.
func (f *File) All() keyring.Ring { return f.now().all }

// State says how the file is.
func (f *File) State() State {
	if w := f.watched.Load(); w != nil {
		return f.stateOf(w.State())
	}
	return State{Path: f.path, Keys: f.Ring().Len()}
}

func (f *File) stateOf(s watch.State) State {
	return State{Path: f.path, Keys: s.Entries, Read: s.Read, Err: f.told(s.Err), Exposed: f.exposed()}
}

// Close ends the following. The keys stay in force.
func (f *File) Close() {
	f.opening.Lock()
	defer f.opening.Unlock()
	f.closed = true
	if w := f.watched.Load(); w != nil {
		w.Close()
	}
}
