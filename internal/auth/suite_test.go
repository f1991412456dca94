package auth

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"backstop/internal/evidence"
	"backstop/internal/mail"
	"backstop/internal/mailtest"
	"backstop/internal/resolver"

	"github.com/miekg/dns"
	"go.yaml.in/yaml/v3"
)

// words is one text or several.
type words []string

func (w *words) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.SequenceNode {
		return n.Decode((*[]string)(w))
	}
	*w = words{n.Value}
	return nil
}

// suite is one document of a file of cases: a zone, and what is asked of it.
type suite struct {
	Description string
	Tests       map[string]suiteCase
	Zone        map[string][]map[string]yaml.Node `yaml:"zonedata"`
}

type suiteCase struct {
	Helo, Host string
	MailFrom   string `yaml:"mailfrom"`
	Result     words
	Skip       string // why the library does not run it
}

// suiteFile reads a file of cases that the SPF library ships.
func suiteFile(t *testing.T, name string) []suite {
	t.Helper()
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "blitiri.com.ar/go/spf").Output()
	if err != nil {
		mailtest.Absent(t, "the source of the SPF library: "+err.Error())
	}
	f, err := os.Open(filepath.Join(strings.TrimSpace(string(dir)), "testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []suite
	for d := yaml.NewDecoder(f); ; {
		var s suite
		if err := d.Decode(&s); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
}

// quoted escapes a text as a zone file does; dots stay.
func quoted(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte("\"\\();@$", c) >= 0 {
			fmt.Fprintf(&b, "\\%03d", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// strs are the strings of a TXT record, none too long.
func strs(texts words) []string {
	var out []string
	for _, s := range texts {
		for len(s) > 255 {
			out, s = append(out, quoted(s[:255])), s[255:]
		}
		out = append(out, quoted(s))
	}
	return out
}

// serve starts a DNS server with the zone. A name that is said to time out is served with fault.
func (s suite) serve(t *testing.T, fault mailtest.DNSFault) *mailtest.DNS {
	t.Helper()
	d := mailtest.StartDNS(t, "")
	for name, records := range s.Zone {
		name = dns.Fqdn(quoted(name))
		if _, ok := dns.IsDomainName(name); !ok {
			continue // a label of more than 63 octets: it cannot be asked for
		}
		hasTXT := slices.ContainsFunc(records, func(r map[string]yaml.Node) bool { _, has := r["TXT"]; return has })
		for _, record := range records {
			for kind, node := range record {
				var value words
				if err := node.Decode(&value); err != nil {
					t.Fatalf("%s %s: %v", name, kind, err)
				}
				switch kind {
				case "TIMEOUT":
					d.Fail(name, fault)
				case "SERVFAIL":
					d.Fail(name, mailtest.DNSServFail)
				case "CNAMELOOP":
					d.Fail(name, mailtest.DNSLoop)
				case "SPF": // the type is no more (RFC 7208, 3.1): such a record stands for a TXT record, if there is none
					if !hasTXT {
						d.AddRecords(&dns.TXT{Hdr: rrHead(name, dns.TypeTXT), Txt: strs(value)})
					}
				default:
					d.AddRecords(record1(t, name, kind, value)...)
				}
			}
		}
	}
	return d
}

func rrHead(name string, kind uint16) dns.RR_Header {
	return dns.RR_Header{Name: name, Rrtype: kind, Class: dns.ClassINET, Ttl: 300}
}

// record1 makes the records of one entry.
func record1(t *testing.T, name, kind string, value words) []dns.RR {
	t.Helper()
	var out []dns.RR
	switch kind {
	case "TXT":
		return []dns.RR{&dns.TXT{Hdr: rrHead(name, dns.TypeTXT), Txt: strs(value)}}
	case "MX":
		var pref uint16
		fmt.Sscan(value[0], &pref)
		return []dns.RR{&dns.MX{Hdr: rrHead(name, dns.TypeMX), Preference: pref, Mx: dns.Fqdn(quoted(value[1]))}}
	}
	for _, v := range value {
		switch kind {
		case "A":
			out = append(out, &dns.A{Hdr: rrHead(name, dns.TypeA), A: netip.MustParseAddr(v).AsSlice()})
		case "AAAA":
			out = append(out, &dns.AAAA{Hdr: rrHead(name, dns.TypeAAAA), AAAA: netip.MustParseAddr(v).AsSlice()})
		case "PTR":
			out = append(out, &dns.PTR{Hdr: rrHead(name, dns.TypePTR), Ptr: dns.Fqdn(quoted(v))})
		case "CNAME":
			out = append(out, &dns.CNAME{Hdr: rrHead(name, dns.TypeCNAME), Target: dns.Fqdn(quoted(v))})
		default:
			t.Fatalf("%s: what is %s?", name, kind)
		}
	}
	return out
}

// asked puts the case to the checker. A sender that no SMTP server takes, and a domain of one
// label, which has no record (RFC 7208, 4.3) and is in the zone all the same, is put past the door: odd.
func (c suiteCase) asked(t *testing.T, checker *Checker) (got evidence.Result, detail string, odd bool) {
	t.Helper()
	client, err := netip.ParseAddr(c.Host)
	if err != nil {
		t.Fatal(err)
	}
	domain := c.MailFrom[strings.LastIndex(c.MailFrom, "@")+1:]
	a, err := mail.ParseAddress(c.MailFrom)
	if c.MailFrom != "" && (err != nil || !strings.Contains(domain, ".")) {
		got, detail = checker.spf(t.Context(), client, c.Helo, c.MailFrom, domain)
		return got, detail, true
	}
	s := checker.SPF(t.Context(), client, c.Helo, mail.ReversePath{Address: a})
	return s.Result, s.Detail, false
}

// suites are the files; how many cases each has, and how many of them go past the door, so that none gets lost.
var suites = map[string][2]int{"rfc7208-tests.yml": {203, 4}, "pyspf-tests.yml": {16, 0}, "blitirispf-tests.yml": {83, 25}}

// TestSuite plays the cases of RFC 7208 that the library ships, those that it skips too, over the wire and
// through our resolver. None is left out. Those that come out otherwise than the suite has it are in the table
// differs, each with the reason, and have to come out as it says.
func TestSuite(t *testing.T) {
	for file, want := range suites {
		t.Run(file, func(t *testing.T) {
			played, odd, other := 0, 0, 0
			for _, s := range suiteFile(t, file) {
				n, m := s.play(t, file, mailtest.DNSServFail, mailtest.Patience)
				played, odd, other = played+len(s.Tests), odd+n, other+m
			}
			if got := [2]int{played, odd}; got != want || other != len(differs[file]) {
				t.Errorf("%d cases, %d past the door, %d otherwise; want %d and %d", played, odd, other, want, len(differs[file]))
			}
			t.Logf("%d cases played, %d as the suite has it, %d otherwise for a known reason, %d past the door", played, played-other, other, odd)
		})
	}
}

// TestSuiteTimeouts plays those documents again in which a name times out, with a server that says nothing.
func TestSuiteTimeouts(t *testing.T) {
	for file := range suites {
		for i, s := range suiteFile(t, file) {
			if slices.ContainsFunc(slices.Collect(maps.Values(s.Zone)), func(l []map[string]yaml.Node) bool {
				return slices.ContainsFunc(l, func(r map[string]yaml.Node) bool { _, has := r["TIMEOUT"]; return has })
			}) {
				t.Run(fmt.Sprintf("%s %d %s", file, i, s.Description), func(t *testing.T) {
					t.Parallel()
					s.play(t, file, mailtest.DNSSilent, 400*time.Millisecond)
				})
			}
		}
	}
}

// play puts all cases of a document to a checker whose DNS has its zone, and says how many went past the
// door, and how many came out otherwise.
func (s suite) play(t *testing.T, file string, fault mailtest.DNSFault, timeout time.Duration) (odd, other int) {
	t.Helper()
	d := s.serve(t, fault)
	r, err := resolver.New(resolver.Config{Servers: []netip.AddrPort{d.Addr()}, Timeout: timeout, Tries: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	checker := New(Config{Resolver: r, SPFTime: mailtest.Patience})
	for name, c := range s.Tests {
		got, detail, isOdd := c.asked(t, checker)
		if isOdd {
			odd++
		}
		want := c.Result
		if known, differs := differs[file][name]; differs {
			want = words{known.result}
			other++
			if slices.Contains(c.Result, known.result) {
				t.Errorf("%s: what it is to differ by is what the suite has", name)
			}
		}
		if !slices.Contains(want, got.String()) {
			t.Errorf("%s, %s: %v (%s), want %v; the library: %q", s.Description, name, got, detail, want, c.Skip)
		}
	}
	return odd, other
}

// differs are the cases that come out otherwise than in the suite, how, and why.
var differs = map[string]map[string]struct{ result, why string }{
	"pyspf-tests.yml": {
		"baddomain":              {"neutral", "Not worth the complexity of erroring on this."},
		"default-modifier":       {"neutral", "It's not clear this is problematic."},
		"default-modifier-harsh": {"neutral", "It's not clear this is problematic."},
	},
	"blitirispf-tests.yml": {
		"macro-empty-parts":            {"pass", "We drop empty parts when splitting macro values, giving pass here."},
		"macro-postmaster-empty-local": {"fail", "We don't substitute 'postmaster' for an empty local-part."},
	},
	"rfc7208-tests.yml": {
		"a-bad-domain":                 {"neutral", "We don't enforce domain charset."},
		"a-bad-toplabel":               {"neutral", "We don't enforce TLD structure."},
		"a-colon-domain":               {"permerror", "Allowing / in domain names is not worth the complexity"},
		"a-colon-domain-ip4mapped":     {"permerror", "Allowing / in domain names is not worth the complexity"},
		"a-null":                       {"neutral", "We don't enforce charset."},
		"a-numeric":                    {"neutral", "We don't enforce domain structure."},
		"a-numeric-toplabel":           {"neutral", "We don't enforce TLD structure."},
		"a-only-toplabel":              {"neutral", "We don't enforce TLD structure."},
		"a-only-toplabel-trailing-dot": {"neutral", "We don't enforce TLD structure."},
		"bare-ip6":                     {"fail", "There's an early match."},
		"cidr4-032":                    {"pass", "It's not clear this is problematic."},
		"control-char-policy":          {"fail", "We fail instead of permerror because we don't enforce the charset."},
		"detect-errors-anywhere":       {"pass", "We don't catch errors after a match."},
		"exp-empty-domain":             {"fail", "We ignore exp, and is harmless."},
		"exp-only-macro-char":          {"fail", "We ignore exp, and is harmless."},
		"exp-syntax-error":             {"neutral", "We don't enforce exp values."},
		"exp-twice":                    {"fail", "We ignore exp, and is harmless."},
		"invalid-domain":               {"fail", "We don't enforce TLD structure."},
		"mx-bad-domain":                {"neutral", "We don't enforce domain syntax."},
		"mx-bad-toplab":                {"neutral", "We don't enforce TLD structure."},
		"mx-colon-domain":              {"permerror", "Allowing / in domain names is not worth the complexity"},
		"mx-colon-domain-ip4mapped":    {"permerror", "Allowing / in domain names is not worth the complexity"},
		"mx-null":                      {"neutral", "We don't enforce charset."},
		"mx-numeric-top-label":         {"neutral", "We don't validate top-level domains."},
		"non-ascii-policy":             {"fail", "We don't enforce 7-bit ascii."},
		"p-macro-multiple":             {"neutral", "p macro is not supported"},
		"redirect-empty-domain":        {"neutral", "There's an early match."},
		"redirect-is-modifier":         {"pass", "We don't catch errors after a match."},
		"redirect-syntax-error":        {"neutral", "We don't enforce charset within the redirect."},
		"spftimeout":                   {"temperror", "We don't use SPF records, it's ok to temperror here."},
		"unknown-modifier-syntax":      {"fail", "There's an early match."},
	},
}
