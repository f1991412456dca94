package daemon_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"backstop/internal/mailtest"
	"backstop/internal/mailtest/rig"
)

// TestBesideForgedFields: what only Backstop may write is taken out where others wrote it, in the right places among others
// of the same name, and what it writes stands on top; nothing else of the message changes.
func TestBesideForgedFields(t *testing.T) {
	const mine, theirs = "Authentication-Results: other.example; spf=fail\r\n", "From: ann@partner.example\r\nDate: Sun, 22 Nov 2026 09:00:00 +0000\r\nMessage-ID: <1@partner.example>\r\n" +
		"Authentication-Results: third.example;\r\n\tspf=pass\r\nSubject: x\r\n\r\nBackstop-Origin: in the body\r\n"
	forged := "Authentication-Results: mx.gateway.example; spf=pass\r\nAuthentication-Results : (x) \"mx.gateway.example\" 1;\r\n dmarc=pass\r\n" + mine +
		"Backstop-Origin: v=1; k=1; t=1; spf=pass; h=00\r\nBackstop-Bounce: proven by=seal\r\nauthentication-results: MX.Gateway.Example; dkim=pass\r\n" +
		"Backstop-Seal: v=1; k=3; t=17; h=0a\r\nBACKSTOP-BOUNCE: exempt\r\n" + theirs
	for _, w := range milterWays {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			p := newPassage(t, w, "")
			hand(t, p.mta.Addr, rig.Outside, "ann@partner.example", "alice@example.com", forged, "250")
			text := string(one(t, p.mta.Store).Body)
			top, rest, _ := strings.Cut(text, "Received: ")
			if _, rest = unwrapped("Received: " + rest); rest != mine+theirs {
				t.Errorf("what others wrote is now\n%s", rest)
			}
			if !regexp.MustCompile(`^Authentication-Results: mx\.gateway\.example;\r\n spf=pass \(.*\r\n(?:\s.*\r\n)*Backstop-Origin: v=1; k=1; t=\d{10};\s(?:.*\r\n\s)*.*h=[0-9a-f]{32}\r\nBackstop-Foreign-Seal: v=1; k=3; t=17; h=0a\r\n$`).MatchString(top) {
				t.Errorf("on top stands\n%s", top)
			}
		})
	}
}

