package daemon_test

import (
	"crypto/ed25519"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"backstop/internal/dkim"
	"backstop/internal/mailtest"
)

// senderZone is what the DNS says in these tests.
const senderZone = `
example.com          TXT "v=spf1 ip4:198.51.100.10 -all"
strict.example       TXT "v=spf1 ip4:198.51.100.20 -all"
soft.example         TXT "v=spf1 ~all"
helo.strict.example  TXT "v=spf1 -all"
reject.example       TXT "v=spf1 ip4:198.51.100.30 -all"
_dmarc.reject.example     TXT "v=DMARC1; p=reject"
_dmarc.quarantine.example TXT "v=DMARC1; p=quarantine"
`

// visit opens a conversation as the client with this address, which a trusted front tells.
func visit(t testing.TB, addr, client, helo string) *mailtest.Talk {
	t.Helper()
	k := dialFrom(t, addr, "127.0.0.1")
	k.Expect(t, "220", "banner")
	say(t, k, "EHLO front.example", "250", "XCLIENT ADDR="+client, "220", "EHLO "+helo, "250")
	return k
}

// asking is relayTo with a front that may tell the client's address, and a DNS server.
func asking(m *mailtest.Mock, dns *mailtest.DNS, domain string) string {
	return relayTo("smtp://"+m.Addr(), `xclient = ["127.0.0.1/32"]`, domain) + fmt.Sprintf("[dns]\nresolvers = [%q]\n", dns.Addr())
}

// TestForged: who claims a domain of ours from outside is refused at MAIL, unless it is known why he may.
func TestForged(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{Users: []string{"alice"}})
	dns := mailtest.StartDNS(t, senderZone)
	dns.Fail("broken.example", mailtest.DNSServFail)
	access := filepath.Join(t.TempDir(), "access")
	if err := os.WriteFile(access, []byte("From:fair.example.com\tOK\nConnect:192.0.2.77\tOK\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	forged := "forged = \"refuse\"\n"
	g := start(t, asking(m, dns, forged+`senders = ["192.0.2.0/30", "2001:db8::/64", "From:news.example.com", "From:ceo@example.com", "access:`+access+`"]`)+
		"[[domain]]\nname = \"broken.example\"\nrelay = \"smtp://"+m.Addr()+"\"\n"+forged+
		"[[domain]]\nname = \"watched.example\"\nmode = \"watch\"\nrelay = \"smtp://"+m.Addr()+"\"\n"+forged+
		"[[domain]]\nname = \"open.example\"\nrelay = \"smtp://"+m.Addr()+"\"\n")
	const no = "550 5.7.1 <"
	for _, tc := range []struct{ client, from, want string }{
		{"203.0.113.1", "bob@example.com", no},
		{"203.0.113.1", "Bob@EXAMPLE.com", no},
		{"203.0.113.1", "bob@deep.below.example.com", no},
		{"203.0.113.1", "bob@notexample.com", "250"},
		{"203.0.113.1", "bob@open.example", "250"},
		{"203.0.113.1", "", "250"},
		{"192.0.2.3", "bob@example.com", "250"}, // a network of senders
		{"192.0.2.4", "bob@example.com", no},    // beside it
		{"IPV6:2001:db8::9", "bob@example.com", "250"},
		{"IPV6:2001:db8:1::9", "bob@example.com", no},
		{"192.0.2.77", "bob@example.com", "250"},       // a line of the access file
		{"198.51.100.10", "bob@example.com", "250"},    // SPF passes
		{"198.51.100.10", "bob@sub.example.com", no},   // and says nothing of subdomains
		{"203.0.113.1", "bob@news.example.com", "250"}, // a subdomain that others send as
		{"203.0.113.1", "bob@a.news.example.com", "250"},
		{"203.0.113.1", "ceo@example.com", "250"},
		{"203.0.113.1", "bob@fair.example.com", "250"},
		{"203.0.113.1", "bob@watched.example", "250"},
		{"203.0.113.1", "bob@broken.example", "451 4.4.3 <"}, // what cannot be found out is never permanent
	} {
		k := visit(t, g.addr, tc.client, "client.example")
		say(t, k, "MAIL FROM:<"+tc.from+">", tc.want)
		k.Close()
	}
	g.logged(t, `"rule":"sender-forged"`, `"finding":"sender in example.com from outside; SPF fail of example.com`)
	g.logged(t, `"from":"bob@watched.example"`, `"watched":"sender-forged"`)
	if n := dns.Asked("notexample.com"); n > 0 {
		t.Errorf("the domain of a sender who claims nothing was asked for %d times", n)
	}
}

// TestSPFRefuse: a fail is refused at RCPT for domains that want it, and for nobody else; nothing but a fail is.
func TestSPFRefuse(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{Users: []string{"alice"}})
	dns := mailtest.StartDNS(t, senderZone)
	dns.Fail("broken.example", mailtest.DNSServFail)
	g := start(t, asking(m, dns, `spf = "refuse"`)+
		"[[domain]]\nname = \"marked.example\"\nrelay = \"smtp://"+m.Addr()+"\"\n"+
		"[[domain]]\nname = \"watched.example\"\nmode = \"watch\"\nspf = \"refuse\"\nrelay = \"smtp://"+m.Addr()+"\"\n")
	const no = "550 5.7.23 <"
	for _, tc := range []struct{ client, helo, from, to, want string }{
		{"203.0.113.1", "client.example", "ann@strict.example", "alice@example.com", no},
		{"198.51.100.20", "client.example", "ann@strict.example", "alice@example.com", "250"},
		{"203.0.113.1", "client.example", "ann@strict.example", "alice@marked.example", "250"},
		{"203.0.113.1", "client.example", "ann@strict.example", "alice@watched.example", "250"},
		{"203.0.113.1", "client.example", "ann@strict.example", "alice@elsewhere.example", "554 5.7.1"},
		{"203.0.113.1", "client.example", "ann@soft.example", "alice@example.com", "250"},
		{"203.0.113.1", "client.example", "ann@broken.example", "alice@example.com", "250"},
		{"203.0.113.1", "client.example", "ann@nothing.example", "alice@example.com", "250"},
		{"203.0.113.1", "helo.strict.example", "", "alice@example.com", no},
		{"203.0.113.1", "client.example", "", "alice@example.com", "250"},
	} {
		k := visit(t, g.addr, tc.client, tc.helo)
		say(t, k, "MAIL FROM:<"+tc.from+">", "250", "RCPT TO:<"+tc.to+">", tc.want)
		k.Close()
	}
	g.logged(t, `"to":"alice@watched.example"`, `"watched":"sender-spf"`)
}

