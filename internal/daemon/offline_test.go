package daemon_test

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"backstop/internal/daemon"
	"backstop/internal/mail"
	"backstop/internal/mailtest"
)

// filesOf lists what is below a folder, with the times at which it was last written.
func filesOf(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err == nil {
			fmt.Fprintln(&b, path, info.Size(), info.ModTime().UnixNano())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestOfflineWritesNothing: what root makes in the state folder, when he only looks, the daemon's user could
// not open at its next start.
func TestOfflineWritesNothing(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{})
	p := newPeople(t, "alice@example.com")
	list := mailtest.WriteFile(t, t.TempDir(), "list", "carl\n")
	state := t.TempDir()
	text := "state = \"" + state + "\"\n" + p.live("") + strings.ReplaceAll(p.copied(""), "people]", "copy]") +
		relayTo("smtp://"+m.Addr(), "", `recipients = ["list:`+list+`", "copy", "people", "callahead"]`)
	look := func(no bool) daemon.LookupResult {
		t.Helper()
		before := filesOf(t, state)
		d, err := daemon.New(parse(t, text), daemon.Options{Offline: true})
		if err != nil {
			t.Fatal(err)
		}
		alice, err := mail.ParseAddress("alice@example.com")
		if err != nil {
			t.Fatal(err)
		}
		res, err := d.Lookup(t.Context(), alice, daemon.LookupOptions{NoAsk: no})
		if err != nil {
			t.Fatal(err)
		}
		if !no {
			d.Probe(t.Context())
			// The error is about the sources that have no list.
			_ = d.Recipients(t.Context(), daemon.RecipientsQuery{Remembered: true}, func(mail.Address) error { return nil })
		}
		if err := d.Stop(context.Background()); err != nil {
			t.Error(err)
		}
		if after := filesOf(t, state); after != before {
			t.Errorf("the state folder was\n%sand is\n%s", before, after)
		}
		return res
	}
	if res := look(false); res.Standing != "exists" {
		t.Errorf("%+v", res)
	}
	if res := look(true); res.Standing != "unavailable" {
		t.Errorf("what an offline question found out was kept: %+v", res)
	}
	if err := os.Remove(state); err != nil {
		t.Fatal(err)
	}
	if d, err := daemon.New(parse(t, text), daemon.Options{Offline: true}); err != nil {
		t.Error(err)
	} else if d.Stop(context.Background()); fileExists(state) {
		t.Error("the state folder was made")
	}
}

// TestOfflineReadsWhatIsKept: an answer that a daemon remembered is there for who looks after it.
func TestOfflineReadsWhatIsKept(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{})
	p := newPeople(t, "alice@example.com")
	state := t.TempDir()
	text := "state = \"" + state + "\"\n" + p.live("") + relayTo("smtp://"+m.Addr(), "", `recipients = ["people"]`)
	g := start(t, text)
	rcpt(t, open(t, g.addr), "alice@example.com", "250")
	if err := g.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := filesOf(t, state)
	d, err := daemon.New(parse(t, text), daemon.Options{Offline: true})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Stop(context.Background())
	alice, err := mail.ParseAddress("alice@example.com")
	if err != nil {
		t.Fatal(err)
	}
	res, err := d.Lookup(t.Context(), alice, daemon.LookupOptions{NoAsk: true})
	if err != nil || res.Standing != "exists" || !res.Trail[0].Cached {
		t.Errorf("%+v, %v", res, err)
	}
	if after := filesOf(t, state); after != before {
		t.Errorf("the state folder was\n%sand is\n%s", before, after)
	}
}

func fileExists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
