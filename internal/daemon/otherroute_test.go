package daemon_test

import (
	"path/filepath"
	"testing"

	"backstop/internal/mailtest"
)

// TestOtherRoute brings recipients of two relays in one transaction: the second
// one's is put off to a transaction of its own, where it is taken.
func TestOtherRoute(t *testing.T) {
	here := mailtest.NewMock(t, mailtest.Script{Users: []string{"alice", "bob"}})
	there := mailtest.NewMock(t, mailtest.Script{Users: []string{"carol"}})
	g := start(t, relayTo("smtp://"+here.Addr(), "", "")+
		"[[domain]]\nname = \"example.org\"\nrelay = \"smtp://"+there.Addr()+"\"\n")
	k := open(t, g.addr)
	say(t, k,
		"MAIL FROM:<ann@sender.example>", "250",
		"RCPT TO:<alice@example.com>", "250 2.1.5",
		"RCPT TO:<carol@example.org>", "452 4.5.3 <carol@example.org>: Send this recipient separately",
		"RCPT TO:<bob@example.com>", "250 2.1.5",
		"DATA", "354", hello("first")+".", "250 2.0.0",
		"MAIL FROM:<ann@sender.example>", "250",
		"RCPT TO:<carol@example.org>", "250 2.1.5",
		"RCPT TO:<alice@example.com>", "452 4.5.3 <alice@example.com>: Send this recipient separately",
		"DATA", "354", hello("second")+".", "250 2.0.0")
	if m := one(t, here); len(m.To) != 2 || m.To[0].Path != "alice@example.com" || m.To[1].Path != "bob@example.com" {
		t.Errorf("the first relay holds %v", m)
	}
	if m := one(t, there); len(m.To) != 1 || m.To[0].Path != "carol@example.org" {
		t.Errorf("the second relay holds %v", m)
	}
	g.logged(t, `"msg":"defer"`, `"to":"carol@example.org"`, `"rule":"other-route"`)
}

// TestOtherRouteAfterRefusal: a recipient that was refused binds the transaction to nothing.
func TestOtherRouteAfterRefusal(t *testing.T) {
	here := mailtest.NewMock(t, mailtest.Script{Users: []string{"alice"}})
	there := mailtest.NewMock(t, mailtest.Script{Users: []string{"carol"}})
	g := start(t, relayTo("smtp://"+here.Addr(), "", "")+
		"[[domain]]\nname = \"example.org\"\nrelay = \"smtp://"+there.Addr()+"\"\n")
	k := open(t, g.addr)
	say(t, k,
		"MAIL FROM:<ann@sender.example>", "250",
		"RCPT TO:<nobody@example.com>", "550 5.1.1",
		"RCPT TO:<carol@example.org>", "250 2.1.5",
		"RCPT TO:<nobody2@example.com>", "452 4.5.3",
		"DATA", "354", hello("only")+".", "250 2.0.0")
	one(t, there)
	if n := len(here.Messages()); n != 0 {
		t.Errorf("the first relay holds %d messages", n)
	}
}

// TestLMTPRoute takes one recipient a transaction, over TCP and over a Unix socket.
func TestLMTPRoute(t *testing.T) {
	script := mailtest.Script{LMTP: true, Users: []string{"alice", "bob"}}
	overTCP := mailtest.NewMock(t, script)
	socket := filepath.Join(mailtest.Dir(t), "lmtp")
	overUnix := mailtest.NewUnixMock(t, script, socket)
	for _, c := range []struct {
		name, url string
		m         *mailtest.Mock
	}{{"tcp", "lmtp://" + overTCP.Addr(), overTCP}, {"unix", "lmtp+unix://" + socket, overUnix}} {
		t.Run(c.name, func(t *testing.T) {
			k := open(t, start(t, relayTo(c.url, "", "")).addr)
			say(t, k,
				"MAIL FROM:<ann@sender.example>", "250",
				"RCPT TO:<nobody@example.com>", "550 5.1.1 <nobody@example.com>:",
				"RCPT TO:<alice@example.com>", "250 2.1.5",
				"RCPT TO:<bob@example.com>", "452 4.5.3 <bob@example.com>: Send this recipient separately",
				"DATA", "354", hello("a")+".", "250 2.0.0",
				"MAIL FROM:<ann@sender.example>", "250",
				"RCPT TO:<bob@example.com>", "250 2.1.5",
				"DATA", "354", hello("b")+".", "250 2.0.0")
			held := c.m.Messages()
			if len(held) != 2 || len(held[0].To) != 1 || len(held[1].To) != 1 || held[1].To[0].Path != "bob@example.com" {
				t.Errorf("held: %v", held)
			}
			for _, f := range c.m.Faults() {
				t.Errorf("the mock was sent what LMTP forbids: %s", f)
			}
		})
	}
}

// TestNullSenderRecipients: a bounce has one recipient.
func TestNullSenderRecipients(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{Users: []string{"alice", "bob"}})
	k := open(t, start(t, relayTo("smtp://"+m.Addr(), "", "")).addr)
	say(t, k,
		"MAIL FROM:<>", "250",
		"RCPT TO:<alice@example.com>", "250 2.1.5",
		"RCPT TO:<bob@example.com>", "452 4.5.3 <bob@example.com>:",
		"DATA", "354", hello("bounce")+".", "250 2.0.0")
	if x := one(t, m); x.From != "" || len(x.To) != 1 {
		t.Errorf("held: %v", x)
	}
}