// signed is a message from this domain with an Ed25519 signature, whose key it publishes.
func signed(t testing.TB, dns *mailtest.DNS, domain, body string) string {
	t.Helper()
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	key := dkim.Key{Domain: domain, Selector: "s1", Private: private}
	name, txt, err := key.Record()
	if err != nil {
		t.Fatal(err)
	}
	dns.Add(fmt.Sprintf("%s TXT %q", name, txt))
	header := "From: Ann <ann@" + domain + ">\r\nSubject: signed\r\n"
	s := dkim.NewSigning([]byte(header), []dkim.Key{key}, time.Now())
	s.Write([]byte(body))
	fields, err := s.Fields()
	if err != nil {
		t.Fatal(err)
	}
	return string(fields) + header + "\r\n" + body
}

// TestDMARCRefuse: what its own domain wants rejected is refused after the dot; all else comes in and is marked.
func TestDMARCRefuse(t *testing.T) {
	dns := mailtest.StartDNS(t, senderZone)
	good := signed(t, dns, "reject.example", "Hello.\r\n")
	from := func(domain string) string { return "From: ann@" + domain + "\r\nSubject: x\r\n\r\nHello.\r\n" }
	for name, tc := range map[string]struct{ client, sender, body, want, mark string }{
		"reject":             {"203.0.113.1", "ann@nothing.example", from("reject.example"), "550 5.7.1", ""},
		"its subdomain":      {"203.0.113.1", "ann@nothing.example", from("a.b.reject.example"), "550 5.7.1", ""},
		"SPF aligned":        {"198.51.100.30", "ann@reject.example", from("reject.example"), "250", "dmarc=pass"},
		"DKIM aligned":       {"203.0.113.1", "ann@nothing.example", good, "250", "dmarc=pass"},
		"changed on its way": {"203.0.113.1", "ann@nothing.example", strings.Replace(good, "Hello.", "Hallo.", 1), "550 5.7.1", ""},
		"quarantine":         {"203.0.113.1", "ann@nothing.example", from("quarantine.example"), "250", "dmarc=fail"},
		"no policy":          {"203.0.113.1", "ann@nothing.example", from("nothing.example"), "250", "dmarc=none"},
		"cannot be asked":    {"203.0.113.1", "ann@nothing.example", from("broken.example"), "250", "dmarc=temperror"},
	} {
		t.Run(name, func(t *testing.T) {
			m := mailtest.NewMock(t, mailtest.Script{Users: []string{"alice"}})
			dns.Fail("_dmarc.broken.example", mailtest.DNSServFail)
			g := start(t, asking(m, dns, `dmarc = "refuse"`))
			k := visit(t, g.addr, tc.client, "client.example")
			send(t, k, tc.sender, "alice@example.com", tc.body, tc.want)
			if tc.mark == "" {
				g.logged(t, `"rule":"dmarc"`, `"finding":"DMARC fail of `)
				if n := len(m.Messages()); n > 0 {
					t.Errorf("the downstream holds %d messages", n)
				}
				return
			}
			if front, _ := mailtest.Carries(one(t, m).Body, []byte(tc.body)); !strings.Contains(string(front), tc.mark) {
				t.Errorf("marked with %s", front)
			}
		})
	}
}

