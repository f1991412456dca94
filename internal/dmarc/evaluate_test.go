package dmarc_test

import (
	"strings"
	"testing"

	"backstop/internal/dmarc"
	"backstop/internal/evidence"
	"backstop/internal/mail"

	"pgregory.net/rapid"
)

func spf(r evidence.Result, domain string) evidence.SPF {
	return evidence.SPF{Result: r, Domain: domain}
}

func signed(r evidence.Result, domain string) evidence.Signature {
	return evidence.Signature{Result: r, Domain: domain, Selector: "s1"}
}

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

func TestEvaluate(t *testing.T) {
	relaxed := dmarc.Record{Policy: reject, Subdomains: quarantine, Percent: 100}
	strict := relaxed
	strict.StrictSPF, strict.StrictDKIM = true, true
	const pass, fail, temp, perm, nothing = evidence.Pass, evidence.Fail, evidence.TempError, evidence.PermError, evidence.None
	for _, tc := range []struct {
		name   string
		record dmarc.Record
		from   string
		spf    evidence.SPF
		dkim   []evidence.Signature
		want   evidence.Result
		detail string
	}{
		{"SPF of the same domain", strict, "example.org", spf(pass, "example.org"), nil, pass, ""},
		{"SPF of a subdomain", relaxed, "example.org", spf(pass, "bounces.Example.org"), nil, pass, ""},
		{"SPF of a subdomain, strictly", strict, "example.org", spf(pass, "bounces.example.org"), nil, fail, "bounces.example.org"},
		{"SPF of a sibling", relaxed, "a.example.org", spf(pass, "b.example.org"), nil, pass, ""},
		{"SPF of another", relaxed, "example.org", spf(pass, "example.com"), nil, fail, "example.com"},
		{"SPF of the same suffix", relaxed, "example.co.uk", spf(pass, "other.co.uk"), nil, fail, "other.co.uk"},
		{"SPF of the suffix", relaxed, "example.co.uk", spf(pass, "co.uk"), nil, fail, "co.uk"},
		{"SPF of a lookalike", relaxed, "example.org", spf(pass, "notexample.org"), nil, fail, "notexample.org"},
		{"SPF softfail", relaxed, "example.org", spf(evidence.SoftFail, "example.org"), nil, fail, "neither"},
		{"SPF of nothing", relaxed, "example.org", spf(pass, ""), nil, fail, "neither"},
		{"SPF of a literal", relaxed, "example.org", spf(pass, "[192.0.2.1]"), nil, fail, "not aligned"},
		{"DKIM", strict, "example.org", spf(fail, "example.org"), []evidence.Signature{signed(pass, "EXAMPLE.org")}, pass, ""},
		{"DKIM of the last", relaxed, "a.example.org", spf(nothing, ""), []evidence.Signature{signed(perm, "x.test"), signed(fail, "example.org"), signed(pass, "b.example.org")}, pass, ""},
		{"DKIM, strictly", strict, "a.example.org", spf(nothing, ""), []evidence.Signature{signed(pass, "example.org")}, fail, "example.org"},
		{"DKIM of another", relaxed, "example.org", spf(nothing, ""), []evidence.Signature{signed(pass, "list.test")}, fail, "list.test"},
		{"an IDN", relaxed, "xn--bcher-kva.example", spf(nothing, ""), []evidence.Signature{signed(pass, "mail.bücher.example")}, pass, ""},
		{"no domain", relaxed, "example.org", spf(nothing, ""), []evidence.Signature{signed(pass, "b\r\nad")}, fail, "another domain"},
		// What could not be found out.
		{"SPF temporary", relaxed, "example.org", spf(temp, "example.org"), []evidence.Signature{signed(fail, "example.org")}, temp, "example.org"},
		{"DKIM temporary", relaxed, "example.org", spf(fail, "example.org"), []evidence.Signature{signed(temp, "mail.example.org")}, temp, "mail.example.org"},
		{"SPF temporary, DKIM passes", relaxed, "example.org", spf(temp, "example.org"), []evidence.Signature{signed(pass, "example.org")}, pass, ""},
		{"DKIM temporary, SPF passes", relaxed, "example.org", spf(pass, "example.org"), []evidence.Signature{signed(temp, "example.org")}, pass, ""},
		{"temporary of another", relaxed, "example.org", spf(temp, "x.test"), []evidence.Signature{signed(temp, "y.test")}, fail, "neither"},
		{"temporary of a subdomain, strictly", strict, "example.org", spf(temp, "a.example.org"), nil, fail, "neither"},
		{"SPF not checked", relaxed, "example.org", spf(evidence.NotChecked, ""), []evidence.Signature{signed(fail, "example.org")}, temp, "not checked"},
		{"SPF not checked, DKIM passes", relaxed, "example.org", spf(evidence.NotChecked, ""), []evidence.Signature{signed(pass, "example.org")}, pass, ""},
	} {
		got := dmarc.Evaluate(dmarc.Input{From: tc.from, Record: tc.record, SPF: tc.spf, DKIM: tc.dkim})
		if got.Result != tc.want || got.Domain != tc.from || got.Policy != reject || !strings.Contains(got.Detail, tc.detail) || (got.Detail == "") != (got.Result == pass) {
			t.Errorf("%s: %+v, want %v, %q", tc.name, got, tc.want, tc.detail)
		}
	}
}

