package dkim

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"strings"
	"testing"

	"backstop/internal/evidence"
)

// sane says what every result must be.
func sane(t *testing.T, all []evidence.Signature) {
	t.Helper()
	if len(all) > MaxSignatures {
		t.Fatalf("%d results", len(all))
	}
	for _, s := range all {
		switch s.Result {
		case evidence.Pass:
			if s.Domain == "" || s.Selector == "" {
				t.Fatalf("nobody passes: %+v", s)
			}
		case evidence.Fail, evidence.Neutral, evidence.PermError, evidence.TempError:
			if s.Detail == "" {
				t.Fatalf("no reason: %+v", s)
			}
		default:
			t.Fatalf("no result: %+v", s)
		}
		if len(s.Detail) > 500 || strings.ContainsAny(s.Detail+s.Domain+s.Selector, "\r\n\x00") {
			t.Fatalf("not for a log: %+v", s)
		}
		if _, err := foldName(s.Domain); s.Domain != "" && err != nil {
			t.Fatalf("no domain: %+v", s)
		}
	}
}

// FuzzVerify: header, body and key records of a stranger. However the body is cut, the results are the same.
func FuzzVerify(f *testing.F) {
	_, good, err := Key{"example.org", "s", edKey(1)}.Record()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(rfc8463Header, rfc8463Body, rfc8463Zone["test._domainkey.football.example.com"][0], 3)
	f.Add(rfc8463Header, rfc8463Body, rfc8463Zone["brisbane._domainkey.football.example.com"][0], 1)
	for _, tags := range []string{"", "; l=5", "; t=1; x=2", "; i=@a.example.org; q=dns/txt"} {
		f.Add(craft(f, edKey(1), usual+tags, sampleHeader, sampleBody)+sampleHeader, sampleBody, good, 2)
		f.Add(craft(f, edKey(1), strings.Replace(usual, "relaxed/relaxed", "simple", 1)+tags, sampleHeader, sampleBody)+sampleHeader, sampleBody, good+"; t=s:y", 7)
	}
	f.Add("DKIM-Signature: v=1\r\nDKIM-Signature:b=;;a=b=c\r\n :\r\n\r\n", " \r\n\r", "p=", 1)
	f.Fuzz(func(t *testing.T, header, body, record string, n int) {
		lookup := func(context.Context, string, string) ([]string, error) { return []string{record, record + ";x=y"}, nil }
		one := check(header, body, lookup, noon, len(body)+1)
		sane(t, one)
		cut := check(header, body, lookup, noon, max(1, n))
		for i := range one {
			if one[i] != cut[i] {
				t.Fatalf("%+v in one piece, %+v in pieces of %d", one[i], cut[i], n)
			}
		}
		s := NewSigning([]byte(header), []Key{{"example.org", "s", edKey(1)}}, noon)
		s.Write([]byte(body))
		fields, err := s.Fields()
		if err != nil {
			t.Fatal(err)
		}
		_, key, _ := Key{"example.org", "s", edKey(1)}.Record()
		if strings.HasPrefix(header, " ") || strings.HasPrefix(header, "\t") {
			return // would go on in our field
		}
		again := NewVerifier([]byte(string(fields) + header))
		again.Write([]byte(body))
		if all := again.Verify(t.Context(), zone{"s._domainkey.example.org": {key}}.lookup, noon); len(header) < 10000 && again.Skipped() == 0 && all[0].Result != evidence.Pass {
			t.Fatalf("what we sign does not pass: %+v\n%s", all, fields)
		}
	})
}

// FuzzRecord: what a stranger publishes.
func FuzzRecord(f *testing.F) {
	for _, k := range []Key{{"example.org", "s", edKey(1)}, {"example.org", "s", rsaKey(f, 2048)}} {
		_, txt, err := k.Record()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(txt)
		f.Add(strings.NewReplacer("; ", ";\t", "p=", "t=s:y;s=*:email;h=sha256;n=x;p=").Replace(txt))
	}
	f.Add(rfc8463Zone["test._domainkey.football.example.com"][0])
	f.Add("v=DKIM1; k=rsa; p=MAA=")
	f.Add("v=DKIM1; p=")
	f.Add("v=spf1 -all")
	var digest [32]byte
	f.Fuzz(func(t *testing.T, txt string) {
		for _, a := range []string{algRSA, algEd25519} {
			r, err := parseRecord(txt, a)
			if (err == nil) != (r.public != nil) {
				t.Fatalf("%q: %v and %v", txt, r, err)
			}
			if err != nil {
				if strings.ContainsAny(err.Error(), "\r\n") || len(err.Error()) > 300 {
					t.Fatalf("%q: %v", txt, err)
				}
				continue
			}
			if err := usable(r.public); err != nil {
				t.Fatalf("%q: a key that is not to be used: %v", txt, err)
			}
			if signed(r.public, a, &digest, make([]byte, 256)) && a == algRSA {
				t.Fatalf("%q: nothing is a signature", txt)
			}
		}
	})
}

// FuzzReturned: what a stranger returns as our header. Nothing but what our key signed passes.
func FuzzReturned(f *testing.F) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	key := Key{"example.org", "s", private}
	f.Add(craft(f, edKey(1), usual, sampleHeader, sampleBody) + sampleHeader)
	f.Add(strings.ReplaceAll(craft(f, edKey(1), usual, sampleHeader, sampleBody)+sampleHeader, "\r\n", "\n"))
	f.Add(rfc8463Header)
	f.Add("DKIM-Signature : d=example.org;s=s\n\tb\n\nx")
	f.Fuzz(func(t *testing.T, header string) {
		got, ok := VerifyReturned([]byte(header), own(key), tenDays, noon)
		if ok || got.Result == evidence.Pass {
			t.Fatalf("forged: %+v", got)
		}
		if got.Result != evidence.None {
			sane(t, []evidence.Signature{got})
		}
		VerifyReturned([]byte(header), func(string, string) crypto.PublicKey { return private.Public() }, tenDays, noon)
	})
}
