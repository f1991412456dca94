package dmarc_test

import (
	"strings"
	"testing"

	"backstop/internal/dmarc"
	"backstop/internal/evidence"
)

func BenchmarkFromDomain(b *testing.B) {
	header := []byte(strings.Repeat("Received: from a.example.org (a.example.org [192.0.2.1])\r\n\tby b.example.org with ESMTPS id 0123456789;\r\n\tSun, 22 Nov 2026 10:00:00 +0000\r\n", 20) +
		"From: \"Alice A. Doe\" <alice@example.org>\r\nTo: bob@example.net\r\nSubject: x\r\n")
	b.SetBytes(int64(len(header)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := dmarc.FromDomain(header); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEvaluate(b *testing.B) {
	in := dmarc.Input{From: "example.org", Record: dmarc.Record{Policy: reject, Subdomains: reject, Percent: 100},
		SPF: spf(evidence.Fail, "example.com"), DKIM: []evidence.Signature{signed(evidence.Pass, "list.test"), signed(evidence.Pass, "mail.example.org")}}
	b.ReportAllocs()
	for b.Loop() {
		if dmarc.Evaluate(in).Result != evidence.Pass {
			b.Fatal("no pass")
		}
	}
}
