package dmarc_test

import (
	"bytes"
	"errors"
	netmail "net/mail"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"backstop/internal/dmarc"
	"backstop/internal/mail"
	"backstop/internal/mailtest"

	"pgregory.net/rapid"
)

// ambiguous and nobody stand for the two errors in tables.
const (
	ambiguous = "AMBIGUOUS"
	nobody    = "NOBODY"
)

// ask gives the domain, or which error.
func ask(t testing.TB, header string) string {
	t.Helper()
	domain, err := dmarc.FromDomain([]byte(header))
	switch {
	case err == nil:
		return domain
	case domain != "" || strings.ContainsAny(err.Error(), "\r\n"):
		t.Errorf("%q: domain %q beside the error %q", header, domain, err)
	}
	if errors.Is(err, dmarc.ErrNone) {
		return nobody
	}
	if !errors.Is(err, dmarc.ErrAmbiguous) {
		t.Errorf("%q: an error of neither kind: %v", header, err)
	}
	return ambiguous
}

func TestFromDomain(t *testing.T) {
	for _, tc := range []struct{ from, want string }{
		// As it should be.
		{"alice@example.org", "example.org"},
		{"<alice@example.org>", "example.org"},
		{"Alice <alice@Example.ORG>", "example.org"},
		{`"Alice A. Doe" <alice@example.org>`, "example.org"},
		{"Alice\r\n <alice@example.org>", "example.org"},
		{"\r\n\tAlice\r\n\t<alice@\r\n example.org>", "example.org"},
		{"alice@example.org (Alice (of Accounts) Doe)", "example.org"},
		{"=?utf-8?Q?J=C3=BCrgen?= <juergen@example.org>", "example.org"},
		{"Jürgen <jürgen@bücher.example>", "xn--bcher-kva.example"},
		{"a@xn--bcher-kva.example", "xn--bcher-kva.example"},
		{"a@example.org.", "example.org"},
		{"alice@localhost", "localhost"},
		{`"odd local"@example.org`, "example.org"},
		// Lists and groups of one domain, and of several.
		{"Alice <alice@example.org>, bob@example.org", "example.org"},
		{"Authors: alice@example.org, Bob <bob@example.org>;", "example.org"},
		{"alice@example.org, bob@example.com", ambiguous},
		{"Authors: alice@example.org, bob@example.com;", ambiguous},
		{"Nobody:;", nobody},
		{"", nobody},
		{"root", nobody},
		{"Mail Delivery System <>", nobody},
		{"a@[192.0.2.1]", nobody},
		{"a@[not an address]", ambiguous},
		// The old ways.
		{"alice @ example . org", "example.org"},
		{"alice(a)@(b)example(c).(d)org(e)", "example.org"},
		{"alice . doe @ example.org", "example.org"},
		{"Alice <@example.org:alice@example.org>", "example.org"},
		{"John Q. Public <jqp@example.org>", "example.org"},
		{"Jürgen \xfcber <a@example.org>", "example.org"}, // Latin-1 as it is
		{`CORP\alice <alice@example.org>`, "example.org"},
		// What names may say.
		{`"alice@bank.example" <x@example.org>`, "example.org"},
		{`"<alice@bank.example>" <x@example.org>`, "example.org"},
		{`"a \" <alice@bank.example>" <x@example.org>`, "example.org"},
		{`x@example.org (alice@bank.example)`, "example.org"},
		{`x@example.org (\) <alice@bank.example>)`, "example.org"},
		{"=?utf-8?Q?alice=40bank.example?= <x@example.org>", "example.org"},
		{"=?utf-8?Q?Doe=2C_Alice?= <x@example.org>", "example.org"},
		{"Sales @ Example <x@example.org>", "example.org"},
		{"Sales @Example <x@example.org>", "example.org"},
		{"alice@localhost, bob@localhost", "localhost"},
		{`"alice@bank.example", Inc. <x@example.org>`, ambiguous},
		{`"alice@bank.example" Inc. <x@example.org>`, "example.org"},
		{"alice@example.org <alice@example.org>", "example.org"},
		{"'alice@example.org' <alice@example.org>", "example.org"},
		{"[mailto:alice@example.org] <alice@example.org>", "example.org"},
		{"Alice <alice@example.org> (at home)", "example.org"},
		{"Alice <alice@example.org", "example.org"},
	} {
		if got := ask(t, "Subject: x\r\nFrom: "+tc.from+"\r\nTo: bob@example.net\r\n"); got != tc.want {
			t.Errorf("From: %q is of %q, want %q", tc.from, got, tc.want)
		}
	}
}

