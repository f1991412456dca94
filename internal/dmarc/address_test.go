package dmarc_test

import (
	"errors"
	netmail "net/mail"
	"strings"
	"testing"

	"backstop/internal/dmarc"
	"backstop/internal/mail"

	"pgregory.net/rapid"
)

func TestFromAddress(t *testing.T) {
	for _, tc := range []struct{ from, want string }{
		{"alice@example.org", "alice@example.org"},
		{" \t alice@example.org \t", "alice@example.org"},
		{"<alice@example.org>", "alice@example.org"},
		{"< alice@example.org >", "alice@example.org"},
		{"Alice Doe <Alice@Example.ORG>", "alice@example.org"},
		{"Alice\r\n\t<alice@example.org>", "alice@example.org"},
		{"[List] John Q. Public <jqp@example.org> (at home)", "jqp@example.org"},
		{"(a) alice@example.org (b (c))", "alice@example.org"},
		{"\"bob@example.org\" <alice@example.org>", "alice@example.org"},
		{"\"Doe, Alice <x>; (\" <alice@example.org>", "alice@example.org"},
		{"\"odd > local\"@example.org", "\"odd > local\"@example.org"},
		{"<\"odd > local\"@example.org>", "\"odd > local\"@example.org"},
		{"\"alice\"@example.org", "alice@example.org"},
		{"=?utf-8?Q?J=C3=BCrgen?= <juergen@example.org>", "juergen@example.org"},
		{"J\u00fcrgen <j\u00fcrgen@b\u00fccher.example>", "j\u00fcrgen@xn--bcher-kva.example"},
		{"J\xfcrgen <juergen@example.org>", "juergen@example.org"},

		{"", nobody},
		{"Nobody:;", nobody},
		{"a@[192.0.2.1]", nobody},
		// All of one domain, and nobody knows who of it.
		{"alice@example.org, bob@example.org", ambiguous},
		{"Alice <alice@example.org>, bob@example.org", ambiguous},
		{"Alice <alice@example.org>,", ambiguous},
		{"Authors: alice@example.org;", ambiguous},
		{"alice@example.org;", ambiguous},
		{"bob@example.org <alice@example.org>", ambiguous},
		{"alice@example.org <alice@example.org>", ambiguous},
		{"<alice@example.org> bob@example.org", ambiguous},
		{"<alice@example.org> <bob@example.org>", ambiguous},
		{"<alice@example.org> Bob", ambiguous},
		{"<@example.org:alice@example.org>", ambiguous},
		{"alice @ example.org", ambiguous},
		{"alice(c)@example.org", ambiguous},
		{"alice@example . org", ambiguous},
		{"alice . doe@example.org", ambiguous},
		{"bob alice@example.org", ambiguous},
		{"<bob alice@example.org>", ambiguous},
		{"<alice@example.org (c)>", ambiguous},
		{"\"bob\" alice@example.org", ambiguous},
		{"\"bob\"alice@example.org", ambiguous},
		{"alice..doe@example.org", ambiguous},
		{"Alice <alice@example.org", ambiguous},
		{"Alice <alice@example.org> (", ambiguous},
		{"Alice) <alice@example.org>", ambiguous},
		{"Sales @ Example <alice@example.org>", ambiguous},
		{"=?utf-8?Q?bob=40example.org?= <alice@example.org>", ambiguous},
		{"=?utf-8?Q?=3Cbob=40example.org=3E?= <alice@example.org>", ambiguous},
		{"\"=?utf-8?B?PGJvYkBleGFtcGxlLm9yZz4=?=\" <alice@example.org>", ambiguous},
		{"alice\x00@example.org", ambiguous},
		{"CORP\\alice <alice@example.org>", ambiguous},
		{"j\xfcrgen@example.org", ambiguous},
		{"alice@example.org, bob@example.com", ambiguous},
	} {
		if got := askAddress(t, "Subject: x\r\nFrom: "+tc.from+"\r\nTo: bob@example.net\r\n"); got != tc.want {
			t.Errorf("From: %q is %q, want %q", tc.from, got, tc.want)
		}
	}
	for _, header := range []string{"From: alice@example.org\r\nFrom: alice@example.org\r\n", " From: alice@example.org\r\nFrom: bob@example.org\r\n"} {
		if got := askAddress(t, header); got != ambiguous {
			t.Errorf("%q is %q", header, got)
		}
	}
}

