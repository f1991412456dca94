package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"backstop/internal/blocklist"
	"backstop/internal/config"
	"backstop/internal/daemon"
	"backstop/internal/mailtest"
)

// listedServer starts a DNS server with lists of all kinds: the three that are asked by default, which have 192.0.2.25 (SpamCop: not),
// six.example.org with IPv6, refuses.example.org, which refuses to answer, silent.example.org, and shut.example.org, which says
// yes to everything. It returns its address.
func listedServer(t *testing.T) string {
	t.Helper()
	var zone strings.Builder
	add := func(address, list, data string) {
		fmt.Fprintf(&zone, "%s %s\n", blocklist.Name(netip.MustParseAddr(address), list), data)
	}
	for _, list := range blocklist.Defaults() {
		add("127.0.0.2", list, "A 127.0.0.2")
	}
	add("192.0.2.25", "ips.backscatterer.org", "A 127.0.0.2")
	add("192.0.2.25", "ips.backscatterer.org", `TXT "Sorry 192.0.2.25 is listed \027[2J at http://www.backscatterer.org/?ip=192.0.2.25"`)
	add("192.0.2.25", "backscatter.spameatingmonkey.net", "A 127.0.0.2")
	add("127.0.0.2", "six.example.org", "A 127.0.0.2")
	add("::ffff:127.0.0.2", "six.example.org", "A 127.0.0.2")
	add("2001:db8::25", "six.example.org", "A 127.0.0.4")
	add("127.0.0.2", "refuses.example.org", "A 127.255.255.254")
	add("127.0.0.2", "refuses.example.org", `TXT "Error: open resolver"`)
	zone.WriteString("*.shut.example.org A 127.0.0.2\n")
	d := mailtest.StartDNS(t, zone.String())
	d.Fail(blocklist.Name(netip.MustParseAddr("127.0.0.2"), "silent.example.org"), mailtest.DNSServFail)
	return d.Addr().String()
}

// TestListedJSON holds the form that programs read.
func TestListedJSON(t *testing.T) {
	server := listedServer(t)
	code, out, stderr := run(t, "listed", "--json", "--resolver", server, "192.0.2.25", "2001:db8::25")
	if code != 1 || stderr != "" {
		t.Fatalf("exit %d, %s", code, stderr)
	}
	var got []listedAddress
	for line := range strings.Lines(out) {
		var one listedAddress
		if err := json.Unmarshal([]byte(line), &one); err != nil {
			t.Fatal(err)
		}
		got = append(got, one)
	}
	if len(got) != 2 || got[0].Standing != "listed" || got[1].Standing != "unknown" || len(got[0].Lists) != 3 {
		t.Fatalf("%+v", got)
	}
	on, off, six := got[0].Lists[0], got[0].Lists[1], got[1].Lists[0]
	if on.List != "ips.backscatterer.org" || on.Standing != "listed" || len(on.Codes) != 1 || on.Codes[0] != "127.0.0.2" || len(on.Meaning) != 1 || len(on.Text) != 1 || on.URL == "" || on.Off == "" {
		t.Errorf("%+v", on)
	}
	if strings.Contains(out, `\u001b`) {
		t.Errorf("a stranger's text reaches the terminal: %s", out)
	}
	if off.List != "bl.spamcop.net" || off.Standing != "clean" || off.Codes != nil || off.Off != "" || off.Detail != "" {
		t.Errorf("%+v", off)
	}
	if six.Standing != "not-covered" || !strings.Contains(six.Detail, "IPv6") {
		t.Errorf("%+v", six)
	}
}

