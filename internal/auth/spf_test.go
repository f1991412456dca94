package auth

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"backstop/internal/evidence"
	"backstop/internal/mail"
	"backstop/internal/mailtest"
	"backstop/internal/resolver"
)

// spfZone is what the tests of SPF ask for.
const spfZone = `
example.com           TXT   "v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 -all"
soft.example.com      TXT   "v=spf1 ~all"
neutral.example.com   TXT   "v=spf1 ?all"
other.example.com     TXT   "no spf" "1"
mx.example.com        TXT   "v=spf1 mx -all"
mx.example.com        MX    10 host.example.com
host.example.com      A     192.0.2.1
host.example.com      AAAA  2001:db8::1
hosta.example.com     TXT   "v=spf1 a:host.example.com -all"
exists.example.com    TXT   "v=spf1 exists:%{i}.list.example.com -all"
local.example.com     TXT   "v=spf1 exists:%{l}.user.example.com -all"
alice.user.example.com A    127.0.0.2
xn--bcher-kva.example.com TXT "v=spf1 ip4:192.0.2.1 -all"
two.example.com       TXT   "v=spf1 -all"
two.example.com       TXT   "v=spf1 +all"
broken.example.com    TXT   "v=spf1 ip4:192.0.2.1 nonsense"
failing.example.com   TXT   "v=spf1 include:servfail.example.com -all"
ptr.example.com       TXT   "v=spf1 ptr -all"
softptr.example.com   TXT   "v=spf1 ptr ~all"
localhost             TXT   "v=spf1 +all"
`

// spfChecker makes a checker that asks a DNS server with these records.
func spfChecker(t *testing.T, zone string) (*Checker, *mailtest.DNS) {
	t.Helper()
	d := mailtest.StartDNS(t, zone)
	r, err := resolver.New(resolver.Config{Servers: []netip.AddrPort{d.Addr()}, Timeout: mailtest.Patience})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return New(Config{Resolver: r, SPFTime: mailtest.Patience}), d
}

func sender(t *testing.T, s string) mail.ReversePath {
	t.Helper()
	if s == "" {
		return mail.ReversePath{}
	}
	a, err := mail.ParseAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return mail.ReversePath{Address: a}
}

