package daemon_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"backstop/internal/mailtest"
	"backstop/internal/mailtest/rig"
)

// TestNoticesLeaveToThoseWhoWrote lets each of four servers behind the gateway write what such servers write: the
// bounce of a short letter, that of a long one, of which only the header comes back, and a notice of delay.
func TestNoticesLeaveToThoseWhoWrote(t *testing.T) {
	for _, kind := range rig.Bouncers() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			e := newExperiment(t, rig.BouncerOptions{Kind: kind, Users: []string{"later"}, Warn: true}, held)
			e.server.Store.On(mailtest.Rule{On: "RCPT", Match: regexp.MustCompile("later@"), Reply: "451 4.2.0 Later"})
			for i, about := range []struct{ to, more string }{{"", ""}, {"", strings.Repeat(strings.Repeat("x", 70)+"\r\n", 3000)}, {"later", ""}} {
				for _, l := range []letter{e.forge(i), e.write(2 * i)} {
					l.to = about.to
					l.body += about.more
					if err := l.deliver(e.gate.addr, true); err != nil {
						t.Fatal(err)
					}
				}
			}
			e.world.Wait(t, "a notice about each letter", func(m *mailtest.Mock) bool { return len(e.spoken()) == len(e.letters) })
			for _, m := range e.world.Messages() {
				l := e.letters[number(m)]
				if to := m.To[0].Path; m.From != "" || l.honest && to != l.from || !l.honest && to != held {
					t.Errorf("from <%s> to <%s>, about %s of %s", m.From, to, l.nr, l.from)
				}
			}
		})
	}
}

// spoken are the letters of which something left.
func (e *experiment) spoken() map[string]bool {
	all := map[string]bool{}
	for _, m := range e.world.Messages() {
		all[number(m)] = true
	}
	return all
}

// TestRefusedBouncesStayWithTheirServer: without bounce_to the server behind is told no, and has to keep its bounce.
func TestRefusedBouncesStayWithTheirServer(t *testing.T) {
	for _, kind := range rig.Bouncers() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			e := newExperiment(t, rig.BouncerOptions{Kind: kind}, "")
			stranger, honest := e.forge(0), e.write(0)
			if err := stranger.deliver(e.gate.addr, true); err != nil {
				t.Fatal(err)
			}
			e.gate.logged(t, `"msg":"refuse"`, `"door":"outbound"`, `"to":"`+stranger.from+`"`, `"rule":"bounce-unproven"`, `"reply":"550 5.7.1`)
			if err := honest.deliver(e.gate.addr, true); err != nil {
				t.Fatal(err)
			}
			if m := one(t, e.world); number(m) != honest.nr || m.To[0].Path != honest.from {
				t.Errorf("this left: %v", m)
			}
		})
	}
}

// TestRepliesLeaveToThoseWhoWrote: users on holiday answer whom they know to have written, by the Message-ID that such a
// reply names (RFC 3834, 3.1.5), and nobody else.
func TestRepliesLeaveToThoseWhoWrote(t *testing.T) {
	e := newExperiment(t, rig.BouncerOptions{Kind: "postfix", Users: []string{"alice"}}, held)
	e.leaving.lead(e.world.Addr())
	wrote, forged := e.write(0), e.forge(0)
	for _, l := range []letter{wrote, forged} {
		l.to = "alice"
		if err := l.deliver(e.gate.addr, true); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range []struct{ name, from, to, about, want string }{
		{"to who wrote", "", wrote.from, wrote.nr, wrote.from},
		{"with a sender", "alice@example.com", wrote.from, wrote.nr, wrote.from},
		{"to who did not write", "", forged.from, forged.nr, held},
		{"to who did not write, with a sender", "alice@example.com", forged.from, forged.nr, held},
		{"about another's letter", "", forged.from, wrote.nr, held},
	} {
		t.Run(r.name, func(t *testing.T) {
			e.world.Forget()
			text := fmt.Sprintf("From: <alice@example.com>\r\nTo: <%s>\r\nSubject: Auto: A letter\r\nAuto-Submitted: auto-replied\r\n"+
				"In-Reply-To: <%s@mailer.example>\r\n\r\nI am away.\r\n", r.to, r.about)
			send(t, open(t, e.gate.Addrs()["outbound"][0].String()), r.from, r.to, text, "250")
			m := one(t, e.world)
			if m.To[0].Path != r.want || !strings.HasSuffix(string(m.Body), text) {
				t.Errorf("to %v, wanted %s:\n%s", m.To, r.want, m.Body)
			}
		})
	}
}

// TestCopiedOriginIsTakenOut: somebody has seen the field that proves a sender, and puts it on a letter that he forges in
// that sender's name. It is ours, and in time; but only this door may write it.
func TestCopiedOriginIsTakenOut(t *testing.T) {
	e := newExperiment(t, rig.BouncerOptions{Kind: "postfix"}, held)
	wrote := e.write(0)
	if err := wrote.deliver(e.gate.addr, true); err != nil {
		t.Fatal(err)
	}
	origin := regexp.MustCompile(`(?m)^Backstop-Origin:.*\r\n(?:[ \t].*\r\n)*`).FindString(string(one(t, e.world).Body))
	if !strings.Contains(origin, "spf=pass") {
		t.Fatalf("the bounce returns no proof, but %q", origin)
	}
	e.world.Forget()
	for i, field := range []string{origin, strings.Replace(origin, "Backstop-Origin:", "backstop-ORIGIN \t:", 1)} {
		l := letter{nr: fmt.Sprintf("copied-%d", i), from: wrote.from, client: "203.0.113.5"}
		l.body = field + l.text("From: <"+l.from+">\r\n")
		if err := l.deliver(e.gate.addr, true); err != nil {
			t.Fatal(err)
		}
		if m := one(t, e.world); number(m) != l.nr || m.To[0].Path != held {
			t.Errorf("to %v: %s", m.To, m.Body)
		}
		e.world.Forget()
	}
}
