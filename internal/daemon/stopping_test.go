package daemon_test

import (
	"net/http"
	"testing"

	"backstop/internal/mailtest"
)

// TestHealthWhileStopping: whoever asks while a long message holds up the stop is told
// at once, since a load balancer must not go on sending mail here until it is over.
func TestHealthWhileStopping(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{})
	g := start(t, "[panel]\nlisten = \"127.0.0.1:0\"\n"+relayTo("smtp://"+m.Addr(), `listen = ["127.0.0.1:0"]`, ""))
	k, idle := open(t, g.addr), open(t, g.addr)
	say(t, k, "MAIL FROM:<ann@sender.example>", "250", "RCPT TO:<alice@example.com>", "250", "DATA", "354")
	web := g.Addrs()["panel"][0].String()
	ctx, _ := within(t)
	done := stopping(ctx, g)
	idle.Expect(t, "421", "an idle connection")
	if code, text := get(t, "tcp", web, "/healthz"); code != http.StatusServiceUnavailable {
		t.Errorf("health: %d %s", code, text)
	}
	if err := k.Send("Subject: done\r\n\r\n.\r\n"); err != nil {
		t.Fatal(err)
	}
	k.Expect(t, "250", "the message that was open")
	if err := <-done; err != nil {
		t.Error(err)
	}
}
