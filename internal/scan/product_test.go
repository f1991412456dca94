package scan

import (
	"strings"
	"testing"

	"backstop/internal/mail"
	"backstop/internal/smtp"
)

// TestProducts: banners as they are seen, and what is said where the banner tells nothing.
func TestProducts(t *testing.T) {
	for _, c := range []struct{ want, banner, ehlo, said string }{
		{want: "Postfix", banner: "220 mx.example.com ESMTP Postfix (Debian/GNU)"},
		{want: "Postfix", banner: "220 mx.example.com ESMTP", said: "550 5.1.1 <x@example.com>: Recipient address rejected: User unknown in virtual mailbox table"},
		{want: "Exim", banner: "220 mx.example.com ESMTP Exim 4.96 Mon, 02 Jan 2023 10:00:00 +0000"},
		{want: "Exim", banner: "220 mx.example.com ready", ehlo: "250-mx.example.com Hello\n250-SIZE 1\n250-PIPECONNECT\n250 HELP"},
		{want: "Sendmail", banner: "220 mx.example.com ESMTP Sendmail 8.17.1/8.17.1; Mon, 2 Jan 2023 10:00:00 GMT"},
		{want: "Sendmail", banner: "220 mx.example.com ESMTP", said: "250 2.1.5 <x@example.com>... Recipient ok"},
		{want: "OpenSMTPD", banner: "220 mx.example.com ESMTP OpenSMTPD"},
		{want: "OpenSMTPD", banner: "220 mx.example.com ESMTP", said: "550 Invalid recipient: <x@example.com>"},
		{want: "Microsoft Exchange", banner: "220 EX01.corp.example.com Microsoft ESMTP MAIL Service ready at Mon, 2 Jan 2023 10:00:00 +0000"},
		{want: "Microsoft Exchange", banner: "220 mail.example.com ESMTP", ehlo: "250-mail.example.com Hello\n250-SIZE\n250-X-ANONYMOUSTLS\n250 XRDST"},
		{want: "Microsoft's SMTP service of IIS, or Exchange 2003", banner: "220 mail.example.com Microsoft ESMTP MAIL Service, Version: 6.0.3790.4675 ready at  Mon, 2 Jan 2006 10:00:00 +0000", ehlo: "250-mail.example.com Hello\n250-X-EXPS GSSAPI NTLM\n250 OK"},
		{want: "Microsoft 365", banner: "220 AM6EUR05FT033.mail.protection.outlook.com Microsoft ESMTP MAIL Service ready at Mon, 2 Jan 2023 10:00:00 +0000"},
		{want: "Google", banner: "220 mx.google.com ESMTP a640c23a62f3a-ada.412 - gsmtp"},
		{want: "HCL Domino", banner: "220 mail.example.com ESMTP Service (HCL Domino Release 12.0.2) ready at Mon, 2 Jan 2023 10:00:00 +0000"},
		{want: "HCL Domino", banner: "220 mail.example.com ESMTP Service (Lotus Domino Release 8.5.3) ready"},
		{want: "MDaemon", banner: "220 mail.example.com ESMTP MDaemon 21.0.2; Mon, 02 Jan 2023 10:00:00 +0000"},
		{want: "hMailServer", banner: "220 mail.example.com ESMTP", said: "550 Unknown user"},
		{want: "qmail", banner: "220 mail.example.com ESMTP", said: "250 ok\n250 flushed"},
		{want: "Courier", banner: "220 mail.example.com ESMTP", ehlo: "250-mail.example.com Ok.\n250-XVERP=Courier\n250 DSN"},
		{want: "Haraka", banner: "220 mx.example.com ESMTP Haraka/3.0.3 ready (ABC)"},
		{want: "Kerio Connect", banner: "220 mail.example.com Kerio Connect 9.4.2 ESMTP ready"},
		{want: "Backstop", banner: "220 mx.example.com ESMTP Backstop"},
		{want: "a filtering service or appliance", banner: "220 mx07-00.pphosted.com ESMTP mfa-m01"},
		{want: "", banner: "220 postfix.example.com ESMTP", said: "250 ok"},
		{want: "", banner: "220 exim.domino.sendmail.example ESMTP"},
		{want: "", banner: ""},
	} {
		f := facts{banner: c.banner, ehlo: strings.Split(c.ehlo, "\n"), said: c.said}
		if got := f.product().name; got != c.want {
			t.Errorf("%s %s %s: %q, wanted %q", c.banner, c.ehlo, c.said, got, c.want)
		}
	}
}

// TestAdvice: for every product and every class there is a sentence that says what was found and, where something is
// wrong, one that says what to do; and no name of ours is in them.
func TestAdvice(t *testing.T) {
	to, err := mail.ParseAddress("x@example.com")
	if err != nil {
		t.Fatal(err)
	}
	relay := asked{to: to, shape: ShapeForeign, rcpt: smtp.Response{Code: 250, Lines: []string{"Ok"}}}
	for i := range known {
		k := &known[i]
		if len(k.banner) == 0 {
			continue
		}
		for _, class := range []Class{RefusesAtRcpt, RefusesAfterData, AcceptsThenBounces, CatchAll, AcceptsUnknown, Greylists, RefusesProbe, Unreachable, OpenRelay} {
			f := facts{domain: "example.com", host: "mx.example.com:25", banner: "220 mx.example.com " + k.banner[0], found: true, relay: &relay}
			f.sent.bounce = &Notice{Client: "192.0.2.1"}
			if f.product() != k.product {
				t.Fatalf("%s is taken for %s", k.name, f.product().name)
			}
			advice := f.advice(class, "")
			wrong := class == OpenRelay || class == AcceptsUnknown || class == CatchAll || class == AcceptsThenBounces || class == RefusesAfterData
			if wrong && len(advice) < 2 || advice[0] == "" {
				t.Errorf("%s, %s: %q", k.name, class, advice)
			}
			if k.id == idExchange && class == RefusesAfterData && !strings.Contains(strings.Join(advice, " "), "port 2525") {
				t.Errorf("the hub of Exchange is not named: %q", advice)
			}
			if wrong && cures[k.id] != "" && class != OpenRelay && advice[1] != cures[k.id] {
				t.Errorf("%s, %s: %q", k.name, class, advice[1])
			}
		}
	}
	for id := range guides {
		if cures[id] == "" {
			t.Errorf("%s can be set up, and has no advice", id)
		}
	}
}
