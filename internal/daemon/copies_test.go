package daemon_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
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
	if _, err := daemon.New(parse(t, head+relayTo("smtp://"+m.Addr(), "", "recipients = [\"people\"]\naliases = [\"x.example\"]")), daemon.Options{}); err == nil {
		t.Error("two of them run in one folder")
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

// TestProbeOfCopies: `check --ask` asks where the copy would be pulled from, and the sources behind it.
func TestProbeOfCopies(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{})
	p := newPeople(t, "alice@example.com")
	list := mailtest.WriteFile(t, t.TempDir(), "list", "bob\n")
	d, err := daemon.New(parse(t, "state = \""+t.TempDir()+"\"\n"+p.copied("")+relayTo("smtp://"+m.Addr(), "", `recipients = ["people", "list:`+list+`"]`)), daemon.Options{Offline: true})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Stop(context.Background())
	probed := func(want, detail string) {
		t.Helper()
		got := map[string]daemon.Probed{}
		for _, r := range d.Probe(t.Context()) {
			got[r.Name] = r
		}
		if r := got["people"]; r.State != want || !strings.Contains(r.Detail, detail) {
			t.Errorf("%+v, want %s, %s", r, want, detail)
		}
		if r := got["list:"+list]; r.State != "up" {
			t.Errorf("the list behind it: %+v", got)
		}
	}
	probed("up", "can be pulled")
	p.drop("alice@example.com")
	probed("down", "no address at all")
	p.do("DROP TABLE people")
	probed("down", "people")
}

// TestOneErrorForAnOutage: the plug and its copy do not both complain.
func TestOneErrorForAnOutage(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{})
	p := newPeople(t, "alice@example.com")
	g := start(t, p.copied("")+relayTo("smtp://"+m.Addr(), "", `recipients = ["people"]`))
	pulledNow(t, g)
	if err := os.Rename(p.path, p.path+".away"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if r := pulledNow(t, g); r.Error == "" {
			t.Errorf("pulled from nowhere: %+v", r)
		}
	}
	g.logged(t, "its copy goes on")
	if n := strings.Count(g.log.String(), `"level":"ERROR"`); n != 1 {
		t.Errorf("%d lines:\n%s", n, g.log.String())
	}
}
