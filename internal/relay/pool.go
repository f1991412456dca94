package relay

import (
	"context"
	"errors"
	"slices"
	"time"

	"backstop/internal/evidence"
	"backstop/internal/route"
	"backstop/internal/smtp"
)

// pooled is an open connection. It holds one of the downstream's MaxConns places.
type pooled struct {
	c       *smtp.Client
	since   time.Time       // idle, or resting in a transaction, since
	taken   bool            // closed for somebody who waited; guarded by the downstream's lock
	dirty   bool            // a transaction was begun and not ended: RSET comes first
	refused int             // negative answers since the last message that was taken
	told    bool            // XCLIENT has named a client
	client  evidence.Client // which one
}

// maxRefused is how many negative answers a connection may have had and still be
// kept. Servers count errors a session and grow slow: Postfix sleeps a second for each
// from the tenth on (smtpd_soft_error_limit) and hangs up at the twentieth.
const maxRefused = 8

// burstTime is how long more than MaxIdle connections are kept. A busy moment gives
// and takes connections all the time, and opening one costs more than all it carries.
const burstTime = 2 * time.Second

var (
	errBusy = errors.New("all connections to it are in use")
	errHung = errors.New("it does not answer connections; being tried by another session")
)

// acquire takes an idle connection that is still good, or opens one; where all
// places are taken it waits for one, no longer than ctx and the time for connecting.
// fresh says that the connection was opened just now.
func (d *Downstream) acquire(ctx context.Context, client evidence.Client, reuse bool) (p *pooled, fresh bool, err error) {
	for reuse {
		p := d.pop()
		if p == nil {
			break
		}
		if time.Since(p.since) < d.o.IdleTime && p.c.Idle() {
			return p, false, nil
		}
		d.discard(p)
	}
	p, err = d.place(ctx)
	switch {
	case err != nil:
		return nil, false, err
	case p != nil && reuse && p.c.Idle():
		return p, false, nil
	case p != nil:
		p.c.Close() // and keep its place
	}
	c, err := d.connect(ctx, client)
	if err != nil {
		d.vacate()
		return nil, false, err
	}
	return &pooled{c: c}, true, nil
}

func (d *Downstream) pop() *pooled {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := len(d.idle)
	if n == 0 {
		return nil
	}
	p := d.idle[n-1]
	d.idle[n-1] = nil
	d.idle = d.idle[:n-1]
	return p
}

// place gets one of the places, with the connection that held it where there is one.
func (d *Downstream) place(ctx context.Context) (*pooled, error) {
	d.mu.Lock()
	if d.open < d.o.MaxConns {
		d.open++
		d.mu.Unlock()
		return nil, nil
	}
	if len(d.idle) > 0 {
		p := d.idle[0]
		d.idle = slices.Delete(d.idle, 0, 1)
		d.mu.Unlock()
		return p, nil
	}
	if len(d.waiting) == 0 && d.takeOver() {
		d.mu.Unlock()
		return nil, nil
	}
	w := make(chan *pooled, 1)
	d.waiting = append(d.waiting, w)
	d.mu.Unlock()
	p, got := d.inLine(ctx, w)
	if got {
		return p, nil
	}
	d.mu.Lock()
	i := slices.Index(d.waiting, w)
	if i >= 0 {
		d.waiting = slices.Delete(d.waiting, i, i+1)
	}
	d.mu.Unlock()
	if i < 0 { // the place came at the last moment: on to the next in line
		if p := <-w; p != nil {
			d.release(p)
		} else {
			d.vacate()
		}
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return nil, errBusy
}

// inLine waits for a place, looking each second whether somebody rests on one. What it
// finds goes to the first in line.
func (d *Downstream) inLine(ctx context.Context, w chan *pooled) (*pooled, bool) {
	wait, cancel := context.WithTimeout(ctx, d.o.Timeouts.Connect)
	defer cancel()
	look := time.NewTicker(time.Second)
	defer look.Stop()
	for {
		select {
		case p := <-w:
			return p, true
		case <-wait.Done():
			return nil, false
		case <-look.C:
		}
		d.mu.Lock()
		if len(d.waiting) > 0 && d.takeOver() { // maybe not for this one: the line has an order
			d.next() <- nil
		}
		d.mu.Unlock()
	}
}

// next takes the first in line out of it, nil where nobody waits. d.mu is held.
func (d *Downstream) next() chan *pooled {
	if len(d.waiting) == 0 {
		return nil
	}
	w := d.waiting[0]
	d.waiting = slices.Delete(d.waiting, 0, 1)
	return w
}

// vacate gives a place up whose connection is closed.
func (d *Downstream) vacate() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if w := d.next(); w != nil {
		w <- nil
		return
	}
	d.open--
}

// discard closes a connection and gives its place up.
func (d *Downstream) discard(p *pooled) {
	p.c.Close()
	d.vacate()
}

// release keeps a connection for the next transaction, where it can be kept.
func (d *Downstream) release(p *pooled) {
	// A PROXY header spoke of one client, so its connection is no good for another. Nor is
	// one after XCLIENT where the client named may not use XCLIENT itself (Postfix has it so).
	bound := d.route.Client == route.HandoverPROXY || p.told && len(p.c.Capabilities().XClient) == 0
	if bound || p.refused > maxRefused {
		d.leave(p)
		return
	}
	p.since = time.Now()
	d.mu.Lock()
	if w := d.next(); w != nil {
		d.mu.Unlock()
		w <- p
		return
	}
	if d.closed {
		d.mu.Unlock()
		d.leave(p)
		return
	}
	d.idle = append(d.idle, p)
	if n := len(d.idle); n == 1 || n == d.o.MaxIdle+1 { // the next end comes sooner than it did
		d.schedule()
	}
	d.mu.Unlock()
}

// keep is how long the connection that is idle longest may stay so. d.mu is held.
func (d *Downstream) keep() time.Duration {
	if len(d.idle) > d.o.MaxIdle {
		return min(burstTime, d.o.IdleTime)
	}
	return d.o.IdleTime
}

// schedule sets the clock to the next connection's end. d.mu is held.
func (d *Downstream) schedule() {
	if len(d.idle) == 0 || d.closed {
		return
	}
	wait := max(d.keep()-time.Since(d.idle[0].since), 0)
	if d.reaper == nil {
		d.reaper = time.AfterFunc(wait, d.reap)
		return
	}
	d.reaper.Reset(wait)
}

// leave ends a conversation in good order.
func (d *Downstream) leave(p *pooled) {
	p.c.Leave()
	d.vacate()
}

// reap ends what was idle too long.
func (d *Downstream) reap() {
	d.mu.Lock()
	var old []*pooled
	for len(d.idle) > 0 && time.Since(d.idle[0].since) >= d.keep() {
		old = append(old, d.idle[0])
		d.idle = slices.Delete(d.idle, 0, 1)
	}
	d.schedule()
	d.mu.Unlock()
	for _, p := range old {
		d.leave(p)
	}
}
