// Package health keeps how an outside system does that is asked for recipients: up, slow
// or down, and since when. It spares one that is down: after a failure the next question
// waits for a pause that doubles, and whoever asks in between is told at once.
//
// A change of condition is logged once, when it happens.
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
}

// State is what the operator sees.
type State struct {
	Condition Condition
	Failures  int           // in a row
	LastError string        // of these
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
	told     Condition // what was logged last
	usual    time.Duration
	answers  int // up to window
}

const (
	firstPause = time.Second
	lastPause  = 30 * time.Second // so much later than the system's return is it noticed at most
	window     = 8
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

// Ask says whether the system may be asked, and if not, why. If so, Answered, Failed or
// Abandoned must follow.
func (h *Health) Ask() (ok bool, why string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.failures == 0 {
		return true, ""
	}
	if h.probing || h.opts.Now().Before(h.until) {
		return false, h.last
	}
	h.probing = true
	return true, ""
}

// Answered notes an answer and how long it took.
func (h *Health) Answered(took time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.probing, h.failures, h.last = false, 0, ""
	h.answers = min(h.answers+1, window)
	h.usual += (took - h.usual) / time.Duration(h.answers)
	h.tell(h.condition())
}

// Failed notes that the system could not be asked, and why.
func (h *Health) Failed(why string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.probing = false
	h.until = h.opts.Now().Add(min(lastPause, firstPause<<min(h.failures, 10)))
	h.failures++
	h.last = why
	h.tell(Down)
}

// Abandoned takes an Ask back whose question came to no end for reasons that are not the system's.
func (h *Health) Abandoned() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.probing = false
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
