package daemon_test

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"

	"backstop/internal/mailtest"
	"backstop/internal/mailtest/rig"
)

// TestEarlyTalkerNoted: without banner_delay nobody is refused for it.
func TestEarlyTalkerNoted(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{Users: rig.Users()})
	g := start(t, relayTo("smtp://"+m.Addr(), "", ""))
	k := mailtest.Dial(t, g.addr)
	if err := k.Send("EHLO client.example\r\n"); err != nil {
		t.Fatal(err)
	}
	k.Expect(t, "220", "the banner")
	k.Expect(t, "250", "EHLO")
}

// TestEarlyTalker: who talks before the banner is refused, and nothing he said is run.
func TestEarlyTalker(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{})
	g := start(t, relayTo("smtp://"+m.Addr(), `banner_delay = "250ms"`, ""))
	k := mailtest.Dial(t, g.addr)
	if err := k.Send("EHLO spam.example\r\nMAIL FROM:<a@sender.example>\r\nRCPT TO:<alice@example.com>\r\n"); err != nil {
		t.Fatal(err)
	}
	k.Expect(t, "554 5.5.0", "instead of the banner")
	gone(t, k)
	g.logged(t, `"rule":"early-talker"`, `"stage":"connect"`)
	if n := m.Asked("RCPT"); n > 0 {
		t.Errorf("the downstream was asked %d times", n)
	}
	open(t, g.addr) // who waits is served
}

// gone wants the server to have hung up.
func gone(t testing.TB, k *mailtest.Talk) {
	t.Helper()
	if r, err := k.Reply(); err == nil {
		t.Fatalf("the connection should be closed; it said %q", r)
	}
}

// TestPerClient: one address has so many connections, others are not touched, and
// one that is closed makes room.
func TestPerClient(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{})
	text := relayTo("smtp://"+m.Addr(), "per_client = 2", "")
	g := start(t, text)
	first := openFrom(t, g.addr, "127.0.0.7")
	openFrom(t, g.addr, "127.0.0.7")
	if err := g.Reload(parse(t, text)); err != nil { // forgets nobody
		t.Fatal(err)
	}
	k := dialFrom(t, g.addr, "127.0.0.7")
	k.Expect(t, "421 4.7.0", "the third")
	gone(t, k)
	g.logged(t, `"rule":"too-many-connections"`, `"client":"127.0.0.7"`)
	openFrom(t, g.addr, "127.0.0.8")
	say(t, first, "QUIT", "221")
	eventually(t, "room for another", func() bool {
		r, err := dialFrom(t, g.addr, "127.0.0.7").Reply()
		return err == nil && r.Code == 220
	})
}

// TestMaxConnections: who is one too many is told so and closed.
func TestMaxConnections(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{})
	g := start(t, relayTo("smtp://"+m.Addr(), "max_connections = 3", ""))
	var last *mailtest.Talk
	for i := range 3 {
		last = openFrom(t, g.addr, fmt.Sprintf("127.0.0.%d", 20+i))
	}
	k := dialFrom(t, g.addr, "127.0.0.30")
	k.Expect(t, "421 4.3.2", "the fourth")
	gone(t, k)
	last.Close()
	eventually(t, "room for another", func() bool {
		r, err := dialFrom(t, g.addr, "127.0.0.30").Reply()
		return err == nil && r.Code == 220
	})
}

// TestBlocked: a network of the operator's choice is refused before anything else.
func TestBlocked(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{})
	g := start(t, relayTo("smtp://"+m.Addr(), `blocked = ["127.0.0.64/28", "192.0.2.0/24"]`+"\n"+`xclient = ["127.0.0.1/32"]`, ""))
	k := dialFrom(t, g.addr, "127.0.0.66")
	k.Expect(t, "554 5.7.1", "instead of the banner")
	gone(t, k)
	g.logged(t, `"msg":"refuse"`, `"rule":"client-blocked"`, `"client":"127.0.0.66"`)
	openFrom(t, g.addr, "127.0.0.80")
	k = open(t, g.addr)
	say(t, k, "XCLIENT ADDR=192.0.2.200", "554 5.7.1") // also when somebody we trust brings it
	gone(t, k)
}

