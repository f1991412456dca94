package session

import (
	"context"
	"time"

	"backstop/internal/directory"
	"backstop/internal/evidence"
	"backstop/internal/journal"
	"backstop/internal/mail"
	"backstop/internal/relay"
	"backstop/internal/route"
	"backstop/internal/smtp"
	"backstop/internal/verdict"
)

// Session is one client's conversation, of any number of transactions.
type Session struct {
	e   *Engine
	ctx context.Context
	id  mail.ID
	c   evidence.Case // what is known; recipient and message fields are those of the last one asked

	params smtp.MailParams
	domain *Domain            // of the first accepted recipient: the transaction's only downstream
	tx     *relay.Transaction // open with it, or nil
	rcpts  []mail.Address     // accepted, as the client gave them
	rec    journal.Record     // what is written down next; here, so that it is allocated once
}

// maxQuestions is more than there are questions: a verdict that asks on and on is a fault of ours.
const maxQuestions = 8

// Connect is the first event of a session.
func (s *Session) Connect(early, tooMany bool) verdict.Verdict {
	s.c.Stage = evidence.StageConnect
	s.c.Early, s.c.TooMany = early, tooMany
	s.c.Blocked = s.e.blocked(s.c.Client.Addr)
	if s.e.Policies != nil {
		s.c.ClientPolicy = s.e.Policies.Client(s.c.Client.Addr, s.c.Client.Name)
	}
	return s.decideNow()
}

// NoteEarly writes down that the client talked before the greeting, and refuses nothing.
func (s *Session) NoteEarly() {
	s.e.Logger.Info("the client talked before the greeting", "door", s.c.Door.String(), "client", s.c.Client.Addr.String())
}

// Helo takes HELO or EHLO.
func (s *Session) Helo(name, protocol string, tls bool) verdict.Verdict {
	s.Reset()
	s.c.Stage = evidence.StageHelo
	s.c.Client.Helo, s.c.Client.Protocol, s.c.Client.TLS = name, protocol, tls
	return s.decideNow()
}

// Mail opens a transaction.
func (s *Session) Mail(from mail.ReversePath, p smtp.MailParams) verdict.Verdict {
	s.Reset()
	s.id = mail.NewID()
	s.c.Stage = evidence.StageMail
	s.c.From, s.c.FromGiven = from, true
	if s.e.Policies != nil && !from.IsNull() {
		s.c.SenderPolicy = s.e.Policies.Sender(from.Address)
	}
	s.params = p
	return s.decideNow()
}

// Violation is a breach of the protocol: fault of a command line, or abuse.
func (s *Session) Violation(f evidence.Fault, abuse bool) verdict.Verdict {
	sender := s.c.SenderPolicy // was answered to MAIL
	s.c.Message.Fault, s.c.Abuse, s.c.SenderPolicy = f, abuse, evidence.Policy{}
	defer func() { s.c.Message.Fault, s.c.Abuse, s.c.SenderPolicy = evidence.NoFault, false, sender }()
	return s.decideNow()
}

// Internal is the verdict for a fault of ours, written down so that its identifier can be found.
func (s *Session) Internal() verdict.Verdict {
	v := verdict.Internal()
	s.record(v, s.e.Now())
	return s.finish(v)
}

// decideNow decides a stage that needs no evidence from elsewhere.
func (s *Session) decideNow() verdict.Verdict {
	start := s.e.Now()
	v := s.e.Rules.Weigh(&s.c)
	_, watched := v.Watched()
	if v.Effect != verdict.Accept || watched {
		s.record(v, start)
	}
	return s.finish(v)
}

// Rcpt decides one recipient.
func (s *Session) Rcpt(to mail.Address, p smtp.RcptParams) verdict.Verdict {
	start := s.e.Now()
	d, ask := s.beginRcpt(to)
	v := s.gather(func(q evidence.Question) {
		switch q {
		case evidence.AskDirectory:
			s.askDirectory(d, ask, s.c.Door.Delivers())
		case evidence.AskDownstreamRecipient:
			s.askDownstream(d, ask, p)
		}
	})
	s.took(to, d, v)
	s.record(v, start)
	return s.finish(v)
}

