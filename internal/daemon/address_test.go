package daemon_test

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"backstop/internal/mailtest"
)

// TestAliases: an alias domain has the same users, and its addresses go on as they were written.
func TestAliases(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{Users: []string{"alice"}})
	g := start(t, relayTo("smtp://"+m.Addr(), "", `aliases = ["example.net", "b\u00fccher.example"]`))
	k := open(t, g.addr)
	rcpt(t, k, "nobody@example.net", missing+"nobody@example.net>")
	asked := m.Asked("RCPT TO:<nobody@")
	rcpt(t, k, "Nobody@Example.COM", missing) // the same one, by the other name
	if n := m.Asked("RCPT TO:<nobody@"); n != asked {
		t.Error("the downstream is asked again for the same user under another name")
	}
	for _, to := range []string{"Alice@Example.NET", "alice@example.com", "alice@xn--bcher-kva.example"} {
		m.Forget()
		send(t, k, "ann@sender.example", to, hello(to), "250")
		if x := one(t, m); x.To[0].Path != to {
			t.Errorf("%s was handed on as %s", to, x.To[0].Path)
		}
	}
	say(t, k, "MAIL FROM:<ann@sender.example> SMTPUTF8", "250", "RCPT TO:<alice@b\u00fccher.example>", "250", "RSET", "250")
	rcpt(t, k, "alice@sub.example.net", "554 5.7.1")
}

// TestOtherForms: a downstream that knows a user by one name and not by another must not
// lose him the mail to the first by its no to the second.
func TestOtherForms(t *testing.T) {
	for _, other := range []string{"alice@example.net", "ALICE@example.com", `"alice"@example.com`} {
		m := mailtest.NewMock(t, mailtest.Script{Rules: []mailtest.Rule{
			{On: "RCPT", Match: regexp.MustCompile(`<alice@example\.com>`)},
			{On: "RCPT", Reply: "550 5.1.1 User unknown"},
		}})
		g := start(t, relayTo("smtp://"+m.Addr(), "", `aliases = ["example.net"]`))
		k := open(t, g.addr)
		eventually(t, "alice is remembered", func() bool { // once the downstream is found to refuse others
			rcpt(t, k, "alice@example.com", "250")
			return g.Status().Cache.Exists == 1
		})
		rcpt(t, k, other, missing)
		rcpt(t, k, "alice@example.com", "250")
	}
}

// TestSubaddress: user+tag is user where it is said so, for a list and for a server
// that is asked; the downstream gets what was written.
func TestSubaddress(t *testing.T) {
	list := mailtest.WriteFile(t, t.TempDir(), "list", "alice\ncarol+real\n")
	for name, sources := range map[string]string{"list": `recipients = ["list:` + list + `"]`, "asked": ""} {
		t.Run(name, func(t *testing.T) {
			m := mailtest.NewMock(t, mailtest.Script{Users: []string{"alice", "alice+news", "alice+list+more", "carol+real"}})
			g := start(t, relayTo("smtp://"+m.Addr(), "", "subaddress = \"+\"\n"+sources))
			k := open(t, g.addr)
			for _, to := range []string{"alice+news@example.com", "alice+list+more@example.com", "carol+real@example.com"} {
				m.Forget()
				send(t, k, "ann@sender.example", to, hello(to), "250")
				if x := one(t, m); x.To[0].Path != to {
					t.Errorf("%s was handed on as %s", to, x.To[0].Path)
				}
			}
			rcpt(t, k, "carol+other@example.com", missing)
			rcpt(t, k, "bob+news@example.com", missing)
			without := start(t, relayTo("smtp://"+m.Addr(), "", sources))
			if name == "list" {
				rcpt(t, open(t, without.addr), "alice+news@example.com", missing)
			}
		})
	}
}

// TestUnixFront listens on a Unix socket, where clients have no address.
func TestUnixFront(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{Users: []string{"alice"},
		Extensions: append([]string{"XCLIENT NAME ADDR PORT PROTO HELO LOGIN"}, mailtest.AllExtensions...)})
	socket := filepath.Join(mailtest.Dir(t), "front")
	start(t, relayTo("smtp://"+m.Addr()+"?client=xclient", `listen = ["unix:`+socket+`?mode=0600"]`+"\nper_client = 1", ""))
	open(t, socket) // clients without an address are not one client
	k := open(t, socket)
	send(t, k, "ann@sender.example", "alice@example.com", hello("local"), "250")
	rcpt(t, k, "nobody@example.com", missing)
	if x := one(t, m); x.Client["ADDR"] != "[UNAVAILABLE]" || !strings.Contains("\r\n"+string(x.Body), "\r\nReceived: from client.example (local socket)\r\n") {
		t.Errorf("the client is %v: %s", x.Client, x.Body)
	}
}

// TestNothingIsLeftRunning: after Stop nothing of the gateway runs on.
func TestNothingIsLeftRunning(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{Users: []string{"alice"}})
	asked := mailtest.NewMock(t, mailtest.Script{Users: []string{"alice"}})
	list := mailtest.WriteFile(t, t.TempDir(), "list", "alice\n")
	before := goleak.IgnoreCurrent()
	g := start(t, "[panel]\nlisten = \"127.0.0.1:0\"\n"+relayTo("smtp://"+m.Addr(), `listen = ["127.0.0.1:0"]`, `recipients = ["list:`+list+`", "callahead:smtp://`+asked.Addr()+`"]`))
	served(t, g.addr, 3)
	if err := g.Reload(parse(t, relayTo("smtp://localhost:"+port(m.Addr()), "", ""))); err != nil {
		t.Fatal(err)
	}
	served(t, g.addr, 3)
	k := open(t, g.addr)
	send(t, k, "ann@sender.example", "alice@example.com", hello("last"), "250")
	stop(t, g)
	k.Expect(t, "421", "at the end")
	k.Close()
	m.WaitIdle(t)
	asked.WaitIdle(t)
	goleak.VerifyNone(t, before)
}
