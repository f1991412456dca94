// Package smtpd is the SMTP door: it turns the events of internal/smtp into those
// of a session, and the session's verdicts into replies.
//
// # Limits
//
// It knows nothing of rules and nothing of the wire: what it does beyond handing
// through is to count the connections of one client, and to let a client that talks early
// off with a note where no banner delay asks for more.
package smtpd

import (
	"context"
	"net"
	"net/netip"

	"backstop/internal/evidence"
	"backstop/internal/mail"
	"backstop/internal/session"
	"backstop/internal/smtp"
	"backstop/internal/verdict"
)

// Counter counts the open connections of one client; listen.PerClient is one.
type Counter interface {
	Acquire(netip.Addr) bool
	Release(netip.Addr)
}

// Config is what a Door needs beside the wire's own configuration.
type Config struct {
	Wire    smtp.ServerConfig // NewHandler is filled in here
	Kind    evidence.Door
	Engine  *session.Engine
	Clients Counter
}

// Door serves SMTP clients on any number of listeners.
type Door struct {
	server *smtp.Server
	ctx    context.Context
	cut    context.CancelFunc
}

// New makes a door.
func New(cfg Config) *Door {
	d := &Door{}
	d.ctx, d.cut = context.WithCancel(context.Background())
	d.server = smtp.NewServer(d.wire(cfg))
	return d
}

// Configure changes everything for connections that begin from now on.
func (d *Door) Configure(cfg Config) { d.server.Configure(d.wire(cfg)) }

func (d *Door) wire(cfg Config) smtp.ServerConfig {
	w := cfg.Wire
	w.NewHandler = func(c *smtp.Conn) smtp.Handler { return newHandler(d.ctx, &cfg, c) }
	return w
}

// Serve accepts connections from l until Shutdown.
func (d *Door) Serve(l net.Listener) error { return d.server.Serve(l) }

// Open is how many connections are open.
func (d *Door) Open() int { return d.server.Open() }

// Shutdown drains the door: see smtp.Server.Shutdown. What is left when ctx ends is cut off.
func (d *Door) Shutdown(ctx context.Context) error {
	defer d.cut()
	stop := context.AfterFunc(ctx, d.cut)
	defer stop()
	return d.server.Shutdown(ctx)
}

// handler is one connection: the wire's events on one side, a session on the other.
type handler struct {
	s       *session.Session
	conn    *smtp.Conn
	clients Counter
	addr    netip.Addr // as counted: XCLIENT may change the client's address later
	counted bool
	strict  bool // who talks early is refused, and not only noted
}

func newHandler(ctx context.Context, cfg *Config, c *smtp.Conn) *handler {
	p := c.Peer()
	h := &handler{conn: c, addr: p.Addr, strict: cfg.Wire.BannerDelay > 0}
	if !p.Addr.IsUnspecified() { // who comes by a unix socket has no address to be counted by
		h.clients = cfg.Clients
	}
	h.s = cfg.Engine.Begin(ctx, cfg.Kind, evidence.Client{
		Addr: p.Addr, Port: p.Port, Name: p.Name, Login: p.Login, TLS: c.IsTLS(),
	})
	return h
}

// say is the reply of a verdict, or none where the wire's own words do.
func say(v verdict.Verdict) mail.Reply { return v.Reply }

func (h *handler) Connect() mail.Reply {
	if h.clients != nil {
		h.counted = h.clients.Acquire(h.addr)
	}
	early := h.conn.Early()
	if early && !h.strict {
		// Nobody asked for it, and a script that pipes its whole dialogue in at once hurts nobody.
		h.s.NoteEarly()
		early = false
	}
	return say(h.s.Connect(early, h.clients != nil && !h.counted))
}

func (h *handler) Helo(name string, extended bool) mail.Reply {
	protocol := "SMTP" // RFC 3848: HELO is SMTP even under TLS
	if extended {
		protocol = "ESMTP"
		if h.conn.IsTLS() {
			protocol = "ESMTPS"
		}
	}
	if p := h.conn.Peer(); p.Helo != "" { // a trusted front told what its client said
		name = p.Helo
	}
	return say(h.s.Helo(name, protocol, h.conn.IsTLS()))
}

func (h *handler) Mail(from mail.ReversePath, p smtp.MailParams) mail.Reply {
	return say(h.s.Mail(from, p))
}

func (h *handler) Rcpt(to mail.Address, p smtp.RcptParams) mail.Reply {
	return say(h.s.Rcpt(to, p))
}

// Data lets every message come: whether it may pass is known when it was read.
func (h *handler) Data() mail.Reply { return mail.Reply{} }

func (h *handler) Message(body *smtp.BodyReader) mail.Reply { return say(h.s.Message(body)) }

func (h *handler) Reset() { h.s.Reset() }

func (h *handler) Violation(v smtp.Violation) mail.Reply {
	switch v {
	case smtp.ViolationLineEnd:
		return say(h.s.Violation(evidence.FaultBareLF, false))
	case smtp.ViolationInternal:
		return say(h.s.Internal())
	}
	return say(h.s.Violation(evidence.NoFault, true))
}

func (h *handler) Close() {
	if h.s == nil {
		return
	}
	h.s.Close()
	h.s = nil // it may be somebody else's by now
	if h.counted {
		h.clients.Release(h.addr)
		h.counted = false
	}
}
