package route

import (
	"errors"
	"strings"
	"testing"

	"backstop/internal/evidence"
	"backstop/internal/mail"
)

func TestParseRelay(t *testing.T) {
	tests := []struct {
		in      string
		want    string
		network string
		addr    string
	}{
		{"smtp://exchange.internal", "smtp://exchange.internal:25", "tcp", "exchange.internal:25"},
		{"SMTP://Exchange.Internal:2525/", "smtp://exchange.internal:2525", "tcp", "exchange.internal:2525"},
		{"smtp://192.0.2.1", "smtp://192.0.2.1:25", "tcp", "192.0.2.1:25"},
		{"smtp://[2001:DB8::1]", "smtp://[2001:db8::1]:25", "tcp", "[2001:db8::1]:25"},
		{"smtp://[2001:db8::1]:26?tls=require", "smtp://[2001:db8::1]:26?tls=require", "tcp", "[2001:db8::1]:26"},
		{"smtp://imap.my.org?client=proxy&tls=off", "smtp://imap.my.org:25?tls=off&client=proxy", "tcp", "imap.my.org:25"},
		{"smtp://h?tls=opportunistic&client=none", "smtp://h:25", "tcp", "h:25"},
		{"smtp://h?client=xforward", "smtp://h:25?client=xforward", "tcp", "h:25"},
		{"smtp://bücher.example", "smtp://xn--bcher-kva.example:25", "tcp", "xn--bcher-kva.example:25"},
		{"lmtp://localhost:24", "lmtp://localhost:24", "tcp", "localhost:24"},
		{"lmtp+unix:///run/dovecot/lmtp?client=xclient", "lmtp+unix:///run/dovecot/lmtp?client=xclient", "unix", "/run/dovecot/lmtp"},
		{"lmtp+unix:///run/a%3Fb%25", "lmtp+unix:///run/a%3Fb%25", "unix", "/run/a?b%"},
	}
	for _, tt := range tests {
		r, err := ParseRelay(tt.in)
		if err != nil {
			t.Errorf("%s: %v", tt.in, err)
			continue
		}
		if got := r.String(); got != tt.want {
			t.Errorf("%s: String = %s, want %s", tt.in, got, tt.want)
		}
		if network, addr := r.Address(); network != tt.network || addr != tt.addr {
			t.Errorf("%s: Address = %s %s, want %s %s", tt.in, network, addr, tt.network, tt.addr)
		}
		if again, err := ParseRelay(r.String()); err != nil || again != r {
			t.Errorf("%s: the canonical form gives %+v, %v, want %+v", tt.in, again, err, r)
		}
	}
}

func TestParseRelayRefuses(t *testing.T) {
	tests := []struct{ in, want, hint string }{
		{"", "not a relay URL", "smtp://HOST:PORT"},
		{"exchange.internal:25", "not a relay URL", "write smtp://exchange.internal:25"},
		{"a b", "white space", ""},
		{"/run/lmtp", "not a relay URL", "lmtp+unix:///PATH"},
		{"smtps://h", "the scheme \"smtps\" is not known", "?tls=require"},
		{"http://h", "the scheme \"http\" is not known", "smtp, lmtp"},
		{"smtp://", "the host is missing", "smtp://HOST:PORT"},
		{"smtp://:25", "the host is missing", "smtp://HOST:PORT"},
		{"smtp://a b", "white space", ""},
		{"smtp://user:secret@h", "no user name or password", "this gateway's address"},
		{"smtp://h/path", "a path means nothing", "lmtp+unix"},
		{"smtp://h:0", "not a port", ""},
		{"smtp://h:", "not a port", ""},
		{"smtp://h:65536", "not a port", ""},
		{"smtp://h:smtp", "not a port", ""},
		{"smtp://2001:db8::1", "not a port", "brackets"},
		{"smtp://[2001:db8::1", "not an IPv6 address in brackets", ""},
		{"smtp://[192.0.2.1]", "not an IPv6 address in brackets", ""},
		{"smtp://[::1]25", "not a port", ""},
		{"smtp://a..b", "not a host name", ""},
		{"smtp://h#x", "fragment", ""},
		{"smtp://h?tls=yes", "\"yes\" is not a value of the option tls", "off, opportunistic or require"},
		{"smtp://h?client=x", "\"x\" is not a value of the option client", "xclient, xforward or proxy"},
		{"smtp://h?tsl=off", "the option \"tsl\" is not known", "tls and client"},
		{"smtp://h?tls=off&tls=require", "given twice", ""},
		{"lmtp://h", "the port is missing", "lmtp://h:24"},
		{"lmtp+unix://run/x", "must be absolute", "three slashes"},
		{"lmtp+unix:///", "path of the socket is missing", "three slashes"},
		{"lmtp+unix:///a%zz", "two hexadecimal digits", "%25"},
		{"lmtp+unix:///a%00", "NUL", ""},
	}
	for _, tt := range tests {
		_, err := ParseRelay(tt.in)
		var re *RelayError
		if !errors.As(err, &re) {
			t.Errorf("%q: error %v, want a *RelayError", tt.in, err)
			continue
		}
		if !strings.Contains(re.Error(), tt.want) || !strings.Contains(re.Hint(), tt.hint) || (tt.hint == "") != (re.Hint() == "") {
			t.Errorf("%q: %q (hint %q), want %q (hint %q)", tt.in, re.Error(), re.Hint(), tt.want, tt.hint)
		}
		if strings.Contains(re.Error()+re.Hint(), "secret") {
			t.Errorf("%q: the error shows the password", tt.in)
		}
	}
}

