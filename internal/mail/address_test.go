package mail

import (
	"errors"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestParsePath(t *testing.T) {
	local64 := strings.Repeat("l", 64)
	longDomain := strings.Repeat(strings.Repeat("d", 59)+".", 4) + "example" // 247 octets
	for _, tc := range []struct {
		name, in   string
		utf8       bool
		text, key  string
		rest, fail string
	}{
		{name: "null reverse-path", in: "<>"},
		{name: "null reverse-path with parameters", in: "<> SIZE=1", rest: " SIZE=1"},
		{name: "plain", in: "<ann@example.org>", text: "ann@example.org", key: "ann@example.org"},
		{name: "parameters", in: "<ann@example.org> SIZE=10 BODY=7BIT", text: "ann@example.org", key: "ann@example.org", rest: " SIZE=10 BODY=7BIT"},
		{name: "case folded, text kept", in: "<Ann.LEE@Example.ORG>", text: "Ann.LEE@Example.ORG", key: "ann.lee@example.org"},
		{name: "every atext", in: "<!#$%&'*+-/=?^_`{|}~@example.org>", text: "!#$%&'*+-/=?^_`{|}~@example.org", key: "!#$%&'*+-/=?^_`{|}~@example.org"},
		{name: "postmaster without a domain", in: "<postmaster>", text: "postmaster", key: "postmaster"},
		{name: "Postmaster in capitals", in: "<PostMaster>", text: "PostMaster", key: "postmaster"},
		{name: "another mailbox without a domain", in: "<ann> X", text: "ann", key: "ann", rest: " X"},
		{name: "quoted, needed", in: `<"a b"@example.org>`, text: `"a b"@example.org`, key: `"a b"@example.org`},
		{name: "quoted at sign", in: `<"a@b"@example.org>`, text: `"a@b"@example.org`, key: `"a@b"@example.org`},
		{name: "quoted angle bracket", in: `<"a>b"@example.org> X`, text: `"a>b"@example.org`, key: `"a>b"@example.org`, rest: " X"},
		{name: "quoted pairs", in: `<"a\"b\\c"@example.org>`, text: `"a\"b\\c"@example.org`, key: `"a\"b\\c"@example.org`},
		{name: "quotes not needed", in: `<"Ann"@example.org>`, text: `"Ann"@example.org`, key: `ann@example.org`},
		{name: "quoted pairs not needed", in: `<"a\nn"@example.org>`, text: `"a\nn"@example.org`, key: `ann@example.org`},
		{name: "two dots in quotes", in: `<"a..b"@example.org>`, text: `"a..b"@example.org`, key: `"a..b"@example.org`},
		{name: "dot at the end in quotes", in: `<"ab."@example.org>`, text: `"ab."@example.org`, key: `"ab."@example.org`},
		{name: "source route", in: "<@one.test,@two.test:ann@example.org>", text: "ann@example.org", key: "ann@example.org"},
		{name: "source route of a literal", in: "<@[192.0.2.1]:ann@example.org>", text: "ann@example.org", key: "ann@example.org"},
		{name: "source route before quotes", in: `<@one.test:"a:b"@example.org>`, text: `"a:b"@example.org`, key: `"a:b"@example.org`},
		{name: "IPv4 literal", in: "<ann@[192.0.2.1]>", text: "ann@[192.0.2.1]", key: "ann@[192.0.2.1]"},
		{name: "IPv6 literal", in: "<ann@[IPv6:2001:DB8::1]>", text: "ann@[IPv6:2001:DB8::1]", key: "ann@[ipv6:2001:db8::1]"},
		{name: "trailing dot", in: "<ann@example.org.>", text: "ann@example.org.", key: "ann@example.org"},
		{name: "underscore", in: "<ann@my_host.example.org>", text: "ann@my_host.example.org", key: "ann@my_host.example.org"},
		{name: "U-label", in: "<ann@Bücher.Example>", utf8: true, text: "ann@Bücher.Example", key: "ann@xn--bcher-kva.example"},
		{name: "UTF-8 local part", in: "<Änne@example.org>", utf8: true, text: "Änne@example.org", key: "änne@example.org"},
		{name: "UTF-8 in quotes", in: "<\"Ä nne\"@example.org>", utf8: true, text: "\"Ä nne\"@example.org", key: "\"ä nne\"@example.org"},
		{name: "Kelvin sign is not k", in: "<\u212a@example.org>", utf8: true, text: "\u212a@example.org", key: "\u212a@example.org"},
		{name: "I with a dot is not i", in: "<\u0130@example.org>", utf8: true, text: "\u0130@example.org", key: "\u0130@example.org"},
		{name: "64 octets of local part", in: "<" + local64 + "@example.org>", text: local64 + "@example.org", key: local64 + "@example.org"},
		{name: "SRS address beyond 64 octets", in: "<SRS0=aB3/=XY=example.org=" + local64 + "@fwd.example>", text: "SRS0=aB3/=XY=example.org=" + local64 + "@fwd.example", key: "srs0=ab3/=xy=example.org=" + local64 + "@fwd.example"},
		{name: "SRS1 beyond 64 octets, +, quoted", in: `<"srs1+` + local64 + ` x"@fwd.example>`, text: `"srs1+` + local64 + ` x"@fwd.example`, key: `"srs1+` + local64 + ` x"@fwd.example`},
		{name: "SRS address of 200 octets", in: "<SRS0-" + strings.Repeat("l", 195) + "@fwd.example>", text: "SRS0-" + strings.Repeat("l", 195) + "@fwd.example", key: "srs0-" + strings.Repeat("l", 195) + "@fwd.example"},
		{name: "SRS address of a whole path", in: "<SRS0-" + strings.Repeat("l", 195) + "@" + longDomain[:53] + ">", text: "SRS0-" + strings.Repeat("l", 195) + "@" + longDomain[:53], key: "srs0-" + strings.Repeat("l", 195) + "@" + longDomain[:53]},
		{name: "longest path", in: "<l@" + longDomain + ">", text: "l@" + longDomain, key: "l@" + longDomain},

		{name: "nothing", in: "", fail: "written <user@domain>"},
		{name: "no brackets", in: "ann@example.org", fail: "written <user@domain>"},
		{name: "a space before", in: " <ann@example.org>", fail: "written <user@domain>"},
		{name: "not closed", in: "<ann@example.org", fail: "closing >"},
		{name: "not closed, null", in: "<", fail: "closing >"},
		{name: "not closed, no domain", in: "<ann", fail: "closing >"},
		{name: "empty domain", in: "<ann@>", fail: "domain is empty"},
		{name: "empty local part", in: "<@example.org>", fail: "source route"},
		{name: "empty quotes", in: `<""@example.org>`, fail: "quoted local part is empty"},
		{name: "quote not closed", in: `<"ann@example.org>`, fail: "closing quote"},
		{name: "backslash at the end", in: `<"ann\`, fail: "quotes nothing"},
		{name: "text behind the quote", in: `<"ann"x@example.org>`, fail: "closing >"},
		{name: "leading dot", in: "<.ann@example.org>", fail: "dot"},
		{name: "two dots", in: "<ann..lee@example.org>", fail: "dot"},
		{name: "trailing dot of the local part", in: "<ann.@example.org>", fail: "dot"},
		{name: "trailing dot, no domain", in: "<ann.>", fail: "dot"},
		{name: "space", in: "<ann lee@example.org>", fail: "closing >"},
		{name: "comment", in: "<ann(lee)@example.org>", fail: "unquoted"},
		{name: "two at signs", in: "<a@b@example.org>", fail: "may not contain"},
		{name: "tab", in: "<an\tn@example.org>", fail: "unquoted"},
		{name: "NUL", in: "<an\x00n@example.org>", fail: "unquoted"},
		{name: "DEL in quotes", in: "<\"an\x7fn\"@example.org>", fail: "control"},
		{name: "NUL in quotes", in: "<\"an\x00n\"@example.org>", fail: "control"},
		{name: "CR LF in quotes", in: "<\"an\r\nn\"@example.org>", fail: "control"},
		{name: "CR LF behind a backslash", in: "<\"an\\\r\nn\"@example.org>", fail: "quotes nothing"},
		{name: "CR LF in the domain", in: "<ann@exam\r\nple.org>", fail: "may not contain"},
		{name: "CR LF in a U-label", in: "<ann@b\u00fc\r\nple.org>", utf8: true, fail: "domain"},
		{name: "source route without a colon", in: "<@one.test,ann@example.org>", fail: "source route"},
		{name: "source route without an at sign", in: "<@one.test,two.test:ann@example.org>", fail: "source route"},
		{name: "source route of nonsense", in: "<@one test:ann@example.org>", fail: "may not contain"},
		{name: "source route and nothing", in: "<@one.test:>", fail: "empty"},
		{name: "literal not closed", in: "<ann@[192.0.2.1>", fail: "literal"},
		{name: "literal of nonsense", in: "<ann@[192.0.2.256]>", fail: "literal"},
		{name: "IPv6 literal without its tag", in: "<ann@[2001:db8::1]>", fail: "literal"},
		{name: "IPv4 literal with the tag", in: "<ann@[IPv6:192.0.2.1]>", fail: "literal"},
		{name: "literal with a zone", in: "<ann@[IPv6:fe80::1%eth0]>", fail: "literal"},
		{name: "empty label", in: "<ann@example..org>", fail: "empty label"},
		{name: "leading dot of the domain", in: "<ann@.example.org>", fail: "empty label"},
		{name: "a dot for a domain", in: "<ann@.>", fail: "empty label"},
		{name: "two dots behind a U-label", in: "<ann@bücher..>", utf8: true, fail: "empty label"},
		{name: "65 octets of local part", in: "<l" + local64 + "@example.org>", fail: "longer than 64"},
		{name: "SRS address of 201 octets", in: "<SRS0=" + strings.Repeat("l", 196) + "@fwd.example>", fail: "longer than 200"},
		{name: "SRS address longer than a path", in: "<SRS0=" + strings.Repeat("l", 195) + "@" + longDomain[:54] + ">", fail: "path is too long"},
		{name: "SRS address longer than a path when folded", in: "<SRS0=" + strings.Repeat("l", 195) + "@" + strings.Repeat("ü", 24) + ".example>", utf8: true, fail: "path is too long"},
		{name: "SRS2 beyond 64 octets", in: "<SRS2=" + local64 + "@example.org>", fail: "longer than 64"},
		{name: "no separator of SRS, beyond 64 octets", in: "<SRS0." + local64 + "@example.org>", fail: "longer than 64"},
		{name: "SRS with a long s, beyond 64 octets", in: "<\u017frs0=" + local64 + "@example.org>", utf8: true, fail: "longer than 64"},
		{name: "SRS behind a tag, beyond 64 octets", in: "<prvs=0786d6aa1a=SRS0=" + local64 + "@example.org>", fail: "longer than 64"},
		{name: "label of 64 octets", in: "<ann@" + strings.Repeat("d", 64) + ".org>", fail: "longer than 63"},
		{name: "domain of 256 octets", in: "<a@" + strings.Repeat("d.", 127) + "dd>", fail: "longer than 255"},
		{name: "path without end", in: "<a@" + strings.Repeat("d.", 400) + "d>", fail: "too long"},
		{name: "UTF-8 not asked for", in: "<änne@example.org>", fail: "SMTPUTF8"},
		{name: "UTF-8 domain not asked for", in: "<ann@bücher.example>", fail: "SMTPUTF8"},
		{name: "broken UTF-8", in: "<\xff@example.org>", utf8: true, fail: "not UTF-8"},
		{name: "broken UTF-8 without a domain", in: "<0\x81>", utf8: true, fail: "not UTF-8"},
		{name: "control character above ASCII", in: "<a\u009b31m@example.org>", utf8: true, fail: "control"},
		{name: "control character above ASCII in quotes", in: "<\"a\u009b31m\"@example.org>", utf8: true, fail: "control"},
		{name: "broken UTF-8 in quotes", in: "<\"\xc3\"@example.org>", utf8: true, fail: "not UTF-8"},
		{name: "broken UTF-8 in the domain", in: "<ann@\xc3.org>", utf8: true, fail: "ASCII"},
		{name: "full width at sign", in: "<ann@ex\uff20ample.org>", utf8: true, fail: "domain"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a, rest, err := ParsePath(tc.in, tc.utf8)
			if tc.fail != "" {
				if err == nil || !strings.Contains(err.Error(), tc.fail) || !errors.Is(err, ErrAddress) {
					t.Fatalf("got %q, error %v, want an ErrAddress with %q", a, err, tc.fail)
				}
				if !a.IsZero() {
					t.Fatalf("an address %q beside the error", a)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if a.String() != tc.text || a.Key() != tc.key || rest != tc.rest {
				t.Fatalf("got text %q, key %q, rest %q, want %q, %q, %q", a, a.Key(), rest, tc.text, tc.key, tc.rest)
			}
			if a.IsZero() != (tc.text == "") || (ReversePath{a}).IsNull() != (tc.text == "") {
				t.Fatal("null is not told from an address")
			}
		})
	}
}

func TestParseAddress(t *testing.T) {
	for _, tc := range []struct{ in, local, domain, fail string }{
		{in: "ann@example.org", local: "ann", domain: "example.org"},
		{in: "ann", local: "ann"},
		{in: `"a b"@Example.org`, local: `"a b"`, domain: "example.org"},
		{in: "", fail: "empty"},
		{in: "@example.org", fail: "empty"},
		{in: "ann@", fail: "empty"},
		{in: "ann lee", fail: "unquoted"},
		{in: "ann>", fail: "unquoted"},
		{in: "<ann@example.org>", fail: "unquoted"},
		{in: `"ann" <ann@example.org>`, fail: "unquoted"},
		{in: "ann@example.org>", fail: "may not contain"},
		{in: "ann@example.org, lee@example.org", fail: "may not contain"},
	} {
		a, err := ParseAddress(tc.in)
		if tc.fail != "" {
			if err == nil || !strings.Contains(err.Error(), tc.fail) || !errors.Is(err, ErrAddress) {
				t.Errorf("%q: got %q, error %v, want %q", tc.in, a, err, tc.fail)
			}
			continue
		}
		if err != nil || a.Local() != tc.local || a.Domain() != tc.domain || a.String() != tc.in {
			t.Errorf("%q: got %q at %q (%v)", tc.in, a.Local(), a.Domain(), err)
		}
	}
}

// TestOneDomain: every way to write an internationalized name is one domain.
func TestOneDomain(t *testing.T) {
	for _, s := range []string{
		"bücher.example", "BÜCHER.example", "Bücher.EXAMPLE.", "bu\u0308cher.example", // the last: decomposed
		"xn--bcher-kva.example", "XN--BCHER-KVA.Example", "xn--bcher-kva.example.",
		"bücher。example", "bücher．example", "bücher.ｅxample", "b\u00adücher.example", // full stops and letters of other widths, a soft hyphen
	} {
		got, err := FoldDomain(s)
		if err != nil || got != "xn--bcher-kva.example" {
			t.Errorf("%q folds to %q (%v)", s, got, err)
		}
	}
	for _, s := range []string{"", ".", "..", "a..b", "a b", "a,b", "a/b", "a@b", "[", "[]", "[x", "ü..", "\u3002", "\x00", "xn--ü"} {
		if got, err := FoldDomain(s); !errors.Is(err, ErrDomain) || got != "" && err == nil {
			t.Errorf("%q folds to %q (%v)", s, got, err)
		}
	}
}

func TestWithDomain(t *testing.T) {
	for _, tc := range []struct{ in, domain, want, key string }{
		{"Ann@example.net", "example.org", "Ann@example.org", "ann@example.org"},
		{`"a b"@example.net`, "Example.ORG", `"a b"@Example.ORG`, `"a b"@example.org`},
		{"postmaster", "example.org", "postmaster@example.org", "postmaster@example.org"},
	} {
		a := must(t, tc.in)
		got, err := a.WithDomain(tc.domain)
		if err != nil || got.String() != tc.want || got.Key() != tc.key || got.Local() != a.Local() {
			t.Errorf("%s in %s is %q, key %q (%v)", tc.in, tc.domain, got, got.Key(), err)
		}
		if a.String() != tc.in {
			t.Errorf("%s was changed to %q", tc.in, a)
		}
	}
	for _, bad := range []string{"", "a b", "[1.2.3]"} {
		if got, err := must(t, "ann@example.org").WithDomain(bad); err == nil || !got.IsZero() {
			t.Errorf("%q was taken for a domain: %q", bad, got)
		}
	}
	if got, err := (Address{}).WithDomain("example.org"); err == nil {
		t.Errorf("nobody in example.org is %q", got)
	}
}

func TestBase(t *testing.T) {
	for _, tc := range []struct{ in, separator, want string }{
		{"ann+news@example.org", "+", "ann@example.org"},
		{"ann+a+b@example.org", "+", "ann@example.org"},
		{"Ann-news@example.org", "-", "Ann@example.org"},
		{"ann--x@example.org", "--", "ann@example.org"},
		{"ann+@example.org", "+", "ann@example.org"},
		{"ann+news", "+", "ann"},
		{"ann@example.org", "+", "ann@example.org"},
		{"ann+news@example.org", "", "ann+news@example.org"},
		{"ann+news@example.org", "-", "ann+news@example.org"},
		{"+news@example.org", "+", "+news@example.org"},
		{"ann.+news@example.org", "+", "ann.+news@example.org"},
		{`"ann+news"@example.org`, "+", `"ann+news"@example.org`},
	} {
		if got := must(t, tc.in).Base(tc.separator); got.String() != tc.want {
			t.Errorf("the base of %s by %q is %q, want %q", tc.in, tc.separator, got, tc.want)
		}
	}
	if !(Address{}).Base("+").IsZero() {
		t.Error("nobody has a base")
	}
}

func TestZeroAddress(t *testing.T) {
	var a Address
	if !a.IsZero() || a.String() != "" || a.Key() != "" || a.Local() != "" || a.LocalKey() != "" || a.Domain() != "" ||
		a.NeedsUTF8() || a.IsPostmaster() || a.IsAbuse() || !(ReversePath{}).IsNull() {
		t.Fatal("the zero value is not nobody")
	}
}

func TestRoles(t *testing.T) {
	for in, want := range map[string][2]bool{
		"postmaster@example.org": {true, false}, `"PostMaster"@example.org`: {true, false}, "postmaster": {true, false},
		"abuse@example.org": {false, true}, "Abuse@example.org": {false, true},
		"postmaster+x@example.org": {}, "hostmaster@example.org": {}, "po\u017ftmaster@example.org": {},
	} {
		a := must(t, in)
		if a.IsPostmaster() != want[0] || a.IsAbuse() != want[1] {
			t.Errorf("%s: postmaster %v, abuse %v", in, a.IsPostmaster(), a.IsAbuse())
		}
	}
}

// TestLower: folding is done once and for all, and joins nothing foreign to ASCII.
func TestLower(t *testing.T) {
	for r := rune(0); r <= unicode.MaxRune; r++ {
		l := lower(r)
		if lower(l) != l {
			t.Fatalf("%U folds to %U, and that to %U", r, l, lower(l))
		}
		if r >= utf8.RuneSelf && l < utf8.RuneSelf {
			t.Fatalf("%U folds to %q", r, l)
		}
	}
}

// addresses draws well-formed addresses, quoted and unquoted, of all scripts.
func addresses() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		local := rapid.OneOf(
			rapid.StringMatching(`[A-Za-z0-9!#$%&'*+/=?^_{|}~-]{1,12}(\.[A-Za-z0-9]{1,6}){0,3}`),
			rapid.StringMatching(`"([ !#-\[\]-~]|\\["\\ a-z]){1,20}"`),
			rapid.StringMatching(`[äÖßλΣñ日本À]{1,8}`),
			rapid.StringMatching(`[Ss][Rr]S[01][=+-][A-Za-z0-9=+-]{1,140}`),
		).Draw(t, "local")
		return local + rapid.OneOf(
			rapid.Just(""),
			rapid.StringMatching(`@([A-Za-z0-9]([A-Za-z0-9_-]{0,8}[A-Za-z0-9])?\.){0,3}[A-Za-z]{2,6}\.?`),
			rapid.SampledFrom([]string{"@[192.0.2.1]", "@[IPv6:2001:DB8::1]", "@BÜCHER.example", "@例え.jp", "@ΠΑΡΆΔΕΙΓΜΑ.gr"}),
		).Draw(t, "domain")
	})
}

func TestAnyAddress(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := addresses().Draw(t, "address")
		a, err := ParseAddress(s)
		if err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		checkAddress(t, a)
		if a.String() != s {
			t.Fatalf("%q became %q", s, a)
		}
		p, rest, err := ParsePath("<"+s+"> X=Y", true)
		if err != nil || p != a || rest != " X=Y" {
			t.Fatalf("the path <%s> is %q (%v)", s, p, err)
		}
		if b, err := ParseAddress(strings.ToUpper(a.Local()[:1]) + s[1:]); err == nil && isASCII(a.Local()) && b.Key() != a.Key() {
			t.Fatalf("%q and %q are two: %q, %q", a, b, a.Key(), b.Key())
		}
	})
}

