package synced

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"backstop/internal/directory"
	"backstop/internal/evidence"
	"backstop/internal/mail"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// How a fake directory tells its changes.
const (
	deltas = iota // who has changed, and who is gone
	lists         // everybody who is there, and what of those has changed
	never         // not at all
	plain         // nor has it ids
)

var errDown = errors.New("the directory is down")

// fake is a directory.
type fake struct {
	mu      sync.Mutex
	how     int
	people  map[string][]string // addresses by id
	changed map[string]int      // when, by id, also of those who are gone
	now     int                 // counts changes
	forgot  int                 // cursors below are too old
	fails   int                 // after so many recipients; 0: never
	twice   bool                // everybody comes twice, wrong at first
	fulls   int                 // pulls of each kind
	somes   int
	wait    chan struct{} // when set, a pull says so here and waits for it once more
}

func newFake(how int) *fake {
	return &fake{how: how, people: map[string][]string{}, changed: map[string]int{}}
}

// put gives somebody these addresses, or none at all.
func (f *fake) put(id string, addresses ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now++
	f.changed[id] = f.now
	f.people[id] = addresses
	if len(addresses) == 0 {
		delete(f.people, id)
	}
}

func (f *fake) fill(n int) *fake {
	for i := range n {
		f.put(fmt.Sprint("id", i), fmt.Sprintf("user%d@example.com", i))
	}
	return f
}

func (f *fake) pulls() (fulls, somes int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.fulls, f.somes
}

func (f *fake) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func (f *fake) hold(ctx context.Context) error {
	f.mu.Lock()
	wait := f.wait
	f.mu.Unlock()
	if wait == nil {
		return nil
	}
	for range 2 {
		select {
		case wait <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (f *fake) Full(ctx context.Context, into directory.Copy) (directory.Pulled, error) {
	if err := f.hold(ctx); err != nil {
		return directory.Pulled{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fulls++
	n := 0
	for _, id := range slices.Sorted(maps.Keys(f.people)) {
		if n++; f.fails > 0 && n > f.fails {
			return directory.Pulled{}, errDown
		}
		if f.twice {
			if err := into.Take(id, "old."+f.people[id][0], "kept@example.org"); err != nil {
				return directory.Pulled{}, err
			}
		}
		takeAs := id
		if f.how == plain {
			takeAs = ""
		}
		if err := into.Take(takeAs, f.people[id]...); err != nil {
			return directory.Pulled{}, err
		}
	}
	if f.how >= never {
		return directory.Pulled{}, nil
	}
	return directory.Pulled{Cursor: []byte(strconv.Itoa(f.now))}, nil
}

func (f *fake) Changes(ctx context.Context, cursor []byte, into directory.Copy) (directory.Pulled, error) {
	if err := f.hold(ctx); err != nil {
		return directory.Pulled{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.somes++
	since, err := strconv.Atoi(string(cursor))
	if err != nil || since < f.forgot || since > f.now {
		return directory.Pulled{}, fmt.Errorf("cursor %q: %w", cursor, directory.ErrStartOver)
	}
	n := 0
	for _, id := range slices.Sorted(maps.Keys(f.changed)) {
		if n++; f.fails > 0 && n > f.fails {
			return directory.Pulled{}, errDown
		}
		addresses, there := f.people[id]
		switch {
		case f.how == lists && there && f.changed[id] <= since && into.Has(id):
			err = into.Still(id)
		case f.how == lists && there, f.how == deltas && f.changed[id] > since:
			err = into.Take(id, addresses...)
		}
		if err != nil {
			return directory.Pulled{}, err
		}
	}
	return directory.Pulled{Cursor: []byte(strconv.Itoa(f.now)), Listed: f.how == lists}, nil
}

// clock is one that tests set.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// world is all that a source needs.
type world struct {
	t     testing.TB
	dir   *fake
	cfg   Config
	log   bytes.Buffer
	clock *clock
}

func newWorld(t testing.TB, dir *fake) *world {
	w := &world{t: t, dir: dir, clock: newClock()}
	w.cfg = Config{
		Name: "Corp", Puller: dir, Identity: "it", Folder: filepath.Join(t.TempDir(), "synced"), Now: w.clock.Now,
		Ticks: make(chan time.Time), Logger: slog.New(slog.NewTextHandler(&w.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	return w
}

// open opens the source. Its first pull has begun then.
func (w *world) open() *Source {
	w.t.Helper()
	s, err := Open(w.cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(s.Close)
	s.Start()
	return s
}

// sync pulls, which must go well; with confirm what is held back is seen and confirmed.
func (w *world) sync(s *Source, confirm bool) Report {
	w.t.Helper()
	r, err := s.Sync(w.t.Context(), confirm)
	if confirm && errors.Is(err, ErrHeld) {
		r, err = s.Sync(w.t.Context(), true)
	}
	if err != nil {
		w.t.Fatalf("%v (%+v)", err, r)
	}
	return r
}

// opened has the source pulled, too.
func (w *world) opened() *Source {
	w.t.Helper()
	s := w.open()
	w.sync(s, true)
	return s
}

func key(t testing.TB, addr string) string {
	t.Helper()
	a, err := mail.ParseAddress(addr)
	if err != nil {
		t.Fatal(err)
	}
	return a.Key()
}

func (w *world) says(s *Source, want evidence.Standing, who ...string) {
	w.t.Helper()
	for _, a := range who {
		if got := s.Known(key(w.t, a)); got != want {
			w.t.Errorf("%s: %v, want %v", a, got, want)
		}
	}
}

// knows says that the source knows those who are in the directory, and nobody else.
func (w *world) knows(s *Source) {
	w.t.Helper()
	w.dir.mu.Lock()
	defer w.dir.mu.Unlock()
	all := map[string]bool{}
	for _, addresses := range w.dir.people {
		for _, a := range addresses {
			all[a] = true
			w.says(s, evidence.Exists, a)
			w.says(s, evidence.Missing, "no"+a)
		}
	}
	if n := s.State().Entries; n != len(all) {
		w.t.Errorf("%d entries, want %d", n, len(all))
	}
}
