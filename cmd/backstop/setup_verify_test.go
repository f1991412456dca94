package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"regexp"
	"strings"
	"testing"

	"backstop/internal/config"
	"backstop/internal/daemon"
	"backstop/internal/mailtest"
	"backstop/internal/postfix"
)

// TestSetupVerify: an MTA that asks the policy door of a running daemon before it answers, and one that does not.
func TestSetupVerify(t *testing.T) {
	dir := t.TempDir()
	socket := dir + "/policy"
	mailtest.WriteFile(t, dir, "users", "bob\n")
	file := mailtest.WriteFile(t, dir, "c.toml", fmt.Sprintf("state = %q\n[policy]\nlisten = \"unix:%s\"\n[[domain]]\nname = \"example.com\"\nrecipients = [\"list:users\"]\n", dir+"/state", socket))
	cfg, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	d, err := daemon.New(cfg, daemon.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Stop(context.Background()) })

	asked := make(chan struct{})
	stranger := regexp.MustCompile("^RCPT TO:<x")
	m := mailtest.NewMock(t, mailtest.Script{Rules: []mailtest.Rule{{On: "RCPT", Match: stranger, Wait: asked, Times: 1,
		Reply: "550 5.1.1 <x@example.com>: Recipient address rejected: User unknown [fqdbb4b9mqff]"}}})
	go func() { // what the MTA does while its client waits
		defer close(asked)
		m.Wait(t, "RCPT", func(m *mailtest.Mock) bool { return m.Asked("RCPT TO:<x") > 0 })
		askPolicy(t, socket)
	}()
	code, out, stderr := run(t, "setup", "postfix", "--config", file, "--verify", m.Addr())
	if code != 0 || !strings.Contains(out, "\nIt works: ") || !strings.Contains(out, "  -> RCPT TO:<postmaster@example.com>\n  <- 250 ") || strings.Contains(out, "daemon") {
		t.Errorf("exit %d\n%s%s", code, out, stderr)
	}
	code, out, stderr = run(t, "setup", "postfix", "--config", file, "--verify", m.Addr(), "--source", "127.0.0.9", "--json")
	var r verifyReport
	if err := json.Unmarshal([]byte(out), &r); err != nil || code != 1 {
		t.Fatalf("exit %d, %v\n%s%s", code, err, out, stderr)
	}
	if r.Outcome != "accepts" || r.Asked == nil || *r.Asked || r.Steps[1].Sent != "EHLO [127.0.0.9]" {
		t.Errorf("%+v", r)
	}
}

// askPolicy asks about a recipient as Postfix does.
func askPolicy(t *testing.T, socket string) {
	nc, err := net.Dial("unix", socket)
	if err != nil {
		t.Error(err)
		return
	}
	c := postfix.NewPolicyClient(nc)
	defer c.Close()
	answer, err := c.Ask(postfix.Attr{Name: "protocol_state", Value: "RCPT"},
		postfix.Attr{Name: "client_address", Value: "192.0.2.9"}, postfix.Attr{Name: "helo_name", Value: "x.example"}, postfix.Attr{Name: "sender", Value: ""},
		postfix.Attr{Name: "recipient", Value: "nobody@example.com"}, postfix.Attr{Name: "instance", Value: "1.2.3"})
	if err != nil || !strings.HasPrefix(answer, "550 5.1.1 ") {
		t.Errorf("%q, %v", answer, err)
	}
}

func TestServerAddress(t *testing.T) {
	for in, want := range map[string]string{
		"mx.example.com": "mx.example.com:25", "mx.example.com:2525": "mx.example.com:2525", "192.0.2.1": "192.0.2.1:25", "2001:db8::25": "[2001:db8::25]:25",
		"[2001:db8::25]": "[2001:db8::25]:25", "[2001:db8::25]:26": "[2001:db8::25]:26", "": "", "a b": "", "mx:smtp": "", "mx:0": "", ":25": "", "smtp://mx": "", "mx:70000": "",
	} {
		got, err := serverAddress(in)
		if got != want || (err != nil) != (want == "") {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
}

// TestSetupWithoutADoor: what `setup` is to tell is what the configuration lacks, so it need not be right by then.
func TestSetupWithoutADoor(t *testing.T) {
	const domain = "[[domain]]\nname = \"example.com\"\nrecipients = [\"anybody\"]\n"
	for _, c := range []struct{ product, text, want, err string }{
		{"postfix", "", "smtpd_milters = { inet:127.0.0.1:8891,", ""},
		{"postfix", "[policy]\n", "     [milter]\n     listen = \"inet:127.0.0.1:8891\"\n", ""},
		{"sendmail", "", "INPUT_MAIL_FILTER(`backstop', `S=inet:8891@127.0.0.1,", ""},
		{"exim", "", "     [panel]\n     listen = \"127.0.0.1:8025\"\n\n     [smtp]\n     listen = []", ""},
		{"exim", "[panel]\nlisten = \"127.0.0.1:8026\"\n", "1. Tell Backstop\n\n   In its configuration; then `backstop check --config FILE`, and restart it.\n\n     [smtp]\n     listen = []", ""},
		{"exchange", "", "", "[[domain]] has no relay"},
		{"postfix", "[smtp]\nlisten = [\":25\"]\n", "", "[[domain]] has no relay"},
		{"postfix", "[milter]\nlisten = \"inet:8891\"\n", "", "names no host"},
	} {
		file := mailtest.WriteFile(t, t.TempDir(), "c.toml", "state = \"\"\nhostname = \"mx.example.com\"\n"+c.text+domain)
		code, out, stderr := run(t, "setup", c.product, "--config", file)
		out = strings.ReplaceAll(out, file, "FILE")
		if (code == 0) != (c.err == "") || !strings.Contains(strings.ReplaceAll(out, "\n   FILE", " FILE"), c.want) || !strings.Contains(stderr, c.err) {
			t.Errorf("%s %q: exit %d\n%s%s", c.product, c.text, code, out, stderr)
		}
	}
}

func TestShellWord(t *testing.T) {
	for in, want := range map[string]string{"/etc/a-b_c.toml": "/etc/a-b_c.toml", "a b": "'a b'", "it's": `'it'\''s'`, "": "''", "$x": "'$x'"} {
		if got := shellWord(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}
