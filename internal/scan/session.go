package scan

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"strings"
	"time"

	"backstop/internal/mail"
	"backstop/internal/smtp"
)

// conversation is one connection with a server. After an error its methods do nothing.
type conversation struct {
	c   *smtp.Client // nil: it never began
	rec *recorder
	err error
	// over says that the server said goodbye (421), or that we did.
	over bool
	used bool // a transaction was tried
	open bool // MAIL was accepted
	helo string
}

// find connects to the first host that greets, in the order of the MX records, and keeps its address.
func (s *scanner) find(ctx context.Context) *conversation {
	hosts, said := s.Target.hosts(ctx, s.Resolver)
	if len(hosts) == 0 {
		s.f.trouble = append(s.f.trouble, said)
		return nil
	}
	s.f.lookup, s.f.mx = said, s.Target.Host == "" && said == ""
	var last *conversation
	for i, host := range hosts[:min(len(hosts), maxHosts)] {
		all, err := places(ctx, s.Resolver, host, s.Target.Port)
		if err != nil {
			s.f.trouble = append(s.f.trouble, host+" has no address that the DNS could tell: "+reason(err)+".")
			s.before = append(s.before, host)
			continue
		}
		for _, p := range all {
			if s.used > MaxConnections/2 {
				break // enough of them for whoever answers
			}
			v := s.open(ctx, p)
			if v == nil {
				continue
			}
			if v.err == nil {
				s.found(p, v, hosts[i+1:])
				return v
			}
			last, s.at = v, p
			s.keep(v)
		}
		s.before = append(s.before, host)
	}
	if last != nil { // somebody was there, and did not want us
		s.f.banner, s.f.found, s.f.broke = last.rec.reply(0), true, last.err
		s.before = slices.DeleteFunc(s.before, func(host string) bool { return host == s.at.host })
	}
	return nil
}

// found keeps whom we talk to.
func (s *scanner) found(p place, v *conversation, others []string) {
	s.at, s.others = p, others
	s.f.trouble, s.f.broke = nil, nil
	s.f.found = true
	s.f.banner, s.f.ehlo = v.rec.reply(0), v.rec.ehlo()
	s.f.greeted, s.f.caps = v.rec.list[0].end.Sub(v.rec.list[0].began), v.c.Capabilities()
}

// open connects and says EHLO; in plain text, unless the server does not talk so. nil: there is no connection, or none is left to be made.
func (s *scanner) open(ctx context.Context, p place) *conversation {
	return s.openTLS(ctx, p, s.tls, &tls.Config{MinVersion: tls.VersionTLS10}) // nothing is said that others may not hear
}

func (s *scanner) openTLS(ctx context.Context, p place, mode smtp.TLSMode, cfg *tls.Config) *conversation {
	if s.used >= MaxConnections || ctx.Err() != nil {
		s.f.spent = s.f.spent || s.used >= MaxConnections
		return nil
	}
	if s.used > 0 && !s.wait(ctx, PausePolite, s.Pause) {
		return nil
	}
	s.used++
	s.progress("asking " + p.host + ", connection " + itoa(s.used))
	began := time.Now()
	nc, err := s.Dial(ctx, "tcp", p.addr)
	step := Step{Step: "connect", Sent: p.addr, MS: millis(time.Since(began))}
	if p.host+":"+portOf(p.addr) != p.addr {
		step.Sent += " (" + p.host + ")"
	}
	if err != nil {
		step.Reply = "(" + reason(err) + ")"
		s.steps = append(s.steps, step)
		s.f.trouble = append(s.f.trouble, p.host+" cannot be reached at "+p.addr+": "+reason(err)+".")
		return nil
	}
	s.steps = append(s.steps, step)
	s.sessions++
	v := &conversation{rec: &recorder{Conn: nc}, helo: s.Helo}
	if v.helo == "" {
		v.helo = literal(nc.LocalAddr())
	}
	t := s.Timeout
	v.c, v.err = smtp.NewClient(ctx, v.rec, smtp.ClientConfig{
		LocalName: v.helo, TLS: mode, TLSConfig: cfg, NoPipelining: true,
		Timeouts: smtp.Timeouts{Banner: t, Hello: t, Mail: t, Rcpt: t, Data: t, Block: t, Final: 2 * t, Quit: min(t, 5*time.Second)},
	})
	if s.Helo != "" && v.err != nil && strings.HasPrefix(v.rec.reply(0), "220 "+s.Helo+" ESMTP Backstop") {
		s.keep(v)
		s.Helo = "" // a Backstop of our own name would take us for itself
		return s.openTLS(ctx, p, mode, cfg)
	}
	if v.err != nil && s.f.found {
		s.broke(v)
	}
	return v
}

