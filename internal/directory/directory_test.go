package directory

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"backstop/internal/evidence"
)

// fake is a source whose answers the test sets.
// judged is a fake that can be blind.
// names is a listed source.
func TestChain(t *testing.T) {
	const who = "ann@example.com"
	yes, no, away := evidence.Exists, evidence.Missing, evidence.Unavailable
	source := func(i int, s evidence.Standing) Source {
		f := newFake(fmt.Sprintf("s%d", i))
		f.set(who, s)
		return f
	}
	for _, tt := range []struct {
		name  string
		chain []Source
		want  evidence.Standing
		by    string
	}{
		{"first yes", []Source{source(0, yes), source(1, no)}, yes, "s0"},
		{"first no", []Source{source(0, no), source(1, yes)}, no, "s0"},
		{"away, then yes", []Source{source(0, away), source(1, yes)}, yes, "s1"},
		{"away, then no: the one away might know", []Source{source(0, away), source(1, no)}, away, "s0"},
		{"away, then a silent list", []Source{source(0, away), names{}}, away, "s0"},
		{"list names it", []Source{names{who}, source(1, no)}, yes, "list:names"},
		{"list is silent, then yes", []Source{names{}, source(1, yes)}, yes, "s1"},
		{"list is silent, then no", []Source{names{}, source(1, no)}, no, "s1"},
		{"list is silent, then away", []Source{names{}, source(1, away)}, away, "s1"},
		{"list has the last word", []Source{names{"bob@example.com"}}, no, "list:names"},
		{"anybody", []Source{names{}, Anybody{}}, yes, "anybody"},
		{"nobody to ask", nil, away, "example.com"},
		{"nonsense is not a no", []Source{source(0, evidence.Standing(99))}, away, "s0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := New(Config{})
			defer d.Close()
			var members []Member
			for _, s := range tt.chain {
				members = append(members, Member{Source: s})
			}
			e := want(t, d, NewChain("example.com", members...), who, tt.want)
			if e.Blind != (tt.by == "anybody") {
				t.Errorf("blind: %v", e.Blind)
			}
			if e.Source != tt.by {
				t.Errorf("said by %q, want %q", e.Source, tt.by)
			}
		})
	}
}

func TestMissingIsYoungAndGrows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake("store")
		d := New(Config{})
		defer d.Close()
		c := NewChain("example.com", Member{Source: f})
		const who = "new@example.com"
		asked := 0
		for _, life := range []time.Duration{2, 4, 8, 16, 32, 64, 120, 120} {
			life *= time.Minute
			want(t, d, c, who, evidence.Missing)
			asked++
			time.Sleep(life - 1)
			want(t, d, c, who, evidence.Missing)
			if f.count() != asked {
				t.Fatalf("asked %d times before a life of %v was over, want %d", f.count(), life, asked)
			}
			time.Sleep(time.Nanosecond)
		}
		want(t, d, c, who, evidence.Missing)
		if f.count() != asked+1 {
			t.Fatalf("not asked again after its life")
		}
	})
}

func TestUserMadeAfterRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake("store")
		d := New(Config{})
		defer d.Close()
		c := NewChain("example.com", Member{Source: f})
		want(t, d, c, "new@example.com", evidence.Missing)
		f.set("new@example.com", evidence.Exists)
		time.Sleep(2 * time.Minute)
		want(t, d, c, "new@example.com", evidence.Exists)
	})
}

func TestExistsIsRefreshedBeforeItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake("store")
		f.set("ann@example.com", evidence.Exists)
		d := New(Config{})
		defer d.Close()
		c := NewChain("example.com", Member{Source: f})
		want(t, d, c, "ann@example.com", evidence.Exists)
		time.Sleep(18*time.Hour - 1)
		if e := want(t, d, c, "ann@example.com", evidence.Exists); e.Age != 18*time.Hour-1 {
			t.Errorf("age %v", e.Age)
		}
		synctest.Wait()
		if n := f.count(); n != 1 {
			t.Fatalf("asked %d times before three quarters of its life", n)
		}
		time.Sleep(time.Nanosecond)
		// The one who uses it does not wait: the source does not answer yet.
		f.gate = make(chan struct{})
		for range 10 {
			want(t, d, c, "ann@example.com", evidence.Exists)
		}
		synctest.Wait()
		if n := f.count(); n != 2 {
			t.Fatalf("asked %d times in all, want one question in the background", n)
		}
		close(f.gate)
		synctest.Wait()
		if e := want(t, d, c, "ann@example.com", evidence.Exists); e.Age != 0 {
			t.Errorf("age %v after the refresh", e.Age)
		}
	})
}

func TestDeletedUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake("store")
		f.set("ann@example.com", evidence.Exists)
		d := New(Config{})
		defer d.Close()
		c := NewChain("example.com", Member{Source: f})
		want(t, d, c, "ann@example.com", evidence.Exists)
		f.set("ann@example.com", evidence.Missing)
		time.Sleep(20 * time.Hour)
		want(t, d, c, "ann@example.com", evidence.Exists) // asks in the background
		synctest.Wait()
		want(t, d, c, "ann@example.com", evidence.Missing)
	})
}

func TestStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake("store")
		f.set("ann@example.com", evidence.Exists)
		d := New(Config{})
		defer d.Close()
		c := NewChain("example.com", Member{Source: f})
		want(t, d, c, "ann@example.com", evidence.Exists)
		want(t, d, c, "nobody@example.com", evidence.Missing)
		f.away()
		want(t, d, c, "unseen@example.com", evidence.Unavailable)

		time.Sleep(2*time.Minute + 2*time.Hour - 1)
		if e := want(t, d, c, "nobody@example.com", evidence.Missing); !e.Stale || !strings.Contains(e.Detail, "connection refused") {
			t.Errorf("not said to be stale: %+v", e)
		}
		time.Sleep(time.Nanosecond)
		want(t, d, c, "nobody@example.com", evidence.Unavailable)

		time.Sleep(7*24*time.Hour - 2*time.Hour - 2*time.Minute - 1)
		if e := want(t, d, c, "ann@example.com", evidence.Exists); !e.Stale {
			t.Errorf("not said to be stale: %+v", e)
		}
		time.Sleep(time.Nanosecond)
		want(t, d, c, "ann@example.com", evidence.Unavailable)
	})
}

func TestSingleFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake("store")
		f.set("ann@example.com", evidence.Exists)
		f.gate = make(chan struct{})
		d := New(Config{})
		defer d.Close()
		c := NewChain("example.com", Member{Source: f})
		q := Query{Address: address(t, "ann@example.com")}
		impatient, cancel := context.WithCancel(t.Context())
		first := make(chan evidence.Directory)
		go func() { first <- d.Lookup(impatient, c, q) }()
		synctest.Wait() // the impatient one asks, the others join him
		var wg sync.WaitGroup
		var yes atomic.Int32
		for range 100 {
			wg.Go(func() {
				if d.Lookup(t.Context(), c, q).Standing == evidence.Exists {
					yes.Add(1)
				}
			})
		}
		synctest.Wait()
		cancel()
		if e := <-first; e.Standing != evidence.Unavailable {
			t.Errorf("the one who gave up got %v", e.Standing)
		}
		close(f.gate)
		wg.Wait()
		if yes.Load() != 100 || f.count() != 1 {
			t.Errorf("%d of 100 got the answer, and the source was asked %d times", yes.Load(), f.count())
		}
	})
}

func TestQuestionIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake("store")
		f.gate = make(chan struct{}) // never opens
		d := New(Config{Timeout: 10 * time.Second})
		defer d.Close()
		began := time.Now()
		want(t, d, NewChain("example.com", Member{Source: f}), "ann@example.com", evidence.Unavailable)
		if took := time.Since(began); took != 10*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

func TestPanicIsUnavailable(t *testing.T) {
	d := New(Config{})
	defer d.Close()
	want(t, d, NewChain("example.com", Member{Source: panicky{newFake("p")}}), "ann@example.com", evidence.Unavailable)
}

func TestNotCacheable(t *testing.T) {
	f := newFake("store")
	f.other = Answer{Standing: evidence.Missing}
	d := New(Config{})
	defer d.Close()
	c := NewChain("example.com", Member{Source: f})
	want(t, d, c, "ann@example.com", evidence.Missing)
	want(t, d, c, "ann@example.com", evidence.Missing)
	if f.count() != 2 {
		t.Errorf("asked %d times, want 2", f.count())
	}
}

