package session

import (
	"bytes"
	"slices"
	"strings"

	"backstop/internal/authres"
	"backstop/internal/dkim"
	"backstop/internal/dmarc"
	"backstop/internal/evidence"
	"backstop/internal/record"
	"backstop/internal/seal"
	"backstop/internal/tally"
	"backstop/internal/verdict"
)

// bounceName is the field in which an incoming bounce is marked.
const bounceName = "Backstop-Bounce"

// edit takes fields out of the message that only this gateway may write, and appends those that it writes to the
// trace of this hop, if it leaves one: that stands on top, where a trace is read from. changes may be nil.
func (s *Session) edit(b []byte, m *holding, changes *Changes) []byte {
	if s.c.Leaves {
		return s.editOut(b, m, changes)
	}
	s.authenticate(m)
	if m.err != nil {
		return nil
	}
	if s.c.SPF.Result != evidence.NotChecked || s.c.DMARC.Result != evidence.NotChecked {
		b = authres.Append(b, s.e.Hostname, authres.Fields{SPF: s.c.SPF, From: s.c.From, Helo: s.c.Client.Helo, DKIM: s.sigs, DMARC: s.c.DMARC})
	}
	if field, ok := seal.Origin(s.e.ring(), s.proof(), s.c.From.Address, s.e.Now()); ok {
		b = append(b, field...)
	}
	m.rewrite(s.inbound, changes)
	return s.appendMark(b)
}

// appendMark says of an incoming bounce what was found.
func (s *Session) appendMark(b []byte) []byte {
	if !s.c.Bounce.Automatic {
		return b
	}
	return append(b, bounceName+": "+s.c.Bounce.Word()+"\r\n"...)
}

// sealResult is a result in the words of seals.
var sealResult = map[evidence.Result]seal.Result{
	evidence.Pass: seal.Pass, evidence.Fail: seal.Fail, evidence.SoftFail: seal.SoftFail, evidence.Neutral: seal.Neutral,
	evidence.TempError: seal.TempError, evidence.PermError: seal.PermError,
}

// proof is what is known of the sender, as a Backstop-Origin has it.
func (s *Session) proof() seal.Proof {
	p := seal.Proof{SPF: sealResult[s.c.SPF.Result], DMARC: sealResult[s.c.DMARC.Result], Aligned: s.c.DMARC.Aligned}
	if c := &s.c.Claim; c.Domain != "" && c.Vouched { // one of our own, whatever the DNS says of his network
		p.SPF = seal.Pass
	}
	for i := range s.sigs {
		if r := sealResult[s.sigs[i].Result]; p.DKIM == seal.None || r == seal.Pass {
			p.DKIM = r
		}
	}
	return p
}

// redirectedName is the field that tells the reader of bounce_to why he has the message, and for whom it was.
const redirectedName = "Backstop-Redirected"

// cameIn says that a message that leaves came in from outside: it has the Origin that the other door gave it. To
// seal or sign it as ours would vouch for whoever wrote it in the name of a user of ours.
func cameIn(header []byte) bool { return len(seal.Values(header, seal.OriginName)) > 0 }

// editOut seals and signs what leaves, where its sender is ours.
func (s *Session) editOut(b []byte, m *holding, changes *Changes) []byte {
	from := s.c.From
	end, _ := m.header()
	in := cameIn(m.mem[:end])
	s.passedOn = in && !from.Address.IsSRS() // whose address the forwarder made: a bounce to that one is to be known
	field, sealed := "", false
	if s.e.owner(from.Domain()) != nil && !s.passedOn {
		field, sealed = seal.Seal(s.e.ring(), s.bare(from.Address), s.e.Now())
	}
	m.rewrite(func(f []byte) ([]byte, bool) {
		switch {
		case named(f, seal.OriginName), named(f, bounceName), named(f, redirectedName), sealed && named(f, seal.SealName):
			return nil, true
		}
		return nil, false
	}, changes)
	if !in {
		b = append(b, s.sign(m)...)
	}
	if s.c.Bounce.Redirected {
		b = append(appendSafe(append(b, redirectedName+": unproven; for="...), strings.Join(s.unproven, ", ")), "\r\n"...)
	}
	if sealed {
		b = append(b, field...)
	}
	return b
}

// sign makes the DKIM signatures of the domain in the header From, which is the one they align with.
func (s *Session) sign(m *holding) []byte {
	end, _ := m.header()
	name := s.notice.from
	d := s.e.owner(name)
	if d == nil || len(d.Sign) == 0 || name == "" {
		return nil
	}
	m.finish()
	if m.err != nil {
		return nil
	}
	signing := dkim.NewSigning(m.mem[:end], s.e.signingKeys(d, name), s.e.Now())
	if err := m.copyTo(signing, m.bodyAt(end)); err != nil {
		m.noRoom(err)
		return nil
	}
	b, err := signing.Fields()
	if err != nil { // it leaves unsigned, as it came
		s.e.Logger.Error("a message could not be signed", "id", s.id.String(), "domain", name, "error", err.Error())
		return nil
	}
	return b
}

// signingKeys are a domain's, for the name in a From. An alias signs for itself, so that the signature
// aligns (RFC 7489, 3.1.1); a name below the domain aligns with it.
func (e *Engine) signingKeys(d *Domain, name string) []dkim.Key {
	if name == d.Route.Name || e.Table.Find(name) == nil {
		return d.Sign
	}
	keys := slices.Clone(d.Sign)
	for i := range keys {
		keys[i].Domain = name
	}
	return keys
}

