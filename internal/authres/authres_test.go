package authres_test

import (
	"fmt"
	"strings"
	"testing"

	"backstop/internal/authres"
	"backstop/internal/evidence"
	"backstop/internal/mail"

	"pgregory.net/rapid"
)

const id = "mx.my.org"

func sender(t testing.TB, s string) mail.ReversePath {
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

func TestAppend(t *testing.T) {
	const pass, fail = evidence.Pass, evidence.Fail
	for name, tc := range map[string]struct {
		f    authres.Fields
		want string
	}{
		"nothing checked": {authres.Fields{}, "Authentication-Results: mx.my.org; none\r\n"},
		"all pass": {authres.Fields{
			SPF:   evidence.SPF{Result: pass, Domain: "example.org"},
			From:  sender(t, "alice@Example.org"),
			Helo:  "mail.example.org",
			DKIM:  []evidence.Signature{{Result: pass, Domain: "example.org", Selector: "s1"}},
			DMARC: evidence.DMARC{Result: pass, Domain: "example.org", Policy: evidence.PolicyReject},
		}, "Authentication-Results: mx.my.org;\r\n" +
			" spf=pass smtp.mailfrom=example.org;\r\n" +
			" dkim=pass header.d=example.org header.s=s1;\r\n" +
			" dmarc=pass (p=reject) header.from=example.org\r\n"},
		"a bounce": {authres.Fields{
			SPF:  evidence.SPF{Result: evidence.None, Helo: true, Domain: "mail.example.org"},
			Helo: "mail.example.org", DKIM: []evidence.Signature{},
			DMARC: evidence.DMARC{Result: evidence.None, Domain: "example.org"},
		}, "Authentication-Results: mx.my.org;\r\n" +
			" spf=none smtp.helo=mail.example.org;\r\n" +
			" dkim=none;\r\n" +
			" dmarc=none header.from=example.org\r\n"},
		"a literal as HELO": {authres.Fields{SPF: evidence.SPF{Result: evidence.None, Helo: true}, Helo: "[192.0.2.1]"},
			"Authentication-Results: mx.my.org;\r\n spf=none smtp.helo=\"[192.0.2.1]\"\r\n"},
		"reasons": {authres.Fields{
			SPF:   evidence.SPF{Result: fail, Domain: "example.org", Detail: "192.0.2.1 is not one of its servers (matched -all), and so much more is to be said that one line will not do"},
			From:  sender(t, "alice@example.org"),
			DMARC: evidence.DMARC{Result: fail, Domain: "example.org", Policy: evidence.PolicyQuarantine, Detail: "neither SPF nor DKIM passed for example.org"},
		}, "Authentication-Results: mx.my.org;\r\n" +
			" spf=fail (192.0.2.1 is not one of its servers [matched -all], and so much\r\n" +
			" more is to be said that one line will not do) smtp.mailfrom=example.org;\r\n" +
			" dmarc=fail (p=quarantine, neither SPF nor DKIM passed for example.org)\r\n" +
			" header.from=example.org\r\n"},
		"a sender of another alphabet": {authres.Fields{SPF: evidence.SPF{Result: pass, Domain: "bücher.example"}, From: sender(t, "jürgen@bücher.example")},
			"Authentication-Results: mx.my.org;\r\n spf=pass smtp.mailfrom=xn--bcher-kva.example\r\n"},
		"a signature that cannot be read": {authres.Fields{DKIM: []evidence.Signature{{Result: evidence.PermError, Detail: "no d="}}},
			"Authentication-Results: mx.my.org;\r\n dkim=permerror (no d:)\r\n"},
	} {
		got := string(authres.Append([]byte("X: y\r\n"), id, tc.f))
		if got != "X: y\r\n"+tc.want {
			t.Errorf("%s:\n%s\nwant\n%s", name, got, tc.want)
		}
		if _, err := parse(tc.want); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !authres.Claims([]byte(tc.want), id) {
			t.Errorf("%s: not known again", name)
		}
	}
}

func TestSignatures(t *testing.T) {
	f := authres.Fields{DKIM: make([]evidence.Signature, 500)}
	for i := range f.DKIM {
		f.DKIM[i] = evidence.Signature{Result: evidence.PermError, Domain: "example.org", Selector: fmt.Sprint("s", i)}
	}
	p, err := parse(string(authres.Append(nil, id, f)))
	if err != nil || len(p.results) != authres.MaxSignatures {
		t.Fatalf("%d results (%v)", len(p.results), err)
	}
}

// anything is what strangers send in names, and what would break the field if it were believed.
func anything() *rapid.Generator[string] {
	evil := rapid.SampledFrom([]string{
		"example.org; dkim=pass header.d=bank.example", "x\r\nAuthentication-Results: mx.my.org; spf=pass", "x) dkim=pass (", `x"; dmarc=pass`,
		`x\`, "(", ")", `"`, ";", "=", "\r\n", "\r\n\r\n", "\x00", "é", "\u2028", "\xff\xfe", "bücher.example", "mail.example.org", "[IPv6:2001:db8::1]",
		strings.Repeat("a", 3000), strings.Repeat("a b;", 800), strings.Repeat(".", 70), " ", "\t",
	})
	return rapid.OneOf(evil, rapid.String(), rapid.StringOfN(rapid.RuneFrom([]rune("a.;=()\\\"\r\n @<>é")), 0, 90, -1),
		rapid.Map(rapid.SliceOfN(evil, 0, 4), func(p []string) string { return strings.Join(p, "") }))
}

// Whatever strangers choose, the field has the results that it should have and no other, in lines that are lines.
func TestNobodyBreaksTheField(t *testing.T) {
	text := anything()
	results := rapid.Map(rapid.IntRange(0, evidence.NumResults-1), func(i int) evidence.Result { return evidence.Result(i) })
	rapid.Check(t, func(t *rapid.T) {
		f := authres.Fields{
			SPF:  evidence.SPF{Result: results.Draw(t, "spf"), Helo: rapid.Bool().Draw(t, "of helo"), Domain: text.Draw(t, "spf domain"), Detail: text.Draw(t, "spf detail")},
			Helo: text.Draw(t, "helo"),
			DMARC: evidence.DMARC{Result: results.Draw(t, "dmarc"), Domain: text.Draw(t, "from"), Detail: text.Draw(t, "dmarc detail"),
				Policy: evidence.PublishedPolicy(rapid.IntRange(0, 3).Draw(t, "policy"))},
		}
		if a, err := mail.ParseAddress(text.Draw(t, "sender")); err == nil {
			f.From = mail.ReversePath{Address: a}
		}
		var want []string
		add := func(method string, r evidence.Result) {
			if r != evidence.NotChecked {
				want = append(want, method+"="+r.String())
			}
		}
		add("spf", f.SPF.Result)
		for range rapid.IntRange(0, 3).Draw(t, "signatures") {
			s := evidence.Signature{Result: results.Draw(t, "dkim"), Domain: text.Draw(t, "d"), Selector: text.Draw(t, "s"), Detail: text.Draw(t, "detail")}
			f.DKIM = append(f.DKIM, s)
			add("dkim", s.Result)
		}
		add("dmarc", f.DMARC.Result)

		field := string(authres.Append(nil, id, f))
		p, err := parse(field)
		if err != nil || p.id != id {
			t.Fatalf("%s\nis of %q: %v", field, p.id, err)
		}
		var got []string
		for _, r := range p.results {
			got = append(got, r.method+"="+r.result)
			for _, c := range r.comments {
				if strings.ContainsAny(strings.TrimPrefix(c, "p="), `;=()\"`) {
					t.Fatalf("%s\nhas a comment that a simple reader misreads: %q", field, c)
				}
			}
		}
		if strings.Join(got, " ") != strings.Join(want, " ") {
			t.Fatalf("%s\nhas %v, want %v", field, got, want)
		}
		// A reader who knows neither comments nor quotes sees no more.
		if n := strings.Count(field, ";"); n != max(len(want), 1) {
			t.Fatalf("%s\nhas %d semicolons", field, n)
		}
		if !authres.Claims([]byte(field), id) {
			t.Fatalf("%s\nis not known again", field)
		}
		for line := range strings.SplitSeq(field, "\r\n") {
			if len(line) > 78 && strings.Contains(strings.TrimSpace(line), " ") && !strings.HasPrefix(line, authres.Name) {
				t.Fatalf("%q could be folded", line)
			}
		}
	})
}

func TestClaims(t *testing.T) {
	for _, v := range []string{
		"mx.my.org; none",
		" mx.my.org; spf=pass",
		"MX.My.ORG;spf=pass",
		"mx.my.org 1; spf=pass",
		"mx.my.org/1; spf=pass",
		"mx.my.org 99; spf=pass",
		"mx.my.org.; spf=pass",
		"\r\n mx.my.org;\r\n spf=pass",
		"\r\n\t\r\n mx.my.org\r\n ; spf=pass",
		"(a comment) mx.my.org; spf=pass",
		"(a (nested \\) one);) mx.my.org; spf=pass",
		"(unclosed mx.my.org; spf=pass",
		"(\\) mx.my.org; spf=pass) other.example; x=y",
		"mx.my.org (comment) 1 (comment); spf=pass",
		"mx.my.org(comment)evil; spf=pass",
		`"mx.my.org"; spf=pass`,
		`"mx.my.org"evil; spf=pass`,
		`"mx.\my.org"; spf=pass`,
		`mx.my.org\evil; spf=pass`,
		`m"x.my".org; spf=pass`,
		`"mx.my.org; spf=pass`,
		"mx.(c)my.org; spf=pass",
		"mx.(c)my.org 1; spf=pass",
		"mx.\r\n my.org; spf=pass",
		"mx\x00.my.org; spf=pass",
		"mx.my.org\x00other.example; spf=pass",
		"\x01mx.my.org; spf=pass",
		"<mx.my.org>; spf=pass",
		"[mx.my.org]; spf=pass",
		"junk, mx.my.org; spf=pass",
		"mx.my.org",
		"mx.my.org spf=pass",
		"\uff4dx.my.org; spf=pass", // folds to ours
		"mx.my\u3002org; spf=pass",
		"mx\u200b.my.org; spf=pass",
		"mx\xad.my.org; spf=pass",
		"\u00a0mx.my.org; spf=pass",
		"=?utf-8?q?mx.my.org?=; spf=pass",
		"=?utf-8?b?bXgubXkub3Jn?=; spf=pass",
		"; spf=pass",
		"",
		"(only a comment); spf=pass",
		"spf=pass (no id) smtp.mailfrom=example.org; dkim=none", // as Microsoft writes it
		". ; spf=pass",
		"(" + strings.Repeat("x", 5000) + ") mx.my.org; spf=pass",
	} {
		for _, name := range []string{"Authentication-Results:", "AUTHENTICATION-results :", " Authentication-Results\t:", "Authentication\x00-Results:"} {
			if !authres.Claims([]byte(name+v+"\r\n"), id) {
				t.Errorf("%q %q does not claim to be ours", name, v)
			}
		}
	}
	for _, field := range []string{
		"Authentication-Results: other.example; spf=pass",
		"Authentication-Results: other.example; spf=pass smtp.mailfrom=mx.my.org",
		"Authentication-Results: other.example (a comment; spf=fail) 1; spf=pass (mx.my.org)",
		"Authentication-Results: amx.my.org; spf=pass",
		"Authentication-Results: mx.my.org.example; spf=pass",
		"Authentication-Results: my.org; none",
		"Authentication-Results: mx.my.orgs 1; none",
		`Authentication-Results: "other.example"; none`,
		"Authentication-Results: bücher.example; none",
		"ARC-Authentication-Results: i=1; mx.my.org; spf=pass",
		"X-Authentication-Results: mx.my.org; spf=pass",
		"Authentication-Results-Original: mx.my.org; spf=pass",
		"Authentication-Results mx.my.org",
		"Subject: Authentication-Results: mx.my.org; spf=pass",
		"",
	} {
		if authres.Claims([]byte(field+"\r\n"), id) {
			t.Errorf("%q claims to be ours", field)
		}
	}
}

// Whatever a forger puts around our name, a reader who takes comments, quotes and white space out finds it, and so do we.
func TestClaimsDisguised(t *testing.T) {
	filler := rapid.SampledFrom([]string{"", " ", "\r\n ", "\t", "(c)", "((a)b;c)", `"`, `\`, "\x00", "\x7f"})
	rapid.Check(t, func(t *rapid.T) {
		var v strings.Builder
		for _, r := range id {
			v.WriteString(filler.Draw(t, "filler"))
			if rapid.Bool().Draw(t, "capital") {
				v.WriteString(strings.ToUpper(string(r)))
			} else {
				v.WriteRune(r)
			}
		}
		v.WriteString(rapid.SampledFrom([]string{"", " 1", "/1", "(c)", "."}).Draw(t, "behind"))
		if field := "Authentication-Results:" + v.String() + "; spf=pass\r\n"; !authres.Claims([]byte(field), id) {
			t.Fatalf("%q does not claim to be ours", field)
		}
	})
}

func FuzzClaims(f *testing.F) {
	for _, s := range []string{"Authentication-Results: mx.my.org; none", "authentication-results:(a\\)b) \"mx\" 1;x=y", "Authentication-Results: \xff; ", "A: b"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, field []byte) {
		got := authres.Claims(field, id)
		// A simple reader: the first word, up to the semicolon.
		name, v, _ := strings.Cut(string(field), ":")
		head, _, _ := strings.Cut(v, ";")
		words := strings.Fields(head)
		if strings.EqualFold(strings.TrimSpace(name), authres.Name) && len(words) > 0 && strings.EqualFold(words[0], id) && !got {
			t.Fatalf("%q does not claim to be ours", field)
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	f := authres.Fields{
		SPF:   evidence.SPF{Result: evidence.Pass, Domain: "example.org"},
		DKIM:  []evidence.Signature{{Result: evidence.Pass, Domain: "example.org", Selector: "s1"}},
		DMARC: evidence.DMARC{Result: evidence.Pass, Domain: "example.org", Policy: evidence.PolicyReject},
	}
	buf := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		buf = authres.Append(buf[:0], id, f)
	}
}
