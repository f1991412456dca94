package book

import (
	"fmt"
	"strings"
	"testing"

	"backstop/internal/mail"
)

// BenchmarkRead reads a million lines of each kind; a line of LDIF is one of six of an entry.
func BenchmarkRead(b *testing.B) {
	const lines = 1_000_000
	for _, c := range []struct {
		f    Format
		head string
		line func(i int) string
		per  int
	}{
		{List, "", func(i int) string { return fmt.Sprintf("user%07d@example.com\n", i) }, 1},
		{Access, "", func(i int) string { return fmt.Sprintf("To:user%07d@example.com\tRELAY\n", i) }, 1},
		{Postfix, "", func(i int) string { return fmt.Sprintf("user%07d@example.com OK\n", i) }, 1},
		{CSV, "Name,Mail\n", func(i int) string { return fmt.Sprintf("User %d,user%07d@example.com\n", i, i) }, 1},
		{LDIF, "", func(i int) string {
			return fmt.Sprintf("dn: cn=user%07d,dc=example,dc=com\nobjectClass: user\ncn: user\nmail: user%07d@example.com\nproxyAddresses: smtp:u%07d@example.com\n\n", i, i, i)
		}, 6},
	} {
		b.Run(c.f.String(), func(b *testing.B) {
			var text strings.Builder
			text.WriteString(c.head)
			for i := range lines / c.per {
				text.WriteString(c.line(i))
			}
			b.SetBytes(int64(text.Len()))
			b.ReportAllocs()
			for b.Loop() {
				n := 0
				if _, err := Read("f", strings.NewReader(text.String()), Options{Format: c.f}, func(mail.Address) error { n++; return nil }); err != nil || n < lines/c.per {
					b.Fatal(n, err)
				}
			}
			b.ReportMetric(float64(lines)*float64(b.N)/b.Elapsed().Seconds(), "lines/s")
		})
	}
}
