package resolver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"backstop/internal/mailtest"

	"github.com/miekg/dns"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock stands still until it is moved.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// asks makes a resolver that asks these servers, and its clock. Servers that say nothing are given up
// soon, all others long after the test would have failed.
func asks(t *testing.T, timeout time.Duration, servers ...*mailtest.DNS) (*Resolver, *clock) {
	t.Helper()
	c := &clock{t: time.Unix(1_800_000_000, 0)}
	var addrs []netip.AddrPort
	for _, s := range servers {
		addrs = append(addrs, s.Addr())
	}
	r, err := New(Config{Servers: addrs, Timeout: timeout, Total: 8 * timeout, Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r, c
}

const (
	soon = 100 * time.Millisecond
	late = mailtest.Patience
)

// kindOf is the error in one word.
func kindOf(err error) string {
	if err == nil {
		return "well"
	}
	e, bare := err.(*net.DNSError)
	switch {
	case !bare:
		return fmt.Sprintf("%T", err)
	case e.IsNotFound && !e.IsTemporary && !e.IsTimeout:
		return "not found"
	case e.IsTimeout && e.IsTemporary:
		return "timeout"
	case e.IsTemporary && !e.IsNotFound:
		return "temporary"
	}
	return fmt.Sprintf("%#v", e)
}

func wantKind(t *testing.T, what string, err error, want string) {
	t.Helper()
	if got := kindOf(err); got != want {
		t.Errorf("%s: %v (%s), want %s", what, err, got, want)
	}
}

const zone = `
example.com           TXT   "v=spf1 " "a \"quoted\" back\\slash \200" " -all"
example.com           TXT   "other"
example.com           MX    20 second.example.com
example.com           MX    10 first.example.com
first.example.com     A     192.0.2.1
first.example.com     A     192.0.2.2
first.example.com     AAAA  2001:db8::1
only4.example.com     A     192.0.2.4
alias.example.com     CNAME first
first                 CNAME First.Example.COM
null.example.com      MX    0 .
odd.example.com       MX    5 a\.b.example.com
odd.example.com       MX    6 mail\032box.example.com
1.2.0.192.in-addr.arpa PTR  First.example.com
1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa PTR six.example.com
we\ ird\;.example.com TXT   "weird"
a\092b.example.com    TXT   "backslash"
`

func TestLookups(t *testing.T) {
	d := mailtest.StartDNS(t, zone)
	r, _ := asks(t, late, d)
	ctx := t.Context()
	txt := func(name string) (string, error) {
		l, err := r.LookupTXT(ctx, name)
		return strings.Join(l, "|"), err
	}
	mx := func(name string) (string, error) {
		l, err := r.LookupMX(ctx, name)
		var s []string
		for _, m := range l {
			s = append(s, fmt.Sprint(m.Pref, " ", m.Host))
		}
		return strings.Join(s, "|"), err
	}
	ip := func(name string) (string, error) {
		l, err := r.LookupIPAddr(ctx, name)
		var s []string
		for _, m := range l {
			s = append(s, m.String())
		}
		return strings.Join(s, "|"), err
	}
	only4 := func(name string) (string, error) {
		l, err := r.LookupA(ctx, name)
		s := make([]string, len(l))
		for i, a := range l {
			s[i] = a.String()
		}
		return strings.Join(s, "|"), err
	}
	ptr := func(name string) (string, error) {
		l, err := r.LookupAddr(ctx, name)
		return strings.Join(l, "|"), err
	}
	long := strings.Repeat("a", 63)
	for _, c := range []struct {
		what       string
		ask        func(string) (string, error)
		name, want string
		kind       string
	}{
		{"txt", txt, "example.com", "v=spf1 a \"quoted\" back\\slash \xc8 -all|other", "well"},
		{"txt", txt, "EXAMPLE.com.", "v=spf1 a \"quoted\" back\\slash \xc8 -all|other", "well"},
		{"txt", txt, "first.example.com", "", "not found"},
		{"txt", txt, "nobody.example.com", "", "not found"},
		{"txt", txt, "we ird;.example.com", "weird", "well"},
		{"txt", txt, `a\b.example.com`, "backslash", "well"},
		{"mx", mx, "example.com", "10 first.example.com.|20 second.example.com.", "well"},
		{"mx", mx, "null.example.com", "0 .", "well"},
		{"mx", mx, "odd.example.com", "6 mail box.example.com.", "well"},
		{"ip", ip, "first.example.com", "192.0.2.1|192.0.2.2|2001:db8::1", "well"},
		{"ip", ip, "alias.example.com", "192.0.2.1|192.0.2.2|2001:db8::1", "well"},
		{"ip", ip, "only4.example.com", "192.0.2.4", "well"},
		{"a", only4, "alias.example.com", "192.0.2.1|192.0.2.2", "well"},
		{"a", only4, "example.com", "", "not found"},
		{"ip", ip, "example.com", "", "not found"},
		{"ip", ip, "192.0.2.99", "192.0.2.99", "well"},
		{"ip", ip, "fe80::1%lo", "fe80::1%lo", "well"},
		{"ptr", ptr, "192.0.2.1", "First.example.com.", "well"},
		{"ptr", ptr, "::ffff:192.0.2.1", "First.example.com.", "well"},
		{"ptr", ptr, "2001:db8::1", "six.example.com.", "well"},
		{"ptr", ptr, "192.0.2.2", "", "not found"},
		{"ptr", ptr, "nonsense", "", "not found"},
		{"ptr", ptr, "fe80::1%lo", "", "not found"},
		{"txt", txt, "", "", "not found"},
		{"txt", txt, ".", "", "not found"},
		{"txt", txt, "..", "", "not found"},
		{"txt", txt, "a..example.com", "", "not found"},
		{"txt", txt, ".example.com", "", "not found"},
		{"txt", txt, "b\u00fccher.example.com", "", "not found"},
		{"txt", txt, long + "a.example.com", "", "not found"},
		{"txt", txt, strings.Repeat(long+".", 3) + strings.Repeat("b", 62), "", "not found"},
		{"txt", txt, strings.Repeat(" .", 126) + "b", "", "not found"}, // 253 octets, and more when escaped
	} {
		got, err := c.ask(c.name)
		wantKind(t, c.what+" "+c.name, err, c.kind)
		if got != c.want {
			t.Errorf("%s %s: %q, want %q", c.what, c.name, got, c.want)
		}
	}
	for _, q := range d.Queries() {
		if q.Size != udpSize {
			t.Errorf("%+v: not with EDNS0 of %d", q, udpSize)
		}
	}
	if !slices.ContainsFunc(d.Queries(), func(q mailtest.DNSQuery) bool { return strings.ToLower(q.Asked) != q.Asked }) {
		t.Error("no question in mixed letters")
	}
}

// TestBadServers: alone, each of them is survived, and tells the truth: what it does not say is
// not found out. Beside a good one it does no harm.
func TestBadServers(t *testing.T) {
	for _, c := range []struct {
		name  string
		fault mailtest.DNSFault
		kind  string
	}{
		{"well", mailtest.DNSWell, "well"},
		{"servfail", mailtest.DNSServFail, "temporary"},
		{"refused", mailtest.DNSRefused, "temporary"},
		{"notimp", mailtest.DNSNotImp, "temporary"},
		{"formerr", mailtest.DNSFormErr, "well"},
		{"nxdomain", mailtest.DNSNXDomain, "not found"},
		{"nodata", mailtest.DNSNoData, "not found"},
		{"no soa", mailtest.DNSNoSOA, "not found"},
		{"lame", mailtest.DNSLame, "temporary"},
		{"truncated", mailtest.DNSTruncated, "well"},
		{"truncated, deaf", mailtest.DNSTruncatedDeaf, "temporary"},
		{"truncated twice", mailtest.DNSTruncatedBoth, "temporary"},
		{"silent", mailtest.DNSSilent, "timeout"},
		{"wrong id", mailtest.DNSWrongID, "temporary"},
		{"wrong question", mailtest.DNSWrongQuestion, "temporary"},
		{"no question", mailtest.DNSNoQuestion, "temporary"},
		{"no answer bit", mailtest.DNSNotAnswer, "temporary"},
		{"garbage", mailtest.DNSGarbage, "temporary"},
		{"short", mailtest.DNSShort, "temporary"},
		{"spoofed", mailtest.DNSSpoofed, "well"},
		{"lower case", mailtest.DNSLowerCase, "well"},
		{"loop", mailtest.DNSLoop, "temporary"},
		{"other owner", mailtest.DNSOtherOwner, "temporary"},
		{"flood", mailtest.DNSFlood, "well"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			const text = "example.com TXT \"right\""
			bad := mailtest.StartDNS(t, text)
			bad.Fail("example.com", c.fault)
			timeout := late
			switch c.fault {
			case mailtest.DNSSilent, mailtest.DNSWrongID, mailtest.DNSWrongQuestion, mailtest.DNSNoQuestion, mailtest.DNSNotAnswer, mailtest.DNSGarbage, mailtest.DNSShort:
				timeout = soon
			}
			r, _ := asks(t, timeout, bad)
			l, err := r.LookupTXT(t.Context(), "example.com")
			wantKind(t, "alone", err, c.kind)
			if err == nil && !slices.Equal(l, []string{"right"}) {
				t.Errorf("%q", l)
			}
			if c.kind == "not found" {
				return
			}
			good := mailtest.StartDNS(t, text)
			both, err := New(Config{Servers: []netip.AddrPort{bad.Addr(), good.Addr()}, Timeout: timeout, Tries: 50, Total: 50 * timeout}) // the good one gets time
			if err != nil {
				t.Fatal(err)
			}
			defer both.Close()
			if l, err := both.LookupTXT(t.Context(), "example.com"); err != nil || !slices.Equal(l, []string{"right"}) {
				t.Errorf("with a good one behind it: %q %v", l, err)
			}
		})
	}
}

// TestHalfChains: where a server does not follow an alias to its end, we do, and not for ever.
func TestHalfChains(t *testing.T) {
	var z strings.Builder
	for i := range 30 {
		fmt.Fprintf(&z, "%d.example.com CNAME %d.example.com.\n", i, i+1)
	}
	d := mailtest.StartDNS(t, z.String()+"30.example.com TXT end")
	d.Fail("", mailtest.DNSHalfChain)
	r, _ := asks(t, late, d)
	if l, err := r.LookupTXT(t.Context(), "20.example.com"); err != nil || len(l) != 1 {
		t.Errorf("%q %v", l, err)
	}
	d.Forget()
	_, err := r.LookupTXT(t.Context(), "0.example.com")
	if wantKind(t, "a long chain", err, "temporary"); d.Asked("") > maxChain {
		t.Errorf("asked %d times", d.Asked(""))
	}
}

func TestLongAnswerComesByTCP(t *testing.T) {
	var z strings.Builder
	for i := range 200 {
		fmt.Fprintf(&z, "example.com TXT \"%03d %s\"\n", i, strings.Repeat("x", 250))
	}
	d := mailtest.StartDNS(t, z.String())
	r, _ := asks(t, late, d)
	l, err := r.LookupTXT(t.Context(), "example.com")
	if err != nil || len(l) != 200 {
		t.Errorf("%d records, %v", len(l), err)
	}
	q := d.Queries()
	if len(q) != 2 || q[0].Network != "udp" || q[1].Network != "tcp" {
		t.Errorf("%+v", q)
	}
}

// TestLowerCaseServer: it is asked twice once, and in small letters from then on.
func TestLowerCaseServer(t *testing.T) {
	d := mailtest.StartDNS(t, "a-long-enough-name.example.com TXT x\nanother-name.example.com TXT y")
	d.Fail("", mailtest.DNSLowerCase)
	r, _ := asks(t, late, d)
	r.LookupTXT(t.Context(), "a-long-enough-name.example.com")
	if _, err := r.LookupTXT(t.Context(), "another-name.example.com"); err != nil {
		t.Error(err)
	}
	if n := d.Asked(""); n != 3 {
		t.Errorf("asked %d times: %+v", n, d.Queries())
	}
}

// TestOneKindOfAddress: what could be found out is returned beside the error.
func TestOneKindOfAddress(t *testing.T) {
	d := mailtest.StartDNS(t, zone)
	d.Fail("first.example.com", mailtest.DNSServFail, "AAAA")
	r, _ := asks(t, late, d)
	l, err := r.LookupIPAddr(t.Context(), "first.example.com")
	wantKind(t, "half", err, "temporary")
	if len(l) != 2 {
		t.Errorf("%v", l)
	}
	d.Fail("nobody.example.com", mailtest.DNSServFail, "A")
	_, err = r.LookupIPAddr(t.Context(), "nobody.example.com")
	wantKind(t, "one failed, the other is not there", err, "temporary")
}

// TestHowLongKept: the TTL counts, between its bounds.
func TestHowLongKept(t *testing.T) {
	d := mailtest.StartDNS(t, `
zero.example.com 0        TXT x
usual.example.com 120     TXT x
day.example.com 86400     TXT x
bad.example.com 4294967295 TXT x
alias.example.com 30      CNAME day.example.com.
`)
	d.Fail("failing.example.com", mailtest.DNSServFail)
	d.Fail("nosoa.example.com", mailtest.DNSNoSOA)
	for _, c := range []struct {
		name string
		kept time.Duration
	}{
		{"zero", leastKept}, {"usual", 2 * time.Minute}, {"day", mostKept}, {"bad", leastKept}, {"alias", 30 * time.Second},
		{"nobody", time.Minute}, {"nosoa", leastKept}, {"failing", failureKept},
	} {
		name := c.name + ".example.com"
		r, clock := asks(t, late, d)
		d.Forget()
		for i, moved := range []time.Duration{0, c.kept - 1, 1} {
			clock.move(moved)
			r.LookupTXT(t.Context(), name)
			if want := 1 + i/2; d.Asked(name) != want {
				t.Errorf("%s: asked %d times after another %v, want %d", name, d.Asked(name), moved, want)
			}
		}
		if s := r.State(); s.Asked != 3 || s.Hits != 1 || s.Cached != 1 {
			t.Errorf("%+v", s)
		}
	}
	long := &dns.SOA{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: 86400}, Minttl: 86400}
	if a, err := (answer{ttl: mostKept}).nothing(&dns.Msg{Ns: []dns.RR{long}}, "", false); err != nil || a.ttl != mostKeptNone {
		t.Errorf("%+v %v", a, err)
	}
}

