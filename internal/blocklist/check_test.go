package blocklist

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"backstop/internal/mailtest"
	"backstop/internal/resolver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const zone = "bl.example.org"

var (
	us  = netip.MustParseAddr("192.0.2.25")
	us6 = netip.MustParseAddr("2001:db8::25")
)

// entry is a line of a zone text.
func entry(a netip.Addr, zone, data string) string {
	return fmt.Sprintf("%s %s\n", Name(a, zone), data)
}

// well is a list with its test entries, and nobody on it.
func well(zone string) string { return entry(testListed, zone, "A 127.0.0.2") }

// asks makes a resolver that asks this server.
func asks(t *testing.T, d *mailtest.DNS, patience time.Duration) *resolver.Resolver {
	t.Helper()
	r, err := resolver.New(resolver.Config{Servers: []netip.AddrPort{d.Addr()}, Timeout: patience, Tries: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

const (
	late = mailtest.Patience
	soon = 500 * time.Millisecond // for servers that say nothing; those that answer must manage it under load
)

func TestName(t *testing.T) {
	for _, c := range []struct{ address, want string }{
		{"192.0.2.25", "25.2.0.192.bl.example.org"},
		{"10.200.0.1", "1.0.200.10.bl.example.org"},
		{"2001:db8:1:2:3:4:567:89ab", "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.8.b.d.0.1.0.0.2.bl.example.org"}, // RFC 5782, 2.4
		{"::ffff:127.0.0.2", "2.0.0.0.0.0.f.7.f.f.f.f.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.bl.example.org"},
	} {
		if got := Name(netip.MustParseAddr(c.address), zone); got != c.want {
			t.Errorf("%s: %s, want %s", c.address, got, c.want)
		}
	}
}

// answerCase is a way in which a list can answer, and what is to be made of it.
type answerCase struct {
	what, zone string
	do         func(*mailtest.DNS)
	want       Standing
	codes      string
	says       string // in the reason, or in what the list says
	silent     bool   // the server says nothing that is an answer
}

func fail(name string, f mailtest.DNSFault) func(*mailtest.DNS) {
	return func(d *mailtest.DNS) { d.Fail(name, f) }
}

// answers are those about the address itself.
func answers() []answerCase {
	at := Name(us, zone)
	many := ""
	for i := range 20 {
		many += entry(us, zone, fmt.Sprintf("A 127.0.0.%d", i+2))
	}
	return []answerCase{
		{what: "not listed", zone: well(zone), want: Clean},
		{what: "listed", zone: well(zone) + entry(us, zone, "A 127.0.0.2") + entry(us, zone, `TXT "Blocked, see " "http://bl.example.org/"`), want: Listed, codes: "[127.0.0.2]", says: "Blocked, see http://bl.example.org/"},
		{what: "several codes", zone: well(zone) + entry(us, zone, "A 127.0.0.4") + entry(us, zone, "A 127.0.0.2"), want: Listed, codes: "[127.0.0.2 127.0.0.4]"},
		{what: "an alias", zone: well(zone) + entry(us, zone, "CNAME spam.example.net.") + "spam.example.net A 127.0.0.3\n", want: Listed, codes: "[127.0.0.3]"},
		{what: "an alias to nowhere", zone: well(zone) + entry(us, zone, "CNAME gone.example.net."), want: Clean},
		{what: "an alias to a web server", zone: well(zone) + entry(us, zone, "CNAME park.example.net.") + "park.example.net A 203.0.113.7\n", want: Unknown, says: "203.0.113.7 is outside 127.0.0.0/8"},
		{what: "an alias in a circle", zone: well(zone), do: fail(at, mailtest.DNSLoop), want: Unknown, says: "alias"},
		{what: "a text alone", zone: well(zone) + entry(us, zone, `TXT "listed"`), want: Clean},
		{what: "listed, and the text fails", zone: well(zone) + entry(us, zone, "A 127.0.0.2"), do: func(d *mailtest.DNS) { d.Fail(at, mailtest.DNSServFail, "TXT") }, want: Listed, codes: "[127.0.0.2]"},
		{what: "one answer of several is outside", zone: well(zone) + entry(us, zone, "A 127.0.0.2") + entry(us, zone, "A 198.51.100.1"), want: Unknown, says: "198.51.100.1"},
		{what: "one answer of several is an error", zone: well(zone) + entry(us, zone, "A 127.0.0.2") + entry(us, zone, "A 127.255.255.254"), want: Unknown, says: "a public one"},
		{what: "far too many answers", zone: well(zone) + many, want: Unknown, says: "20 answers at once"},
		{what: "time-out", zone: well(zone), do: fail(at, mailtest.DNSSilent), silent: true, want: Unknown, says: "time"},
		{what: "SERVFAIL", zone: well(zone), do: fail(at, mailtest.DNSServFail), want: Unknown, says: "SERVFAIL"},
		{what: "REFUSED", zone: well(zone), do: fail(at, mailtest.DNSRefused), want: Unknown, says: "REFUSED"},
		{what: "no such record", zone: well(zone), do: fail(at, mailtest.DNSNoData), want: Clean},
		{what: "records of another name", zone: well(zone) + entry(us, zone, "A 127.0.0.2"), do: fail(at, mailtest.DNSOtherOwner), want: Unknown, says: "other names"},
		{what: "truncated", zone: well(zone) + entry(us, zone, "A 127.0.0.2"), do: fail(at, mailtest.DNSTruncated), want: Listed, codes: "[127.0.0.2]"},
		{what: "no answer at all but octets", zone: well(zone), do: fail(at, mailtest.DNSGarbage), silent: true, want: Unknown},
	}
}

// blocked are those of lists that do not answer us, and of resolvers that answer in their place.
func blocked() []answerCase {
	first, second := Name(testListed, zone), Name(testClean, zone)
	return []answerCase{
		{what: "blocked: no test entry", zone: "x.example.org A 192.0.2.1\n", want: Unknown, says: "the test entry 127.0.0.2 is not listed"},
		{what: "no test entry, and listed", zone: entry(us, zone, "A 127.0.0.2"), want: Listed, codes: "[127.0.0.2]"},
		{what: "no test entry, and no answer", zone: "x.example.org A 192.0.2.1\n", do: fail(Name(us, zone), mailtest.DNSServFail), want: Unknown, says: "SERVFAIL"},
		{what: "no test entry, and the second fails", zone: entry(us, zone, "A 127.0.0.2"), do: fail(second, mailtest.DNSServFail), want: Unknown, says: "test entry 127.0.0.1: "},
		{what: "blocked: an error code", zone: entry(testListed, zone, "A 127.255.255.254") + entry(testListed, zone, `TXT "Error: open resolver; https://bl.example.org/why"`), want: Unknown, says: `it says "Error: open resolver; https://bl.example.org/why"`},
		{what: "blocked: too many questions", zone: entry(testListed, zone, "A 127.255.255.255"), want: Unknown, says: "too many questions"},
		{what: "blocked: no such zone there", zone: entry(testListed, zone, "A 127.255.255.252"), want: Unknown, says: "written wrongly"},
		{what: "blocked: another error code", zone: entry(testListed, zone, "A 127.255.255.1"), want: Unknown, says: "error code"},
		{what: "blocked: 127.0.0.1", zone: entry(testListed, zone, "A 127.0.0.1") + entry(testListed, zone, `TXT "127.0.0.1 -> Query Refused"`), want: Unknown, says: "Query Refused"},
		{what: "blocked: REFUSED", zone: well(zone), do: fail(first, mailtest.DNSRefused), want: Unknown, says: "asked about the test entry 127.0.0.2: the server refuses"},
		{what: "blocked: silence", zone: well(zone), do: fail(first, mailtest.DNSSilent), silent: true, want: Unknown, says: "test entry 127.0.0.2: "},
		{what: "an error code for the address alone", zone: well(zone) + entry(us, zone, "A 127.255.255.255"), want: Unknown, says: "too many questions"},
		{what: "hijacked: names that do not exist", zone: well(zone) + "*.bl.example.org A 203.0.113.7\n", want: Unknown, says: "test entry 127.0.0.1: the answer 203.0.113.7 is outside"},
		{what: "hijacked: everything", zone: "*.example.org A 203.0.113.7\n", want: Unknown, says: "test entry 127.0.0.2: the answer 203.0.113.7 is outside"},
		{what: "shut: yes to everything", zone: "*.bl.example.org A 127.0.0.2\n", want: Unknown, says: "says yes to everything"},
		{what: "the second test entry fails", zone: well(zone), do: fail(second, mailtest.DNSServFail), want: Unknown, says: "test entry 127.0.0.1: "},
	}
}

// TestAnswers: what is not an answer is never taken for one.
func TestAnswers(t *testing.T) {
	for _, c := range append(answers(), blocked()...) {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel()
			d := mailtest.StartDNS(t, c.zone)
			patience := late
			if c.do != nil {
				c.do(d)
			}
			if c.silent {
				patience = soon
			}
			got := (&Checker{Resolver: asks(t, d, patience)}).Check(t.Context(), []string{zone}, []netip.Addr{us})
			if len(got) != 1 || got[0].Zone != zone || got[0].Address != us {
				t.Fatalf("%+v", got)
			}
			r := got[0]
			codes := ""
			if r.Codes != nil {
				codes = fmt.Sprint(r.Codes)
			}
			if r.Standing != c.want || codes != c.codes || !strings.Contains(r.Why+strings.Join(r.Text, "|"), c.says) {
				t.Errorf("%v %s %q %q; want %v %s %q", r.Standing, codes, r.Why, r.Text, c.want, c.codes, c.says)
			}
			if (r.Why == "") != (r.Standing == Clean || r.Standing == Listed) {
				t.Errorf("%v, with the reason %q", r.Standing, r.Why)
			}
			if n := d.Asked("", "AAAA"); n != 0 {
				t.Errorf("%d questions for AAAA records, which lists do not have", n)
			}
		})
	}
}

// TestFamilies: whether a list has IPv6, or IPv4, is told by its test entries.
func TestFamilies(t *testing.T) {
	both := well(zone) + entry(testListed6, zone, "A 127.0.0.2")
	for _, c := range []struct {
		what, zone     string
		standing, six  Standing
		says, saysOf6  string
		do             func(*mailtest.DNS)
		testEntryAsked int // of IPv6
	}{
		{what: "both", zone: both, standing: Clean, six: Clean, testEntryAsked: 1},
		{what: "listed on both", zone: both + entry(us, zone, "A 127.0.0.2") + entry(us6, zone, "A 127.0.0.4"), standing: Listed, six: Listed, testEntryAsked: 1},
		{what: "IPv4 alone", zone: well(zone), standing: Clean, six: NotCovered, saysOf6: "does not list IPv6", testEntryAsked: 1},
		{what: "IPv6 without a test entry, and listed", zone: well(zone) + entry(us6, zone, "A 127.0.0.2"), standing: Clean, six: Listed, testEntryAsked: 1},
		{what: "IPv6 alone", zone: entry(testListed6, zone, "A 127.0.0.2") + entry(us6, zone, "A 127.0.0.2"), standing: NotCovered, six: Listed, says: "does not list IPv4", testEntryAsked: 1},
		{what: "neither", zone: "x.example.org A 192.0.2.1", standing: Unknown, six: Unknown, says: "test entry 127.0.0.2 is not", saysOf6: "test entry ::ffff:127.0.0.2 is not", testEntryAsked: 1},
		{what: "IPv6 says yes to everything", zone: both + entry(testClean6, zone, "A 127.0.0.2"), standing: Clean, six: Unknown, saysOf6: "says yes to everything", testEntryAsked: 1},
		{what: "IPv6 fails", zone: both, do: func(d *mailtest.DNS) { d.Fail(Name(testListed6, zone), mailtest.DNSServFail) }, standing: Clean, six: Unknown, saysOf6: "test entry ::ffff:127.0.0.2: ", testEntryAsked: 1},
	} {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel()
			d := mailtest.StartDNS(t, c.zone)
			if c.do != nil {
				c.do(d)
			}
			in4 := netip.AddrFrom16(us.As16()) // the IPv4 address in IPv6 clothes is the IPv4 address
			got := (&Checker{Resolver: asks(t, d, late)}).Check(t.Context(), []string{zone}, []netip.Addr{in4, us6})
			if got[0].Address != us || got[0].Standing != c.standing || got[1].Standing != c.six || !strings.Contains(got[0].Why, c.says) || !strings.Contains(got[1].Why, c.saysOf6) {
				t.Errorf("%+v", got)
			}
			if n := d.Asked(Name(testListed6, zone)); n != c.testEntryAsked {
				t.Errorf("the test entry of IPv6 was asked for %d times", n)
			}
		})
	}
}

