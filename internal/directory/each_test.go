package directory

import (
	"testing"
	"testing/synctest"
	"time"

	"backstop/internal/evidence"
)

// A source whose answers are asked for each time: a change is seen at once, and what was
// known serves while the source is away, but no longer than MaxStale.
func TestAskedEachTime(t *testing.T) {
	synctest.Test(t, askedEachTime)
}

func askedEachTime(t *testing.T) {
	f := newFake("corp")
	d := New(Config{})
	defer d.Close()
	lives := Lives{ExistsFor: Never, MissingFor: Never, MissingMax: Never, MaxStale: 24 * time.Hour}
	chain := NewChain("example.com", Member{Source: f, Lives: lives})
	says := func(addr string, want evidence.Standing, stale bool) {
		t.Helper()
		got := d.Lookup(t.Context(), chain, Query{Address: address(t, addr)})
		if got.Standing != want || got.Stale != stale {
			t.Fatalf("%s: %v, stale %v; want %v, %v", addr, got.Standing, got.Stale, want, stale)
		}
	}
	for range 50 { // however often it is said
		says("ann@example.com", evidence.Missing, false)
	}
	if e, m := d.Counts(); e+m != 0 {
		t.Errorf("%d and %d are remembered of what nobody will ask for", e, m)
	}
	f.set("ann@example.com", evidence.Exists)
	says("ann@example.com", evidence.Exists, false)
	f.set("bob@example.com", evidence.Exists)
	says("bob@example.com", evidence.Exists, false)
	time.Sleep(time.Hour)
	f.set("bob@example.com", evidence.Missing)
	says("bob@example.com", evidence.Missing, false)
	f.away()
	time.Sleep(time.Second)
	says("ann@example.com", evidence.Exists, true)
	says("bob@example.com", evidence.Unavailable, false) // gone, as far as anybody knows
	says("eve@example.com", evidence.Unavailable, false)
	time.Sleep(22 * time.Hour)
	says("ann@example.com", evidence.Exists, true)
	time.Sleep(2 * time.Hour)
	says("ann@example.com", evidence.Unavailable, false)
}

// An answer to another question is not believed: a mended filter must not be answered by what
// the wrong one found.
func TestAnotherQuestion(t *testing.T) {
	f := newFake("corp")
	d := New(Config{})
	defer d.Close()
	chain := func(question string) *Chain {
		return NewChain("example.com", Member{Source: f, Question: question, Lives: Lives{MissingFor: time.Hour}})
	}
	says := func(question string, want evidence.Standing) {
		t.Helper()
		got := d.Lookup(t.Context(), chain(question), Query{Address: address(t, "ann@example.com")})
		if got.Standing != want || got.Source != "corp" {
			t.Errorf("%s: %v, says %q", question, got.Standing, got.Source)
		}
	}
	says("wrong filter", evidence.Missing)
	f.set("ann@example.com", evidence.Exists)
	says("wrong filter", evidence.Missing) // as remembered
	says("right filter", evidence.Exists)
	for question, want := range map[string]int{"right filter": 1, "wrong filter": 0, "": 0} {
		n := 0
		d.Remembered("corp", question, func(string, time.Time) bool { n++; return true })
		if n != want {
			t.Errorf("%s: %d are remembered to exist, want %d", question, n, want)
		}
	}
}

// Two directories that have some of the users each: the first one's no asks the second.
func TestMissingAsksTheNext(t *testing.T) {
	first, second := newFake("first"), newFake("second")
	first.set("ann@example.com", evidence.Exists)
	second.set("bob@example.com", evidence.Exists)
	d := New(Config{})
	defer d.Close()
	chain := NewChain("example.com", Member{Source: first, Next: true}, Member{Source: second, Next: true})
	says := func(addr string, want evidence.Standing, by string) {
		t.Helper()
		got := d.Lookup(t.Context(), chain, Query{Address: address(t, addr), Subaddress: "+"})
		if got.Standing != want || got.Source != by {
			t.Errorf("%s: %v, says %q; want %v, %q", addr, got.Standing, got.Source, want, by)
		}
	}
	says("ann@example.com", evidence.Exists, "first")
	says("bob+tag@example.com", evidence.Exists, "second")
	says("eve@example.com", evidence.Missing, "second")
	first.away()
	says("bob@example.com", evidence.Exists, "second")
	says("carl@example.com", evidence.Unavailable, "first") // who might have known him
}
