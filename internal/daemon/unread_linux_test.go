package daemon_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"backstop/internal/daemon"
	"backstop/internal/mail"
	"backstop/internal/mailtest"
)

// asNobody runs f without root's right to read everything.
func asNobody(t *testing.T, f func()) {
	if os.Geteuid() == 0 {
		runtime.LockOSThread() // the right is a thread's
		defer runtime.UnlockOSThread()
		if err := syscall.Setfsuid(65534); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := syscall.Setfsuid(0); err != nil {
				t.Error(err)
			}
		}()
	}
	f()
}

// TestUnread: who may not look into the state folder is told so, and what stands in it is not taken for absent.
func TestUnread(t *testing.T) {
	near := mailtest.NewMock(t, mailtest.Script{})
	state := t.TempDir()
	text := fmt.Sprintf("state = %q\n", state) + relayTo("smtp://"+near.Addr(), `listen = ["127.0.0.1:0"]`, "recipients = [\"anybody\"]\nbounces = \"enforce\"") +
		"[outbound]\nlisten = [\"127.0.0.1:0\"]\nclients = [\"127.0.0.0/8\"]\nrelay = \"smtp://" + near.Addr() + "\"\n"
	cfg := parse(t, text)
	explain := func() (unread string, res daemon.ExplainResult) {
		t.Helper()
		d, err := daemon.New(cfg, daemon.Options{Offline: true})
		if err != nil {
			t.Fatal(err)
		}
		to, err := mail.ParseAddress("alice@example.com")
		if err != nil {
			t.Fatal(err)
		}
		res, err = d.Explain(t.Context(), daemon.ExplainRequest{
			Client: netip.MustParseAddr("192.0.2.7"), Helo: "x.example", To: []mail.Address{to}, NoAsk: true,
			Message: []byte("From: MAILER-DAEMON@x.example\r\nSubject: Undelivered Mail Returned to Sender\r\nIn-Reply-To: <1@example.com>\r\n\r\n  Message-ID: <1@example.com>\r\n"),
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Stop(context.Background()); err != nil {
			t.Error(err)
		}
		return strings.Join(d.Unread(), "\n"), res
	}
	if unread, res := explain(); unread != "" || res.Verdict != "refuse" {
		t.Errorf("a folder with nothing in it: %q, %s", unread, res.Verdict)
	}
	stop(t, start(t, text))
	if unread, res := explain(); unread != "" || res.Verdict != "refuse" {
		t.Errorf("a daemon's folder: %q, %s", unread, res.Verdict)
	}
	if err := os.Chmod(filepath.Join(state, "keys.json"), 0); err != nil {
		t.Fatal(err)
	}
	asNobody(t, func() {
		if unread, _ := explain(); !strings.Contains(unread, "keys of tags and seals cannot be read") {
			t.Errorf("not root: %q", unread)
		}
	})
	if err := os.WriteFile(filepath.Join(state, "backstop.db"), []byte(strings.Repeat("no database", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	if unread, res := explain(); !strings.Contains(unread, "what the daemon remembers cannot be read") || res.Verdict != "defer" {
		t.Errorf("damaged: %q, %s: %s", unread, res.Verdict, res.Reply)
	}
}
