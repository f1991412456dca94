package daemon_test

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"backstop/internal/config"
	"backstop/internal/daemon"
	"backstop/internal/mail"
	"backstop/internal/mailtest"
)

// TestSenderLines: what an access file says of senders is answered to MAIL, for the whole gateway,
// by the first file that has a word, and follows the file without a reload.
func TestSenderLines(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{Users: []string{"alice"}})
	dir := t.TempDir()
	first := mailtest.WriteFile(t, dir, "first", "From:example.com\tREJECT\nFrom:news.example.com\tOK\n"+
		"From:sink.example\tDISCARD\nFrom:late.example\t451 Not today\nFrom:alias.example\tREJECT\n"+
		"spammer.example\tERROR:5.7.0:\"553 Nothing from you\"\nTo:alice@example.com\tRELAY\n")
	second := mailtest.WriteFile(t, dir, "second", "From:news.example.com\tREJECT\nFrom:gone.example\t550 Gone\n")
	g := start(t, relayTo("smtp://"+m.Addr(), "", "aliases = [\"alias.example\"]\nrecipients = [\"access:"+first+"\", \"callahead\"]")+
		"[[domain]]\nname = \"example.org\"\nrelay = \"smtp://"+m.Addr()+"\"\nrecipients = [\"access:"+second+"\", \"access:"+first+"\"]\n")
	k := open(t, g.addr)
	const forged = ": Sender address rejected: not permitted from your network"
	say(t, k, "MAIL FROM:<boss@example.com>", "550 5.7.1 <boss@example.com>"+forged,
		"RCPT TO:<alice@example.com>", "503", // there is no transaction
		"MAIL FROM:<Boss@Sub.EXAMPLE.com>", "550 5.7.1 <Boss@Sub.EXAMPLE.com>"+forged,
		"MAIL FROM:<x@alias.example>", "550 5.7.1",
		"MAIL FROM:<x@sink.example>", "550 5.7.1 <x@sink.example>"+forged,
		"MAIL FROM:<x@late.example>", "451 4.7.1 <x@late.example>: Not today",
		"MAIL FROM:<x@spammer.example>", "553 5.7.0 <x@spammer.example>: Nothing from you",
		"MAIL FROM:<x@gone.example>", "550 5.7.1 <x@gone.example>: Gone", // of a file of the other domain
		"MAIL FROM:<>", "250", "RSET", "250")
	send(t, k, "letter@news.example.com", "alice@example.com", hello("an exception of the first file's"), "250")
	one(t, m)
	g.logged(t, `"msg":"refuse"`, `"stage":"mail"`, `"from":"boss@example.com"`, `"rule":"sender-forged"`)
	g.logged(t, `"msg":"defer"`, `"from":"x@late.example"`, `"rule":"sender-forged"`)
	counted := false
	for _, c := range g.Status().Decisions {
		counted = counted || c.Rule == "sender-forged" && c.Verdict == "refuse" && c.Count == 6
	}
	if !counted {
		t.Errorf("not counted: %+v", g.Status().Decisions)
	}
	if n := len(g.Status().Sources); n != 3 { // the two files and the relay, though one is read twice
		t.Errorf("sources: %+v", g.Status().Sources)
	}

	if err := os.WriteFile(first, []byte("From:example.com\t550 5.7.8 Log in first\nTo:alice@example.com\tRELAY\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the changed file", func() bool {
		r := k.Ask(t, "MAIL FROM:<boss@example.com>")
		return strings.HasPrefix(r.Text(), "5.7.8 <boss@example.com>: Log in first")
	})
	eventually(t, "the second file's word", func() bool { return k.Ask(t, "MAIL FROM:<x@news.example.com>").Code == 550 })
	say(t, k, "MAIL FROM:<x@sink.example>", "250")
}

// TestClientLines: the same for clients, at the connection; a name counts where a front tells it.
func TestClientLines(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{Users: []string{"alice"}})
	file := mailtest.WriteFile(t, t.TempDir(), "access", "Connect:127.0.0.66\tREJECT\nConnect:127.0.0.67\t550 Not you\nConnect:127.0.0.68\t450 4.7.1 Not now\n"+
		"Connect:127.0.0.69\tRELAY\nFrom:example.com\tREJECT\nConnect:dial.example\tREJECT\n127.0.0.70\tDISCARD\n")
	g := start(t, relayTo("smtp://"+m.Addr(), "blocked = [\"127.0.0.69/32\"]\nxclient = [\"127.0.0.1/32\"]", `recipients = ["access:`+file+`", "callahead"]`))
	for source, want := range map[string]string{
		"127.0.0.66": "554 5.7.1 Your address is refused", "127.0.0.67": "550 5.7.1 Not you", "127.0.0.68": "450 4.7.1 Not now",
		"127.0.0.69": "554 5.7.1 Your address is refused", // by the configuration, whatever the file says
		"127.0.0.70": "554 5.7.1 Your address is refused",
	} {
		k := dialFrom(t, g.addr, source)
		k.Expect(t, want, "instead of the banner")
		gone(t, k)
	}
	g.logged(t, `"msg":"refuse"`, `"stage":"connect"`, `"rule":"client-blocked"`, `"client":"127.0.0.67"`)
	g.logged(t, `"msg":"defer"`, `"rule":"client-blocked"`, `"client":"127.0.0.68"`)
	k := open(t, g.addr)
	say(t, k, "XCLIENT ADDR=192.0.2.7 NAME=a.DIAL.example", "554 5.7.1")
	gone(t, k)
	k = open(t, g.addr)
	say(t, k, "XCLIENT ADDR=192.0.2.7 NAME=[UNAVAILABLE]", "220", "EHLO client.example", "250")
	say(t, k, "MAIL FROM:<ann@sender.example>", "250", "RCPT TO:<alice@elsewhere.example>", "554 5.7.1") // RELAY relays nothing
}

