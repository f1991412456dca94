package daemon_test

import (
	"strings"
	"testing"

	"backstop/internal/mailtest"
	"backstop/internal/mailtest/rig"
)

// rewritten are forms of which an MTA makes a NAME@example.com.
var rewritten = []string{"NAME%example.com", "example.com!NAME", `"NAME@example.com"`, `"NAME\@example.com"`, "NAME%example.com@localhost", `"NAME%example.com"@localhost`, "@localhost:NAME@example.com", "NAME@example.com."}

// TestBesideRewritten: however an unknown recipient is written, or a sender of ours from outside, the MTA does not take him.
// Else it would find out who is meant when nobody is there to hear of it.
func TestBesideRewritten(t *testing.T) {
	for _, w := range allWays {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t, w)
			s.reload(t, &play{domain: "forged = \"refuse\"\nspf = \"off\"\ndmarc = \"off\""})
			for _, form := range rewritten {
				k := mailtest.DialFrom(t, s.addr, rig.Outside)
				k.Expect(t, "220", "banner")
				k.Ask(t, "EHLO client.example")
				k.Ask(t, "MAIL FROM:<ann@far.example>")
				to := strings.Replace(form, "NAME", "nobody", 1)
				if r := k.Ask(t, "RCPT TO:<"+to+">"); r.Code < 500 {
					t.Errorf("to %s: %v", to, r)
				}
				k.Ask(t, "RSET")
				from := strings.Replace(form, "NAME", "bob", 1)
				r := k.Ask(t, "MAIL FROM:<"+from+">")
				if r.Code < 500 {
					r = k.Ask(t, "RCPT TO:<alice@example.com>")
				}
				if r.Code < 500 && w.plug != "socketmap" && w.plug != "tcp_table" { // which know nothing of senders
					t.Errorf("from %s: %v", from, r)
				}
				k.Close()
			}
		})
	}
}
