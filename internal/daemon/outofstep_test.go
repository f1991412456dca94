package daemon_test

import (
	"strings"
	"testing"

	"backstop/internal/mailtest"
)

// open greets the gateway and begins a transaction.
func (g *gateway) open(t testing.TB) *mailtest.Talk {
	t.Helper()
	k := mailtest.Dial(t, g.addr)
	k.Expect(t, "220", "banner")
	k.Ask(t, "EHLO client.example")
	k.Ask(t, "MAIL FROM:<ann@client.example>")
	return k
}

// sendMail hands over a message and returns the final reply.
func sendMail(t testing.TB, k *mailtest.Talk) mailtest.Reply {
	t.Helper()
	if r := k.Ask(t, "DATA"); r.Code != 354 {
		return r
	}
	return k.Ask(t, "Subject: x\r\n\r\ntext\r\n.")
}

// TestOutOfStep has a downstream that says more than it was asked. Whatever is out of
// step by that, an answer that belongs to another command becomes neither the sender's 250 nor his 5xx.
func TestOutOfStep(t *testing.T) {
	plain := []string{"PIPELINING", "8BITMIME"}
	lockStep := []string{"8BITMIME", "CHUNKING"}
	for name, c := range map[string]struct {
		offers []string
		rules  []mailtest.Rule
	}{
		"MAIL answered twice, BDAT":           {nil, []mailtest.Rule{{On: "MAIL", Reply: "250 2.1.0 Ok\n250 2.1.0 Ok"}}},
		"MAIL answered twice, lock-step":      {lockStep, []mailtest.Rule{{On: "MAIL", Reply: "250 2.1.0 Ok\n250 2.1.0 Ok"}}},
		"RCPT answered twice, BDAT":           {nil, []mailtest.Rule{{On: "RCPT", Reply: "250 2.1.5 Ok\n250 2.1.5 Ok"}}},
		"RCPT answered twice, DATA":           {plain, []mailtest.Rule{{On: "RCPT", Reply: "250 2.1.5 Ok\n250 2.1.5 Ok"}}},
		"354 before DATA":                     {plain, []mailtest.Rule{{On: "RCPT", Reply: "250 2.1.5 Ok\n354 Go on"}}},
		"354 and 250 before DATA":             {plain, []mailtest.Rule{{On: "RCPT", Reply: "250 2.1.5 Ok\n354 Go on\n250 2.0.0 Taken"}}},
		"354 with the final answer behind it": {plain, []mailtest.Rule{{On: "DATA", Reply: "354 Go on\n250 2.0.0 Taken"}}},
		"354 with a refusal behind it":        {plain, []mailtest.Rule{{On: "DATA", Reply: "354 Go on\n554 5.7.1 No"}}},
	} {
		t.Run(name, func(t *testing.T) {
			m := mailtest.NewMock(t, mailtest.Script{Extensions: c.offers, Rules: append(c.rules, mailtest.Rule{On: "DOT", Reply: "452 4.3.1 Full"})})
			g := start(t, "[smtp]\n[[domain]]\nname = \"example.com\"\nspf = \"off\"\ndmarc = \"off\"\nrelay = \"smtp://"+m.Addr()+"\"\n")
			k := g.open(t)
			if r := k.Ask(t, "RCPT TO:<bob@example.com>"); r.Code/100 == 5 {
				t.Errorf("RCPT: %v", r)
			} else if r.Code/100 == 4 {
				return
			}
			if r := sendMail(t, k); r.Code/100 != 4 {
				t.Errorf("the message was deferred, the sender is told %v", r)
			}
		})
	}
}

// TestOutOfStepRecipients: one answer too many must not give each recipient the answer of the one before.
func TestOutOfStepRecipients(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{Users: []string{"ann", "bob"}})
	m.On(mailtest.Rule{On: "RCPT", Times: 1, Reply: "250 2.1.5 Ok\n250 2.1.5 Ok"})
	g := start(t, "[smtp]\n[[domain]]\nname = \"example.com\"\nspf = \"off\"\ndmarc = \"off\"\nrelay = \"smtp://"+m.Addr()+"\"\n")
	k := g.open(t)
	k.Ask(t, "RCPT TO:<ann@example.com>")
	if r := k.Ask(t, "RCPT TO:<nobody@example.com>"); r.Code/100 == 2 {
		t.Errorf("nobody: %v", r)
	}
	if r := k.Ask(t, "RCPT TO:<bob@example.com>"); r.Code/100 == 5 {
		t.Errorf("bob, who exists: %v", r)
	}
	// Nor is bob remembered as missing, or nobody as there.
	k.Ask(t, "RSET")
	k.Ask(t, "MAIL FROM:<ann@client.example>")
	if r := k.Ask(t, "RCPT TO:<bob@example.com>"); r.Code != 250 {
		t.Errorf("bob, afterwards: %v", r)
	}
	if r := k.Ask(t, "RCPT TO:<nobody@example.com>"); r.Code != 550 {
		t.Errorf("nobody, afterwards: %v", r)
	}
}

// TestWrongCodes has a downstream answer with codes that do not belong there.
func TestWrongCodes(t *testing.T) {
	for _, on := range []string{"CONNECT", "EHLO", "MAIL", "RCPT", "DATA", "DOT", "BDAT"} {
		for _, reply := range []string{
			"150 Wait", "354 Go on", "299 Odd", "399 Odd", "600 Odd", "000", "2", "25", "250", "abc", "", "250-Half\n251 Mixed",
			"250-Half\n550 5.1.1 Mixed", "500 5.5.2 What?", "503 5.5.1 Not now", "502 No", "530 5.7.0 Log in", "535 5.7.8 Who?", "421 4.3.2 Bye",
			"450 5.1.1 Disagrees", "550 4.2.0 Disagrees", "250\x00 Ok", "2\r50 Ok", strings.Repeat("250-x\n", 150) + "250 x", "250 " + strings.Repeat("x", 5000),
		} {
			if reply == "" {
				reply = "\n" // an empty line
			}
			for _, offers := range [][]string{{"PIPELINING", "CHUNKING"}, {"8BITMIME"}} {
				m := mailtest.NewMock(t, mailtest.Script{Extensions: offers, Rules: []mailtest.Rule{{On: on, Reply: reply}}})
				g := start(t, "[smtp]\n[[domain]]\nname = \"example.com\"\nrelay = \"smtp://"+m.Addr()+"\"\n[relay]\ntimeouts = { hello = \"1s\" }\n")
				k := g.open(t)
				what := on + " answered " + reply[:min(len(reply), 30)]
				r := k.Ask(t, "RCPT TO:<bob@example.com>")
				stage := "RCPT"
				if r.Code/100 == 2 {
					r, stage = sendMail(t, k), "message"
				}
				yes := false
				for _, x := range m.Messages() {
					yes = yes || x.Kept
				}
				if r.Code/100 == 2 && !yes {
					t.Errorf("%s: %s: 2xx without a message kept: %v", what, stage, r)
				}
				if meant := strings.HasPrefix(reply, "550 4") && (on == "RCPT" || on == "DATA" || on == "DOT"); r.Code/100 == 5 && !meant {
					t.Errorf("%s: %s: %v", what, stage, r)
				}
				k.Close()
				g.stopNow(t)
				m.Down()
			}
		}
	}
}

// stopNow ends a gateway before its test ends.
func (g *gateway) stopNow(t testing.TB) {
	t.Helper()
	if err := g.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}