// TestMarks: what only this gateway may write is taken out where others wrote it, and what it writes stands at the
// head; nothing else of the message changes.
func TestMarks(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{Users: []string{"alice"}})
	dns := mailtest.StartDNS(t, senderZone)
	g := start(t, asking(m, dns, "")+"[outbound]\nlisten = [\"127.0.0.1:0\"]\nclients = [\"127.0.0.1/32\"]\nrelay = \"smtp://"+m.Addr()+"\"\n")
	k := visit(t, g.addr, "198.51.100.20", "client.example")
	send(t, k, "ann@strict.example", "alice@example.com", "Authentication-Results: mx.gateway.example; spf=pass\r\n"+
		"Authentication-Results: (x) \"mx.gateway.example\" 1;\r\n dmarc=pass\r\nAuthentication-Results: other.example; spf=fail\r\n"+
		"Backstop-Origin: v=1; k=1; t=1; spf=pass; h=00\r\nBackstop-Bounce: proven by=seal\r\n"+
		"Backstop-Seal: v=1; k=3; t=17; h=0a\r\nFrom: ann@strict.example\r\nSubject: x\r\n\r\nBackstop-Origin: in the body\r\n", "250")
	got := string(one(t, m).Body)
	head, rest, _ := strings.Cut(got, "Authentication-Results: other.example")
	rest = "Authentication-Results: other.example" + rest
	for _, want := range []string{"Authentication-Results: mx.gateway.example;", "spf=pass (", "Backstop-Origin: v=1; k="} {
		if strings.Count(head, want) != 1 || !strings.HasPrefix(head, "Received: ") {
			t.Errorf("%q should stand at the head once: %s", want, got)
		}
	}
	if want := "Authentication-Results: other.example; spf=fail\r\nBackstop-Foreign-Seal: v=1; k=3; t=17; h=0a\r\n" +
		"From: ann@strict.example\r\nSubject: x\r\n\r\nBackstop-Origin: in the body\r\n"; rest != want {
		t.Errorf("what follows is %q", rest)
	}
}

// TestLongSigned: a message too long for memory is verified and comes out as it went in.
func TestLongSigned(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{Users: []string{"alice"}})
	dns := mailtest.StartDNS(t, senderZone)
	body := signed(t, dns, "reject.example", strings.Repeat(strings.Repeat("0123456789", 7)+"\r\n", 40_000))
	g := start(t, asking(m, dns, `dmarc = "refuse"`))
	k := visit(t, g.addr, "203.0.113.1", "client.example")
	send(t, k, "ann@nothing.example", "alice@example.com", body, "250")
	front, ok := mailtest.Carries(one(t, m).Body, []byte(body))
	if !ok || !strings.Contains(string(front), "dkim=pass header.d=reject.example") {
		t.Errorf("carried %v, marked with %s", ok, front)
	}
}

// TestOutboundClients: nobody but the clients named may send, in watch mode neither.
func TestOutboundClients(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{})
	for _, mode := range []string{"enforce", "watch"} {
		g := start(t, "mode = \""+mode+"\"\n"+relayTo("smtp://"+m.Addr(), `listen = ["127.0.0.1:0"]`, "")+
			"[outbound]\nlisten = [\"127.0.0.1:0\"]\nclients = [\"127.0.0.2/32\"]\nrelay = \"smtp://"+m.Addr()+"\"\n")
		out := g.Addrs()["outbound"][0].String()
		k := dialFrom(t, out, "127.0.0.3")
		k.Expect(t, "554 5.7.1", "banner")
		k = dialFrom(t, out, "127.0.0.2")
		k.Expect(t, "220", "banner")
		say(t, k, "EHLO inner.example", "250")
		send(t, k, "alice@example.com", "carl@remote.example", hello("out"), "250")
	}
}
