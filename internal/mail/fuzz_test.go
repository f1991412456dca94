package mail

import (
	"strings"
	"testing"

	"golang.org/x/net/idna"
)

func FuzzParsePath(f *testing.F) {
	for _, s := range []string{
		"<>", "<ann@example.org> SIZE=10", `<"a\"b>c"@example.org>`, "<postmaster>", "<@a.test,@b.test:ann@example.org>",
		"<ann@[IPv6:2001:db8::1]>", "<änne@bücher.example>", "<\"\\", "<@:", "<a@b\r\n>",
		"<SRS0=aB3/=XY=example.org=" + strings.Repeat("l", 60) + "@fwd.example>", `<"SRS1-` + strings.Repeat(`\S`, 90) + `"@fwd.example>`, "<srs0+" + strings.Repeat("Ⱥ", 60) + "@ü.example>", "<\u212a@\uff45.test>",
	} {
		f.Add(s, true)
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, s string, utf8 bool) {
		a, rest, err := ParsePath(s, utf8)
		if err != nil {
			if !a.IsZero() || rest != s {
				t.Fatalf("%q: address %q and rest %q beside the error", s, a, rest)
			}
			return
		}
		checkAddress(t, a)
		if a.NeedsUTF8() && !utf8 {
			t.Fatalf("%q was not asked for", a)
		}
		path, ok := strings.CutSuffix(s, a.String()+">"+rest)
		if !ok || path != "<" && !strings.HasPrefix(path, "<@") {
			t.Fatalf("%q was read as %q and %q", s, a, rest)
		}
		again, _, err := ParsePath("<"+a.String()+">", true)
		if err != nil || again != a {
			t.Fatalf("<%s> does not read back: %q (%v)", a, again, err)
		}
	})
}

func FuzzParseAddress(f *testing.F) {
	for _, s := range []string{"ann@example.org", "ann", `"a b"@x.y`, "Ann+news@EXAMPLE.org.", "a@[192.0.2.1]", "a@b@c", "Ⱥ@ⱥ.test", `"\ "`, "SRS0+" + strings.Repeat("a+", 90) + "@b.c"} {
		f.Add(s, "+", "example.net")
	}
	f.Fuzz(func(t *testing.T, s, separator, domain string) {
		a, err := ParseAddress(s)
		if err != nil {
			if !a.IsZero() {
				t.Fatalf("%q: an address %q beside the error", s, a)
			}
			return
		}
		checkAddress(t, a)
		if a.String() != s {
			t.Fatalf("%q became %q", s, a)
		}
		base := a.Base(separator)
		checkAddress(t, base)
		if base.IsZero() || base.Domain() != a.Domain() || !strings.HasPrefix(a.Local(), base.Local()) {
			t.Fatalf("the base of %q by %q is %q", a, separator, base)
		}
		moved, err := a.WithDomain(domain)
		if err != nil {
			return
		}
		checkAddress(t, moved)
		if moved.Local() != a.Local() || moved.LocalKey() != a.LocalKey() {
			t.Fatalf("%q in %q is %q", a, domain, moved)
		}
	})
}

func FuzzFoldDomain(f *testing.F) {
	for _, s := range []string{"example.org", "EXAMPLE.org.", "bücher.example", "xn--bcher-kva.example", "[192.0.2.1]", "[IPv6:::1]", "a。b", "ü..", "xn--", "ß.de", "a\u200db.test"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := FoldDomain(s)
		if err != nil {
			return
		}
		if d == "" || len(d) > MaxDomain || !isASCII(d) || d != strings.ToLower(d) || strings.ContainsAny(d, " \t\r\n\x00<>@\"\\,;") {
			t.Fatalf("%q folds to %q", s, d)
		}
		if again, err := FoldDomain(d); err != nil || again != d {
			t.Fatalf("%q folds to %q, and that to %q (%v)", s, d, again, err)
		}
		if isASCII(s) {
			if upper, err := FoldDomain(strings.ToUpper(s)); err != nil || upper != d {
				t.Fatalf("%q folds to %q, in capitals to %q (%v)", s, d, upper, err)
			}
			return
		}
		u, err := idna.Lookup.ToUnicode(d)
		if err != nil {
			return // the stricter profile would not have it
		}
		if back, err := FoldDomain(u); err != nil || back != d {
			t.Fatalf("%q folds to %q, its U-labels %q to %q (%v)", s, d, u, back, err)
		}
	})
}

func FuzzReply(f *testing.F) {
	f.Add(550, "5.1.1", "User unknown", "ann@example.org", true)
	f.Add(250, "", "one\ntwo", "", false)
	f.Add(550, "4.1.1", "x", "a\r\nb", true)
	f.Add(354, "", strings.Repeat("ä", 300), "", true)
	f.Fuzz(func(t *testing.T, code int, status, text, about string, named bool) {
		var s Status
		if status != "" {
			var err error
			if s, err = ParseStatus(status); err != nil {
				return
			}
		}
		r, err := NewReply(code, s, text)
		if err != nil {
			if !r.IsZero() {
				t.Fatalf("a reply %q beside the error", r)
			}
			return
		}
		if r.Code() != code || r.Status() != s || !s.IsZero() && int(s.Class) != code/100 {
			t.Fatalf("%d %v became %q", code, s, r)
		}
		var id ID
		if named {
			id = NewID()
		}
		checkWire(t, r.About(about).WithID(id), id)
	})
}
