package session

import (
	"bytes"
	"slices"
	"strings"

	"backstop/internal/batv"
	"backstop/internal/bounce"
	"backstop/internal/dkim"
	"backstop/internal/dmarc"
	"backstop/internal/evidence"
	"backstop/internal/mail"
	"backstop/internal/record"
	"backstop/internal/relay"
	"backstop/internal/seal"
	"backstop/internal/smtp"
)

// notice is a message looked at as automatic mail.
type notice struct {
	bounce.Report
	own  bounce.Header // of the message itself
	from string        // domain of its header From, "" where there is none
}

// recognise says what kind of automatic mail the message is. More of it than its head
// is read only where the head gives reason to.
func (s *Session) recognise(m *holding) notice {
	null := s.c.From.IsNull()
	r := bounce.Recognise(m.mem, null)
	if !m.whole && (null || r.Kind != bounce.Ordinary) {
		m.fill(memSize)
		r = bounce.Recognise(m.mem, null)
	}
	end, _ := m.header()
	n := notice{Report: r, own: bounce.ReadHeader(m.mem[:end])}
	if s.c.Leaves || s.automatic(&n) { // of all other mail nobody asks
		n.from, _ = dmarc.FromDomain(m.mem[:end])
	}
	return n
}

// automatic says that the message must prove what it answers. Of what comes in with a sender that is a
// bounce only: whoever writes a receipt or an automatic reply under his own name answers for it himself. A
// receipt under the reader's own name is a letter that he agreed to, so it may leave as well.
func (s *Session) automatic(n *notice) bool {
	if s.c.Leaves {
		return s.c.From.IsNull() || n.Automatic() && n.Kind != bounce.Receipt
	}
	return s.c.From.IsNull() || n.Kind == bounce.Bounce
}

// askBounce finds out what the message proves, if it is such that must prove something.
func (s *Session) askBounce(m *holding) {
	n := s.recognise(m)
	b := evidence.Bounce{Asked: true, Automatic: s.automatic(&n), Kind: n.Kind.String(), Clue: n.Clue.String()}
	switch {
	case !b.Automatic || len(s.rcpts) == 0:
	case s.c.Leaves:
		s.judgeOut(&n, &b)
	default:
		s.judgeIn(&n, &b)
	}
	if m.short && b.Proof == evidence.NoProof { // the proof may stand behind what there was room for
		b.CannotTell = true
	}
	s.c.Bounce, s.notice = b, n
}

// judgeIn looks for a proof that an incoming bounce answers mail of its recipients. The
// layers are in the order of their cost; the first that proves it ends the search.
func (s *Session) judgeIn(n *notice, b *evidence.Bounce) {
	if b.Exempt = s.exempt(n); b.Exempt != "" {
		return
	}
	null := s.c.From.IsNull()
	for i, to := range s.rcpts { // every one: a stranger's recipient must not come in beside a proven one
		proof := s.proveOurs(n, to, b)
		if proof == evidence.NoProof {
			b.Proof = evidence.NoProof
			b.Untagged = null && s.shouldBearTag(to)
			return
		}
		if i == 0 {
			b.Proof = proof
		}
	}
}

// shouldBearTag: a bounce to this recipient has none, and there is room for one.
func (s *Session) shouldBearTag(to mail.Address) bool {
	t := batv.Verify(s.e.ring(), to, s.e.Now())
	return t.Standing != batv.Valid && batv.Taggable(t.Address)
}

// proveOurs says by what it is proven that to, a recipient of ours, sent what the notice
// is about. What was found instead goes into b.
func (s *Session) proveOurs(n *notice, to mail.Address, b *evidence.Bounce) evidence.Proof {
	now, ring := s.e.Now(), s.e.ring()
	tag := batv.Verify(ring, to, now)
	if tag.Standing == batv.Valid {
		return evidence.ProofTag
	}
	if t := s.reversed(to); t.Standing == evidence.TagValid && s.domain != &s.e.back {
		return evidence.ProofSRS
	}
	who := tag.Address
	found := []string{"tag: " + tag.Standing.String()}
	returned := n.Returned.Raw()
	sealed := seal.VerifySeal(ring, seals(returned), who, now)
	if sealed.Standing == seal.Valid {
		return evidence.ProofSeal
	}
	found = append(found, "seal: "+sealed.Standing.String())
	signed, why := s.signedBy(n, who)
	if signed {
		return evidence.ProofDKIM
	}
	found = append(found, "dkim: "+why)
	known, why := s.seen(record.Sent, n, who, b)
	if known {
		return evidence.ProofMessageID
	}
	b.Detail = strings.Join(append(found, "message-id: "+why), ", ")
	return evidence.NoProof
}