// inbound says what becomes of a field of a message that comes in: whether it is taken out, and what stands in its place.
func (s *Session) inbound(f []byte) (instead []byte, out bool) {
	switch {
	case named(f, seal.OriginName), named(f, bounceName):
		return nil, true
	case named(f, seal.SealName):
		return foreign(f), true
	}
	return nil, authres.Claims(f, s.e.Hostname) // also under a name that some reader takes for it
}

// foreign keeps a seal of somebody else's under another name, if it has the form of one.
func foreign(f []byte) []byte {
	const longest = 200
	_, value, _ := bytes.Cut(f, []byte(":"))
	v := strings.Join(strings.Fields(string(value)), " ")
	if len(v) > longest || !strings.HasPrefix(v, "v=1;") || strings.Trim(v, "abcdefghijklmnopqrstuvwxyz0123456789=; ") != "" {
		return nil
	}
	return []byte(foreignSeal + ": " + v + "\r\n")
}

// named says whether a field has this name, whatever white space stands before its colon, a fold too.
func named(f []byte, name string) bool {
	if len(f) <= len(name) || !bytes.EqualFold(f[:len(name)], []byte(name)) {
		return false
	}
	return bytes.HasPrefix(bytes.TrimLeft(f[len(name):], " \t\r\n"), []byte(":"))
}

// rewrite changes the header in memory, field by field; most messages have nothing to change. changes, where it is not
// nil, hears of each.
func (h *holding) rewrite(change func(field []byte) (instead []byte, out bool), changes *Changes) {
	end, _ := h.header()
	var b []byte // the new header, once it differs
	at := 0
	for f := range fields(h.mem[:end]) {
		instead, out := change(f)
		changes.note(f, instead, out)
		if out && b == nil {
			b = append(make([]byte, 0, len(h.mem)), h.mem[:at]...)
		}
		at += len(f)
		switch {
		case out:
			b = append(b, instead...)
		case b != nil:
			b = append(b, f...)
		}
	}
	if b != nil {
		h.mem = append(b, h.mem[at:]...)
	}
}

// note remembers and counts what became of a message.
func (s *Session) note(m *holding, v verdict.Verdict) {
	if positive(v) && s.e.Record != nil && !s.c.From.IsNull() {
		s.remember(m)
	}
	b := &s.c.Bounce
	if !b.Automatic || s.c.Leaves && b.Exempt != "" { // that is none of our leaving
		return
	}
	if b.Redirected && s.e.Redirected != nil {
		a := s.c.Final
		if a.Outcome == evidence.OutcomeNotAsked { // the recipient was not taken
			a = s.c.Downstream
		}
		s.e.Redirected(b.BounceTo, a, positive(v))
	}
	direction, word := tally.In, tally.Unproven
	if s.c.Leaves {
		direction = tally.Out
	}
	switch {
	case b.CannotTell && b.Proof == evidence.NoProof:
		word = tally.Unknown
	case b.Exempt != "":
		word = tally.Exempt
	case b.Proof != evidence.NoProof:
		word = tally.Proven
	case b.Redirected && !positive(v):
		return // it comes again, and is counted when it was taken there
	case b.Redirected:
		word = tally.Redirected
	case v.Rule == verdict.BounceNotOurs || v.Rule == verdict.BounceUnproven:
		word = tally.Refused
	case v.Effect == verdict.Defer:
		return // it comes again
	case !positive(v):
		word = tally.Stopped
	}
	s.count(direction, word)
}

func (s *Session) count(direction, word string) {
	if s.e.Metrics != nil {
		s.e.Metrics.Bounce(direction, word)
	}
	if s.e.Tally == nil || s.domain == nil {
		return
	}
	e := tally.Entry{
		Direction: direction, Domain: s.domain.Route.Name, Verdict: word, Kind: s.c.Bounce.Kind, By: s.c.Bounce.Proof.String(),
		Server: s.c.Client.Addr,
	}
	if s.c.Bounce.Exempt != "" {
		e.By = s.c.Bounce.Exempt
	}
	if direction == tally.In {
		e.Sender = s.notice.from
	}
	s.e.Tally.Count(e)
}

// remember keeps the Message-ID of mail whose answer may come: of what our users sent, and of
// what came in from a proven sender.
func (s *Session) remember(m *holding) {
	end, _ := m.header()
	id := messageID(m.mem[:end])
	switch {
	case id == "":
	case s.c.Leaves:
		if !s.passedOn && s.e.owner(s.c.From.Domain()) != nil {
			s.e.Record.Note(record.Sent, id, s.bare(s.c.From.Address))
		}
	case s.e.sends():
		s.hear(id, m.mem[:end])
	}
}

// hear remembers whom an answer to this message may go to: the envelope sender if he was proven, with and
// without a tag of his own, and the author if DMARC passed for him.
func (s *Session) hear(id string, header []byte) {
	if s.proof().Proves() {
		from := s.c.From.Address
		s.e.Record.Note(record.Heard, id, from)
		if bare := s.bare(from); bare.Key() != from.Key() {
			s.e.Record.Note(record.Heard, id, bare)
		}
	}
	if s.c.DMARC.Result != evidence.Pass {
		return
	}
	if a, err := dmarc.FromAddress(header); err == nil && a.Key() != s.c.From.Key() {
		s.e.Record.Note(record.Heard, id, a)
	}
}
