package daemon_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"backstop/internal/config"
	"backstop/internal/mailtest"
)

// TestReloadBroken: a configuration that is broken is reported with its line, and
// the old one goes on, which the next mail shows.
func TestReloadBroken(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{})
	g := start(t, relayTo("smtp://"+m.Addr(), "", ""))
	k := open(t, g.addr)
	file := mailtest.WriteFile(t, t.TempDir(), "broken.toml", "hostname = \"mx.gateway.example\"\n[smtp]\nlisten = 25\n"+
		"[[domain]]\nname = \"example.com\"\nrelay = \"smtp://"+m.Addr()+"\"\n")
	_, err := config.Load(file)
	var list *config.Errors
	if !errors.As(err, &list) || list.List[0].Line != 3 {
		t.Fatalf("the error is %v", err)
	}
	// Right by itself, and impossible here: what fails late leaves the old one too.
	for what, text := range map[string]string{
		"an address that is not ours": relayTo("smtp://"+m.Addr(), `listen = ["192.0.2.1:25"]`, ""),
		"a list that is gone":         relayTo("smtp://"+m.Addr(), "", `recipients = ["list:`+filepath.Join(t.TempDir(), "none")+`"]`),
	} {
		cfg, err := tryParse(t, text)
		if err == nil {
			err = g.Reload(cfg)
		}
		if err == nil {
			t.Errorf("%s: taken", what)
		}
	}
	send(t, k, "ann@sender.example", "alice@example.com", hello("old connection"), "250")
	send(t, open(t, g.addr), "ann@sender.example", "alice@example.com", hello("new connection"), "250")
	if n := len(m.Messages()); n != 2 {
		t.Errorf("%d messages", n)
	}
}

// tryParse is parse, with the error for the caller.
func tryParse(t testing.TB, text string) (*config.Config, error) {
	t.Helper()
	return config.Load(mailtest.WriteFile(t, t.TempDir(), "backstop.toml", "hostname = \"mx.gateway.example\"\nstate = \"\"\n"+text))
}

// TestReloadTakesEffect: new connections have the new configuration; a
// transaction that is open ends where it began, at the old relay.
func TestReloadTakesEffect(t *testing.T) {
	before := mailtest.NewMock(t, mailtest.Script{Users: []string{"alice"}})
	after := mailtest.NewMock(t, mailtest.Script{Users: []string{"alice", "bob"}})
	g := start(t, relayTo("smtp://"+before.Addr(), "", ""))
	k := open(t, g.addr)
	say(t, k, "MAIL FROM:<ann@sender.example>", "250", "RCPT TO:<alice@example.com>", "250")
	waiting := open(t, g.addr) // has begun, and asks nobody before the reload
	if err := g.Reload(parse(t, relayTo("smtp://"+after.Addr(), "max_message_size = \"1MB\"", ""))); err != nil {
		t.Fatal(err)
	}
	say(t, k, "DATA", "354", hello("under the old one")+".", "250")
	one(t, before)
	send(t, waiting, "ann@sender.example", "alice@example.com", hello("too"), "250")
	fresh := open(t, g.addr)
	say(t, fresh, "EHLO client.example", "/SIZE 1048576/")
	send(t, fresh, "ann@sender.example", "bob@example.com", hello("under the new one"), "250")
	if a, b := len(before.Messages()), len(after.Messages()); a != 2 || b != 1 {
		t.Errorf("%d messages at the old relay, %d at the new one", a, b)
	}
}

// TestReloadKeepsSources: the sources of a connection that began before the reload
// go on answering it, though the new configuration has others.
func TestReloadKeepsSources(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{Users: []string{"alice", "bob"}})
	asked := mailtest.NewMock(t, mailtest.Script{Users: []string{"alice", "bob"}})
	g := start(t, relayTo("smtp://"+m.Addr(), "", `recipients = ["callahead:smtp://`+asked.Addr()+`"]`))
	k := open(t, g.addr)
	if err := g.Reload(parse(t, relayTo("smtp://"+m.Addr(), "", `recipients = ["callahead"]`))); err != nil {
		t.Fatal(err)
	}
	rcpt(t, k, "bob@example.com", "250")
	rcpt(t, k, "ghost@example.com", missing)
}

