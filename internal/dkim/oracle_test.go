package dkim_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"net"
	"strings"
	"testing"
	"time"

	"backstop/internal/dkim"
	"backstop/internal/evidence"
	"backstop/internal/mailtest/rig"

	msgauth "github.com/emersion/go-msgauth/dkim"
	"pgregory.net/rapid"
)

// party is a key in the forms in which others want it.
type party struct {
	dkim.Key
	algorithm, pem, own string // own: as dkimpy wants it
	records             map[string]string
}

func parties(t testing.TB) []party {
	t.Helper()
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	e := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
	all := []party{
		{Key: dkim.Key{Domain: "example.org", Selector: "r", Private: r}, algorithm: "rsa-sha256",
			own: string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(r)}))},
		{Key: dkim.Key{Domain: "example.org", Selector: "e", Private: e}, algorithm: "ed25519-sha256", own: base64.StdEncoding.EncodeToString(e.Seed())},
	}
	for i := range all {
		p := &all[i]
		der, err := x509.MarshalPKCS8PrivateKey(p.Private)
		if err != nil {
			t.Fatal(err)
		}
		p.pem = string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
		name, txt, err := p.Record()
		if err != nil {
			t.Fatal(err)
		}
		p.records = map[string]string{name: txt}
	}
	return all
}

func (p party) lookup(_ context.Context, domain, selector string) ([]string, error) {
	if txt, ok := p.records[selector+"._domainkey."+domain]; ok {
		return []string{txt}, nil
	}
	return nil, &net.DNSError{IsNotFound: true}
}

// sign makes our signature of a message.
func (p party) sign(header, body string) (string, error) {
	s := dkim.NewSigning([]byte(header), []dkim.Key{p.Key}, time.Now())
	s.Write([]byte(body))
	f, err := s.Fields()
	return string(f), err
}

// verify judges a message with one signature.
func (p party) verify(header, body string) evidence.Signature {
	v := dkim.NewVerifier([]byte(header))
	v.Write([]byte(body))
	return v.Verify(context.Background(), p.lookup, time.Now())[0]
}

// returned judges the same without its body.
func (p party) returned(header string) bool {
	_, ok := dkim.VerifyReturned([]byte(header), func(string, string) crypto.PublicKey { return p.Private.Public() }, 24*time.Hour, time.Now())
	return ok
}

// headers draws headers with what canonicalisation is about. blanks may stand behind a colon: milters
// know of one only, and opendkim is one.
func headers(blanks ...string) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		space := rapid.SampledFrom([]string{"", "", " ", "  ", "\t", " \t ", "\r\n ", "\r\n\t "})
		value := func() string {
			var b strings.Builder
			for range rapid.IntRange(0, 5).Draw(t, "words") {
				b.WriteString(space.Draw(t, "space") + rapid.StringMatching(`[!-~]{1,12}|é`).Draw(t, "word"))
			}
			b.WriteString(rapid.SampledFrom([]string{"", " ", "\t"}).Draw(t, "end"))
			return b.String()
		}
		all := []string{"From: <joe@example.org>" + value() + "\r\n", "Date: Sun, 22 Nov 2026 11:00:00 +0000\r\n"}
		for range rapid.IntRange(0, 8).Draw(t, "fields") {
			name := rapid.SampledFrom([]string{"To", "to", "CC", "Subject", "SUBJECT", "Message-Id", "X-Other", "Received", "List-Id", "Reply-To"}).Draw(t, "name")
			all = append(all, name+":"+rapid.SampledFrom(blanks).Draw(t, "blank")+"v"+value()+"\r\n")
		}
		return strings.Join(rapid.Permutation(all).Draw(t, "order"), "")
	})
}

// bodies draws bodies with what canonicalisation is about. They are empty or end in CRLF, as all do that
// come by SMTP: of an unfinished last line programs think differently.
func bodies() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		body := strings.Join(rapid.SliceOfN(rapid.OneOf(
			rapid.SampledFrom([]string{"\r\n", "\r\n", "\r\n\r\n", " ", "\t", "  ", "a", ".", "é", " \r\n", "\t \r\n"}),
			rapid.StringMatching(`[ -~]{0,80}`),
		), 0, 20).Draw(t, "body"), "")
		if body != "" && !strings.HasSuffix(body, "\r\n") {
			body += "\r\n"
		}
		return body
	})
}

