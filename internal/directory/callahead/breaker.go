package callahead

import (
	"sync"
	"time"
)

// breaker spares a server that fails: after some failures in a row it lets one
// question through at a time, after a pause that doubles.
type breaker struct {
	mu       sync.Mutex
	failures int       // in a row
	until    time.Time // open until then, once there are enough failures
	probing  bool      // the one question of a half-open breaker is under way
	last     string    // what the last failure was
	since    time.Time // of the first of the failures in a row
	answered time.Time // when the server last did
}

const (
	breakAfter = 5
	firstPause = 5 * time.Second
	lastPause  = 30 * time.Second // so much later than the server's return is it noticed at most
)

// allow says whether the server may be asked. If so, done must follow.
func (b *breaker) allow(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failures < breakAfter {
		return true
	}
	if b.probing || now.Before(b.until) {
		return false
	}
	b.probing = true
	return true
}

// done takes how the question went: failure is "" for a server that is there and
// talks to us. It says whether the breaker opened or closed by it.
func (b *breaker) done(now time.Time, failure string) (opened, closed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.probing = false
	if failure == "" {
		closed = b.failures >= breakAfter
		b.failures, b.last, b.answered = 0, "", now
		return false, closed
	}
	if b.failures == 0 {
		b.since = now
	}
	b.failures++
	b.last = failure
	if b.failures >= breakAfter {
		b.until = now.Add(min(lastPause, firstPause<<min(b.failures-breakAfter, 10)))
	}
	return b.failures == breakAfter, false
}

// abandoned takes back an allow whose question was not asked, or not to its end for
// reasons that are not the server's.
func (b *breaker) abandoned() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.probing = false
}

// down says whether the breaker is open, and why.
func (b *breaker) down() (bool, string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.failures >= breakAfter, b.last
}
