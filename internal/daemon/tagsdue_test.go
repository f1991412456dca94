package daemon_test

import (
	"fmt"
	"testing"
	"time"

	"backstop/internal/mailtest"
)

// TestTagsAreMissedOnlyWhenDue: batv = "enforce" refuses bounces for want of a tag when signing has run for as long as
// mail may be under way with none; a restart does not make it begin again, taking it out of the configuration does.
func TestTagsAreMissedOnlyWhenDue(t *testing.T) {
	near := mailtest.NewMock(t, mailtest.Script{})
	state, names, c := t.TempDir(), mailtest.StartDNS(t, "").Addr(), newClock()
	config := func(batv string) string {
		return fmt.Sprintf(`state = %q
[smtp]
listen = ["127.0.0.1:0"]
[dns]
resolvers = [%q]
[outbound]
listen = ["127.0.0.1:0"]
clients = ["127.0.0.0/8"]
relay = "smtp://%s"
[[domain]]
name = "example.com"
relay = "smtp://%s"
bounces = "watch"
batv = %q
`, state, names, near.Addr(), near.Addr(), batv)
	}
	const day = 24 * time.Hour
	const forged = "prvs=1999000000=alice@example.com"
	var g *gateway
	lenient := func(when string) {
		t.Helper()
		t.Log(when)
		send(t, open(t, g.addr), "", "alice@example.com", hello("x"), "250")
		say(t, open(t, g.addr), "MAIL FROM:<>", "250", "RCPT TO:<"+forged+">", "250")
	}
	strict := func(when string) {
		t.Helper()
		t.Log(when)
		send(t, open(t, g.addr), "", "alice@example.com", hello("x"), "550 5.7.1 <alice@example.com>: This bounce answers mail we did not send")
		say(t, open(t, g.addr), "MAIL FROM:<>", "250", "RCPT TO:<"+forged+">", "550 5.")
		send(t, open(t, g.addr), "ann@client.test", "alice@example.com", hello("x"), "250")
	}
	g = startAt(t, config("enforce"), c.Now)
	lenient("at once")
	c.forward(6 * day)
	lenient("after six days")
	c.forward(2 * day)
	strict("after eight days")
	stop(t, g)
	g = startAt(t, config("enforce"), c.Now)
	strict("after a restart")
	for _, batv := range []string{"off", "enforce"} {
		if err := g.Reload(parse(t, config(batv))); err != nil {
			t.Fatal(err)
		}
	}
	lenient("begun anew")
	c.forward(8 * day)
	strict("eight days after that")
}
