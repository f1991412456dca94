package relay

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"sync"
	"time"

	"backstop/internal/route"
	"backstop/internal/smtp"
)

// Options are what holds for a downstream beside its URL. Zero fields mean the default.
type Options struct {
	LocalName string        // said in EHLO
	Timeouts  smtp.Timeouts // by step
	MaxConns  int           // open at once; 50
	MaxIdle   int           // kept without work for longer than a moment; 5
	IdleTime  time.Duration // how long; 60 s
	TLSConfig *tls.Config   // roots; nil: the system's
	Auth      *smtp.Auth    // for a smarthost that wants to know who we are (RFC 4954); nil: it does not
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

	mu       sync.Mutex
	idle     []*pooled      // the one used last is last
	held     []*pooled      // of transactions that rest; the one that began to rest first is first
	open     int            // places taken: connections open or being opened
	waiting  []chan *pooled // for a place, first come first served; nil says that its connection is closed
	reaper   *time.Timer
	closed   bool
	up       bool
	asked    bool // ever tried
	since    time.Time
	lastErr  string
	caps     smtp.Capabilities
	capsSeen bool
	plain    time.Time // no TLS until then: the handshake failed
	barred   error     // it does not take our login for good, and is not asked
	barredTo time.Time // until then
	hung     bool      // connecting timed out the last time
	probing  bool      // somebody is finding out whether it still does
	warned   bool      // that the client's address is not taken
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
	return &Downstream{route: r, name: r.String(), o: o}
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
	Open, Idle   int       // connections; Open counts the idle ones too
	Capabilities smtp.Capabilities
}

// State is what is known now.
func (d *Downstream) State() State {
	d.mu.Lock()
	defer d.mu.Unlock()
	return State{
		Name: d.name, Asked: d.asked, Up: d.up, Since: d.since, LastError: d.lastErr,
		Open: d.open, Idle: len(d.idle), Capabilities: d.caps,
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
		d.leave(p)
	}
}
