package resolver

import (
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// FuzzRead: whatever a server sends is an answer or an error, an answer to what was asked, with something
// in it or a reason, within the bounds of time.
func FuzzRead(f *testing.F) {
	seeds := []string{
		"example.com. 60 IN TXT \"x\" \"y\\\"\"", "example.com. 60 IN MX 10 mx.example.com.", "example.com. 60 IN A 192.0.2.1",
		"example.com. 60 IN AAAA 2001:db8::1", "example.com. 60 IN PTR a\\.b.example.com.", "example.com. 60 IN CNAME example.com.",
		"example.com. 60 IN CNAME other.example.com.",
	}
	kinds := []uint16{dns.TypeTXT, dns.TypeMX, dns.TypeA, dns.TypeAAAA, dns.TypePTR}
	for i, s := range seeds {
		rr, err := dns.NewRR(s)
		if err != nil {
			f.Fatal(err)
		}
		m := new(dns.Msg).SetQuestion("example.com.", kinds[i%len(kinds)])
		m.Id, m.Response, m.Answer = 1, true, []dns.RR{rr}
		m.SetEdns0(udpSize, false)
		b, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, uint8(i))
	}
	f.Add([]byte{0, 1, 0x81, 0x83, 0, 1, 0, 0, 0, 0, 0, 0}, uint8(0))
	f.Fuzz(func(t *testing.T, b []byte, kind uint8) {
		asked := new(dns.Msg).SetQuestion("example.com.", kinds[int(kind)%len(kinds)])
		asked.Id = 1
		a, err := read(b, asked)
		if err != nil {
			if err != errNotOurs && !spoke(err) {
				t.Errorf("an error that says nothing of the server: %v", err)
			}
			return
		}
		if empty := len(a.texts)+len(a.addrs) == 0; empty != (a.none != "" || a.next != "") {
			t.Errorf("%+v", a)
		}
		if a.ttl < 0 || a.ttl > longest || a.none != "" && a.next != "" {
			t.Errorf("%+v", a)
		}
		if len(a.prefs) != 0 && len(a.prefs) != len(a.texts) {
			t.Errorf("%+v", a)
		}
	})
}

// FuzzNames: what can be asked comes back as it was.
func FuzzNames(f *testing.F) {
	for _, s := range []string{"example.com", "A.b.", `a\b.c`, "a b;c.d", "a\x00b", strings.Repeat("a.", 126) + "b", "..", "%{l}.x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		w, ok := wireName(s)
		if !ok {
			return
		}
		if _, ok := dns.IsDomainName(w); !ok || !dns.IsFqdn(w) {
			t.Errorf("%q is not a name for the library", w)
		}
		m := new(dns.Msg)
		m.Question = []dns.Question{{Name: mixed(w), Qtype: dns.TypeTXT, Qclass: dns.ClassINET}}
		b, err := m.Pack()
		if err != nil {
			t.Fatalf("%q: %v", w, err)
		}
		back := new(dns.Msg)
		if err := back.Unpack(b); err != nil || back.Question[0].Name != m.Question[0].Name {
			t.Fatalf("%q came back as %q, %v", m.Question[0].Name, back.Question[0].Name, err)
		}
		p, ok := plainName(w)
		if want := strings.ToLower(strings.TrimSuffix(s, ".")) + "."; ok && p != asciiLower(want, s) {
			t.Errorf("%q: %q, want %q", s, p, want)
		}
		if again, ok2 := wireName(p); ok && (!ok2 || again != w) {
			t.Errorf("%q: %q and then %q", s, w, again)
		}
	})
}

// asciiLower is want if nothing but ASCII was in s; wireName takes nothing else.
func asciiLower(want, s string) string {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return ""
		}
	}
	return want
}
