package ldapdir

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"
	"pgregory.net/rapid"
)

func TestCanPull(t *testing.T) {
	for filter, why := range map[string]string{
		"(mail={address})": "",
		"(&(objectClass=person)(|(mail={address})(alias=SMTP:{address})))":        "",
		"(&(!(blocked=TRUE))(|(a=b)(c=d))(&(mail={address})))":                    "",
		"(|(&(a=b)(mail={address}))(&(c=d)(mail={address}))(mail={address}))":     "",
		"(&(a=b)(&(c=d)(|(mail={address})(|(alias={address})(Mail={address})))))": "",
		"(!(!(a=b)))": "",
		"(&(mail={address})(!(blockedFor={address})))":                  `behind a "!"`,
		"(!(!(mail={address})))":                                        `behind a "!"`,
		"(|(mail={address})(&(accountStatus=active)(alias={address})))": "for some of the attributes",
		"(|(&(a=b)(mail={address}))(&(a=b)(alias={address})))":          "for some of the attributes",
		"(|(mail={address})(catchall=TRUE))":                            `part of an "|" has no {address}`,
		"(&(mail={address})(proxyAddresses=smtp:{address}))":            `two parts of an "&"`,
		"(maildrop=vmail-{address})":                                    "a part of the value",
		"(maildrop={address}{address})":                                 "a part of the value",
		"(maildrop={address}-x)":                                        "a part of the value",
		"(mail={address}*)":                                             "a part of the value",
		"(mail>={address})":                                             "something else",
		"(mail~={address})":                                             "something else",
		"(mail:caseIgnoreMatch:={address})":                             "something else",
		"(mail;lang-de={address})":                                      "write the attribute's name",
		"(0.9.2342.19200300.100.1.3={address})":                         "write the attribute's name",
	} {
		err := CanPull(filter)
		if (err == nil) != (why == "") || err != nil && !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v, want %q", filter, err, why)
		}
	}
}

// someone is an entry: attributes with their values.
type someone map[string][]string

// holds says whether a compiled filter holds for an entry, as RFC 4511, 4.5.1.7 has it; what a server
// does not know is left out.
func (e someone) holds(p *ber.Packet) bool {
	text := func(p *ber.Packet) string { return ber.DecodeString(p.Data.Bytes()) }
	switch p.Tag {
	case ldap.FilterAnd:
		return !slices.ContainsFunc(p.Children, func(c *ber.Packet) bool { return !e.holds(c) })
	case ldap.FilterOr:
		return slices.ContainsFunc(p.Children, e.holds)
	case ldap.FilterNot:
		return !e.holds(p.Children[0])
	case ldap.FilterPresent:
		return len(e[text(p)]) > 0
	case ldap.FilterEqualityMatch:
		return slices.Contains(e[text(p.Children[0])], text(p.Children[1]))
	}
	panic(fmt.Sprintf("a filter of tag %d", p.Tag))
}

// TestTurned: by a filter that can be pulled a copy has exactly the addresses that are found live.
func TestTurned(t *testing.T) {
	attributes := []string{"a", "b", "c"}
	values := []string{"x@example.com", "y@example.com", "z@example.com"}
	compile := func(t *rapid.T, filter string) *ber.Packet {
		p, err := ldap.CompileFilter(filter)
		if err != nil {
			t.Fatalf("%s: %v", filter, err)
		}
		return p
	}
	taken, refused := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		item := rapid.Custom(func(t *rapid.T) string {
			value := rapid.SampledFrom([]string{"{address}", "{address}", "{address}", "*", "x@example.com"}).Draw(t, "value")
			return "(" + rapid.SampledFrom(attributes).Draw(t, "attribute") + "=" + value + ")"
		})
		var any func(depth int) *rapid.Generator[string]
		any = func(depth int) *rapid.Generator[string] {
			if depth == 0 {
				return item
			}
			return rapid.Custom(func(t *rapid.T) string {
				op := rapid.SampledFrom([]string{"", "", "&", "|", "!"}).Draw(t, "op")
				n := map[string]int{"": 0, "&": 2, "|": 2, "!": 1}[op]
				if n == 0 {
					return item.Draw(t, "item")
				}
				return "(" + op + strings.Join(rapid.SliceOfN(any(depth-1), n, n).Draw(t, "parts"), "") + ")"
			})
		}
		filter := any(3).Draw(t, "filter")
		f, err := parseTemplate(filter)
		if err != nil {
			t.Fatal(err)
		}
		if !f.whole || f.canPull() != nil {
			refused++
			return
		}
		taken++
		everybody := rapid.SliceOfN(rapid.MapOfN(rapid.SampledFrom(attributes), rapid.SliceOfNDistinct(rapid.SampledFrom(values), 0, 3, rapid.ID), 0, 3), 1, 3).Draw(t, "entries")
		all := compile(t, f.anybody(false))
		for _, v := range values {
			live, copied := false, false
			question := compile(t, strings.ReplaceAll(filter, forAddress, v))
			for _, e := range everybody {
				live = live || someone(e).holds(question)
				if someone(e).holds(all) {
					copied = copied || slices.ContainsFunc(f.attributes(), func(a string) bool { return slices.Contains(e[a], v) })
				}
			}
			if live != copied {
				t.Fatalf("%s: %s is found live: %v, in a copy: %v, of %v", filter, v, live, copied, everybody)
			}
		}
	})
	if taken == 0 || refused == 0 {
		t.Errorf("%d filters were taken, %d refused", taken, refused)
	}
	t.Logf("%d filters were taken, %d refused", taken, refused)
}