// TestListedOwn: which addresses of a machine are asked about when none is named.
func TestListedOwn(t *testing.T) {
	var own []net.Addr
	for _, s := range []string{"127.0.0.1/8", "10.1.2.3/24", "192.0.2.25/24", "192.0.2.25/32", "fe80::1/64", "::1/128", "2001:db8::25/64", "fd00::1/8", "100.64.0.1/10"} {
		ip, network, err := net.ParseCIDR(s)
		if err != nil {
			t.Fatal(err)
		}
		network.IP = ip
		own = append(own, network)
	}
	if got := fmt.Sprint(publicOf(own)); got != "[192.0.2.25 2001:db8::25]" {
		t.Error(got)
	}
}

// TestListedDefaults: the lists of the configuration are those of which something is known.
func TestListedDefaults(t *testing.T) {
	if a, b := fmt.Sprint(config.DefaultBlocklists()), fmt.Sprint(blocklist.Defaults()); a != b {
		t.Errorf("%s, and known are %s", a, b)
	}
}

// TestListedStatus: the rows of the lists that are watched.
func TestListedStatus(t *testing.T) {
	var out bytes.Buffer
	now := time.Now()
	(&app{out: &out}).printStatus(daemon.Status{Hostname: "mx.example.com", Mode: "enforce", Started: now, Blocklists: []daemon.BlocklistStatus{
		{List: "a.example.org", Address: "192.0.2.25", Standing: "listed", Since: now.Add(-3 * time.Hour)},
		{List: "b.example.org", Address: "192.0.2.25", Standing: "clean", Since: now.Add(-time.Minute), Detail: "there was no answer in time"},
		{List: "a.example.org", Address: "2001:db8::25", Standing: "not-covered", Since: now, Detail: "the list does not list IPv6"},
		{List: "b.example.org", Address: "2001:db8::25", Standing: "unknown"},
		{List: "b.example.org", Address: "2001:db8::26", Standing: "unknown", Detail: "the server is away"},
	}}, now)
	for _, want := range []string{
		"blocklist   a.example.org       192.0.2.25: LISTED, known for 3h",
		"blocklist   b.example.org       192.0.2.25: not listed, known for 1m",
		"  there was no answer in time\n",
		"2001:db8::25: no such addresses there, known for 0s",
		"2001:db8::25: cannot tell yet",
		"2001:db8::26: cannot tell                            the server is away\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

// TestListedInterrupted: what was found out before the end is printed.
func TestListedInterrupted(t *testing.T) {
	one, silent := blocklist.Name(netip.MustParseAddr("192.0.2.25"), "a.example.org"), blocklist.Name(netip.MustParseAddr("127.0.0.2"), "b.example.org")
	d := mailtest.StartDNS(t, blocklist.Name(netip.MustParseAddr("127.0.0.2"), "a.example.org")+" A 127.0.0.2\n"+one+" A 127.0.0.2\n")
	d.Fail(silent, mailtest.DNSSilent)
	for _, json := range []bool{false, true} {
		d.Forget()
		ctx, cancel := context.WithCancel(t.Context())
		var out, errs bytes.Buffer
		a := &app{out: &out, err: &errs, json: json}
		ended := make(chan error, 1)
		go func() {
			ended <- a.runListed(ctx, listedFlags{lists: []string{"a.example.org", "b.example.org"}, resolvers: []string{d.Addr().String()}}, []string{"192.0.2.25"}, false)
		}()
		d.Wait(t, "the first list has told", func(d *mailtest.DNS) bool { return d.Asked(one, "TXT") > 0 && d.Asked(silent) > 0 })
		cancel()
		if err := <-ended; err != nil || a.code != 1 || !strings.Contains(errs.String(), "interrupted: of 1 of 1 addresses something was found out") {
			t.Errorf("%v, exit %d: %s", err, a.code, &errs)
		}
		want := []string{"192.0.2.25: listed, on 1 of 2 lists", "b.example.org  cannot tell             interrupted\n"}
		if json {
			want = []string{`"standing":"listed"`, `"detail":"interrupted"`}
		}
		for _, w := range want {
			if !strings.Contains(out.String(), w) {
				t.Errorf("no %q in\n%s", w, &out)
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, errs bytes.Buffer
	a := &app{out: &out, err: &errs}
	if err := a.runListed(ctx, listedFlags{resolvers: []string{d.Addr().String()}}, []string{"192.0.2.25"}, false); err != nil || a.code != 2 || out.Len() > 0 || !strings.Contains(errs.String(), "interrupted: of 0 of 1") {
		t.Errorf("%v, exit %d: %s %s", err, a.code, &out, &errs)
	}
}

// TestListedAdvice: where no list at all can be asked it is the resolver, and whoever named one is not told to name one.
func TestListedAdvice(t *testing.T) {
	server := listedServer(t)
	down, nowhere := mailtest.StartDNS(t, ""), mailtest.StartDNS(t, "x.example.com A 192.0.2.1\n")
	down.Down()
	for _, c := range []struct {
		what, server, want, not string
		lists                   []string
	}{
		{what: "down", server: down.Addr().String(), want: "most likely the DNS server (" + down.Addr().String() + ")", not: "is not \"not listed\""},
		{what: "NXDOMAIN to everything", server: nowhere.Addr().String(), want: "No list could be asked", not: "is not \"not listed\""},
		{what: "one of several", server: server, lists: []string{"six.example.org", "refuses.example.org"}, want: "ask through another resolver of your own", not: "No list could"},
		{what: "one alone", server: server, lists: []string{"refuses.example.org"}, want: "ask through another resolver of your own", not: "No list could"},
	} {
		args := []string{"listed", "--resolver", c.server, "192.0.2.26"}
		for _, l := range c.lists {
			args = append(args, "--list", l)
		}
		code, out, _ := run(t, args...)
		if code != 2 || !strings.Contains(out, c.want) || strings.Contains(out, c.not) {
			t.Errorf("%s: exit %d\n%s", c.what, code, out)
		}
	}
	if got := serversOf(listedQuestion{}) + "; " + (listedQuestion{}).another(); got != "of /etc/resolv.conf; a resolver" {
		t.Error(got)
	}
}

// TestListedName: a name in place of an address is told its addresses; a configuration that is not there, how to do without.
func TestListedName(t *testing.T) {
	d := mailtest.StartDNS(t, "mx.example.com A 192.0.2.25\nmx.example.com AAAA 2001:db8::25\n")
	for _, c := range []struct{ what, want string }{
		{"mx.example.com", "hint: if your mail leaves from there: `backstop listed 192.0.2.25 2001:db8::25`"},
		{"none.example.com", `"none.example.com" is not an IP address`},
		{"192.0.2.300", `"192.0.2.300" is not an IP address`},
		{"192.0.2.0/24", "is a network"},
		{"10.0.0.1", "is a private address"},
	} {
		d.Forget()
		code, _, stderr := run(t, "listed", "--resolver", d.Addr().String(), c.what)
		if code != 3 || !strings.Contains(stderr, c.want) {
			t.Errorf("%s: exit %d, %s", c.what, code, stderr)
		}
		if asked := d.Asked("") > 0; asked != strings.HasSuffix(c.what, ".com") {
			t.Errorf("%s: asked the DNS: %v", c.what, asked)
		}
	}
	code, _, stderr := run(t, "--config", t.TempDir()+"/none.toml", "listed")
	if code != 3 || !strings.Contains(stderr, "or do without: `backstop listed IP` needs none") {
		t.Errorf("exit %d, %s", code, stderr)
	}
}

// TestListedTooMany: a run is no flood.
func TestListedTooMany(t *testing.T) {
	args := []string{"listed", "--resolver", "127.0.0.1:9"}
	for i := range mostListed + 1 {
		args = append(args, fmt.Sprintf("192.0.%d.%d", 2+i/256, i%256))
	}
	code, _, stderr := run(t, args...)
	if code != 3 || !strings.Contains(stderr, "257 addresses at once are too many, 256 are the most") {
		t.Errorf("exit %d, %s", code, stderr)
	}
}