// checkAddress holds what is true of every address that was ever parsed.
func checkAddress(t interface {
	Helper()
	Fatalf(string, ...any)
}, a Address) {
	t.Helper()
	if a.IsZero() {
		return
	}
	text := a.String()
	if !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
		t.Fatalf("%q holds what no reply and no header may hold", text)
	}
	if len(a.Local()) == 0 || len(a.Local()) > MaxSRSLocalPart || len(a.Domain()) > MaxDomain {
		t.Fatalf("%q has parts of %d and %d octets", text, len(a.Local()), len(a.Domain()))
	}
	if len(a.Local()) > MaxLocalPart && (!a.IsSRS() || len(text)+2 > MaxPath) {
		t.Fatalf("%q has %d octets of %d before the @", text, len(a.Local()), len(text))
	}
	if !strings.HasPrefix(text, a.Local()) || len(text) > len(a.Local()) && text[len(a.Local())] != '@' {
		t.Fatalf("the local part of %q is %q", text, a.Local())
	}
	want := a.LocalKey()
	if a.Domain() != "" {
		want += "@" + a.Domain()
	}
	if a.Key() != want || strings.ContainsFunc(a.Key(), func(r rune) bool { return 'A' <= r && r <= 'Z' }) {
		t.Fatalf("the key of %q is %q", text, a.Key())
	}
	if a.NeedsUTF8() == isASCII(text) {
		t.Fatalf("%q: UTF-8 needed is %v", text, a.NeedsUTF8())
	}
	if len(a.LocalKey()) > max(len(a.Local()), MaxLocalPart) {
		return // a lower-case letter may be longer than its capital
	}
	if again, err := ParseAddress(a.Key()); err != nil || again.Key() != a.Key() {
		t.Fatalf("the key %q of %q folds to %q (%v)", a.Key(), text, again.Key(), err)
	}
}

