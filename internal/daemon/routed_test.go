package daemon_test

import (
	"testing"

	"backstop/internal/mailtest"
	"backstop/internal/mailtest/rig"
)

// TestRoutedRecipients: a downstream that relays for us because it trusts our address
// must not be used by strangers, who write the way into the local part.
func TestRoutedRecipients(t *testing.T) {
	out := mailtest.NewMock(t, mailtest.Script{})
	p := rig.StartPostfix(t, rig.PostfixOptions{Relay: out.Addr(), Domains: []string{"example.com"}})
	for _, mode := range []string{"enforce", "watch"} {
		g := start(t, "mode = \""+mode+"\"\n"+relayTo("smtp://"+p.Addr, "", ""))
		for _, to := range []string{
			"victim%other.example@example.com", `"victim@other.example"@example.com`, "other.example!victim@example.com",
			`"victim%other.example"@example.com`, `"victim\@other.example"@example.com`, "@other.example:victim@example.com",
			"@example.com:victim@other.example",
		} {
			k := open(t, g.addr)
			say(t, k, "MAIL FROM:<ann@sender.example>", "250")
			r := k.Ask(t, "RCPT TO:<"+to+">"); t.Log(r); if r.Code/100 == 2 {
				t.Errorf("%s: %s: %v", mode, to, r)
				t.Log(sendMail(t, k))
			}
		}
	}
	p.Settle(t)
	for _, m := range out.Messages() {
		t.Errorf("relayed: %v", m)
	}
}
