package record

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"backstop/internal/mail"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errDisk = errors.New("database or disk is full")

// shelf is a store in memory.
type shelf struct {
	mu      sync.Mutex
	held    map[name]time.Time
	batches []int
	expired []time.Time
	err     error
	hang    bool // until the context ends
}

func newShelf() *shelf { return &shelf{held: map[name]time.Time{}} }

func (s *shelf) state() (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hang, s.err
}

// ready waits where the store hangs, and fails where it fails.
func (s *shelf) ready(ctx context.Context) error {
	hang, err := s.state()
	if hang {
		<-ctx.Done()
		return ctx.Err()
	}
	return err
}

func (s *shelf) SaveRecords(ctx context.Context, entries []Entry) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.batches = append(s.batches, len(entries))
	for _, e := range entries {
		s.held[name{e.Kind, e.Key}] = e.At
	}
	return nil
}

func (s *shelf) HasRecord(ctx context.Context, k Kind, key [16]byte, since time.Time) (bool, error) {
	if err := s.ready(ctx); err != nil {
		return false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	at, ok := s.held[name{k, key}]
	return ok && !at.Before(since), nil
}

func (s *shelf) ExpireRecords(ctx context.Context, before time.Time) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expired = append(s.expired, before)
	for n, at := range s.held {
		if at.Before(before) {
			delete(s.held, n)
		}
	}
	return nil
}

func (s *shelf) set(hang bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hang, s.err = hang, err
}

func (s *shelf) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.held)
}

func address(t testing.TB, s string) mail.Address {
	t.Helper()
	a, err := mail.ParseAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func want(t *testing.T, r *Record, k Kind, id string, a mail.Address, seen bool) {
	t.Helper()
	got, err := r.Seen(t.Context(), k, []string{id}, a)
	if err != nil || got != seen {
		t.Errorf("%s %s: seen %v (%v), want %v", k, id, got, err, seen)
	}
}

func nth(i int) string { return fmt.Sprintf("<%d@example.com>", i) }

func closed(t *testing.T, r *Record) {
	t.Helper()
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

func TestWhatIsTheSameMessage(t *testing.T) {
	r := New(Config{})
	defer closed(t, r)
	ann := address(t, "Ann@Example.com")
	r.Note(Sent, " <One.Two@host.example.com>\r\n", ann)
	r.Note(Sent, "<broken\xff@host>", ann)
	for id, seen := range map[string]bool{
		"<One.Two@host.example.com>":             true,
		"One.Two@host.example.com":               true,
		"\t<\r\n One.Two@host.example.com >":     true,
		"<<One.Two@host.example.com>>":           true,
		"<One.Two@host.example.com> (as was)":    true,
		"<one.two@host.example.com>":             false, // case is kept
		"<One.Two@host.example.org>":             false,
		"<One.Two@host.example.comann>":          false,
		"<broken\xff@host>":                      true,
		"<broken\xfe@host>":                      false,
		"":                                       false,
		"<>":                                     false,
		"<" + strings.Repeat("x", MaxID+1) + ">": false,
	} {
		want(t, r, Sent, id, ann, seen)
	}
	want(t, r, Sent, "<One.Two@host.example.com>", address(t, "ann@example.com"), true)
	want(t, r, Sent, "<One.Two@host.example.com>", address(t, "bob@example.com"), false)
	want(t, r, Heard, "<One.Two@host.example.com>", ann, false)
	want(t, r, Sent, "<One.Two@host.example.com>", mail.Address{}, false)
	r.Note(Sent, "<none@example.com>", mail.Address{})
	r.Note(Sent, " ", ann)
	r.Note(Sent, "<"+strings.Repeat("x", MaxID+1)+">", ann)
	if n := r.State().Held; n != 2 {
		t.Errorf("%d held, want 2", n)
	}
}

func TestSeenLooksAtSeveral(t *testing.T) {
	r := New(Config{})
	defer closed(t, r)
	ann := address(t, "ann@example.com")
	r.Note(Sent, nth(7), ann)
	for _, tt := range []struct {
		ids  []string
		seen bool
	}{
		{nil, false},
		{[]string{nth(1), "", nth(7)}, true},
		{append(strings.Fields(strings.Repeat("<x@example.com> ", MaxIDs-1)), nth(7)), true},
		{append(strings.Fields(strings.Repeat("<x@example.com> ", MaxIDs)), nth(7)), false}, // too many
	} {
		if got, err := r.Seen(t.Context(), Sent, tt.ids, ann); got != tt.seen || err != nil {
			t.Errorf("%d candidates: %v, %v", len(tt.ids), got, err)
		}
	}
}

func TestBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShelf()
		r := New(Config{Store: s})
		ann := address(t, "ann@example.com")
		r.Note(Sent, nth(0), ann)
		want(t, r, Sent, nth(0), ann, true) // before anything is written
		time.Sleep(BatchDelay - 1)
		synctest.Wait()
		if s.len() != 0 {
			t.Error("written at once: the next ones would cost as much")
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if s.len() != 1 || r.State().Held != 0 {
			t.Errorf("%d written, %d held", s.len(), r.State().Held)
		}
		want(t, r, Sent, nth(0), ann, true) // from the store
		for i := range 2*BatchSize + 10 {
			r.Note(Heard, nth(i), ann)
			r.Note(Heard, nth(i), ann) // once more, as for a second recipient
		}
		synctest.Wait() // whole batches do not wait for the clock
		if n := s.len(); n < BatchSize {
			t.Errorf("%d written", n)
		}
		time.Sleep(BatchDelay)
		synctest.Wait()
		if n, st := s.len(), r.State(); n != 2*BatchSize+11 || st.Held != 0 || st.Written < uint64(n) || st.Lost != 0 {
			t.Errorf("%d written: %+v", n, st)
		}
		for _, n := range s.batches {
			if n > BatchSize {
				t.Errorf("a batch of %d", n)
			}
		}
		closed(t, r)
	})
}

