package daemon_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"backstop/internal/daemon"
)

// logged is the last line of the gateway's log with that message.
func logged(t testing.TB, g *gateway, msg string) (line struct {
	Msg                    string
	Listen, Opened, Closed []string
}) {
	t.Helper()
	eventually(t, msg, func() bool {
		for text := range strings.Lines(g.log.String()) {
			l := line
			l.Listen, l.Opened, l.Closed = nil, nil, nil
			if err := json.Unmarshal([]byte(text), &l); err == nil && l.Msg == msg {
				line = l
			}
		}
		return line.Msg == msg
	})
	return line
}

// TestStartNamesThePanel: beside Exim it is all that listens.
func TestStartNamesThePanel(t *testing.T) {
	g := start(t, besideMTA(t, "[smtp]\nlisten = []\n[panel]\nlisten = \"127.0.0.1:0\"\n", ""))
	if got, want := logged(t, g, "started").Listen, g.Addrs()["panel"][0].String(); !slices.Equal(got, []string{want}) {
		t.Errorf("it says that it listens on %v, and does on %s", got, want)
	}
}

// TestReloadNamesListeners: what was opened and closed stands in the line about the reload, the panel too.
func TestReloadNamesListeners(t *testing.T) {
	const milter, panel = "[milter]\nlisten = \"inet:127.0.0.1:0\"\n", "[panel]\nlisten = \"127.0.0.1:0\"\n"
	g := start(t, besideMTA(t, milter, ""))
	door := g.Addrs()["milter"][0].String()
	if err := g.Reload(parse(t, besideMTA(t, "[smtp]\nlisten = []\n"+panel, ""))); err != nil {
		t.Fatal(err)
	}
	now := g.Addrs()["panel"][0].String()
	if l := logged(t, g, "the configuration was reloaded"); !slices.Equal(l.Opened, []string{now}) || !slices.Equal(l.Closed, []string{door}) {
		t.Errorf("opened %v, closed %v; %s and %s are right", l.Opened, l.Closed, now, door)
	}
}

// TestSocketAdvice: what to do about a socket that cannot be had depends on the door.
func TestSocketAdvice(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	folder := filepath.Join(t.TempDir(), "spool")
	for section, want := range map[string]string{
		"[smtp]\nlisten = [\"" + taken.Addr().String() + "\"]\n":                            "name the gateway's own address in listen",
		"[milter]\nlisten = \"inet:" + taken.Addr().String() + "\"\n":                       "write another one into listen of [milter]",
		"[policy]\nlisten = \"" + taken.Addr().String() + "\"\n":                            "write another one into listen of [policy]",
		"[smtp]\nlisten = []\n[panel]\nlisten = \"" + taken.Addr().String() + "\"\n":        "write another one into listen of [panel]",
		"[socketmap]\nlisten = \"unix:" + filepath.Join(folder, "map.sock") + "\"\n":        "make the folder " + folder,
		"[smtp]\nlisten = []\n[panel]\nlisten = \"unix:" + folder + "/panel.sock\"\n":       "make the folder " + folder,
		"[milter]\nlisten = \"inet:198.51.100.77:0\"\n[policy]\nlisten = \"127.0.0.1:0\"\n": "shows the addresses of this machine",
	} {
		d, err := daemon.New(parse(t, besideMTA(t, section, "")), daemon.Options{})
		if err != nil {
			t.Fatal(err)
		}
		err = d.Start(context.Background())
		var advised interface{ Hint() string }
		if !errors.As(err, &advised) || !strings.Contains(advised.Hint(), want) {
			t.Errorf("%s: %v, with the advice %v; %q is right", section, err, advised, want)
		}
		if err := d.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	}
}
