package book

import (
	"strings"
	"testing"

	"backstop/internal/mail"
)

// FuzzRead reads anything as each format, and as what it is taken for. Whatever is handed over is an
// address that a list can hold and gives back.
func FuzzRead(f *testing.F) {
	for _, s := range []string{
		"ann\nbob@example.com # x\n", "To:a@example.com RELAY\n", "a@example.com  x\n y\n", "@x error:nouser no\n", ldifText,
		"Name,Mail\nAnn,\"ann@example.com\"\n", "sep=;\nmail;x\na@b;c\n", "#TYPE x\n\"mail\"\n\"SMTP:a@b.example X500:/o=a b\"\n", "\xff\xfea\x00",
	} {
		f.Add(uint8(0), s)
		f.Add(uint8(LDIF), s)
		f.Add(uint8(CSV), s)
	}
	f.Fuzz(func(t *testing.T, format uint8, text string) {
		b := New()
		rep, err := Read("f", strings.NewReader(text), Options{Format: Format(format % uint8(formats)), Locals: true}, func(a mail.Address) error {
			b.Add(a)
			return nil
		})
		if err == nil && rep.Format == Unknown {
			t.Fatal("read without a format")
		}
		var out strings.Builder
		if _, err := Write(&out, List, b, nil); err != nil {
			t.Fatal(err)
		}
		back := New()
		if _, err := Read("f", strings.NewReader(out.String()), Options{Format: List}, func(a mail.Address) error { back.Add(a); return nil }); err != nil {
			t.Fatalf("what was read cannot be read again: %v\n%q", err, out.String())
		}
		if back.Len() != b.Len() {
			t.Fatalf("%d came back of %d", back.Len(), b.Len())
		}
	})
}
