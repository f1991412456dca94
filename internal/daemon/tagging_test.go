package daemon_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"backstop/internal/daemon"
	"backstop/internal/keyfile"
	"backstop/internal/mailtest"
)

const day = 24 * time.Hour

// tagger is a gateway's configuration in whose state folder it is written down since when example.com is tagged.
type tagger struct {
	state string
	near  *mailtest.Mock
	c     *clock
}

func newTagger(t *testing.T) *tagger {
	return &tagger{t.TempDir(), mailtest.NewMock(t, mailtest.Script{}), newClock()}
}

// config has outbound as the value of listen in [outbound]; "" leaves that section out.
func (g *tagger) config(batv, outbound string) string {
	text := fmt.Sprintf("state = %q\n[smtp]\nlisten = [\"127.0.0.1:0\"]\n[[domain]]\nname = \"example.com\"\nrelay = \"smtp://%s\"\nbounces = \"watch\"\nbatv = %q\n", g.state, g.near.Addr(), batv)
	if outbound != "" {
		text += fmt.Sprintf("[outbound]\nlisten = [%q]\nclients = [\"127.0.0.0/8\"]\nrelay = \"smtp://%s\"\n", outbound, g.near.Addr())
	}
	return text
}

func (g *tagger) start(t *testing.T) *gateway {
	t.Helper()
	return startAt(t, g.config("enforce", "127.0.0.1:0"), g.c.Now)
}

// since is when example.com began to be tagged, counted from the start of the test.
func since(t *testing.T, g *gateway, start time.Time) string {
	t.Helper()
	tags := g.Status().Tags
	if len(tags) != 1 || tags[0].Domain != "example.com" {
		t.Fatalf("%+v", tags)
	}
	if tags[0].Since.IsZero() {
		return "never"
	}
	return fmt.Sprint(tags[0].Since.Sub(start).Round(time.Minute))
}

// TestStateIsOneDaemons: a second daemon of the same folder changes nothing there, and says why it does not start.
func TestStateIsOneDaemons(t *testing.T) {
	w := newTagger(t)
	start := w.c.Now()
	g := w.start(t)
	w.c.forward(9 * day)
	_, err := daemon.New(parse(t, w.config("off", "127.0.0.1:0")), daemon.Options{Now: w.c.Now})
	var h interface{ Hint() string }
	if err == nil || !strings.Contains(err.Error(), "another backstop uses the state folder "+w.state) || !errors.As(err, &h) || h.Hint() == "" {
		t.Fatalf("%v", err)
	}
	stop(t, g)
	g = w.start(t)
	if got := since(t, g, start); got != "0s" {
		t.Errorf("tagged since %s", got)
	}
	if got := g.Engine().Spool; got != w.state {
		t.Errorf("long messages are kept in %q", got)
	}
}

// TestFailedChangeLeavesTheMoments: a configuration that does not come into force begins and ends nothing, and makes no key.
func TestFailedChangeLeavesTheMoments(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	w := newTagger(t)
	start := w.c.Now()
	d, err := daemon.New(parse(t, w.config("enforce", taken.Addr().String())), daemon.Options{Now: w.c.Now})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Start(t.Context()); err == nil {
		t.Error("it started")
	}
	if err := d.Stop(context.Background()); err != nil {
		t.Error(err)
	}
	if fileExists(filepath.Join(w.state, keyfile.Name)) {
		t.Error("a start that failed made a key")
	}
	w.c.forward(20 * day)
	g := startAt(t, w.config("off", ""), w.c.Now)
	if err := g.Reload(parse(t, w.config("enforce", taken.Addr().String()))); err == nil {
		t.Error("it was reloaded")
	}
	if fileExists(filepath.Join(w.state, keyfile.Name)) {
		t.Error("a reload that failed made a key")
	}
	w.c.forward(20 * day)
	if err := g.Reload(parse(t, w.config("enforce", "127.0.0.1:0"))); err != nil {
		t.Fatal(err)
	}
	if got := since(t, g, start); got != "960h0m0s" {
		t.Errorf("tagged since %s", got)
	}
	w.c.forward(day)
	for _, text := range []string{w.config("off", taken.Addr().String()), strings.Replace(w.config("enforce", taken.Addr().String()), "name = \"example.com\"", "name = \"example.org\"", 1)} {
		if err := g.Reload(parse(t, text)); err == nil {
			t.Error("it was reloaded")
		}
	}
	stop(t, g)
	if got := since(t, w.start(t), start); got != "960h0m0s" {
		t.Errorf("a reload that failed ended the moment: tagged since %s", got)
	}
}

