package daemon_test

import (
	"context"
	"errors"
	"regexp"
	"testing"

	"backstop/internal/mailtest"
)

// stopping calls Stop beside the test and returns what it will return.
func stopping(ctx context.Context, g *gateway) <-chan error {
	done := make(chan error, 1)
	go func() { done <- g.Stop(ctx) }()
	return done
}

// within is a context that ends with the test's patience, or by its cancel.
func within(t testing.TB) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(context.Background(), mailtest.Patience)
	t.Cleanup(cancel)
	return ctx, cancel
}

// TestDrain: who is in the middle of a message finishes it, everybody else is told
// 421, and nobody new comes in.
func TestDrain(t *testing.T) {
	final := make(chan struct{})
	m := mailtest.NewMock(t, mailtest.Script{Rules: []mailtest.Rule{{On: "DOT", Match: regexp.MustCompile("waits for"), Wait: final}}})
	g := start(t, relayTo("smtp://"+m.Addr(), "", ""))
	idle, between, writing, waiting := open(t, g.addr), open(t, g.addr), open(t, g.addr), open(t, g.addr)
	say(t, between, "MAIL FROM:<ann@sender.example>", "250", "RCPT TO:<alice@example.com>", "250")
	for _, k := range []*mailtest.Talk{waiting, writing} {
		say(t, k, "MAIL FROM:<ann@sender.example>", "250", "RCPT TO:<alice@example.com>", "250", "DATA", "354")
	}
	if err := errors.Join(waiting.Send(hello("waits for the final answer")+".\r\n"), writing.Send("Subject: half ")); err != nil {
		t.Fatal(err)
	}
	m.Wait(t, "the first message", func(m *mailtest.Mock) bool { return m.Asked("DATA")+m.Asked("BDAT") > 0 })
	ctx, _ := within(t)
	done := stopping(ctx, g)
	idle.Expect(t, "421 4.3.2", "an idle connection")
	gone(t, idle)
	between.Expect(t, "421 4.3.2", "a transaction without a message")
	gone(t, between)
	if reachable(g.addr) {
		t.Error("it still listens")
	}
	if err := writing.Send("a message\r\n\r\nand the other half\r\n.\r\n"); err != nil {
		t.Fatal(err)
	}
	writing.Expect(t, "250", "the message that was open")
	writing.Expect(t, "421", "after it")
	close(final)
	waiting.Expect(t, "250", "the message that waited")
	if err := <-done; err != nil {
		t.Errorf("stop: %v", err)
	}
	if n := len(m.Messages()); n != 2 {
		t.Errorf("%d messages at the downstream", n)
	}
}

// TestDrainEnds: when the time is over a message that is still open is cut off, and
// is nobody's: the sender has no answer, the downstream no message.
func TestDrainEnds(t *testing.T) {
	for _, what := range []string{"the caller's time", "the configured time"} {
		t.Run(what, func(t *testing.T) {
			m := mailtest.NewMock(t, mailtest.Script{})
			top := ""
			if what == "the configured time" {
				top = "drain = \"50ms\"\n"
			}
			g := start(t, top+relayTo("smtp://"+m.Addr(), "", ""))
			idle, writing := open(t, g.addr), open(t, g.addr)
			say(t, writing, "MAIL FROM:<ann@sender.example>", "250", "RCPT TO:<alice@example.com>", "250", "DATA", "354")
			if err := writing.Send("Subject: half "); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := within(t)
			done := stopping(ctx, g)
			idle.Expect(t, "421", "an idle connection")
			if top == "" {
				cancel()
			}
			gone(t, writing)
			if err := <-done; err == nil {
				t.Error("stop says nothing of what was cut off")
			}
			m.WaitIdle(t)
			if n := len(m.Messages()); n != 0 {
				t.Errorf("%d messages at the downstream", n)
			}
		})
	}
}

// TestDrainWithHungDownstream: a downstream that never answers the dot does not
// keep the daemon, and the sender is told to try again or nothing at all.
func TestDrainWithHungDownstream(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{Rules: []mailtest.Rule{{On: "DOT", Silent: true}}})
	g := start(t, "drain = \"50ms\"\n"+relayTo("smtp://"+m.Addr(), "", ""))
	k := open(t, g.addr)
	say(t, k, "MAIL FROM:<ann@sender.example>", "250", "RCPT TO:<alice@example.com>", "250", "DATA", "354")
	if err := k.Send(hello("into the void") + ".\r\n"); err != nil {
		t.Fatal(err)
	}
	m.Wait(t, "the message", func(m *mailtest.Mock) bool { return len(m.Messages()) > 0 || m.Asked("DATA")+m.Asked("BDAT") > 0 })
	ctx, _ := within(t)
	if err := <-stopping(ctx, g); err == nil {
		t.Error("stop says nothing of what was cut off")
	}
	if r, err := k.Reply(); err == nil && r.Code/100 != 4 {
		t.Errorf("the sender was told %q", r)
	}
}
