package daemon_test

import (
	"strings"
	"testing"

	"backstop/internal/mailtest"
	"backstop/internal/mailtest/rig"
)

// unusual are senders that servers on the way may write otherwise than we do.
var unusual = []struct{ from, params, by string }{
	{"Alice@Example.COM", "", "tag"},
	{`"john q public"@example.com`, "", "tag"},
	{"a+b=c@example.com", "", "tag"},
	{"prvs@example.com", "", "tag"},
	{strings.Repeat("long-", 10) + "x@example.com", "", "seal"}, // there is no room for a tag
	{"m\u00fcller@example.com", " SMTPUTF8", "tag"},
}

// TestRoundTripOfUnusualSenders lets letters of theirs bounce at each server that takes them.
func TestRoundTripOfUnusualSenders(t *testing.T) {
	for _, kind := range rig.Bouncers() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			tr := newTrip(t, kind)
			tr.near.Change(func(s *mailtest.Script) { s.Users = nil })
			g := tr.gateway(t, "bounces = \"enforce\"\nbatv = \"sign\"", nil)
			tr.back.lead(g.addr)
			came := 0
			for _, u := range unusual {
				bare := open(t, tr.far.Addr)
				if r := bare.Ask(t, "MAIL FROM:<"+u.from+">"+u.params); r.Code != 250 {
					t.Logf("%s is nobody to it: %s", u.from, r)
					continue
				}
				came++
				k := open(t, g.Addrs()["outbound"][0].String())
				say(t, k, "MAIL FROM:<"+u.from+">"+u.params, "250", "RCPT TO:<nobody@example.net>", "250", "DATA", "354", hello("a letter")+".", "250")
				tr.arrived(t, u.from, "proven by="+u.by)
			}
			if came < 4 {
				t.Errorf("only %d of %d were shown", came, len(unusual))
			}
		})
	}
}
