package daemon_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"backstop/internal/config"
	"backstop/internal/daemon"
	"backstop/internal/mailtest"
	"backstop/internal/mailtest/rig"
)

// syncBuffer is a log that a test may read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// gateway is a running Backstop.
type gateway struct {
	*daemon.Daemon
	addr string
	log  *syncBuffer
}

// start runs a gateway with the configuration, which needs no hostname, state or listener.
func start(t testing.TB, text string) *gateway {
	t.Helper()
	return startAt(t, text, nil)
}

// startAt is start with a clock of the test's own.
func startAt(t testing.TB, text string, now func() time.Time) *gateway {
	t.Helper()
	cfg := parse(t, text)
	g := &gateway{log: &syncBuffer{}}
	d, err := daemon.New(cfg, daemon.Options{LogTo: g.log, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	g.Daemon = d
	if err := d.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	if smtp := d.Addrs()["smtp"]; len(smtp) > 0 { // beside an MTA there is none
		g.addr = smtp[0].String()
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := d.Stop(ctx); err != nil {
			t.Errorf("stop: %v", err)
		}
		if t.Failed() {
			t.Logf("log of the gateway:\n%s", g.log)
		}
	})
	return g
}

func parse(t testing.TB, text string) *config.Config {
	t.Helper()
	_, door, _ := strings.Cut(text, "[smtp]") // and not another section, such as [outbound]
	if door, _, _ = strings.Cut(door, "\n["); !strings.Contains(door, "listen =") {
		text = strings.Replace(text, "[smtp]", "[smtp]\nlisten = [\"127.0.0.1:0\"]", 1)
	}
	if !strings.Contains(text, "state =") {
		text = "state = \"\"\n" + text
	}
	if !strings.Contains(text, "hostname =") {
		text = "hostname = \"mx.gateway.example\"\n" + text
	}
	if !strings.Contains(text, "[dns]") { // nobody listens there, and nothing outside is asked
		text += "\n[dns]\nresolvers = [\"127.255.255.254\"]\n"
	}
	file := filepath.Join(t.TempDir(), "backstop.toml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(file)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return cfg
}

// frontOf makes the gateway before a peer, with more lines for its configuration.
func frontOf(smtp, domain string) rig.Front {
	return func(t testing.TB, p *rig.Peer) string {
		return start(t, "[smtp]\n"+smtp+"\n[[domain]]\nname = \"example.com\"\nrelay = \"smtp://"+p.Addr+"\"\n"+domain).addr
	}
}

func TestConversations(t *testing.T) {
	rig.PlayAll(t, rig.Dialogues(t, "conversation"), nil, frontOf("", ""))
}

func TestDownstreamRefuses(t *testing.T) {
	rig.PlayAll(t, rig.Dialogues(t, "downstream"), rig.Kinds()[:1], frontOf("", ""))
}

// TestDownstreamDies cuts the downstream's connection at every octet that it
// sends and receives: a 2xx to the sender always means a 2xx from the downstream.
func TestDownstreamDies(t *testing.T) {
	for _, d := range rig.Dialogues(t, "sweep") {
		t.Run(d.Name, func(t *testing.T) {
			rig.Sweep(t, d, mailtest.Script{Users: rig.Users()}, frontOf("", ""))
		})
	}
}

func TestSmuggling(t *testing.T) {
	rig.PlaySmuggling(t, nil, frontOf("", ""))
}