func TestSPF(t *testing.T) {
	c, d := spfChecker(t, spfZone)
	d.Fail("servfail.example.com", mailtest.DNSServFail)
	d.Fail("9.2.0.192.in-addr.arpa", mailtest.DNSServFail)
	d.Fail("host.example.com", mailtest.DNSServFail, "AAAA")
	for _, x := range []struct {
		client, helo, from string
		want               evidence.Result
		domain, detail     string
	}{
		{"192.0.2.1", "h.example.org", "a@example.com", evidence.Pass, "example.com", "example.com permits 192.0.2.1 (by its term ip4 or ip6)"},
		{"::ffff:192.0.2.1", "h.example.org", "a@example.com", evidence.Pass, "example.com", "192.0.2.1"},
		{"2001:db8::2%eth0", "h.example.org", "a@EXAMPLE.com", evidence.Pass, "example.com", "2001:db8::2"},
		{"198.51.100.1", "h.example.org", "a@example.com", evidence.Fail, "example.com", "may not send for it (by its term all)"},
		{"198.51.100.1", "h.example.org", "a@soft.example.com", evidence.SoftFail, "soft.example.com", "should not"},
		{"198.51.100.1", "h.example.org", "a@neutral.example.com", evidence.Neutral, "neutral.example.com", "nothing of"},
		{"198.51.100.1", "h.example.org", "a@other.example.com", evidence.None, "other.example.com", "publishes no"},
		{"198.51.100.1", "h.example.org", "a@nobody.example.com", evidence.None, "nobody.example.com", "publishes no"},
		// The null sender: the HELO identity.
		{"192.0.2.1", "example.com", "", evidence.Pass, "example.com", "permits"},
		{"198.51.100.1", "Example.COM.", "", evidence.Fail, "example.com", "may not"},
		{"198.51.100.1", "[198.51.100.1]", "", evidence.None, "[198.51.100.1]", "literal"},
		{"198.51.100.1", "198.51.100.1", "", evidence.None, "198.51.100.1", "no domain"},
		{"198.51.100.1", "localhost", "", evidence.None, "localhost", "without a dot"},
		{"198.51.100.1", "", "", evidence.None, "", "no domain"},
		{"198.51.100.1", "not a name", "", evidence.None, "", "no domain"},
		{"198.51.100.1", "alice.local.example.com", "", evidence.None, "alice.local.example.com", "no SPF record"},
		// Nothing to ask.
		{"", "example.com", "a@example.com", evidence.None, "example.com", "no address"},
		{"198.51.100.1", "example.com", "a@[198.51.100.1]", evidence.None, "[198.51.100.1]", "literal"},
		{"198.51.100.1", "example.com", "postmaster", evidence.None, "", "no domain"},
		{"198.51.100.1", "example.com", "a@localhost", evidence.None, "localhost", "without a dot"},
		// Local parts.
		{"198.51.100.1", "h", "alice@local.example.com", evidence.Pass, "local.example.com", "exists"},
		{"198.51.100.1", "h", "\"Alice\"@local.example.com", evidence.Pass, "local.example.com", "exists"},
		{"198.51.100.1", "h", "bob@local.example.com", evidence.Fail, "local.example.com", "may not"},
		{"198.51.100.1", "h", "\"x@example.org\"@example.com", evidence.Fail, "example.com", "may not"},
		{"198.51.100.1", "h", "\"alice@\"@local.example.com", evidence.Fail, "local.example.com", "may not"},
		{"198.51.100.1", "h", "\"a b;\\\"\"@local.example.com", evidence.Fail, "local.example.com", "may not"},
		{"198.51.100.1", "h", "\u00e4lice@local.example.com", evidence.Fail, "local.example.com", "may not"},
		// Internationalised domains are asked for as A-labels.
		{"192.0.2.1", "h", "a@b\u00fccher.example.com", evidence.Pass, "xn--bcher-kva.example.com", "permits"},
		{"192.0.2.1", "B\u00dcCHER.example.com", "", evidence.Pass, "xn--bcher-kva.example.com", "permits"},
		// What is wrong.
		{"198.51.100.1", "h", "a@two.example.com", evidence.PermError, "two.example.com", "several"},
		{"192.0.2.1", "h", "a@broken.example.com", evidence.PermError, "broken.example.com", `"nonsense" is of a kind that nobody knows`},
		{"198.51.100.1", "h", "a@servfail.example.com", evidence.TempError, "servfail.example.com", "SERVFAIL"},
		{"198.51.100.1", "h", "a@failing.example.com", evidence.TempError, "failing.example.com", "SERVFAIL"},
		// The other kind of address is of no matter, the own kind is.
		{"192.0.2.1", "h", "a@mx.example.com", evidence.Pass, "mx.example.com", "mx"},
		{"192.0.2.2", "h", "a@hosta.example.com", evidence.Fail, "hosta.example.com", "all"},
		{"2001:db8::1", "h", "a@hosta.example.com", evidence.TempError, "hosta.example.com", "SERVFAIL"},
		{"192.0.2.1", "h", "a@exists.example.com", evidence.Fail, "exists.example.com", "may not"},
		// A name that could not be looked up is no reason to refuse for good.
		{"192.0.2.9", "h", "a@ptr.example.com", evidence.TempError, "ptr.example.com", "SERVFAIL"},
		{"192.0.2.8", "h", "a@ptr.example.com", evidence.Fail, "ptr.example.com", "may not"},
		{"192.0.2.9", "h", "a@softptr.example.com", evidence.SoftFail, "softptr.example.com", "should not"},
	} {
		client, _ := netip.ParseAddr(x.client)
		got := c.SPF(t.Context(), client, x.helo, sender(t, x.from))
		if got.Result != x.want || got.Domain != x.domain || got.Helo != (x.from == "") || !strings.Contains(got.Detail, x.detail) || got.Detail == "" {
			t.Errorf("%s %q %q: %+v, want %v %s, %q", x.client, x.helo, x.from, got, x.want, x.domain, x.detail)
		}
	}
}

