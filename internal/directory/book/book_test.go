package book

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"pgregory.net/rapid"

	"backstop/internal/mail"
)

// readAll reads a text and returns the keys in their order.
func readAll(name, text string, o Options) ([]string, Report, error) {
	var keys []string
	rep, err := Read(name, strings.NewReader(text), o, func(a mail.Address) error {
		keys = append(keys, a.Key())
		return nil
	})
	return keys, rep, err
}

func passedOf(rep Report) map[string]int {
	m := map[string]int{}
	for _, p := range rep.Passed {
		m[p.Reason] = p.Count
	}
	return m
}

// wide16 writes text as UTF-16 with a byte order mark.
func wide16(text string, little bool) string {
	out := []byte{}
	for _, u := range utf16.Encode([]rune("\ufeff" + text)) {
		if little {
			out = append(out, byte(u), byte(u>>8))
		} else {
			out = append(out, byte(u>>8), byte(u))
		}
	}
	return string(out)
}

const ldifText = `version: 1

# Ann, with two addresses, one folded
dn: cn=Ann,dc=example,dc=com
objectClass: user
mail: ann@example.com
proxyAddresses: SMTP:ann@example.com
proxyAddresses: smtp:a.very.long.name@exam
 ple.com
proxyAddresses: X500:/o=Example/cn=ann
proxyAddresses: sip:ann@example.com
jpegPhoto:: //79
 AAAA

dn:: Y249QsO2cmdlLGRjPWV4YW1wbGU=
changetype: add
MAIL;lang-de:: Ym9lcmdlQGV4YW1wbGUuY29t
userAccountControl: 512

dn: cn=Gone
mail: gone@example.com
userAccountControl: 514

dn: cn=Room
userAccountControl: 546
msExchRecipientTypeDetails: 16
mailLocalAddress: room@example.com

dn: cn=Nobody
cn: Nobody

# search result
search: 2
result: 0 Success

# numResponses: 6
`

