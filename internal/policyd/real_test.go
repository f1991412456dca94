package policyd_test

import (
	"strings"
	"testing"

	"backstop/internal/mailtest"
	"backstop/internal/mailtest/rig"
	"backstop/internal/policyd"
)

// TestPostfixShows has Postfix itself ask, and holds what a sender reads in the end.
func TestPostfixShows(t *testing.T) {
	w := newWorld(t)
	w.opens(policyd.Policy)
	service := "check_policy_service inet:" + w.addr
	p := rig.StartPostfix(t, rig.PostfixOptions{AcceptAll: true, XClient: true, Domains: []string{"example.org", "example.net", "other.example"}, Main: map[string]string{
		"smtpd_recipient_restrictions": service, "smtpd_data_restrictions": service, "smtpd_end_of_data_restrictions": service,
		"smtpd_error_sleep_time": "0",
	}})
	c := mailtest.Dial(t, p.Addr)
	defer c.Close()
	told := func(line, want string) {
		t.Helper()
		r := c.Ask(t, line)
		if got := untagged(r.String()); got != want {
			t.Errorf("%.80s: %s\nwant %s", line, got, want)
		}
	}
	c.Expect(t, "220", "banner")
	c.Ask(t, "EHLO client.example")
	told("MAIL FROM:<ann@far.example>", "250 2.1.0 Ok")
	told("RCPT TO:<nobody@example.org>", "550 5.1.1 <nobody@example.org>: Recipient address rejected: User unknown [ID]")
	told(`RCPT TO:<"no body"@example.org>`, "550 5.1.1 <no body@example.org>: Recipient address rejected: User unknown [ID]")
	told("RCPT TO:<later@example.org>", "451 4.1.1 <later@example.org>: Recipient address rejected: not verified, try again later [ID]")
	told("RCPT TO:<"+strings.Repeat("x", 70)+"@example.org>", "501 5.1.3 <"+strings.Repeat("x", 70)+"@example.org>: Recipient address rejected: not a mail address: the local part is longer than 64 octets (RFC 5321, 4.5.3.1.1)")
	told("RCPT TO:<bob@example.org>", "250 2.1.5 Ok")
	told("RSET", "250 2.0.0 Ok")
	told("MAIL FROM:<ann@far.example>", "250 2.1.0 Ok")
	told("RCPT TO:<nobody@other.example>", "250 2.1.5 Ok") // Postfix knows that domain, and we do not
	told("RSET", "250 2.0.0 Ok")
	told("MAIL FROM:<ceo@example.org>", "250 2.1.0 Ok")
	for range 2 { // each recipient
		told("RCPT TO:<bob@example.org>", "550 5.7.1 <bob@example.org>: Recipient address rejected: <ceo@example.org>: Sender address rejected: not permitted from your network [ID]")
	}
	told("RSET", "250 2.0.0 Ok")
	told("MAIL FROM:<>", "250 2.1.0 Ok")
	told("RCPT TO:<bob@example.org>", "250 2.1.5 Ok")
	told("RCPT TO:<carol@example.org>", "452 4.5.3 <carol@example.org>: Recipient address rejected: A message with the null sender has one recipient, send this one separately [ID]")
	told("RSET", "250 2.0.0 Ok")
	told("XCLIENT ADDR=203.0.113.7", "220 postfix.test ESMTP Postfix")
	c.Ask(t, "EHLO client.example")
	told("MAIL FROM:<ann@far.example>", "250 2.1.0 Ok")
	told("RCPT TO:<bob@example.org>", "554 5.7.1 <bob@example.org>: Recipient address rejected: Your address is refused by this server's operator [ID]")
	if q := p.Queued(); q > 0 {
		t.Errorf("%d messages are queued", q)
	}
}

// TestPostfixMaps: Postfix itself refuses whom the map does not have, and rewrites by the others.
func TestPostfixMaps(t *testing.T) {
	w := newWorld(t)
	w.opens(policyd.Socketmap)
	at := "socketmap:inet:" + w.addr + ":"
	p := rig.StartPostfix(t, rig.PostfixOptions{Domains: []string{"example.org"}, Main: map[string]string{
		"relay_recipient_maps": at + "recipients", "recipient_canonical_maps": at + "untag", "recipient_canonical_classes": "envelope_recipient",
		"sender_canonical_maps": at + "sign", "sender_canonical_classes": "envelope_sender",
	}})
	c := mailtest.Dial(t, p.Addr)
	defer c.Close()
	ask := func(line, want string) {
		t.Helper()
		if got := c.Ask(t, line).String(); got != want {
			t.Errorf("%s: %s, want %s", line, got, want)
		}
	}
	c.Expect(t, "220", "banner")
	c.Ask(t, "EHLO client.example")
	ask("MAIL FROM:<carol@example.org>", "250 2.1.0 Ok")
	ask("RCPT TO:<nobody@example.org>", "550 5.1.1 <nobody@example.org>: Recipient address rejected: User unknown in relay recipient table")
	ask("RCPT TO:<prvs=1999abcdef=nobody@example.org>", "550 5.1.1 <prvs=1999abcdef=nobody@example.org>: Recipient address rejected: User unknown in relay recipient table")
	if got := c.Ask(t, "RCPT TO:<later@example.org>"); got.Code != 451 || strings.Contains(got.String(), "unknown in") {
		t.Errorf("a recipient of whom nobody can tell: %v", got)
	}
	ask("RCPT TO:<prvs=1999abcdef=bob@example.org>", "250 2.1.5 Ok")
	ask("DATA", "354 End data with <CR><LF>.<CR><LF>")
	if got := c.Ask(t, "Subject: a letter\r\n\r\nHello.\r\n."); got.Code != 250 {
		t.Fatal(got)
	}
	p.Settle(t)
	kept := p.Store.Messages()
	if len(kept) != 1 || len(kept[0].To) != 1 || kept[0].To[0].Path != "bob@example.org" || !strings.HasPrefix(kept[0].From, "prvs=1") || !strings.HasSuffix(kept[0].From, "=carol@example.org") {
		t.Fatalf("delivered: %+v\n%s", kept, p.Log())
	}
}