// TestOneListIsDown: the others answer all the same, and the one that is down is asked once, not for each address.
func TestOneListIsDown(t *testing.T) {
	d := mailtest.StartDNS(t, well("a.example.org")+well("c.example.org")+entry(us, "c.example.org", "A 127.0.0.2"))
	d.Fail(Name(testListed, "b.example.org"), mailtest.DNSSilent)
	var addrs []netip.Addr
	for a := us; len(addrs) < 20; a = a.Next() {
		addrs = append(addrs, a)
	}
	var mu sync.Mutex
	told := map[Standing]int{}
	c := Checker{Resolver: asks(t, d, soon), Told: func(r Result) {
		mu.Lock()
		defer mu.Unlock()
		told[r.Standing]++
	}}
	got := c.Check(t.Context(), []string{"a.example.org", "b.example.org", "c.example.org"}, addrs)
	for i, r := range got {
		want := []Standing{Clean, Unknown, Clean}[i%3]
		if i == 2 {
			want = Listed
		}
		if r.Address != addrs[i/3] || r.Zone != string("abc"[i%3])+".example.org" || r.Standing != want {
			t.Errorf("%d: %+v", i, r)
		}
	}
	if told[Clean] != 39 || told[Unknown] != 20 || told[Listed] != 1 {
		t.Errorf("told of %v", told)
	}
	n := 0
	for _, q := range d.Queries() {
		if strings.HasSuffix(q.Name, ".b.example.org.") {
			n++
		}
	}
	if n != 1 {
		t.Errorf("the silent list was asked %d times", n)
	}
}