// What is written so that the domain judged is another than the one that people see: the attacker's is evil.example.
func TestFromDomainAttacks(t *testing.T) {
	for _, from := range []string{
		"alice@bank.example <x@evil.example>",
		"alice@bank.example, <x@evil.example>",
		"<x@evil.example>, alice@bank.example",
		"<alice@bank.example> <x@evil.example>",
		"<alice@bank.example>x@evil.example",
		"x@evil.example<alice@bank.example>",
		"<@bank.example:x@evil.example>",
		"<@bank.example,@evil.example:x@evil.example>",
		"alice@bank.example@evil.example",
		"<alice@bank.example@evil.example>",
		"<x@evil.example@bank.example>",
		`"alice@bank.example"@evil.example`,
		`"alice@bank.example" (c) @ evil.example`,
		`"alice@bank.example <x@evil.example>`,
		`\"alice@bank.example\" <x@evil.example>`,
		"(alice@bank.example <x@evil.example>",
		"alice@bank.example\x00 <x@evil.example>",
		"x@evil.example\x00@bank.example",
		"\"alice@bank.example\x00\" <x@evil.example>",
		"x@evil.example (\x01alice@bank.example)",
		"alice@bank.example\x0b<x@evil.example>",
		"=?utf-8?Q?=3Calice=40bank.example=3E?= <x@evil.example>",
		"\"=?utf-8?Q?=3Calice=40bank.example=3E?=\" <x@evil.example>",
		"=?utf-8?B?PGFsaWNlQGJhbmsuZXhhbXBsZT4=?= <x@evil.example>",
		"=?utf-8?B?PGFsaWNlQGJhbmsuZXhhbXBsZT4?= <x@evil.example>",
		"=?utf-8*en?q?=3Calice=40ba?= =?utf-8?q?nk.example=3E?= <x@evil.example>",
		"=?utf-8?Q?alice=40bank.example=2C?= <x@evil.example>",
		"=?UTF-16BE?B?ADwAYQBAAGIALgB0AGUAcwB0AD4=?= <x@evil.example>",
		"=?x?x?y =?utf-8?Q?=3Calice=40bank.example=3E?= <x@evil.example>",
		"=?utf-8?Q?alice=40bank.example?=@evil.example",
		"alice@bank.example. <x@evil.example>",
		"alice@bank . example <x@evil.example>",
		"alice(c)@(c)bank.example <x@evil.example>",
		"alice@bank.example!<x@evil.example>",
		"alice@[192.0.2.1] <x@evil.example>",
		"x@evil.example; alice@bank.example",
		"alice@bank.example:<x@evil.example>;",
		"x@evil.example\uff20bank.example",
		"x@evil_example/bank.example",
		"x@evil.example..",
		"x@" + strings.Repeat("é", 2000) + ".example",
		"<@>", "@", "a@", "@@", "<a@@evil.example>",
		// Found by holding what we read against Python's readers.
		`<x@evil.example"<alice@bank.example>">`,
		`<x@evil.example alice"<alice@bank.example>">`,
		`x@evil.example "alice@bank.example"`,
		`"alice@bank.example" x@evil.example`,
		`>"alice@bank.example")<x@evil.example>`,
		`x@evil "alice@bank.example",`,
		`x@evil.example\.`,
		`x@evil.example[192.0.2.1]`,
		`alice@intranet<x@evil.example>`,
	} {
		if got := ask(t, "From: "+from+"\r\n"); got != ambiguous {
			t.Errorf("From: %q is of %q", from, got)
		}
	}
	for _, header := range []string{
		"From: alice@bank.example\r\nFrom: x@evil.example\r\n",
		"From: x@evil.example\r\nSubject: x\r\nFROM: x@evil.example\r\n",
		"From : alice@bank.example\r\nFrom: x@evil.example\r\n",
		"From\t: alice@bank.example\r\nFrom: x@evil.example\r\n",
		"From\x00: alice@bank.example\r\nFrom: x@evil.example\r\n",
		"\xa0From: alice@bank.example\r\nFrom: x@evil.example\r\n",
		" From: alice@bank.example\r\nFrom: x@evil.example\r\n",
		"\tX: y\r\nFrom: x@evil.example\r\nF rom: alice@bank.example\r\n",
		"X: y\rFrom: alice@bank.example\r\nFrom: x@evil.example\r\n",
		"X: y\nFrom: alice@bank.example\nFrom: x@evil.example\n",
		"X: y\r\n\r\nFrom: alice@bank.example\r\nFrom: x@evil.example\r\n",
		"From: x@evil.example\r\n , alice@bank.example\r\n",
		"From: x@evil.example\r\n \r\n , alice@bank.example\r\n",
	} {
		if got := ask(t, header); got != ambiguous {
			t.Errorf("%q is of %q", header, got)
		}
	}
}

