package policyd

import (
	"testing"

	"backstop/internal/mail"
)

func TestQuoted(t *testing.T) {
	for in, want := range map[string]string{
		"bob@example.org": "bob@example.org", "b.o-b+x@e": "b.o-b+x@e", "jürgen@example.org": "jürgen@example.org", "bob": "bob", "": "", "@example.org": "@example.org",
		"b b@e": `"b b"@e`, "b b": `"b b"`, `a"b\c@e`: `"a\"b\\c"@e`, `"x"@e`: `"\"x\""@e`, "a@b@e": `"a@b"@e`,
		"a..b@e": `"a..b"@e`, ".a@e": `".a"@e`, "a.@e": `"a."@e`, "a,b@e": `"a,b"@e`, "a:b@e": `"a:b"@e`,
	} {
		if got := quoted(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

// FuzzQuoted: what is quoted is an address with the very local part that was given, or none.
func FuzzQuoted(f *testing.F) {
	for _, s := range []string{"bob@example.org", "b b@example.org", `a"b\c@example.org`, "a@b@example.org", "@", "a..b@e", "\x00@e", "\xff@e"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		a, err := mail.ParseAddress(quoted(text))
		if err != nil {
			return
		}
		local := a.Local()
		if local[0] == '"' {
			b := []byte{}
			for i := 1; i < len(local)-1; i++ {
				if local[i] == '\\' {
					i++
				}
				b = append(b, local[i])
			}
			local = string(b)
		}
		if want := local + a.String()[len(a.Local()):]; want != text {
			t.Errorf("%q is %q, which is %q", text, a.String(), want)
		}
	})
}
