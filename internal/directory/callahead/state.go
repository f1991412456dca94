package callahead

import (
	"slices"
	"sync"
	"time"
)

// Condition is how a server does as a source.
type Condition uint8

const (
	Unseen Condition = iota // never asked
	Up
	Slow  // answers take more than a quarter of what a question may take
	Blind // accepts anybody in at least one domain
	Down  // the breaker is open
)

var conditionNames = [...]string{"unseen", "up", "slow", "blind", "down"}

func (c Condition) String() string { return conditionNames[c] }

// State is what the operator sees of a source.
type State struct {
	Name      string
	Condition Condition
	Blind     []string      // the domains in which the server accepts anybody, sorted
	Failures  int           // in a row
	LastError string        // of these
	Since     time.Time     // when they began; zero: there are none
	Answered  time.Time     // when the server last answered; zero: never
	Usual     time.Duration // how long a question takes, the last ones counting most
	Busy      int           // connections in use
	Idle      int           // connections kept
}

// State says how the server does.
func (s *Source) State() State {
	st := State{Name: s.cfg.Name, Busy: len(s.slots), Idle: s.idle.len(), Usual: s.pace.usual()}
	s.breaker.mu.Lock()
	st.Failures, st.LastError, st.Answered = s.breaker.failures, s.breaker.last, s.breaker.answered
	if st.Failures > 0 {
		st.Since = s.breaker.since
	}
	s.breaker.mu.Unlock()
	s.eyes.mu.RLock()
	for domain, e := range s.eyes.domains {
		if blind, known := e.finding(); known && blind {
			st.Blind = append(st.Blind, domain)
		}
	}
	s.eyes.mu.RUnlock()
	slices.Sort(st.Blind)
	switch {
	case st.Failures >= breakAfter:
		st.Condition = Down
	case len(st.Blind) > 0:
		st.Condition = Blind
	case st.Answered.IsZero():
	case st.Usual > s.cfg.Timeout/4:
		st.Condition = Slow
	default:
		st.Condition = Up
	}
	return st
}

// pace is a moving average of how long questions take.
type pace struct {
	mu   sync.Mutex
	mean time.Duration
	n    int
}

func (p *pace) add(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.n = min(p.n+1, 8)
	p.mean += (d - p.mean) / time.Duration(p.n)
}

func (p *pace) usual() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mean
}
