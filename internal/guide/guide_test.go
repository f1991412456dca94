package guide

import (
	"os"
	"slices"
	"strings"
	"testing"

	"backstop/internal/config"
)

func parse(t *testing.T, text string) *config.Config {
	t.Helper()
	c, err := config.Parse("backstop.toml", []byte(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return c
}

func made(t *testing.T, product string, p Place) Guide {
	t.Helper()
	g, err := For(product, p)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// behind are the products that stand behind Backstop.
func behind() []string { return Products()[len(Beside()):] }

// TestReadmeSaysTheSame holds the guides of the README against these.
func TestReadmeSaysTheSame(t *testing.T) {
	b, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, product := range behind() {
		g := made(t, product, Place{})
		for _, s := range g.Steps {
			for _, c := range s.Commands {
				if !strings.Contains(string(b), strings.TrimSpace(c)) {
					t.Errorf("%s: the README has no %q", product, c)
				}
			}
		}
		if !strings.Contains(string(b), "```toml\n"+g.Config+"```") {
			t.Errorf("%s: the README has not this configuration:\n%s", product, g.Config)
		}
	}
}

// TestConfigIsGood reads each configuration that a guide gives, and holds its text to 80 columns.
func TestConfigIsGood(t *testing.T) {
	own := parse(t, `
state = ""
[[domain]]
name = "one.example"
aliases = ["alias.example"]
relay = "smtp://ex1.example?tls=require&client=xclient"
recipients = ["anybody"]
[[domain]]
name = "two.example"
relay = "smtp://ex2.example:26"
[[domain]]
name = "three.example"
relay = "smtp://ex1.example"
[[domain]]
name = "four.example"
relay = "lmtp://store.example:24"
`)
	for _, product := range behind() {
		for _, p := range []Place{{}, {Domain: "other.example"}, {Config: own, Gateway: "10.0.0.5"}, {Config: own, Domain: "alias.example"}} {
			g := made(t, product, p)
			c := parse(t, "state = \"\"\n"+g.Config)
			for i := range c.Domains {
				if n := len(c.Domains[i].Sources); n != 1 || c.Domains[i].Sources[0].Kind != config.SourceCallahead {
					t.Errorf("%s: %s has other sources than the server itself", product, c.Domains[i].Name)
				}
			}
			if g.Example != (p.Config == nil) || len(g.Domains) != len(c.Domains) {
				t.Errorf("%+v", g)
			}
			text := g.Text()
			for line := range strings.Lines(text) {
				if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > width {
					t.Errorf("%s: a line of %d characters: %s", product, n, line)
				}
			}
			if p.Gateway != "" && (strings.Contains(text, exampleGateway) || !strings.Contains(text, p.Gateway)) {
				t.Errorf("%s: the gateway's address is not in it", product)
			}
		}
	}
	g := made(t, "exchange", Place{Config: own})
	for _, want := range []string{
		"Set-AcceptedDomain alias.example", "smtp://ex1.example:2525?tls=require", "smtp://ex2.example:2525", "[source.exchange2]",
		"smtp://ex1.example:25?tls=require&client=xclient", `aliases    = ["alias.example"]`, "swaks --server ex2.example:2525",
	} {
		if !strings.Contains(g.Text(), want) {
			t.Errorf("not in the guide: %s\n%s", want, g.Text())
		}
	}
	if strings.Contains(g.Config, "smtp://ex2.example:2525?tls=require") {
		t.Error("the second host has the first one's TLS")
	}
	if slices.Contains(g.Domains, "four.example") {
		t.Error("a domain of another server is in it")
	}
}

func TestMistakes(t *testing.T) {
	own := parse(t, "state = \"\"\n[[domain]]\nname = \"one.example\"\nrelay = \"lmtp://store.example:24\"\n")
	for _, c := range []struct {
		product string
		p       Place
		want    string
	}{
		{"qmail", Place{}, `there is no guide for "qmail"; there are postfix, sendmail, exim, exchange, domino`},
		{"domino", Place{Door: "milter"}, "domino stands behind Backstop, and asks at no door"},
		{"exchange", Place{Config: own, Domain: "two.example"}, "two.example is not a domain of backstop.toml"},
		{"exchange", Place{Config: own, Domain: "one.example"}, "the relay of one.example is lmtp://store.example:24, and exchange is spoken to by SMTP"},
		{"domino", Place{Config: own}, "no domain of backstop.toml has a relay with smtp://"},
	} {
		if _, err := For(c.product, c.p); err == nil || err.Error() != c.want {
			t.Errorf("%v, want %s", err, c.want)
		}
	}
}
