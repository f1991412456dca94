package directory

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"backstop/internal/evidence"
)

// shelf is a store in memory.
type shelf struct {
	mu     sync.Mutex
	held   map[flightKey]Entry
	writes int
	err    error
}

func (s *shelf) Load(_ context.Context, f func(Entry) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.held {
		if err := f(e); err != nil {
			return err
		}
	}
	return s.err
}

func (s *shelf) Save(_ context.Context, entries []Entry) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	s.writes++
	for _, e := range entries {
		s.held[flightKey{e.Source, e.Address}] = e
	}
	return nil
}

func (s *shelf) Forget(_ context.Context, p Pattern) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k := range s.held {
		if p.Match(k.addr) {
			delete(s.held, k)
		}
	}
	return s.err
}

func (s *shelf) Expire(_ context.Context, exists, missing time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, e := range s.held {
		if e.Standing == evidence.Exists && e.At.Before(exists) || e.Standing == evidence.Missing && e.At.Before(missing) {
			delete(s.held, k)
		}
	}
	return s.err
}

func (s *shelf) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.held)
}

func (s *shelf) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func TestRestartKeepsAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{held: map[flightKey]Entry{}}
		f := newFake("store")
		f.set("ann@example.com", evidence.Exists)
		c := NewChain("example.com", Member{Source: f})
		d := New(Config{Store: s})
		want(t, d, c, "ann@example.com", evidence.Exists)
		want(t, d, c, "nobody@example.com", evidence.Missing)
		time.Sleep(2 * time.Minute)
		want(t, d, c, "nobody@example.com", evidence.Missing)
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		asked := f.count()

		d = New(Config{Store: s})
		defer d.Close()
		time.Sleep(4*time.Minute - 1) // the second life of the missing one
		want(t, d, c, "ann@example.com", evidence.Exists)
		want(t, d, c, "nobody@example.com", evidence.Missing)
		if f.count() != asked {
			t.Errorf("asked %d times after the restart", f.count()-asked)
		}
	})
}

// TestKeptAsLongAsAChainUsesIt: a source's own lives may be longer than those that all have.
func TestKeptAsLongAsAChainUsesIt(t *testing.T) {
	const day = 24 * time.Hour
	long := Lives{ExistsFor: Never, MissingFor: 5 * day, MissingMax: 5 * day, MaxStale: 90 * day}
	for name, keep := range map[string]func(*Directory){
		"from the start": func(*Directory) {},
		"since a reload": func(d *Directory) { d.Keep(nil); d.Keep([]Lives{{}, long}) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &shelf{held: map[flightKey]Entry{}}
				f := newFake("store")
				f.set("ann@example.com", evidence.Exists)
				c := NewChain("example.com", Member{Source: f, Lives: long})
				cfg := Config{Store: s, Chains: []Lives{long, {}}}
				d := New(cfg)
				keep(d)
				want(t, d, c, "ann@example.com", evidence.Exists)
				want(t, d, c, "nobody@example.com", evidence.Missing)
				f.away()
				time.Sleep(9 * day) // sweeps pass
				want(t, d, c, "ann@example.com", evidence.Exists)
				want(t, d, c, "nobody@example.com", evidence.Missing)
				if err := d.Close(); err != nil {
					t.Fatal(err)
				}
				time.Sleep(80 * day)
				d = New(cfg)
				defer d.Close()
				want(t, d, c, "ann@example.com", evidence.Exists)
				time.Sleep(2 * day)
				want(t, d, c, "ann@example.com", evidence.Unavailable)
				synctest.Wait()
				if exists, missing := d.Counts(); exists+missing != 0 || s.len() != 0 {
					t.Errorf("of use to nobody: %d, and %d in the store", exists+missing, s.len())
				}
			})
		})
	}
}

func TestWriteBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{held: map[flightKey]Entry{}}
		f := newFake("store")
		c := NewChain("example.com", Member{Source: f})
		d := New(Config{Store: s})
		defer d.Close()
		for _, a := range []string{"a@example.com", "b@example.com", "c@example.com"} {
			want(t, d, c, a, evidence.Missing)
		}
		if s.len() != 0 {
			t.Error("an answer waited for the disk")
		}
		time.Sleep(writeDelay)
		synctest.Wait()
		if s.len() != 3 || s.writes != 1 {
			t.Errorf("%d answers in %d writes, want 3 in 1", s.len(), s.writes)
		}

		// A store that fails keeps nothing waiting, and gets everything later.
		s.fail(errDisk)
		want(t, d, c, "d@example.com", evidence.Missing)
		time.Sleep(writeDelay)
		synctest.Wait()
		s.fail(nil)
		want(t, d, c, "e@example.com", evidence.Missing)
		time.Sleep(writeDelay)
		synctest.Wait()
		if s.len() != 5 {
			t.Errorf("%d answers in the store, want 5", s.len())
		}
		if _, err := d.Forget(t.Context(), Pattern{Address: "a@example.com"}); err != nil || s.len() != 4 {
			t.Errorf("%d answers in the store after a forget (%v), want 4", s.len(), err)
		}
		time.Sleep(48 * time.Hour)
		synctest.Wait()
		if _, missing := d.Counts(); s.len() != 0 || missing != 0 {
			t.Errorf("%d answers in the store and %d here, of no use to anybody", s.len(), missing)
		}
	})
}

func TestForgetReachesWhatIsNotWrittenYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{held: map[flightKey]Entry{}}
		d := New(Config{Store: s})
		defer d.Close()
		want(t, d, NewChain("example.com", Member{Source: newFake("store")}), "a@example.com", evidence.Missing)
		if _, err := d.Forget(t.Context(), Pattern{Domain: "example.com"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * writeDelay)
		synctest.Wait()
		if s.len() != 0 {
			t.Error("a forgotten answer was written")
		}
	})
}

// slowShelf gives one answer at once and the rest when it may.
type slowShelf struct {
	*shelf
	gate chan struct{}
}

func (s slowShelf) Load(ctx context.Context, f func(Entry) error) error {
	if err := f(s.held[flightKey{"store", "first@example.com"}]); err != nil {
		return err
	}
	select {
	case <-s.gate:
		return s.shelf.Load(ctx, f)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func TestFullStoreIsReadBeside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		s := slowShelf{&shelf{held: map[flightKey]Entry{}}, make(chan struct{})}
		for _, a := range []string{"first@example.com", "later@example.com", "gone@example.com"} {
			s.held[flightKey{"store", a}] = Entry{Source: "store", Address: a, Standing: evidence.Exists, At: began}
		}
		f := newFake("store")
		c := NewChain("example.com", Member{Source: f})
		d := New(Config{Store: s})
		defer d.Close()
		if waited := time.Since(began); waited != loadWait {
			t.Errorf("the start took %v", waited)
		}
		want(t, d, c, "first@example.com", evidence.Exists)
		want(t, d, c, "gone@example.com", evidence.Missing) // asked: the store's answer is not here yet
		forgotten := make(chan error)
		go func() {
			_, err := d.Forget(t.Context(), Pattern{Address: "first@example.com"})
			forgotten <- err
		}()
		close(s.gate)
		if err := <-forgotten; err != nil {
			t.Fatal(err)
		}
		want(t, d, c, "later@example.com", evidence.Exists)
		want(t, d, c, "gone@example.com", evidence.Missing) // the younger answer holds
		want(t, d, c, "first@example.com", evidence.Missing)
		if f.count() != 2 {
			t.Errorf("asked %d times, want 2", f.count())
		}
	})
}

func TestCloseWhileTheStoreIsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := New(Config{Store: slowShelf{&shelf{held: map[flightKey]Entry{}}, make(chan struct{})}})
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestStoreThatCannotBeRead(t *testing.T) {
	d := New(Config{Store: &shelf{held: map[flightKey]Entry{}, err: errDisk}})
	want(t, d, NewChain("example.com", Member{Source: newFake("s")}), "ann@example.com", evidence.Missing)
	if err := d.Close(); err == nil {
		t.Error("Close did not say that answers were lost")
	}
}