// Whatever is put together of what From fields are made of, nobody finds an author of another domain in it.
func TestFromDomainPeer(t *testing.T) {
	parts := rapid.SliceOfN(rapid.SampledFrom([]string{
		"alice", "@", "example.org", "evil.example", "<", ">", "alice@example.org", "<alice@example.org>", "x@evil.example", "<x@evil.example>", ",", ";", ":",
		"\"", "(", ")", "\\", ".", " ", "=?utf-8?q?=3Cx=40evil.example=3E?=", "[192.0.2.1]", "é", "Group:", "\t", "bücher.example",
	}), 1, 12)
	seen := 0
	rapid.Check(t, func(rt *rapid.T) {
		value := strings.Join(parts.Draw(rt, "parts"), "")
		domain, err := dmarc.FromDomain([]byte("From:" + value + "\r\n"))
		sameAsPeer(t, value, domain, err)
		if err == nil {
			seen++
		}
	})
	t.Logf("%d had a domain", seen)
}

func TestFromDomainFields(t *testing.T) {
	for header, want := range map[string]string{
		"":                                  nobody,
		"Subject: x\r\n":                    nobody,
		"X-From: a@example.org\r\n":         nobody,
		"Fromm: a@example.org\r\n":          nobody,
		"Subject: x\r\n From: a@b.test\r\n": nobody,
		"from : a@example.org\r\n":          "example.org",
		"FROM:a@example.org":                "example.org",
		"From a@b.test Thu\r\nFrom: a@example.org\r\nReply-To: c@d.test\r\n": "example.org",
	} {
		if got := ask(t, header); got != want {
			t.Errorf("%q is of %q, want %q", header, got, want)
		}
	}
}

