package auth_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"backstop/internal/auth"
	"backstop/internal/authres"
	"backstop/internal/dkim"
	"backstop/internal/evidence"
	"backstop/internal/mail"
	"backstop/internal/mailtest"
	"backstop/internal/resolver"
)

// world is a DNS server, our resolver that asks it, and the checks that ask the resolver.
type world struct {
	dns   *mailtest.DNS
	check *auth.Checker
}

// newWorld starts one; patience is how long the resolver waits for an answer.
func newWorld(t *testing.T, zone string, patience time.Duration) world {
	t.Helper()
	d := mailtest.StartDNS(t, zone)
	r, err := resolver.New(resolver.Config{Servers: []netip.AddrPort{d.Addr()}, Timeout: patience, Tries: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return world{dns: d, check: auth.New(auth.Config{Resolver: r})}
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

// dmarc judges a message from this header From; SPF passed for the domain spf, or for none if that is "".
func (w world) dmarc(t testing.TB, from, spf string, signatures ...evidence.Signature) evidence.DMARC {
	t.Helper()
	s := evidence.SPF{Result: evidence.Fail, Domain: "elsewhere.test"}
	if spf != "" {
		s = evidence.SPF{Result: evidence.Pass, Domain: spf}
	}
	header := "Received: from x\r\nFrom: " + from + "\r\nSubject: x\r\n"
	return w.check.DMARC(t.Context(), []byte(header), s, signatures, sender(t, "alice@example.org"))
}

const dmarcZone = `
_dmarc.example.org       TXT "v=DMARC1; p=reject; sp=quarantine; rua=mailto:d@example.org"
_dmarc.own.example.org   TXT "v=DMARC1; p=none"
_dmarc.none.test         TXT "v=DMARC1; p=none"
_dmarc.quarantine.test   TXT "v=DMARC1; p=quarantine"
_dmarc.strict.test       TXT "v=DMARC1; p=reject; adkim=s; aspf=s"
_dmarc.sample.test       TXT "v=DMARC1; p=reject; pct=0"
_dmarc.all.test          TXT "v=DMARC1; p=reject; pct=100"
_dmarc.others.test       TXT "v=spf1 -all"
_dmarc.others.test       TXT "whatever"
_dmarc.several.test      TXT "v=DMARC1; p=reject"
_dmarc.several.test      TXT "v=DMARC1; p=none"
_dmarc.broken.test       TXT "v=DMARC1; p=refuse"
_dmarc.sub.several.test  TXT "v=DMARC1; p=reject"
_dmarc.sub.several.test  TXT "v=DMARC1; p=none"
_dmarc.long.test         TXT "v=DMARC1; p=re" "ject"
_dmarc.alias.test        CNAME _dmarc.example.org
_dmarc.example.co.uk     TXT "v=DMARC1; p=reject"
_dmarc.xn--bcher-kva.test TXT "v=DMARC1; p=reject"
mail.none.test           A 192.0.2.1
`

func TestDMARC(t *testing.T) {
	w := newWorld(t, dmarcZone, enough)
	deep := strings.Repeat("a.", 40)
	const (
		pass, fail, none, perm      = evidence.Pass, evidence.Fail, evidence.None, evidence.PermError
		unknown, quarantine, reject = evidence.PolicyUnknown, evidence.PolicyQuarantine, evidence.PolicyReject
		domain                      = "example.org"
	)
	for _, tc := range []struct {
		from, spf string
		result    evidence.Result
		domain    string
		policy    evidence.PublishedPolicy
		aligned   bool
	}{
		{"alice@example.org", "example.org", pass, domain, reject, true},
		{"alice@example.org", "bounces.example.org", pass, domain, reject, true},
		{"alice@example.org", "", fail, domain, reject, false},
		{"Alice <alice@EXAMPLE.org>, bob@example.org", "example.com", fail, domain, reject, false},
		{"alice@sub.example.org", "", fail, "sub.example.org", quarantine, false},
		{"alice@sub.example.org", "other.example.org", pass, "sub.example.org", quarantine, false},
		{"Alice <ALICE@example.org>", "example.org", pass, domain, reject, true},
		{"bob@example.org", "example.org", pass, domain, reject, false},
		{"alice@example.org, bob@example.org", "example.org", pass, domain, reject, false},
		{"alice@" + deep + "example.org", "", fail, deep + "example.org", quarantine, false},
		{"alice@own.example.org", "", fail, "own.example.org", evidence.PolicyNone, false},
		{"alice@sub.own.example.org", "", fail, "sub.own.example.org", quarantine, false}, // the organisation's, not that in between
		{"a@none.test", "", fail, "none.test", evidence.PolicyNone, false},
		{"a@quarantine.test", "", fail, "quarantine.test", quarantine, false},
		{"a@quarantine.test", "quarantine.test", pass, "quarantine.test", quarantine, false},
		{"a@strict.test", "x.strict.test", fail, "strict.test", reject, false},
		{"a@sample.test", "", fail, "sample.test", quarantine, false},
		{"a@all.test", "", fail, "all.test", reject, false},
		{"a@long.test", "", fail, "long.test", reject, false},
		{"a@alias.test", "", fail, "alias.test", reject, false},
		{"a@mail.example.co.uk", "", fail, "mail.example.co.uk", reject, false},
		{"a@other.co.uk", "example.co.uk", none, "other.co.uk", unknown, false},
		{"ä@bücher.test", "xn--bcher-kva.test", pass, "xn--bcher-kva.test", reject, false},
		{"a@nothing.test", "nothing.test", none, "nothing.test", unknown, false},
		{"a@others.test", "", none, "others.test", unknown, false},
		{"a@several.test", "", none, "several.test", unknown, false},
		{"a@x.several.test", "", none, "x.several.test", unknown, false},
		{"a@broken.test", "", perm, "broken.test", unknown, false},
		{"a@" + strings.Repeat("abcdefghij.", 22) + "example.org", "", fail, strings.Repeat("abcdefghij.", 22) + "example.org", quarantine, false}, // too long for a name below it
		{"Nobody:;", "example.org", none, "", unknown, false},
		{"a@[192.0.2.1]", "example.org", none, "", unknown, false},
		{"a@example.org, b@example.com", "example.org", perm, "", unknown, false},
		{"a@example.org <b@example.com>", "example.com", perm, "", unknown, false},
	} {
		got := w.dmarc(t, tc.from, tc.spf)
		if got.Result != tc.result || got.Domain != tc.domain || got.Policy != tc.policy || got.Aligned != tc.aligned || got.Detail == "" && got.Result != pass {
			t.Errorf("From: %s is %+v, want %v of %q, %v, %v", tc.from, got, tc.result, tc.domain, tc.policy, tc.aligned)
		}
	}
	if n := w.dns.Asked("_dmarc.example.org"); n != 1 {
		t.Errorf("_dmarc.example.org was asked for %d times: once is enough", n)
	}
}

// However many labels a stranger writes, two look-ups are made; for an ambiguous From none.
func TestDMARCLookups(t *testing.T) {
	for from, want := range map[string]int{
		"a@example.org": 1,
		"a@" + strings.Repeat("x.", 100) + "nothing.test": 2,
		"a@co.uk":            1,
		"a@x.test, b@y.test": 0,
		"":                   0,
	} {
		w := newWorld(t, dmarcZone, enough)
		w.dmarc(t, from, "")
		if n := w.dns.Asked(""); n != want {
			t.Errorf("From: %s costs %d look-ups, want %d", from, n, want)
		}
	}
}

// pct is a share of the messages.
func TestDMARCShare(t *testing.T) {
	w := newWorld(t, `_dmarc.half.test TXT "v=DMARC1; p=reject; pct=50"`, enough)
	var counts [4]int
	for range 1000 {
		counts[w.dmarc(t, "a@half.test", "").Policy]++
	}
	// That one of them has none of 1000 happens once in 2^1000 runs.
	if counts[evidence.PolicyReject] == 0 || counts[evidence.PolicyQuarantine] == 0 || counts[evidence.PolicyReject]+counts[evidence.PolicyQuarantine] != 1000 {
		t.Errorf("by policy: %v", counts)
	}
}

// fault is what a server does, and whether nothing can be found out then.
type fault struct {
	fault     mailtest.DNSFault
	temporary bool
}

// enough is how long the resolver waits where an answer will come.
const enough = 10 * time.Second

// patience is short where no answer will come.
func (f fault) patience() time.Duration {
	if f.temporary {
		return 100 * time.Millisecond
	}
	return enough
}

// faults are the ways in which a server does not answer, and what they come to.
var faults = map[string]fault{
	"SERVFAIL":        {mailtest.DNSServFail, true},
	"REFUSED":         {mailtest.DNSRefused, true},
	"lame":            {mailtest.DNSLame, true},
	"silent":          {mailtest.DNSSilent, true},
	"garbage":         {mailtest.DNSGarbage, true},
	"wrong id":        {mailtest.DNSWrongID, true},
	"truncated twice": {mailtest.DNSTruncatedBoth, true},
	"NXDOMAIN":        {mailtest.DNSNXDomain, false},
	"no data":         {mailtest.DNSNoData, false},
	"truncated":       {mailtest.DNSTruncated, false},
}

// What happens to each of the look-ups of DMARC: that of the domain, and that of the organisation.
func TestDMARCFaults(t *testing.T) {
	for name, f := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, dmarcZone, f.patience())
			w.dns.Fail("_dmarc.example.org", f.fault)
			w.dns.Fail("_dmarc.own.example.org", f.fault)
			gone := f.fault == mailtest.DNSNXDomain || f.fault == mailtest.DNSNoData
			for from, well := range map[string]evidence.Result{"a@example.org": evidence.Fail, "a@sub.example.org": evidence.Fail, "a@own.example.org": evidence.Fail} {
				want := well
				switch {
				case f.temporary:
					want = evidence.TempError
				case gone:
					want = evidence.None
				}
				got := w.dmarc(t, from, "")
				if got.Result != want || got.Detail == "" || want == evidence.TempError && (got.Policy != evidence.PolicyUnknown || got.Domain == "") {
					t.Errorf("%s is %+v, want %v", from, got, want)
				}
			}
			// Where the domain's own look-up failed, the organisation's says nothing.
			if n := w.dns.Asked("_dmarc.own.example.org"); n == 0 {
				t.Error("the domain itself was not asked")
			}
		})
	}
}