func TestTenDays(t *testing.T) {
	for name, s := range map[string]*shelf{"store": newShelf(), "memory": nil} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := Config{}
				if s != nil {
					c.Store = s
				}
				r := New(c)
				defer closed(t, r)
				ann := address(t, "ann@example.com")
				r.Note(Sent, nth(1), ann)
				time.Sleep(Keep)
				want(t, r, Sent, nth(1), ann, true)
				time.Sleep(time.Nanosecond)
				want(t, r, Sent, nth(1), ann, false)
				time.Sleep(2 * time.Hour)
				r.Note(Sent, nth(2), ann)
				synctest.Wait()
				if n := r.State().Held; n != 1 {
					t.Errorf("%d held, want 1", n)
				}
				if s != nil && s.len() != 0 {
					t.Error("what is of no use stays in the store")
				}
			})
		})
	}
}

func TestStoreFailsAndRecovers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		s := newShelf()
		s.set(false, errDisk)
		r := New(Config{Store: s, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		ann := address(t, "ann@example.com")
		r.Note(Sent, nth(1), ann)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		want(t, r, Sent, nth(1), ann, true) // though it is nowhere on the disk
		if got, err := r.Seen(t.Context(), Sent, []string{nth(2)}, ann); got || !errors.Is(err, errDisk) {
			t.Errorf("of what is not held: %v, %v; want cannot tell", got, err)
		}
		st := r.State()
		if st.Held != 1 || st.LastError != errDisk.Error() || st.Failures < 5 || st.Failures > 30 {
			t.Errorf("%+v", st)
		}
		s.set(false, nil)
		time.Sleep(maxRetry)
		synctest.Wait()
		if st := r.State(); st.Held != 0 || st.LastError != "" || s.len() != 1 {
			t.Errorf("after it works again: %+v, %d written", st, s.len())
		}
		closed(t, r)
		if n := strings.Count(log.String(), "cannot be written"); n != 1 || !strings.Contains(log.String(), "are written again") {
			t.Errorf("told %d times:\n%s", n, log.String())
		}
	})
}

func TestFullQueueDropsTheOldest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		s := newShelf()
		s.set(true, nil) // hangs
		r := New(Config{Store: s, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		ann := address(t, "ann@example.com")
		const over = 2*BatchSize + 5
		for i := range MaxHeld {
			r.Note(Sent, nth(i), ann)
		}
		synctest.Wait() // a batch is under way, and hangs
		for i := MaxHeld; i < MaxHeld+over; i++ {
			r.Note(Sent, nth(i), ann)
		}
		st := r.State()
		if st.Held != MaxHeld || st.Lost != over {
			t.Fatalf("%+v", st)
		}
		want(t, r, Sent, nth(over), ann, true)
		want(t, r, Sent, nth(MaxHeld+over-1), ann, true)
		s.set(false, nil)
		time.Sleep(saveTime + maxRetry)
		synctest.Wait()
		want(t, r, Sent, nth(over-1), ann, false)
		if st := r.State(); st.Held != 0 || st.Written != MaxHeld || s.len() != MaxHeld {
			t.Errorf("%+v, %d written", st, s.len())
		}
		closed(t, r)
		if n := strings.Count(log.String(), "are lost"); n != 1 {
			t.Errorf("the loss was told %d times:\n%s", n, log.String())
		}
	})
}

func TestHangingStoreBlocksNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShelf()
		s.set(true, nil)
		r := New(Config{Store: s})
		ann := address(t, "ann@example.com")
		r.Note(Sent, nth(1), ann)
		began := time.Now()
		if _, err := r.Seen(t.Context(), Sent, []string{nth(2), nth(3), nth(4)}, ann); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		if took := time.Since(began); took != seenTime {
			t.Errorf("a look-up took %v", took)
		}
		began = time.Now()
		err := r.Close()
		if err == nil || !strings.Contains(err.Error(), "1 records of seen mail were not written") {
			t.Errorf("Close says %v", err)
		}
		if took := time.Since(began); took > closeTime+time.Second {
			t.Errorf("Close took %v", took)
		}
		r.Note(Sent, nth(5), ann)
		if st := r.State(); st.Lost != 1 {
			t.Errorf("noted after Close: %+v", st)
		}
	})
}

// deaf is a store that does not obey its context.
type deaf struct {
	*shelf
	gate chan struct{}
}

func (d deaf) SaveRecords(context.Context, []Entry) error {
	<-d.gate
	return nil
}

func TestCloseDoesNotWaitForADeafStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := deaf{newShelf(), make(chan struct{})}
		r := New(Config{Store: d})
		r.Note(Sent, nth(1), address(t, "ann@example.com"))
		time.Sleep(BatchDelay)
		synctest.Wait()
		if err := r.Close(); !errors.Is(err, errHangs) {
			t.Errorf("Close says %v", err)
		}
		close(d.gate)
	})
}

func TestCloseWritesWhatWaits(t *testing.T) {
	s := newShelf()
	r := New(Config{Store: s})
	ann := address(t, "ann@example.com")
	var noting sync.WaitGroup
	const writers, each = 4, 2000
	for w := range writers {
		noting.Go(func() {
			for i := range each {
				r.Note(Kind(1+w%2), fmt.Sprintf("%d.%d@example.com", w, i), ann)
			}
		})
	}
	noting.Go(func() { closed(t, r) })
	noting.Go(func() { closed(t, r) })
	noting.Wait()
	st := r.State()
	if st.Held != 0 || st.Written+st.Lost != writers*each || int(st.Written) != s.len() {
		t.Errorf("%+v, and %d in the store", st, s.len())
	}
}

// TestCrash: a process that ends without Close has lost no more than what was not written.
func TestCrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShelf()
		r := New(Config{Store: s})
		ann := address(t, "ann@example.com")
		r.Note(Sent, nth(1), ann)
		time.Sleep(BatchDelay)
		synctest.Wait()
		r.Note(Sent, nth(2), ann) // and the machine stops here
		after := New(Config{Store: s})
		want(t, after, Sent, nth(1), ann, true)
		want(t, after, Sent, nth(2), ann, false)
		closed(t, after)
		closed(t, r)
	})
}

func TestMemoryIsBounded(t *testing.T) {
	r := New(Config{})
	defer closed(t, r)
	ann := address(t, "ann@example.com")
	for i := range 2*MaxHeld + 7 {
		r.Note(Sent, nth(i), ann)
	}
	want(t, r, Sent, nth(MaxHeld+6), ann, false)
	want(t, r, Sent, nth(MaxHeld+7), ann, true)
	if st := r.State(); st.Held != MaxHeld || st.Kept || st.Lost != 0 || cap(r.held.order) > 4*MaxHeld || len(r.held.byName) != MaxHeld {
		t.Errorf("%+v, room for %d", st, cap(r.held.order))
	}
}

func TestMomentsInMemory(t *testing.T) {
	var m InMemory
	noon := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	for i, step := range []func() error{
		func() error { return nil },
		func() error { return m.Began(t.Context(), "tags example.com", noon) },
		func() error { return m.Began(t.Context(), "tags example.org", noon.Add(time.Hour)) },
		func() error { return m.Began(t.Context(), "tags example.com", noon.Add(2*time.Hour)) },
		func() error {
			return errors.Join(m.Ended(t.Context(), "tags example.org"), m.Ended(t.Context(), "never begun"))
		},
	} {
		want := []map[string]time.Time{
			{}, {"tags example.com": noon}, {"tags example.com": noon, "tags example.org": noon.Add(time.Hour)},
			{"tags example.com": noon.Add(2 * time.Hour), "tags example.org": noon.Add(time.Hour)}, {"tags example.com": noon.Add(2 * time.Hour)},
		}[i]
		if err := step(); err != nil {
			t.Error(err)
		}
		if got, err := m.Moments(t.Context()); err != nil || !maps.Equal(got, want) {
			t.Errorf("%d: %v, %v", i, got, err)
		}
	}
}

func BenchmarkNote(b *testing.B) {
	r := New(Config{})
	defer r.Close()
	ann := address(b, "ann@example.com")
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		r.Note(Sent, nth(i), ann)
	}
}
