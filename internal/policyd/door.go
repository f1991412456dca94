package policyd

import (
	"context"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"backstop/internal/evidence"
	"backstop/internal/listen"
	"backstop/internal/postfix"
	"backstop/internal/session"
)

// Protocol is what a door speaks.
type Protocol uint8

const (
	Policy    Protocol = iota // SMTPD_POLICY_README
	Socketmap                 // socketmap_table(5)
	TCPTable                  // tcp_table(5)
)

var protocolNames = [...]string{"policy", "socketmap", "tcp_table"}

func (p Protocol) String() string { return protocolNames[p] }

// Door is the one that decisions name: both kinds of map are one.
func (p Protocol) Door() evidence.Door {
	if p == Policy {
		return evidence.DoorPolicy
	}
	return evidence.DoorSocketmap
}

// Config is what a Door needs.
type Config struct {
	Protocol Protocol // what New says holds: a door does not change it
	Map      string   // which map TCPTable asks, as socketmap names it
	Engine   *session.Engine
	Timeout  time.Duration // see postfix.Config; 0: its default
	Logger   *slog.Logger  // nil: nobody hears what others do wrong
	Panic    func(v any, stack []byte)
}

// Door serves Postfix on any number of listeners.
type Door struct {
	protocol Protocol
	loop     *listen.Loop
	state    atomic.Pointer[state]
	ctx      context.Context
	cut      context.CancelFunc
	quiet    listen.Quiet
}

// state is a configuration with what is made of it.
type state struct {
	Config
	wire postfix.Config
}

// New makes a door.
func New(cfg Config) *Door {
	d := &Door{protocol: cfg.Protocol}
	d.ctx, d.cut = context.WithCancel(context.Background())
	d.Configure(cfg)
	d.loop = listen.NewLoop(d.begin)
	return d
}

// Configure changes the engine, on open connections too: from the next message, or the next look-up. The
// time-out changes for connections that begin from now on.
func (d *Door) Configure(cfg Config) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	s := &state{Config: cfg}
	s.wire = postfix.Config{
		Timeout: cfg.Timeout,
		Panic:   cfg.Panic,
		Malformed: func(peer string, err error) {
			d.complain(s, "malformed", "a connection is closed", "client", peer, "error", err.Error())
		},
	}
	d.state.Store(s)
}

func (d *Door) begin(nc net.Conn) listen.Served {
	s := d.state.Load()
	switch d.protocol {
	case Socketmap:
		return postfix.NewSocketmapConn(nc, &s.wire, maps{d})
	case TCPTable:
		return postfix.NewTCPTableConn(nc, &s.wire, maps{d}, s.Map)
	}
	return postfix.NewPolicyConn(nc, &s.wire, &policy{door: d})
}

// Serve accepts connections from l until Shutdown: see listen.Loop.
func (d *Door) Serve(l net.Listener) error { return d.loop.Serve(l) }

// Open is how many connections are open.
func (d *Door) Open() int { return d.loop.Open() }

// Shutdown drains the door: a request in hand is answered, then its connection is closed. What is left
// when ctx ends is cut off.
func (d *Door) Shutdown(ctx context.Context) error {
	defer d.cut()
	stop := context.AfterFunc(ctx, d.cut)
	defer stop()
	return d.loop.Shutdown(ctx)
}

// complain logs what the other side does wrong, if that was not done just now: a wrong line in main.cf is asked for with every mail.
func (d *Door) complain(s *state, subject, msg string, args ...any) {
	if d.quiet.Due(subject, s.Engine.Now()) {
		s.Logger.Warn(msg, append([]any{"door", d.protocol.Door().String(), "protocol", d.protocol.String()}, args...)...)
	}
}
