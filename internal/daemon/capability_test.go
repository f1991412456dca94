package daemon_test

import (
	"fmt"
	"strings"
	"testing"

	"backstop/internal/mailtest"
)

// TestDownstreamLacks: mail that the downstream could not take whole is refused
// by its own reason, and never handed on changed.
func TestDownstreamLacks(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{Extensions: []string{"PIPELINING", "ENHANCEDSTATUSCODES", "SIZE 1000"}})
	g := start(t, relayTo("smtp://"+m.Addr(), "", ""))
	for _, c := range []struct{ name, mail, rcpt, want string }{
		{"8BITMIME", "MAIL FROM:<ann@sender.example> BODY=8BITMIME", "RCPT TO:<alice@example.com>", "554 5.6.3"},
		{"SMTPUTF8 by the recipient", "MAIL FROM:<ann@sender.example> SMTPUTF8", "RCPT TO:<m\u00fcller@example.com>", "553 5.6.7"},
		{"SMTPUTF8 by the sender", "MAIL FROM:<\u00e4nn@sender.example> SMTPUTF8", "RCPT TO:<alice@example.com>", "553 5.6.7"},
		{"SMTPUTF8 by the message", "MAIL FROM:<ann@sender.example> SMTPUTF8", "RCPT TO:<alice@example.com>", "553 5.6.7"},
		{"SIZE", "MAIL FROM:<ann@sender.example> SIZE=1001", "RCPT TO:<alice@example.com>", "552 5.3.4"},
		{"all in order", "MAIL FROM:<ann@sender.example> SIZE=1000 BODY=7BIT", "RCPT TO:<alice@example.com>", "250"},
	} {
		t.Run(c.name, func(t *testing.T) {
			say(t, open(t, g.addr), c.mail, "250", c.rcpt, c.want)
		})
	}
	for _, c := range []struct{ name, mail, want string }{
		{"BINARYMIME", "MAIL FROM:<ann@sender.example> BODY=BINARYMIME", "555 5.6.1"},
		{"unknown parameter", "MAIL FROM:<ann@sender.example> FRUIT=PEAR", "555 5.5.4"},
		{"REQUIRETLS", "MAIL FROM:<ann@sender.example> REQUIRETLS", "555 5.7.30"},
	} {
		t.Run(c.name, func(t *testing.T) { say(t, open(t, g.addr), c.mail, c.want) })
	}
	if n := len(m.Messages()); n > 0 {
		t.Errorf("%d messages at the downstream", n)
	}
}

// TestBinary: BINARYMIME is offered once the downstream has said that it takes
// it, goes through octet for octet, and is refused where it changed its mind.
func TestBinary(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{})
	g := start(t, relayTo("smtp://"+m.Addr(), "", ""))
	if r := open(t, g.addr).Ask(t, "EHLO client.example"); strings.Contains(r.String(), "BINARYMIME") {
		t.Errorf("offered before anybody was asked: %q", r)
	}
	rcpt(t, open(t, g.addr), "alice@example.com", "250")
	k := open(t, g.addr)
	say(t, k, "EHLO client.example", "/BINARYMIME/")
	body := "Subject: b\r\n\r\nbare\nline\rends\x00 and no end"
	say(t, k, "MAIL FROM:<ann@sender.example> BODY=BINARYMIME", "250", "RCPT TO:<alice@example.com>", "250", "DATA", "503")
	if err := k.Send(fmt.Sprintf("BDAT %d LAST\r\n%s", len(body), body)); err != nil {
		t.Fatal(err)
	}
	k.Expect(t, "250", "BDAT")
	x := one(t, m)
	if !strings.HasSuffix(string(x.Body), body) || !strings.Contains(x.FromParams, "BODY=BINARYMIME") {
		t.Errorf("held with %q: %q", x.FromParams, x.Body)
	}
	m.Change(func(s *mailtest.Script) { s.Extensions = []string{"PIPELINING", "8BITMIME"} })
	m.Hangup()
	say(t, k, "MAIL FROM:<ann@sender.example> BODY=BINARYMIME", "250", "RCPT TO:<alice@example.com>", "554 5.6.1")
}

// TestDSNParameters are passed on as they came where they are understood, and dropped elsewhere.
func TestDSNParameters(t *testing.T) {
	for _, offered := range []bool{true, false} {
		extensions := []string{"PIPELINING", "8BITMIME"}
		if offered {
			extensions = append(extensions, "DSN")
		}
		m := mailtest.NewMock(t, mailtest.Script{Extensions: extensions})
		k := open(t, start(t, relayTo("smtp://"+m.Addr(), "", "")).addr)
		say(t, k, "MAIL FROM:<ann@sender.example> RET=HDRS ENVID=QQ+2B314159", "250",
			"RCPT TO:<alice@example.com> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;Alice+2Bx@Example.com", "250",
			"RCPT TO:<bob@example.com> NOTIFY=NEVER", "250",
			"DATA", "354", hello("dsn")+".", "250")
		x := one(t, m)
		mail, rcpt, never := "RET=HDRS ENVID=QQ+2B314159", "NOTIFY=SUCCESS,DELAY ORCPT=rfc822;Alice+2Bx@Example.com", "NOTIFY=NEVER"
		if !offered {
			mail, rcpt, never = "", "", ""
		}
		if !strings.Contains(x.FromParams, mail) || x.To[0].Params != rcpt || x.To[1].Params != never || !offered && strings.Contains(x.FromParams, "RET") {
			t.Errorf("offered %v: MAIL %q, RCPT %q and %q", offered, x.FromParams, x.To[0].Params, x.To[1].Params)
		}
	}
}
