package relay

import (
	"slices"
	"time"
)

// restTime is how long a transaction may rest with its connection while others wait
// for one. A sender goes from its last RCPT to the end of an ordinary message in less; one
// that sits there holds a place that somebody else has mail for.
const restTime = 5 * time.Second

// Between two calls of its owner a transaction rests. While all places are taken, the one
// that has rested longest gives its connection up to whoever waits, and its own sender
// hears 451: else a few clients that stop after RCPT would keep all others out. A message that its owner
// kept back (Kept) finds another one when it comes.

// rest notes that the owner has nothing under way on the connection.
func (t *Transaction) rest() {
	if t.p == nil {
		return
	}
	t.d.mu.Lock()
	t.p.since = time.Now()
	t.d.held = append(t.d.held, t.p)
	t.d.mu.Unlock()
}

// wake takes the connection for the owner's next step. A connection that was taken
// away meanwhile is lost to the transaction; its place is somebody else's already.
func (t *Transaction) wake() {
	if t.p == nil {
		return
	}
	t.d.mu.Lock()
	if i := slices.Index(t.d.held, t.p); i >= 0 {
		t.d.held = slices.Delete(t.d.held, i, i+1)
	}
	taken := t.p.taken
	t.d.mu.Unlock()
	if taken {
		t.p, t.mailDone, t.lost = nil, false, t.accepted > 0
	}
}

// takeOver closes the connection of the transaction that has rested longest, where that is
// long enough, and keeps its place for the caller. d.mu is held.
func (d *Downstream) takeOver() bool {
	if len(d.held) == 0 || time.Since(d.held[0].since) < restTime {
		return false // the first began to rest first
	}
	p := d.held[0]
	d.held = slices.Delete(d.held, 0, 1)
	p.taken = true
	p.c.Close()
	return true
}
