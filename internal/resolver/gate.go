package resolver

import (
	"log/slog"
	"sync"
	"time"
)

// How long nobody is asked when no server answers: it doubles, and stays short, since mail waits.
const (
	firstPause = time.Second
	lastPause  = 8 * time.Second
)

// errAway is what a question is told that is not put. Why nobody answers stands in State and in the log.
const errAway = "no DNS server answers"

// gate keeps whether any server answers at all.
type gate struct {
	now    func() time.Time
	logger *slog.Logger

	mu      sync.Mutex
	seen    bool // a server answered, or none did
	down    bool
	since   time.Time // of either
	last    string    // why it is down
	pause   time.Duration
	until   time.Time // down: nobody asks before
	probing bool
	heards  uint64 // answers so far
}

// enter gives leave to ask, or says why not. A trial is a question that is put although nobody
// answered the last one: whoever puts it has to probe too.
func (g *gate) enter() (trial bool, why string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.down {
		return false, ""
	}
	if g.probing || g.now().Before(g.until) {
		return false, errAway
	}
	g.probing = true
	return true, ""
}

// heard notes that a server answered, whatever it said.
func (g *gate) heard() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.heards++
	if g.down {
		g.logger.Info("the DNS answers again", "away_for", g.now().Sub(g.since).Round(time.Second).String())
	}
	if g.down || !g.seen {
		g.since = g.now()
	}
	g.seen, g.down, g.pause, g.last = true, false, 0, ""
}

// silent notes that a question was answered by nobody, and says whether to probe.
func (g *gate) silent(why string) (probe bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.last = why
	if g.down || g.probing {
		return false
	}
	g.probing = true
	return true
}

// count is how many answers there were so far.
func (g *gate) count() uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.heards
}

// probed notes the end of a probe that began when there were so many answers.
func (g *gate) probed(count uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.probing = false
	if g.heards != count {
		g.last = "" // it was the name
		return
	}
	if !g.down {
		g.since = g.now()
		g.logger.Warn("no DNS server answers: until one does, SPF, DKIM and DMARC cannot be checked", "error", g.last)
	}
	g.seen, g.down = true, true
	g.pause = min(max(2*g.pause, firstPause), lastPause)
	g.until = g.now().Add(g.pause)
}
