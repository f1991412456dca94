package daemon_test

import (
	"os"
	"path/filepath"
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

// TestRoundTripOfForwarded: a forwarder of ours, Debian's postsrsd, rewrote the sender of what it sends on, so that
// bounces come to us. The address alone proves them, and goes on as it is, for postsrsd to take back.
func TestRoundTripOfForwarded(t *testing.T) {
	const secret = "a secret of ours"
	forwarder := rig.StartPostsrsd(t, rig.PostsrsdOptions{Domain: "example.com", Secrets: []string{secret}})
	from, ok := forwarder.Forward("ann@client.test")
	if !ok {
		t.Fatal("postsrsd does not rewrite ann@client.test")
	}
	file := filepath.Join(t.TempDir(), "postsrsd.secret")
	if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, kind := range rig.Bouncers() {
		t.Run(kind, func(t *testing.T) {
			tr := newTrip(t, kind)
			tr.near.Change(func(s *mailtest.Script) { s.Users = nil })
			g := tr.gateway(t, "bounces = \"enforce\"\nbatv = \"sign\"\n[srs]\nsecret_file = \""+file+"\"", nil)
			tr.back.lead(g.addr)
			tr.write(t, g, from)
			tr.arrived(t, from, "proven by=srs")
			alone := tr.catch(t, g, from).without("Backstop-Seal").stray()
			alone.comes(t, g, "250")
			tr.arrived(t, from, "proven by=srs")
			if back, ok := forwarder.Reverse(alone.to); !ok || back != "ann@client.test" {
				t.Errorf("postsrsd takes %s back to %q, %v", alone.to, back, ok)
			}
			other := strings.Replace(alone.to, "=ann@", "=eve@", 1)
			say(t, open(t, g.addr), "MAIL FROM:<>", "250", "RCPT TO:<"+other+">", "550 5.")
			tr.nothing(t)
		})
	}
}
