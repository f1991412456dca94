// Package record remembers which mail was seen, for ten days: the Message-IDs of mail that
// left through us ([Sent]), and of mail that came in and whose sender was proven
// ([Heard]). A bounce that returns the first, or an automatic reply that answers the second,
// is thereby proven.
//
// Of each message 16 octets of a hash are kept, which is over what it is, its Message-ID and
// the folded address: no address and no Message-ID stands in the file. [Record.Note] never waits for a
// disk: what it is told is held in memory, written in batches, and found by
// [Record.Seen] from the first moment on.
//
// docs/design/records.md has the form of the table, and what ten million cost.
//
// # Limits
//
// A crash loses what is not written yet: the last second, or the last batch. A
// message that was lost is not proven by this layer; tag, seal and signature do not
// depend on it, but a bounce that has none of those is then unproven for good. Nothing here can tell "never seen" from "lost".
// The hash has no secret: who has the file, and guesses a Message-ID and the address, can check his guess.
// A server that replaces the Message-ID of what it returns or passes on makes the record useless for
// this mail. Without a store the last [MaxHeld] messages are known, until the process ends.
// A day is of UTC, and a store may keep what it has up to a day longer.
package record

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"backstop/internal/mail"
)

// Kind is what a record says of a message. The numbers stand in files.
type Kind uint8

const (
	// Sent is mail that left; its address is the envelope sender, without tag.
	Sent Kind = 1
	// Heard is mail that came in from a proven sender; its address is that sender.
	Heard Kind = 2
)

var kindNames = [...]string{"none", "sent", "heard"}

func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "none"
}

const (
	// Keep is how long a record holds: a mail is tried for five days almost everywhere, and its bounce as long.
	Keep = 10 * 24 * time.Hour
	// BatchSize is how many records are written at once, and how many make the writer begin at once.
	BatchSize = 1000
	// BatchDelay is the longest time that a record waits for the store, while that works.
	BatchDelay = time.Second
	// MaxHeld is how many records wait for a store that fails, or are known without one. The
	// oldest goes first: most bounces come soon.
	MaxHeld = 100_000
)

const (
	saveTime   = 10 * time.Second // one batch
	seenTime   = 5 * time.Second  // all look-ups of one Seen
	expireTime = 5 * time.Minute
	closeTime  = 5 * time.Second
	maxRetry   = time.Minute // between two attempts, with a store that fails
	firstSweep = time.Minute // soon, for who restarts often sweeps as well
	sweepEvery = time.Hour
	tellEvery  = time.Minute
)

// Entry is one record, as a store keeps it.
type Entry struct {
	Kind Kind
	Key  [16]byte
	At   time.Time
}

// Store keeps records over a restart. SaveRecords and ExpireRecords are called
// from one goroutine, HasRecord from any.
type Store interface {
	// SaveRecords writes the entries, all or none. One that is there already is no error.
	SaveRecords(ctx context.Context, entries []Entry) error
	// HasRecord says whether there is a record since that moment. It may count one of the same day too.
	HasRecord(ctx context.Context, kind Kind, key [16]byte, since time.Time) (bool, error)
	// ExpireRecords drops the records from before that moment; it may leave those of the same day.
	ExpireRecords(ctx context.Context, before time.Time) error
}

// Config is what a Record is given.
type Config struct {
	Store  Store            // nil: in memory only
	Now    func() time.Time // nil: time.Now
	Logger *slog.Logger     // nil: nothing is told
}

// Record is the record. Make it with New. All methods may be called by any number of goroutines.
type Record struct {
	store Store
	now   func() time.Time
	log   *slog.Logger

	wake, full chan struct{} // something waits; BatchSize wait
	stop       chan struct{}
	gone       chan struct{} // the writer has ended
	background context.Context
	cancel     context.CancelFunc

	mu     sync.Mutex // guards what follows
	held   queue
	closed bool
	stat   State
	told   time.Time // when a loss was last told
	untold uint64    // losses since
}

// State is how the record fares.
type State struct {
	Kept     bool   `json:"kept"`     // there is a store
	Held     int    `json:"held"`     // records that wait for the store; without one, all that are known
	Written  uint64 `json:"written"`  // since the start
	Lost     uint64 `json:"lost"`     // pushed out before they could be written, or noted after Close
	Failures uint64 `json:"failures"` // attempts to write or to look up that failed
	// LastError is of the last attempt to write, "" when that worked.
	LastError string `json:"last_error,omitempty"`
}

