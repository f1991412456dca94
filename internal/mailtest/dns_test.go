package mailtest

import (
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// TestDNS asks the server by a client that is not the product's.
func TestDNS(t *testing.T) {
	d := StartDNS(t, `
example.com        TXT   "v=spf1 " "-all"
example.com     60 MX    10 mx.example.com
mx.example.com     A     192.0.2.1
www.example.com    CNAME mx
mx                 A     192.0.2.2
*.wild.example.com A     192.0.2.3
deep.er.example.com A    192.0.2.4
`)
	big := strings.Repeat("big.example.com TXT \""+strings.Repeat("x", 250)+"\"\n", 1)
	for range 9 {
		big += "big.example.com TXT \"" + strings.Repeat("y", 250) + "\"\n"
	}
	d.Add(big)
	ask := func(network, name string, qtype uint16) (*dns.Msg, error) {
		c := &dns.Client{Net: network}
		m := new(dns.Msg).SetQuestion(name, qtype)
		m.SetEdns0(1232, false)
		a, _, err := c.Exchange(m, d.Addr().String())
		return a, err
	}
	for _, c := range []struct {
		network, name string
		qtype         uint16
		rcode, n      int
		cut           bool
	}{
		{"udp", "example.com.", dns.TypeTXT, 0, 1, false},
		{"tcp", "EXAMPLE.com.", dns.TypeMX, 0, 1, false},
		{"udp", "example.com.", dns.TypeA, 0, 0, false},
		{"udp", "www.example.com.", dns.TypeA, 0, 2, false},
		{"udp", "a.b.wild.example.com.", dns.TypeA, 0, 1, false},
		{"udp", "er.example.com.", dns.TypeA, 0, 0, false},
		{"udp", "nobody.example.com.", dns.TypeA, dns.RcodeNameError, 0, false},
		{"tcp", "big.example.com.", dns.TypeTXT, 0, 10, false},
	} {
		m, err := ask(c.network, c.name, c.qtype)
		if err != nil || m.Rcode != c.rcode || len(m.Answer) != c.n || m.Truncated != c.cut {
			t.Errorf("%+v: %v %v", c, m, err)
		}
	}
	if m, err := ask("udp", "big.example.com.", dns.TypeTXT); err != nil || !m.Truncated {
		t.Errorf("2.5 kB over UDP: %v %v", m, err)
	}
	d.Fail("example.com", DNSServFail, "TXT")
	if m, err := ask("udp", "example.com.", dns.TypeTXT); err != nil || m.Rcode != dns.RcodeServerFailure {
		t.Errorf("%v %v", m, err)
	}
	if m, err := ask("udp", "example.com.", dns.TypeMX); err != nil || m.Rcode != 0 {
		t.Errorf("%v %v", m, err)
	}
	if n := d.Asked("example.COM", "TXT", "MX"); n != 4 {
		t.Errorf("asked %d times", n)
	}
	addr := d.Addr()
	d.Down()
	if _, err := ask("tcp", "example.com.", dns.TypeMX); err == nil {
		t.Error("it answers although it is down")
	}
	d.Up()
	if _, err := ask("tcp", "example.com.", dns.TypeMX); err != nil || d.Addr() != addr {
		t.Error("it does not come back", err)
	}
}
