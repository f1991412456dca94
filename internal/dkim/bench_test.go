package dkim

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	msgauth "github.com/emersion/go-msgauth/dkim"
)

// letter is a message of about 4 KB with a signature by each key.
func letter(b testing.TB, keys ...Key) (header, body []byte) {
	b.Helper()
	var h strings.Builder
	for range 4 {
		h.WriteString("Received: from mail.example.org (mail.example.org [192.0.2.25])\r\n\tby mx.example.com (Postfix) with ESMTPS id 4XyZ12abcd\r\n\tfor <alice@example.com>; Sun, 22 Nov 2026 09:12:05 +0000 (UTC)\r\n")
	}
	h.WriteString(sampleHeader + "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n")
	body = []byte(strings.Repeat(strings.Repeat("Here are the figures. ", 3)+"\r\n", 38))
	s := NewSigning([]byte(h.String()), keys, noon)
	s.Write(body)
	fields, err := s.Fields()
	if err != nil {
		b.Fatal(err)
	}
	return append(fields, h.String()...), body
}

// BenchmarkLetter shows what a message costs that has two signatures, RSA of 2048 bits and Ed25519; keys are at hand.
func BenchmarkLetter(b *testing.B) {
	keys := []Key{{"example.org", "r", rsaKey(b, 2048)}, {"example.org", "e", edKey(1)}}
	header, body := letter(b, keys...)
	z := zoneOf(b, keys...)
	b.Run("verify", func(b *testing.B) {
		b.SetBytes(int64(len(header) + len(body)))
		b.ReportAllocs()
		for b.Loop() {
			v := NewVerifier(header)
			v.Write(body)
			if got := v.Verify(context.Background(), z.lookup, noon); got[0].Detail+got[1].Detail != "" {
				b.Fatal(got)
			}
		}
	})
	b.Run("verify-nothing", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			v := NewVerifier([]byte(sampleHeader))
			v.Write(body)
			v.Verify(context.Background(), z.lookup, noon)
		}
	})
	b.Run("returned", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if got, ok := VerifyReturned(header, own(keys...), tenDays, noon); !ok {
				b.Fatal(got)
			}
		}
	})
	for i, name := range []string{"rsa", "ed25519"} {
		b.Run("sign-"+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s := NewSigning(header, keys[i:i+1], noon)
				s.Write(body)
				if _, err := s.Fields(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("go-msgauth", func(b *testing.B) {
		message := bytes.Join([][]byte{header, body}, []byte("\r\n"))
		b.SetBytes(int64(len(message)))
		b.ReportAllocs()
		for b.Loop() {
			got, err := msgauth.VerifyWithOptions(bytes.NewReader(message), &msgauth.VerifyOptions{LookupTXT: func(name string) ([]string, error) { return z[name], nil }})
			if err != nil || got[0].Err != nil || got[1].Err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkBody shows what the length of a body costs, whatever it holds.
func BenchmarkBody(b *testing.B) {
	for name, unit := range map[string]string{"text": strings.Repeat("Here are the figures. ", 3) + "\r\n", "line-ends": "\r\n", "blanks": " ", "carriage-returns": "\r"} {
		for _, relaxed := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/relaxed=%v", name, relaxed), func(b *testing.B) {
				piece := bytes.Repeat([]byte(unit), 32768/len(unit))
				b.SetBytes(int64(len(piece)))
				b.ReportAllocs()
				c := canonicaliser{relaxed: relaxed}
				c.sum(whole)
				for b.Loop() {
					c.write(piece)
				}
			})
		}
	}
}

// TestCRLFs measures what docs/design/dkim.md says of bodies that hold nothing but line ends: `BACKSTOP_MEASURE=yes
// go test -v -run CRLFs`. Else it does a small one, and does not ask go-msgauth.
func TestCRLFs(t *testing.T) {
	sizes, most := []int{1 << 20}, 0
	if os.Getenv("BACKSTOP_MEASURE") == "yes" {
		sizes, most = []int{1 << 20, 2 << 20, 4 << 20, 8 << 20, 50 << 20}, 8<<20
	}
	keys := []Key{{"example.org", "e", edKey(1)}}
	z := zoneOf(t, keys...)
	for _, list := range []string{usual, strings.Replace(usual, "relaxed/relaxed", "simple/simple", 1)} {
		list = strings.Replace(list, "s=s", "s=e", 1)
		for _, n := range sizes {
			body := strings.Repeat("\r\n", n/2)
			field := craft(t, edKey(1), list, sampleHeader, "\r\n")
			start := time.Now()
			got := check(field+sampleHeader, body, z.lookup, noon, 32768)
			ours := time.Since(start)
			if got[0].Detail != "" {
				t.Errorf("%d octets: %+v", n, got)
			}
			theirs := "not tried"
			if n <= most {
				start = time.Now()
				stream := struct{ io.Reader }{strings.NewReader(field + sampleHeader + "\r\n" + body)} // as a connection is, not a text at hand
				_, err := msgauth.VerifyWithOptions(stream, &msgauth.VerifyOptions{LookupTXT: func(name string) ([]string, error) { return z[name], nil }})
				theirs = fmt.Sprint(time.Since(start), " ", err)
			}
			t.Logf("%2d MiB, relaxed %v: %v here, go-msgauth %s", n>>20, strings.Contains(list, "relaxed"), ours, theirs)
		}
	}
}
