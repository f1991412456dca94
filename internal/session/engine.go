package session

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"backstop/internal/directory"
	"backstop/internal/evidence"
	"backstop/internal/journal"
	"backstop/internal/mail"
	"backstop/internal/metrics"
	"backstop/internal/relay"
	"backstop/internal/route"
	"backstop/internal/verdict"
)

// Domain is one domain that is ours, with everything its mail needs.
type Domain struct {
	Route *route.Domain
	Chain *directory.Chain
	Relay *relay.Downstream // nil where nothing is delivered
	Mode  evidence.Mode
}

// Policies are the operator's files about who may send. Both are asked in the middle of a
// conversation, and say at once what holds now.
type Policies interface {
	// Client is asked at the connection; name is "" where none is known.
	Client(addr netip.Addr, name string) evidence.Policy
	// Sender is asked at MAIL, and not about the null sender.
	Sender(from mail.Address) evidence.Policy
}

// Config is what an Engine is made from.
type Config struct {
	Hostname       string // in Received: and for finding loops
	Mode           evidence.Mode
	Rules          verdict.Rules
	Table          *route.Table
	Domains        map[*route.Domain]*Domain // one for each domain of Table
	Directory      *directory.Directory
	MaxMessageSize int64        // octets; 0: no limit
	Postmaster     mail.Address // where <postmaster> without a domain goes; zero: nowhere
	Blocked        func(netip.Addr) bool
	Policies       Policies         // nil: no file says who may send
	Journal        *journal.Journal // nil: decisions are not written down
	Metrics        *metrics.Metrics // nil: nor counted
	Logger         *slog.Logger     // for what goes wrong on our side; nil: nobody
	Now            func() time.Time // nil: time.Now
}

// Engine decides transactions by one configuration. It is immutable; a new
// configuration is a new Engine, and open sessions end with the one they began with.
type Engine struct {
	Config
}

// New makes an engine.
func New(c Config) *Engine {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return &Engine{Config: c}
}

// sessions are used again: one is two kilobytes, and a refusal needs little else.
var sessions = sync.Pool{New: func() any { return new(Session) }}

// Begin opens a session for one client. ctx ends when the connection is cut off by us.
func (e *Engine) Begin(ctx context.Context, door evidence.Door, client evidence.Client) *Session {
	s := sessions.Get().(*Session)
	s.e, s.ctx = e, ctx
	s.c.Door = door
	s.c.Client = client
	s.c.Mode = e.Mode
	if e.Metrics != nil {
		e.Metrics.SessionOpened(door)
	}
	return s
}

// domain finds the domain of an address, nil where it is not ours.
func (e *Engine) domain(a mail.Address) *Domain {
	d := e.Table.Find(a.Domain())
	if d == nil {
		return nil
	}
	return e.Domains[d]
}

// blocked says whether the client's network is one the operator refuses.
func (e *Engine) blocked(a netip.Addr) bool { return e.Blocked != nil && e.Blocked(a) }