// TestBesideOwnBounces: Postfix, which took mail that the store refuses, writes its bounce to who wrote, and to nobody else.
// Such a one goes to the mailbox of bounce_to, or nowhere, and nothing stays in the queue.
func TestBesideOwnBounces(t *testing.T) {
	for name, tt := range map[string]struct{ from, domain, world, store, log string }{
		"a stranger":           {"ann@plain.example", "", "", "", `"rule":"bounce-unproven"`},
		"a stranger, kept":     {"ann@plain.example", `bounce_to = "bob@example.com"`, "", "bob@example.com", `"msg":"redirect"`},
		"who wrote":            {"ann@partner.example", `bounce_to = "bob@example.com"`, "ann@partner.example", "", `"msg":"accept"`},
		"a stranger, watching": {"ann@plain.example", `mode = "watch"`, "ann@plain.example", "", `"watched":"bounce-unproven"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPassage(t, milterWays[0], tt.domain, "internal_mail_filter_classes = bounce")
			p.mta.Store.Change(func(s *mailtest.Script) { s.Users = []string{"bob"} }) // and not alice, whom the list has
			hand(t, p.mta.Addr, rig.Outside, tt.from, "alice@example.com", letterFrom(tt.from), "250")
			p.gate.logged(t, `"door":"milter"`, `"stage":"data"`, `"from":"<>"`, tt.log)
			p.mta.Settle(t)
			for _, at := range []struct {
				m  *mailtest.Mock
				to string
			}{{p.mta.World, tt.world}, {p.mta.Store, tt.store}} {
				var got []string
				for _, m := range at.m.Messages() {
					if m.Kept {
						got = append(got, "<"+m.From+"> to "+m.To[0].Path)
					}
				}
				var want []string
				if at.to != "" {
					want = []string{"<> to " + at.to}
				}
				if !slices.Equal(got, want) {
					t.Errorf("arrived: %q, wanted %q", got, want)
				}
			}
			if n := p.mta.Queued(); n > 0 {
				t.Errorf("%d messages are in the queue", n)
			}
		})
	}
}

// TestBesideTagsByMap: without the milter, Postfix and Exim tag what leaves and take tags off what comes back by the maps
// sign and untag. Header and body are not touched.
func TestBesideTagsByMap(t *testing.T) {
	for _, w := range []way{{postfixSocketmap, "socketmap", "postfix", "socketmap"}, {eximHTTP, "http", "exim", "panel"}} {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			p := newPassage(t, w, "batv = \"sign\"\nforged = \"refuse\"")
			text := written + "..\r\n"
			leaves := func(from, to string) string {
				t.Helper()
				p.mta.World.Forget()
				hand(t, p.mta.Addr, rig.Inside, from, to, text, "250")
				m := one(t, p.mta.World)
				if _, rest := unwrapped(string(m.Body)); rest != text || len(m.To) != 1 || m.To[0].Path != to {
					t.Errorf("left: %v\n%s", m, m.Body)
				}
				return m.From
			}
			tagged := leaves("alice@example.com", "nobody@far.example")
			if !regexp.MustCompile(`^prvs=\d{4}[0-9a-f]{6}=alice@example\.com$`).MatchString(tagged) {
				t.Errorf("left with <%s>", tagged)
			}
			for _, from := range []string{"", tagged, "carl@example.net"} {
				if got := leaves(from, "nobody@far.example"); got != from {
					t.Errorf("<%s> left as <%s>", from, got)
				}
			}
			for _, to := range []string{tagged, "alice@example.com", "prvs=1999000000=alice@example.com"} {
				p.mta.Store.Forget()
				hand(t, p.mta.Addr, rig.Outside, "", to, text, "250")
				m := one(t, p.mta.Store)
				if _, rest := unwrapped(string(m.Body)); rest != text || m.From != "" || len(m.To) != 1 || m.To[0].Path != "alice@example.com" {
					t.Errorf("stored: %v\n%s", m, m.Body)
				}
			}
			k := p.mta.Dial(t, rig.Outside)
			k.Expect(t, "220", "banner")
			say(t, k, "EHLO mailer.example", "250", "MAIL FROM:<>", "250",
				"RCPT TO:<"+strings.Replace(tagged, "alice", "nobody", 1)+">", "550", "RCPT TO:<prvs=1999000000=nobody@example.com>", "550")
		})
	}
}

// TestBesideLeaves: what leaves is tagged, sealed and signed whoever of us sends it: a client inside, one that logged in from outside, a
// program on the MTA's own machine. What comes from outside is not, whatever it claims.
func TestBesideLeaves(t *testing.T) {
	p := newPassage(t, milterWays[0], "batv = \"sign\"", "smtpd_relay_restrictions = permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination")
	ours := regexp.MustCompile(`^prvs=\d{4}[0-9a-f]{6}=alice@example\.com$`)
	for how, sends := range map[string]func(){
		"inside":  func() { hand(t, p.mta.Addr, rig.Inside, "alice@example.com", "nobody@far.example", written, "250") },
		"program": func() { p.mta.Submit(t, "alice@example.com", written, "nobody@far.example") },
		"logged in": func() {
			k := p.mta.Dial(t, rig.Outside)
			k.Expect(t, "220", "banner")
			say(t, k, "EHLO phone.example", "250")
			rig.LogIn(t, k, "alice")
			send(t, k, "alice@example.com", "nobody@far.example", written, "250")
		},
	} {
		p.mta.World.Forget()
		sends()
		m := one(t, p.mta.World)
		if fields, rest := unwrapped(string(m.Body)); !ours.MatchString(m.From) || strings.Join(fields, " ") != "DKIM-Signature Backstop-Seal" || rest != written || p.signatures(t, string(m.Body)) != 1 {
			t.Errorf("%s: from <%s>\n%s", how, m.From, m.Body)
		}
	}
	hand(t, p.mta.Addr, rig.Outside, "alice@example.com", "bob@example.com", written, "250")
	m := one(t, p.mta.Store)
	if fields, rest := unwrapped(string(m.Body)); m.From != "alice@example.com" || strings.Join(fields, " ") != "Authentication-Results Backstop-Origin" || rest != written {
		t.Errorf("from outside: from <%s>\n%s", m.From, m.Body)
	}
}

// TestBesideTagAmongOthers: who answers to the return path of a letter reaches its writer, beside others, and each of them once.
func TestBesideTagAmongOthers(t *testing.T) {
	for _, w := range milterWays {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			p := newPassage(t, w, "batv = \"sign\"")
			hand(t, p.mta.Addr, rig.Inside, "alice@example.com", "nobody@far.example", written, "250")
			tagged := one(t, p.mta.World).From
			k := p.mta.Dial(t, rig.Outside)
			k.Expect(t, "220", "banner")
			say(t, k, "EHLO mailer.example", "250", "MAIL FROM:<ann@partner.example>", "250", "RCPT TO:<bob@example.com>", "250", "RCPT TO:<"+tagged+">", "250",
				"RCPT TO:<nobody@example.com>", "550 5.1.1", "RCPT TO:<carol@example.com>", "250", "DATA", "354", letterFrom("ann@partner.example")+".", "250")
			p.mta.Settle(t)
			var to []string
			for _, m := range p.mta.Store.Messages() {
				for _, r := range m.To {
					to = append(to, r.Path)
				}
			}
			slices.Sort(to)
			if want := []string{"alice@example.com", "bob@example.com", "carol@example.com"}; !slices.Equal(to, want) {
				t.Errorf("stored for %q", to)
			}
		})
	}
}
