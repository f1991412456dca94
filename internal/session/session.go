package session

import (
	"context"
	"slices"
	"strings"
	"time"

	"backstop/internal/batv"
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

	params     smtp.MailParams
	domain     *Domain              // of the first accepted recipient: the transaction's only downstream
	tx         *relay.Transaction   // open with it, or nil
	rcpts      []mail.Address       // accepted, as the client gave them
	rcptParams []smtp.RcptParams    // theirs
	unknown    bool                 // outbound: who wrote could not be found out when the message came in
	fixed      bool                 // the recipients cannot be changed
	passedOn   bool                 // outbound: the message came in from outside, so it is not sealed as ours
	unproven   []string             // outbound: keys of recipients who are not proven to have written
	notice     notice               // of the message, as long as it is judged
	sigs       []evidence.Signature // its DKIM signatures
	rec        journal.Record       // what is written down next; here, so that it is allocated once
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

// Login says who authenticated, "" for nobody, of the transactions that follow.
func (s *Session) Login(name string) { s.c.Client.Login = name }

// Outward says whether the mail of the transactions that follow leaves, at a door through which both kinds go.
func (s *Session) Outward(leaves bool) { s.c.Leaves = leaves }

// Mail opens a transaction.
func (s *Session) Mail(from mail.ReversePath, p smtp.MailParams) verdict.Verdict {
	s.Reset()
	s.id = mail.NewID()
	s.c.Stage = evidence.StageMail
	s.c.From, s.c.FromGiven = from, true
	s.params = p
	d, claim := s.claim()
	s.c.Claim = claim
	inside := s.c.Leaves || s.c.Door.Beside() && claim.Vouched && claim.Exempt != ""
	if s.e.Policies != nil && !from.IsNull() && !inside { // those lines are against outsiders
		s.c.SenderPolicy = s.e.Policies.Sender(from.Address)
	}
	if d != nil {
		s.c.Mode = d.Mode
	}
	return s.decideNow()
}

// Violation is a breach of the protocol: fault of a command line, or abuse.
func (s *Session) Violation(f evidence.Fault, abuse bool) verdict.Verdict {
	sender, claim := s.c.SenderPolicy, s.c.Claim // were answered to MAIL
	s.c.Message.Fault, s.c.Abuse, s.c.SenderPolicy, s.c.Claim.Refuse = f, abuse, evidence.Policy{}, false
	defer func() {
		s.c.Message.Fault, s.c.Abuse, s.c.SenderPolicy, s.c.Claim = evidence.NoFault, false, sender, claim
	}()
	return s.decideNow()
}

// Internal is the verdict for a fault of ours, written down so that its identifier can be found.
func (s *Session) Internal() verdict.Verdict {
	v := verdict.Internal()
	s.record(v, s.e.Now())
	return s.finish(v)
}

// decideNow decides a stage that needs no evidence from elsewhere, but for who the sender is.
func (s *Session) decideNow() verdict.Verdict {
	start := s.e.Now()
	v := s.gather(s.fetchSender)
	_, watched := v.Watched()
	if v.Effect != verdict.Accept || watched {
		s.record(v, start)
	}
	return s.finish(v)
}

// Rcpt decides one recipient.
func (s *Session) Rcpt(to mail.Address, p smtp.RcptParams) verdict.Verdict {
	start := s.e.Now()
	r := s.beginRcpt(to)
	v := s.gather(func(q evidence.Question) {
		switch q {
		case evidence.AskDirectory:
			s.askDirectory(&r, directory.Query{CutThrough: s.c.Door.Delivers()})
		case evidence.AskDownstreamRecipient:
			s.askDownstream(&r, p)
		default:
			s.fetchSender(q)
		}
	})
	s.took(to, r.d, p, v)
	s.record(v, start)
	return s.finish(v)
}

// recipient is one who is being decided.
type recipient struct {
	d    *Domain      // nil: his domain is not ours
	look mail.Address // as he is looked up: without tag
	hand mail.Address // as he is handed on
}

// fetchSender answers what may be asked at any stage.
func (s *Session) fetchSender(q evidence.Question) {
	if q == evidence.AskSPF {
		s.askSPF()
	}
}

// beginRcpt lays down what is known of a recipient without asking anybody: its
// domain and tag.
func (s *Session) beginRcpt(to mail.Address) recipient {
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
	s.c.Tag, s.c.Guards = evidence.Tag{}, evidence.Guards{}
	r := recipient{d: s.e.domain(ask), look: ask, hand: ask}
	if r.d == nil && s.c.Door.Beside() {
		if d := s.e.meant(ask, s.e.named); d != nil { // the MTA would go that way; relay-denied says no, as where the domain is ours
			r.d, s.c.NoDomain = d, false
		}
	}
	switch {
	case s.c.Leaves && (r.d == nil || s.c.Door.Delivers()):
		s.c.Directory = evidence.Directory{Standing: evidence.Exists, Source: "outbound"} // only he to whom it goes can say
		return recipient{s.e.leaving(), ask, ask}
	case s.c.Leaves: // from user to user of ours, and no downstream that could say no
		s.c.OurDomain, s.c.Mode = evidence.Yes, r.d.Mode
		r.look, r.hand = s.untag(ask)
		s.c.MustAccept = r.look.IsPostmaster() || r.look.IsAbuse()
	case r.d == nil && s.c.Door.Beside():
		r.d = &s.e.beside
		s.c.Directory = evidence.Directory{Standing: evidence.Exists, Source: "the MTA"}
		s.c.OtherRoute = s.otherRoute(r.d)
	case r.d != nil:
		s.c.OurDomain, s.c.Mode, s.c.Guards = evidence.Yes, r.d.Mode, s.guards(r.d)
		if r.look, r.hand = s.untag(ask); s.turnsBack() {
			r = recipient{&s.e.back, s.c.Tag.Address, s.c.Tag.Address}
			s.c.Mode, s.c.Guards = r.d.Mode, r.d.Guards
			s.c.OtherRoute = s.otherRoute(r.d)
			return r
		}
		s.c.MustAccept = r.look.IsPostmaster() || r.look.IsAbuse()
		s.c.OtherRoute = s.otherRoute(r.d)
	}
	return r
}

// Recount is for a door that hears how many recipients there are only when all are known. It objects as Rcpt would have.
func (s *Session) Recount(n int) verdict.Verdict {
	if n <= 1 || !s.c.FromGiven || !s.c.From.IsNull() || len(s.rcpts) > 0 && s.domain == &s.e.beside { // of whom none is ours
		return verdict.Verdict{Effect: verdict.Accept, Rule: verdict.Accepted}
	}
	s.c.Stage, s.c.RcptCount = evidence.StageRcpt, n-1
	s.c.OurDomain, s.c.OtherRoute, s.c.Directory = evidence.Yes, evidence.No, evidence.Directory{Standing: evidence.Exists}
	return s.decideNow()
}

// guards are a domain's as they are now.
func (s *Session) guards(d *Domain) evidence.Guards {
	g := d.Guards
	g.TagsDue = !d.TagsSince.IsZero() && s.e.Now().Sub(d.TagsSince) >= batv.Lifetime
	return g
}

// took counts an accepted recipient, the first of which binds the transaction to its downstream.
func (s *Session) took(to mail.Address, d *Domain, p smtp.RcptParams, v verdict.Verdict) {
	if v.Effect != verdict.Accept {
		return
	}
	if s.domain == nil || s.domain == &s.e.beside {
		s.domain = d
	}
	s.rcpts, s.rcptParams = append(s.rcpts, to), append(s.rcptParams, p)
}

// otherRoute says whether a recipient of d cannot join the open transaction: one
// downstream a transaction, and over LMTP one recipient, since LMTP answers the
// message once a recipient and the sender gets one answer (RFC 2033, 4.2). Nor can one whose domain
// has the message judged otherwise: it is taken for all, or refused for all. Where an MTA delivers, the ways are its own, and the policy
// service never sees the message.
func (s *Session) otherRoute(d *Domain) evidence.Tristate {
	switch {
	case s.domain == nil, s.c.Door == evidence.DoorPolicy, !s.c.Door.Delivers() && s.judgedAlike(d):
		return evidence.No
	case s.domain.Route.Relay != d.Route.Relay, d.Route.Relay.Scheme != route.SMTP, !s.judgedAlike(d):
		return evidence.Yes
	}
	return evidence.No
}

// judgedAlike says that a message to the domain is judged as one to the transaction's own.
func (s *Session) judgedAlike(d *Domain) bool {
	o := s.domain
	if (d == &s.e.beside || o == &s.e.beside) && !s.mayRefuse(d) && !s.mayRefuse(o) {
		return true
	}
	return d == o || d.Mode == o.Mode && s.guards(d) == s.guards(o) &&
		slices.Equal(d.Exempt.From, o.Exempt.From) && slices.Equal(d.Exempt.To, o.Exempt.To)
}

// mayRefuse says that a message to the domain can be refused for what it is.
func (s *Session) mayRefuse(d *Domain) bool {
	g := s.guards(d)
	return d.Mode == evidence.Enforce && (g.DMARC == evidence.CheckRefuse || g.Bounces == evidence.JudgeEnforce || g.Tags == evidence.TagEnforce && g.TagsDue)
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

// askDirectory looks a recipient up; q says how.
func (s *Session) askDirectory(r *recipient, q directory.Query) {
	if s.c.Tag.SRS && s.c.Tag.Standing == evidence.TagValid { // only the server that made it can undo it
		s.c.Directory = evidence.Directory{Standing: evidence.Exists, Source: "srs", Detail: "stands for " + s.c.Tag.Address.String()}
		return
	}
	if s.circular() {
		s.c.Directory = evidence.Directory{Standing: evidence.Unavailable, Source: "this mail server itself",
			Detail: "the question is our own: the server that asks here is also asked from here who exists; name the one that has the mailboxes"}
		return
	}
	q.Address, q.Subaddress = r.d.Route.Canonical(r.look), r.d.Route.Subaddress
	s.c.Directory = s.e.Directory.Lookup(s.ctx, r.d.Chain, q)
}

// circular says that a question of our own came back: the MTA beside us is asked who exists, and asks us. Each would
// wait for the other until one gave up.
func (s *Session) circular() bool {
	return s.c.Door.Beside() && s.c.FromGiven && s.c.From.IsNull() && s.e.Hostname != "" && strings.EqualFold(s.c.Client.Helo, s.e.Hostname)
}

// askDownstream hands the recipient to the downstream, and takes its answer for
// an answer of the directory's where the relay is one of the domain's sources.
func (s *Session) askDownstream(r *recipient, p smtp.RcptParams) {
	if s.tx == nil {
		s.tx = r.d.Relay.Begin(s.ctx, relay.Envelope{From: s.tagged(), Params: s.params, Client: s.c.Client})
	}
	s.c.Downstream = s.tx.Rcpt(s.ctx, r.hand, p)
	if r.d.Chain != nil && r.look == r.hand {
		s.learn(r)
	}
	if s.c.Downstream.Outcome != evidence.OutcomeAccepted && s.tx.Accepted() == 0 {
		s.dropTransaction()
	}
}

// learn takes the downstream's answer for one of the directory's.
func (s *Session) learn(r *recipient) {
	d, a := r.d, r.look
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
	s.domain, s.rcpts, s.rcptParams = nil, s.rcpts[:0], s.rcptParams[:0]
	s.c.From, s.c.FromGiven, s.c.RcptCount = mail.ReversePath{}, false, 0
	s.c.To, s.c.SenderPolicy = mail.Address{}, evidence.Policy{}
	s.c.Directory, s.c.Downstream, s.c.Final = evidence.Directory{}, evidence.Answer{}, evidence.Answer{}
	s.c.Message = evidence.Message{}
	if s.c.Claim != (evidence.Claim{}) || s.c.SPF.Result != evidence.NotChecked || s.c.DMARC.Result != evidence.NotChecked ||
		s.c.OurDomain == evidence.Yes || s.c.Bounce.Asked {
		s.forget()
	}
	s.c.Mode, s.fixed = s.e.Mode, false
	s.params = smtp.MailParams{}
}

// forget drops what was found of sender and message. Most sessions have nothing of it.
func (s *Session) forget() {
	s.c.Claim, s.c.SPF, s.c.DMARC = evidence.Claim{}, evidence.SPF{}, evidence.DMARC{}
	s.c.Guards, s.c.Tag, s.c.Bounce = evidence.Guards{}, evidence.Tag{}, evidence.Bounce{}
	s.notice, s.sigs = notice{}, nil
}

// Close ends the session, which is not to be touched after it.
func (s *Session) Close() {
	s.Reset()
	if s.e.Metrics != nil {
		s.e.Metrics.SessionClosed(s.c.Door)
	}
	rcpts, params := s.rcpts, s.rcptParams
	clear(rcpts[:cap(rcpts)])
	clear(params[:cap(params)])
	*s = Session{rcpts: rcpts[:0], rcptParams: params[:0]}
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
		Time: now, Effect: journal.Effect(v.Effect.String()), ID: s.id, Door: s.c.Door, Leaves: s.c.Leaves && s.c.Door == evidence.DoorMilter, Stage: s.c.Stage,
		Client: s.c.Client.Addr, Helo: s.c.Client.Helo, From: s.c.From, FromGiven: s.c.FromGiven, To: s.c.To,
		Rule: v.Rule.String(), Reply: v.Reply, Took: now.Sub(start), Mode: s.c.Mode,
	}
	if rule, ok := v.Watched(); ok {
		s.rec.Watched = rule.String()
	}
	s.reason(v)
	if rule, ok := v.Watched(); ok && s.rec.Finding == "" {
		s.rec.Finding = rule.Finding(&s.c)
	}
	if a := s.answer(); a.Outcome != evidence.OutcomeNotAsked {
		s.rec.Downstream = a
	}
	s.e.Journal.Decision(&s.rec)
}

// reason adds to the record what an operator would ask next.
func (s *Session) reason(v verdict.Verdict) {
	switch v.Rule {
	case verdict.RecipientUnverified:
		if s.c.Directory.Standing == evidence.Unavailable {
			s.rec.Source, s.rec.Finding = s.c.Directory.Source, s.c.Directory.Detail
		}
	case verdict.SenderForged, verdict.SenderSPF, verdict.DMARC, verdict.RecipientTag, verdict.BounceNotOurs, verdict.BounceUnproven:
		s.rec.Finding = v.Finding(&s.c)
	}
	if b := &s.c.Bounce; s.c.Stage == evidence.StageData && b.Automatic {
		s.rec.Bounce = b.Kind + " " + b.Word()
		if v.Effect == verdict.Redirect {
			s.rec.Redirected = b.BounceTo
		}
	}
}

func (s *Session) answer() *evidence.Answer {
	if s.c.Stage == evidence.StageData {
		return &s.c.Final
	}
	return &s.c.Downstream
}
