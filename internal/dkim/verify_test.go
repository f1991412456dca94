package dkim

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"backstop/internal/evidence"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

const (
	sampleHeader = "Received: from a.example.com (a.example.com [192.0.2.1])\r\n\tby mx.example.org; Sun, 22 Nov 2026 11:00:00 +0000\r\n" +
		"From: Joe <joe@example.org>\r\nTo: Suzie <suzie@example.com>,\r\n  Bob  <bob@example.com>\r\nSubject:  Is dinner\t ready? \r\n" +
		"Date: Sun, 22 Nov 2026 11:00:00 +0000\r\nMessage-ID: <1@example.org>\r\n"
	sampleBody = "Hi.  \r\n\r\nWe lost \t the game.\r\n\r\n\r\n"
)

// zone is what the DNS knows: records by SELECTOR._domainkey.DOMAIN.
type zone map[string][]string

func (z zone) lookup(_ context.Context, domain, selector string) ([]string, error) {
	if txt, ok := z[selector+between+domain]; ok {
		return txt, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: selector + between + domain, IsNotFound: true}
}

func zoneOf(t testing.TB, keys ...Key) zone {
	t.Helper()
	z := zone{}
	for _, k := range keys {
		name, txt, err := k.Record()
		if err != nil {
			t.Fatal(err)
		}
		z[name] = append(z[name], txt)
	}
	return z
}

// craft signs with whatever tags are given, to which bh=, unless given, and b= are added.
func craft(t testing.TB, key crypto.Signer, list, header, body string) string {
	t.Helper()
	if !strings.Contains(list, "bh=") {
		list += "; bh=" + strings.Repeat("A", 43) + "=" // of 32 octets, until it is known
	}
	c := canonicaliser{relaxed: strings.Contains(list, "/relaxed")}
	limit := int64(whole)
	s := parseOne(t, "DKIM-Signature: "+list+"; b=AA==\r\n")
	if s.limit != 1<<63-1 {
		limit = s.limit
	}
	sum := c.sum(limit)
	c.write([]byte(body))
	c.end()
	list = strings.Replace(list, strings.Repeat("A", 43)+"=", base64.StdEncoding.EncodeToString(sum.sum[:]), 1)
	s = parseOne(t, "DKIM-Signature: "+list+"; b=AA==\r\n")
	s.digestHeader(newIndex([]byte(header), s.headers))
	var hash crypto.Hash
	if _, ok := key.Public().(*rsa.PublicKey); ok {
		hash = crypto.SHA256
	}
	sig, err := key.Sign(rand.Reader, s.digest[:], hash)
	if err != nil {
		t.Fatal(err)
	}
	return "DKIM-Signature: " + list + "; b=" + base64.StdEncoding.EncodeToString(sig) + "\r\n"
}

func parseOne(t testing.TB, text string) *signature {
	t.Helper()
	all := slices.Collect(fields([]byte(text)))
	if len(all) != 1 {
		t.Fatalf("%d fields in %q", len(all), text)
	}
	return parseSignature(all[0])
}

// check verifies a message whose body comes in pieces of n octets.
func check(header, body string, lookup KeyLookup, now time.Time, n int) []evidence.Signature {
	v := NewVerifier([]byte(header))
	for len(body) > n {
		v.Write([]byte(body[:n]))
		body = body[n:]
	}
	v.Write([]byte(body))
	return v.Verify(context.Background(), lookup, now)
}

const (
	rfc8463Header = "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n d=football.example.com; i=@football.example.com;\r\n q=dns/txt; s=brisbane; t=1528637909; h=from : to :\r\n subject : date : message-id : from : subject : date;\r\n bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus\r\n Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==\r\n" +
		"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;\r\n d=football.example.com; i=@football.example.com;\r\n q=dns/txt; s=test; t=1528637909; h=from : to : subject :\r\n date : message-id : from : subject : date;\r\n bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n b=F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3\r\n DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz\r\n dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=\r\n" +
		"From: Joe SixPack <joe@football.example.com>\r\nTo: Suzie Q <suzie@shopping.example.net>\r\nSubject: Is dinner ready?\r\nDate: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\nMessage-ID: <20030712040037.46341.5F8J@football.example.com>\r\n"
	rfc8463Body = "Hi.\r\n\r\nWe lost the game.  Are you hungry yet?\r\n\r\nJoe.\r\n"
)