// beginRcpt lays down what is known of a recipient without asking anybody: its
// domain, nil where that is not ours, and the address as it is looked up and handed on.
func (s *Session) beginRcpt(to mail.Address) (*Domain, mail.Address) {
	s.c.Stage = evidence.StageRcpt
	s.c.Directory, s.c.Downstream = evidence.Directory{}, evidence.Answer{}
	s.c.To, s.c.RcptCount = to, len(s.rcpts)
	ask := to
	s.c.NoDomain = false
	if to.Domain() == "" {
		if to.IsPostmaster() && !s.e.Postmaster.IsZero() { // RFC 5321, 4.5.1
			ask = s.e.Postmaster
		} else {
			s.c.NoDomain = true
		}
	}
	s.c.OurDomain, s.c.Mode = evidence.No, s.e.Mode
	s.c.MustAccept, s.c.OtherRoute = false, evidence.No
	d := s.e.domain(ask)
	if d != nil {
		s.c.OurDomain, s.c.Mode = evidence.Yes, d.Mode
		s.c.MustAccept = ask.IsPostmaster() || ask.IsAbuse()
		s.c.OtherRoute = s.otherRoute(d)
	}
	return d, ask
}

// took counts an accepted recipient, the first of which binds the transaction to its downstream.
func (s *Session) took(to mail.Address, d *Domain, v verdict.Verdict) {
	if v.Effect != verdict.Accept {
		return
	}
	if s.domain == nil {
		s.domain = d
	}
	s.rcpts = append(s.rcpts, to)
}

// otherRoute says whether a recipient of d cannot join the open transaction: one
// downstream a transaction, and over LMTP one recipient, since LMTP answers the
// message once a recipient and the sender gets one answer (RFC 2033, 4.2).
func (s *Session) otherRoute(d *Domain) evidence.Tristate {
	switch {
	case s.domain == nil:
		return evidence.No
	case s.domain.Route.Relay != d.Route.Relay, d.Route.Relay.Scheme != route.SMTP:
		return evidence.Yes
	}
	return evidence.No
}

// gather asks the verdict and fetches what it lacks, until it knows.
func (s *Session) gather(fetch func(evidence.Question)) verdict.Verdict {
	for range maxQuestions {
		v := s.e.Rules.Weigh(&s.c)
		if v.Ask == evidence.AskNothing {
			return v
		}
		fetch(v.Ask)
	}
	s.e.Logger.Error("the rules ask on and on", "id", s.id.String(), "stage", s.c.Stage.String())
	return verdict.Internal()
}

func (s *Session) askDirectory(d *Domain, a mail.Address, cutThrough bool) {
	s.c.Directory = s.e.Directory.Lookup(s.ctx, d.Chain, directory.Query{
		Address: d.Route.Canonical(a), Subaddress: d.Route.Subaddress, CutThrough: cutThrough,
	})
}

// askDownstream hands the recipient to the downstream, and takes its answer for
// an answer of the directory's where the relay is one of the domain's sources.
func (s *Session) askDownstream(d *Domain, a mail.Address, p smtp.RcptParams) {
	if s.tx == nil {
		s.tx = d.Relay.Begin(s.ctx, relay.Envelope{From: s.c.From, Params: s.params, Client: s.c.Client})
	}
	s.c.Downstream = s.tx.Rcpt(s.ctx, a, p)
	left := s.c.Directory.Standing == evidence.LeftToDownstream
	if (left || s.c.Downstream.NoSuchUser) && !s.otherForm(d, a) { // a no is news whoever said yes before
		s.e.Directory.Learn(d.Chain, d.Route.Canonical(a), s.c.Downstream)
	}
	if left && s.c.Downstream.NotReached() {
		// The downstream is away: what is known of old still holds, above all a no.
		known := s.e.Directory.Lookup(s.ctx, d.Chain, directory.Query{
			Address: d.Route.Canonical(a), Subaddress: d.Route.Subaddress, NoAsk: true,
		})
		if known.Standing == evidence.Missing {
			s.c.Directory = known
		}
	}
	if s.c.Downstream.Outcome != evidence.OutcomeAccepted && s.tx.Accepted() == 0 {
		s.dropTransaction()
	}
}