// New starts a record. It reads nothing.
func New(c Config) *Record {
	r := &Record{
		store: c.Store, now: c.Now, log: c.Logger,
		wake: make(chan struct{}, 1), full: make(chan struct{}, 1), stop: make(chan struct{}), gone: make(chan struct{}),
	}
	if r.now == nil {
		r.now = time.Now
	}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	r.held.init()
	r.stat.Kept = r.store != nil
	r.background, r.cancel = context.WithCancel(context.Background())
	if r.store == nil {
		close(r.gone)
		return r
	}
	go r.run()
	return r
}

// Note remembers a message. messageID is the value of the field, with its angle brackets or
// without; a message that has none, or no address, cannot be found again and is left out. It
// does no I/O and waits for nobody. With too many that wait for the store, the oldest is lost,
// counted and told.
func (r *Record) Note(k Kind, messageID string, a mail.Address) {
	id, ok := clean(messageID)
	if !ok || a.IsZero() {
		return
	}
	e := Entry{Kind: k, Key: keyOf(k, id, a), At: r.now()}
	r.mu.Lock()
	if r.closed {
		r.stat.Lost++
		r.mu.Unlock()
		return
	}
	pushed := r.held.add(e)
	if r.store == nil {
		r.held.dropBefore(e.At.Add(-Keep))
		r.mu.Unlock()
		return
	}
	lost := r.lose(pushed, e.At)
	n := r.held.len()
	r.mu.Unlock()
	signal(r.wake)
	if n >= BatchSize {
		signal(r.full)
	}
	if lost > 0 {
		r.log.Error("records of seen mail are lost, because the store does not take them: bounces that nothing else proves will be unproven", "lost", lost, "waiting", n)
	}
}

// lose counts one record pushed out, and says how many losses are to be told now. r.mu is held.
func (r *Record) lose(pushed bool, now time.Time) (tell uint64) {
	if !pushed {
		return 0
	}
	r.stat.Lost++
	r.untold++
	if !r.told.IsZero() && now.Sub(r.told) < tellEvery {
		return 0
	}
	tell, r.untold, r.told = r.untold, 0, now
	return tell
}

// Seen says whether one of the messages was noted in the last ten days. messageIDs are values
// of fields, best first (IDs makes them); at most MaxIDs are looked at. The error is
// "cannot tell": the store could not be read, and those before did not show it.
func (r *Record) Seen(ctx context.Context, k Kind, messageIDs []string, a mail.Address) (bool, error) {
	if a.IsZero() {
		return false, nil
	}
	var room [MaxIDs][16]byte
	keys := room[:0]
	for _, m := range messageIDs {
		if id, ok := clean(m); ok && len(keys) < MaxIDs {
			keys = append(keys, keyOf(k, id, a))
		}
	}
	if len(keys) == 0 {
		return false, nil
	}
	since := r.now().Add(-Keep)
	if r.holds(k, keys, since) {
		return true, nil
	}
	if r.store == nil {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, seenTime)
	defer cancel()
	for _, key := range keys {
		found, err := r.store.HasRecord(ctx, k, key, since)
		if err != nil { // one question is enough to see that it cannot be asked
			r.mu.Lock()
			r.stat.Failures++
			r.mu.Unlock()
			return false, fmt.Errorf("the record of seen mail cannot be read: %w", err)
		}
		if found {
			return true, nil
		}
	}
	return false, nil
}

func (r *Record) holds(k Kind, keys [][16]byte, since time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, key := range keys {
		if r.held.has(name{k, key}, since) {
			return true
		}
	}
	return false
}

// State reads the counters.
func (r *Record) State() State {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.stat
	s.Held = r.held.len()
	return s
}

// errHangs: the store does not even obey its context.
var errHangs = errors.New("the store does not answer")

// Close writes what waits and ends. What is noted later is lost, and counted; Seen works
// on as long as the store does. It waits a few seconds for a store that hangs. The error says how
// many records were lost, and why. The store is not closed.
func (r *Record) Close() error {
	r.mu.Lock()
	first := !r.closed
	r.closed = true
	r.mu.Unlock()
	if first {
		close(r.stop)
	}
	patience := time.AfterFunc(closeTime, r.cancel)
	defer patience.Stop()
	late := time.NewTimer(closeTime + time.Second)
	defer late.Stop()
	select {
	case <-r.gone:
	case <-late.C:
	}
	r.cancel()
	err := errHangs
	s := r.State()
	if r.store == nil || s.Held == 0 {
		return nil
	}
	if s.LastError != "" {
		err = errors.New(s.LastError)
	}
	return fmt.Errorf("%d records of seen mail were not written: %w", s.Held, err)
}

// signal leaves word in a channel of one place; when word is there already, that is enough.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