var rfc8463Zone = zone{
	"brisbane._domainkey.football.example.com": {"v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="},
	"test._domainkey.football.example.com":     {"v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB"},
}

// TestVector is the message of RFC 8463, appendix A.
func TestVector(t *testing.T) {
	for _, n := range []int{1, 2, 3, 7, 1000} {
		got := check(rfc8463Header, rfc8463Body, rfc8463Zone.lookup, noon, n)
		if len(got) != 2 || got[0].Result != evidence.Pass || got[1].Result != evidence.Pass || got[0].Selector != "brisbane" || got[1].Domain != "football.example.com" {
			t.Errorf("pieces of %d: %+v", n, got)
		}
	}
	for name, body := range map[string]string{"a word": strings.Replace(rfc8463Body, "hungry", "angry", 1), "appended": rfc8463Body + "P.S.\r\n", "nothing": ""} {
		for _, s := range check(rfc8463Header, body, rfc8463Zone.lookup, noon, 100) {
			if s.Result != evidence.Fail || !strings.Contains(s.Detail, "body") {
				t.Errorf("%s: %+v", name, s)
			}
		}
	}
}

const usual = "v=1; a=ed25519-sha256; c=relaxed/relaxed; d=example.org; s=s; h=from:to:subject"

// TestResults holds what each doubtful case is decided to be.
func TestResults(t *testing.T) {
	ed := Key{"example.org", "s", edKey(1)}
	_, good, err := ed.Record()
	if err != nil {
		t.Fatal(err)
	}
	with := func(tags string) string { return usual + "; " + tags }
	less := func(tag string) string { return strings.Replace(usual, tag, "", 1) }
	other := func(old, new string) string { return strings.Replace(usual, old, new, 1) }
	long := strings.Repeat("9", 76)
	for name, tc := range map[string]struct {
		list, record string // of the signature; of the key, where it is not the usual one
		want         evidence.Result
		detail       string
	}{
		"usual":                {usual, "", evidence.Pass, ""},
		"simple":               {other("relaxed/relaxed", "simple/simple"), "", evidence.Pass, ""},
		"header only":          {other("relaxed/relaxed", "relaxed"), "", evidence.Pass, ""},
		"capitals":             {other("c=relaxed/relaxed", "c=Relaxed/relaxed"), "", evidence.Pass, ""},
		"no c":                 {less(" c=relaxed/relaxed;"), "", evidence.Pass, ""},
		"folded everywhere":    {"\r\n v =\t1 ; a = ed25519-sha256;\r\n\tc=relaxed/relaxed; d\r\n =\r\n example.org; s=s; h=from\r\n :\tto: subject\t", "", evidence.Pass, ""},
		"empty tags":           {with("; ;"), "", evidence.Pass, ""},
		"unknown tag":          {with("r=y; z=From:joe|b=no"), "", evidence.Pass, ""},
		"tag after b":          {with("xb=1"), "", evidence.Pass, ""},
		"q":                    {with("q=dns/txt"), "", evidence.Pass, ""},
		"q among others":       {with("q=dns/http : DNS/TXT"), "", evidence.Pass, ""},
		"q of others":          {with("q=dns/http"), "", evidence.Neutral, "q="},
		"unknown a":            {other("ed25519-sha256", "ed448-shake256"), "", evidence.Neutral, "a="},
		"unknown c":            {other("c=relaxed", "c=nowsp"), "", evidence.Neutral, "c="},
		"sha1":                 {other("ed25519-sha256", "rsa-sha1"), "", evidence.PermError, "sha1"},
		"v=2":                  {other("v=1", "v=2"), "", evidence.PermError, "v="},
		"no v":                 {less("v=1; "), "", evidence.PermError, "v="},
		"no a":                 {less(" a=ed25519-sha256;"), "", evidence.PermError, "no a="},
		"no d":                 {less(" d=example.org;"), "", evidence.PermError, "no d="},
		"no s":                 {less(" s=s;"), "", evidence.PermError, "no s="},
		"no h":                 {less(" h=from:to:subject"), "", evidence.PermError, "no h="},
		"From not signed":      {other("h=from:", "h="), "", evidence.PermError, "From"},
		"a tag twice":          {with("d=example.org"), "", evidence.PermError, "twice"},
		"no tag":               {with("hello"), "", evidence.PermError, "no tag"},
		"d no domain":          {other("example.org", "example..org"), "", evidence.PermError, "d="},
		"d an address":         {other("example.org", "[192.0.2.1]"), "", evidence.PermError, "d="},
		"s no selector":        {other("s=s", "s=a b"), "", evidence.PermError, "s="},
		"name too long":        {other("s=s", "s="+strings.Repeat("a23456789.", 24)+"a"), "", evidence.PermError, "too long"},
		"bh short":             {with("bh=QUJD"), "", evidence.PermError, "bh="},
		"bh no base64":         {with("bh=%%%%"), "", evidence.PermError, "bh="},
		"i":                    {with("i=joe@example.org"), "", evidence.Pass, ""},
		"i below":              {with("i=@Mail.Example.org"), "", evidence.Pass, ""},
		"i beside":             {with("i=@badexample.org"), "", evidence.PermError, "i="},
		"i above":              {with("i=joe@org"), "", evidence.PermError, "i="},
		"i no address":         {with("i=example.org"), "", evidence.PermError, "i="},
		"i below, t=s":         {with("i=@mail.example.org"), good + "; t=y:s", evidence.PermError, "t=s"},
		"i same, t=s":          {with("i=joe@EXAMPLE.org"), good + "; t=s", evidence.Pass, ""},
		"h repeats":            {other("h=from", "h=From:FROM:from"), "", evidence.Pass, ""},
		"l is all":             {with("l=26"), "", evidence.Pass, ""},
		"l is less":            {with("l=5"), "", evidence.Neutral, "octets of the body unsigned"},
		"l is nothing":         {with("l=0"), "", evidence.Neutral, "last 26 octets"},
		"l is more":            {with("l=27"), "", evidence.Fail, "l="},
		"l is huge":            {with("l=" + long), "", evidence.Fail, "l="},
		"l no number":          {with("l=-1"), "", evidence.PermError, "l="},
		"t":                    {with("t=1795348800"), "", evidence.Pass, ""},
		"t a bit ahead":        {with(fmt.Sprintf("t=%d", noon.Add(20*time.Hour).Unix())), "", evidence.Pass, ""},
		"t in the future":      {with(fmt.Sprintf("t=%d", noon.Add(48*time.Hour).Unix())), "", evidence.Fail, "future"},
		"t beyond all":         {with("t=" + long), "", evidence.Fail, "future"},
		"t no number":          {with("t=now"), "", evidence.PermError, "t="},
		"x":                    {with(fmt.Sprintf("x=%d", noon.Unix()+1)), "", evidence.Pass, ""},
		"x just over":          {with(fmt.Sprintf("x=%d", noon.Unix()-60)), "", evidence.Pass, ""},
		"x over":               {with(fmt.Sprintf("x=%d", noon.Unix()-3600)), "", evidence.Fail, "expired"},
		"x before t":           {with("t=1000; x=1000"), "", evidence.PermError, "x="},
		"x empty":              {with("x="), "", evidence.PermError, "x="},
		"key of test":          {usual, good + "; t=y", evidence.Neutral, "verifies, but the key is in test mode (t=y)"},
		"key of test, and s":   {usual, good + "; t=s:Y", evidence.Neutral, "test mode"},
		"key of test, l=":      {with("l=5"), good + "; t=y", evidence.Neutral, "octets of the body unsigned"},
		"another key, of test": {usual, strings.Replace(good, "p=iojj", "p=jojj", 1) + "; t=y", evidence.Neutral, "does not verify, and the key is in test mode"},
		"key for all":          {usual, good + "; s=*", evidence.Pass, ""},
		"key for mail":         {usual, good + "; s=other:email", evidence.Pass, ""},
		"key not for mail":     {usual, good + "; s=tlsrpt", evidence.PermError, "s="},
		"key with hash":        {usual, good + "; h=sha1:sha256", evidence.Pass, ""},
		"key for sha1":         {usual, good + "; h=sha1", evidence.PermError, "h="},
		"key with notes":       {usual, good + "; n=ask joe; g=*; foo=bar;", evidence.Pass, ""},
		"key without v":        {usual, strings.TrimPrefix(good, "v=DKIM1; "), evidence.Pass, ""},
		"key of DKIM2":         {usual, strings.Replace(good, "DKIM1", "DKIM2", 1), evidence.PermError, "DKIM1"},
		"v not first":          {usual, strings.TrimPrefix(good, "v=DKIM1; ") + "; v=DKIM1", evidence.PermError, "DKIM1"},
		"key of RSA":           {usual, strings.Replace(good, "k=ed25519; ", "", 1), evidence.PermError, `"rsa"`},
		"key of something":     {usual, strings.Replace(good, "ed25519", "dsa", 1), evidence.PermError, `"dsa"`},
		"key revoked":          {usual, "v=DKIM1; k=ed25519; p=", evidence.PermError, "revoked"},
		"key without p":        {usual, "v=DKIM1; k=ed25519", evidence.PermError, "p="},
		"key too short":        {usual, "v=DKIM1; k=ed25519; p=QUJD", evidence.PermError, "3 octets"},
		"key no base64":        {usual, "v=DKIM1; k=ed25519; p=!", evidence.PermError, "base64"},
		"key folded":           {usual, strings.Replace(good, "p=", "p= \t", 1) + " \r\n ", evidence.Pass, ""},
		"record broken":        {usual, "hello", evidence.PermError, "key record"},
		"record twice a tag":   {usual, good + "; p=", evidence.PermError, "twice"},
		"record endless":       {usual, good + "; n=" + strings.Repeat("n", 5000), evidence.PermError, "too long"},
		"another key":          {usual, strings.Replace(good, "p=iojj", "p=jojj", 1), evidence.Fail, "b="},
		"domain in capitals":   {other("d=example.org", "d=Example.ORG"), "", evidence.Pass, ""},
		"trailing space of b=": {usual, "", evidence.Pass, ""},
	} {
		list, record := tc.list, tc.record
		if record == "" {
			record = good
		}
		field := craft(t, edKey(1), list, sampleHeader, sampleBody)
		if strings.HasPrefix(name, "trailing") {
			field = strings.Replace(field, "; b=", ";\r\n b=\r\n\t ", 1)
		}
		z := zone{"s._domainkey.example.org": {record}}
		got := check(field+sampleHeader, sampleBody, z.lookup, noon, 3)
		if len(got) != 1 || got[0].Result != tc.want || !strings.Contains(got[0].Detail, tc.detail) || tc.detail == "" && got[0].Detail != "" {
			t.Errorf("%s: %+v, want %v for %q", name, got, tc.want, tc.detail)
		}
		if got[0].Result == evidence.Pass && (got[0].Domain != "example.org" || got[0].Selector != "s") {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// TestRSASizes: a key may be of 1024 to 4096 bits, in either form.
func TestRSASizes(t *testing.T) {
	t.Setenv("GODEBUG", "rsa1024min=0")
	for _, tc := range []struct {
		bits   int
		want   evidence.Result
		detail string
	}{{768, evidence.PermError, "768 bits"}, {1024, evidence.Pass, ""}, {2048, evidence.Pass, ""}, {4096, evidence.Pass, ""}, {4104, evidence.PermError, "b= has 513 octets"}} {
		key := rsaKey(t, tc.bits)
		pkix, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
		if err != nil {
			t.Fatal(err)
		}
		field := craft(t, key, strings.Replace(usual, "ed25519", "rsa", 1), sampleHeader, sampleBody)
		for _, der := range [][]byte{pkix, x509.MarshalPKCS1PublicKey(&key.PublicKey)} {
			z := zone{"s._domainkey.example.org": {"p=" + base64.StdEncoding.EncodeToString(der)}}
			got := check(field+sampleHeader, sampleBody, z.lookup, noon, 100)
			if got[0].Result != tc.want || !strings.Contains(got[0].Detail, tc.detail) {
				t.Errorf("%d bits: %+v", tc.bits, got)
			}
			if _, err := parseRecord(z["s._domainkey.example.org"][0], algRSA); (err == nil) != (tc.want == evidence.Pass) || err != nil && !strings.Contains(err.Error(), fmt.Sprint(tc.bits, " bits")) {
				t.Errorf("the record of %d bits: %v", tc.bits, err)
			}
		}
	}
	for _, key := range []ed25519.PrivateKey{edKey(1)} { // a key of one kind that says it is of the other
		der, err := x509.MarshalPKIXPublicKey(key.Public())
		if err != nil {
			t.Fatal(err)
		}
		z := zone{"s._domainkey.example.org": {"k=rsa; p=" + base64.StdEncoding.EncodeToString(der)}}
		field := craft(t, key, strings.Replace(usual, "ed25519", "rsa", 1), sampleHeader, sampleBody)
		if got := check(field+sampleHeader, sampleBody, z.lookup, noon, 100); got[0].Result != evidence.PermError {
			t.Errorf("Ed25519 as RSA: %+v", got)
		}
	}
}

func TestLookup(t *testing.T) {
	_, good, err := Key{"example.org", "s", edKey(1)}.Record()
	if err != nil {
		t.Fatal(err)
	}
	_, wrong, _ := Key{"example.org", "s", edKey(2)}.Record()
	header := craft(t, edKey(1), usual, sampleHeader, sampleBody) + sampleHeader
	for name, tc := range map[string]struct {
		records []string
		err     error
		want    evidence.Result
		detail  string
	}{
		"no name":         {nil, &net.DNSError{Err: "no such host", IsNotFound: true}, evidence.PermError, "no key: s._domainkey.example.org"},
		"no record":       {nil, nil, evidence.PermError, "no key"},
		"servfail":        {nil, &net.DNSError{Err: "server misbehaving", IsTemporary: true}, evidence.TempError, "misbehaving"},
		"time-out":        {nil, context.DeadlineExceeded, evidence.TempError, "could not be asked for in time"},
		"wrapped":         {nil, fmt.Errorf("asking: %w", &net.DNSError{IsNotFound: true}), evidence.PermError, "no key"},
		"whatever":        {nil, errors.New("oops"), evidence.TempError, "could not be asked for"},
		"not for a log":   {nil, &net.DNSError{Err: "oo\r\nps\x00\xff"}, evidence.TempError, "oo??ps??"},
		"second":          {[]string{"v=spf1 -all", good}, nil, evidence.Pass, ""},
		"the other first": {[]string{wrong, good}, nil, evidence.Pass, ""},
		"wrong ones":      {[]string{"v=spf1 -all", wrong, "hello"}, nil, evidence.Fail, "b="},
		"no key record":   {[]string{"v=spf1 -all", "hello"}, nil, evidence.PermError, "DKIM1"},
		"too many":        {[]string{wrong, wrong, wrong, wrong, good}, nil, evidence.Fail, "b="},
	} {
		got := check(header, sampleBody, func(context.Context, string, string) ([]string, error) { return tc.records, tc.err }, noon, 100)
		if len(got) != 1 || got[0].Result != tc.want || !strings.Contains(got[0].Detail, tc.detail) {
			t.Errorf("%s: %+v, want %v", name, got, tc.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	v := NewVerifier([]byte(header))
	v.Write([]byte(sampleBody))
	got := v.Verify(ctx, func(context.Context, string, string) ([]string, error) { panic("asked although it is over") }, noon)
	if got[0].Result != evidence.TempError {
		t.Errorf("after the time: %+v", got)
	}
	if got := v.Verify(t.Context(), zone{"s._domainkey.example.org": {good}}.lookup, noon); got[0].Result != evidence.Pass {
		t.Errorf("asked again: %+v", got)
	}
	if _, err := v.Write([]byte("more")); err == nil {
		t.Error("the body goes on behind its end")
	}
}

// TestHeader: what may be done to the header, and what not.
func TestHeader(t *testing.T) {
	z := zoneOf(t, Key{"example.org", "s", edKey(1)})
	relaxed := craft(t, edKey(1), strings.Replace(usual, "subject", "subject:received:received:from", 1), sampleHeader, sampleBody)
	simple := craft(t, edKey(1), strings.Replace(usual, "relaxed/relaxed", "simple", 1), sampleHeader, sampleBody)
	change := func(old, new string) string { return strings.Replace(sampleHeader, old, new, 1) }
	for name, tc := range map[string]struct {
		header              string
		ofRelaxed, ofSimple evidence.Result
	}{
		"same":               {sampleHeader, evidence.Pass, evidence.Pass},
		"folded anew":        {change("Suzie <", "Suzie\r\n\t<"), evidence.Pass, evidence.Fail},
		"name in capitals":   {change("To:", "TO :"), evidence.Pass, evidence.Fail},
		"space at the end":   {change("ready? ", "ready?"), evidence.Pass, evidence.Fail},
		"space within":       {change("dinner\t ready", "dinner ready"), evidence.Pass, evidence.Fail},
		"space away":         {change("dinner\t ready", "dinnerready"), evidence.Fail, evidence.Fail},
		"a letter":           {change("Suzie", "suzie"), evidence.Fail, evidence.Fail},
		"unsigned field":     {change("Date: Sun", "Date: Mon"), evidence.Pass, evidence.Pass},
		"To above":           {"To: x@example.com\r\n" + sampleHeader, evidence.Pass, evidence.Pass},
		"To below":           {sampleHeader + "To: x@example.com\r\n", evidence.Fail, evidence.Fail},
		"From above":         {"From: x@example.com\r\n" + sampleHeader, evidence.Fail, evidence.Pass},
		"one Received above": {"Received: x\r\n" + sampleHeader, evidence.Fail, evidence.Pass},
		"To gone":            {change("To:", "X-To:"), evidence.Fail, evidence.Fail},
		"an empty line":      {sampleHeader + "\r\nTo: nobody\r\n", evidence.Pass, evidence.Pass},
		"no field":           {"hello\r\n" + sampleHeader, evidence.Pass, evidence.Pass},
	} {
		for i, field := range []string{relaxed, simple} {
			want := [...]evidence.Result{tc.ofRelaxed, tc.ofSimple}[i]
			if got := check(field+tc.header, sampleBody, z.lookup, noon, 100); got[0].Result != want {
				t.Errorf("%s: %+v, want %v", name, got, want)
			}
		}
	}
	bare := strings.ReplaceAll(simple+sampleHeader, "\r\n", "\n")
	if got := check(bare, sampleBody, z.lookup, noon, 100); got[0].Result != evidence.Pass {
		t.Errorf("without CR: %+v", got)
	}
}

// TestMany: of 500 signatures eight are checked, those first that say most, and each key is asked for once.
func TestMany(t *testing.T) {
	good := func(domain, selector string) string {
		return craft(t, edKey(1), strings.NewReplacer("d=example.org", "d="+domain, "s=s", "s="+selector).Replace(usual), sampleHeader, sampleBody)
	}
	var all strings.Builder
	for i := range 500 {
		switch i {
		case 100:
			all.WriteString(good("org", "up"))
		case 200, 300:
			all.WriteString(good("sub.example.org", "down"))
		case 400:
			all.WriteString(good("example.org", "own"))
		default:
			if i%2 == 0 {
				all.WriteString("DKIM-Signature: v=1; d=example.org\r\n")
			} else {
				all.WriteString(good("example.net", "other"))
			}
		}
	}
	asked := map[string]int{}
	lookup := func(_ context.Context, domain, selector string) ([]string, error) {
		asked[selector+"/"+domain]++
		_, txt, err := Key{domain, selector, edKey(1)}.Record()
		return []string{txt}, err
	}
	v := NewVerifier([]byte(all.String() + sampleHeader))
	v.Write([]byte(sampleBody))
	var got []string
	for _, s := range v.Verify(t.Context(), lookup, noon) {
		got = append(got, s.Selector+"/"+s.Domain+" "+s.Result.String())
	}
	want := "other/example.net pass, other/example.net pass, other/example.net pass, other/example.net pass, up/org pass, down/sub.example.org pass, down/sub.example.org pass, own/example.org pass"
	if strings.Join(got, ", ") != want || v.Skipped() != 492 || len(asked) != 4 {
		t.Errorf("%v, %d passed over, asked %v", got, v.Skipped(), asked)
	}
	for key, n := range asked {
		if n != 1 {
			t.Errorf("%s was asked for %d times", key, n)
		}
	}
	if n := len(v.bodies[0].sums) + len(v.bodies[1].sums); n != 1 {
		t.Errorf("the body is hashed %d times", n)
	}
}

func TestUnsigned(t *testing.T) {
	for _, header := range []string{"", sampleHeader, "\r\n", "DKIM-Signature:\r\n" + sampleHeader, "DKIM-Signature: v=1; a=rsa-sha1\r\n"} {
		v := NewVerifier([]byte(header))
		if v.Signed() {
			t.Errorf("%q wants the body", header)
		}
		if _, err := v.Write([]byte(sampleBody)); err != nil {
			t.Error(err)
		}
		got := v.Verify(t.Context(), zone{}.lookup, noon)
		if len(got) != strings.Count(header, "DKIM-Signature") || len(got) == 1 && got[0].Result != evidence.PermError {
			t.Errorf("%q: %+v", header, got)
		}
	}
}
