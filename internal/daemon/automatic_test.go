package daemon_test

import (
	"strings"
	"testing"

	"backstop/internal/mailtest"
)

// automatic is mail that no person wrote as a letter, and that people want all the same.
var automatic = []struct{ name, from, text, mark string }{
	// RFC 8098: the reader of a letter has seen it.
	{"receipt", "", receipt, "proven by=message-id"},
	// The same of somebody whose program gives a sender, against RFC 8098, 3.
	{"receipt with a sender", "carol@example.org", receipt, ""},
	// RFC 3834, 4: a reply names what it answers.
	{"automatic reply", "", "From: Carol <carol@example.org>\r\nTo: alice@example.com\r\nSubject: Auto: A letter\r\nAuto-Submitted: auto-replied\r\nIn-Reply-To: <letter-1@example.com>\r\n\r\nI am away.\r\n", "proven by=message-id"},
	// One that does not, as many do.
	{"holiday", "", "From: Carol <carol@example.org>\r\nTo: alice@example.com\r\nSubject: Out of Office AutoReply: A letter\r\nAuto-Submitted: auto-replied\r\n\r\nI am away.\r\n", "unproven"},
	{"holiday with a sender", "carol@example.org", "From: Carol <carol@example.org>\r\nTo: alice@example.com\r\nSubject: Automatic reply: A letter\r\nX-Auto-Response-Suppress: All\r\nAuto-Submitted: auto-generated\r\n\r\nI am away.\r\n", ""},
	// Exchange sends what a list gets with the null sender.
	{"list", "", "From: Carol <carol@example.org>\r\nTo: everybody@example.org\r\nSubject: Lunch\r\n\r\nAt noon?\r\n", "unproven"},
}

const receipt = "From: Carol <carol@example.org>\r\nTo: alice@example.com\r\nSubject: Disposition notification\r\nMIME-Version: 1.0\r\n" +
	"Content-Type: multipart/report; report-type=disposition-notification;\r\n boundary=\"=_1\"\r\n\r\n--=_1\r\nContent-Type: text/plain\r\n\r\nYour letter was displayed.\r\n" +
	"--=_1\r\nContent-Type: message/disposition-notification\r\n\r\nFinal-Recipient: rfc822;carol@example.org\r\nOriginal-Message-ID: <letter-1@example.com>\r\n" +
	"Disposition: manual-action/MDN-sent-manually; displayed\r\n\r\n--=_1\r\nContent-Type: text/rfc822-headers\r\n\r\nFrom: <alice@example.com>\r\n" +
	"To: carol@example.org\r\nMessage-ID: <letter-1@example.com>\r\nSubject: A letter\r\n\r\n--=_1--\r\n"

// TestAutomaticMailIsNotLost: in watch all of it comes in, with a mark where it has the null sender.
func TestAutomaticMailIsNotLost(t *testing.T) {
	near, world := mailtest.NewMock(t, mailtest.Script{}), mailtest.NewMock(t, mailtest.Script{})
	tr := &trip{near: near, names: mailtest.StartDNS(t, "").Addr().String()}
	g := tr.between(t, world.Addr(), "bounces = \"watch\"", nil)
	tr.write(t, g, "alice@example.com")
	one(t, world)
	for _, a := range automatic {
		t.Run(a.name, func(t *testing.T) {
			send(t, open(t, g.addr), a.from, "alice@example.com", a.text, "250")
			m := one(t, near)
			near.Forget()
			if !strings.HasSuffix(string(m.Body), a.text) {
				t.Errorf("it was changed: %s", m.Body)
			}
			head, _, _ := strings.Cut(string(m.Body), "\r\n\r\n")
			_, mark, _ := strings.Cut(head, "Backstop-Bounce: ")
			if mark, _, _ = strings.Cut(mark, "\r\n"); mark != a.mark {
				t.Errorf("marked %q, wanted %q:\n%s", mark, a.mark, head)
			}
		})
	}
}
