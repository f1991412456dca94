// Package health keeps how an outside system does that is asked for recipients: up, slow
// or down, and since when. It spares one that is down: after a failure the next question
// waits for a pause that doubles, and whoever asks in between is told at once.
//
// A change of condition is logged once, when it happens. Of questions that were under way together
// when the system went away one counts.
//
// An error may be about what was asked: then the system is well, or anybody could switch it off by asking
// for what it stumbles over. Ten of these in a row are logged: perhaps it is the settings.
//
// A Gate is the way to a system for whoever looks recipients up: it bounds questions in number and time.
//
// # Limits
//
// A system that is down is noticed to be back by the next question after the pause only:
// nobody asks for the sake of asking. What counts as a failure is the caller's choice; an
// answer that says no is none.
package health

import (
	"log/slog"
	"sync"
	"time"
)

// Condition is how a system does.
type Condition uint8

const (
	Unseen Condition = iota // never asked
	Up
	Slow // answers take more than a quarter of what a question may take
	Down // the last question failed
)

var conditionNames = [...]string{"unseen", "up", "slow", "down"}

func (c Condition) String() string { return conditionNames[c] }

// Options of a Health. All fields may be zero.
type Options struct {
	// Timeout is what one question may take; 10 s.
	Timeout time.Duration
	// Logger is told of each change of condition; nil: nobody.
	Logger *slog.Logger
	// Now is the clock; time.Now.
	Now func() time.Time
	// LookAt is what may be wrong where every question is: "the query".
	LookAt string
}

// State is what the operator sees.
type State struct {
	Condition Condition
	Failures  int           // in a row
	LastError string        // of these, or of many questions in a row in each of which something was wrong
	Since     time.Time     // when the condition began; zero: never asked
	Usual     time.Duration // how long a question takes, the last ones counting most
}

// Health is of one system. Its methods are called from many goroutines.
type Health struct {
	opts Options

	mu       sync.Mutex
	failures int
	last     string
	since    time.Time
	until    time.Time // down: nobody asks before
	probing  bool      // down, and somebody asks
	odd      int       // questions in a row in which something was wrong
	told     Condition // what was logged last
	usual    time.Duration
	answers  int // up to window
}

const (
	firstPause = time.Second
	lastPause  = 30 * time.Second // so much later than the system's return is it noticed at most
	window     = 8

	// manyOdd questions in a row are reported: perhaps it is not what was asked.
	manyOdd = 10
)

// New makes the health of a system that was never asked.
func New(o Options) *Health {
	if o.Timeout <= 0 {
		o.Timeout = 10 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Health{opts: o}
}

// Question is one that the system is asked. Its methods tell how it ended; after the first of them
// the others do nothing.
type Question struct {
	h     *Health
	probe bool // the system is down, and this one is to find out whether it still is
	done  bool
}

// Ask gives leave to ask the system, or says why it is not to be asked: then the question is nil.
func (h *Health) Ask() (q *Question, why string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.failures == 0 {
		return &Question{h: h}, ""
	}
	if h.probing || h.opts.Now().Before(h.until) {
		return nil, h.last
	}
	h.probing = true
	return &Question{h: h, probe: true}, ""
}

// end calls f for the first end that the question comes to.
func (q *Question) end(f func(h *Health)) {
	q.h.mu.Lock()
	defer q.h.mu.Unlock()
	if q.done {
		return
	}
	q.done = true
	if q.probe {
		q.h.probing = false
	}
	f(q.h)
}

// Answered notes an answer and how long it took.
func (q *Question) Answered(took time.Duration) {
	q.end(func(h *Health) { h.answered(took) })
}

// Failed notes that the system could not be asked, and why.
func (q *Question) Failed(why string) {
	q.end(func(h *Health) {
		if h.failures > 0 && !q.probe { // asked before the system went away
			h.last = why
			return
		}
		h.failed(why)
	})
}

// Odd notes that the system is there and found something wrong with what was asked.
func (q *Question) Odd(why string) {
	q.end(func(h *Health) {
		h.failures, h.last = 0, ""
		h.tell(h.condition())
		if h.odd++; h.odd >= manyOdd {
			h.last = why
		}
		if h.odd == manyOdd {
			h.opts.Logger.Warn("a recipient source finds something wrong with every address it is asked for", "error", why, "look_at", h.opts.LookAt)
		}
	})
}

// Abandoned notes that the question came to no end, for reasons that are not the system's.
func (q *Question) Abandoned() { q.end(func(*Health) {}) }

// Answered notes that the system did something other than answering a question, and how long it
// took to begin.
func (h *Health) Answered(took time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.answered(took)
}

// Failed notes that it could not, and why.
func (h *Health) Failed(why string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failed(why)
}

func (h *Health) answered(took time.Duration) {
	h.failures, h.last = 0, ""
	if h.odd >= manyOdd {
		h.opts.Logger.Info("a recipient source answers questions again")
	}
	h.odd = 0
	h.answers = min(h.answers+1, window)
	h.usual += (took - h.usual) / time.Duration(h.answers)
	h.tell(h.condition())
}

func (h *Health) failed(why string) {
	h.until = h.opts.Now().Add(min(lastPause, firstPause<<min(h.failures, 10)))
	h.failures++
	h.last = why
	h.tell(Down)
}

// State says how the system does.
func (h *Health) State() State {
	h.mu.Lock()
	defer h.mu.Unlock()
	return State{Condition: h.condition(), Failures: h.failures, LastError: h.last, Since: h.since, Usual: h.usual}
}

func (h *Health) condition() Condition {
	switch {
	case h.failures > 0:
		return Down
	case h.answers == 0:
		return Unseen
	case h.usual > h.opts.Timeout/4:
		return Slow
	}
	return Up
}

// tell logs a condition that is new.
func (h *Health) tell(c Condition) {
	was := h.told
	if c == was {
		return
	}
	h.told, h.since = c, h.opts.Now()
	log := h.opts.Logger
	switch {
	case c == Down:
		log.Error("a recipient source cannot be asked", "error", h.last)
	case was == Down:
		log.Info("a recipient source can be asked again", "condition", c.String())
	case c == Slow:
		log.Warn("a recipient source is slow", "usual", h.usual.String())
	case was == Slow:
		log.Info("a recipient source is no longer slow", "usual", h.usual.String())
	}
}
