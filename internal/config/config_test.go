package config

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"backstop/internal/evidence"
	"backstop/internal/listen"
	"backstop/internal/mail"
	"backstop/internal/route"
)

func mustAddress(t *testing.T, s string) mail.Address {
	t.Helper()
	a, err := mail.ParseAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func mustRelay(t *testing.T, s string) route.Relay {
	t.Helper()
	r, err := route.ParseRelay(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func mustParse(t *testing.T, text string) *Config {
	t.Helper()
	c, err := Parse("test.toml", []byte(text))
	if err != nil {
		t.Fatalf("refused:\n%s", printed(problems(t, err)))
	}
	return c
}

func same(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s:\n got %+v\nwant %+v", what, got, want)
	}
}

// TestEverything loads a file that sets every key to something other than its default.
func TestEverything(t *testing.T) {
	path := fixtures(t, "testdata/good/everything.toml")[0]
	surroundings(t)
	c, err := load(t, path)
	if err != nil {
		t.Fatal(err)
	}
	net := netip.MustParsePrefix
	same(t, "top", []any{c.File, c.Hostname, c.State, c.Mode, c.Postmaster, c.ReplyText, c.Drain},
		[]any{"everything.toml", "mx.example.com", "state", evidence.Watch, mustAddress(t, "hostmaster@example.com"), ReplyDownstream, 90 * time.Second})
	tls := c.SMTP.TLS
	if tls == nil || tls.CertificateFile != "mx.pem" || tls.KeyFile != "mx.key" || len(tls.Certificate.Certificate) != 1 {
		t.Errorf("tls: %+v", tls)
	}
	c.SMTP.TLS = nil
	same(t, "smtp", c.SMTP, SMTP{
		Listen: []listen.Spec{
			{Network: "tcp4", Address: "0.0.0.0:25"}, {Network: "tcp6", Address: "[::]:25"},
			{Network: "unix", Address: "/run/backstop/smtp.sock", Mode: 0o600}, {Network: "systemd", Address: "smtp"}},
		MaxMessageSize: 1000, MaxRecipients: 200, MaxConnections: 300, PerClient: 0,
		Blocked: []netip.Prefix{net("192.0.2.66/32")}, ProxyProtocol: []netip.Prefix{net("10.0.0.0/24")},
		XClient: []netip.Prefix{net("2001:db8::/32")}, AllowBareNewline: []netip.Prefix{net("10.1.0.0/16")},
		BannerDelay: 5 * time.Second, MaxErrors: 20, MaxCommands: 2000, MaxLineLength: 4096, MaxTextLine: 1000, MaxReceived: 100,
		Timeouts: SMTPTimeouts{Command: time.Minute, Data: 2 * time.Minute, Message: 3 * time.Minute, Session: 4 * time.Minute, MinRate: 0},
	})
	if c.Relay.Roots == nil {
		t.Error("the authorities were not read")
	}
	c.Relay.Roots = nil
	same(t, "relay", c.Relay, Relay{Connections: 6, Idle: 0, IdleTime: 5 * time.Second, CAFile: "mx.pem", Timeouts: RelayTimeouts{
		time.Second, 2 * time.Second, 3 * time.Second, 4 * time.Second, 5 * time.Second, 6 * time.Second, 7 * time.Second, 8 * time.Second}})
	same(t, "cache", c.Cache, Cache{Size: 5000, Lives: Lives{48 * time.Hour, time.Hour, time.Minute, time.Hour, 14 * day}})
	same(t, "panel", c.Panel.Listen.String(), "127.0.0.1:8025")
	everythingDomains(t, c)
}

func everythingDomains(t *testing.T, c *Config) {
	exchange := mustRelay(t, "smtp://exchange.example.com?tls=require&client=xclient")
	probe := Callahead{
		Target: mustRelay(t, "smtp://exchange.example.com:2525"),
		From:   mail.ReversePath{Address: mustAddress(t, "probe@example.com")}, Helo: "probe.example.com",
		Timeout: 10 * time.Second, Connections: 2, Rate: 5, Pipelining: true, WhenBlind: BlindDefer,
		Lives: Lives{8 * time.Hour, 2 * time.Hour, 3 * time.Hour, 3 * time.Hour, day},
	}
	plain := Callahead{Target: exchange, Helo: "mx.example.com", Timeout: 20 * time.Second, Connections: 10, Rate: 50, Lives: c.Cache.Lives}
	own, elsewhere := plain, plain
	own.WhenBlind = BlindDefer
	elsewhere.Target = probe.Target
	same(t, "first domain", c.Domains[0], Domain{
		Domain: route.Domain{
			Name: "example.com", Aliases: []string{"example.net", "xn--bcher-kva.example"}, Relay: exchange,
			Mode: evidence.Enforce, ModeSet: true, Subaddress: "+",
			Recipients: []string{"list:users", "probe", "own", "callahead", "callahead:smtp://exchange.example.com:2525"},
		},
		Sources: []Source{
			{Kind: SourceList, Name: "list:users", File: "users"},
			{Name: "probe", Callahead: probe},
			{Name: "own", Callahead: own},
			{Name: "callahead:smtp://exchange.example.com:25?tls=require&client=xclient", Callahead: plain},
			{Name: "callahead:smtp://exchange.example.com:2525", Callahead: elsewhere},
		},
		Guards: evidence.Guards{SPF: evidence.CheckMark, DMARC: evidence.CheckMark, Bounces: evidence.JudgeWatch},
	})
	lmtp := mustRelay(t, "lmtp://[2001:db8::25]:24")
	same(t, "second domain", c.Domains[1].Domain, route.Domain{Name: "example.org", Relay: lmtp, Recipients: []string{"callahead"}})
	same(t, "its default source", c.Domains[1].Sources[0].Callahead.Target, lmtp)
	if c.Routes.Find("xn--bcher-kva.example") != c.Routes.Find("example.com") || c.Routes.Find("example.com") == nil {
		t.Error("the table does not find an alias")
	}
}

// TestDefaults checks that every default passes its own check, and the ones that people rely on.
func TestDefaults(t *testing.T) {
	c := mustParse(t, "[[domain]]\nname = \"example.com\"\nrelay = \"smtp://h\"\n")
	same(t, "defaults", []any{c.State, c.Mode, c.Postmaster.String(), c.ReplyText, c.Drain, c.SMTP.MaxMessageSize, c.SMTP.MaxRecipients, c.SMTP.Timeouts.MinRate, c.SMTP.TLS == nil, c.Panel.Listen.Network, len(c.Warnings)},
		[]any{"/var/lib/backstop", evidence.Enforce, "postmaster@example.com", ReplyOwn, 30 * time.Second, int64(50 << 20), 100, int64(100), true, "", 0})
	same(t, "lives", c.Cache.Lives, Lives{24 * time.Hour, 6 * time.Hour, 2 * time.Minute, 2 * time.Hour, 7 * day})
	if c.Hostname == "" {
		t.Error("there is no name of our own")
	}
	same(t, "source", []any{c.Domains[0].Sources[0].Name, c.Domains[0].Sources[0].Callahead.From.IsNull()}, []any{"callahead:smtp://h:25", true})
}

func TestRelativePaths(t *testing.T) {
	surroundings(t)
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	c, err := Parse(filepath.Join(dir, "backstop.toml"), []byte("state = \"here\"\n[[domain]]\nname = \"example.com\"\nrelay = \"smtp://h\"\nrecipients = [\"list:users\"]\n"))
	if err != nil {
		t.Fatal(err)
	}
	same(t, "paths", []string{c.State, c.Domains[0].Sources[0].File}, []string{filepath.Join(dir, "here"), filepath.Join(dir, "users")})
	_, err = Parse(filepath.Join(dir, "backstop.toml"), []byte("[[domain]]\nname = \"example.com\"\nrelay = \"smtp://h\"\nrecipients = [\"list:nobody\"]\n[relay]\nca_file = \"no.pem\"\n"))
	if got := printed(problems(t, err)); !strings.Contains(got, "it was looked for as "+filepath.Join(dir, "no.pem")) {
		t.Errorf("printed:\n%s", got)
	}
}

func TestLoadErrors(t *testing.T) {
	dir := t.TempDir()
	for path, want := range map[string]string{
		filepath.Join(dir, "none.toml"): "cannot read the configuration: no such file or directory",
		dir:                             "cannot read the configuration: is a directory",
	} {
		_, err := Load(path)
		list := problems(t, err)
		if got := list[0].String(); len(list) != 1 || got != path+": "+want || err.Error() != got {
			t.Errorf("printed %q, want %q", got, path+": "+want)
		}
	}
	_, err := Parse("x.toml", []byte("a = 1\nb = 2\n"))
	if err == nil || !strings.HasSuffix(err.Error(), "(and 2 more)") {
		t.Errorf("three mistakes are told as %v", err)
	}
	var list *Errors
	if !errors.As(err, &list) || len(list.List) != 3 {
		t.Errorf("%d problems", len(list.List))
	}
}

func TestFromFlags(t *testing.T) {
	tests := []struct {
		listen, relays []string
		state          string
		file           string
	}{
		{nil, []string{"example.com=store.example.com:2525"}, "", `
			state = ""
			[[domain]]
			name = "example.com"
			relay = "smtp://store.example.com:2525"`},
		{[]string{":2525", "unix:/run/b.sock"}, []string{"Example.com=[2001:db8::1]:25", "my.org=lmtp+unix:///run/lmtp?client=proxy"}, "/srv/state", `
			state = "/srv/state"
			[smtp]
			listen = [":2525", "unix:/run/b.sock"]
			[[domain]]
			name = "example.com"
			relay = "smtp://[2001:db8::1]:25"
			[[domain]]
			name = "my.org"
			relay = "lmtp+unix:///run/lmtp?client=proxy"`},
	}
	for _, tt := range tests {
		got, err := FromFlags(tt.listen, tt.relays, tt.state)
		if err != nil {
			t.Fatalf("refused:\n%s", printed(problems(t, err)))
		}
		want := mustParse(t, tt.file)
		want.File = ""
		same(t, "from flags", got, want)
	}
}

func TestFromFlagsRefuses(t *testing.T) {
	tests := []struct {
		listen, relays []string
		state          string
		want           string
	}{
		{nil, nil, "", "--relay: there is no domain, so no mail would be accepted\nhint: write --relay example.com=HOST:PORT, once for each domain\n"},
		{nil, []string{"store:25"}, "", "--relay: relay: \"store:25\" is not DOMAIN=HOST:PORT\nhint: write --relay example.com=HOST:PORT, once for each domain\n"},
		{nil, []string{"a..b=h"}, "", "--relay: name: not a domain name: \"a..b\" has an empty label\n"},
		{nil, []string{"a=h", "a=i"}, "", "--relay: name: a is a domain already\n"},
		{nil, []string{"a=h:x"}, "", "--relay: relay: \"smtp://h:x\": \"x\" is not a port between 1 and 65535\n"},
		{[]string{"25"}, []string{"a=h"}, "", "--listen: listen: \"25\" is not HOST:PORT, :PORT, unix:/PATH or systemd:NAME\nhint: write :25 for all addresses, or 127.0.0.1:25\n"},
		{nil, []string{"a=h"}, "postgres://db/x", "--state: state on PostgreSQL is not part of this version yet\nhint: take it out for now; the rest of the file is checked all the same\n"},
		{[]string{":2525"}, []string{"a=localhost:2525"}, "", "--relay: relay: smtp://localhost:2525 is this gateway itself, so mail would go in circles\nhint: name the server that has the mailboxes\n"},
	}
	for _, tt := range tests {
		_, err := FromFlags(tt.listen, tt.relays, tt.state)
		if got := printed(problems(t, err)); got != tt.want {
			t.Errorf("printed:\n%swant:\n%s", got, tt.want)
		}
	}
}

// TestSecondDefinitions follows the rules of TOML 1.0 about what may be added to what.
func TestSecondDefinitions(t *testing.T) {
	for text, ok := range map[string]bool{
		"[a.b]\n[a]\n":                  true,
		"[a]\n[a.b]\n":                  true,
		"[a]\n[a]\n":                    false,
		"a.b = 1\na.c = 2\n":            true,
		"a.b = 1\n[a]\n":                false,
		"a.b = 1\n[a.c]\n":              true,
		"[a.b]\n[a]\nb.c = 1\n":         false,
		"[[a]]\n[[a]]\n[a.b]\n[[a]]\n":  true,
		"[[a]]\n[a]\n":                  false,
		"[a]\n[[a]]\n":                  false,
		"a = []\n[[a]]\n":               false,
		"a = {}\n[a.b]\n":               false,
		"a = {b = 1, b = 2}\n":          false,
		"a = {b.c = 1, b.d = 2}\n":      true,
		"a = {b = {c = 1}, b.d = 2}\n":  false,
		"a = 1\na.b = 2\n":              false,
		"[[a.b]]\n[a]\nb.y = 2\n":       false,
		"\"a\" = 1\n'a' = 2\n":          false,
		"[a]\nx = 1\n[a.x]\n":           false,
		"[[a]]\nb = {}\n[a.b.c]\n":      false,
		"[[a]]\nx = 1\n[[a]]\nx = 1\n ": true,
	} {
		_, list := parseTree("x", []byte(text))
		if (len(list) == 0) != ok {
			t.Errorf("%q: %v, want ok = %v", text, list, ok)
		}
	}
}

func TestUnits(t *testing.T) {
	for in, want := range map[string]time.Duration{"0s": 0, "90s": 90 * time.Second, "1h30m": 90 * time.Minute, "7d": 7 * day, "2w": 14 * day, "100ms": 100 * time.Millisecond} {
		if got, err := parseDuration(in); got != want || err != nil {
			t.Errorf("%s is %v, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "5", "s", "1.5s", "-1s", "5 s", "1y", "99999999999w", "9999999999999999999999s", "106751d106751d"} {
		if got, err := parseDuration(in); err == nil {
			t.Errorf("%q is %v", in, got)
		}
	}
	for in, want := range map[string]int64{"0B": 0, "50MB": 50 << 20, "1kb": 1024, "3 GiB": 3 << 30, "7T": 7 << 40} {
		if got, err := parseSize(in); got != want || err != nil {
			t.Errorf("%s is %v, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "5", "MB", "5 PB", "-1B", "1.5MB", "9999999999999999999999B", "99999999TB"} {
		if got, err := parseSize(in); err == nil {
			t.Errorf("%q is %v", in, got)
		}
	}
	for in, want := range map[string]float64{"20/s": 20, "300/m": 5, "1800/h": 0.5} {
		if got, err := parseRate(in); got != want || err != nil {
			t.Errorf("%s is %v, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "20", "20/d", "0/s", "-1/s", "x/s"} {
		if got, err := parseRate(in); err == nil {
			t.Errorf("%q is %v", in, got)
		}
	}
	same(t, "formatted", []string{formatDuration(90 * time.Minute), formatDuration(7 * day), formatDuration(0), formatSize(50 << 20), formatSize(0), formatSize(1000)},
		[]string{"90m", "1w", "0s", "50MB", "0B", "1000B"})
}

func TestNearest(t *testing.T) {
	names := []string{"listen", "hostname", "max_recipients", "certificate", "smtp", "key"}
	for word, want := range map[string]string{
		"lisen": "listen", "hostnmae": "hostname", "max-recipient": "max_recipients", "LISTEN": "listen", "cert": "certificate",
		"smpt": "smtp", "milter": "", "x": "", "": "", "keys": "key", strings.Repeat("listen", 100): "",
	} {
		if got := nearest(word, names); got != want {
			t.Errorf("nearest(%q) = %q, want %q", word, got, want)
		}
	}
}