// readCases are files of each format as they are found in the wild.
var readCases = []struct {
	name, file, text string
	o                Options
	format           Format
	want             []string
	passed           map[string]int
	columns          string
}{
	{name: "list", text: "# users\nann\nBob@Example.COM # a comment\n\"a #b\"@example.com\n\na#b@example.com\n", format: List,
		want: []string{"ann", "bob@example.com", `"a #b"@example.com`, "a#b@example.com"}},
	{name: "list of Windows", text: "\ufeffann@example.com\r\nbob@example.com\r\n", format: List, want: []string{"ann@example.com", "bob@example.com"}},
	{name: "list of PowerShell", text: wide16("ann@example.com\r\nbob@example.com\r\n", true), format: List, want: []string{"ann@example.com", "bob@example.com"}},
	{name: "list of comments", text: "# nobody\n", format: List},
	{name: "list with a domain", text: "ann@example.com\n@example.org\n", format: List, want: []string{"ann@example.com"}, passed: map[string]int{reasonDomain: 1}},
	{name: "access", format: Access,
		text: "To:ann@example.com\tRELAY\nbob@example.com  OK\nTo:carl@example.com REJECT\nTo:example.com ERROR:5.1.1:\"550 User unknown\"\nabuse@ RELAY\n" +
			"From:x.example OK\nConnect:192.0.2 RELAY\nTo:d+*@example.com RELAY\nexample.org RELAY\n192.0.2.1 OK\nTo:e@example.com 550 no\n# end\n",
		want:   []string{"ann@example.com", "bob@example.com", "abuse"},
		passed: map[string]int{reasonRefused: 3, reasonOther: 2, reasonPattern: 1, reasonDomain: 2}},
	{name: "access, who is deferred", format: Access,
		text: "To:a@example.com 450 On holiday\nTo:b@example.com ERROR:4.2.2:\"452 Full\"\nTo:c@example.com ERROR:\"450 Moving\"\nTo:d@example.com \"451 4.3.0 no\"\n" +
			"To:e@example.com error:4.2.1:busy\nTo:f@example.com ERROR:4.2.2:550 Gone\nTo:g@example.com ERROR:5.1.1:450 x\nTo:h@example.com 550 4.0.0\nTo:i+*@example.com 450 no\n",
		want:   []string{"a@example.com", "b@example.com", "c@example.com", "d@example.com", "e@example.com", "g@example.com"},
		passed: map[string]int{reasonRefused: 2, reasonPattern: 1}},
	{name: "virtusertable, who is deferred", file: "virtusertable", format: Virtusertable,
		text: "a@example.com error:tempfail Later\nb@example.com error:tempfail 550 Gone\nc@example.com error:nouser 450 x\nd@example.com error:4.2.2:450 x\ne@example.com error:nouser No\nf@example.com ERROR:450 x\n",
		want: []string{"a@example.com", "c@example.com", "d@example.com", "f@example.com"}, passed: map[string]int{reasonRefused: 2}},
	{name: "virtusertable", file: "/etc/mail/virtusertable", format: Virtusertable,
		text: "ann@example.com ann\nx@example.com error:nouser No\n@example.com error:nouser 550 No\np+*@example.com p\n",
		want: []string{"ann@example.com"}, passed: map[string]int{reasonRefused: 2, reasonPattern: 1}},
	{name: "postfix", format: Postfix, text: "ann@example.com  x\n  y z\n\"kim kay\"@example.com x\n# c\n@example.org x\n/a@example.com x\nhal x\n",
		want: []string{"ann@example.com", `"kim kay"@example.com`, "/a@example.com", "hal"}, passed: map[string]int{reasonDomain: 1}},
	{name: "ldif", text: ldifText, format: LDIF,
		want:   []string{"ann@example.com", "ann@example.com", "a.very.long.name@example.com", "boerge@example.com", "room@example.com"},
		passed: map[string]int{reasonKind: 2, reasonDisabled: 1, reasonNone: 1}},
	{name: "ldif with an attribute", text: "dn: cn=a\nrfc822Mailbox: ann@example.com\n", o: Options{Attributes: []string{"RFC822mailbox"}}, format: LDIF, want: []string{"ann@example.com"}},
	{name: "ldif in CRLF", text: "dn: cn=a\r\nmail: ann@ex\r\n ample.com\r\n\r\ndn: cn=b\r\nmail: bob@example.com\r\n", format: LDIF, want: []string{"ann@example.com", "bob@example.com"}},
	{name: "csv", text: "Name,Mail\nAnn,ann@example.com\n\"Bob, \"\"B\"\"\",bob@example.com\nNone,\n", format: CSV,
		want: []string{"ann@example.com", "bob@example.com"}, passed: map[string]int{reasonNone: 1}, columns: "Mail"},
	{name: "csv of Exchange", format: CSV, columns: "PrimarySmtpAddress+EmailAddresses",
		text: wide16("#TYPE Selected.Mailbox\r\n\"Name\";\"UserPrincipalName\";\"PrimarySmtpAddress\";\"EmailAddresses\"\r\n"+
			"\"Ann\";\"ann@corp.example\";\"ann@example.com\";\"SMTP:ann@example.com smtp:a.lee@example.com X500:/o=Example/ou=First Group (FYD)/cn=Ann smtp:lee@example.com SIP:ann@example.com\"\r\n", true),
		want:   []string{"ann@example.com", "ann@example.com", "a.lee@example.com", "lee@example.com"},
		passed: map[string]int{reasonKind: 2}},
	{name: "csv with names of logging in alone", text: "Name,UserPrincipalName\nAnn,ann@example.com\n", format: CSV, want: []string{"ann@example.com"}, columns: "UserPrincipalName"},
	{name: "csv without a header", text: "1\tAnn Lee\tann@example.com\n2\tBob\tbob@example.com;b@example.com\n", format: CSV,
		want: []string{"ann@example.com", "bob@example.com", "b@example.com"}, columns: "3"},
	{name: "csv with an unknown header", text: "Nr,Who,Where\n1,Ann,ann@example.com\n", format: CSV, want: []string{"ann@example.com"}, columns: "Where"},
	{name: "csv of one column", text: "E-Mail Address\nann@example.com\n", format: CSV, want: []string{"ann@example.com"}, columns: "E-Mail Address"},
	{name: "csv of quoted cells", text: "\"ann@example.com\"\n\"bob@example.com\"\n", format: CSV, want: []string{"ann@example.com", "bob@example.com"}, columns: "1"},
	{name: "csv of Excel", text: "sep=;\nMail;Name\nann@example.com;Ann\n", format: CSV, want: []string{"ann@example.com"}, columns: "Mail"},
	{name: "csv, a column by name", text: "Mail,Other\nann@example.com,x@example.com\n", o: Options{Columns: []string{"other"}}, format: CSV, want: []string{"x@example.com"}, columns: "Other"},
	{name: "csv, a column by number", text: "ann@example.com,x@example.com\n", o: Options{Columns: []string{"2"}}, format: CSV, want: []string{"x@example.com"}, columns: "2"},
	{name: "csv of local parts", text: "user,quota\nann,1\nbob,2\n", file: "u.csv", o: Options{Columns: []string{"user"}, Locals: true}, format: CSV, want: []string{"ann", "bob"}, columns: "user"},
	{name: "csv, several in a cell", text: "mail\n\"ann@example.com, bob@example.com\nc@example.com\"\n", format: CSV,
		want: []string{"ann@example.com", "bob@example.com", "c@example.com"}, columns: "mail"},
	{name: "csv of Microsoft 365", text: "Display name,Proxy addresses,User principal name\nAnn,smtp:a+b@example.com+SMTP:ann@example.com+SPO:x+smtp:lee@example.com,ann@x.example\n", format: CSV,
		want: []string{"a+b@example.com", "ann@example.com", "lee@example.com"}, passed: map[string]int{reasonKind: 1}, columns: "Proxy addresses"},
	{name: "csv with braces", text: "Name;EmailAddresses\nAnn;{SMTP:ann@example.com, smtp:lee@example.com}\n", format: CSV, want: []string{"ann@example.com", "lee@example.com"}, columns: "EmailAddresses"},
	{name: "csv, X.400", text: "mail\n\"X400:C=US;A= ;P=Org;S=Lee;;smtp:ann@example.com;x500:/o=A b;bob@example.com\"\n", format: CSV,
		want: []string{"ann@example.com", "bob@example.com"}, passed: map[string]int{reasonKind: 2}, columns: "mail"},
}

