package daemon_test

import (
	"testing"

	"backstop/internal/mailtest"
	"backstop/internal/mailtest/rig"
)

// TestRoutedRecipients: a downstream that relays for us, as one on the same machine does
// unless told otherwise, must not be used by strangers who write the way into the local part.
func TestRoutedRecipients(t *testing.T) {
	out := mailtest.NewMock(t, mailtest.Script{})
	p := rig.StartPostfix(t, rig.PostfixOptions{Relay: out.Addr(), Domains: []string{"example.com"}, Main: map[string]string{
		// The domain is its own, and not relayed to a store: such a Postfix rewrites what stands before it.
		"mydestination": "example.com", "relay_domains": "", "local_recipient_maps": "",
	}})
	for _, mode := range []string{"enforce", "watch"} {
		g := start(t, "mode = \""+mode+"\"\n"+relayTo("smtp://"+p.Addr, "", ""))
		k := open(t, g.addr)
		for _, to := range []string{
			"victim%other.example@example.com", "other.example!victim@example.com", `"victim@other.example"@example.com`,
			`"victim%other.example"@example.com`, `"victim\@other.example"@example.com`, "@example.com:victim@other.example",
		} {
			say(t, k, "MAIL FROM:<ann@sender.example>", "250")
			if r := k.Ask(t, "RCPT TO:<"+to+">"); r.Code != 554 {
				t.Errorf("%s: %s: %v; %v", mode, to, r, sendMail(t, k))
			}
			say(t, k, "RSET", "250")
		}
	}
	p.Settle(t)
	for _, m := range out.Messages() {
		t.Errorf("relayed: %v", m)
	}
}
