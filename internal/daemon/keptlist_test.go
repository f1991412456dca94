package daemon_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"backstop/internal/mailtest"
)

// TestKeptList: what a list was compiled into is in the state folder at the next start, is not used when it
// is damaged, and goes when the list is no longer configured.
func TestKeptList(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{})
	state := t.TempDir()
	file := mailtest.WriteFile(t, t.TempDir(), "list", "alice\nbob@other.example\n")
	with := func(recipients string) string {
		return "state = \"" + state + "\"\n" + relayTo("smtp://"+m.Addr(), "", "aliases = [\"other.example\"]\n"+recipients)
	}
	later := func() time.Time { return time.Now().Add(time.Hour) } // by this clock the text has settled
	kept := func() []string {
		files, err := filepath.Glob(filepath.Join(state, "lists", "*.recipients"))
		if err != nil {
			t.Fatal(err)
		}
		return files
	}
	round := func(recipients string) *gateway {
		t.Helper()
		g := startAt(t, with(recipients), later)
		if recipients != "" {
			k := open(t, g.addr)
			rcpt(t, k, "bob@example.com", "250")
			rcpt(t, k, "alice@other.example", "250")
			rcpt(t, k, "ghost@example.com", missing)
		}
		return g
	}
	stop := func(g *gateway) {
		t.Helper()
		if err := g.Stop(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	listed := `recipients = ["list:` + file + `"]`
	g := round(listed)
	eventually(t, "the list is kept", func() bool { return len(kept()) == 1 })
	stop(g)
	g = round(listed)
	stop(g)
	if strings.Contains(g.log.String(), "cannot be") {
		t.Errorf("the second start complains: %s", g.log)
	}
	if err := os.Truncate(kept()[0], 300); err != nil {
		t.Fatal(err)
	}
	g = round(listed)
	g.logged(t, `"level":"WARN"`, "what was kept of a list cannot be used")
	stop(g)
	stop(round(""))
	if left := kept(); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}