// TestRead reads each of them, recognised and named.
func TestRead(t *testing.T) {
	for _, c := range readCases {
		t.Run(c.name, func(t *testing.T) {
			keys, rep, err := readAll(c.file, c.text, c.o)
			if err != nil {
				t.Fatal(err)
			}
			if rep.Format != c.format || !slices.Equal(keys, c.want) || strings.Join(rep.Columns, "+") != c.columns || rep.Addresses != len(keys) {
				t.Errorf("%v %q of %q, %+v\nwant %v %q of %q", rep.Format, keys, rep.Columns, rep, c.format, c.want, c.columns)
			}
			if c.passed == nil {
				c.passed = map[string]int{}
			}
			if got := passedOf(rep); fmt.Sprint(got) != fmt.Sprint(c.passed) {
				t.Errorf("passed over %v, want %v", got, c.passed)
			}
			c.o.Format = c.format
			if again, _, err := readAll("", c.text, c.o); err != nil || !slices.Equal(again, c.want) {
				t.Errorf("with its format named: %q, %v", again, err)
			}
		})
	}
}

// TestPatterns hands the patterns of both of Sendmail's texts over where they are wanted, and counts them elsewhere.
func TestPatterns(t *testing.T) {
	var got []string
	o := Options{Pattern: func(a mail.Address) error { got = append(got, a.Key()); return nil }}
	for _, text := range []string{"To:Sales+*@example.com RELAY\nTo:all+*@ 450 no\nTo:x+*@example.com REJECT\n", "q++@example.com q\nr+*@example.com r\n@example.com error:nouser No\n"} {
		if _, _, err := readAll("", text, o); err != nil {
			t.Error(err)
		}
	}
	if want := []string{"sales+*@example.com", "all+*", "q++@example.com", "r+*@example.com"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	enough := errors.New("enough")
	if _, _, err := readAll("", "To:sales+*@example.com RELAY\n", Options{Pattern: func(mail.Address) error { return enough }}); !errors.Is(err, enough) {
		t.Error(err)
	}
}

// TestWritePatterns: Sendmail's access has lines for some, the other formats for none.
func TestWritePatterns(t *testing.T) {
	b := New()
	for _, text := range []string{"sales+*@example.com", "q++@example.com", "a%b+*@example.com"} {
		a, err := mail.ParseAddress(text)
		if err != nil {
			t.Fatal(err)
		}
		b.AddPattern(a)
	}
	for f, want := range map[Format]struct {
		text           string
		patterns, left int
	}{
		Access: {"To:sales+*@example.com\tRELAY\nTo:example.com\tERROR:5.1.1:\"550 User unknown\"\nTo:sales+*@example.net\tRELAY\nTo:example.net\tERROR:5.1.1:\"550 User unknown\"\n", 2, 4},
		List:   {"# nobody\n", 0, 6}, Postfix: {"", 0, 6},
	} {
		var text strings.Builder
		w, err := Write(&text, f, b, map[string][]string{"example.com": {"example.net"}})
		left := 0
		for _, l := range w.Left {
			left += l.Count
		}
		if err != nil || text.String() != want.text || w.Patterns != want.patterns || left != want.left || w.Addresses != 0 {
			t.Errorf("%v: %q, %+v, %v", f, text.String(), w, err)
		}
	}
}

// TestMistakes reads what is not to be understood.
func TestMistakes(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"f", "", "f: it is empty"},
		{"f.csv", "\ufeff", "f.csv: it is empty"},
		{"f", "PK\x03\x04....", "f: this is a spreadsheet or another zip file; save it as CSV"},
		{"f", "\x1f\x8b\x08", "f: this is compressed"},
		{"f", "a\x00n\x00", "f: this is no text, or UTF-16 without a byte order mark"},
		{"f", "ann@example.com\n\x00\n", "f: this is no text"},
		{"f", "Lorem ipsum dolor\nsit amet\n", "f: it is not clear what kind of file this is"},
		{"f", "ann@example.com\nbob@@example.com\n", `f:2: "bob@@example.com"`},
		{"f", "ann@example.com\ncarl@example.com\t\nann lee@example.com\n", `f:3: "lee@example.com" stands after the address`},
		{"f", "To:ann@example.com REJCET\n", `f:1: the value "REJCET" of "ann@example.com" is not understood`},
		{"f", "To:ann@example.com RELAY\nXo:b@example.com RELAY\n", `f:2: the tag "Xo:" is not known`},
		{"f", "To:ann@example.com RELAY\n bob RELAY\n", "f:2: the line begins with white space"},
		{"f.ldif", "dn: cn=a\nchangetype: modify\nadd: mail\nmail: x@example.com\n-\n", "f.ldif:2: changetype: modify is a change"},
		{"f.ldif", "dn: cn=a\nmail:< file:///etc/passwd\n", "f.ldif:2: the value of mail is in another file (file:///etc/passwd)"},
		{"f.ldif", "dn: cn=a\nmail:: ***\n", "f.ldif:2: the value of mail is no base64"},
		{"f.ldif", "dn: cn=a\nmail: a@example.com\ndn: cn=b\n", "f.ldif:3: an entry begins, and the one before it was not ended"},
		{"f.ldif", "mail: a@example.com\n", `f.ldif:1: an entry begins with "mail", where dn: is wanted`},
		{"f.ldif", "dn: cn=a\nrubbish\n", `f.ldif:2: "rubbish" is no line of LDIF`},
		{"f.ldif", "version: 2\ndn: cn=a\n", "f.ldif:1: version: 2 is not known"},
		{"f.ldif", "dn: cn=a\nmail: ann\n", `f.ldif:2: "ann" has no domain`},
		{"f.csv", "mail,name\nann@example.com,M\xfcller\n", "f.csv:2: this is not UTF-8"},
		{"f.csv", "a,b\nann@example.com,bob@example.com\n", `f.csv: it is not clear which column holds the addresses; name it with --column NAME or --column NUMBER (there are "a", "b")`},
		{"f.csv", "mail\nAnn Lee\n", `f.csv:2: "Ann" has no domain`},
		{"f.csv", "mail,x\na@example.com,b \"c\"\n", "f.csv:2: a quote stands in a cell that is not quoted"},
		{"f.csv", "mail,x\na@example.com,\"c\n\n", "f.csv:3: a quoted cell that begins in line 2 does not end"},
		{"f.csv", "proxyAddresses\nMicrosoft.ActiveDirectory.Management.ADPropertyValueCollection\n", "f.csv:2: the cell holds the name of a list"},
		{"f.csv", "mail\n\"" + strings.Repeat("x", 3*maxRecord), "f.csv:2: the record that begins here is longer"},
		{"f", "ann@example.com\n" + strings.Repeat("x", 1<<20) + "\n", "f:2: the line is longer"},
	} {
		_, _, err := readAll(c.name, c.text, Options{})
		switch {
		case c.want == "" && err == nil:
			t.Errorf("%.40q: no error", c.text)
		case c.want != "" && (err == nil || !strings.HasPrefix(err.Error(), c.want)):
			t.Errorf("%.40q: %v\nwant %s", c.text, err, c.want)
		}
	}
}

