package seal

import "testing"

func BenchmarkSeal(b *testing.B) {
	keys, a := ring(b, "secret"), addr(b, "ann.lee@mail.example.org")
	b.ReportAllocs()
	for b.Loop() {
		Seal(keys, a, now)
	}
}

func BenchmarkVerify(b *testing.B) {
	keys, a := ring(b, "secret"), addr(b, "ann.lee@mail.example.org")
	field, _ := Seal(keys, a, now)
	header := []byte("Received: from a.example\r\n\tby b.example; Sun, 22 Nov 2026 12:00:00 +0000\r\nSubject: something\r\n" + field + "Message-ID: <1@a.example>\r\n\r\n")
	b.ReportAllocs()
	for b.Loop() {
		VerifySeal(keys, Values(header, SealName), a, now)
	}
}