func TestSubaddress(t *testing.T) {
	d := New(Config{})
	defer d.Close()
	f := newFake("store")
	f.set("user@example.com", evidence.Exists)
	f.set("real+tag@example.com", evidence.Exists)
	relay := newFake("relay")
	relay.set("user@example.com", evidence.Exists)
	live := NewChain("example.com", Member{Source: f})
	list := NewChain("example.com", Member{Source: names{"user@example.com"}}, Member{Source: newFake("behind")})
	own := NewChain("example.com", Member{Source: relay, Relay: true})
	for _, tt := range []struct {
		chain *Chain
		addr  string
		sep   string
		want  evidence.Standing
	}{
		{live, "user+tag@example.com", "+", evidence.Exists},
		{live, "user+tag@example.com", "", evidence.Missing},
		{live, "real+tag@example.com", "+", evidence.Exists},
		{live, "real+other@example.com", "+", evidence.Missing},
		{live, "User+Tag+More@example.com", "+", evidence.Exists},
		{list, "user+tag@example.com", "+", evidence.Exists},
		{list, "other+tag@example.com", "+", evidence.Missing},
		// The relay is given the address as it is, and has said no to just that.
		{own, "user+tag@example.com", "+", evidence.Missing},
	} {
		e := d.Lookup(t.Context(), tt.chain, Query{Address: address(t, tt.addr), Subaddress: tt.sep})
		if e.Standing != tt.want {
			t.Errorf("%s with %q: %v, want %v", tt.addr, tt.sep, e.Standing, tt.want)
		}
	}
}

// A validation server that knows more than the relay does not get mail delivered.
func TestLivesOfOneMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake("store")
		f.set("ann@example.com", evidence.Exists)
		d := New(Config{})
		defer d.Close()
		c := NewChain("example.com", Member{Source: f, Lives: Lives{ExistsFor: time.Hour}})
		want(t, d, c, "ann@example.com", evidence.Exists)
		time.Sleep(time.Hour)
		want(t, d, c, "ann@example.com", evidence.Exists)
		if f.count() != 2 {
			t.Errorf("asked %d times, want 2", f.count())
		}
	})
}

func TestAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake("store")
		f.set("ann@example.com", evidence.Exists)
		d := New(Config{})
		defer d.Close()
		c := NewChain("example.com", Member{Source: f})
		want(t, d, c, "ann@example.com", evidence.Exists)
		f.away()
		q := Query{Address: address(t, "ann@example.com"), At: time.Now().Add(3 * 24 * time.Hour)}
		if e := d.Lookup(t.Context(), c, q); e.Standing != evidence.Exists || !e.Stale || e.Age != 3*24*time.Hour {
			t.Errorf("in three days: %+v", e)
		}
		q.At = time.Now().Add(8 * 24 * time.Hour)
		if e := d.Lookup(t.Context(), c, q); e.Standing != evidence.Unavailable {
			t.Errorf("in eight days: %+v", e)
		}
	})
}

func TestTrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		away := newFake("corp")
		away.away()
		last := newFake("last")
		last.set("user@example.com", evidence.Exists)
		d := New(Config{})
		defer d.Close()
		c := NewChain("example.com", Member{Source: names{}}, Member{Source: away}, Member{Source: last})
		e, trace := d.Trace(t.Context(), c, Query{Address: address(t, "user@example.com")})
		if e.Standing != evidence.Exists || len(trace) != 3 {
			t.Fatalf("%+v, %+v", e, trace)
		}
		var got []string
		for _, f := range trace {
			got = append(got, f.Source+" "+f.Address+" "+f.Standing.String())
		}
		wanted := []string{
			"list:names user@example.com not asked",
			"corp user@example.com unavailable",
			"last user@example.com exists",
		}
		if !slices.Equal(got, wanted) {
			t.Errorf("got %q", got)
		}
	})
}

func TestClosed(t *testing.T) {
	d := New(Config{})
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	want(t, d, NewChain("example.com", Member{Source: newFake("s")}), "ann@example.com", evidence.Unavailable)
}
