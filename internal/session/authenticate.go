package session

import (
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
	if g.SPF != evidence.CheckOff || g.DMARC != evidence.CheckOff {
		s.askSPF()
	}
	if g.DMARC == evidence.CheckOff {
		return
	}
	end, _ := m.header()
	v := dkim.NewVerifier(m.mem[:end])
	if v.Signed() {
		m.finish()
		if m.err != nil {
			return
		}
		if err := m.copyTo(v, m.bodyAt(end)); err != nil {
			m.noRoom(err)
			return
		}
	}
	s.sigs = s.e.Auth.DKIM(s.ctx, v)
	s.c.DMARC = s.e.Auth.DMARC(s.ctx, m.mem[:end], s.c.SPF, s.sigs, s.c.From)
}
