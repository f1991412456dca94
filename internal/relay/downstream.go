package relay

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"backstop/internal/evidence"
	"backstop/internal/route"
	"backstop/internal/smtp"
)

// Options are what holds for a downstream beside its URL. Zero fields mean the default.
type Options struct {
	LocalName string        // said in EHLO
	Timeouts  smtp.Timeouts // by step
	MaxConns  int           // open at once; 50
	MaxIdle   int           // kept without work; 5
	IdleTime  time.Duration // how long; 60 s
	TLSConfig *tls.Config   // roots; nil: the system's
	Logger    *slog.Logger  // told once of each change; nil: nobody
	// Observe is told how long the downstream took from the end of a message to its answer.
	Observe func(took time.Duration)
	// Dial opens a connection; nil: the net package's.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Downstream is one mail server behind us. It is safe for concurrent use.
type Downstream struct {
	route route.Relay
	name  string
	o     Options
	slots chan struct{} // one for each connection that is open

	mu       sync.Mutex
	idle     []*pooled // the one used last is last
	reaper   *time.Timer
	closed   bool
	up       bool
	asked    bool // ever tried
	since    time.Time
	lastErr  string
	caps     smtp.Capabilities
	capsSeen bool
	plain    time.Time // no TLS until then: the handshake failed
	hung     time.Time // when connecting last timed out
	probing  bool      // somebody is finding out whether it still does
	warned   bool      // that the client's address is not taken
}

// pooled is an open connection.
type pooled struct {
	c     *smtp.Client
	since time.Time
	dirty bool // a transaction was begun and not ended: RSET comes first
}

// New makes a downstream; nothing is connected yet.
func New(r route.Relay, o Options) *Downstream {
	if o.MaxConns <= 0 {
		o.MaxConns = 50
	}
	if o.MaxIdle <= 0 {
		o.MaxIdle = 5
	}
	if o.IdleTime <= 0 {
		o.IdleTime = time.Minute
	}
	if o.Timeouts.Connect <= 0 {
		o.Timeouts.Connect = 30 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Dial == nil {
		o.Dial = (&net.Dialer{}).DialContext
	}
	return &Downstream{route: r, name: r.String(), o: o, slots: make(chan struct{}, o.MaxConns)}
}

// Name is the relay's URL, as in log and metrics.
func (d *Downstream) Name() string { return d.name }

// State is what is known of a downstream.
type State struct {
	Name         string
	Asked        bool // ever connected to, or tried
	Up           bool
	Since        time.Time // of the last change
	LastError    string    // of the last failure, "" after a success
	Open, Idle   int       // connections
	Capabilities smtp.Capabilities
}

// State is what is known now.
func (d *Downstream) State() State {
	d.mu.Lock()
	defer d.mu.Unlock()
	return State{
		Name: d.name, Asked: d.asked, Up: d.up, Since: d.since, LastError: d.lastErr,
		Open: len(d.slots), Idle: len(d.idle), Capabilities: d.caps,
	}
}

// Capabilities are those that the downstream told last, if it ever did.
func (d *Downstream) Capabilities() (caps smtp.Capabilities, seen bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.caps, d.capsSeen
}

// Close closes what is idle; open transactions go on, and close theirs.
func (d *Downstream) Close() {
	d.mu.Lock()
	d.closed = true
	idle := d.idle
	d.idle = nil
	if d.reaper != nil {
		d.reaper.Stop()
	}
	d.mu.Unlock()
	for _, p := range idle {
		p.c.Close()
		<-d.slots
	}
}

// acquire takes an idle connection that is still good, or opens one. fresh
// says that it was opened just now.
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
	wait, cancel := context.WithTimeout(ctx, d.o.Timeouts.Connect)
	defer cancel()
	select {
	case d.slots <- struct{}{}:
	case <-wait.Done():
		return nil, false, errBusy
	}
	c, err := d.connect(ctx, client)
	if err != nil {
		<-d.slots
		return nil, false, err
	}
	return &pooled{c: c}, true, nil
}

var (
	errBusy = errors.New("all connections to it are in use")
	errHung = errors.New("it does not answer connections; being tried by another session")
)

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

// release keeps a connection for the next transaction, where it can be kept.
func (d *Downstream) release(p *pooled) {
	if d.route.Client == route.HandoverPROXY { // the header spoke of one client
		d.discard(p)
		return
	}
	p.since = time.Now()
	d.mu.Lock()
	if d.closed || len(d.idle) >= d.o.MaxIdle {
		d.mu.Unlock()
		d.discard(p)
		return
	}
	d.idle = append(d.idle, p)
	if d.reaper == nil {
		d.reaper = time.AfterFunc(d.o.IdleTime, d.reap)
	}
	d.mu.Unlock()
}

func (d *Downstream) discard(p *pooled) {
	p.c.Close()
	<-d.slots
}

// reap closes what was idle too long.
func (d *Downstream) reap() {
	d.mu.Lock()
	var old []*pooled
	for len(d.idle) > 0 && time.Since(d.idle[0].since) >= d.o.IdleTime {
		old = append(old, d.idle[0])
		d.idle = d.idle[1:]
	}
	d.reaper = nil
	if len(d.idle) > 0 && !d.closed {
		d.reaper = time.AfterFunc(d.o.IdleTime-time.Since(d.idle[0].since)+time.Second, d.reap)
	}
	d.mu.Unlock()
	for _, p := range old {
		d.discard(p)
	}
}