// foreignSeal is the name under which a seal of somebody else's goes on that came in: the server
// behind may bounce the message, and then its sender needs his seal.
const foreignSeal = "Backstop-Foreign-Seal"

// seals are the seals in returned headers, under either name.
func seals(header []byte) []string {
	return append(seal.Values(header, seal.SealName), seal.Values(header, foreignSeal)...)
}

// signedBy says whether a DKIM signature of ours is over the returned header, and who is in its
// From: the signature shows that the domain sent it, and the From, which it covers, who did.
func (s *Session) signedBy(n *notice, who mail.Address) (ok bool, why string) {
	d := s.e.owner(who.Domain())
	if d == nil || d.PublicKey == nil || n.Returned.Empty() {
		return false, "absent"
	}
	keys := s.e.publicKey(d)
	sig, ok := dkim.VerifyReturned(n.Returned.Raw(), keys, seal.Lifetime, s.e.Now())
	switch {
	case !ok && sig.Result <= evidence.None:
		return false, "absent"
	case !ok && sig.Detail != "":
		return false, sig.Detail
	case !ok:
		return false, sig.Result.String()
	}
	if a, err := dmarc.FromAddress(n.Returned.Raw()); err == nil && a.Key() == who.Key() {
		return true, ""
	}
	return false, "of another sender"
}

// seen asks the record of mail.
func (s *Session) seen(kind record.Kind, n *notice, who mail.Address, b *evidence.Bounce) (ok bool, why string) {
	if s.e.Record == nil {
		return false, "no record is kept"
	}
	ids := record.IDs(slices.Concat([]string{n.Returned.Get("Message-ID")}, n.About, []string{n.own.Get("In-Reply-To"), n.own.Get("References")})...)
	if len(ids) == 0 {
		return false, "absent"
	}
	ok, err := s.e.Record.Seen(s.ctx, kind, ids, who)
	if err != nil {
		b.CannotTell = true
		s.e.Logger.Error("the record of mail cannot be read", "id", s.id.String(), "error", err.Error())
		return false, "cannot be looked up"
	}
	return ok, "unknown"
}

// exempt is the entry by which the operator excuses a bounce.
func (s *Session) exempt(n *notice) string {
	d := s.domain
	if d == nil {
		return ""
	}
	if !slices.ContainsFunc(s.rcpts, func(to mail.Address) bool { return !s.e.kept[to.Key()] }) {
		return "bounce_to" // what was kept from leaving comes in here, and must not be refused a second time
	}
	if n.Kind != bounce.Bounce && !slices.ContainsFunc(s.rcpts, func(to mail.Address) bool { to = s.bare(to); return !to.IsPostmaster() && !to.IsAbuse() }) {
		return "postmaster" // reports of other sites come with the null sender, and somebody must hear them (RFC 5321, 4.5.1)
	}
	names := []string{n.from}
	if !s.c.From.IsNull() {
		names = append(names, s.c.From.Domain())
	}
	for _, from := range d.Exempt.From {
		for _, name := range names {
			if name == from || strings.HasSuffix(name, "."+from) {
				return "From:" + from
			}
		}
	}
	for _, to := range s.rcpts {
		to = s.bare(to)
		if !slices.Contains(d.Exempt.To, to.Key()) && !slices.Contains(d.Exempt.To, to.LocalKey()+"@") {
			return ""
		}
	}
	if len(d.Exempt.To) == 0 {
		return ""
	}
	return "To:" + s.bare(s.rcpts[0]).String()
}

// judgeOut looks for a proof that each recipient of automatic mail that would leave really wrote.
func (s *Session) judgeOut(n *notice, b *evidence.Bounce) {
	b.Proof = evidence.NoProof
	s.unproven, s.unknown = s.unproven[:0], false
	for _, to := range s.rcpts {
		if s.c.Door.Beside() && !s.stranger(to) {
			continue
		}
		proof := s.proveWrote(n, to, b)
		if proof == evidence.NoProof {
			s.unproven = append(s.unproven, to.Key())
		} else if b.Proof == evidence.NoProof {
			b.Proof = proof
		}
	}
	if len(s.unproven) > 0 {
		b.Proof = evidence.NoProof
	}
	switch {
	case s.c.Door.Beside() && s.foreign(n):
		b.Exempt, s.domain = "a domain of the MTA's own", nil
		return
	case s.c.Door.Beside() && !slices.ContainsFunc(s.rcpts, s.stranger):
		b.Exempt = "only users of ours get it" // a bounce of the MTA's own for one of them above all
		return
	}
	d := s.bouncer(n)
	s.domain = d
	b.BounceTo, s.c.Mode = d.BounceTo, d.Mode
	if s.unknown && b.BounceTo.IsZero() { // with a mailbox for it nothing is lost
		b.CannotTell = true
	}
}

