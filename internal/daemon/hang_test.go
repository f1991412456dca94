package daemon_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"backstop/internal/mailtest"
)

// TestDownstreamHangs: a downstream that takes connections and says nothing costs
// its senders a 451 and nobody a 5xx; when it speaks again, mail flows.
func TestDownstreamHangs(t *testing.T) {
	for _, at := range []string{"CONNECT", "EHLO", "MAIL", "RCPT"} {
		t.Run(at, func(t *testing.T) {
			m := mailtest.NewMock(t, mailtest.Script{Users: []string{"alice"}})
			g := start(t, "[relay]\ntimeouts = { banner = \"150ms\", hello = \"150ms\", mail = \"150ms\", rcpt = \"150ms\" }\n"+
				relayTo("smtp://"+m.Addr(), "", ""))
			k := open(t, g.addr)
			rcpt(t, k, "nobody@example.com", missing)
			m.On(mailtest.Rule{On: at, Silent: true})
			m.Hangup()
			rcpt(t, k, "alice@example.com", "451 4.")
			rcpt(t, k, "nobody@example.com", missing)
			rcpt(t, k, "ghost@example.com", "451 4.")
			m.Change(func(s *mailtest.Script) { s.Rules = nil })
			eventually(t, "it is tried again", func() bool {
				say(t, k, "MAIL FROM:<ann@sender.example>", "250")
				r := k.Ask(t, "RCPT TO:<alice@example.com>")
				say(t, k, "RSET", "250")
				if r.Code/100 == 5 {
					t.Fatalf("told %q", r)
				}
				return r.Code == 250
			})
		})
	}
}

// TestWatchModeDownstreamAway: watching does not take what nobody could deliver.
func TestWatchModeDownstreamAway(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{Users: []string{"alice"}})
	g := start(t, "mode = \"watch\"\n"+relayTo("smtp://"+m.Addr(), "", ""))
	k := open(t, g.addr)
	rcpt(t, k, "nobody@example.com", "550 5.1.1")
	m.Down()
	rcpt(t, k, "alice@example.com", "451 4.")
	rcpt(t, k, "nobody@example.com", "451 4.")
}

// TestStopWithHungSource: a source that never answers does not keep the daemon from stopping.
func TestStopWithHungSource(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{})
	hung := mailtest.NewMock(t, mailtest.Script{Rules: []mailtest.Rule{{On: "RCPT", Silent: true}}})
	g := start(t, "drain = \"50ms\"\n"+relayTo("smtp://"+m.Addr(), "", `recipients = ["callahead:smtp://`+hung.Addr()+`"]`))
	k := open(t, g.addr)
	say(t, k, "MAIL FROM:<ann@sender.example>", "250")
	if err := k.Send("RCPT TO:<alice@example.com>\r\n"); err != nil {
		t.Fatal(err)
	}
	hung.Wait(t, "the question", func(m *mailtest.Mock) bool { return m.Asked("RCPT TO:<alice@") > 0 })
	ctx, _ := within(t)
	if err := <-stopping(ctx, g); ctx.Err() != nil {
		t.Errorf("it did not stop: %v", err)
	}
	if r, err := k.Reply(); err == nil && r.Code/100 != 4 {
		t.Errorf("the sender was told %q", r)
	}
}

// TestRelayConnections: more senders than connections to the downstream: they
// wait in line, and all are served.
func TestRelayConnections(t *testing.T) {
	const most, senders = 2, 24
	m := mailtest.NewMock(t, mailtest.Script{})
	file := mailtest.WriteFile(t, t.TempDir(), "list", "alice\n")
	g := start(t, fmt.Sprintf("[relay]\nconnections = %d\n", most)+
		relayTo("smtp://"+m.Addr(), "", `recipients = ["list:`+file+`"]`))
	var all ledger
	var wg sync.WaitGroup
	for i := range senders {
		k := open(t, g.addr)
		wg.Go(func() {
			for n := range 5 {
				s, err := deliver(k, "ann@sender.example", "alice@example.com", hello(fmt.Sprint(i, "-", n)))
				all.add(s)
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	mailtest.CheckOwned(t, all.sent, m.Messages())
	if n := len(m.Wires()); n > most {
		t.Errorf("%d connections to the downstream", n)
	}
}

// TestManyRecipients: who is one too many comes in another transaction.
func TestManyRecipients(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{})
	g := start(t, relayTo("smtp://"+m.Addr(), "max_recipients = 3", ""))
	k := open(t, g.addr)
	say(t, k, "MAIL FROM:<ann@sender.example>", "250")
	for i := range 3 {
		say(t, k, fmt.Sprintf("RCPT TO:<u%d@example.com>", i), "250")
	}
	say(t, k, "RCPT TO:<u3@example.com>", "452 4.5.3", "DATA", "354", hello("many")+".", "250")
	if x := one(t, m); len(x.To) != 3 || !strings.HasSuffix(string(x.Body), hello("many")) {
		t.Errorf("held: %v", x)
	}
}