// TestPolicyWatched: in watch mode the lines refuse nothing, and say what they would have done.
func TestPolicyWatched(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{Users: []string{"alice"}})
	file := mailtest.WriteFile(t, t.TempDir(), "access", "Connect:127.0.0.66\tREJECT\nFrom:sender.example\tREJECT\n")
	g := start(t, "mode = \"watch\"\n"+relayTo("smtp://"+m.Addr(), "", `recipients = ["access:`+file+`", "callahead"]`))
	send(t, openFrom(t, g.addr, "127.0.0.66"), "ann@sender.example", "alice@example.com", hello("watched"), "250")
	one(t, m)
	g.logged(t, `"msg":"accept"`, `"stage":"connect"`, `"watched":"client-blocked"`)
	g.logged(t, `"msg":"accept"`, `"stage":"mail"`, `"watched":"sender-forged"`)
}

// TestPolicyExplained: explain names file and line.
func TestPolicyExplained(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{Users: []string{"alice"}})
	file := mailtest.WriteFile(t, t.TempDir(), "access", "# who may send\nConnect:192.0.2\t550 Not you\nFrom:sender.example\tREJECT\nFrom:ok.sender.example\tOK\n")
	g := start(t, relayTo("smtp://"+m.Addr(), "", `recipients = ["access:`+file+`", "callahead"]`))
	for _, tt := range []struct{ client, from, stage, rule, finding string }{
		{"192.0.2.7", "ann@sender.example", "connect", "client-blocked", "refused by " + file + ":2: 550 5.7.1 Not you"},
		{"203.0.113.7", "ann@sender.example", "mail", "sender-forged", "refused by " + file + ":3: REJECT"},
		{"203.0.113.7", "ann@ok.sender.example", "rcpt", "sender-forged", "allowed by " + file + ":4: OK"},
		{"203.0.113.7", "ann@elsewhere.example", "rcpt", "sender-forged", "not refused"},
	} {
		x, err := g.Explain(t.Context(), daemon.ExplainRequest{
			Client: netip.MustParseAddr(tt.client), From: mail.ReversePath{Address: address(t, tt.from)}, To: []mail.Address{address(t, "alice@example.com")},
		})
		if err != nil {
			t.Fatal(err)
		}
		found := ""
		for _, step := range x.Trail {
			if step.Rule == tt.rule {
				found = step.Finding
			}
		}
		if x.Stage != tt.stage || found != tt.finding {
			t.Errorf("%s %s: %s at %s, %q", tt.client, tt.from, x.Rule, x.Stage, found)
		}
	}
}

func address(t testing.TB, s string) mail.Address {
	t.Helper()
	a, err := mail.ParseAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestBadPolicyLine keeps a gateway from starting, with file and line; lines without effect are warned of.
func TestBadPolicyLine(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct {
		text      string
		bad, warn int
	}{
		{"To:alice@example.com\tRELAY\nFrom:sender.example\tREJCET\n", 2, 0},
		{"Connect:192.0.2\tREJECT\nFrom:<>\tREJECT\n", 0, 2},
		{"Connect:dial.example\tREJECT\n", 0, 1},
	} {
		file := mailtest.WriteFile(t, dir, "access", tt.text)
		cfg := parse(t, relayTo("smtp://127.0.0.1:9", "", "aliases = [\"alias.example\"]\nrecipients = [\"access:"+file+"\"]"))
		problems, warnings := daemon.CheckFiles(cfg)
		if got, want := fmt.Sprint(numbers(problems), numbers(warnings)), fmt.Sprint(once(tt.bad), once(tt.warn)); got != want {
			t.Errorf("%q: %v, want %v", tt.text, got, want)
		}
		if tt.bad == 0 {
			continue
		}
		_, err := daemon.New(cfg, daemon.Options{LogTo: &syncBuffer{}})
		if list := (*config.Errors)(nil); !errors.As(err, &list) || list.List[0].Line != tt.bad {
			t.Errorf("%q: %v", tt.text, err)
		}
	}
}

func numbers(all []config.Problem) (lines []int) {
	for _, p := range all {
		lines = append(lines, p.Line)
	}
	return lines
}

func once(n int) []int {
	if n == 0 {
		return nil
	}
	return []int{n}
}