// TestMsgauth: go-msgauth passes what we sign, we pass what it signs, and neither passes what was changed.
func TestMsgauth(t *testing.T) {
	all := parties(t)
	canon := []msgauth.Canonicalization{msgauth.CanonicalizationSimple, msgauth.CanonicalizationRelaxed}
	signed, changed := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		p := rapid.SampledFrom(all).Draw(t, "key")
		header, body := headers("", " ", "\t").Draw(t, "header"), bodies().Draw(t, "body")
		theirs := func(message string) bool {
			found, err := msgauth.VerifyWithOptions(strings.NewReader(message), &msgauth.VerifyOptions{LookupTXT: func(name string) ([]string, error) {
				return []string{p.records[name]}, nil
			}})
			return err == nil && len(found) == 1 && found[0].Err == nil
		}
		ours, err := p.sign(header, body)
		if err != nil || !theirs(ours+header+"\r\n"+body) || p.verify(ours+header, body).Result != evidence.Pass || !p.returned(ours+header) {
			t.Fatalf("our %q of %q is not taken: %v, %+v", ours, header+"\r\n"+body, err, p.verify(ours+header, body))
		}
		var out bytes.Buffer
		err = msgauth.Sign(&out, strings.NewReader(header+"\r\n"+body), &msgauth.SignOptions{Domain: p.Domain, Selector: p.Selector, Signer: p.Private, Hash: crypto.SHA256,
			HeaderCanonicalization: rapid.SampledFrom(canon).Draw(t, "of header"), BodyCanonicalization: rapid.SampledFrom(canon).Draw(t, "of body")})
		if err != nil {
			t.Fatal(err)
		}
		head, rest, _ := strings.Cut(out.String(), "\r\n\r\n")
		head += "\r\n"
		if got := p.verify(head, rest); got.Result != evidence.Pass || got.Domain != p.Domain || got.Selector != p.Selector || !p.returned(head) {
			t.Fatalf("their %q is not taken: %+v", out.String(), got)
		}
		signed += 2
		// One octet of the whole is another: whoever passes it, both do.
		message := bytes.Clone(out.Bytes())
		i := rapid.IntRange(0, len(message)-1).Draw(t, "place")
		if old := message[i]; old != '\r' && old != '\n' && !strings.ContainsRune(" \t=", rune(old)) { // white space may change, and padding go
			message[i] = rapid.SampledFrom([]byte("aZ9 \t.-_=")).Draw(t, "octet")
			head, rest, _ := strings.Cut(string(message), "\r\n\r\n")
			v := dkim.NewVerifier([]byte(head + "\r\n"))
			v.Write([]byte(rest))
			got := v.Verify(context.Background(), p.lookup, time.Now())
			if mine := len(got) == 1 && got[0].Result == evidence.Pass; mine != theirs(string(message)) {
				t.Fatalf("%q (octet %d was %q): %+v here", message, i, old, got)
			}
			changed++
		}
	})
	t.Logf("%d signatures taken by the other side, %d changed messages judged alike", signed, changed)
}

// TestDebian: opendkim and python3-dkim pass what we sign, and we pass what they sign, with both algorithms and all four
// canonicalisations; and none passes what was changed.
func TestDebian(t *testing.T) {
	const n = 20
	programs := map[string]struct {
		verify func(testing.TB, map[string]string, ...string) []string
		sign   func(testing.TB, rig.DKIMSigner, ...string) []string
	}{"opendkim": {rig.OpenDKIMVerify, rig.OpenDKIMSign}, "dkimpy": {rig.DkimpyVerify, rig.DkimpySign}}
	for name, program := range programs {
		t.Run(name, func(t *testing.T) {
			taken := 0
			for _, p := range parties(t) {
				var heads, texts, messages []string
				for i := range n {
					heads, texts = append(heads, headers(" ").Example(i)), append(texts, bodies().Example(i+100))
					f, err := p.sign(heads[i], texts[i])
					if err != nil {
						t.Fatal(err)
					}
					messages = append(messages, f+heads[i]+"\r\n"+texts[i], f+heads[i]+"\r\n"+texts[i]+"more\r\n")
				}
				for i, word := range program.verify(t, p.records, messages...) {
					if (word == "pass") != (i%2 == 0) {
						t.Errorf("%s of %q: %s", p.algorithm, messages[i], word)
					}
					taken++
				}
				for _, c := range []string{"simple/simple", "simple/relaxed", "relaxed/simple", "relaxed/relaxed"} {
					if name == "opendkim" && p.algorithm == "ed25519-sha256" && strings.HasPrefix(c, "simple/") {
						continue // it folds the field after it signed it, and verifies no such signature of its own
					}
					var plain []string
					for i := range n {
						plain = append(plain, heads[i]+"\r\n"+texts[i])
					}
					key := p.pem
					if name == "dkimpy" {
						key = p.own
					}
					for i, f := range program.sign(t, rig.DKIMSigner{Domain: p.Domain, Selector: p.Selector, Key: key, Algorithm: p.algorithm, Canonicalization: c}, plain...) {
						if got := p.verify(f+heads[i], texts[i]); got.Result != evidence.Pass {
							t.Errorf("%s %s: %+v\n%q", p.algorithm, c, got, f+plain[i])
						}
						if got := p.verify(f+heads[i], texts[i]+"more\r\n"); got.Result != evidence.Fail {
							t.Errorf("%s %s with more: %+v\n%q", p.algorithm, c, got, f+plain[i])
						}
						if !p.returned(f + heads[i]) {
							t.Errorf("%s %s: not taken when it comes back\n%q", p.algorithm, c, f+plain[i])
						}
						taken++
					}
				}
			}
			t.Logf("%d messages judged alike", taken)
		})
	}
}
