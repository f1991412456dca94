package daemon

import (
	"fmt"
	"os"
	"slices"
	"sort"
	"time"

	"backstop/internal/journal"
	"backstop/internal/metrics"
)

// Status is what a running daemon says of itself.
type Status struct {
	PID         int               `json:"pid"`
	Hostname    string            `json:"hostname"`
	Mode        string            `json:"mode"`
	Started     time.Time         `json:"started"`
	Draining    bool              `json:"draining"`
	Listeners   []ListenerStatus  `json:"listeners"`
	Sessions    int               `json:"sessions"`
	Downstreams []PeerStatus      `json:"downstreams"`
	Sources     []PeerStatus      `json:"sources"`
	DNS         []PeerStatus      `json:"dns,omitempty"`
	Keys        *KeyStatus        `json:"keys,omitempty"`
	Tags        []TagStatus       `json:"tags,omitempty"`
	Blocklists  []BlocklistStatus `json:"blocklists,omitempty"`
	Cache       CacheStatus       `json:"cache"`
	Decisions   []metrics.Count   `json:"decisions"`
	Doors       map[string]uint64 `json:"doors"` // decisions, by door
	Log         journal.Stats     `json:"log"`
	Wrong       []string          `json:"wrong"` // what is wrong now, in words; empty: all is well
}

// ListenerStatus is one socket.
type ListenerStatus struct {
	Door    string `json:"door"`
	Address string `json:"address"`
}

// PeerStatus is one downstream or source.
type PeerStatus struct {
	Name   string    `json:"name"`
	State  string    `json:"state"` // up, slow, blind, held (a pull would lose too many), down, or unused (never asked yet)
	Since  time.Time `json:"since,omitzero"`
	Detail string    `json:"detail,omitempty"`
	Taken  int       `json:"taken,omitempty"` // recipients that the pull under way has heard of
}

// CacheStatus is how many answers are remembered.
type CacheStatus struct {
	Exists  int `json:"exists"`
	Missing int `json:"missing"`
}

// Status says how the daemon is.
func (d *Daemon) Status() Status {
	s := d.current.Load()
	st := Status{
		PID: os.Getpid(), Hostname: s.cfg.Hostname, Mode: s.cfg.Mode.String(), Started: d.started,
		Draining: d.draining.Load(), Decisions: d.metrics.Decisions(), Doors: d.metrics.Doors(), Log: d.journal.Stats(),
		Listeners: []ListenerStatus{}, Downstreams: []PeerStatus{}, Sources: []PeerStatus{}, Wrong: []string{},
	}
	if d.doors != nil {
		st.Sessions = d.doors.open()
	}
	for door, addrs := range d.Addrs() {
		for _, a := range addrs {
			st.Listeners = append(st.Listeners, ListenerStatus{door, a.String()})
		}
	}
	sort.Slice(st.Listeners, func(i, j int) bool { return st.Listeners[i].Address < st.Listeners[j].Address })
	st.Cache.Exists, st.Cache.Missing = d.directory.Counts()
	for _, r := range s.relays {
		st.Downstreams = append(st.Downstreams, downstreamStatus(r.State()))
	}
	for _, c := range s.asked {
		st.Sources = append(st.Sources, sourceStatus(c))
	}
	for _, p := range s.plugs {
		st.Sources = append(st.Sources, p.status(d.o.Now()))
	}
	for _, l := range s.lists {
		st.Sources = append(st.Sources, listStatus(l.Name(), l.State()))
	}
	for _, m := range s.maps {
		st.Sources = append(st.Sources, listStatus(m.Name(), m.State()))
	}
	byName := func(p []PeerStatus) {
		sort.Slice(p, func(i, j int) bool { return p[i].Name < p[j].Name })
	}
	byName(st.Downstreams)
	byName(st.Sources)
	st.Sources = slices.CompactFunc(st.Sources, func(a, b PeerStatus) bool { // a file is read once more for a domain with aliases
		return a.Name == b.Name && a.State == b.State
	})
	st.Wrong = append(wrong(&st), s.emptyDomains()...)
	d.trustStatus(s, &st)
	d.blocklistStatus(&st)
	return st
}

// wrong puts into words what somebody should look at.
func wrong(st *Status) []string {
	w := []string{}
	for _, p := range st.Downstreams {
		if p.State == "down" {
			w = append(w, fmt.Sprintf("downstream %s is down: %s", p.Name, p.Detail))
		}
	}
	for _, p := range st.Sources {
		switch p.State {
		case "down":
			w = append(w, fmt.Sprintf("source %s is down: %s", p.Name, p.Detail))
		case "blind":
			w = append(w, fmt.Sprintf("source %s says yes to anybody: %s", p.Name, p.Detail))
		case stateHeld:
			w = append(w, fmt.Sprintf("source %s holds a pull back: %s", p.Name, p.Detail))
		}
	}
	if st.Log.Dropped > 0 {
		w = append(w, fmt.Sprintf("%d log lines were lost", st.Log.Dropped))
	}
	if st.Draining {
		w = append(w, "it is stopping")
	}
	return w
}

// figures is what /metrics shows of this moment.
func (d *Daemon) figures() metrics.State {
	st := metrics.State{
		DownstreamUp: map[string]bool{}, SourceBlind: map[string]bool{}, SourceUp: map[string]bool{}, SourceEntries: map[string]int{},
		SourceAge: map[string]float64{}, SourceHeld: map[string]bool{}, LogDropped: d.journal.Stats().Dropped,
	}
	s := d.current.Load()
	if s == nil {
		return st
	}
	st.CacheExists, st.CacheMissing = d.directory.Counts()
	for _, r := range s.relays {
		state := r.State()
		if state.Asked {
			st.DownstreamUp[state.Name] = state.Up
		}
	}
	for _, c := range s.asked {
		st.SourceBlind[c.Name()] = sourceStatus(c).State == "blind"
	}
	s.sourceFigures(&st, d.o.Now())
	d.trustFigures(s, &st)
	d.blocklistFigures(&st)
	return st
}
