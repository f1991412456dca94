package milterd_test

import (
	"net/netip"
	"strings"
	"testing"

	"backstop/internal/dkim"
	"backstop/internal/evidence"
	"backstop/internal/mailtest"
	"backstop/internal/mailtest/rig"
)

// beside starts a real mail server that asks the world's door, with what an administrator pastes.
func (w *world) beside(t *testing.T, kind string) *rig.Beside {
	t.Helper()
	_, port, _ := strings.Cut(w.addr, ":")
	b := rig.OpenBeside(t, kind, rig.Pasted{
		Main: "smtpd_milters = inet:" + w.addr + "\nnon_smtpd_milters = inet:" + w.addr + "\ninternal_mail_filter_classes = bounce\nmilter_default_action = tempfail",
		MC:   "INPUT_MAIL_FILTER(`backstop', `S=inet:" + port + "@127.0.0.1, F=T')dnl",
	})
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(b.Log())
			w.journal.Flush()
			t.Log(w.paper.b.String())
		}
	})
	return b
}

// asks says EHLO and these lines, and returns the last reply.
func asks(t *testing.T, k *mailtest.Talk, lines ...string) (last string) {
	t.Helper()
	for _, l := range lines {
		last = id.ReplaceAllString(k.Ask(t, l).String(), "")
	}
	return last
}

func greeted(t *testing.T, b *rig.Beside, from string) *mailtest.Talk {
	t.Helper()
	k := b.Dial(t, from)
	k.Expect(t, "220", "banner")
	k.Ask(t, "EHLO client.example")
	return k
}

// real is a world whose example.com, which the real servers have, is strict in all things.
func real(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	key := w.key
	key.Domain = "example.com"
	w.com.Guards = evidence.Guards{Tags: evidence.TagSign, SPF: evidence.CheckMark, Bounces: evidence.JudgeEnforce}
	w.com.Forged, w.com.Sign = true, []dkim.Key{key}
	w.cfg.Internal = func(a netip.Addr) bool { return a.String() == rig.Inside }
	w.cfg.Blocked = func(a netip.Addr) bool { return a.String() == "127.0.0.9" }
	return w
}

// TestRealServers: Postfix and Sendmail show our replies, and do with a message what we ask for.
func TestRealServers(t *testing.T) {
	for _, kind := range []string{"postfix", "sendmail"} {
		t.Run(kind, func(t *testing.T) {
			w := real(t)
			w.org.BounceTo = addr(t, "carol@example.com") // of the first domain, for the sender is in none
			b := w.open().beside(t, kind)
			k := greeted(t, b, rig.Outside)
			for _, c := range []struct{ line, want string }{
				{"MAIL FROM:<alice@example.com>", "Sender address rejected: not permitted from your network"},
				{"MAIL FROM:<ann@far.example> SIZE=100", "250"},
				{"RCPT TO:<nobody@example.com>", "Recipient address rejected: User unknown"},
				{"RCPT TO:<later@example.com>", "Recipient address not verified, try again later"},
				{"RCPT TO:<" + w.tagged("alice@example.com") + ">", "250"},
				{"DATA", "354"},
				{"Subject:x\r\nBackstop-Origin: forged\r\n\r\nHello.\r\n..\r\n.", "250"},
				{"MAIL FROM:<>", "250"},
				{"RCPT TO:<alice@example.com>", "250"},
				{"DATA", "354"},
				{bounceOf(letter) + ".", "550 5.7.1 <alice@example.com>: This bounce answers mail we did not send"},
			} {
				if got := asks(t, k, c.line); !strings.Contains(got, c.want) {
					t.Errorf("%.40q: %q", c.line, got)
				}
			}
			if got := asks(t, greeted(t, b, "127.0.0.9"), "MAIL FROM:<ann@far.example>"); got != "554 5.7.1 Your address is refused by this server's operator" {
				t.Errorf("who is blocked: %q", got)
			}
			k = greeted(t, b, rig.Inside)
			own := "From: alice@example.com\r\nSubject:x\r\nX-Folded: one\r\n\ttwo\r\nDate: Tue, 5 May 2026 12:00:00 +0000\r\nMessage-ID: <1@example.com>\r\n\r\nHello \xfc.\r\n"
			if got := asks(t, k, "MAIL FROM:<alice@example.com> RET=HDRS ENVID=e1 BODY=8BITMIME", "RCPT TO:<dora@far.example>", "DATA", own+"."); !strings.HasPrefix(got, "250") {
				t.Errorf("what leaves: %q", got)
			}
			if got := asks(t, k, "MAIL FROM:<>", "RCPT TO:<dora@far.example>", "DATA", bounceOf("From: alice@example.com\r\n")+"."); !strings.HasPrefix(got, "250") {
				t.Errorf("a bounce that leaves: %q", got)
			}
			b.Settle(t)
			w.stored(b.Store.Messages())
			w.sent(b.World.Messages(), own)
		})
	}
}

// stored looks at what the real server gave to the store: a letter, without tag and forged field, and a bounce that was not to leave.
func (w *world) stored(all []mailtest.Message) {
	w.t.Helper()
	got := map[string]string{}
	for _, m := range all {
		got[m.From+" to "+m.To[0].Path] = string(m.Body)
	}
	text := got["ann@far.example to alice@example.com"]
	if len(got) != 2 || !strings.HasSuffix(text, "\r\nSubject:x\r\n\r\nHello.\r\n.\r\n") && !strings.Contains(text, "Subject:x\r\nDate: ") ||
		!strings.HasPrefix(text, "Authentication-Results: mx.example.org;\r\n spf=none") || strings.Contains(text, "forged") {
		w.t.Errorf("%d messages are stored, among them %q", len(got), text)
	}
	if text = got[" to carol@example.com"]; !strings.HasPrefix(text, "Backstop-Redirected: unproven; for=dora@far.example\r\nReceived: ") {
		w.t.Errorf("turned aside: %q", text)
	}
}

// sent looks at what left: one letter, whose octets are its own, with a tag, a seal and a signature that hold.
func (w *world) sent(all []mailtest.Message, own string) {
	w.t.Helper()
	if len(all) != 1 {
		w.t.Fatalf("%d messages left", len(all))
	}
	m := all[0]
	added, _, _ := strings.Cut(string(m.Body), "From: alice")
	if m.From != w.tagged("alice@example.com") || string(m.Body) != added+own || !strings.HasPrefix(added, "DKIM-Signature:") {
		w.t.Errorf("%v\n%s", m, m.Body)
	}
	w.verifies(string(m.Body), "alice@example.com")
}

// TestPostfixOwnBounces: where Postfix shows us its own, those to people who are not proven to have written leave neither its host nor
// anything in its queue.
func TestPostfixOwnBounces(t *testing.T) {
	w := real(t)
	b := w.open().beside(t, "postfix")
	b.Store.Change(func(s *mailtest.Script) { s.Users = []string{"somebody-else"} })
	k := greeted(t, b, rig.Outside)
	if got := asks(t, k, "MAIL FROM:<ann@far.example>", "RCPT TO:<alice@example.com>", "DATA", "Subject: x\r\n\r\nx\r\n."); !strings.HasPrefix(got, "250") {
		t.Fatal(got)
	}
	b.Settle(t)
	if n := len(b.World.Messages()); n != 0 || b.Queued() != 0 {
		t.Errorf("%d left, %d are queued", n, b.Queued())
	}
	if got := w.decided(); got != "accept accepted, accept accepted, accept accepted, refuse bounce-unproven" {
		t.Errorf("log: %s", got)
	}
}
