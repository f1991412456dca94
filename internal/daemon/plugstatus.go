package daemon

import (
	"fmt"
	"strings"
	"time"

	"backstop/internal/directory/health"
	"backstop/internal/directory/synced"
	"backstop/internal/directory/watch"
	"backstop/internal/metrics"
)

// status is what the operator sees of a plug.
func (p *plug) status(now time.Time) PeerStatus {
	if p.copied != nil {
		return copyStatus(p.copied.State(), now)
	}
	s := p.asked.State()
	st := PeerStatus{Name: p.cfg.Name, State: stateUnused, Since: s.Since}
	switch s.Condition {
	case health.Up:
		st.State, st.Detail = stateUp, answersIn(s.Usual)
	case health.Slow:
		st.State, st.Detail = stateSlow, answersIn(s.Usual)
	case health.Down:
		st.State, st.Detail = stateDown, s.LastError
		return st
	}
	if s.LastError != "" { // it is there, and no question is to its liking
		st.State, st.Detail = stateDown, "every question is refused: "+s.LastError
	}
	return st
}

func copyStatus(s synced.State, now time.Time) PeerStatus {
	st := PeerStatus{Name: s.Name, State: stateUp, Since: s.Since}
	have := "no copy yet: every answer is 451"
	if !s.Made.IsZero() {
		have = fmt.Sprintf("entries: %d, last right %s ago", s.Entries, now.Sub(s.Made).Round(time.Second))
		if s.Stale {
			have += ", which is too old: every answer is 451"
		}
	}
	switch {
	case s.Err != nil:
		st.State, st.Detail = stateDown, s.Err.Error()+"; "+have
		if s.Held != nil {
			st.Detail += "; before that a pull was held back: " + heldText(s.Held)
		}
	case s.Held != nil:
		st.State, st.Detail = stateHeld, heldText(s.Held)+"; "+have
	case s.Made.IsZero() && !s.Pulling:
		st.State, st.Detail = stateUnused, have
	default:
		st.Detail = have
	}
	if s.Pulling {
		st.Taken = s.Taken
		st.Detail += fmt.Sprintf("; pulling, %d so far", s.Taken)
	}
	return st
}

// heldText says what a pull that is held back would lose, the first few domains by name.
func heldText(h *synced.Held) string {
	if len(h.Domains) == 0 {
		return "nobody at all was found"
	}
	const few = 3
	var b strings.Builder
	for i, l := range h.Domains {
		if i == few {
			fmt.Fprintf(&b, " and %d more", len(h.Domains)-few)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s loses %d of %d recipients", l.Domain, l.Lost, l.Before)
	}
	return b.String()
}

// sourceFigures adds what /metrics shows of sources.
func (s *setup) sourceFigures(st *metrics.State, now time.Time) {
	for name, p := range s.plugs {
		if p.copied == nil {
			if c := p.status(now); c.State != stateUnused {
				st.SourceUp[name] = c.State != stateDown
			}
			continue
		}
		c := p.copied.State()
		if !c.Since.IsZero() {
			st.SourceUp[name] = c.Err == nil
		}
		st.SourceHeld[name] = c.Held != nil
		if !c.Made.IsZero() {
			st.SourceEntries[name], st.SourceAge[name] = c.Entries, now.Sub(c.Made).Seconds()
		}
	}
	file := func(name string, w watch.State) {
		st.SourceUp[name], st.SourceEntries[name] = w.Err == nil, w.Entries
	}
	for _, l := range s.lists {
		file(l.Name(), l.State())
	}
	for _, m := range s.maps {
		file(m.Name(), m.State())
	}
}

// emptyDomains tells of domains of which the lists and copies that decide have nobody: a slip in a name,
// far more often than a domain without users.
func (s *setup) emptyDomains() []string {
	var told []string
	counts := map[any]map[string]int{}
	for i := range s.cfg.Domains {
		name := s.cfg.Domains[i].Name
		var empty []string
		for _, src := range s.domains[s.cfg.Routes.Find(name)].Chain.Sources() {
			c, ok := src.(counted)
			if p, copied := src.(*synced.Source); copied && p.State().Made.IsZero() {
				ok = false // there is no copy, which is another matter
			}
			if !ok {
				empty = nil
				break
			}
			if counts[src] == nil {
				counts[src] = countsOf(c)
			}
			if counts[src][name]+counts[src][""] > 0 {
				empty = nil
				break
			}
			empty = append(empty, src.Name())
		}
		if len(empty) > 0 {
			told = append(told, fmt.Sprintf("everybody at %s is refused: nobody there is in %s", name, strings.Join(empty, ", ")))
		}
	}
	return told
}
