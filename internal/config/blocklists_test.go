package config

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestBlocklists(t *testing.T) {
	path := fixtures(t, "testdata/good/blocklists.toml")[0]
	surroundings(t)
	c, err := load(t, path)
	if err != nil {
		t.Fatal(err)
	}
	ip := netip.MustParseAddr
	same(t, "blocklists", c.Blocklists, Blocklists{Lists: []string{"bl.example.org", "bl.spamcop.net"}, Watch: []netip.Addr{ip("192.0.2.25"), ip("2001:db8::25"), ip("198.51.100.25")}, Every: 30 * time.Minute})
	if !c.Blocklists.Watches() {
		t.Error("nothing is watched")
	}
	c, err = Parse("c.toml", []byte("[[domain]]\nname = \"example.com\"\nrelay = \"smtp://h\"\n"))
	if err != nil {
		t.Fatal(err)
	}
	same(t, "defaults", c.Blocklists, Blocklists{Lists: DefaultBlocklists(), Every: time.Hour})
	if c.Blocklists.Watches() {
		t.Error("something is watched that nobody named")
	}
}

func TestZoneLength(t *testing.T) {
	label := strings.Repeat("a", 60)
	long := strings.Join([]string{label, label, label, "abcdef"}, ".")
	if _, err := ParseZone(long); len(long) != 189 || err != nil {
		t.Errorf("%d characters: %v", len(long), err)
	}
	if _, err := ParseZone(long + "g"); err == nil {
		t.Error("a zone before which no IPv6 address fits is taken")
	}
}