// The names and comments of a well-formed field never choose the domain, whatever is in them.
func TestFromDomainNames(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringOfN(rapid.RuneFrom([]rune(`ab @<>,;:.()"\é`)), 0, 20, -1)
		quoted := strings.NewReplacer(`"`, `\"`, `\`, `\\`).Replace(text.Draw(t, "name"))
		comment := strings.NewReplacer(`(`, `\(`, `)`, `\)`, `\`, `\\`).Replace(text.Draw(t, "comment"))
		space := rapid.SampledFrom([]string{"", " ", "\r\n ", "\r\n\t"})
		field := "From:" + space.Draw(t, "s1") + `"` + quoted + `"` + space.Draw(t, "s2") + "<alice@example.org>" + space.Draw(t, "s3") + "(" + comment + ")\r\n"
		got, err := dmarc.FromDomain([]byte(field))
		if err != nil || got != "example.org" {
			t.Fatalf("%q is of %q (%v)", field, got, err)
		}
	})
}

// TestFromDomainCorpus reads every message at hand. Each has its domain, but those whose From field has no "@".
func TestFromDomainCorpus(t *testing.T) {
	seen, failed := 0, map[string][]string{}
	for _, folder := range []string{"ordinary", "bounces", "autoreplies", "feedback-reports"} {
		dir := mailtest.Corpus(t, folder)
		files, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			raw, err := os.ReadFile(filepath.Join(dir, f.Name()))
			if err != nil {
				t.Fatal(err)
			}
			raw = bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n"))
			head, _, _ := bytes.Cut(raw, []byte("\n\n"))
			domain, err := dmarc.FromDomain(head)
			seen++
			sameAsPeer(t, fromLine(head), domain, err)
			if err != nil {
				failed[err.Error()] = append(failed[err.Error()], folder+"/"+f.Name())
				if from := fromLine(head); !errors.Is(err, dmarc.ErrNone) || strings.Contains(from, "@") {
					t.Errorf("%s: %q: %v", f.Name(), from, err)
				}
			} else if folded, err := mail.FoldDomain(domain); err != nil || folded != domain {
				t.Errorf("%s: %q is not folded", f.Name(), domain)
			}
		}
	}
	n := 0
	for why, files := range failed {
		n += len(files)
		t.Logf("%s: %d: %s", why, len(files), strings.Join(files, " "))
	}
	t.Logf("%d messages, %d without a domain", seen, n)
}

// sameAsPeer holds what was found against another reader, Go's own: where that one finds authors, each is of the
// domain that we found, or we found the field ambiguous.
func sameAsPeer(t *testing.T, value, domain string, err error) {
	t.Helper()
	if strings.ContainsAny(value, "\r\n") {
		value = strings.Join(strings.FieldsFunc(value, func(r rune) bool { return r == '\r' || r == '\n' }), "")
	}
	all, peerErr := netmail.ParseAddressList(value)
	if peerErr != nil {
		return
	}
	for _, a := range all {
		theirs, foldErr := mail.FoldDomain(a.Address[strings.LastIndexByte(a.Address, '@')+1:])
		switch {
		case err == nil && (foldErr != nil || theirs != domain):
			t.Errorf("From:%q is of %q here and %q there", value, domain, a.Address)
		case errors.Is(err, dmarc.ErrNone) && foldErr == nil && theirs[0] != '[':
			t.Errorf("From:%q is of nobody here and %q there", value, a.Address)
		}
	}
}

// fromLine is the first From field with its folded lines, found without code of the package.
func fromLine(head []byte) string {
	_, rest, _ := strings.Cut("\n"+string(head), "\nFrom:")
	end := strings.IndexByte(rest, '\n')
	for end >= 0 && end+1 < len(rest) && (rest[end+1] == ' ' || rest[end+1] == '\t') {
		next := strings.IndexByte(rest[end+1:], '\n')
		if next < 0 {
			return rest
		}
		end += 1 + next
	}
	return rest[:max(end, 0)]
}

func FuzzFromDomain(f *testing.F) {
	for _, s := range []string{
		"From: a@b.test\r\n", "From: \"a@b\" <c@d.test>\r\n\tx\r\n", "from : (a(b\\)c)) x@y.test, g: <@r.test:z@y.test>;\n",
		"From: =?utf-8?q?=3Ca=40b.test=3E?= =?x?B?PGE=?= <c@d.test>", "From: a@[192.0.2.1]", "From: a @ b . (c) d <@>,;:\\\"",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, header []byte) {
		domain, err := dmarc.FromDomain(header)
		if value, ok := bytes.CutPrefix(header, []byte("From:")); ok && !bytes.ContainsAny(value, "\r\n") {
			sameAsPeer(t, string(value), domain, err)
		}
		if err != nil {
			if domain != "" {
				t.Fatalf("%q beside %v", domain, err)
			}
			return
		}
		if folded, err := mail.FoldDomain(domain); err != nil || folded != domain || domain[0] == '[' {
			t.Fatalf("%q is not folded", domain)
		}
		// One more author of another domain, in any form, and it is not that domain any more.
		for _, more := range []string{"\nFrom: x@other.invalid\n", "\n From: x@other.invalid\nFrom: x@other.invalid\n"} {
			if got, err := dmarc.FromDomain(append(bytes.Clone(header), more...)); err == nil {
				t.Fatalf("with another From it is of %q", got)
			}
		}
	})
}
