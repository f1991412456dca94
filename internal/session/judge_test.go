package session

import (
	"strings"
	"testing"

	"backstop/internal/evidence"
)

// FuzzJudge: whatever a stranger makes up, it proves nothing in either direction, and no more of it is held than there is.
func FuzzJudge(f *testing.F) {
	f.Add(bounceOf(letterHead), true)
	f.Add(bounceOf("Backstop-Seal: v=1; k=1; t=1778068800; h=0123456789abcdef0123456789abcdef\r\n"+letterHead), true)
	f.Add(bounceOf("Backstop-Origin: v=1; k=1; t=1778068800; spf=pass; dkim=none; dmarc=pass; aligned=yes; h=0123456789abcdef0123456789abcdef\r\n"), true)
	f.Add(bounceOf("DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed; d=example.org; s=s1; h=from; bh=AAAA; b=AAAA\r\n"+letterHead), false)
	f.Add(away, false)
	f.Add("\r\n", true)
	f.Add("From: <\nMessage-ID: <", true)
	all := newWorld(f)
	spool := f.TempDir()
	f.Fuzz(func(t *testing.T, text string, null bool) {
		w := *all
		w.t = t
		from := "ann@far.example"
		if null {
			from = ""
		}
		for _, leaves := range []bool{false, true} {
			s := w.from(server, evidence.DoorSMTP)
			s.c.Leaves = leaves
			s.c.From, s.c.FromGiven = path(t, from), true
			s.domain, s.rcpts = w.org, append(s.rcpts, addr(t, "bob@example.org"))
			m := hold(strings.NewReader(text), spool)
			m.fill(headSize)
			s.askBounce(m)
			b := s.c.Bounce
			if !b.Asked || b.Proof != evidence.NoProof || b.Exempt != "" || b.CannotTell || b.Kind == "" || null && !b.Automatic {
				t.Errorf("leaves %v: %+v", leaves, b)
			}
			messageID(m.mem)
			m.release()
			s.domain, s.rcpts = nil, s.rcpts[:0]
		}
		if n := held.Load(); n != 0 {
			t.Errorf("%d octets of memory are not given back", n)
		}
	})
}