// signer is a key of ours, and its record.
func signer(t *testing.T, domain, selector string, asRSA bool) (dkim.Key, string) {
	t.Helper()
	k := dkim.Key{Domain: domain, Selector: selector}
	if asRSA {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			t.Fatal(err)
		}
		k.Private = key
	} else {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		k.Private = key
	}
	name, txt, err := k.Record()
	if err != nil {
		t.Fatal(err)
	}
	var quoted []string
	for len(txt) > 0 {
		n := min(len(txt), 200)
		quoted, txt = append(quoted, fmt.Sprintf("%q", txt[:n])), txt[n:]
	}
	return k, name + " TXT " + strings.Join(quoted, " ") + "\n"
}

// signed is a message with a signature by each key, its body apart.
func signed(t *testing.T, from string, keys ...dkim.Key) (header, body string) {
	t.Helper()
	header = "From: " + from + "\r\nTo: bob@example.net\r\nSubject: x\r\nDate: Sun, 22 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@example.org>\r\n"
	body = "Hello,\r\n\r\nthis is it.\r\n"
	s := dkim.NewSigning([]byte(header), keys, time.Now())
	s.Write([]byte(body))
	fields, err := s.Fields()
	if err != nil {
		t.Fatal(err)
	}
	return string(fields) + header, body
}

