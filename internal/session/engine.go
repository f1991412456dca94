package session

import (
	"context"
	"crypto"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"time"

	"backstop/internal/directory"
	"backstop/internal/dkim"
	"backstop/internal/evidence"
	"backstop/internal/journal"
	"backstop/internal/keyring"
	"backstop/internal/mail"
	"backstop/internal/metrics"
	"backstop/internal/record"
	"backstop/internal/relay"
	"backstop/internal/route"
	"backstop/internal/srs"
	"backstop/internal/tally"
	"backstop/internal/verdict"
)

// Domain is one domain that is ours, with everything its mail needs.
type Domain struct {
	Route *route.Domain
	Chain *directory.Chain
	Relay *relay.Downstream // nil where nothing is delivered
	Mode  evidence.Mode

	Guards evidence.Guards // TagsDue is filled in by the session
	// TagsSince is when senders of the domain began to be tagged; zero: nobody knows.
	TagsSince time.Time
	Forged    bool // outsiders who claim the domain are refused
	// Senders says why a client may claim the domain all the same, "" where he may not, and whether he
	// is vouched for by his address and not only by the sender that he gives; nil: nobody may.
	Senders  func(client netip.Addr, from mail.Address) (entry string, vouched bool)
	Exempt   Exempt       // whose bounces are not judged
	BounceTo mail.Address // where automatic mail goes that must not leave; zero: it is refused
	Sign     []dkim.Key   // with which mail of the domain is signed that leaves
	// PublicKey is the key that the domain signs or signed with, nil for a selector that is not ours.
	PublicKey func(selector string) crypto.PublicKey
}

// Exempt is whose bounces pass unjudged.
type Exempt struct {
	From []string // domains; those below them too
	To   []string // keys of addresses, or local part and "@" for that name in any domain of ours
}

// Authenticator finds out who sent a message; auth.Checker is one.
type Authenticator interface {
	SPF(ctx context.Context, client netip.Addr, helo string, from mail.ReversePath) evidence.SPF
	DKIM(ctx context.Context, v *dkim.Verifier) []evidence.Signature
	DMARC(ctx context.Context, header []byte, spf evidence.SPF, dkim []evidence.Signature, sender mail.ReversePath) evidence.DMARC
}

// Outbound is where mail goes that leaves.
type Outbound struct {
	Relay   *relay.Downstream
	Route   route.Relay
	Allowed func(netip.Addr) bool // who may send through it
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
	Policies       Policies              // nil: no file says who may send
	Auth           Authenticator         // nil: nobody asks who sent a message
	Keys           func() keyring.Ring   // of tags and seals; nil: there are none
	SRS            *srs.Rewriter         // nil: SRS addresses are addresses like others
	SRSDomains     []string              // where they stand; empty: in all domains of ours
	SRSReverse     bool                  // bounces to them are turned back here, and leave
	Outbound       *Outbound             // nil: there is no outbound door
	Internal       func(netip.Addr) bool // whose mail is ours at the doors beside an MTA; nil: nobody's
	Milter         bool                  // mail of theirs leaves through the milter
	Beside         bool                  // there is no SMTP door for what comes in, so Explain tells what one beside an MTA says
	Record         *record.Record        // which mail was seen; nil: nobody remembers
	Tally          *tally.Tally          // nil: bounces are not counted for the report
	// Redirected is told what became of a message that was to go to a mailbox of bounce_to; nil: nobody is.
	Redirected func(to mail.Address, a evidence.Answer, taken bool)
	Spool      string           // folder for what is too long to be held in memory; "": the system's
	Journal    *journal.Journal // nil: decisions are not written down
	Metrics    *metrics.Metrics // nil: nor counted
	Logger     *slog.Logger     // for what goes wrong on our side; nil: nobody
	Now        func() time.Time // nil: time.Now
}

