package daemon

import (
	"crypto/tls"
	"fmt"
	"strings"
	"time"

	"backstop/internal/config"
	"backstop/internal/directory/callahead"
	"backstop/internal/directory/watch"
	"backstop/internal/relay"
)

func newCallahead(d *Daemon, src *config.Source, cfg *config.Config) *callahead.Source {
	c := &src.Callahead
	blind := callahead.BlindAccept
	if c.WhenBlind == config.BlindDefer {
		blind = callahead.BlindDefer
	}
	return callahead.New(callahead.Config{
		Name: src.Name, Target: c.Target, From: c.From, Helo: c.Helo, Timeout: c.Timeout,
		Connections: c.Connections, Rate: c.Rate, Pipelining: c.Pipelining, WhenBlind: blind,
		TLSConfig: &tls.Config{RootCAs: cfg.Relay.Roots}, Now: d.o.Now, Logger: d.log,
	})
}

// The states of a peer, in the words of status and panel.
const (
	stateUnused = "unused"
	stateUp     = "up"
	stateSlow   = "slow"
	stateBlind  = "blind"
	stateHeld   = "held"
	stateDown   = "down"
)

func downstreamStatus(s relay.State) PeerStatus {
	p := PeerStatus{Name: s.Name, State: stateUnused}
	if !s.Asked {
		return p
	}
	p.Since = s.Since
	if s.Up {
		p.State, p.Detail = stateUp, fmt.Sprintf("connections: %d open, %d of them idle", s.Open, s.Idle)
		return p
	}
	p.State, p.Detail = stateDown, s.LastError
	return p
}

func sourceStatus(c *callahead.Source) PeerStatus {
	s := c.State()
	p := PeerStatus{Name: s.Name, State: stateUnused, Since: s.Since}
	switch s.Condition {
	case callahead.Unseen:
		if s.Failures > 0 { // asked, and never answered yet
			p.State, p.Detail = stateDown, s.LastError
		} else { // for how long nobody asked it helps nobody
			p.Since = time.Time{}
		}
	case callahead.Up:
		p.State, p.Detail = stateUp, answersIn(s.Usual)
	case callahead.Slow:
		p.State, p.Detail = stateSlow, answersIn(s.Usual)
	case callahead.Blind:
		p.State, p.Detail = stateBlind, "it accepts anybody at "+strings.Join(s.Blind, ", ")
	case callahead.Down:
		p.State, p.Detail = stateDown, s.LastError
	}
	return p
}

func listStatus(name string, s watch.State) PeerStatus {
	p := PeerStatus{Name: name, State: stateUp, Since: s.Read, Detail: fmt.Sprintf("entries: %d", s.Entries)}
	if s.Err != nil {
		p.State, p.Detail = stateDown, fmt.Sprintf("the file as it is now is not used: %v; what was read before goes on (entries: %d)", s.Err, s.Entries)
	}
	return p
}

// answersIn says how long a source takes, as exactly as anybody cares.
func answersIn(d time.Duration) string {
	if d < time.Millisecond {
		return "answers in less than 1ms"
	}
	return "answers in about " + d.Round(time.Millisecond).String()
}
