package config

import (
	"strings"
	"testing"

	"backstop/internal/listen"
)

const oneDomain = "[[domain]]\nname = \"example.com\"\nrelay = \"smtp://store.example.com\"\n"

// TestSocketsAsTheMTAWritesThem: whoever copies a line need not know that ours has no inet: before it.
func TestSocketsAsTheMTAWritesThem(t *testing.T) {
	for text, want := range map[string]listen.Spec{
		"inet:127.0.0.1:8891":         {Network: "tcp4", Address: "127.0.0.1:8891"},
		"inet:8891@127.0.0.1":         {Network: "tcp4", Address: "127.0.0.1:8891"},
		"inet:8891@localhost":         {Network: "tcp4", Address: "localhost:8891"},
		"inet6:[::1]:8891":            {Network: "tcp6", Address: "[::1]:8891"},
		"inet6:8891@[::1]":            {Network: "tcp6", Address: "[::1]:8891"},
		"inet6:8891@localhost":        {Network: "tcp6", Address: "localhost:8891"},
		"127.0.0.1:8891":              {Network: "tcp4", Address: "127.0.0.1:8891"},
		"unix:/run/m.sock":            {Network: "unix", Address: "/run/m.sock", Mode: 0o660},
		"local:/run/m.sock?mode=0666": {Network: "unix", Address: "/run/m.sock", Mode: 0o666},
		"systemd:milter":              {Network: "systemd", Address: "milter"},
	} {
		for door, is := range map[string]func(*Config) listen.Spec{
			"milter":    func(c *Config) listen.Spec { return c.Milter.Listen },
			"policy":    func(c *Config) listen.Spec { return c.Policy.Listen },
			"socketmap": func(c *Config) listen.Spec { return c.Socketmap.Listen },
			"tcp_table": func(c *Config) listen.Spec { return c.TCPTable.Listen },
			"panel":     func(c *Config) listen.Spec { return c.Panel.Listen },
		} {
			c, err := Parse("x.toml", []byte("["+door+"]\nlisten = \""+text+"\"\n"+oneDomain))
			if err != nil {
				t.Errorf("[%s] %s: %v", door, text, err)
			} else if is(c) != want {
				t.Errorf("[%s] %s: is %#v, should be %#v", door, text, is(c), want)
			}
		}
	}
}

// TestBesideAnMTA: where a door beside an MTA is open, port 25 is the MTA's, unless it is written that it is ours.
func TestBesideAnMTA(t *testing.T) {
	for text, listeners := range map[string]int{
		"":                                       1,
		"[panel]\nlisten = \"127.0.0.1:8025\"\n": 1,
		"[milter]\nlisten = \"inet:127.0.0.1:8891\"\n":                         0,
		"[policy]\nlisten = \"127.0.0.1:10040\"\n":                             0,
		"[socketmap]\nlisten = \"127.0.0.1:10041\"\n":                          0,
		"[tcp_table]\nlisten = \"127.0.0.1:10042\"\n":                          0,
		"[smtp]\nlisten = []\n[policy]\nlisten = \"127.0.0.1:10040\"\n":        0,
		"[smtp]\nlisten = [\":25\"]\n[policy]\nlisten = \"127.0.0.1:10040\"\n": 1,
	} {
		c, err := Parse("x.toml", []byte(text+oneDomain))
		if err != nil {
			t.Errorf("%q: %v", text, err)
		} else if len(c.SMTP.Listen) != listeners {
			t.Errorf("%q: %d listeners for SMTP, %d are right", text, len(c.SMTP.Listen), listeners)
		}
	}
}

// TestNoRelay: who delivers nothing needs none.
func TestNoRelay(t *testing.T) {
	c, err := Parse("x.toml", []byte("[socketmap]\nlisten = \"127.0.0.1:10041\"\n[[domain]]\nname = \"example.com\"\nrecipients = [\"callahead:smtp://store.example.com\"]\n"))
	if err != nil || !c.Domains[0].Relay.IsZero() {
		t.Errorf("%v", err)
	}
}

// TestPanelAlone: who is asked by HTTP only, as beside Exim, leaves port 25 to it.
func TestPanelAlone(t *testing.T) {
	c, err := Parse("x.toml", []byte("[smtp]\nlisten = []\n[panel]\nlisten = \"127.0.0.1:8025\"\n[[domain]]\nname = \"example.com\"\nrecipients = [\"callahead:smtp://store.example.com\"]\n"))
	if err != nil || len(c.SMTP.Listen) > 0 {
		t.Errorf("%v", err)
	}
}

func TestOpenDoorsAreWarnedOf(t *testing.T) {
	c, err := Parse("x.toml", []byte("[policy]\nlisten = \":10040\"\n[socketmap]\nlisten = \"10.0.0.1:10041\"\n[milter]\ninternal = [\"::/0\"]\n"+oneDomain))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, w := range c.Warnings {
		all = append(all, w.Message)
	}
	said := strings.Join(all, "\n")
	if strings.Count(said, "nobody logs in") != 1 || !strings.Contains(said, "is everybody") {
		t.Errorf("the warnings are:\n%s", said)
	}
}