// otherForm says that a no came to another form of an address that is known to
// exist: an alias or other letters, which the downstream may tell apart. What a stranger
// writes so must not take the mail from the user himself.
func (s *Session) otherForm(d *Domain, a mail.Address) bool {
	if !s.c.Downstream.NoSuchUser || a.Domain() == d.Route.Name && a.Local() == a.LocalKey() {
		return false
	}
	return s.e.Directory.Lookup(s.ctx, d.Chain, directory.Query{Address: d.Route.Canonical(a), NoAsk: true}).Standing == evidence.Exists
}

// dropTransaction gives the downstream's connection back: no recipient of it
// was accepted, and the next one may belong to another downstream.
func (s *Session) dropTransaction() {
	s.tx.Abort()
	s.tx = nil
}

// Reset forgets the open transaction; a half-sent message is not delivered.
func (s *Session) Reset() {
	if s.tx != nil {
		s.dropTransaction()
	}
	s.domain, s.rcpts = nil, s.rcpts[:0]
	s.c.From, s.c.FromGiven, s.c.RcptCount = mail.ReversePath{}, false, 0
	s.c.To, s.c.SenderPolicy = mail.Address{}, evidence.Policy{}
	s.c.Directory, s.c.Downstream, s.c.Final = evidence.Directory{}, evidence.Answer{}, evidence.Answer{}
	s.c.Message = evidence.Message{}
	s.c.Mode = s.e.Mode
	s.params = smtp.MailParams{}
}

// Close ends the session, which is not to be touched after it.
func (s *Session) Close() {
	s.Reset()
	if s.e.Metrics != nil {
		s.e.Metrics.SessionClosed(s.c.Door)
	}
	rcpts := s.rcpts
	clear(rcpts[:cap(rcpts)])
	*s = Session{rcpts: rcpts[:0]}
	sessions.Put(s)
}

// finish puts the transaction's identifier into a reply that says no.
func (s *Session) finish(v verdict.Verdict) verdict.Verdict {
	if v.Reply.IsZero() || v.Reply.Positive() && s.c.Stage != evidence.StageData {
		return v
	}
	if s.id.IsZero() {
		s.id = mail.NewID()
	}
	v.Reply = v.Reply.WithID(s.id)
	return v
}

// record writes the decision down and counts it.
func (s *Session) record(v verdict.Verdict, start time.Time) {
	if s.e.Metrics != nil {
		s.e.Metrics.Decision(s.c.Door, s.c.Stage, int(v.Effect), int(v.Rule))
	}
	if s.e.Journal == nil {
		return
	}
	if s.id.IsZero() {
		s.id = mail.NewID()
	}
	now := s.e.Now()
	s.rec = journal.Record{
		Time: now, Effect: journal.Effect(v.Effect.String()), ID: s.id, Door: s.c.Door, Stage: s.c.Stage,
		Client: s.c.Client.Addr, Helo: s.c.Client.Helo, From: s.c.From, FromGiven: s.c.FromGiven, To: s.c.To,
		Rule: v.Rule.String(), Reply: v.Reply, Took: now.Sub(start), Mode: s.c.Mode,
	}
	if rule, ok := v.Watched(); ok {
		s.rec.Watched = rule.String()
	}
	if v.Rule == verdict.RecipientUnverified && s.c.Directory.Standing == evidence.Unavailable {
		s.rec.Source, s.rec.Finding = s.c.Directory.Source, s.c.Directory.Detail
	}
	if a := s.answer(); a.Outcome != evidence.OutcomeNotAsked {
		s.rec.Downstream = a
	}
	s.e.Journal.Decision(&s.rec)
}

func (s *Session) answer() *evidence.Answer {
	if s.c.Stage == evidence.StageData {
		return &s.c.Final
	}
	return &s.c.Downstream
}
