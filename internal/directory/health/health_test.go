package health

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"
)

type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

func TestOneLineAChange(t *testing.T) {
	var log bytes.Buffer
	c := &clock{time.Unix(1_000_000, 0)}
	h := New(Options{Timeout: 4 * time.Second, Logger: slog.New(slog.NewTextHandler(&log, nil)), Now: c.now})
	lines := func(want int, last string) {
		t.Helper()
		all := strings.Split(strings.TrimSpace(log.String()), "\n")
		if log.Len() == 0 {
			all = nil
		}
		if len(all) != want || want > 0 && !strings.Contains(all[want-1], last) {
			t.Fatalf("want %d lines, the last with %q:\n%s", want, last, log.String())
		}
	}
	if s := h.State(); s.Condition != Unseen || !s.Since.IsZero() {
		t.Errorf("at first: %+v", s)
	}
	h.Answered(time.Millisecond)
	h.Answered(time.Millisecond)
	lines(0, "")
	down := c.t.Add(time.Minute)
	c.t = down
	for range 3 {
		h.Failed("connection refused")
		c.t = c.t.Add(time.Minute)
	}
	lines(1, "connection refused")
	if s := h.State(); s.Condition != Down || s.Failures != 3 || !s.Since.Equal(down) {
		t.Errorf("down: %+v", s)
	}
	h.Answered(time.Millisecond)
	lines(2, "can be asked again")
	for range 40 {
		h.Answered(2 * time.Second)
	}
	lines(3, "slow")
	for range 40 {
		h.Answered(time.Millisecond)
	}
	lines(4, "no longer slow")
}

func TestPause(t *testing.T) {
	c := &clock{time.Unix(1_000_000, 0)}
	h := New(Options{Now: c.now})
	may := func(want bool) *Question {
		t.Helper()
		q, why := h.Ask()
		if q != nil != want || q == nil && why != "away" {
			t.Fatalf("may be asked: %v, because of %q", q != nil, why)
		}
		return q
	}
	may(true)
	may(true).Failed("away") // as long as all is well anybody may
	for pause := firstPause; pause < 4*lastPause; pause *= 2 {
		may(false)
		c.t = c.t.Add(min(pause, lastPause) - 1)
		may(false)
		c.t = c.t.Add(1)
		probe := may(true) // one
		may(false)         // and nobody beside him
		probe.Abandoned()
		probe.Failed("too late, it is over")
		probe = may(true) // so the next one
		may(false)
		probe.Failed("away")
	}
	c.t = c.t.Add(lastPause)
	may(true).Answered(time.Millisecond)
	may(true)
	may(true)
}

// TestBurst: what was under way when the system went away counts as one failure, whenever it ends.
func TestBurst(t *testing.T) {
	c := &clock{time.Unix(1_000_000, 0)}
	h := New(Options{Now: c.now})
	var all []*Question
	for range 9 {
		q, _ := h.Ask()
		all = append(all, q)
	}
	for _, q := range all[:7] {
		q.Failed("away")
	}
	c.t = c.t.Add(firstPause)
	probe, why := h.Ask()
	if probe == nil {
		t.Fatalf("not asked after %v: %s, %+v", firstPause, why, h.State())
	}
	all[7].Failed("still away") // while somebody finds out whether it is
	if q, why := h.Ask(); q != nil || why != "still away" {
		t.Errorf("two find out at a time (%q)", why)
	}
	if s := h.State(); s.Failures != 1 {
		t.Errorf("%+v", s)
	}
	probe.Failed("away")
	if s := h.State(); s.Failures != 2 {
		t.Errorf("%+v", s)
	}
	all[8].Answered(time.Millisecond) // it is there after all
	if q, _ := h.Ask(); q == nil || h.State().Condition != Up {
		t.Errorf("%+v", h.State())
	}
}

// TestOdd: one who asks for odd things switches nothing off, but where everything is odd the log says so, once.
func TestOdd(t *testing.T) {
	var log bytes.Buffer
	c := &clock{time.Unix(1_000_000, 0)}
	h := New(Options{Logger: slog.New(slog.NewTextHandler(&log, nil)), Now: c.now, LookAt: "the query"})
	ask := func() *Question {
		t.Helper()
		q, why := h.Ask()
		if q == nil {
			t.Fatalf("not asked: %s", why)
		}
		return q
	}
	for range 3 {
		for range manyOdd - 1 {
			ask().Odd("it chokes")
		}
		ask().Answered(time.Millisecond)
	}
	if log.Len() > 0 || h.State().LastError != "" {
		t.Errorf("%+v\n%s", h.State(), log.String())
	}
	ask().Failed("away")
	c.t = c.t.Add(time.Hour)
	for range 3 * manyOdd {
		ask().Odd("it chokes")
	}
	if s := h.State(); s.Condition != Up || s.LastError != "it chokes" {
		t.Errorf("%+v", s)
	}
	ask().Answered(time.Millisecond)
	want := []string{"cannot be asked", "can be asked again", `every address it is asked for" error="it chokes" look_at="the query"`, "answers questions again"}
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	for i, l := range lines {
		if len(lines) != len(want) || !strings.Contains(l, want[i]) {
			t.Fatalf("want %q:\n%s", want, log.String())
		}
	}
}