// TestSPFLookups: whatever a stranger publishes, it takes no more questions than RFC 7208, 4.6.4 grants.
func TestSPFLookups(t *testing.T) {
	var many, exists, ptrs strings.Builder
	for i := range 30 {
		fmt.Fprintf(&many, " mx:m%d.example.com", i)
		fmt.Fprintf(&exists, " exists:%%{i}.e%d.example.com", i)
		fmt.Fprintf(&ptrs, " ptr:p%d.example.com", i)
	}
	var z strings.Builder
	record := func(name, terms string) {
		text := "v=spf1" + terms + " -all"
		fmt.Fprintf(&z, "%s TXT", name)
		for len(text) > 0 {
			n := min(len(text), 250)
			fmt.Fprintf(&z, " \"%s\"", text[:n])
			text = text[n:]
		}
		fmt.Fprintln(&z)
	}
	record("many.example.com", many.String())
	record("exists.example.com", exists.String())
	record("found.example.com", strings.ReplaceAll(exists.String(), "exists:%{i}.e", "exists:e"))
	record("ptrs.example.com", ptrs.String())
	record("loop.example.com", " include:loop.example.com")
	record("redirect.example.com", " redirect=redirect.example.com")
	record("mxs.example.com", " mx:mxs.example.com")
	for i := range 30 {
		fmt.Fprintf(&z, "e%d.example.com AAAA 2001:db8::1\n", i)
		fmt.Fprintf(&z, "1.2.0.192.in-addr.arpa PTR ptr%d.example.com\nptr%d.example.com A 192.0.2.1\n", i, i)
		fmt.Fprintf(&z, "mxs.example.com MX 10 host%d.example.com\n", i)
		for j := range 10 {
			fmt.Fprintf(&z, "m%d.example.com MX 10 h%d.m%d.example.com\nh%d.m%d.example.com A 192.0.2.99\n", i, j, i, j, i)
		}
	}
	// A question for the addresses of a name is two: A and AAAA.
	for _, x := range []struct {
		domain    string
		want      evidence.Result
		questions int
		detail    string
	}{
		{"many", evidence.PermError, 1 + 10 + 10*10*2, "more than 10 DNS look-ups"},
		{"exists", evidence.PermError, 1 + 3*2, "more than 2 of its DNS look-ups find nothing"},
		{"found", evidence.PermError, 1 + 10*2, "more than 10 DNS look-ups"},
		{"ptrs", evidence.PermError, 1 + 1 + 10*2, "more than 10 DNS look-ups"},
		{"loop", evidence.PermError, 1, "more than 10 DNS look-ups"},
		{"redirect", evidence.Fail, 1, "may not"}, // all comes first, and redirect is passed over (RFC 7208, 6.1)
		{"mxs", evidence.PermError, 2, "more than 10 hosts"},
	} {
		c, d := spfChecker(t, z.String())
		got := c.SPF(t.Context(), netip.MustParseAddr("192.0.2.1"), "h", sender(t, "a@"+x.domain+".example.com"))
		if n := d.Asked(""); got.Result != x.want || n > x.questions || !strings.Contains(got.Detail, x.detail) {
			t.Errorf("%s: %+v with %d questions, want %v with %d, %q", x.domain, got, n, x.want, x.questions, x.detail)
		}
	}
}

// TestSPFLongNames: labels are cut from the left of a name that macros made too long (RFC 7208, 7.3).
func TestSPFLongNames(t *testing.T) {
	label := strings.Repeat("l", 59)
	domain := strings.Join([]string{label, label, label, "example.com"}, ".")
	c, d := spfChecker(t, domain+` TXT "v=spf1 exists:%{l}.`+label+`.%{d} -all"`)
	d.Add(label + "." + domain + " A 127.0.0.2")
	got := c.SPF(t.Context(), netip.MustParseAddr("192.0.2.1"), "h", sender(t, "alice@"+domain))
	if got.Result != evidence.Pass {
		t.Errorf("%+v", got)
	}
}

// slow is a DNS that never answers.
type slow struct{}

func (slow) wait(ctx context.Context) error {
	<-ctx.Done()
	return &net.DNSError{Err: "out of time", IsTimeout: true}
}

func (s slow) LookupTXT(ctx context.Context, name string) ([]string, error) {
	if name == "ptr.example.com" {
		return []string{"v=spf1 ptr -all"}, nil
	}
	return nil, s.wait(ctx)
}
func (s slow) LookupMX(ctx context.Context, _ string) ([]*net.MX, error) { return nil, s.wait(ctx) }
func (s slow) LookupIPAddr(ctx context.Context, _ string) ([]net.IPAddr, error) {
	return nil, s.wait(ctx)
}
func (s slow) LookupAddr(ctx context.Context, _ string) ([]string, error) { return nil, s.wait(ctx) }

// TestSPFTime: it ends when its time is over, and says that it does not know.
func TestSPFTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(Config{Resolver: slow{}})
		for _, from := range []string{"a@example.com", "a@ptr.example.com"} {
			began := time.Now()
			got := c.SPF(t.Context(), netip.MustParseAddr("192.0.2.1"), "h", sender(t, from))
			if took := time.Since(began); got.Result != evidence.TempError || took != 10*time.Second {
				t.Errorf("%s: %+v after %v", from, got, took)
			}
		}
	})
}

