package bounce

import (
	"strings"
	"testing"
)

// BenchmarkRecognise shows what a message costs. Ordinary mail is the case that counts.
func BenchmarkRecognise(b *testing.B) {
	for name, raw := range map[string]string{
		"ordinary-4KB": ordinary4K(),
		"postfix":      postfixFailed,
		"qmail":        qmailFailed,
		"empty-1MB":    "From: MAILER-DAEMON@example.org\r\nSubject: failure notice\r\n\r\n" + strings.Repeat("\r\n", MaxBytes/2),
		"base64-1MB":   "From: MAILER-DAEMON@example.org\r\nSubject: failure notice\r\nContent-Transfer-Encoding: base64\r\n\r\n" + strings.Repeat(strings.Repeat("QUJDRAo=QUJDRAoKQUJDR", 3)+"AAA\r\n", 16000),
	} {
		b.Run(name, func(b *testing.B) {
			message := []byte(raw)
			b.SetBytes(int64(len(message)))
			b.ReportAllocs()
			for b.Loop() {
				Recognise(message, name != "ordinary-4KB")
			}
		})
	}
}

// ordinary4K is a letter as most letters are: four hops, a signature, two forms of the text.
func ordinary4K() string {
	var s strings.Builder
	for range 4 {
		s.WriteString("Received: from mail.example.org (mail.example.org [192.0.2.25])\r\n\tby mx.example.com (Postfix) with ESMTPS id 4XyZ12abcd\r\n\tfor <alice@example.com>; Sun, 22 Nov 2026 09:12:05 +0000 (UTC)\r\n")
	}
	s.WriteString("DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.org; s=s1;\r\n\th=from:to:subject:date:message-id; bh=" + strings.Repeat("x", 43) + "=;\r\n\tb=" + strings.Repeat("AbCdEf12", 42) + "==\r\n")
	s.WriteString("From: Bob Example <bob@example.org>\r\nTo: Alice <alice@example.com>\r\nSubject: The figures for the third quarter\r\nDate: Sun, 22 Nov 2026 09:12:04 +0000\r\nMessage-ID: <1234@example.org>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary=\"b1\"\r\n\r\n")
	for _, sub := range []string{"plain", "html"} {
		s.WriteString("--b1\r\nContent-Type: text/" + sub + "; charset=utf-8\r\n\r\n" + strings.Repeat("Here are the figures that we spoke of. ", 24) + "\r\n")
	}
	s.WriteString("--b1--\r\n")
	return s.String()
}