// TestTagsBeginAnew: time in which nothing was tagged does not count.
func TestTagsBeginAnew(t *testing.T) {
	for _, tt := range []struct{ what, between string }{
		{"batv off", "off"}, {"another domain", "org"}, {"no outbound", "in"},
	} {
		t.Run(tt.what, func(t *testing.T) {
			w := newTagger(t)
			start := w.c.Now()
			g := w.start(t)
			w.c.forward(10 * day)
			between := map[string]string{
				"off": w.config("off", "127.0.0.1:0"), "in": w.config("enforce", ""),
				"org": strings.Replace(w.config("enforce", "127.0.0.1:0"), "\"example.com\"", "\"example.org\"", 1),
			}[tt.between]
			if err := g.Reload(parse(t, between)); err != nil {
				t.Fatal(err)
			}
			if tt.between == "in" {
				if got := since(t, g, start); got != "never" {
					t.Errorf("without [outbound] tagged since %s", got)
				}
			}
			w.c.forward(10 * day)
			if err := g.Reload(parse(t, w.config("enforce", "127.0.0.1:0"))); err != nil {
				t.Fatal(err)
			}
			if got := since(t, g, start); got != "480h0m0s" {
				t.Errorf("tagged since %s", got)
			}
		})
	}
}

// TestAnotherSignerTags: without [outbound] tags can be missed where a key was imported to verify with only.
func TestAnotherSignerTags(t *testing.T) {
	w := newTagger(t)
	start := w.c.Now().Truncate(time.Second)
	keys, err := keyfile.Open(w.state, keyfile.Options{NoEvents: true})
	if err != nil {
		t.Fatal(err)
	}
	defer keys.Close()
	w.c.forward(time.Hour)
	if _, err := keys.Import(0, []byte("of another signer"), true, w.c.Now()); err != nil {
		t.Fatal(err)
	}
	g := startAt(t, w.config("enforce", ""), w.c.Now)
	if got := since(t, g, start); got != "1h0m0s" {
		t.Errorf("tagged since %s", got)
	}
}

// TestLostKeys: with keys.json gone the tags under way are nobody's, so nothing is refused for them, and it is told.
func TestLostKeys(t *testing.T) {
	w := newTagger(t)
	start := w.c.Now()
	g := w.start(t)
	w.c.forward(9 * day)
	null := "MAIL FROM:<>"
	forged := "RCPT TO:<prvs=1999000000=alice@example.com>"
	say(t, open(t, g.addr), null, "250", forged, "550 5.")
	stop(t, g)
	if err := os.Remove(filepath.Join(w.state, keyfile.Name)); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second start finds new keys, and still tells
		g = w.start(t)
		if got := since(t, g, start); got != "216h0m0s" {
			t.Errorf("tagged since %s", got)
		}
		say(t, open(t, g.addr), null, "250", forged, "250")
		if wrong := strings.Join(g.Status().Wrong, "\n"); !strings.Contains(wrong, "the keys of tags and seals were gone") {
			t.Errorf("wrong: %s", wrong)
		}
		stop(t, g)
	}
	w.c.forward(9 * day)
	g = w.start(t)
	say(t, open(t, g.addr), null, "250", forged, "550 5.")
	if wrong := strings.Join(g.Status().Wrong, "\n"); strings.Contains(wrong, "keys") {
		t.Errorf("wrong after nine days: %s", wrong)
	}
}

// TestKeysLostWhileRunning is TestLostKeys for a file that is removed under the daemon, which is told at a reload.
func TestKeysLostWhileRunning(t *testing.T) {
	w := newTagger(t)
	start := w.c.Now()
	g := w.start(t)
	w.c.forward(9 * day)
	if err := os.Remove(filepath.Join(w.state, keyfile.Name)); err != nil {
		t.Fatal(err)
	}
	g.logged(t, `"level":"ERROR"`, keyfile.Name)
	if err := g.Reload(parse(t, w.config("enforce", "127.0.0.1:0"))); err != nil {
		t.Fatal(err)
	}
	g.logged(t, `"level":"ERROR"`, "the keys of tags and seals are gone")
	if got := since(t, g, start); got != "216h0m0s" {
		t.Errorf("tagged since %s", got)
	}
}

// TestClockNotSet: what was begun with a clock at 1970, or ahead of the time, is not believed once it is right.
func TestClockNotSet(t *testing.T) {
	for _, off := range []time.Duration{-55 * 365 * day, 400 * day} {
		t.Run(off.String(), func(t *testing.T) {
			w := newTagger(t)
			start := w.c.Now()
			w.c.forward(off)
			stop(t, w.start(t))
			w.c.forward(-off)
			if off > 0 { // the key of then does not sign yet
				if err := os.Remove(filepath.Join(w.state, keyfile.Name)); err != nil {
					t.Fatal(err)
				}
			}
			g := w.start(t)
			if got := since(t, g, start); got != "0s" {
				t.Errorf("tagged since %s", got)
			}
		})
	}
}

// TestReloadAddsOutbound: keys in memory come into being while others look at them.
func TestReloadAddsOutbound(t *testing.T) {
	w := newTagger(t)
	w.state = ""
	g := startAt(t, w.config("off", ""), nil)
	done := make(chan struct{})
	var looking sync.WaitGroup
	looking.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				g.Status()
			}
		}
	})
	for range 3 {
		if err := g.Reload(parse(t, w.config("sign", "127.0.0.1:0"))); err != nil {
			t.Error(err)
		}
		if err := g.Reload(parse(t, w.config("off", ""))); err != nil {
			t.Error(err)
		}
	}
	close(done)
	looking.Wait()
	if k := g.Status().Keys; k == nil || k.Keys != 1 {
		t.Errorf("%+v", k)
	}
}
