package session

import (
	"context"
	"errors"

	"backstop/internal/dkim"
	"backstop/internal/evidence"
)

// authenticate asks SPF, DKIM and DMARC about a message that comes in, as far as its domain wants
// it and at most once.
func (s *Session) authenticate(m *holding) {
	if s.e.Auth == nil || s.c.DMARC.Result != evidence.NotChecked {
		return
	}
	g := &s.c.Guards
	if g.SPF == evidence.CheckOff && g.DMARC == evidence.CheckOff {
		return
	}
	m.late = true
	if s.askSPF(); g.DMARC == evidence.CheckOff {
		return
	}
	if s.askDKIM(m); m.err != nil {
		return
	}
	end, _ := m.header()
	s.c.DMARC = s.e.Auth.DMARC(s.ctx, m.mem[:end], s.c.SPF, s.sigs, s.c.From)
}

// askDKIM checks the signatures, for which all of the message is read. Mail that is only marked does not wait
// until there is room for that: it goes on, and nobody knows whether its signatures are good.
func (s *Session) askDKIM(m *holding) {
	end, _ := m.header()
	v := dkim.NewVerifier(m.mem[:end])
	if v.Signed() {
		full := m.keep()
		switch {
		case m.err != nil:
			return
		case full != nil && s.c.Guards.DMARC == evidence.CheckRefuse:
			m.noRoom(full)
			return
		case full != nil:
			s.e.Logger.Warn("a long message cannot be kept, its DKIM signatures are not checked", "id", s.id.String(), "error", full.Error())
			s.sigs = s.unread(v)
			return
		}
		if err := m.copyTo(v, m.bodyAt(end)); err != nil {
			m.noRoom(err)
			return
		}
	}
	s.sigs = s.e.Auth.DKIM(s.ctx, v)
}

var errTooLong = errors.New("the message is too long to be held now")

// unread are the signatures of a message whose body was not looked at: those that are no signatures at all
// are still called so, and of the others nobody knows.
func (s *Session) unread(v *dkim.Verifier) []evidence.Signature {
	noKey := func(context.Context, string, string) ([]string, error) { return nil, errTooLong }
	sigs := v.Verify(s.ctx, noKey, s.e.Now())
	for i := range sigs {
		if r := sigs[i].Result; r == evidence.Fail || r == evidence.TempError {
			sigs[i].Result, sigs[i].Detail = evidence.TempError, errTooLong.Error()
		}
	}
	return sigs
}
