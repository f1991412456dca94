package dmarc_test

import (
	"errors"
	"strings"
	"testing"

	"backstop/internal/dmarc"
	"backstop/internal/evidence"
)

const (
	unknown    = evidence.PolicyUnknown
	none       = evidence.PolicyNone
	quarantine = evidence.PolicyQuarantine
	reject     = evidence.PolicyReject
)

func TestParse(t *testing.T) {
	rec := func(p, sp evidence.PublishedPolicy, pct uint8, spf, dkim bool) dmarc.Record {
		return dmarc.Record{Policy: p, Subdomains: sp, Percent: pct, StrictSPF: spf, StrictDKIM: dkim}
	}
	for _, tc := range []struct {
		txt  string
		want dmarc.Record
	}{
		{"v=DMARC1; p=none", rec(none, none, 100, false, false)},
		{"v=DMARC1;p=reject;", rec(reject, reject, 100, false, false)},
		{"V = DMARC1 ; P = Reject ; SP = NONE ; ADKIM = S ; ASPF = S ; PCT = 20 ", rec(reject, none, 20, true, true)},
		{"v=DMARC1; p=quarantine; adkim=s; aspf=r; pct=0; rua=mailto:a@example.org!10m; ruf=mailto:b@example.org; fo=1; rf=afrf; ri=86400",
			rec(quarantine, quarantine, 0, false, true)},
		// p is found wherever it stands; tags that are not known are ignored, np and t too.
		{"v=DMARC1; rua=mailto:a@example.org; x=y; np=reject; t=y; psd=n; p=reject", rec(reject, reject, 100, false, false)},
		// A fault in an optional tag means its default.
		{"v=DMARC1; p=reject; pct=101", rec(reject, reject, 100, false, false)},
		{"v=DMARC1; p=reject; pct=-1; adkim=x; aspf=strict", rec(reject, reject, 100, false, false)},
		{"v=DMARC1; p=reject; pct=; adkim=; sp=; ;; = ; junk", rec(reject, reject, 100, false, false)},
		{"v=DMARC1; p=reject; pct=0100", rec(reject, reject, 100, false, false)},
		{"v=DMARC1; p=reject; pct=10; pct=0", rec(reject, reject, 100, false, false)},
		// No policy, but reports are wanted: none (RFC 7489, 6.6.3, step 6).
		{"v=DMARC1; rua=mailto:a@example.org", rec(none, none, 100, false, false)},
		{"v=DMARC1; p=refuse; sp=reject; rua=https://example.org, mailto:a@example.org", rec(none, none, 100, false, false)},
		{"v=DMARC1; p=reject; sp=refuse; rua=mailto:a@example.org", rec(none, none, 100, false, false)},
		{"v=DMARC1; p=reject; p=none; rua=mailto:a@example.org", rec(none, none, 100, false, false)},
	} {
		got, found, err := dmarc.Parse([]string{"v=spf1 -all", tc.txt, "something else"})
		if err != nil || !found || got != tc.want {
			t.Errorf("%q is %+v, %v, %v, want %+v", tc.txt, got, found, err, tc.want)
		}
	}
}

func TestParseNone(t *testing.T) {
	for _, txt := range [][]string{
		nil, {""}, {"v=spf1 -all"}, {"v=DMARC2; p=none"}, {"v=dmarc1; p=none"}, {"p=reject; v=DMARC1"}, {"DMARC1; p=none"},
		{"v=DMARC1 p=reject"}, {"v=DMARC10; p=reject"}, {"v==DMARC1; p=reject"}, {"v; p=reject"},
	} {
		if r, found, err := dmarc.Parse(txt); found || err != nil || r != (dmarc.Record{}) {
			t.Errorf("%q is %+v, %v, %v", txt, r, found, err)
		}
	}
	for _, txt := range []string{
		"v=DMARC1", "v=DMARC1;", "v=DMARC1; p=", "v=DMARC1; p=refuse", "v=DMARC1; p=reject; p=reject", "v=DMARC1; p=reject; sp=refuse",
		"v=DMARC1; p=refuse; rua=", "v=DMARC1; rua=mailto:", "v=DMARC1; rua=a@example.org", "v=DMARC1; rua=mailto:a@",
	} {
		if r, found, err := dmarc.Parse([]string{txt}); found || !errors.Is(err, dmarc.ErrPolicy) || r != (dmarc.Record{}) {
			t.Errorf("%q is %+v, %v, %v", txt, r, found, err)
		}
	}
	if r, found, err := dmarc.Parse([]string{"v=DMARC1; p=none", "x", "v=DMARC1"}); found || !errors.Is(err, dmarc.ErrSeveral) || r != (dmarc.Record{}) {
		t.Errorf("several are %+v, %v, %v", r, found, err)
	}
}

func TestOrgDomain(t *testing.T) {
	for domain, want := range map[string]string{
		"example.com":                     "example.com",
		"a.b.c.example.com":               "example.com",
		"example.co.uk":                   "example.co.uk",
		"mail.example.co.uk":              "example.co.uk",
		"co.uk":                           "co.uk",
		"com":                             "com",
		"localhost":                       "localhost",
		"a.b.unheard-of":                  "b.unheard-of",
		"a.b.xn--bcher-kva.example":       "xn--bcher-kva.example",
		"www.city.kawasaki.jp":            "city.kawasaki.jp", // the list has exceptions
		"a.b.c.kobe.jp":                   "b.c.kobe.jp",      // and wildcards
		"[192.0.2.1]":                     "[192.0.2.1]",
		"":                                "",
		strings.Repeat("a.", 120) + "com": "a.com",
	} {
		if got := dmarc.OrgDomain(domain); got != want {
			t.Errorf("%q belongs to %q, want %q", domain, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"v=DMARC1; p=none", "v=DMARC1;p=reject;sp=none;pct=7;adkim=s;aspf=s;rua=mailto:a@b", "V = DMARC1 ;;=;p=p"} {
		f.Add(s, "")
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, one, two string) {
		r, found, err := dmarc.Parse([]string{one, two})
		if !found {
			if r != (dmarc.Record{}) {
				t.Fatalf("%+v, and it is not found (%v)", r, err)
			}
			return
		}
		if err != nil || r.Policy == unknown || r.Subdomains == unknown || r.Percent > 100 {
			t.Fatalf("%+v (%v)", r, err)
		}
		if _, found, _ := dmarc.Parse([]string{one, two, "v=DMARC1; p=reject"}); found {
			t.Fatal("found among several")
		}
	})
}
