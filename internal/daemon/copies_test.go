package daemon_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"backstop/internal/daemon"
	"backstop/internal/mailtest"
)

// TestRefusedReloadLeavesCopies: what a configuration that is not taken would do with a copy it does not do.
func TestRefusedReloadLeavesCopies(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{})
	p := newPeople(t, "alice@example.com", "bob@example.com")
	head := "state = \"" + t.TempDir() + "\"\n" + p.copied("")
	text := head + relayTo("smtp://"+m.Addr(), "", `recipients = ["people"]`)
	g := start(t, text)
	pulledNow(t, g)
	// Right but for a listener that cannot be had, and with an alias, which makes the copy another.
	refused := parse(t, head+relayTo("smtp://"+m.Addr(), `listen = ["192.0.2.1:25"]`, "recipients = [\"people\"]\naliases = [\"alias.example\"]"))
	if err := g.Reload(refused); err == nil {
		t.Fatal("taken")
	}
	pulledNow(t, g) // nothing has changed, so nothing is written
	if err := os.Rename(p.path, p.path+".away"); err != nil {
		t.Fatal(err)
	}
	if err := g.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	k := open(t, start(t, text).addr)
	rcpt(t, k, "alice@example.com", "250")
	rcpt(t, k, "nobody@example.com", missing)
}

// TestSecondDaemonLeavesCopies: one that is started by mistake fails, and the files are as they were.
func TestSecondDaemonLeavesCopies(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{})
	p := newPeople(t, "alice@example.com")
	state := t.TempDir()
	head := "state = \"" + state + "\"\n" + p.copied("")
	pulledNow(t, start(t, head+relayTo("smtp://"+m.Addr(), "", `recipients = ["people"]`)))
	before := contents(t, filepath.Join(state, "sources"))
	second, err := daemon.New(parse(t, head+relayTo("smtp://"+m.Addr(), "", "recipients = [\"people\"]\naliases = [\"x.example\"]")), daemon.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Start(t.Context()); err == nil {
		t.Error("two of them run in one folder")
	}
	if err := second.Stop(context.Background()); err != nil {
		t.Error(err)
	}
	after := contents(t, filepath.Join(state, "sources"))
	for name, text := range before {
		if after[name] != text {
			t.Errorf("%s is another", name)
		}
	}
	if len(before) == 0 || len(before) != len(after) {
		t.Errorf("%d files, and then %d", len(before), len(after))
	}
}

// contents are those of the files of a folder, by name.
func contents(t *testing.T, folder string) map[string]string {
	t.Helper()
	all := map[string]string{}
	files, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join(folder, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all[f.Name()] = string(b)
	}
	return all
}