func TestTenMistakes(t *testing.T) {
	_, _, err := readAll("f", strings.Repeat("a@b@c\n", 50), Options{Format: List})
	var m *Mistake
	if !errors.As(err, &m) || m.Line != 1 || strings.Count(err.Error(), "\n") != maxMistakes-1 {
		t.Errorf("%v", err)
	}
}

func TestTakeEnds(t *testing.T) {
	enough, n := errors.New("enough"), 0
	for _, text := range []string{"a@example.com\nb@example.com\n", "mail,x\na@example.com,\nb@example.com,\n", "dn: cn=a\nmail: a@example.com\n\ndn: cn=b\nmail: b@example.com\n"} {
		n = 0
		_, err := Read("f", strings.NewReader(text), Options{}, func(mail.Address) error { n++; return enough })
		if !errors.Is(err, enough) || n != 1 {
			t.Errorf("%d taken, %v", n, err)
		}
	}
}

// anyAddress draws an address as strange as can be.
func anyAddress(t *rapid.T) mail.Address {
	local := rapid.OneOf(
		rapid.StringMatching("[a-zA-Z0-9!#$%&'*+/=?^_`{|}~-]{1,12}(\\.[a-z0-9#]{1,5})?"),
		rapid.Map(rapid.StringMatching(`[ -~]{1,10}`), func(s string) string {
			return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
		}),
		rapid.SampledFrom(oddLocals),
	).Draw(t, "local")
	domain := rapid.SampledFrom([]string{"example.com", "example.org", "sub.example.com", "xn--bcher-kva.example", "[192.0.2.1]"}).Draw(t, "domain")
	a, err := mail.ParseAddress(local + "@" + domain)
	if err != nil {
		t.Skip(err)
	}
	return a
}

