package callahead

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"backstop/internal/directory"
	"backstop/internal/evidence"
)

func TestRateHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer()
		s := p.source(t, func(c *Config) { c.Rate, c.Connections, c.Timeout = 10, 200, 20*time.Second })
		began := time.Now()
		var wg sync.WaitGroup
		var mu sync.Mutex
		got := map[evidence.Standing]int{}
		for range 200 {
			wg.Go(func() {
				a := s.Lookup(t.Context(), address(t, "nobody@example.com"))
				mu.Lock()
				defer mu.Unlock()
				got[a.Standing]++
			})
		}
		wg.Wait()
		synctest.Wait()
		// 10 at once and 10 a second for the 5 seconds that are waited, the blind test's two among them.
		if got[evidence.Missing] < 55 || got[evidence.Missing] > 60 || got[evidence.Missing]+got[evidence.Unavailable] != 200 {
			t.Errorf("%v", got)
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		for i, q := range p.asked {
			if allowed := 10 + 10*q.at.Sub(began).Seconds(); float64(i+1) > allowed+2 {
				t.Fatalf("question %d came %v after the first, when %.0f were allowed", i+1, q.at.Sub(began), allowed)
			}
		}
	})
}

func TestBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer("ann")
		p.refuse = errRefused
		s := p.source(t, nil)
		ann := address(t, "ann@example.com")
		ask := func(want evidence.Standing, dials int) {
			t.Helper()
			p.set(func(p *peer) { p.dials = 0 })
			a := s.Lookup(t.Context(), ann)
			synctest.Wait()
			if a.Standing != want {
				t.Fatalf("%+v, want %v", a, want)
			}
			p.set(func(p *peer) {
				if p.dials != dials {
					t.Fatalf("%d connections were tried, want %d", p.dials, dials)
				}
			})
		}
		ask(evidence.Unavailable, 2) // one of them by the blind test
		for range breakAfter - 2 {
			ask(evidence.Unavailable, 1)
		}
		if st := s.State(); st.Condition != Down || st.LastError == "" || !st.Since.Equal(time.Now()) {
			t.Fatalf("%+v", st)
		}
		ask(evidence.Unavailable, 0)
		for _, pause := range []time.Duration{5, 10, 20, 30, 30} {
			time.Sleep(pause*time.Second - time.Millisecond)
			p.set(func(p *peer) { p.dials = 0 })
			ask(evidence.Unavailable, 0)
			time.Sleep(time.Millisecond)
			ask(evidence.Unavailable, 1) // half open: one question, and it fails
			ask(evidence.Unavailable, 0)
		}
		p.set(func(p *peer) { p.refuse = nil })
		ask(evidence.Unavailable, 0)
		time.Sleep(lastPause)
		if a := s.Lookup(t.Context(), ann); a.Standing != evidence.Exists {
			t.Fatalf("the server is back: %+v", a)
		}
		if st := s.State(); st.Condition != Up || st.Failures != 0 || st.LastError != "" || !st.Since.IsZero() {
			t.Fatalf("%+v", st)
		}
	})
}

// While the breaker is half open only one of many asks.
func TestHalfOpenLetsOneThrough(t *testing.T) {
	now := time.Now()
	var b breaker
	for range breakAfter {
		if !b.allow(now) {
			t.Fatal("open too early")
		}
		b.done(now, "no")
	}
	now = now.Add(firstPause)
	if !b.allow(now) {
		t.Fatal("not half open")
	}
	if b.allow(now) {
		t.Fatal("a second one was let through")
	}
	b.abandoned() // the one went away without an answer
	if !b.allow(now) {
		t.Fatal("an abandoned question closed the way for good")
	}
	if _, closed := b.done(now, ""); !closed || !b.allow(now) || !b.allow(now) {
		t.Fatal("not closed after an answer")
	}
}

func TestConnectionIsKeptALittleWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer("ann")
		s := p.source(t, nil)
		// The blind test that begins with the first question may take its connection away.
		for range 21 {
			s.Lookup(t.Context(), address(t, "ann@example.com"))
			synctest.Wait()
		}
		if qs := p.about("ann"); len(qs) != 21 || qs[1].conn != qs[20].conn {
			t.Errorf("not over one connection: %v", qs)
		}
		p.set(func(p *peer) {
			if p.open != 1 || p.resets < 20 {
				t.Errorf("%d open, %d resets", p.open, p.resets)
			}
		})
		time.Sleep(15 * time.Second)
		synctest.Wait()
		p.set(func(p *peer) {
			if p.open != 0 {
				t.Errorf("%d open after the idle time", p.open)
			}
		})
	})
}

// A session ends before the server would begin to punish it.
func TestSessionEndsAfterRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer("ann")
		s := p.source(t, nil)
		s.Lookup(t.Context(), address(t, "ann@example.com")) // and the blind test with it
		synctest.Wait()
		for range 3 * maxRefused {
			s.Lookup(t.Context(), address(t, "nobody@example.com"))
			synctest.Wait()
		}
		by := map[int]int{}
		for _, q := range p.about("nobody") {
			by[q.conn]++
		}
		for c, n := range by {
			if n > maxRefused {
				t.Errorf("connection %d had %d refusals", c, n)
			}
		}
		if len(by) != 3 {
			t.Errorf("%d connections, want 3", len(by))
		}
	})
}

func TestBlindTestIsRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer("ann")
		s := p.source(t, nil)
		ann := address(t, "ann@example.com")
		use := func(blind bool) {
			t.Helper()
			s.Lookup(t.Context(), ann) // begins the test
			synctest.Wait()
			if a := s.Lookup(t.Context(), ann); a.Standing != evidence.Exists || a.Blind != blind {
				t.Fatalf("%+v, want blind %v", a, blind)
			}
		}
		use(false)
		honest := p.rcpt
		p.set(func(p *peer) { p.rcpt = func(string) string { return "250 2.1.5 Yes" } })
		time.Sleep(time.Hour - time.Nanosecond)
		use(false)
		time.Sleep(time.Nanosecond)
		use(true)
		p.set(func(p *peer) { p.rcpt = honest })
		time.Sleep(time.Hour)
		use(false)
		// While the server cannot be asked, what was found stays.
		p.set(func(p *peer) { p.refuse = errRefused })
		time.Sleep(time.Hour)
		s.Blind("example.com")
		synctest.Wait()
		if blind, known := s.Blind("example.com"); blind || !known {
			t.Errorf("blind %v, known %v", blind, known)
		}
	})
}

func TestSlowServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer()
		p.rcpt = func(string) string { time.Sleep(6 * time.Second); return "550 5.1.1 No such user" }
		s := p.source(t, nil)
		if a := s.Lookup(t.Context(), address(t, "nobody@example.com")); a.Standing != evidence.Missing {
			t.Errorf("%+v", a)
		}
		if st := s.State(); st.Condition != Slow || st.Usual != 6*time.Second {
			t.Errorf("%+v", st)
		}
	})
}

func TestClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer("ann")
		s := p.source(t, nil)
		s.Lookup(t.Context(), address(t, "ann@example.com"))
		s.Close()
		synctest.Wait()
		p.set(func(p *peer) {
			if p.open != 0 {
				t.Errorf("%d connections left open", p.open)
			}
		})
		s.Lookup(t.Context(), address(t, "ann@example.com")) // of use or not, it ends
		synctest.Wait()
	})
}

// What follows are the promises of the whole: directory and call-ahead together.

func whole(t *testing.T, p *peer) func(addr string) evidence.Directory {
	s := p.source(t, nil)
	d := directory.New(directory.Config{})
	t.Cleanup(func() { d.Close() })
	c := directory.NewChain("example.com", directory.Member{Source: s})
	return func(addr string) evidence.Directory {
		return d.Lookup(t.Context(), c, directory.Query{Address: address(t, addr)})
	}
}

func TestUserMadeTwoMinutesAfterTheRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer("ann")
		lookup := whole(t, p)
		if e := lookup("new@example.com"); e.Standing != evidence.Missing {
			t.Fatalf("%+v", e)
		}
		p.set(func(p *peer) { p.rcpt = newPeer("ann", "new").rcpt })
		time.Sleep(2 * time.Minute)
		if e := lookup("new@example.com"); e.Standing != evidence.Exists {
			t.Fatalf("%+v", e)
		}
	})
}

func TestUserDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer("ann")
		lookup := whole(t, p)
		if e := lookup("ann@example.com"); e.Standing != evidence.Exists {
			t.Fatalf("%+v", e)
		}
		p.set(func(p *peer) { p.rcpt = newPeer().rcpt })
		time.Sleep(18 * time.Hour)
		if e := lookup("ann@example.com"); e.Standing != evidence.Exists || e.Age != 18*time.Hour {
			t.Fatalf("%+v", e)
		}
		synctest.Wait() // asked again in the background
		if e := lookup("ann@example.com"); e.Standing != evidence.Missing || e.Age != 0 {
			t.Fatalf("%+v", e)
		}
	})
}

func TestServerAwayAndBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer("ann")
		lookup := whole(t, p)
		lookup("ann@example.com")
		lookup("nobody@example.com")
		p.set(func(p *peer) { p.refuse = errRefused })
		time.Sleep(10 * time.Minute)
		for who, want := range map[string]evidence.Standing{
			"ann@example.com": evidence.Exists, "nobody@example.com": evidence.Missing, "unseen@example.com": evidence.Unavailable,
		} {
			if e := lookup(who); e.Standing != want {
				t.Errorf("away: %s: %+v", who, e)
			}
		}
		for range breakAfter {
			lookup("unseen@example.com")
		}
		p.set(func(p *peer) { p.refuse = nil })
		time.Sleep(lastPause)
		if e := lookup("unseen@example.com"); e.Standing != evidence.Missing {
			t.Errorf("back: %+v", e)
		}
	})
}

func TestOneQuestionForAHundredAskers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer("ann")
		honest := p.rcpt
		p.rcpt = func(local string) string { time.Sleep(time.Second); return honest(local) }
		lookup := whole(t, p)
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				if e := lookup("ann@example.com"); e.Standing != evidence.Exists {
					t.Errorf("%+v", e)
				}
			})
		}
		wg.Wait()
		if qs := p.about("ann"); len(qs) != 1 {
			t.Errorf("asked %d times", len(qs))
		}
	})
}

func TestBlindServerIsNeverProof(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer()
		p.rcpt = func(string) string { return "250 2.1.5 Yes" }
		s := p.source(t, nil)
		d := directory.New(directory.Config{})
		defer d.Close()
		c := directory.NewChain("example.com", directory.Member{Source: s, Relay: true})
		q := directory.Query{Address: address(t, "eve@example.com")}
		if e := d.Lookup(t.Context(), c, q); e.Standing != evidence.Exists || !e.Blind {
			t.Errorf("%+v", e)
		}
		d.Learn(c, q.Address, evidence.Answer{Outcome: evidence.OutcomeAccepted, Step: evidence.StepRcpt, Code: 250})
		if exists, missing := d.Counts(); exists+missing != 0 {
			t.Error("the word of a blind server was remembered")
		}
	})
}

// The relay's blindness is found out beside the first transaction, without a look-up of ours.
func TestBlindRelayIsFoundByCutThrough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer()
		p.rcpt = func(string) string { return "250 2.1.5 Yes" }
		s := p.source(t, nil)
		d := directory.New(directory.Config{})
		defer d.Close()
		c := directory.NewChain("example.com", directory.Member{Source: s, Relay: true})
		q := directory.Query{Address: address(t, "eve@example.com"), CutThrough: true}
		if e := d.Lookup(context.Background(), c, q); e.Standing != evidence.LeftToDownstream || e.Blind {
			t.Errorf("%+v", e)
		}
		d.Learn(c, q.Address, evidence.Answer{Outcome: evidence.OutcomeAccepted, Step: evidence.StepRcpt, Code: 250})
		synctest.Wait()
		if e := d.Lookup(context.Background(), c, q); e.Standing != evidence.LeftToDownstream || !e.Blind {
			t.Errorf("%+v", e)
		}
		if exists, missing := d.Counts(); exists+missing != 0 {
			t.Error("an acceptance was remembered before the relay was known to see")
		}
	})
}