// TestBounded: the cache does not grow without end, and large answers count for more.
func TestBounded(t *testing.T) {
	d := mailtest.StartDNS(t, "*.small.example.com A 192.0.2.1\n*.large.example.com TXT "+strings.Repeat("\""+strings.Repeat("x", 250)+"\" ", 4))
	r, err := New(Config{Servers: []netip.AddrPort{d.Addr()}, Size: 20, Timeout: late})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for i := range 200 {
		r.LookupTXT(t.Context(), fmt.Sprintf("%d.large.example.com", i))
	}
	r.cache.CleanUp()
	if n := r.State().Cached; n > 10 {
		t.Errorf("%d large answers kept", n)
	}
	for i := range 200 {
		r.LookupIPAddr(t.Context(), fmt.Sprintf("%d.small.example.com", i))
	}
	r.cache.CleanUp()
	if n := r.State().Cached; n > 20 {
		t.Errorf("%d kept", n)
	}
}

// TestAskedOnce: many want to know the same, and whoever gives up harms nobody.
func TestAskedOnce(t *testing.T) {
	d := mailtest.StartDNS(t, "example.com TXT x")
	release := d.Hold("example.com")
	r, _ := asks(t, late, d)
	gone, leave := context.WithCancel(t.Context())
	first := make(chan error)
	go func() {
		_, err := r.LookupTXT(gone, "example.com")
		first <- err
	}()
	d.Wait(t, "the question", func(d *mailtest.DNS) bool { return d.Asked("example.com") == 1 })
	var others sync.WaitGroup
	for range 20 {
		others.Go(func() {
			if l, err := r.LookupTXT(t.Context(), "Example.com."); err != nil || len(l) != 1 {
				t.Errorf("%q %v", l, err)
			}
		})
	}
	leave()
	err := <-first
	if wantKind(t, "left", err, "temporary"); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if _, err := r.LookupTXT(gone, "unasked.example.com"); !errors.Is(err, context.Canceled) || d.Asked("unasked.example.com") != 0 {
		t.Errorf("%v, asked %d times", err, d.Asked("unasked.example.com"))
	}
	expired, end := context.WithDeadline(t.Context(), time.Unix(1, 0))
	defer end()
	_, err = r.LookupTXT(expired, "example.com")
	wantKind(t, "out of time", err, "timeout")
	release()
	others.Wait()
	if n := d.Asked("example.com"); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

func TestClose(t *testing.T) {
	d := mailtest.StartDNS(t, "example.com TXT x")
	d.Fail("example.com", mailtest.DNSSilent)
	r, _ := asks(t, late, d)
	ended := make(chan error)
	go func() {
		_, err := r.LookupTXT(t.Context(), "example.com")
		ended <- err
	}()
	d.Wait(t, "the question", func(d *mailtest.DNS) bool { return d.Asked("example.com") == 1 })
	r.Close()
	wantKind(t, "closed meanwhile", <-ended, "temporary")
	_, err := r.LookupTXT(t.Context(), "example.org")
	wantKind(t, "closed", err, "temporary")
	r.Close()
}

func TestNew(t *testing.T) {
	if _, err := New(Config{Servers: []netip.AddrPort{{}}}); err == nil {
		t.Error("no error")
	}
}

// TestManyAtOnce: more questions than may be under way wait for each other.
func TestManyAtOnce(t *testing.T) {
	d := mailtest.StartDNS(t, "*.example TXT x")
	// So many datagrams at once do not all fit the buffer of the server: those lost are sent again soon.
	r, err := New(Config{Servers: []netip.AddrPort{d.Addr()}, Timeout: late / 100, Tries: 100, Total: 2 * late})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var all sync.WaitGroup
	for i := range 3 * maxFlights {
		all.Go(func() {
			if _, err := r.LookupTXT(t.Context(), fmt.Sprintf("%d.example", i/2)); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := d.Asked(""); n < 3*maxFlights/2 {
		t.Errorf("asked %d times", n)
	}
	if len(r.flights) > 0 || len(r.below) > 0 || r.State().Turned > 0 {
		t.Errorf("%d under way, %v, %+v", len(r.flights), r.below, r.State())
	}
}

// BenchmarkLookup: an answer that is known, and one that is asked for on the loopback.
func BenchmarkLookup(b *testing.B) {
	d := mailtest.StartDNS(b, "*.example.com TXT \"v=spf1 -all\"")
	r, err := New(Config{Servers: []netip.AddrPort{d.Addr()}})
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	b.Run("known", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			r.LookupTXT(b.Context(), "a.example.com")
		}
	})
	b.Run("asked", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			r.LookupTXT(b.Context(), fmt.Sprintf("%d.example.com", i))
		}
	})
}