// TestRoundTrip writes books and reads them back: what was written is read, and what was
// left out was counted.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := New()
		for range rapid.IntRange(0, 30).Draw(t, "n") {
			b.Add(anyAddress(t))
		}
		for _, f := range []Format{List, Postfix, Access} {
			var text strings.Builder
			w, err := Write(&text, f, b, nil)
			if err != nil {
				t.Fatal(err)
			}
			left := 0
			for _, l := range w.Left {
				left += l.Count
			}
			if w.Addresses+left != b.Len() || f == List && left > 0 {
				t.Fatalf("%v: %d written and %d left of %d", f, w.Addresses, left, b.Len())
			}
			if text.Len() == 0 {
				continue
			}
			back := New()
			rep, err := Read("f", strings.NewReader(text.String()), Options{Format: f}, func(a mail.Address) error { back.Add(a); return nil })
			if err != nil || back.Len() != w.Addresses || rep.Addresses != w.Addresses {
				t.Fatalf("%v: read %d of %d: %v\n%s", f, back.Len(), w.Addresses, err, text.String())
			}
			for _, d := range back.Domains() {
				if extra := back.Of(d).Without(b.Of(d)); extra != nil {
					t.Fatalf("%v: %q came back, and was never there", f, extra)
				}
			}
		}
	})
}

