package rig

import (
	"strings"
	"testing"

	"backstop/internal/mailtest"
)

// TestBouncers shows that each of them takes mail for anybody, delivers what is for a user, sends on what is for
// others, and bounces the rest.
func TestBouncers(t *testing.T) {
	for _, kind := range Bouncers() {
		t.Run(kind, func(t *testing.T) {
			outside := mailtest.NewMock(t, mailtest.Script{})
			b := StartBouncer(t, BouncerOptions{Kind: kind, Domain: "example.net", Users: []string{"alice"}, Relay: outside.Addr()})
			for _, to := range []string{"alice@example.net", "nobody@example.net", "carol@example.org"} {
				give(t, b.Addr, "ann@client.test", to, "Message-ID: <"+to+">\r\nSubject: x\r\n\r\nHello\r\n")
			}
			outside.Wait(t, "the bounce, and the mail for others", func(m *mailtest.Mock) bool { return len(m.Messages()) == 2 })
			for _, m := range outside.Messages() {
				switch {
				case m.From == "ann@client.test" && m.To[0].Path == "carol@example.org":
				case m.From == "" && m.To[0].Path == "ann@client.test" && strings.Contains(string(m.Body), "<nobody@example.net>"):
				default:
					t.Errorf("left: %v", m)
				}
			}
			b.Store.Wait(t, "alice's", func(m *mailtest.Mock) bool { return len(m.Messages()) == 1 })
			if got := b.Store.Messages()[0]; got.To[0].Path != "alice@example.net" {
				t.Errorf("stored: %v", got)
			}
			if t.Failed() {
				t.Log(b.Log())
			}
		})
	}
}

// give sends a message, which must be taken.
func give(t testing.TB, addr, from, to, message string) {
	t.Helper()
	k := mailtest.Dial(t, addr)
	defer k.Close()
	k.Expect(t, "220", "banner")
	for _, say := range []string{"EHLO x.test", "MAIL FROM:<" + from + ">", "RCPT TO:<" + to + ">"} {
		if r := k.Ask(t, say); r.Code != 250 {
			t.Fatalf("%s: %s", say, r)
		}
	}
	k.Ask(t, "DATA")
	if r := k.Ask(t, message+"."); r.Code != 250 {
		t.Fatalf("the message: %s", r)
	}
}
