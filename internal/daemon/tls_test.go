package daemon_test

import (
	"crypto/tls"
	"path/filepath"
	"strings"
	"testing"

	"backstop/internal/mailtest"
)

// TestStartTLS: what is said before STARTTLS is forgotten, and what somebody put
// behind it in plain text is never run (CVE-2011-0411).
func TestStartTLS(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{Users: []string{"alice"}})
	g := start(t, relayTo("smtp://"+m.Addr(), ownTLS(t), ""))
	k := mailtest.Dial(t, g.addr)
	k.Expect(t, "220", "banner")
	say(t, k, "EHLO client.example", "/STARTTLS/", "MAIL FROM:<before@sender.example>", "250")
	injected := "EHLO evil.example\r\nMAIL FROM:<evil@sender.example>\r\nRCPT TO:<alice@example.com>\r\n"
	if err := k.Send("STARTTLS\r\n" + injected); err != nil {
		t.Fatal(err)
	}
	k.Expect(t, "220", "STARTTLS")
	secret := tls.Client(k.Conn, &tls.Config{InsecureSkipVerify: true})
	if err := secret.Handshake(); err != nil {
		t.Fatal(err)
	}
	k = mailtest.NewTalk(secret)
	say(t, k, "MAIL FROM:<ann@sender.example>", "503", "RCPT TO:<alice@example.com>", "503")
	if r := k.Ask(t, "EHLO client.example"); r.Code != 250 || strings.Contains(r.String(), "STARTTLS") {
		t.Errorf("EHLO under TLS: %q", r)
	}
	say(t, k, "STARTTLS", "503")
	send(t, k, "ann@sender.example", "alice@example.com", hello("secret"), "250")
	x := one(t, m)
	if x.From != "ann@sender.example" || !strings.Contains(string(x.Body), "with ESMTPS id ") {
		t.Errorf("held: %v", x)
	}
}

// TestNoCertificate: without one STARTTLS is neither offered nor understood.
func TestNoCertificate(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{})
	k := mailtest.Dial(t, start(t, relayTo("smtp://"+m.Addr(), "", "")).addr)
	k.Expect(t, "220", "banner")
	if r := k.Ask(t, "EHLO client.example"); strings.Contains(r.String(), "STARTTLS") {
		t.Errorf("offered: %q", r)
	}
	say(t, k, "STARTTLS", "502")
}

// TestTLSToDownstream: by default TLS is used where offered, whoever signed the
// certificate; required, it must be there and be signed by somebody known; off is off.
func TestTLSToDownstream(t *testing.T) {
	known, stranger := mailtest.NewAuthority(t), mailtest.NewAuthority(t)
	ca, _ := mailtest.WritePEM(t, t.TempDir(), "ca", known.Issue(t, "ca.example")) // its chain ends in the authority
	for _, c := range []struct {
		name, query string
		authority   *mailtest.Authority
		host        string // in the certificate
		taken, tls  bool
	}{
		{"opportunistic, known", "", known, "127.0.0.1", true, true},
		{"opportunistic, unknown", "?tls=opportunistic", stranger, "other.example", true, true},
		{"opportunistic, none", "", nil, "", true, false},
		{"off", "?tls=off", known, "127.0.0.1", true, false},
		{"required, known", "?tls=require", known, "127.0.0.1", true, true},
		{"required, unknown", "?tls=require", stranger, "127.0.0.1", false, false},
		{"required, another's certificate", "?tls=require", known, "other.example", false, false},
		{"required, none", "?tls=require", nil, "", false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			script := mailtest.Script{}
			if c.authority != nil {
				script.TLS = &tls.Config{Certificates: []tls.Certificate{c.authority.Issue(t, c.host)}}
			}
			m := mailtest.NewMock(t, script)
			g := start(t, "[relay]\nca_file = \""+filepath.ToSlash(ca)+"\"\n"+relayTo("smtp://"+m.Addr()+c.query, "", ""))
			k := open(t, g.addr)
			if !c.taken {
				rcpt(t, k, "alice@example.com", "451 4.")
				if n := m.Asked("MAIL"); n > 0 {
					t.Errorf("the downstream was told of %d senders in plain text", n)
				}
				return
			}
			send(t, k, "ann@sender.example", "alice@example.com", hello(c.name), "250")
			if x := one(t, m); x.TLS != c.tls {
				t.Errorf("TLS: %v, wanted %v", x.TLS, c.tls)
			}
		})
	}
}

// TestTLSBreaksAtDownstream: a handshake that fails is no reason to keep mail
// back where TLS is not required.
func TestTLSBreaksAtDownstream(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{TLS: &tls.Config{}}) // no certificate at all
	g := start(t, relayTo("smtp://"+m.Addr(), "", ""))
	send(t, open(t, g.addr), "ann@sender.example", "alice@example.com", hello("plain"), "250")
	if x := one(t, m); x.TLS {
		t.Error("TLS without a certificate?")
	}
	g.logged(t, "TLS with the downstream failed")
}
