package daemon_test

import (
	"fmt"
	"strings"
	"testing"

	"backstop/internal/mailtest"
	"backstop/internal/mailtest/rig"
)

// TestReceivedCount: a message that went around too often is refused, and not
// one turn earlier.
func TestReceivedCount(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{})
	g := start(t, relayTo("smtp://"+m.Addr(), "max_received = 20", ""))
	k := open(t, g.addr)
	hops := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "Received: from a%d.example\r\n\tby b%d.example with ESMTP;\r\n\tSun, 22 Nov 2026 06:00:00 +0000\r\n", i, i)
		}
		return b.String() + hello("traveller")
	}
	send(t, k, "ann@sender.example", "alice@example.com", hops(20), "250")
	send(t, k, "ann@sender.example", "alice@example.com", hops(21), "554 5.4.6")
	g.logged(t, `"rule":"message-loop"`, `"to":"alice@example.com"`)
	// Lines of the body are no trace.
	send(t, k, "ann@sender.example", "alice@example.com", "Subject: q\r\n\r\n"+hops(30), "250")
	if n := len(m.Messages()); n != 2 {
		t.Errorf("%d messages at the downstream", n)
	}
}

// TestPostfixSendsItBack: the relay is a Postfix that brings the mail straight
// back, as one does whose MX is the gateway. The second pass is refused to Postfix, which tells the
// sender; nothing goes around a third time.
func TestPostfixSendsItBack(t *testing.T) {
	g := start(t, relayTo("smtp://127.0.0.1:1", "", ""))
	p := rig.StartPostfix(t, rig.PostfixOptions{Relay: g.addr})
	if err := g.Reload(parse(t, relayTo("smtp://"+p.Addr, "", ""))); err != nil {
		t.Fatal(err)
	}
	send(t, open(t, g.addr), "ann@sender.example", "alice@example.com", hello("boomerang"), "250")
	p.Settle(t)
	g.logged(t, `"rule":"message-loop"`, `"reply":"554 5.4.6`)
	if n := strings.Count(g.log.String(), `"stage":"data"`); n != 2 {
		t.Errorf("it passed %d times", n)
	}
	if held := p.Store.Messages(); len(held) != 1 || held[0].From != "" || held[0].To[0].Path != "ann@sender.example" {
		t.Errorf("Postfix should tell the sender: %v", held)
	}
}

// TestRelayIsOurselves: a gateway that was told to relay to itself says so to
// the operator and 4xx to the sender, at once.
func TestRelayIsOurselves(t *testing.T) {
	g := start(t, relayTo("smtp://127.0.0.1:1", "", ""))
	if err := g.Reload(parse(t, relayTo("smtp://"+g.addr, "", ""))); err != nil {
		t.Fatal(err)
	}
	k := open(t, g.addr)
	rcpt(t, k, "alice@example.com", "451 4.")
	g.logged(t, `"level":"ERROR"`, "ourselves")
}

// TestTwoGatewaysInACircle: each is the other's relay. The question ends, the
// sender is told 4xx, and afterwards all connections are free again.
func TestTwoGatewaysInACircle(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{Users: []string{"alice"}})
	first := start(t, relayTo("smtp://127.0.0.1:1", "", ""))
	second := start(t, "hostname = \"other.gateway.example\"\n"+relayTo("smtp://"+first.addr, "per_client = 20", ""))
	if err := first.Reload(parse(t, relayTo("smtp://"+second.addr, "", ""))); err != nil {
		t.Fatal(err)
	}
	rcpt(t, open(t, first.addr), "alice@example.com", "451 4.")
	if err := first.Reload(parse(t, relayTo("smtp://"+m.Addr(), "", ""))); err != nil {
		t.Fatal(err)
	}
	send(t, open(t, first.addr), "ann@sender.example", "alice@example.com", hello("the circle is open"), "250")
	one(t, m)
}
