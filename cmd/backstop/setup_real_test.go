package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"backstop/internal/config"
	"backstop/internal/daemon"
	"backstop/internal/guide"
	"backstop/internal/mailtest"
	"backstop/internal/mailtest/rig"
)

// TestSetupWithRealServers pastes what `setup` prints into real servers, and asks `setup --verify` whether it works: while
// Backstop answers, for a stranger and for one of their own, in watch mode, and when Backstop is away.
func TestSetupWithRealServers(t *testing.T) {
	for _, w := range []struct{ product, door, inside string }{ // what one of their own is told
		{"postfix", "milter", "refuses"}, {"postfix", "policy", "accepts"}, {"postfix", "socketmap", "refuses"}, {"postfix", "tcp_table", "refuses"},
		{"sendmail", "milter", "refuses"}, {"exim", "panel", "accepts"},
	} {
		t.Run(w.product+" "+w.door, func(t *testing.T) {
			t.Parallel()
			p := newPlugged(t, w.product, w.door)
			p.verify(rig.Outside, 0, "refuses", true)
			p.verify(rig.Inside, map[string]int{"accepts": 1, "refuses": 0}[w.inside], w.inside, w.inside == "refuses")
			p.watch()
			p.verify(rig.Outside, 0, "watching", true)
			p.stop()
			if w.door == "tcp_table" {
				return // Postfix tries for ten seconds before it says so
			}
			if r := p.ask(rig.Outside, 1); r.Outcome != "away" || r.Asked != nil {
				t.Errorf("Backstop is away: %+v", r)
			}
		})
	}
}

// plugged is a daemon, and a server that asks it.
type plugged struct {
	t             *testing.T
	product, door string
	file, text    string // as it was configured, and
	found         string // with the ports that there were
	d             *daemon.Daemon
	server        *rig.Beside
	stopped       bool
}

func newPlugged(t *testing.T, product, door string) *plugged {
	dir := t.TempDir()
	mailtest.WriteFile(t, dir, "users", strings.Join(rig.Users(), "\n")+"\n")
	p := &plugged{t: t, product: product, door: door, text: fmt.Sprintf(`state = %q
[smtp]
listen = []
[milter]
listen = "inet:127.0.0.1:0"
internal = [%q]
[policy]
listen = "127.0.0.1:0"
[socketmap]
listen = "127.0.0.1:0"
[tcp_table]
listen = "127.0.0.1:0"
[panel]
listen = "127.0.0.1:0"
[[domain]]
name = %q
recipients = ["list:%s/users"]
`, dir+"/state", rig.Inside, rig.Domain, dir)}
	p.d = p.start()
	p.found = p.text
	for _, section := range []string{"milter", "policy", "socketmap", "tcp_table", "panel"} {
		head, tail, _ := strings.Cut(p.found, "["+section+"]")
		p.found = head + "[" + section + "]" + strings.Replace(tail, "127.0.0.1:0", p.d.Addrs()[section][0].String(), 1)
	}
	p.file = mailtest.WriteFile(t, dir, "c.toml", p.found)
	code, out, stderr := run(t, "setup", product, "--config", p.file, "--door", door, "--json")
	var g guide.Guide
	if err := json.Unmarshal([]byte(out), &g); err != nil || code != 0 {
		t.Fatalf("exit %d, %v: %s", code, err, stderr)
	}
	var lines rig.Pasted
	for _, s := range g.Steps {
		if s.File != "" {
			lines.Add(t, s.File, s.Lines...)
		}
	}
	p.server = rig.OpenBeside(t, product, lines)
	return p
}

func (p *plugged) start() *daemon.Daemon {
	p.t.Helper()
	d, err := daemon.New(p.parse(p.text), daemon.Options{})
	if err != nil {
		p.t.Fatal(err)
	}
	if err := d.Start(p.t.Context()); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(p.stop)
	return d
}

func (p *plugged) parse(text string) *config.Config {
	p.t.Helper()
	cfg, err := config.Parse("c.toml", []byte(text))
	if err != nil {
		p.t.Fatal(err)
	}
	return cfg
}

func (p *plugged) stop() {
	if p.stopped {
		return
	}
	p.stopped = true
	ctx, cancel := context.WithTimeout(context.Background(), mailtest.Patience)
	defer cancel()
	if err := p.d.Stop(ctx); err != nil {
		p.t.Error(err)
	}
}

// watch puts the domain into watch mode.
func (p *plugged) watch() {
	p.t.Helper()
	const mode = "mode = \"watch\"\n"
	p.file = mailtest.WriteFile(p.t, p.t.TempDir(), "watch.toml", mode+p.found)
	if err := p.d.Reload(p.parse(mode + p.text)); err != nil {
		p.t.Fatal(err)
	}
}

// ask runs `setup --verify` as a client from there.
func (p *plugged) ask(source string, want int) (r verifyReport) {
	p.t.Helper()
	code, out, stderr := run(p.t, "setup", p.product, "--config", p.file, "--door", p.door, "--verify", p.server.Addr, "--source", source, "--json")
	if err := json.Unmarshal([]byte(out), &r); err != nil || code != want {
		p.t.Errorf("exit %d, want %d, %v: %s%s", code, want, err, out, stderr)
	}
	return r
}

func (p *plugged) verify(source string, code int, outcome string, asked bool) {
	p.t.Helper()
	r := p.ask(source, code)
	if r.Outcome != outcome || r.Asked == nil || *r.Asked != asked {
		p.t.Errorf("from %s: %s, want %s, asked %v: %s %+v", source, r.Outcome, outcome, asked, r.Says, r.Steps)
	}
}
