package daemon_test

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"backstop/internal/daemon"
	"backstop/internal/mailtest"
)

// keeper is a gateway that keeps what must not leave in the mailbox to.
func keeper(t *testing.T, to, recipients string, near, far *mailtest.Mock) string {
	return fmt.Sprintf("hostname = \"mx.gateway.example\"\nstate = \"\"\n[smtp]\nlisten = [\"127.0.0.1:0\"]\n[dns]\nresolvers = [\"127.255.255.254\"]\n[outbound]\nlisten = [\"127.0.0.1:0\"]\nclients = [\"127.0.0.0/8\"]\nrelay = \"smtp://%s\"\n[[domain]]\nname = \"example.com\"\nrelay = \"smtp://%s\"\nrecipients = [%q]\nbounce_to = %q\n",
		far.Addr(), near.Addr(), recipients, to)
}

// TestMailboxOfBounceTo: a mailbox that does not exist is told by check, check --ask, start and status; what goes there is lost
// otherwise, for it has no sender who could hear.
func TestMailboxOfBounceTo(t *testing.T) {
	near := mailtest.NewMock(t, mailtest.Script{Users: []string{"postmaster", "alice", "bounces"}})
	far := mailtest.NewMock(t, mailtest.Script{})
	list := "list:" + listOf(t, "alice", "bounces")
	for _, tt := range []struct {
		to, recipients string
		missing        bool
		known          bool // by a file, so without asking
	}{
		{"bounces@example.com", list, false, true},
		{"bounecs@example.com", list, true, true},
		{"bounces@example.com", "callahead", false, false},
		{"bounecs@example.com", "callahead", true, false},
		{"postmaster@example.com", list, false, true},
	} {
		t.Run(tt.to+" "+tt.recipients[:4], func(t *testing.T) {
			text := keeper(t, tt.to, tt.recipients, near, far)
			_, warned := daemon.CheckFiles(parse(t, text))
			if got := strings.Contains(fmt.Sprint(warned), tt.to+" does not exist"); got != (tt.missing && tt.known) {
				t.Errorf("check warns: %v", warned)
			}
			g := start(t, text)
			var state string
			for _, p := range g.Probe(t.Context()) {
				if p.Kind == "bounce_to" && p.Name == tt.to {
					state = p.State
				}
			}
			if want := map[bool]string{true: "down", false: "up"}[tt.missing]; state != want {
				t.Errorf("asked: %q, want %q", state, want)
			}
			if tt.missing {
				g.logged(t, `"level":"WARN"`, "the mailbox of bounce_to does not exist", tt.to)
			} else if stop(t, g); strings.Contains(g.log.String(), "the mailbox of bounce_to") {
				t.Error("the start warns of a mailbox that exists")
			}
			if got := strings.Contains(fmt.Sprint(g.Status().Wrong), tt.to+" does not exist"); got != tt.missing { // asked before, so remembered
				t.Errorf("wrong: %v", g.Status().Wrong)
			}
		})
	}
	if n := len(near.Messages()) + len(far.Messages()); n != 0 {
		t.Errorf("%d messages were sent", n)
	}
}

// TestRefusedMailboxOfBounceTo: a mailbox that the outbound relay refuses is told as long as that lasts.
func TestRefusedMailboxOfBounceTo(t *testing.T) {
	near := mailtest.NewMock(t, mailtest.Script{})
	far := mailtest.NewMock(t, mailtest.Script{})
	far.On(mailtest.Rule{On: "RCPT", Match: regexp.MustCompile("bounces@"), Reply: "550 5.1.1 Nobody here", Times: 2})
	g := start(t, keeper(t, "bounces@elsewhere.example", "anybody", near, far))
	var found bool
	for _, p := range g.Probe(t.Context()) {
		found = found || p.Kind == "bounce_to" && p.State == "down" && strings.Contains(p.Detail, "550 5.1.1 Nobody here")
	}
	if !found {
		t.Error("check --ask says nothing")
	}
	out := g.Addrs()["outbound"][0].String()
	notice := "From: MAILER-DAEMON@example.com\r\nSubject: Undelivered\r\n\r\nsorry\r\n"
	for _, want := range []string{"451 4.", "250"} {
		send(t, open(t, out), "", "stranger@far.example", notice, want)
		told := strings.Contains(strings.Join(g.Status().Wrong, "\n"), "bounces@elsewhere.example was not taken at")
		if told != (want != "250") {
			t.Errorf("answered %s, wrong: %v", want, g.Status().Wrong)
		}
	}
	if err := g.Reload(parse(t, keeper(t, "", "anybody", near, far))); err != nil {
		t.Error(err)
	}
	if err := g.Stop(context.Background()); err != nil {
		t.Error(err)
	}
}
