// Package tally counts how bounces and other automatic mail were judged, by day: what came in for
// our users ([In]) and was or was not proven, and what servers of ours wanted to send out ([Out]).
// It answers which server behind writes to people who never wrote, and what enforcing would have refused.
//
// [Tally.Count] adds to a number in memory; the numbers reach the store a few seconds later.
// They are small: what strangers can make differ (senders, servers, domains) is told apart up to a
// bound a day, and what comes beyond it is counted as [Others].
//
// # Limits
//
// Numbers only: no message can be found again. A crash loses what was counted in the last
// [WriteDelay]. Without a store everything is lost at the end of the process. Where a store
// cannot be read at the start, a day may be told apart twice as finely as the bounds say. Days are of UTC, so that a
// machine that changes its zone has no day twice. A day's bound is reached by whoever comes first: during a flood the
// senders of the later hours are others.
package tally

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"backstop/internal/mail"
)

// Directions of mail.
const (
	In  = "in"  // to our users
	Out = "out" // from a server of ours
)

// Verdicts. Exempt is known to In alone, Redirected to Out alone.
const (
	Proven     = "proven"
	Unproven   = "unproven"   // nothing proved it, and it was let pass
	Exempt     = "exempt"     // an exemption excused it, so that no proof was looked for
	Refused    = "refused"    // nothing proved it, and for that it was refused
	Stopped    = "stopped"    // nothing proved it, and it was refused for another reason: by another rule, or by the server it was for
	Redirected = "redirected" // nothing proved it, and it went to bounce_to
	Unknown    = "unknown"    // the record could not be read
)

// Verdicts returns all of them.
func Verdicts() []string {
	return []string{Proven, Unproven, Exempt, Refused, Stopped, Redirected, Unknown}
}

// Others stands for what is not told apart: a domain, or a sender.
const Others = "others"

// Bounds of what one day tells apart.
const (
	MaxLines   = 1000
	MaxSenders = 200
	MaxServers = 200
	MaxDomains = 300
	// KeepDays is how many days are kept.
	KeepDays = 35
	// WriteDelay is how much a crash may lose.
	WriteDelay = 5 * time.Second
)

const (
	storeTime  = 10 * time.Second // one question to the store
	loadTime   = time.Second      // the start waits no longer
	closeTime  = 5 * time.Second
	maxRetry   = time.Minute
	firstSweep = time.Minute
	sweepEvery = 6 * time.Hour
)

// Entry is what one automatic message was counted as.
type Entry struct {
	Day       Day    `json:"day"` // Count fills it in
	Direction string `json:"direction"`
	// Domain is ours: of the recipient (In), or of the server that sent (Out).
	Domain string `json:"domain"`
	// Server is the client of outbound mail. Of inbound mail it is not kept: that is the whole world.
	Server  netip.Addr `json:"server,omitzero"`
	Verdict string     `json:"verdict"`
	Kind    string     `json:"kind,omitempty"` // "bounce", "receipt", "auto-reply", "ordinary", …
	By      string     `json:"by,omitempty"`   // what proved it ("seal", …), or which exemption excused it
	// Sender is the domain of the header From of inbound mail that was unproven or refused. Of other mail it is not kept.
	Sender string `json:"sender,omitempty"`
}

// Line is an entry with how often it was counted.
type Line struct {
	Entry
	Count uint64 `json:"count"`
}

// Store keeps counts over a restart. Its methods are called from any goroutine, one at a time.
type Store interface {
	// AddTally adds to the counts of these lines, all or none.
	AddTally(ctx context.Context, lines []Line) error
	// LoadTally calls f for each line of that day and later, until f fails, and returns f's error or its own.
	LoadTally(ctx context.Context, since Day, f func(Line) error) error
	// ExpireTally drops the days before that one.
	ExpireTally(ctx context.Context, before Day) error
}

// Config is what a Tally is given.
type Config struct {
	Store  Store            // nil: in memory only
	Now    func() time.Time // nil: time.Now
	Logger *slog.Logger     // nil: nothing is told
}

// Tally is the counts. Make it with New. All methods may be called by any number of goroutines.
type Tally struct {
	store Store
	now   func() time.Time
	log   *slog.Logger

	wake       chan struct{}
	stop, gone chan struct{}
	background context.Context
	cancel     context.CancelFunc
	storing    chan struct{} // holds one token: who has it may use the store, so that a report sees a write whole

	mu     sync.Mutex // guards what follows
	days   map[Day]*day
	closed bool
	stat   State
}

// State is how the tally fares.
type State struct {
	Kept     bool   `json:"kept"`     // there is a store
	Waiting  int    `json:"waiting"`  // lines with counts that are not written yet; without a store, all
	Lost     uint64 `json:"lost"`     // counted after Close
	Failures uint64 `json:"failures"` // attempts to write that failed
	// LastError is of the last attempt to write, "" when that worked.
	LastError string `json:"last_error,omitempty"`
}

