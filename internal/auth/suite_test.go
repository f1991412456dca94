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
	"regexp"
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

	// dots: its domains have one label only, which is no domain-spec (RFC 7208, 7.1) and has no record (4.3). They
	// are given a second one, so that what the case is about is seen.
	dots bool
}

var oneLabel = regexp.MustCompile(`\b((?:a|mx|include|exists|ptr|redirect)[:=][a-z0-9]+)(/| |$)`)

// dotted is a name, or a record, with the second label.
func (s suite) dotted(text string) string {
	switch {
	case !s.dots || text == "":
	case isSPF(text):
		return oneLabel.ReplaceAllString(text, "$1.test$2")
	case !strings.Contains(text[strings.IndexByte(text, '@')+1:], "."):
		return text + ".test"
	}
	return text
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
		s.dots = name == "blitirispf-tests.yml"
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
		name = dns.Fqdn(quoted(s.dotted(name)))
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
				for i := range value {
					if kind != "A" && kind != "AAAA" && !(kind == "MX" && i == 0) {
						value[i] = s.dotted(value[i])
					}
				}
				if slices.Contains(value, "NONE") {
					continue
				}
				if _, isType := dns.StringToType[kind]; isType { // what is there is told, even if another type times out
					d.Fail(name, mailtest.DNSWell, kind)
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

// asked puts the case to the checker. A sender that no SMTP server takes is put past the door: odd.
func (c suiteCase) asked(t *testing.T, checker *Checker) (got evidence.Result, detail string, odd bool) {
	t.Helper()
	client, err := netip.ParseAddr(c.Host)
	if err != nil {
		t.Fatal(err)
	}
	domain := c.MailFrom[strings.LastIndex(c.MailFrom, "@")+1:]
	a, err := mail.ParseAddress(c.MailFrom)
	if c.MailFrom != "" && err != nil {
		got, detail = checker.spf(t.Context(), client, c.Helo, c.MailFrom, domain)
		return got, detail, true
	}
	s := checker.SPF(t.Context(), client, c.Helo, mail.ReversePath{Address: a})
	return s.Result, s.Detail, false
}

// suites are the files; how many cases each has, and how many of them go past the door, so that none gets lost.
var suites = map[string][2]int{"rfc7208-tests.yml": {203, 4}, "pyspf-tests.yml": {16, 0}, "blitirispf-tests.yml": {83, 2}}

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
	r, err := resolver.New(resolver.Config{Servers: []netip.AddrPort{d.Addr()}, Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	checker := New(Config{Resolver: r, SPFTime: mailtest.Patience})
	for name, c := range s.Tests {
		c.MailFrom = s.dotted(c.MailFrom)
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

// differs are the cases that come out otherwise than in the suite, how, and why. None lets anybody pass whom
// the suite does not, but for macro-empty-parts, where the domain's own macro would have to be made for it.
var differs = map[string]map[string]struct{ result, why string }{
	"rfc7208-tests.yml": {
		"a-colon-domain":            {"permerror", slash},
		"a-colon-domain-ip4mapped":  {"permerror", slash},
		"mx-colon-domain":           {"permerror", slash},
		"mx-colon-domain-ip4mapped": {"permerror", slash},
		"p-macro-multiple":          {"neutral", "the library looks up no %{p} and takes \"unknown\", as RFC 7208, 7.3 has it for a client without a name; nobody should publish it (7.2)"},
	},
	"pyspf-tests.yml": {
		"default-modifier":       {"neutral", "the modifier default= is of no standard, and unknown modifiers are passed over (RFC 7208, 6)"},
		"default-modifier-harsh": {"neutral", "the result \"ambiguous\" is one of the harsh mode of pyspf only"},
	},
	"blitirispf-tests.yml": {
		"macro-empty-parts": {"pass", "the library drops empty parts when a macro splits a value at its delimiters"},
	},
}

const slash = "the library takes a slash in a domain for the begin of a network; no host has such a name"