func TestFoldedAllocatesNothing(t *testing.T) {
	var a Address
	if n := testing.AllocsPerRun(100, func() { a, _ = ParseAddress("ann.lee+news@mail.example.org") }); n != 0 {
		t.Errorf("parsing an address that is folded already allocates %v times", n)
	}
	if n := testing.AllocsPerRun(100, func() { a, _, _ = ParsePath("<ann.lee@mail.example.org> SIZE=10", false) }); n != 0 {
		t.Errorf("parsing a path that is folded already allocates %v times", n)
	}
	if n := testing.AllocsPerRun(100, func() { _, _ = FoldDomain("mail.example.org") }); n != 0 {
		t.Errorf("folding a folded domain allocates %v times", n)
	}
	n := testing.AllocsPerRun(100, func() {
		_, _, _, _, _ = a.Key(), a.LocalKey(), a.Domain(), a.Local(), a.IsPostmaster()
	})
	if n != 0 {
		t.Errorf("asking an address allocates %v times", n)
	}
}

func must(t *testing.T, s string) Address {
	t.Helper()
	a, err := ParseAddress(s)
	if err != nil {
		t.Fatalf("%q: %v", s, err)
	}
	return a
}

func TestRouted(t *testing.T) {
	for text, want := range map[string]bool{
		"user@example.com": false, "user+tag@example.com": false, "prvs=1234567890=user@example.com": false, "user": false,
		`"john smith"@example.com`: false, "srs0=abcd=xy=other.example=user@example.com": false, "a/b|c#d@example.com": false,
		"user%other.example@example.com": true, "other.example!user@example.com": true, "user%other.example": true,
		`"user@other.example"@example.com`: true, `"user\@other.example"@example.com`: true, `"user%other.example"@example.com`: true,
		`"very.unusual.@.unusual.com"@example.com`: false, `"john@doe"@example.com`: false,
	} {
		a, err := ParseAddress(text)
		if err != nil {
			t.Fatal(err)
		}
		if a.Routed() != want {
			t.Errorf("%s: %v", text, !want)
		}
	}
}