// TestReloadListeners adds and removes listeners; a connection that came in by
// one that is gone goes on.
func TestReloadListeners(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{})
	here, there := `listen = ["127.0.0.1:0"]`, `listen = ["127.0.0.2:0"]`
	g := start(t, relayTo("smtp://"+m.Addr(), here, ""))
	first := open(t, g.addr)
	reload := func(listen string) []string {
		t.Helper()
		if err := g.Reload(parse(t, relayTo("smtp://"+m.Addr(), listen, ""))); err != nil {
			t.Fatal(err)
		}
		var at []string
		for _, a := range g.Addrs()["smtp"] {
			at = append(at, a.String())
		}
		return at
	}
	at := reload(`listen = ["127.0.0.1:0", "127.0.0.2:0"]`)
	if len(at) != 2 || at[0] != g.addr {
		t.Fatalf("listening at %v, was %s", at, g.addr)
	}
	second := open(t, at[1])
	if at = reload(there); len(at) != 1 {
		t.Fatalf("listening at %v", at)
	}
	eventually(t, "the first listener is gone", func() bool { return !reachable(g.addr) })
	for i, k := range []*mailtest.Talk{first, second, open(t, at[0])} {
		send(t, k, "ann@sender.example", "alice@example.com", hello(fmt.Sprint(i)), "250")
	}
}

// reachable says whether somebody listens there.
func reachable(addr string) bool {
	nc, err := dialNet(addr)
	if err != nil {
		return false
	}
	nc.Close()
	return true
}

// TestReloadUnderLoad: a hundred clients ask while the configuration changes back
// and forth under them, and none of them is told anything but what is true.
func TestReloadUnderLoad(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{Users: []string{"alice", "bob"}})
	asked := mailtest.NewMock(t, mailtest.Script{Users: []string{"alice", "bob"}})
	dir := t.TempDir()
	var texts []string
	for i := range 3 {
		list := mailtest.WriteFile(t, dir, fmt.Sprint("list", i), "alice\nbob\n")
		texts = append(texts, relayTo("smtp://"+m.Addr(), "per_client = 0", `recipients = ["list:`+list+`"]`))
	}
	texts = append(texts, relayTo("smtp://"+m.Addr(), "per_client = 0", `recipients = ["callahead:smtp://`+asked.Addr()+`"]`),
		relayTo("smtp://localhost:"+port(m.Addr()), "per_client = 0", ""))
	g := start(t, texts[0])
	var wrong sync.Map
	var turns atomic.Int64
	var clients sync.WaitGroup
	over := make(chan struct{})
	for i := range 100 {
		clients.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-over:
					return
				default:
				}
				if err := lookThrough(g.addr, fmt.Sprintf("ghost%d", (i*7+n)%50)); err != nil {
					wrong.Store(err.Error(), true)
				}
				turns.Add(1)
			}
		})
	}
	for i := range 40 {
		// Reloads are strewn over the traffic: each waits until some of it has passed.
		want := turns.Load() + 20
		eventually(t, "clients go on", func() bool { return turns.Load() >= want })
		if err := g.Reload(parse(t, texts[i%len(texts)])); err != nil {
			t.Error(err)
		}
	}
	close(over)
	clients.Wait()
	wrong.Range(func(e, _ any) bool { t.Error(e); return true })
	if t.Failed() {
		t.Logf("%d turns", turns.Load())
	}
}

// lookThrough asks for one who exists and one who does not, on a connection of its own.
func lookThrough(addr, ghost string) error {
	nc, err := dialNet(addr)
	if err != nil {
		return err
	}
	defer nc.Close()
	k := mailtest.NewTalk(nc)
	for i, turn := range []struct{ line, want string }{
		{"", "220"}, {"EHLO c.example", "250"}, {"MAIL FROM:<ann@sender.example>", "250"},
		{"RCPT TO:<" + ghost + "@example.com>", "550"}, {"RCPT TO:<alice@example.com>", "250"}, {"QUIT", "221"},
	} {
		if i > 0 {
			if err := k.Send(turn.line + "\r\n"); err != nil {
				return fmt.Errorf("%s: %w", turn.line, err)
			}
		}
		r, err := k.Reply()
		if err != nil {
			return fmt.Errorf("%s: %w", turn.line, err)
		}
		if fmt.Sprint(r.Code) != turn.want {
			return fmt.Errorf("after %s: %q", turn.line[:min(4, len(turn.line))], r)
		}
	}
	return nil
}

// TestReloadList: a list that changes is noticed by itself; one that vanishes goes
// on as it was.
func TestReloadList(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{})
	file := mailtest.WriteFile(t, t.TempDir(), "list", "alice\n")
	g := start(t, relayTo("smtp://"+m.Addr(), "", `recipients = ["list:`+file+`"]`))
	k := open(t, g.addr)
	rcpt(t, k, "newcomer@example.com", missing)
	if err := os.WriteFile(file+".new", []byte("alice\nnewcomer\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the newcomer is known", func() bool {
		say(t, k, "MAIL FROM:<ann@sender.example>", "250")
		r := k.Ask(t, "RCPT TO:<newcomer@example.com>")
		say(t, k, "RSET", "250")
		return r.Code == 250
	})
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	g.logged(t, `"level":"ERROR"`, file)
	rcpt(t, k, "newcomer@example.com", "250")
	rcpt(t, k, "ghost@example.com", missing)
}