// New starts a tally. It waits a moment for the store to tell what it has of today.
func New(c Config) *Tally {
	t := &Tally{
		store: c.Store, now: c.Now, log: c.Logger, days: map[Day]*day{},
		wake: make(chan struct{}, 1), stop: make(chan struct{}), gone: make(chan struct{}), storing: make(chan struct{}, 1),
	}
	if t.now == nil {
		t.now = time.Now
	}
	if t.log == nil {
		t.log = slog.New(slog.DiscardHandler)
	}
	t.stat.Kept = t.store != nil
	t.background, t.cancel = context.WithCancel(context.Background())
	if t.store == nil {
		close(t.gone)
		return t
	}
	loaded := make(chan struct{})
	go t.run(loaded)
	wait := time.NewTimer(loadTime)
	defer wait.Stop()
	select {
	case <-loaded:
	case <-wait.C:
	}
	return t
}

// Count counts one message, today. It does no I/O and waits for nobody.
func (t *Tally) Count(e Entry) {
	e = trimmed(e)
	e.Day = DayOf(t.now())
	t.mu.Lock()
	if t.closed {
		t.stat.Lost++
		t.mu.Unlock()
		return
	}
	t.day(e.Day).count(e, 1)
	t.mu.Unlock()
	if t.store != nil {
		signal(t.wake)
	}
}

// trimmed leaves out what is not kept of such an entry, and what is no domain.
func trimmed(e Entry) Entry {
	if e.Direction != In || e.Verdict != Unproven && e.Verdict != Refused {
		e.Sender = ""
	}
	if e.Direction != Out {
		e.Server = netip.Addr{}
	}
	e.Server = e.Server.Unmap().WithZone("")
	e.Domain, e.Sender = domain(e.Domain), domain(e.Sender)
	return e
}

func domain(s string) string {
	if s == "" {
		return ""
	}
	d, err := mail.FoldDomain(s)
	if err != nil {
		return Others
	}
	return d
}

// day is the day's book, made where there is none. t.mu is held.
func (t *Tally) day(d Day) *day {
	b := t.days[d]
	if b == nil {
		b = newDay()
		t.days[d] = b
		for other := range t.days {
			if other < d-KeepDays || len(t.days) > KeepDays+1 && other != d && other == t.oldest() { // a clock that jumps makes many
				delete(t.days, other)
			}
		}
	}
	return b
}

func (t *Tally) oldest() Day {
	first := true
	var least Day
	for d := range t.days {
		if first || d < least {
			least, first = d, false
		}
	}
	return least
}

// Report is everything that was counted since the day of that moment, in the order of days, directions,
// domains and what follows. Without an error it is whole.
func (t *Tally) Report(ctx context.Context, since time.Time) ([]Line, error) {
	from := DayOf(since)
	sum := map[Entry]uint64{}
	if t.store != nil {
		select {
		case t.storing <- struct{}{}:
			defer func() { <-t.storing }()
		case <-ctx.Done():
			return nil, fmt.Errorf("the counts of bounces cannot be read: the store is busy: %w", ctx.Err())
		}
		err := t.store.LoadTally(ctx, from, func(l Line) error {
			sum[l.Entry] += l.Count
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("the counts of bounces cannot be read: %w", err)
		}
	}
	t.mu.Lock()
	for d, b := range t.days {
		if d < from {
			continue
		}
		for e, n := range b.waiting {
			sum[e] += n
		}
	}
	t.mu.Unlock()
	lines := make([]Line, 0, len(sum))
	for e, n := range sum {
		lines = append(lines, Line{e, n})
	}
	slices.SortFunc(lines, compare)
	return lines, nil
}

func compare(a, b Line) int {
	return cmp.Or(
		cmp.Compare(a.Day, b.Day), cmp.Compare(a.Direction, b.Direction), cmp.Compare(a.Domain, b.Domain), a.Server.Compare(b.Server),
		cmp.Compare(a.Verdict, b.Verdict), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.By, b.By), cmp.Compare(a.Sender, b.Sender),
	)
}

// State reads the counters.
func (t *Tally) State() State {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.stat
	for _, b := range t.days {
		s.Waiting += len(b.waiting)
	}
	return s
}

// errHangs: the store does not even obey its context.
var errHangs = errors.New("the store does not answer")

// Close writes what waits and ends. What is counted later is lost. It waits a few seconds
// for a store that hangs. The error says what was lost. The store is not closed.
func (t *Tally) Close() error {
	t.mu.Lock()
	first := !t.closed
	t.closed = true
	t.mu.Unlock()
	if first {
		close(t.stop)
	}
	patience := time.AfterFunc(closeTime, t.cancel)
	defer patience.Stop()
	late := time.NewTimer(closeTime + time.Second)
	defer late.Stop()
	select {
	case <-t.gone:
	case <-late.C:
	}
	t.cancel()
	s := t.State()
	if t.store == nil || s.Waiting == 0 {
		return nil
	}
	err := errHangs
	if s.LastError != "" {
		err = errors.New(s.LastError)
	}
	return fmt.Errorf("%d counts of bounces were not written: %w", s.Waiting, err)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