// TestBareNewlines: from old equipment they are made CRLF, and only CRLF.CRLF ends
// the message; from all others they are refused and the connection is closed.
func TestBareNewlines(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{})
	g := start(t, relayTo("smtp://"+m.Addr(), `allow_bare_newline = ["127.0.0.70/32"]`, ""))
	odd := "Subject: old\n\nline\n.\nMAIL FROM:<smuggled@sender.example>\r\n\rreturn\r\n.\r\n"
	k := openFrom(t, g.addr, "127.0.0.70")
	say(t, k, "MAIL FROM:<ann@sender.example>", "250", "RCPT TO:<alice@example.com>", "250", "DATA", "354")
	if err := k.Send(odd); err != nil {
		t.Fatal(err)
	}
	k.Expect(t, "250", "the message")
	say(t, k, "NOOP", "250") // and nothing is left over
	if x := one(t, m); !strings.Contains(string(x.Body), "line\r\n") || !strings.Contains(string(x.Body), "smuggled") {
		t.Errorf("held: %q", x.Body)
	}
	k = openFrom(t, g.addr, "127.0.0.71")
	say(t, k, "MAIL FROM:<ann@sender.example>", "250", "RCPT TO:<alice@example.com>", "250", "DATA", "354")
	if err := k.Send(odd); err != nil {
		t.Fatal(err)
	}
	k.Expect(t, "550 5.6.0", "the same from a stranger")
	gone(t, k)
	g.logged(t, `"rule":"message-lines"`, `"client":"127.0.0.71"`)
	one(t, m)
	if f := m.Faults(); f != nil {
		t.Errorf("the downstream was sent what SMTP forbids: %q", f)
	}
}

// TestWatchMode: our own rules refuse nothing and say what they would have done;
// the downstream's refusal is passed on, and a relay for anybody we are not.
func TestWatchMode(t *testing.T) {
	file := mailtest.WriteFile(t, t.TempDir(), "list", "alice\n")
	watched := `recipients = ["list:` + file + `"]` + "\n"
	for _, c := range []struct{ name, top, domain string }{
		{"daemon", "mode = \"watch\"\n", watched},
		{"domain", "", watched + "mode = \"watch\"\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := mailtest.NewMock(t, mailtest.Script{Users: []string{"alice", "bob"}})
			g := start(t, c.top+relayTo("smtp://"+m.Addr(), "", c.domain)+
				"[[domain]]\nname = \"strict.example\"\nmode = \"enforce\"\nrelay = \"smtp://"+m.Addr()+"\"\n"+watched)
			k := open(t, g.addr)
			say(t, k, "MAIL FROM:<ann@sender.example>", "250",
				"RCPT TO:<bob@example.com>", "250", // not in the list
				"RCPT TO:<ghost@example.com>", "550 5.1.1", // nor at the downstream
				"RCPT TO:<alice@elsewhere.example>", "554 5.7.1 <alice@elsewhere.example>: Relay access denied",
				"DATA", "354", hello("watched")+".", "250")
			one(t, m)
			g.logged(t, `"msg":"accept"`, `"to":"bob@example.com"`, `"watched":"recipient-missing"`, `"mode":"watch"`)
			g.logged(t, `"msg":"refuse"`, `"to":"ghost@example.com"`, `"rule":"downstream-recipient"`, `"watched":"recipient-missing"`)
			rcpt(t, k, "bob@strict.example", missing)
		})
	}
}

// TestReplyText: the downstream's own words are shown only where the operator wants it.
func TestReplyText(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{Rules: []mailtest.Rule{
		{On: "RCPT", Reply: "550 5.7.1 go away says filter7.internal"},
	}})
	for _, c := range []struct{ text, want, not string }{
		{"own", "Recipient address rejected", "filter7"},
		{"downstream", "go away says filter7.internal", "mail server of this domain"},
	} {
		g := start(t, "reply_text = \""+c.text+"\"\n"+relayTo("smtp://"+m.Addr(), "", ""))
		k := open(t, g.addr)
		say(t, k, "MAIL FROM:<ann@sender.example>", "250")
		r := k.Ask(t, "RCPT TO:<alice@example.com>")
		if r.Code != 550 || !strings.HasPrefix(r.Text(), "5.7.1 ") || !strings.Contains(r.Text(), c.want) || strings.Contains(r.Text(), c.not) {
			t.Errorf("%s: %q", c.text, r)
		}
		g.logged(t, "go away says filter7.internal")
	}
}

// TestLogLine holds one line of the log to what is promised of it.
func TestLogLine(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{Users: rig.Users()})
	g := start(t, relayTo("smtp://"+m.Addr(), "", ""))
	send(t, open(t, g.addr), "ann@sender.example", "alice@example.com", hello("confidential"), "250")
	g.logged(t, `"stage":"data"`)
	lines := json.NewDecoder(strings.NewReader(g.log.String()))
	for {
		var line map[string]any
		if err := lines.Decode(&line); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if line["msg"] != "accept" {
			continue
		}
		for _, key := range []string{"time", "level", "id", "door", "stage", "client", "helo", "from", "to", "rule", "reply", "ms", "downstream"} {
			if _, ok := line[key]; !ok {
				t.Errorf("no %s in %v", key, line)
			}
		}
	}
	if strings.Contains(g.log.String(), "confidential") {
		t.Error("the log has something of the message")
	}
}