func (w world) dkim(t *testing.T, header, body string) []evidence.Signature {
	t.Helper()
	v := dkim.NewVerifier([]byte(header))
	v.Write([]byte(body))
	return w.check.DKIM(t.Context(), v)
}

func TestDKIM(t *testing.T) {
	first, record1 := signer(t, "example.org", "s1", false)
	second, record2 := signer(t, "mail.example.org", "s2", true)
	stranger, _ := signer(t, "list.test", "s3", false)
	w := newWorld(t, dmarcZone+record1+record2, enough)

	header, body := signed(t, "alice@example.org", first, second, stranger)
	found := w.dkim(t, header, body)
	if got := results(found); got != "example.org=pass list.test=permerror mail.example.org=pass" {
		t.Errorf("the signatures are %s: %+v", got, found)
	}
	d := w.check.DMARC(t.Context(), []byte(header), evidence.SPF{Result: evidence.None}, found, sender(t, "alice@example.org"))
	if d.Result != evidence.Pass || !d.Aligned || d.Policy != evidence.PolicyReject {
		t.Errorf("DMARC is %+v", d)
	}
	field := string(authres.Append(nil, "mx.example.net", authres.Fields{SPF: evidence.SPF{Result: evidence.None, Domain: "example.org"}, From: sender(t, "alice@example.org"), DKIM: found, DMARC: d}))
	for _, part := range []string{"spf=none smtp.mailfrom=example.org;", "dkim=pass header.d=example.org header.s=s1;", "dmarc=pass (p=reject) header.from=example.org\r\n"} {
		if !strings.Contains(field, part) {
			t.Errorf("%s\nhas no %q", field, part)
		}
	}

	changed := w.dkim(t, header, body+"One more line.\r\n")
	if d := w.dmarcOf(t, header, changed); d.Result != evidence.Fail || d.Policy != evidence.PolicyReject {
		t.Errorf("of a changed message %s, and DMARC is %+v", results(changed), d)
	}
	if n := w.dns.Asked("s1._domainkey.example.org"); n != 1 {
		t.Errorf("the key was asked for %d times: once is enough", n)
	}
	if none := w.dkim(t, "From: a@example.org\r\n", body); none == nil || len(none) != 0 {
		t.Errorf("a message without a signature: %#v", none)
	}
}

