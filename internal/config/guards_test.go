package config

import (
	"crypto/ed25519"
	"crypto/rsa"
	"net/netip"
	"testing"

	"backstop/internal/evidence"
	"backstop/internal/listen"
	"backstop/internal/mail"
)

// TestGuards loads a file that sets every key about who sent what.
func TestGuards(t *testing.T) {
	path := fixtures(t, "testdata/good/guards.toml")[0]
	surroundings(t)
	c, err := load(t, path)
	if err != nil {
		t.Fatal(err)
	}
	net, port := netip.MustParsePrefix, netip.MustParseAddrPort
	same(t, "dns", c.DNS.Resolvers, []netip.AddrPort{port("127.0.0.1:5353"), port("9.9.9.9:53"), port("[2001:db8::53]:53"), port("[2001:db8::53]:5353")})
	if c.Outbound == nil {
		t.Fatal("there is no [outbound]")
	}
	if c.Outbound.Password.Reveal() != "s3cret" {
		t.Error("the password was not read")
	}
	c.Outbound.Password = Secret{}
	same(t, "outbound", *c.Outbound, Outbound{
		Listen:   []listen.Spec{{Network: "tcp4", Address: "10.0.0.5:2526"}, {Network: "systemd", Address: "outbound"}},
		Clients:  []netip.Prefix{net("10.0.0.0/24"), net("fd00::/8"), net("192.0.2.7/32")},
		Relay:    mustRelay(t, "smtp://smarthost.example.org:587?tls=require"),
		Username: "backstop",
	})
	same(t, "srs", c.SRS, SRS{File: "postsrsd.secret", Secrets: [][]byte{[]byte("geheim"), []byte("an older geheim one")}, Domains: []string{"example.net"}})
	d := c.Domains[0]
	same(t, "senders", d.Senders, Senders{
		Networks: []netip.Prefix{net("192.0.2.0/24"), net("2001:db8::1/128")},
		From:     []string{"marketing.example.com", "shop@example.net"}, Files: []string{"users"},
	})
	same(t, "exempt", d.Exempt, Exempt{From: []string{"lists.example.org"}, To: []string{"help@example.com", "tickets@"}})
	same(t, "the rest", []any{d.Forged, d.BounceTo}, []any{true, mustAddress(t, "postmaster@example.com")})
	for i, want := range []evidence.Guards{
		{SPF: evidence.CheckRefuse, DMARC: evidence.CheckOff, Bounces: evidence.JudgeEnforce, Tags: evidence.TagEnforce},
		{SPF: evidence.CheckOff, DMARC: evidence.CheckRefuse, Bounces: evidence.JudgeOff, Tags: evidence.TagSign},
		{SPF: evidence.CheckMark, DMARC: evidence.CheckMark, Bounces: evidence.JudgeWatch, Tags: evidence.TagWatch},
	} {
		same(t, c.Domains[i].Name, c.Domains[i].Guards, want)
	}
	guardsKeys(t, c)
}

func guardsKeys(t *testing.T, c *Config) {
	first, second := c.Domains[0].DKIM[0], c.Domains[0].DKIM[1]
	same(t, "keys", []any{first.Selector, first.File, first.Sign, second.Selector, second.File, second.Sign, len(c.Domains[1].DKIM), c.Domains[2].DKIM[0].Sign},
		[]any{"s1", "rsa2048.pem", true, "2025.mail", "ed25519.pem", false, 0, true})
	if _, ok := first.Key.Public().(*rsa.PublicKey); !ok {
		t.Errorf("the first key is %T", first.Key)
	}
	if _, ok := second.Key.Public().(ed25519.PublicKey); !ok {
		t.Errorf("the second key is %T", second.Key)
	}
}

// TestGuardsByDefault: who sets nothing gets what hurts nobody.
func TestGuardsByDefault(t *testing.T) {
	surroundings(t)
	c := mustParse(t, "[srs]\nsecret_file = \"postsrsd.one\"\n[[domain]]\nname = \"example.com\"\naliases = [\"example.net\"]\nrelay = \"smtp://h\"\n[[domain]]\nname = \"example.org\"\nrelay = \"smtp://h\"\n")
	d := c.Domains[0]
	same(t, "guards", []any{d.Guards, d.Forged, d.BounceTo, len(d.DKIM), c.Outbound == nil, len(c.DNS.Resolvers), len(c.Warnings)},
		[]any{evidence.Guards{SPF: evidence.CheckMark, DMARC: evidence.CheckMark, Bounces: evidence.JudgeWatch}, false, mail.Address{}, 0, true, 0, 0})
	same(t, "domains of srs", c.SRS.Domains, []string{"example.com", "example.net", "example.org"})
}

// TestOverlap: two listeners overlap exactly when Linux cannot open both.
func TestOverlap(t *testing.T) {
	tests := []struct {
		a, b string
		want bool
	}{
		{":25", "10.0.0.1:25", true},
		{":25", "[2001:db8::1]:25", true},
		{":25", "0.0.0.0:25", true},
		{"0.0.0.0:25", "10.0.0.1:25", true},
		{"0.0.0.0:25", "[::1]:25", false},
		{"0.0.0.0:25", "[::]:25", false},
		{"[::]:25", "[::1]:25", true},
		{"10.0.0.1:25", "10.0.0.2:25", false},
		{"10.0.0.1:25", "10.0.0.1:25", true},
		{"0.0.0.0:25", "localhost:25", true},
		{":25", ":26", false},
		{":0", ":0", false},
		{"unix:/a", "unix:/a?mode=0600", true},
		{"unix:/a", "unix:/b", false},
		{"unix:/a", ":25", false},
		{"systemd:a", "systemd:a", true},
		{"systemd:a", "systemd:b", false},
	}
	for _, tt := range tests {
		a, errA := listen.Parse(tt.a)
		b, errB := listen.Parse(tt.b)
		if errA != nil || errB != nil {
			t.Fatal(errA, errB)
		}
		if overlap(a, b) != tt.want || overlap(b, a) != tt.want {
			t.Errorf("%s and %s: %v and %v, want %v", tt.a, tt.b, overlap(a, b), overlap(b, a), tt.want)
		}
	}
	if overlap(listen.Spec{}, listen.Spec{Network: "tcp", Address: ":25"}) {
		t.Error("no listener overlaps")
	}
}
