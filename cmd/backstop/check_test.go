package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"backstop/internal/daemon"
	"backstop/internal/demo"
	"backstop/internal/session"
)

// mailServer starts the demo's mail server and gives its address.
func mailServer(t *testing.T) string {
	t.Helper()
	s, err := demo.NewMailServer(t.TempDir(), "example.com", "alice")
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve(l)
	t.Cleanup(func() { s.Shutdown(context.Background()) })
	return l.Addr().String()
}

// run plays one command line.
func run(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = Main(t.Context(), args, strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}

// configured writes a configuration with that relay and those sources.
func configured(t *testing.T, relay, recipients string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "c.toml")
	text := fmt.Sprintf("state = \"\"\n[[domain]]\nname = \"example.com\"\nrelay = \"smtp://%s?tls=off\"\nrecipients = [%s]\n", relay, recipients)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// closed is an address at which nobody listens.
func closed(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestCheckAsksSourcesAndDownstreams(t *testing.T) {
	up, down := mailServer(t), closed(t)
	catchAll := filepath.Join(t.TempDir(), "map")
	if err := os.WriteFile(catchAll, []byte("@example.com x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		relay, recipients string
		code              int
		states            []string // kind and state, in order
	}{
		"both answer":          {up, `"callahead"`, 0, []string{"source up", "downstream up"}},
		"the relay is away":    {down, fmt.Sprintf(`"callahead:smtp://%s?tls=off"`, up), 1, []string{"source up", "downstream down"}},
		"the source is away":   {up, fmt.Sprintf(`"callahead:smtp://%s?tls=off"`, down), 1, []string{"source down", "downstream up"}},
		"a source is no proof": {up, fmt.Sprintf(`"postmap:%s"`, catchAll), 1, []string{"source blind", "downstream up"}},
		"no proof is wanted":   {up, `"anybody"`, 0, []string{"source up", "downstream up"}},
	} {
		t.Run(name, func(t *testing.T) {
			code, out, errs := run(t, "check", "--ask", "--json", "--config", configured(t, c.relay, c.recipients))
			var r struct{ Asked []daemon.Probed }
			if err := json.Unmarshal([]byte(out), &r); err != nil {
				t.Fatalf("%v: %s%s", err, out, errs)
			}
			var states []string
			for _, p := range r.Asked {
				states = append(states, p.Kind+" "+p.State)
			}
			if code != c.code || strings.Join(states, ", ") != strings.Join(c.states, ", ") {
				t.Errorf("exit %d, %v\n%s", code, states, out)
			}
		})
	}
}

func TestExplainAsksTheDownstreamUnlessToldNotTo(t *testing.T) {
	file := configured(t, mailServer(t), `"callahead"`)
	ask := func(to string, more ...string) (int, string) {
		code, out, _ := run(t, append([]string{"explain", "--config", file, "--client", "192.0.2.7", "--from", "ann@example.org", "--to", to}, more...)...)
		return code, out
	}
	for _, c := range []struct {
		to   string
		code int
		want string
		more []string
	}{
		{"alice@example.com", 0, "\naccept at rcpt, rule accepted\n250 2.1.5 Ok\n", nil},
		{"nobody@example.com", 1, "\nrefuse at rcpt, rule recipient-missing\n550 5.1.1 <nobody@example.com>: Recipient address rejected: User unknown", nil},
		{"nobody@example.com", 2, "\ndefer at rcpt, rule recipient-unverified\n451 4.1.1 <nobody@example.com>: Recipient address not verified, try again later", []string{"--no-ask"}},
	} {
		if code, out := ask(c.to, c.more...); code != c.code || !strings.Contains(out, c.want) {
			t.Errorf("%s %v: exit %d\n%s", c.to, c.more, code, out)
		}
	}
}

// TestExplainFitsTheTerminal: a long finding is broken there, and left whole for programs.
func TestExplainFitsTheTerminal(t *testing.T) {
	long := "bounce (report), proven by nothing: tag: untagged, seal: absent, dkim: absent, message-id: unknown, and much more beside it " + strings.Repeat("x", 70)
	trail := []session.StepExplained{{Rule: "bounce-not-ours", Finding: long, Effect: "refuse", MS: 1234.5}, {Rule: "dmarc", Finding: "fail (watch: would object)", Effect: "next"}}
	trail = append(trail, trail[1]) // of another recipient
	for width, want := range map[int]int{0: len(long), 80: 80, 40: len(long)} {
		var out bytes.Buffer
		a := &app{out: &out}
		table, noted := a.trailTable(trail, width)
		a.printTable(table)
		most := 0
		for line := range strings.Lines(out.String()) {
			most = max(most, len(strings.TrimSuffix(line, "\n")))
		}
		if len(noted) != 1 || noted[0] != "dmarc" || width == 80 && most > want || width != 80 && most < want {
			t.Errorf("width %d: %d, %v\n%s", width, most, noted, out.String())
		}
	}
}

func TestStatusOfADaemonWithATrouble(t *testing.T) {
	var out bytes.Buffer
	a := &app{out: &out}
	a.printStatus(daemon.Status{Hostname: "mx.example.com", Mode: "enforce", Wrong: []string{"downstream smtp://a:25 is down: no route"},
		Downstreams: []daemon.PeerStatus{{Name: "smtp://a:25", State: "down", Detail: "no route"}}}, daemon.Status{}.Started)
	for _, want := range []string{"mx.example.com, mode enforce", "downstream  smtp://a:25         down  no route\n", "\nwrong now:\n  downstream smtp://a:25 is down: no route\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}