// askAddress gives the address as it is compared, or which error.
func askAddress(t testing.TB, header string) string {
	t.Helper()
	a, err := dmarc.FromAddress([]byte(header))
	switch {
	case err == nil:
		return a.Key()
	case !a.IsZero() || strings.ContainsAny(err.Error(), "\r\n"):
		t.Errorf("%q: address %q beside the error %q", header, a, err)
	}
	if errors.Is(err, dmarc.ErrNone) {
		return nobody
	}
	if !errors.Is(err, dmarc.ErrAmbiguous) {
		t.Errorf("%q: an error of neither kind: %v", header, err)
	}
	return ambiguous
}

// sameMailbox holds an address against Go's own reader: where that one reads the field, it has this author and no other.
func sameMailbox(t testing.TB, value string, a mail.Address) {
	t.Helper()
	all, err := netmail.ParseAddressList(value)
	if err != nil {
		return
	}
	text := all[0].Address
	local, domain := text[:strings.LastIndexByte(text, '@')], text[strings.LastIndexByte(text, '@')+1:]
	theirs, err := mail.ParseAddress("\"" + strings.NewReplacer("\\", "\\\\", "\"", "\\\"").Replace(local) + "\"@" + domain)
	if len(all) != 1 || err != nil || theirs.Key() != a.Key() {
		t.Errorf("From:%q is %q here and %q there", value, a, all)
	}
}

// Whatever is put together of what From fields are made of, no other author is found in it, and the domain is
// that of FromDomain.
func TestFromAddressPeer(t *testing.T) {
	parts := rapid.SliceOfN(rapid.SampledFrom([]string{
		"alice", "@", "example.org", "<", ">", "alice@example.org", "<alice@example.org>", "bob@example.org", "<bob@example.org>", ",", ";", ":",
		"\"", "(", ")", "\\", ".", " ", "=?utf-8?q?=3Cbob=40example.org=3E?=", "\u00e9", "Group:", "\t", "\"bob@example.org\"", "(bob@example.org)",
	}), 1, 12)
	rapid.Check(t, func(rt *rapid.T) {
		value := strings.Join(parts.Draw(rt, "parts"), "")
		checkAddress(t, []byte("From:"+value+"\r\n"))
	})
}

func checkAddress(t testing.TB, header []byte) {
	t.Helper()
	a, err := dmarc.FromAddress(header)
	domain, domainErr := dmarc.FromDomain(header)
	switch {
	case err != nil && !a.IsZero():
		t.Errorf("%q: %q beside %v", header, a, err)
	case err == nil && (domainErr != nil || a.Domain() != domain || a.LocalKey() == ""):
		t.Errorf("%q: %q, and the domain is %q, %v", header, a, domain, domainErr)
	case err == nil:
		if value, ok := strings.CutPrefix(strings.TrimSuffix(string(header), "\r\n"), "From:"); ok && !strings.ContainsAny(value, "\r\n") {
			sameMailbox(t, value, a)
		}
	}
}

func FuzzFromAddress(f *testing.F) {
	for _, s := range []string{
		"From: a@b.test\r\n", "From: \"a@b\" <c@d.test> (x)\r\n", "From: [x] y <\"a>b\"@c.test>\r\n", "From: (a) \"b c\"@d.test",
		"From: =?utf-8?q?a?= <c@d.test>", "From: a b@c.test", "From: <@a.test:b@a.test>", "from :a@b.test\n , c@b.test\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, header []byte) { checkAddress(t, header) })
}