// proveWrote says by what it is proven that to wrote what the notice answers.
func (s *Session) proveWrote(n *notice, to mail.Address, b *evidence.Bounce) evidence.Proof {
	if s.e.owner(to.Domain()) != nil {
		if proof := s.proveOurs(n, to, b); proof != evidence.NoProof {
			return proof
		}
	}
	ours := b.Detail
	f, proof := seal.VerifyOrigin(s.e.ring(), seal.Values(n.Returned.Raw(), seal.OriginName), to, s.e.Now())
	if f.Standing == seal.Valid && proof.Proves() {
		return evidence.ProofOrigin
	}
	found := "origin: " + f.Standing.String()
	if f.Standing == seal.Valid {
		found += ", but it proves nothing (spf=" + proof.SPF.String() + " dmarc=" + proof.DMARC.String() + ")"
		// The DNS was away when the message came: that is held against nobody for good.
		s.unknown = s.unknown || proof.SPF == seal.TempError || proof.DMARC == seal.TempError
	}
	known, why := s.seen(record.Heard, n, to, b)
	if known {
		return evidence.ProofHeard
	}
	b.Detail = found + ", message-id: " + why
	if ours != "" {
		b.Detail = ours + ", " + b.Detail
	}
	return evidence.NoProof
}

// stranger says that an address is, or leads, out of our domains. A plain name is a user of this machine.
func (s *Session) stranger(a mail.Address) bool {
	return a.Domain() != "" && s.e.domain(a) == nil || a.Routed()
}

// foreign says that a notice is about mail to domains that the MTA serves and nobody here knows, or was written in one
// of them. Who wrote to those was never looked at, so nothing could prove it. Mail that was looked at has our Origin,
// whatever its sender made of the original recipient (RFC 3461, 4.2); and of a bounce that names nobody it is not known.
func (s *Session) foreign(n *notice) bool {
	if cameIn(n.Returned.Raw()) || n.Kind == bounce.Bounce && len(n.Recipients) == 0 {
		return false
	}
	names := []string{n.from, s.c.From.Domain()}
	if len(n.Recipients) > 0 {
		names = names[:0]
	}
	for _, r := range n.Recipients {
		for _, text := range []string{r.Final, r.Original} {
			if a, err := mail.ParseAddress(text); err == nil {
				names = append(names, a.Domain())
			}
		}
	}
	known := false
	for _, name := range names {
		known = known || name != ""
		if s.e.owner(strings.ToLower(name)) != nil {
			return false
		}
	}
	return known
}

// bouncer is the domain of ours whose server wrote the notice: that of the recipient who could not be
// delivered to, else of its From, else of its sender, else the first. The recipient is the one that the server itself
// knew: the original one is what a stranger gave with RCPT (RFC 3461, 4.2), and would choose whose rules hold.
func (s *Session) bouncer(n *notice) *Domain {
	for _, r := range n.Recipients {
		if a, err := mail.ParseAddress(r.Final); err == nil && a.Domain() != "" {
			if d := s.e.owner(a.Domain()); d != nil {
				return d
			}
		}
	}
	for _, name := range []string{n.from, s.c.From.Domain(), s.c.Client.Helo} {
		if d := s.e.owner(strings.ToLower(name)); d != nil {
			return d
		}
	}
	if all := s.e.Table.Domains(); len(all) > 0 {
		return s.e.Domains[all[0]]
	}
	return s.e.leaving()
}

// redirect begins the transaction anew with the domain's own mailbox in place of the recipients
// who are not proven to have written. The message stays as it is.
func (s *Session) redirect() {
	s.tx.Abort()
	s.tx = s.e.Outbound.Relay.Begin(s.ctx, relay.Envelope{From: s.tagged(), Params: s.params, Client: s.c.Client})
	s.c.Bounce.Redirected = true
	for i, to := range s.rcpts {
		if slices.Contains(s.unproven, to.Key()) {
			continue
		}
		if s.c.Downstream = s.tx.Rcpt(s.ctx, to, s.rcptParams[i]); s.c.Downstream.Outcome != evidence.OutcomeAccepted {
			return
		}
	}
	s.c.Downstream = s.tx.Rcpt(s.ctx, s.c.Bounce.BounceTo, smtp.RcptParams{})
}

// messageID is the Message-ID of the message itself, "" where it has none.
func messageID(header []byte) string {
	for field := range fields(header) {
		if len(field) > 11 && bytes.EqualFold(field[:11], []byte("message-id:")) {
			return string(bytes.TrimSpace(field[11:]))
		}
	}
	return ""
}
