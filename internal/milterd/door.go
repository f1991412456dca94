package milterd

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"backstop/internal/listen"
	"backstop/internal/milter"
	"backstop/internal/session"
)

// Config is what a Door needs. All but Engine may be zero.
type Config struct {
	Engine *session.Engine
	// Internal says whose mail is ours and leaves; nil: the engine's own.
	Internal func(netip.Addr) bool
	Timeout  time.Duration // between two packets; see milter.Config
	Progress time.Duration // how often an MTA that waits hears of us; see milter.Config
	Logger   *slog.Logger  // nil: nobody
	Panic    func(v any, stack []byte)
}

// Door serves MTAs on any number of listeners.
type Door struct {
	cfg   atomic.Pointer[settings]
	loop  *listen.Loop
	ctx   context.Context
	cut   context.CancelFunc
	quiet listen.Quiet
}

// settings are a configuration as a connection holds it.
type settings struct {
	Config
	wire milter.Config
}

// macros are those that are read here: who logged in, what the MTA makes of an address, and under which name the MTA logs the message.
var macros = map[milter.Stage]string{
	milter.StageMail: "i {auth_authen} {auth_type} {mail_addr}",
	milter.StageRcpt: "{rcpt_addr}",
	milter.StageEOM:  "i",
}

const (
	actions = milter.ChangeFrom | milter.AddRcpt | milter.DeleteRcpt | milter.AddHeader | milter.ChangeHeader | milter.SetMacros
	steps   = milter.NRHeader | milter.NREOH | milter.Skip | milter.HeaderLeadSpace
)

// New makes a door.
func New(cfg Config) *Door {
	d := &Door{}
	d.ctx, d.cut = context.WithCancel(context.Background())
	d.Configure(cfg)
	d.loop = listen.NewLoop(func(nc net.Conn) listen.Served { return milter.NewConn(nc, &d.cfg.Load().wire) })
	return d
}

// Configure changes everything for what begins from now on: a client's connection, or the next message of one.
// The times of an MTA's connection stay as they were.
func (d *Door) Configure(cfg Config) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Internal == nil {
		cfg.Internal = cfg.Engine.Internal
	}
	d.cfg.Store(&settings{Config: cfg, wire: milter.Config{
		NewHandler: d.handler, Actions: actions, Steps: steps, Macros: macros,
		Timeout: cfg.Timeout, Progress: cfg.Progress, Panic: cfg.Panic,
		Malformed: func(peer string, err error) {
			if d.quiet.Due("malformed", cfg.Engine.Now()) {
				cfg.Logger.Warn("a connection is closed", "door", "milter", "client", peer, "error", err.Error())
			}
		},
	}})
}

// Serve accepts connections from l until Shutdown.
func (d *Door) Serve(l net.Listener) error { return d.loop.Serve(l) }

// Open is how many connections are open.
func (d *Door) Open() int { return d.loop.Open() }

// Shutdown drains the door: see listen.Loop.Shutdown. What is left when ctx ends is cut off.
func (d *Door) Shutdown(ctx context.Context) error {
	defer d.cut()
	stop := context.AfterFunc(ctx, d.cut)
	defer stop()
	return d.loop.Shutdown(ctx)
}
