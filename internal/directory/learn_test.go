package directory

import (
	"testing"
	"testing/synctest"
	"time"

	"backstop/internal/evidence"
)

func TestNoAsk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake("store")
		d := New(Config{})
		defer d.Close()
		c := NewChain("example.com", Member{Source: f, Relay: true})
		q := Query{Address: address(t, "nobody@example.com"), NoAsk: true}
		if e := d.Lookup(t.Context(), c, q); e.Standing != evidence.Unavailable || f.count() != 0 {
			t.Fatalf("%v, asked %d times", e.Standing, f.count())
		}
		d.Learn(c, q.Address, evidence.Answer{Outcome: evidence.OutcomeRefused, Step: evidence.StepRcpt, Code: 550, NoSuchUser: true})
		time.Sleep(10 * time.Minute)
		if e := d.Lookup(t.Context(), c, q); e.Standing != evidence.Missing || !e.Stale {
			t.Fatalf("a recipient known to be missing, with the downstream away: %+v", e)
		}
	})
}

func TestCutThrough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := judged{newFake("callahead")}
		d := New(Config{})
		defer d.Close()
		c := NewChain("example.com", Member{Source: f, Relay: true})
		ask := func(addr string, want evidence.Standing) evidence.Directory {
			t.Helper()
			e := d.Lookup(t.Context(), c, Query{Address: address(t, addr), CutThrough: true})
			if e.Standing != want {
				t.Fatalf("%s: %v, want %v", addr, e.Standing, want)
			}
			return e
		}
		rcpt := evidence.Answer{Step: evidence.StepRcpt, Host: "store", Code: 550}
		ask("ann@example.com", evidence.LeftToDownstream)
		rcpt.Outcome = evidence.OutcomeAccepted
		d.Learn(c, address(t, "ann@example.com"), rcpt)
		ask("ann@example.com", evidence.LeftToDownstream)
		want(t, d, c, "ann@example.com", evidence.Exists) // for a door that does not deliver

		rcpt.Outcome, rcpt.NoSuchUser = evidence.OutcomeRefused, true
		d.Learn(c, address(t, "ann@example.com"), rcpt)
		if e := ask("ann@example.com", evidence.Missing); e.Detail != "store said 550" {
			t.Errorf("detail %q", e.Detail)
		}
		time.Sleep(2 * time.Minute)
		ask("ann@example.com", evidence.LeftToDownstream)

		for _, a := range []evidence.Answer{
			{Outcome: evidence.OutcomeRefused, Step: evidence.StepRcpt, Code: 550},
			{Outcome: evidence.OutcomeRefused, Step: evidence.StepMail, Code: 550, NoSuchUser: true},
			{Outcome: evidence.OutcomeDeferred, Step: evidence.StepRcpt, Code: 450},
			{Outcome: evidence.OutcomeUnreachable, Step: evidence.StepConnect},
			{Outcome: evidence.OutcomeAccepted, Step: evidence.StepMail, Code: 250},
		} {
			d.Learn(c, address(t, "bob@example.com"), a)
		}
		if exists, missing := d.Counts(); exists != 0 || missing != 1 {
			t.Errorf("%d exist, %d are missing: something was learnt that was not said", exists, missing)
		}
		if f.count() != 0 {
			t.Errorf("the source was asked %d times beside the transactions", f.count())
		}
	})
}

func TestBlindIsNoProof(t *testing.T) {
	f := judged{newFake("callahead")}
	f.set("ann@example.com", evidence.Exists)
	d := New(Config{})
	defer d.Close()
	c := NewChain("example.com", Member{Source: f, Relay: true})
	want(t, d, c, "ann@example.com", evidence.Exists)
	f.blind.Store(true)

	// when_blind = "accept"
	f.says["ann@example.com"] = Answer{Standing: evidence.Exists, Blind: true, Cacheable: true}
	if e := want(t, d, c, "ann@example.com", evidence.Exists); !e.Blind {
		t.Errorf("not said to be blind: %+v", e)
	}
	q := Query{Address: address(t, "ann@example.com"), CutThrough: true}
	if e := d.Lookup(t.Context(), c, q); e.Standing != evidence.LeftToDownstream || !e.Blind {
		t.Errorf("cut through: %+v", e)
	}
	d.Learn(c, address(t, "eve@example.com"), evidence.Answer{Outcome: evidence.OutcomeAccepted, Step: evidence.StepRcpt, Code: 250})
	if d.cache.get("callahead", "eve@example.com") != nil {
		t.Error("an acceptance by a blind relay was remembered")
	}

	// when_blind = "defer": the yes from before it was found out does not count either.
	f.away()
	want(t, d, c, "ann@example.com", evidence.Unavailable)
	if e := d.Lookup(t.Context(), c, q); e.Standing != evidence.Unavailable {
		t.Errorf("cut through: %+v", e)
	}
}

func TestMissingAtTheRelayIsMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake("validator")
		f.set("ann@example.com", evidence.Exists)
		d := New(Config{})
		defer d.Close()
		c := NewChain("example.com", Member{Source: f})
		want(t, d, c, "ann@example.com", evidence.Exists)
		d.Learn(c, address(t, "ann@example.com"), evidence.Answer{Outcome: evidence.OutcomeRefused, Step: evidence.StepRcpt, Code: 550, NoSuchUser: true})
		want(t, d, c, "ann@example.com", evidence.Missing)
		if f.count() != 1 {
			t.Errorf("asked %d times, want 1", f.count())
		}
		time.Sleep(2 * time.Minute)
		want(t, d, c, "ann@example.com", evidence.Exists)
		d.Learn(c, address(t, "bob@example.com"), evidence.Answer{Outcome: evidence.OutcomeAccepted, Step: evidence.StepRcpt, Code: 250})
		want(t, d, c, "bob@example.com", evidence.Missing) // the validator has the word
	})
}

func TestForgetAndStat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake("store")
		d := New(Config{})
		defer d.Close()
		c := NewChain("example.com", Member{Source: f})
		f.set("ann@example.com", evidence.Exists)
		first := time.Now()
		want(t, d, c, "ann@example.com", evidence.Exists)
		time.Sleep(time.Minute)
		want(t, d, c, "bob@example.com", evidence.Missing)
		want(t, d, c, "eve@example.org", evidence.Missing)
		stats := d.Stat()
		if len(stats) != 2 || stats[0].Domain != "example.com" || stats[0].Exists != 1 || stats[0].Missing != 1 ||
			!stats[0].Oldest.Equal(first) || !stats[0].Newest.Equal(time.Now()) {
			t.Errorf("%+v", stats)
		}
		for _, step := range []struct {
			pattern string
			n       int
		}{{"nobody@example.com", 0}, {"Ann@Example.com", 1}, {"@example.com", 1}, {"*", 1}} {
			p, err := ParsePattern(step.pattern)
			if err != nil {
				t.Fatal(err)
			}
			if n, err := d.Forget(t.Context(), p); n != step.n || err != nil {
				t.Errorf("forget %s: %d, %v; want %d", step.pattern, n, err, step.n)
			}
		}
		if e, m := d.Counts(); e != 0 || m != 0 {
			t.Errorf("%d, %d left", e, m)
		}
	})
}

func TestForgetDuringAQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake("store")
		f.gate = make(chan struct{})
		d := New(Config{})
		defer d.Close()
		c := NewChain("example.com", Member{Source: f})
		done := make(chan evidence.Directory)
		go func() { done <- d.Lookup(t.Context(), c, Query{Address: address(t, "ann@example.com")}) }()
		synctest.Wait()
		if _, err := d.Forget(t.Context(), Pattern{}); err != nil {
			t.Fatal(err)
		}
		close(f.gate)
		<-done
		if _, missing := d.Counts(); missing != 0 {
			t.Error("an answer from before the forgetting was remembered")
		}
	})
}

func TestParsePattern(t *testing.T) {
	for in, want := range map[string]string{"*": "*", "@Example.COM": "@example.com", "A.B@Example.com": "a.b@example.com"} {
		p, err := ParsePattern(in)
		if err != nil || p.String() != want {
			t.Errorf("%q: %v, %v; want %s", in, p, err, want)
		}
	}
	for _, in := range []string{"", "@", "ann", "a@b@c", "@exa mple"} {
		if p, err := ParsePattern(in); err == nil {
			t.Errorf("%q was read as %v", in, p)
		}
	}
}
