package bounce_test

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"backstop/internal/bounce"
	"backstop/internal/mailtest"
	"backstop/internal/mailtest/rig"
)

var keep = flag.Bool("keep", false, "write what the servers write into testdata/bouncers")

// notices are the letters that four real servers were given, for somebody who does not exist behind them or cannot be
// reached now, and what they write about each.
var notices = []struct {
	name, to, body string
	action         bounce.Action
	status         map[string]string // by server
}{
	{"short", "nobody@example.net", "Hello\r\n.\r\nBackstop-Seal: of the body\r\n", bounce.Failed,
		map[string]string{"postfix": "5.1.1", "exim": "5.0.0", "sendmail": "5.1.1", "opensmtpd": "5.0.0"}},
	{"long", "ghost@example.net", strings.Repeat(strings.Repeat("x", 70)+"\r\n", 3000), bounce.Failed,
		map[string]string{"postfix": "5.1.1", "exim": "5.0.0", "sendmail": "5.1.1", "opensmtpd": "5.0.0"}},
	{"late", "later@example.net", "Hello\r\n", bounce.Delayed,
		map[string]string{"postfix": "4.2.0", "exim": "4.0.0", "sendmail": "4.2.0", "opensmtpd": "4.0.0"}},
}

// TestBouncers reads what Postfix, Exim, Sendmail and OpenSMTPD write by themselves of mail that they had taken.
func TestBouncers(t *testing.T) {
	for _, kind := range rig.Bouncers() {
		t.Run(kind, func(t *testing.T) {
			out := mailtest.NewMock(t, mailtest.Script{})
			b := rig.StartBouncer(t, rig.BouncerOptions{Kind: kind, Domain: "example.net", Users: []string{"alice", "later"}, Relay: out.Addr(), Warn: true})
			b.Store.On(mailtest.Rule{On: "RCPT", Match: regexp.MustCompile("later@"), Reply: "451 4.2.0 Later"})
			for _, n := range notices {
				letter(t, b.Addr, n.to, n.body)
			}
			out.Wait(t, "a notice for each", func(m *mailtest.Mock) bool { return len(m.Messages()) == len(notices) })
			for i, n := range notices {
				var raw []byte
				for _, m := range out.Messages() {
					if strings.Contains(string(m.Body), n.to) && m.From == "" && m.To[0].Path == "ann@client.test" {
						raw = m.Body
					}
				}
				judgeNotice(t, kind, i, raw)
				if *keep && n.name != "long" {
					mailtest.WriteFile(t, filepath.Join("testdata", "bouncers"), kind+"-"+n.name+".eml", string(raw))
				}
			}
		})
	}
}

// TestKeptBounces reads the same where these servers are absent.
func TestKeptBounces(t *testing.T) {
	for _, kind := range rig.Bouncers() {
		for i, n := range notices {
			if n.name == "long" { // those differ in their length only
				continue
			}
			raw, err := os.ReadFile(filepath.Join("testdata", "bouncers", kind+"-"+n.name+".eml"))
			if err != nil {
				t.Fatal(err)
			}
			judgeNotice(t, kind, i, raw)
		}
	}
}

func letter(t *testing.T, addr, to, body string) {
	t.Helper()
	k := mailtest.Dial(t, addr)
	defer k.Close()
	k.Expect(t, "220", "banner")
	for _, say := range []string{"EHLO x.test", "MAIL FROM:<ann@client.test>", "RCPT TO:<" + to + ">", "DATA"} {
		k.Ask(t, say)
	}
	head := seal + "Message-ID: <real-1@client.test>\r\nFrom: Ann <ann@client.test>\r\nTo: " + to + "\r\nSubject: A letter\r\n\r\n"
	k.Send(strings.ReplaceAll(head+body, "\r\n.", "\r\n..") + ".\r\n")
	k.Expect(t, "250", to)
}

func judgeNotice(t *testing.T, kind string, i int, raw []byte) {
	t.Helper()
	n := notices[i]
	clue := bounce.ClueReport
	if kind == "opensmtpd" {
		clue = bounce.ClueStatusPart
	}
	for _, null := range []bool{true, false} { // a relay may have lost the envelope
		r := bounce.Recognise(raw, null)
		if r.Kind != bounce.Bounce || r.Action != n.action || r.Clue != clue {
			t.Errorf("%s, %s, null sender %v: %v, %v by %v\n%.3000s", kind, n.name, null, r.Kind, r.Action, r.Clue, raw)
		}
		if r.Returned.Get("Backstop-Seal") != "v=1; k=1; t=1795338000;\ts=c2VhbCBvZiBhIGxldHRlcg" || r.Returned.Get("Message-ID") != "<real-1@client.test>" {
			t.Errorf("%s, %s: returned:\n%s", kind, n.name, r.Returned.Raw())
		}
		if len(r.Recipients) != 1 || r.Recipients[0].Address() != n.to || r.Recipients[0].Status != n.status[kind] {
			t.Errorf("%s, %s: recipients %+v", kind, n.name, r.Recipients)
		}
	}
}
