package main

import (
	"bytes"
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