func TestNobodyAnswers(t *testing.T) {
	d := mailtest.StartDNS(t, "")
	d.Down()
	for _, r := range (&Checker{Resolver: asks(t, d, late)}).Check(t.Context(), Defaults(), []netip.Addr{us, us6}) {
		if r.Standing != Unknown || r.Why == "" {
			t.Errorf("%+v", r)
		}
	}
}

func TestOverall(t *testing.T) {
	for _, c := range []struct {
		of   []Standing
		want Standing
	}{
		{nil, Unknown},
		{[]Standing{Clean, Clean}, Clean},
		{[]Standing{Clean, NotCovered}, Clean},
		{[]Standing{NotCovered, NotCovered}, Unknown},
		{[]Standing{Clean, Unknown}, Unknown},
		{[]Standing{Unknown, Listed, Clean}, Listed},
	} {
		var r []Result
		for _, s := range c.of {
			r = append(r, Result{Standing: s})
		}
		if got := Overall(r); got != c.want {
			t.Errorf("%v: %v, want %v", c.of, got, c.want)
		}
	}
}

// TestKnown: what is told of each list by default.
func TestKnown(t *testing.T) {
	for _, z := range Defaults() {
		l := Known(z)
		if l.Zone != z || l.Name == "" || l.Off == "" || l.URL(us) == "" || l.Meaning(testListed) != l.Why || l.Meaning(testListed) == l.Meaning(testListed.Next()) {
			t.Errorf("%+v", l)
		}
	}
	if got := Known("bl.spamcop.net").URL(us); got != "https://www.spamcop.net/bl.shtml?192.0.2.25" {
		t.Error(got)
	}
	if l := Known(zone); l.URL(us) != "" || l.Off != "" || l.Name != zone || l.Meaning(testListed) == "" {
		t.Errorf("%+v", l)
	}
}
