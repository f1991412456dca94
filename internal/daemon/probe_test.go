package daemon_test

import (
	"strings"
	"testing"

	"backstop/internal/mailtest"
)

// TestProbeEachDomain: a source that is in order for one domain may be blind for another, and a
// downstream may deny another; anybody is what it was configured to be.
func TestProbeEachDomain(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{Users: []string{"postmaster@example.com", "postmaster@example.org"}})
	file := mailtest.WriteFile(t, t.TempDir(), "map", "postmaster@example.com x\n@example.org x\n")
	g := start(t, relayTo("smtp://"+m.Addr(), "", `recipients = ["postmap:`+file+`"]`)+
		"[[domain]]\nname = \"example.org\"\nrelay = \"smtp://"+m.Addr()+"\"\nrecipients = [\"postmap:"+file+"\"]\n"+
		"[[domain]]\nname = \"example.net\"\nrelay = \"smtp://"+m.Addr()+"\"\nrecipients = [\"anybody\"]\n")
	states := map[string]string{}
	for _, p := range g.Probe(t.Context()) {
		kind, _, _ := strings.Cut(p.Name, ":")
		states[kind] = p.State + " " + p.Detail
	}
	for kind, want := range map[string]string{
		"postmap": "blind ", "anybody": "up everybody exists, as configured", "smtp": "up it answers, and does not take postmaster@example.net",
	} {
		if !strings.HasPrefix(states[kind], want) {
			t.Errorf("%s: %q, want %q", kind, states[kind], want)
		}
	}
}

// TestProbeWrongColumn: a listing of something else than addresses is no directory.
func TestProbeWrongColumn(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{})
	p := newPeople(t, "alice@example.com")
	text := p.copied("") + relayTo("smtp://"+m.Addr(), "", `recipients = ["people"]`)
	for query, want := range map[string]string{"SELECT email FROM people": "up", "SELECT 'active' FROM people": "down"} {
		g := start(t, strings.Replace(text, "SELECT email FROM people", query, 1))
		for _, probed := range g.Probe(t.Context()) {
			if probed.Name == "people" && probed.State != want {
				t.Errorf("%s: %+v", query, probed)
			}
		}
	}
}