// dmarcOf judges a message that SPF says nothing of.
func (w world) dmarcOf(t *testing.T, header string, found []evidence.Signature) evidence.DMARC {
	t.Helper()
	return w.check.DMARC(t.Context(), []byte(header), evidence.SPF{Result: evidence.None}, found, sender(t, "alice@example.org"))
}

func results(all []evidence.Signature) string {
	var s []string
	for _, one := range all {
		s = append(s, one.Domain+"="+one.Result.String())
	}
	for i := range s { // in the order of the alphabet, whatever that of the fields
		for j := range s[:i] {
			if s[i] < s[j] {
				s[i], s[j] = s[j], s[i]
			}
		}
	}
	return strings.Join(s, " ")
}

// What happens to the look-up of a key: the message is not failed for it, by DKIM or by DMARC.
func TestDKIMFaults(t *testing.T) {
	key, record := signer(t, "example.org", "s1", false)
	header, body := signed(t, "alice@example.org", key)
	for name, f := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, dmarcZone+record, f.patience())
			w.dns.Fail("s1._domainkey.example.org", f.fault)
			signature, dmarc := evidence.Pass, evidence.Pass
			switch {
			case f.temporary:
				signature, dmarc = evidence.TempError, evidence.TempError
			case f.fault != mailtest.DNSTruncated:
				signature, dmarc = evidence.PermError, evidence.Fail
			}
			found := w.dkim(t, header, body)
			if len(found) != 1 || found[0].Result != signature || found[0].Domain != "example.org" || found[0].Selector != "s1" {
				t.Errorf("the signature is %+v, want %v", found, signature)
			}
			if d := w.dmarcOf(t, header, found); d.Result != dmarc || d.Policy != evidence.PolicyReject {
				t.Errorf("DMARC is %+v, want %v", d, dmarc)
			}
		})
	}
}

// A server that never answers, and a resolver that would wait for it.
type endless struct{ asked chan string }

func (e endless) wait(ctx context.Context, name string) error {
	e.asked <- name
	<-ctx.Done()
	return &net.DNSError{Err: ctx.Err().Error(), Name: name, IsTimeout: true, IsTemporary: true}
}

func (e endless) LookupTXT(ctx context.Context, name string) ([]string, error) {
	return nil, e.wait(ctx, name)
}
func (e endless) LookupMX(ctx context.Context, name string) ([]*net.MX, error) {
	return nil, e.wait(ctx, name)
}
func (e endless) LookupIPAddr(ctx context.Context, name string) ([]net.IPAddr, error) {
	return nil, e.wait(ctx, name)
}
func (e endless) LookupAddr(ctx context.Context, name string) ([]string, error) {
	return nil, e.wait(ctx, name)
}

// All look-ups of a message have one bound, however many signatures name however many silent domains.
func TestMessageTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := endless{asked: make(chan string, 100)}
		c := auth.New(auth.Config{Resolver: e, MessageTime: 7 * time.Second})
		var keys []dkim.Key
		for i := range 12 {
			k, _ := signer(t, fmt.Sprintf("d%d.test", i), "s", false)
			keys = append(keys, k)
		}
		header, body := signed(t, "alice@example.org", keys...)
		v := dkim.NewVerifier([]byte(header))
		v.Write([]byte(body))
		began := time.Now()
		found := c.DKIM(t.Context(), v)
		if took := time.Since(began); took != 7*time.Second || len(found) != dkim.MaxSignatures {
			t.Errorf("%d signatures took %v", len(found), took)
		}
		for _, s := range found {
			if s.Result != evidence.TempError {
				t.Errorf("%+v", s)
			}
		}
		began = time.Now()
		d := c.DMARC(t.Context(), []byte(header), evidence.SPF{}, found, mail.ReversePath{})
		if took := time.Since(began); took != 7*time.Second || d.Result != evidence.TempError || d.Domain != "example.org" {
			t.Errorf("%+v, after %v", d, took)
		}
		// Whoever asks may have less time than that.
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began = time.Now()
		if d := c.DMARC(ctx, []byte(header), evidence.SPF{}, nil, mail.ReversePath{}); time.Since(began) != time.Second || d.Result != evidence.TempError {
			t.Errorf("%+v, after %v", d, time.Since(began))
		}
	})
}
