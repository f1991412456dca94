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
	may := func(want bool) {
		t.Helper()
		if ok, why := h.Ask(); ok != want || !ok && why != "away" {
			t.Fatalf("may be asked: %v, because of %q", ok, why)
		}
	}
	may(true)
	may(true) // as long as all is well anybody may
	h.Failed("away")
	for pause := firstPause; pause < 4*lastPause; pause *= 2 {
		may(false)
		c.t = c.t.Add(min(pause, lastPause) - 1)
		may(false)
		c.t = c.t.Add(1)
		may(true)  // one
		may(false) // and nobody beside him
		h.Abandoned()
		may(true) // so the next one
		h.Failed("away")
	}
	c.t = c.t.Add(lastPause)
	may(true)
	h.Answered(time.Millisecond)
	may(true)
	may(true)
}
