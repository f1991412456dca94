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
			p := newPlugged(t, w.product, w.door, "", rig.Pasted{})
			p.verify(rig.Outside, 0, "refuses", true)
			p.verify(rig.Inside, map[string]int{"accepts": 1, "refuses": 0}[w.inside], w.inside, w.inside == "refuses")
			p.otherWays(w.inside)
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

// newPlugged starts both. domain is more of the [[domain]], lines are there before those of the guide.
func newPlugged(t *testing.T, product, door, domain string, lines rig.Pasted) *plugged {
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
`, dir+"/state", rig.Inside, rig.Domain)}
	if !strings.Contains(domain, "recipients") {
		p.text += fmt.Sprintf("recipients = [\"list:%s/users\"]\n", dir)
	}
	p.text += domain
	p.d = p.start()
	p.found = p.text
	for _, section := range []string{"milter", "policy", "socketmap", "tcp_table", "panel"} {
		head, tail, _ := strings.Cut(p.found, "["+section+"]")
		p.found = head + "[" + section + "]" + strings.Replace(tail, "127.0.0.1:0", p.d.Addrs()[section][0].String(), 1)
	}
	p.file = mailtest.WriteFile(t, dir, "c.toml", p.found)
	args := []string{"setup", product, "--config", p.file, "--json"}
	if door != "" {
		args = append(args, "--door", door)
	}
	code, out, stderr := run(t, args...)
	var g guide.Guide
	if err := json.Unmarshal([]byte(out), &g); err != nil || code != 0 {
		t.Fatalf("exit %d, %v: %s", code, err, stderr)
	}
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
	args := []string{"setup", p.product, "--config", p.file, "--verify", p.server.Addr, "--source", source, "--json"}
	if p.door != "" {
		args = append(args, "--door", p.door)
	}
	code, out, stderr := run(p.t, args...)
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

// otherWays asks without naming the door, which has to find it; by a door that is not plugged in, and about a product
// that does not stand there, which must not work.
func (p *plugged) otherWays(inside string) {
	p.t.Helper()
	product, door := p.product, p.door
	defer func() { p.product, p.door = product, door }()
	p.door = ""
	p.verify(rig.Outside, 0, "refuses", true)
	if r := p.ask(rig.Inside, map[string]int{"accepts": 1, "refuses": 0}[inside]); r.Outcome != inside || (inside == "accepts") != strings.Contains(strings.Join(r.Hints, "\n"), "may be one of") {
		p.t.Errorf("%+v", r)
	}
	if product != "postfix" {
		return
	}
	p.door = map[string]string{"milter": "policy", "policy": "milter", "socketmap": "milter", "tcp_table": "policy"}[door]
	p.verify(rig.Outside, 1, map[string]string{"milter": "other-door", "policy": "other-door", "socketmap": "own-list", "tcp_table": "own-list"}[door], false)
	p.door, p.product = "", "sendmail"
	if r := p.ask(rig.Outside, map[string]int{"milter": 2}[door]+map[string]int{"policy": 1, "socketmap": 1, "tcp_table": 1}[door]); !strings.Contains(r.Says, "greets as Postfix, and not as Sendmail") {
		p.t.Errorf("%+v", r)
	}
}

// ownUsers is a Postfix that has the users itself.
const ownUsers = "relay_domains = example.net\nvirtual_mailbox_domains = example.com\nvirtual_transport = $relay_transport\n" +
	"virtual_mailbox_maps = inline:{ alice@example.com=a, postmaster@example.com=p }\n"

// TestSetupBesideOwnUsers: a list of Postfix's own is no fault.
func TestSetupBesideOwnUsers(t *testing.T) {
	p := newPlugged(t, "postfix", "", "recipients = [\"anybody\"]\n", rig.Pasted{Main: ownUsers})
	p.verify(rig.Outside, 0, "own-list-first", true)
}

// TestSetupTagsPastOwnUsers: bounces to tags pass such a list, and nobody else does.
func TestSetupTagsPastOwnUsers(t *testing.T) {
	aliases := mailtest.WriteFile(t, mailtest.Dir(t), "aliases", "alice: alice@example.net\n")
	for _, c := range []struct {
		product, to, unknown string
		lines                rig.Pasted
	}{
		{"postfix", "alice@example.com", "virtual mailbox table", rig.Pasted{Main: ownUsers}},
		{"sendmail", "alice@example.net", "... User unknown", rig.Pasted{MC: "define(`ALIAS_FILE', `" + aliases + "')dnl\nLOCAL_DOMAIN(`example.com')dnl\n"}},
	} {
		t.Run(c.product, func(t *testing.T) {
			p := newPlugged(t, c.product, "", "batv = \"sign\"\n", c.lines)
			const message = "Subject: x\r\n\r\nx\r\n."
			p.send(rig.Inside, "MAIL FROM:<alice@example.com>", "RCPT TO:<dora@elsewhere.test>", "DATA", message)
			out := p.server.World.Messages()
			if len(out) != 1 || !strings.HasPrefix(out[0].From, "prvs=") {
				t.Fatalf("left: %v", out)
			}
			p.send(rig.Outside, "MAIL FROM:<>", "RCPT TO:<"+out[0].From+">", "DATA", message)
			in := p.server.Store.Messages()
			if len(in) != 1 || len(in[0].To) != 1 || in[0].To[0].Path != c.to || !strings.Contains(string(in[0].Body), "Backstop-Bounce: proven by=tag") {
				t.Errorf("stored: %v\n%s", in, p.server.Log())
			}
			k := p.server.Dial(t, rig.Outside)
			k.Expect(t, "220", "banner")
			k.Ask(t, "EHLO x.test")
			k.Ask(t, "MAIL FROM:<>")
			if r := k.Ask(t, "RCPT TO:<"+strings.Replace(out[0].From, "alice", "x7q", 1)+">").String(); !strings.HasPrefix(r, "550 5.1.1") || !strings.Contains(r, c.unknown) {
				t.Errorf("somebody who is not in the list: %s", r)
			}
		})
	}
}

// send hands a message to the server from an address.
func (p *plugged) send(from string, commands ...string) {
	p.t.Helper()
	k := p.server.Dial(p.t, from)
	k.Expect(p.t, "220", "banner")
	for _, c := range append([]string{"EHLO x.test"}, commands...) {
		if r := k.Ask(p.t, c).String(); !strings.HasPrefix(r, "2") && !strings.HasPrefix(r, "354") {
			p.t.Fatalf("%s: %s", c, r)
		}
	}
	p.server.Settle(p.t)
}
