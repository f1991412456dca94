package daemon_test

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"backstop/internal/daemon"
	"backstop/internal/mail"
	"backstop/internal/mailtest"
	"backstop/internal/mailtest/rig"
)

// rcpt asks for one recipient in a transaction of its own.
func rcpt(t testing.TB, k *mailtest.Talk, to, want string) {
	t.Helper()
	say(t, k, "MAIL FROM:<ann@sender.example>", "250", "RCPT TO:<"+to+">", want, "RSET", "250")
}

const (
	missing    = "550 5.1.1 <"
	unverified = "451 4."
)

// away is how a gateway whose downstream is gone answers: known missing 550, all others 451.
func away(t testing.TB, k *mailtest.Talk) {
	t.Helper()
	rcpt(t, k, "nobody@example.com", missing+"nobody@example.com>: Recipient address rejected: User unknown")
	rcpt(t, k, "alice@example.com", unverified)
	rcpt(t, k, "bob@example.com", unverified)
	rcpt(t, k, "ghost@example.com", unverified)
}

// TestDownstreamAway takes the downstream away and brings it back: nothing is
// restarted, and what was known to be missing stays refused meanwhile.
func TestDownstreamAway(t *testing.T) {
	for _, sources := range []string{"", "list"} {
		t.Run("sources "+sources, func(t *testing.T) {
			m := mailtest.NewMock(t, mailtest.Script{Users: []string{"alice", "bob"}})
			extra := ""
			if sources == "list" {
				file := mailtest.WriteFile(t, t.TempDir(), "list", "alice\nbob@example.com\nghost\n")
				extra = `recipients = ["list:` + file + `"]`
			}
			g := start(t, relayTo("smtp://"+m.Addr(), "", extra))
			k := open(t, g.addr)
			rcpt(t, k, "nobody@example.com", missing)
			rcpt(t, k, "alice@example.com", "250")
			m.Down()
			away(t, k)
			g.logged(t, `"level":"ERROR"`, "the downstream is down")
			m.Up()
			send(t, k, "ann@sender.example", "alice@example.com", hello("back"), "250")
			rcpt(t, k, "ghost@example.com", missing)
			rcpt(t, k, "nobody@example.com", missing)
			one(t, m)
			g.logged(t, "the downstream is up again")
		})
	}
}

// TestPostfixAway is the same with a real server, stopped and started.
func TestPostfixAway(t *testing.T) {
	p := rig.StartPostfix(t, rig.PostfixOptions{Users: []string{"alice", "bob"}})
	g := start(t, relayTo("smtp://"+p.Addr, "", ""))
	k := open(t, g.addr)
	rcpt(t, k, "nobody@example.com", missing)
	rcpt(t, k, "alice@example.com", "250")
	p.Stop()
	away(t, k)
	p.Start()
	send(t, k, "ann@sender.example", "alice@example.com", hello("back"), "250")
	one(t, p.Store)
}

// ways are the kinds of domain whose recipients a server is asked for.
func ways(asked, relay string) map[string]string {
	return map[string]string{
		"the relay itself":  relayTo("smtp://"+relay, "", ""),
		"another server":    relayTo("smtp://"+relay, "", `recipients = ["callahead:smtp://`+asked+`"]`),
		"several, in order": relayTo("smtp://"+relay, "", `recipients = ["callahead:smtp://`+asked+`", "callahead"]`),
	}
}

// TestUserMadeLater: somebody asks for a mailbox before it is there; two minutes
// later it is, and mail for it passes.
func TestUserMadeLater(t *testing.T) {
	for name := range ways("", "") {
		t.Run(name, func(t *testing.T) {
			p := rig.StartPostfix(t, rig.PostfixOptions{Users: []string{"alice"}})
			c := newClock()
			g := startAt(t, ways("localhost:"+port(p.Addr), p.Addr)[name], c.Now)
			k := open(t, g.addr)
			rcpt(t, k, "newcomer@example.com", missing)
			p.SetUsers("alice", "newcomer")
			c.forward(119 * time.Second)
			rcpt(t, k, "newcomer@example.com", missing) // remembered: nobody is asked
			c.forward(2 * time.Second)
			send(t, k, "ann@sender.example", "newcomer@example.com", hello("welcome"), "250")
			p.Settle(t)
			one(t, p.Store)
		})
	}
}

// TestUserDeleted: the first definite no of the server that takes the mail counts,
// however fresh the yes before it is, and takes the yes out of memory.
func TestUserDeleted(t *testing.T) {
	for name := range ways("", "") {
		t.Run(name, func(t *testing.T) {
			p := rig.StartPostfix(t, rig.PostfixOptions{Users: []string{"alice", "leaver"}})
			g := start(t, ways("localhost:"+port(p.Addr), p.Addr)[name])
			k := open(t, g.addr)
			rcpt(t, k, "leaver@example.com", "250")
			p.SetUsers("alice")
			rcpt(t, k, "leaver@example.com", missing)
			a, err := mail.ParseAddress("leaver@example.com")
			if err != nil {
				t.Fatal(err)
			}
			r, err := g.Lookup(t.Context(), a, daemon.LookupOptions{NoAsk: true})
			if err != nil || r.Standing == "exists" {
				t.Errorf("after the refusal it is still believed: %+v, %v", r, err)
			}
			rcpt(t, k, "leaver@example.com", missing)
			p.Stop()
			rcpt(t, k, "leaver@example.com", missing)
			rcpt(t, k, "alice@example.com", unverified)
		})
	}
}

// TestRestartKeepsAnswers: what was learned is still known by the next process
// with the same state folder, though the downstream is away.
func TestRestartKeepsAnswers(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{Users: []string{"alice"}})
	asked := mailtest.NewMock(t, mailtest.Script{Users: []string{"alice"}})
	state := filepath.Join(mailtest.Dir(t), "state")
	text := fmt.Sprintf("state = %q\n", state) +
		relayTo("smtp://"+m.Addr(), "", `recipients = ["callahead:smtp://`+asked.Addr()+`"]`)
	first := start(t, text)
	k := open(t, first.addr)
	rcpt(t, k, "nobody@example.com", missing)
	rcpt(t, k, "alice@example.com", "250")
	stop(t, first)
	asked.Down()
	k = open(t, start(t, text).addr)
	rcpt(t, k, "nobody@example.com", missing)
	rcpt(t, k, "alice@example.com", "250")
	rcpt(t, k, "ghost@example.com", unverified)
}