// Engine decides transactions by one configuration. It is immutable; a new
// configuration is a new Engine, and open sessions end with the one they began with.
type Engine struct {
	Config
	out Domain // of the outbound door: whatever is not ours
	// back is for bounces that are turned back to strangers. The four digits of an SRS address can be guessed, and
	// whoever did would have a relay: such a bounce must prove what it answers as all others, and in every mode.
	back Domain
	// beside is for recipients whose domain the MTA serves and nobody here knows: nothing of theirs is judged.
	beside Domain
	kept   map[string]bool // keys of the mailboxes of bounce_to, of all domains
}

// New makes an engine.
func New(c Config) *Engine {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	e := &Engine{Config: c, kept: map[string]bool{}, beside: Domain{Route: &route.Domain{}, Mode: c.Mode}}
	for _, d := range c.Domains {
		if !d.BounceTo.IsZero() {
			e.kept[d.BounceTo.Key()] = true
		}
	}
	if out := c.Outbound; out != nil {
		e.out = Domain{Route: &route.Domain{Relay: out.Route}, Relay: out.Relay, Mode: c.Mode}
		e.back = e.out
		e.back.Mode, e.back.Guards.Bounces = evidence.Enforce, evidence.JudgeEnforce
	}
	return e
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
	s.c.Leaves = door == evidence.DoorOutbound
	s.c.NotListed = s.c.Leaves && (e.Outbound == nil || !e.Outbound.Allowed(client.Addr))
	if e.Metrics != nil {
		e.Metrics.SessionOpened(door)
	}
	return s
}

// domain finds the domain of an address, nil where it is not ours.
func (e *Engine) domain(a mail.Address) *Domain {
	return e.named(a.Domain())
}

// blocked says whether the client's network is one the operator refuses.
func (e *Engine) blocked(a netip.Addr) bool { return e.Blocked != nil && e.Blocked(a) }

// owner finds the domain of ours that a name is, or lies below, nil where it is none.
func (e *Engine) owner(name string) *Domain {
	for name != "" && e.Table != nil {
		if d := e.Table.Find(name); d != nil {
			return e.Domains[d]
		}
		_, name, _ = strings.Cut(name, ".")
	}
	return nil
}

// meant finds the domain of ours that an address names as a way, where an MTA would go it: the address has no domain
// that is somebody's. Others have such signs in addresses of their own (lists, above all).
func (e *Engine) meant(a mail.Address, find func(name string) *Domain) *Domain {
	if strings.Contains(a.Domain(), ".") {
		return nil
	}
	for _, way := range a.Ways() {
		if d := find(way); d != nil {
			return d
		}
	}
	return nil
}

// named finds the domain of ours with exactly this name, or alias.
func (e *Engine) named(name string) *Domain {
	if d := e.Table.Find(name); d != nil {
		return e.Domains[d]
	}
	return nil
}

// guarded is the first domain of ours that outsiders may not claim.
func (e *Engine) guarded() *Domain {
	if e.Table == nil {
		return nil
	}
	for _, r := range e.Table.Domains() {
		if d := e.Domains[r]; d.Forged {
			return d
		}
	}
	return nil
}

// sends says that mail leaves through one of the doors, so that answers to what comes in are judged.
func (e *Engine) sends() bool { return e.Milter || e.Outbound != nil }

// listed says whose mail may leave.
func (e *Engine) listed(client netip.Addr) bool {
	return e.Outbound != nil && e.Outbound.Allowed(client) || e.Milter && e.Internal != nil && e.Internal(client)
}

// ring is the keys as they are now.
func (e *Engine) ring() keyring.Ring {
	if e.Keys == nil {
		return keyring.Ring{}
	}
	return e.Keys()
}

// leaving is the route of what leaves, as a domain of its own.
func (e *Engine) leaving() *Domain { return &e.out }

// publicKey finds the keys of one domain, for whoever asks with domain and selector.
func (e *Engine) publicKey(d *Domain) func(domain, selector string) crypto.PublicKey {
	return func(domain, selector string) crypto.PublicKey {
		if e.owner(domain) != d {
			return nil
		}
		return d.PublicKey(selector)
	}
}
