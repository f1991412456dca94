package guide

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"net"
	"strings"
	"testing"

	"backstop/internal/config"
	"backstop/internal/route"

	"github.com/miekg/dns"
)

// keyed is a configuration with an alias, and keys of both kinds.
func keyed(t *testing.T) *config.Config {
	t.Helper()
	long, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, short, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &config.Config{File: "c.toml", Domains: []config.Domain{
		{Domain: route.Domain{Name: "example.com", Aliases: []string{"example.net"}}, DKIM: []config.DKIMKey{
			{Selector: "s1", File: "s1.pem", Sign: true, Key: long}, {Selector: "ed", File: "ed.pem", Key: short},
		}},
		{Domain: route.Domain{Name: "example.org"}},
	}}
}

// TestZoneFile lets another program read the text as a zone file.
func TestZoneFile(t *testing.T) {
	z, err := DNS(Place{Config: keyed(t)})
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{}
	kinds := map[string]int{}
	for _, r := range z.Records {
		kinds[r.Kind]++
		if !r.Example {
			texts[r.Name+"."] = r.Text
		}
		rr, err := dns.NewRR(r.Zone)
		if err != nil {
			t.Fatalf("%v: %s", err, r.Zone)
		}
		if got := strings.Join(rr.(*dns.TXT).Txt, ""); got != r.Text || rr.Header().Name != r.Name+"." {
			t.Errorf("%s reads as %q", r.Zone, got)
		}
	}
	if kinds["dkim"] != 4 || kinds["spf"] != 3 || kinds["dmarc"] != 3 || strings.Join(z.Domains, " ") != "example.com example.net example.org" {
		t.Errorf("%v of %v", kinds, z.Domains)
	}
	p := dns.NewZoneParser(strings.NewReader(z.Text()), "elsewhere.example.", "")
	p.SetDefaultTTL(3600)
	read := 0
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		read++
		if got := strings.Join(rr.(*dns.TXT).Txt, ""); texts[rr.Header().Name] != got {
			t.Errorf("%s is %q", rr.Header().Name, got)
		}
	}
	if p.Err() != nil || read != 4 { // two keys under two names; examples are comments
		t.Errorf("%d records, %v\n%s", read, p.Err(), z.Text())
	}
	for _, want := range []string{"; example.org\n", ";_dmarc.example.net. IN TXT \"v=DMARC1; p=none; rua=mailto:postmaster@example.net\"\n", "names no key", "sign = false"} {
		if !strings.Contains(z.Text(), want) {
			t.Errorf("no %q in\n%s", want, z.Text())
		}
	}
	if strings.Contains(z.Text(), "In the DNS now") {
		t.Error("it was not asked")
	}
}

func TestZoneOfOne(t *testing.T) {
	c := keyed(t)
	for domain, want := range map[string]string{"example.com": "example.com example.net", "example.net": "example.net", "example.org": "example.org"} {
		if z, err := DNS(Place{Config: c, Domain: domain}); err != nil || strings.Join(z.Domains, " ") != want {
			t.Errorf("%s: %v, %v", domain, z.Domains, err)
		}
	}
	if _, err := DNS(Place{Config: c, Domain: "other.example"}); err == nil || !strings.Contains(err.Error(), "other.example is not a domain of c.toml") {
		t.Error(err)
	}
	for domain, want := range map[string]string{"": "example.com", "mine.example": "mine.example"} {
		if z, err := DNS(Place{Domain: domain}); err != nil || !z.Example || z.Domains[0] != want || !strings.Contains(z.Text(), "the names are examples") {
			t.Errorf("%+v, %v", z, err)
		}
	}
	c.Domains[0].DKIM[0].Key = nil
	if _, err := DNS(Place{Config: c}); err == nil || !strings.Contains(err.Error(), "s1.pem") {
		t.Error(err)
	}
}

func TestZoneLine(t *testing.T) {
	text := strings.Repeat("0123456789", 51) + `"\`
	rr, err := dns.NewRR(zoneLine("a.example", text))
	if err != nil {
		t.Fatal(err)
	}
	parts := rr.(*dns.TXT).Txt
	if len(parts) != 3 || len(parts[0]) != 255 || len(parts[1]) != 255 {
		t.Errorf("%d parts", len(parts))
	}
	if line := zoneLine("a.example", text[:255]); strings.ContainsAny(line, "()\n") {
		t.Error(line)
	}
}

func TestCompare(t *testing.T) {
	const key = "v=DKIM1; k=rsa; p=MIIBIjAN"
	none, broken := &net.DNSError{IsNotFound: true}, &net.DNSError{Err: "server misbehaving", IsTemporary: true}
	for name, tc := range map[string]struct {
		kind  string
		found []string
		err   error
		now   string
		words string
	}{
		"not there":           {"dkim", nil, none, "missing", "missing"},
		"cannot tell":         {"dkim", nil, broken, "unknown", "cannot tell: "},
		"another error":       {"spf", nil, errors.New("what"), "unknown", "cannot tell: what"},
		"as it is":            {"dkim", []string{key}, nil, "published", "as it should be"},
		"in another form":     {"dkim", []string{"p=MIIB IjAN ;k=rsa;v=DKIM1"}, nil, "published", "as it should be"},
		"another key":         {"dkim", []string{"v=DKIM1; p=AAAA"}, nil, "differs", `there is another: "v=DKIM1; p=AAAA"`},
		"revoked":             {"dkim", []string{"v=DKIM1; p="}, nil, "differs", "another"},
		"two keys":            {"dkim", []string{key, key}, nil, "several", "take none"},
		"other texts":         {"spf", []string{"google-site-verification=x", "v=spf10 x"}, nil, "missing", "missing"},
		"spf":                 {"spf", []string{"x", "V=SPF1 -all"}, nil, "there", `there is one: "V=SPF1 -all"`},
		"spf alone":           {"spf", []string{"v=spf1"}, nil, "there", "there is one"},
		"spf twice":           {"spf", []string{"v=spf1 -all", "v=spf1 mx"}, nil, "several", `"v=spf1 -all" "v=spf1 mx"`},
		"dmarc":               {"dmarc", []string{"v=DMARC1 ; p=reject"}, nil, "there", "p=reject"},
		"what terminals obey": {"dmarc", []string{"v=DMARC1;\x1b[2J"}, nil, "there", `\x1b`},
	} {
		r := Record{Kind: tc.kind, Text: key}
		if r.Compare(tc.found, tc.err); r.Now != tc.now || !strings.Contains(r.now(), tc.words) {
			t.Errorf("%s: %q, %q, want %q, %q", name, r.Now, r.now(), tc.now, tc.words)
		}
	}
}