func TestPolicy(t *testing.T) {
	for _, tc := range []struct {
		p, sp evidence.PublishedPolicy
		org   bool
		pct   uint8
		roll  uint8
		spf   evidence.Result
		want  evidence.PublishedPolicy
	}{
		{reject, none, false, 100, 99, evidence.Fail, reject},
		{reject, none, true, 100, 99, evidence.Fail, none},
		{none, reject, true, 100, 99, evidence.Fail, reject},
		{reject, reject, false, 50, 49, evidence.Fail, reject},
		{reject, reject, false, 50, 50, evidence.Fail, quarantine},
		{quarantine, reject, false, 50, 50, evidence.Fail, none},
		{none, reject, false, 0, 0, evidence.Fail, none},
		{reject, reject, true, 0, 0, evidence.Fail, quarantine},
		{reject, reject, false, 0, 0, evidence.TempError, quarantine},
		{reject, reject, false, 0, 0, evidence.Pass, reject},
	} {
		got := dmarc.Evaluate(dmarc.Input{From: "example.org", Record: dmarc.Record{Policy: tc.p, Subdomains: tc.sp, Percent: tc.pct},
			OfOrg: tc.org, Roll: tc.roll, SPF: spf(tc.spf, "example.org")})
		if got.Policy != tc.want || got.Result != tc.spf {
			t.Errorf("%+v: %+v", tc, got)
		}
	}
}

// A pass is the envelope sender's only where he is the author.
func TestAligned(t *testing.T) {
	for _, tc := range []struct {
		author, sender string
		result         evidence.Result
		want           bool
	}{
		{"a@example.org", "a@example.org", evidence.Pass, true},
		{"A@example.org", "a@EXAMPLE.org", evidence.Pass, true},
		{"a@mail.example.org", "\"a\"@mail.example.org", evidence.Pass, true},
		{"b@example.org", "a@example.org", evidence.Pass, false},
		{"a@mail.example.org", "a@example.org", evidence.Pass, false},
		{"a@example.org", "prvs=1234abcdef=a@example.org", evidence.Pass, false},
		{"a@example.org", "a+tag@example.org", evidence.Pass, false},
		{"a@example.org", "a@example.com", evidence.Pass, false},
		{"a@example.org", "", evidence.Pass, false},
		{"a@example.org", "a", evidence.Pass, false},
		{"", "a@example.org", evidence.Pass, false}, // From is no single mailbox
		{"", "", evidence.Pass, false},
		{"a@example.org", "a@example.org", evidence.Fail, false},
		{"a@example.org", "a@example.org", evidence.TempError, false},
	} {
		in := dmarc.Input{From: "example.org", Author: sender(t, tc.author).Address, Sender: sender(t, tc.sender), SPF: spf(evidence.Fail, "x.test")}
		if !in.Author.IsZero() {
			in.From = in.Author.Domain()
		}
		in.DKIM = []evidence.Signature{signed(tc.result, in.From)}
		if got := dmarc.Evaluate(in); got.Result != tc.result || got.Aligned != tc.want {
			t.Errorf("%+v: %+v", tc, got)
		}
	}
}

// Nothing passes but for a domain of the author's organisation, and nothing fails while something is unknown there.
func TestEvaluateProperties(t *testing.T) {
	domain := rapid.SampledFrom([]string{"example.org", "a.example.org", "b.a.example.org", "example.com", "example.co.uk", "other.co.uk", "co.uk", "", "[192.0.2.1]"})
	result := rapid.Map(rapid.IntRange(0, evidence.NumResults-1), func(i int) evidence.Result { return evidence.Result(i) })
	rapid.Check(t, func(t *rapid.T) {
		in := dmarc.Input{From: rapid.SampledFrom([]string{"example.org", "a.example.org", "example.co.uk"}).Draw(t, "from")}
		in.Record = dmarc.Record{Policy: reject, Subdomains: none, StrictSPF: rapid.Bool().Draw(t, "aspf"), StrictDKIM: rapid.Bool().Draw(t, "adkim"), Percent: 100}
		in.SPF = spf(result.Draw(t, "spf"), domain.Draw(t, "of"))
		for range rapid.IntRange(0, 3).Draw(t, "signatures") {
			in.DKIM = append(in.DKIM, signed(result.Draw(t, "dkim"), domain.Draw(t, "d")))
		}
		mine := func(d string, strict bool) bool {
			return d == in.From || !strict && d != "" && dmarc.OrgDomain(d) == dmarc.OrgDomain(in.From)
		}
		passes, unclear := 0, in.SPF.Result == evidence.NotChecked
		count := func(r evidence.Result, of bool) {
			if of && r == evidence.Pass {
				passes++
			}
			unclear = unclear || of && r == evidence.TempError
		}
		count(in.SPF.Result, mine(in.SPF.Domain, in.Record.StrictSPF))
		for _, s := range in.DKIM {
			count(s.Result, mine(s.Domain, in.Record.StrictDKIM))
		}
		got := dmarc.Evaluate(in)
		if (got.Result == evidence.Pass) != (passes > 0) || got.Result == evidence.Fail && unclear || got.Result == evidence.NotChecked {
			t.Fatalf("%+v is %+v", in, got)
		}
	})
}
