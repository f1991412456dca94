package milterd_test

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"slices"
	"strings"
	"testing"

	"backstop/internal/dkim"
	"backstop/internal/evidence"
	"backstop/internal/milter"
	"backstop/internal/seal"
)

// applied is the message as the mail server has it in the end: fields by name and number changed or deleted, those inserted at 0 on
// top, each line end CRLF. What does not fit is an error.
func applied(t *testing.T, fields []field, body []byte, a milter.Answer) string {
	t.Helper()
	fields = slices.Clone(fields)
	for _, c := range a.Changes {
		switch c.Kind {
		case 'm':
			n := uint32(0)
			i := slices.IndexFunc(fields, func(f field) bool {
				if strings.EqualFold(f[0], c.Name) {
					n++
				}
				return n == c.Index
			})
			if i < 0 || c.Value != "" {
				t.Fatalf("%+v is about no field", c)
			}
			fields = slices.Delete(fields, i, i+1)
		case 'i':
			if c.Index != 0 || strings.ContainsAny(c.Value, "\r") {
				t.Fatalf("%+v", c)
			}
			fields = slices.Insert(fields, 0, field{c.Name, c.Value})
		}
	}
	var b strings.Builder
	for _, f := range fields {
		b.WriteString(f[0] + ":" + strings.ReplaceAll(f[1], "\n", "\r\n") + "\r\n")
	}
	return b.String() + "\r\n" + string(body)
}

// TestBytes: a message leaves with its own octets, and what was added holds for it: the signature as the seal.
func TestBytes(t *testing.T) {
	w := newWorld(t).leaving().open()
	own := "From: Bob <bob@example.org>\r\nSubject:no blank\r\nX-Tab:\ttab \r\nX-Empty:\r\nx-empty: \r\nX-Folded: one\r\n\ttwo\r\n three\r\n" +
		"X-Eight: M\xc3\xbcller\r\nX-Repeated: 2\r\nX-Repeated: 1\r\nMessage-ID: <1@example.org>\r\n"
	body := "Hello.\r\n.\r\n..\r\n\r\n \r\nNo line end behind this"
	forged := "Backstop-Origin: x\r\nBACKSTOP-BOUNCE: x\r\n"
	for _, head := range []string{own, "Backstop-Seal: v=1\r\n" + own + "Backstop-Bounce: y\r\n"} {
		fields, text := split(head + "\r\n" + body)
		m := w.from(server)
		if m.mail("bob@example.org") != "" || m.rcpt("ann@far.example") != "" {
			t.Fatal("refused")
		}
		got := applied(t, fields, text, m.parts(fields, text))
		added, rest, _ := strings.Cut(got, "From: Bob")
		if want := "From: Bob" + strings.TrimPrefix(own, "From: Bob") + "\r\n" + body; "From: Bob"+rest != want {
			t.Errorf("not what was sent:\n%q\n%q", "From: Bob"+rest, want)
		}
		if strings.Count(added, "\r\nBackstop-Seal:") != 1 || !strings.HasPrefix(added, "DKIM-Signature:") {
			t.Errorf("%q", added)
		}
		w.verifies(got, "bob@example.org")
	}
	// With a forged origin it came in from outside, so nobody signs for it, and the origin is taken out all the same.
	fields, text := split(forged + own + "\r\n" + body)
	m := w.from(server)
	if m.mail("bob@example.org") != "" || m.rcpt("ann@far.example") != "" {
		t.Fatal("refused")
	}
	if got := applied(t, fields, text, m.parts(fields, text)); got != own+"\r\n"+body {
		t.Errorf("%q", got)
	}
}

// verifies checks signature and seal of a message, as those do who get it, or its bounce.
func (w *world) verifies(text, sender string) {
	w.t.Helper()
	head, body, _ := strings.Cut(text, "\r\n\r\n")
	head += "\r\n"
	v := dkim.NewVerifier([]byte(head + "\r\n"))
	v.Write([]byte(body))
	public := w.key.Private.Public().(ed25519.PublicKey)
	key := func(context.Context, string, string) ([]string, error) {
		return []string{"v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(public)}, nil
	}
	if sigs := v.Verify(w.t.Context(), key, w.clock()); len(sigs) != 1 || sigs[0].Result != evidence.Pass {
		w.t.Errorf("%+v", sigs)
	}
	f := seal.VerifySeal(w.cfg.Keys(), seal.Values([]byte(head), seal.SealName), addr(w.t, sender), w.clock())
	if f.Standing != seal.Valid {
		w.t.Errorf("seal: %v", f.Standing)
	}
}
