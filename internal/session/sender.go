package session

import (
	"context"
	"slices"
	"strings"

	"backstop/internal/batv"
	"backstop/internal/directory"
	"backstop/internal/evidence"
	"backstop/internal/keyring"
	"backstop/internal/mail"
	"backstop/internal/srs"
)

// claim says whether the sender is in a domain of ours, and whether this client may say so. Who is one of
// us needs no leave, whatever sender he gives: a server of ours passes on what others wrote, and bounces.
func (s *Session) claim() (*Domain, evidence.Claim) {
	if s.c.Leaves {
		return nil, evidence.Claim{}
	}
	var c evidence.Claim
	switch out := s.e.Outbound; {
	case s.c.Client.Login != "":
		c.Exempt, c.Vouched = "login", true
	case out != nil && out.Allowed(s.c.Client.Addr):
		c.Exempt, c.Vouched = "[outbound] clients", true
	case s.c.Door.Beside() && s.e.Internal != nil && s.e.Internal(s.c.Client.Addr):
		c.Exempt, c.Vouched = "[milter] internal", true
	}
	from := s.c.From
	if from.IsNull() {
		return nil, c
	}
	d := s.e.owner(from.Domain())
	if d == nil {
		// A server behind, or beside, makes a sender of ours of what names a way to us, and of a plain name, which
		// strangers have none of.
		if d = s.e.meant(from.Address, s.e.owner); d == nil && from.Domain() == "" && !from.Address.Routed() {
			d = s.e.guarded()
		}
	}
	if d == nil {
		return nil, c
	}
	c.Domain, c.Refuse = d.Route.Name, d.Forged
	if c.Exempt == "" && d.Senders != nil {
		c.Exempt, c.Vouched = d.Senders(s.c.Client.Addr, from.Address)
	}
	return d, c
}

// askSPF asks the sender's domain, once a transaction.
func (s *Session) askSPF() {
	if s.c.SPF.Result != evidence.NotChecked {
		return
	}
	if a := s.c.Client.Addr; !a.IsValid() || a.IsUnspecified() { // nobody, or a unix socket
		s.c.SPF = evidence.SPF{Result: evidence.TempError, Detail: "the client's address is not known"}
		return
	}
	if s.e.Auth == nil {
		s.c.SPF = evidence.SPF{Result: evidence.TempError, Detail: "nobody can be asked"}
		return
	}
	s.c.SPF = s.e.Auth.SPF(s.ctx, s.c.Client.Addr, s.c.Client.Helo, s.c.From)
}

// untag takes the tag off a recipient in a domain of ours: look is the address that is
// looked up, hand the one that is handed on. The downstream keeps a tag of which we know
// nothing: it may be its own.
func (s *Session) untag(a mail.Address) (look, hand mail.Address) {
	if t := s.reversed(a); t.SRS {
		s.c.Tag = t
		return a, a
	}
	s.c.Tag = evidence.Tag{Standing: evidence.TagNone, Address: a}
	if !strings.Contains(a.LocalKey(), "=") { // all forms have one
		return a, a
	}
	ring := s.e.ring()
	f := batv.Verify(ring, a, s.e.Now())
	s.c.Tag = evidence.Tag{Standing: tagStanding[f.Standing], Address: f.Address}
	switch {
	case f.Scheme == batv.NoScheme:
		return a, a
	case f.Scheme == batv.Prvs && (s.c.Guards.Tags != evidence.TagOff || hasKey(ring, f.Key)):
		return f.Address, f.Address // with a key that is gone too, where tags are ours to make
	}
	return f.Address, a
}

// turnsBack says that the recipient is an SRS address of ours whose bounce is sent on from here. Only a bounce:
// all other mail to strangers would be relayed on the word of an address.
func (s *Session) turnsBack() bool {
	t := &s.c.Tag
	return s.e.SRSReverse && !s.c.Door.Beside() && t.SRS && t.Standing == evidence.TagValid && s.c.From.IsNull() && s.e.owner(t.Address.Domain()) == nil
}

// hasKey says whether we have, or had, the key with this number.
func hasKey(ring keyring.Ring, id keyring.ID) bool {
	return slices.ContainsFunc(ring.Keys(), func(k keyring.Key) bool { return k.ID == id })
}

// reversed judges an SRS address that stands where ours do; of all others it says nothing.
func (s *Session) reversed(a mail.Address) evidence.Tag {
	if s.e.SRS == nil || !srs.Is(a) || len(s.e.SRSDomains) > 0 && !slices.Contains(s.e.SRSDomains, a.Domain()) {
		return evidence.Tag{}
	}
	f := s.e.SRS.Reverse(a, s.e.Now())
	return evidence.Tag{Standing: srsStanding[f.Standing], SRS: true, Address: f.Address}
}

var tagStanding = map[batv.Standing]evidence.TagStanding{
	batv.Untagged: evidence.TagNone, batv.Valid: evidence.TagValid, batv.Expired: evidence.TagExpired,
	batv.Forged: evidence.TagForged, batv.UnknownKey: evidence.TagUnknownKey, batv.Foreign: evidence.TagForeign,
}

var srsStanding = map[srs.Standing]evidence.TagStanding{
	srs.NotSRS: evidence.TagNone, srs.Valid: evidence.TagValid, srs.Expired: evidence.TagExpired,
	srs.Forged: evidence.TagForged, srs.Malformed: evidence.TagForged,
}

// bare is a recipient without tag: whose sending a bounce must prove.
func (s *Session) bare(a mail.Address) mail.Address {
	if !strings.Contains(a.LocalKey(), "=") {
		return a
	}
	return batv.Verify(s.e.ring(), a, s.e.Now()).Address
}

// tagged is the sender as it leaves: with a tag, where the domain wants one.
func (s *Session) tagged() mail.ReversePath {
	if !s.c.Leaves || s.c.From.IsNull() {
		return s.c.From
	}
	a, _ := s.e.Sign(s.c.From.Address)
	return mail.ReversePath{Address: a}
}

// Sign is a sender with his tag. False: he has none to get, or has one already, and stays as he is.
func (e *Engine) Sign(a mail.Address) (mail.Address, bool) {
	d := e.domain(a)
	if d == nil || d.Guards.Tags == evidence.TagOff {
		return a, false
	}
	signed, how := batv.Sign(e.ring(), a, e.Now())
	return signed, how == batv.Signed
}

// Untag is a recipient without a tag of ours, as the store knows him. False: he bears none, and stays as he is.
func (e *Engine) Untag(a mail.Address) (mail.Address, bool) {
	d := e.domain(a)
	if d == nil || !strings.Contains(a.LocalKey(), "=") {
		return a, false
	}
	s := Session{e: e}
	s.c.Guards = d.Guards
	_, hand := s.untag(a)
	return hand, hand.Key() != a.Key()
}

// Known says whether a recipient exists, without a decision: nothing is written down or counted.
func (e *Engine) Known(ctx context.Context, a mail.Address) evidence.Standing {
	d := e.domain(a)
	if d == nil {
		return evidence.Missing
	}
	s := Session{e: e, ctx: ctx}
	s.c.Door = evidence.DoorSocketmap
	r := s.beginRcpt(a)
	s.askDirectory(&r, directory.Query{})
	if s.c.MustAccept && s.c.Directory.Standing == evidence.Missing {
		return evidence.Exists
	}
	return s.c.Directory.Standing
}
