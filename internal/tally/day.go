package tally

import (
	"fmt"
	"net/netip"
	"time"
)

// Day is a day of UTC, counted from 1970-01-01.
type Day int32

const layout = "2006-01-02"

// DayOf is the day of a moment.
func DayOf(t time.Time) Day {
	const day = 24 * 60 * 60
	s := t.Unix()
	if s < 0 {
		s -= day - 1 // rounded down, as a clock that was never set may need it
	}
	return Day(s / day)
}

// Time is when the day begins.
func (d Day) Time() time.Time { return time.Unix(int64(d)*24*60*60, 0).UTC() }

// String is the date, as in 2026-05-01.
func (d Day) String() string { return d.Time().Format(layout) }

// MarshalText writes the date.
func (d Day) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads a date.
func (d *Day) UnmarshalText(b []byte) error {
	t, err := time.Parse(layout, string(b))
	if err != nil {
		return fmt.Errorf("%q is no date: write it as %s", b, layout)
	}
	*d = DayOf(t)
	return nil
}

// day is what was told apart on one day, and what of it waits for the store.
type day struct {
	waiting map[Entry]uint64
	lines   map[Entry]bool // all of the day, written or not
	senders map[string]bool
	domains map[string]bool
	servers map[netip.Addr]bool
}

func newDay() *day {
	return &day{
		waiting: map[Entry]uint64{}, lines: map[Entry]bool{},
		senders: map[string]bool{}, domains: map[string]bool{}, servers: map[netip.Addr]bool{},
	}
}

// count adds n to the line of e, or to the one that stands for it when there are too many.
func (b *day) count(e Entry, n uint64) {
	e = b.bounded(e)
	b.know(e)
	b.waiting[e] += n
}

// know takes a line as told apart.
func (b *day) know(e Entry) {
	if b.lines[e] {
		return
	}
	b.lines[e] = true
	b.senders[e.Sender], b.domains[e.Domain], b.servers[e.Server] = true, true, true
}

func (b *day) bounded(e Entry) Entry {
	if b.lines[e] {
		return e
	}
	if len(b.senders) >= MaxSenders && !b.senders[e.Sender] {
		e.Sender = Others
	}
	if len(b.domains) >= MaxDomains && !b.domains[e.Domain] {
		e.Domain = Others
	}
	if len(b.servers) >= MaxServers && !b.servers[e.Server] {
		e.Server = netip.Addr{}
	}
	if len(b.lines) < MaxLines || b.lines[e] {
		return e
	}
	if e.Sender != "" { // the finest first
		e.Sender = Others
		if b.lines[e] {
			return e
		}
	}
	// By and Kind are words of ours, but nothing here holds anybody to that.
	return Entry{Day: e.Day, Direction: side(e.Direction), Verdict: known(e.Verdict), Domain: Others}
}

func side(s string) string {
	if s == Out {
		return Out
	}
	return In
}

func known(verdict string) string {
	switch verdict {
	case Proven, Unproven, Exempt, Refused, Redirected:
		return verdict
	}
	return Unknown
}