// wrong is a DNS whose errors are not the kind that they should be.
type wrong struct{ slow }

func (wrong) LookupTXT(context.Context, string) ([]string, error) {
	return nil, fmt.Errorf("wrapped: %w", &net.DNSError{Err: "x", IsNotFound: true})
}

func TestSPFOddErrors(t *testing.T) {
	got := New(Config{Resolver: wrong{}}).SPF(t.Context(), netip.MustParseAddr("192.0.2.1"), "h", sender(t, "a@example.com"))
	if got.Result != evidence.TempError {
		t.Errorf("%+v", got)
	}
}

// published is a DNS in which every name has the same record.
type published struct {
	record string
	asked  *int
}

func (p published) LookupTXT(context.Context, string) ([]string, error) {
	*p.asked++
	return []string{p.record}, nil
}
func (p published) LookupMX(context.Context, string) ([]*net.MX, error) {
	*p.asked++
	return []*net.MX{{Host: "h.example.com.", Pref: 1}}, nil
}
func (p published) LookupIPAddr(_ context.Context, host string) ([]net.IPAddr, error) {
	*p.asked++
	if len(host) > maxSPFName {
		panic("a name of more than 253 octets")
	}
	return []net.IPAddr{{IP: net.IPv4(192, 0, 2, 7)}}, nil
}
func (p published) LookupAddr(context.Context, string) ([]string, error) {
	*p.asked++
	return []string{"h.example.com."}, nil
}

// FuzzSPF: whatever is published, whoever sends: there is a result, in bounded questions, and no
// record that the grammar does not allow says anything.
func FuzzSPF(f *testing.F) {
	for line := range strings.Lines(spfZone) {
		if _, r, found := strings.Cut(line, `"`); found {
			f.Add(strings.Trim(r, "\"\n"), "alice", "192.0.2.1")
		}
	}
	f.Add("v=spf1 a:%{ir}.%{v}._spf.%{d2} mx/24//64 include:%{h} exists:%{L1r-+=}.x.example redirect=_spf.%{o} exp=%{s}.example unknown=%%%_%-", "\"a@b\"", "2001:db8::1")
	f.Add("V=SPF1  -ip4:192.0.2.0/24 ~ip6:::/0 ?ptr:example.com ALL", "x", "::ffff:192.0.2.7")
	f.Fuzz(func(t *testing.T, record, local, client string) {
		ip, _ := netip.ParseAddr(client)
		from, err := mail.ParseAddress(local + "@example.com")
		if err != nil {
			from = mail.Address{}
		}
		asked := 0
		got := New(Config{Resolver: published{record, &asked}}).SPF(t.Context(), ip, "helo.example.org", mail.ReversePath{Address: from})
		if got.Detail == "" || asked > 1+10+10+10*11 {
			t.Errorf("%+v after %d questions", got, asked)
		}
		if ip.IsValid() && isSPF(record) && spfSyntax(record) != nil && got.Result != evidence.PermError {
			t.Errorf("%+v of a record that cannot be read", got)
		}
		if got.Result == evidence.PermError && spfSyntax(record) == nil && !strings.Contains(record, "/") && !strings.Contains(got.Detail, "4.6.4") {
			t.Errorf("%+v: the library finds a fault that we do not", got)
		}
		if !isSPF(record) && got.Result != evidence.None {
			t.Errorf("%+v of what is no record", got)
		}
	})
}

// BenchmarkSPF: what SPF adds to a message whose sender's records are known already.
func BenchmarkSPF(b *testing.B) {
	d := mailtest.StartDNS(b, spfZone)
	r, err := resolver.New(resolver.Config{Servers: []netip.AddrPort{d.Addr()}, Timeout: mailtest.Patience})
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	c := New(Config{Resolver: r})
	client := netip.MustParseAddr("192.0.2.1")
	for _, domain := range []string{"example.com", "mx.example.com"} {
		b.Run(domain, func(b *testing.B) {
			from, err := mail.ParseAddress("a@" + domain)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if got := c.SPF(b.Context(), client, "h.example.org", mail.ReversePath{Address: from}); got.Result != evidence.Pass {
					b.Fatalf("%+v", got)
				}
			}
		})
	}
}