// broke keeps why a later conversation did not come about.
func (s *scanner) broke(v *conversation) {
	if s.f.broke == nil {
		s.f.broke = v.err
	}
}

// keep writes the conversation down.
func (s *scanner) keep(v *conversation) {
	err := v.err
	var refused *smtp.RefusedError
	if errors.As(err, &refused) { // that is an answer
		err = nil
	}
	steps := v.rec.steps(err)
	for _, step := range steps[min(2, len(steps)):] {
		s.f.said += step.Reply + "\n"
	}
	s.steps = append(s.steps, steps...)
	if v.c != nil {
		v.c.Close()
	}
	if v.err != nil {
		s.broke(v)
	}
}

// sender is whom mail is from.
func (s *scanner) sender(v *conversation, null bool) mail.ReversePath {
	if null {
		return mail.ReversePath{}
	}
	if !s.From.IsZero() {
		return mail.ReversePath{Address: s.From}
	}
	a, err := mail.ParseAddress("postmaster@" + v.helo)
	if err != nil {
		return mail.ReversePath{}
	}
	return mail.ReversePath{Address: a}
}

// one sends one command and returns its answer; Code 0: there was none. What it is called is written down where the
// connection is encrypted.
func (v *conversation) one(ctx context.Context, command string, add func(*smtp.Batch)) smtp.Response {
	if v.err != nil || v.over || v.c == nil {
		return smtp.Response{}
	}
	began := time.Now()
	b := v.c.Batch()
	add(b)
	answers, err := b.Do(ctx)
	if err != nil {
		v.rec.note(command, "", began)
		v.err = err
		return smtp.Response{}
	}
	v.rec.note(command, sayResponse(&answers[0]), began)
	v.over = answers[0].Code == 421
	return answers[0]
}

// ask asks for one recipient: in a transaction of his own, or as a further one of the transaction that is open.
func (v *conversation) ask(ctx context.Context, a *asked, from mail.ReversePath) {
	a.null, a.from = from.IsNull(), from.String()
	if !a.second {
		if v.used {
			v.reset(ctx)
		}
		v.used = true
		a.mail = v.one(ctx, "MAIL FROM:<"+strings.Trim(a.from, "<>")+">", func(b *smtp.Batch) { b.Mail(from, smtp.MailParams{}) })
		a.took = v.rec.took()
		v.open = a.mail.Class() == 2
	}
	if v.open {
		a.rcpt = v.one(ctx, "RCPT TO:<"+a.to.String()+">", func(b *smtp.Batch) { b.Rcpt(a.to, smtp.RcptParams{}) })
		a.took = v.rec.took()
	}
	a.judgeAnswer()
}

func (v *conversation) reset(ctx context.Context) {
	v.one(ctx, "RSET", func(b *smtp.Batch) { b.Reset() })
}

// quit takes leave, where there is somebody to take leave of.
func (v *conversation) quit(ctx context.Context) {
	if v.err == nil && !v.over && v.c != nil {
		v.over = true
		v.c.Quit(ctx) // all is known by now
	}
}

// literal is our address as RFC 5321, 4.1.3 has it for a client without a name.
func literal(a net.Addr) string {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return "[127.0.0.1]"
	}
	ip := t.AddrPort().Addr().Unmap().WithZone("")
	if ip.Is6() {
		return "[IPv6:" + ip.String() + "]"
	}
	return "[" + ip.String() + "]"
}