func FuzzParseRelay(f *testing.F) {
	for _, s := range []string{"smtp://h:25?tls=off", "lmtp+unix:///a%2fb", "smtp://[::1]:2", "lmtp://a.b:1&", "smtp://ß"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseRelay(s)
		if err != nil {
			return
		}
		again, err := ParseRelay(r.String())
		if err != nil || again != r {
			t.Fatalf("%q gave %+v, its form %q gave %+v, %v", s, r, r.String(), again, err)
		}
	})
}

func mustRelay(t *testing.T, s string) Relay {
	t.Helper()
	r, err := ParseRelay(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestTable(t *testing.T) {
	r := mustRelay(t, "smtp://h")
	table, err := NewTable([]Domain{
		{Name: "example.com", Aliases: []string{"example.net"}, Relay: r},
		{Name: "my.org", Relay: r, Mode: evidence.Watch, ModeSet: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	com := table.Find("example.com")
	if com == nil || table.Find("example.net") != com || table.Find("my.org") == com {
		t.Fatal("a domain is not found under its names")
	}
	if table.Find("example.org") != nil || table.Find("") != nil {
		t.Error("a domain that is not ours was found")
	}
	if got := com.ModeOr(evidence.Watch); got != evidence.Watch {
		t.Errorf("without a mode of its own: %v", got)
	}
	if got := table.Find("my.org").ModeOr(evidence.Enforce); got != evidence.Watch {
		t.Errorf("with a mode of its own: %v", got)
	}
	if d := table.Domains(); len(d) != 2 || d[0] != com {
		t.Errorf("Domains = %v", d)
	}
}

func TestTableRefuses(t *testing.T) {
	r := mustRelay(t, "smtp://h")
	tests := []struct {
		domains []Domain
		want    string
	}{
		{[]Domain{{Name: "a.example", Relay: r}, {Name: "a.example", Relay: r}}, `belongs to domain "a.example" and`},
		{[]Domain{{Name: "a.example", Relay: r}, {Name: "b.example", Aliases: []string{"a.example"}, Relay: r}}, `"a.example" belongs to domain "a.example" and to domain "b.example"`},
		{[]Domain{{Name: "a.example", Aliases: []string{"a.example"}, Relay: r}}, "named twice"},
		{[]Domain{{Name: "A.example", Relay: r}}, "not folded"},
		{[]Domain{{Name: "a..example", Relay: r}}, "not a domain name"},
	}
	for _, tt := range tests {
		if _, err := NewTable(tt.domains); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("error %v, want %q", err, tt.want)
		}
	}
}

func TestCanonical(t *testing.T) {
	d := Domain{Name: "example.com", Aliases: []string{"example.net"}}
	for in, want := range map[string]string{
		"Alice@example.net":  "Alice@example.com",
		"Alice@EXAMPLE.com":  "Alice@EXAMPLE.com",
		`"a b"@example.net`:  `"a b"@example.com`,
		"postmaster":         "postmaster@example.com",
		"alice+x@example.ne": "alice+x@example.com",
	} {
		a, err := mail.ParseAddress(in)
		if err != nil {
			t.Fatal(err)
		}
		if got := d.Canonical(a).String(); got != want {
			t.Errorf("Canonical(%s) = %s, want %s", in, got, want)
		}
	}
}

func TestFindDoesNotAllocate(t *testing.T) {
	table, err := NewTable([]Domain{{Name: "example.com", Relay: mustRelay(t, "smtp://h")}})
	if err != nil {
		t.Fatal(err)
	}
	name := strings.Clone("example.com")
	if n := testing.AllocsPerRun(100, func() { table.Find(name); table.Find("example.org") }); n != 0 {
		t.Errorf("Find allocates %v times", n)
	}
}
