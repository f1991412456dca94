package daemon_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"backstop/internal/daemon"
	"backstop/internal/mailtest"
)

// TestSyncFiles: a list and a map are read when somebody asks for it, whatever the system says of changes.
func TestSyncFiles(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{})
	dir := t.TempDir()
	list := mailtest.WriteFile(t, dir, "list", "alice\n")
	table := mailtest.WriteFile(t, dir, "map", "bob@example.com\tx\n")
	g := start(t, relayTo("smtp://"+m.Addr(), "", "aliases = [\"alias.example\"]\nrecipients = [\"list:"+list+"\", \"postmap:"+table+"\"]")+
		"\n[[domain]]\nname = \"example.org\"\nrelay = \"smtp://"+m.Addr()+"\"\nrecipients = [\"list:"+list+"\"]\n")
	refreshed := func(names ...string) map[string]daemon.SyncResult {
		t.Helper()
		rs, err := g.Sync(t.Context(), names, false)
		if err != nil {
			t.Fatal(err)
		}
		by := map[string]daemon.SyncResult{}
		for _, r := range rs {
			by[r.Source] = r
		}
		return by
	}
	for name, r := range refreshed() {
		if r.Changed || r.Entries != 1 || r.Error != "" {
			t.Errorf("%s: %+v", name, r)
		}
	}
	mailtest.WriteFile(t, dir, "list", "alice\ncarl\n")
	mailtest.WriteFile(t, dir, "map", "bob@example.com\tx\ndora@example.com\tx\n")
	rs := refreshed()
	if len(rs) != 2 || rs["list:"+list].Entries != 2 || rs["postmap:"+table].Entries != 2 {
		t.Errorf("%+v", rs)
	}
	k := open(t, g.addr)
	rcpt(t, k, "carl@example.com", "250")
	rcpt(t, k, "carl@example.org", "250")
	rcpt(t, k, "dora@example.com", "250")
	if err := os.Remove(list); err != nil {
		t.Fatal(err)
	}
	if r := refreshed("list:" + list)["list:"+list]; !strings.Contains(r.Error, filepath.Base(list)) || r.Entries != 2 {
		t.Errorf("gone: %+v", r)
	}
}
