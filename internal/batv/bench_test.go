package batv

import "testing"

func BenchmarkSign(b *testing.B) {
	keys, a, now := ring(b, "secret"), addr(b, "ann.lee@mail.example.org"), onDay(20884)
	b.ReportAllocs()
	for b.Loop() {
		Sign(keys, a, now)
	}
}

func BenchmarkVerify(b *testing.B) {
	keys, now := ring(b, "secret"), onDay(20884)
	tagged, _ := Sign(keys, addr(b, "ann.lee@mail.example.org"), now)
	for name, a := range map[string]string{"valid": tagged.String(), "forged": "prvs=0891000000=ann.lee@mail.example.org", "untagged": "ann.lee@mail.example.org"} {
		to := addr(b, a)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Verify(keys, to, now)
			}
		})
	}
}