func TestBook(t *testing.T) {
	b := New()
	for _, s := range []string{"b@example.com", "a@example.com", "b@example.org", "B@Example.com", "local"} {
		a, err := mail.ParseAddress(s)
		if err != nil {
			t.Fatal(err)
		}
		b.Add(a)
	}
	if got := fmt.Sprint(b.Domains(), b.Len(), b.Of("example.com").Sorted(), b.Of("none").Len()); got != "[ example.com example.org] 4 [a b] 0" {
		t.Error(got)
	}
	var text strings.Builder
	w, err := Write(&text, Access, b, map[string][]string{"example.org": {"example.net"}})
	want := "To:local@\tRELAY\nTo:a@example.com\tRELAY\nTo:b@example.com\tRELAY\nTo:example.com\tERROR:5.1.1:\"550 User unknown\"\n" +
		"To:b@example.org\tRELAY\nTo:example.org\tERROR:5.1.1:\"550 User unknown\"\nTo:b@example.net\tRELAY\nTo:example.net\tERROR:5.1.1:\"550 User unknown\"\n"
	if err != nil || text.String() != want || w.Addresses != 5 {
		t.Errorf("%s%+v %v", text.String(), w, err)
	}
}

// TestWide reads UTF-16 with a pair cut in the middle and pairs that are none.
func TestWide(t *testing.T) {
	for _, little := range []bool{true, false} {
		text := "mail,name\n" + strings.Repeat("ann@example.com,\U0001F600\n", 3000)
		keys, _, err := readAll("f", wide16(text, little), Options{})
		if err != nil || len(keys) != 3000 {
			t.Errorf("%d, %v", len(keys), err)
		}
	}
	if _, _, err := readAll("f", "\xff\xfem\x00a", Options{Format: CSV}); err == nil {
		t.Error("half a character is read")
	}
	if keys, _, err := readAll("f.csv", "\xff\xfea\x00@\x00b\x00,\x00\x00\xd8,\x00\x00\xdc", Options{}); err != nil || len(keys) != 1 {
		t.Error(keys, err)
	}
}

func TestCutKind(t *testing.T) {
	for text, want := range map[string]string{
		"SMTP:ann@example.com": "SMTP|ann@example.com", "x500:/o=a b": "x500|/o=a b", "X-FAX:1": "X-FAX|1", "smtp:": "smtp|",
		"ann@example.com": "", `"a:b"@example.com`: "", ":x": "", "a@b:c": "", "a b:c": "",
	} {
		got := ""
		if kind, rest, has := CutKind(text); has {
			got = kind + "|" + rest
		} else if rest != text {
			t.Errorf("%q: the rest is %q", text, rest)
		}
		if got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
