package daemon_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"backstop/internal/daemon"
	"backstop/internal/mailtest"
)

// get asks by HTTP, over TCP or a Unix socket.
func get(t testing.TB, network, addr, path string) (int, string) {
	t.Helper()
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}
	c := http.Client{Timeout: mailtest.Patience, Transport: &http.Transport{DisableKeepAlives: true, DialContext: dial}}
	r, err := c.Get("http://backstop" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(b)
}

// TestMetricsHealthStatus: what an operator looks at tells what has happened.
func TestMetricsHealthStatus(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{Users: []string{"alice"}})
	asked := mailtest.NewMock(t, mailtest.Script{Users: []string{"alice"}})
	state := filepath.Join(mailtest.Dir(t), "state")
	g := start(t, fmt.Sprintf("state = %q\n[panel]\nlisten = \"127.0.0.1:0\"\n", state)+
		relayTo("smtp://"+m.Addr(), `listen = ["127.0.0.1:0"]`, `recipients = ["callahead:smtp://`+asked.Addr()+`"]`+"\nspf = \"off\"\ndmarc = \"off\""))
	k := open(t, g.addr)
	send(t, k, "ann@sender.example", "alice@example.com", hello("counted"), "250")
	rcpt(t, k, "ghost@example.com", missing)
	rcpt(t, k, "ghost@example.com", missing)
	rcpt(t, k, "a@elsewhere.example", "554")
	web := g.Addrs()["panel"][0].String()
	code, text := get(t, "tcp", web, "/metrics")
	if code != http.StatusOK {
		t.Fatalf("/metrics: %d %s", code, text)
	}
	for _, want := range []string{
		`backstop_decisions_total{door="smtp",rule="accepted",stage="rcpt",verdict="accept"} 1`,
		`backstop_decisions_total{door="smtp",rule="accepted",stage="data",verdict="accept"} 1`,
		`backstop_decisions_total{door="smtp",rule="recipient-missing",stage="rcpt",verdict="refuse"} 2`,
		`backstop_decisions_total{door="smtp",rule="relay-denied",stage="rcpt",verdict="refuse"} 1`,
		`backstop_sessions{door="smtp"} 1`,
		`backstop_downstream_up{downstream="smtp://` + m.Addr() + `"} 1`,
		`backstop_cache_entries{standing="missing"} 1`,
		`backstop_relay_seconds_count{downstream="smtp://` + m.Addr() + `"} 1`,
		`backstop_lookup_seconds_count{source="callahead:smtp://` + asked.Addr() + `",standing="missing"} 1`,
		`backstop_source_blind{source="callahead:smtp://` + asked.Addr() + `"} 0`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("/metrics lacks %s", want)
		}
	}
	if code, text = get(t, "tcp", web, "/healthz"); code != http.StatusOK || !strings.Contains(text, `"status":"ok"`) {
		t.Errorf("/healthz: %d %s", code, text)
	}
	status(t, state, m, g)
	if t.Failed() {
		_, all := get(t, "tcp", web, "/metrics")
		t.Log(all)
	}
}

// status asks the control socket, before and after the downstream went away.
func status(t *testing.T, state string, m *mailtest.Mock, g *gateway) {
	t.Helper()
	socket := filepath.Join(state, daemon.SocketName)
	ask := func() (s daemon.Status) {
		code, text := get(t, "unix", socket, "/status")
		if err := json.Unmarshal([]byte(text), &s); err != nil || code != http.StatusOK {
			t.Fatalf("/status: %d %v %s", code, err, text)
		}
		return s
	}
	s := ask()
	if s.Hostname != "mx.gateway.example" || s.Sessions != 1 || len(s.Listeners) != 2 || s.Cache.Missing != 1 || len(s.Wrong) != 0 || len(s.Decisions) == 0 {
		t.Errorf("/status: %+v", s)
	}
	if len(s.Downstreams) != 1 || s.Downstreams[0].State != "up" {
		t.Errorf("downstreams: %+v", s.Downstreams)
	}
	if _, text := get(t, "unix", socket, "/directory/stat"); !strings.Contains(text, `"domain":"example.com"`) {
		t.Errorf("/directory/stat: %s", text)
	}
	m.Down()
	rcpt(t, open(t, g.addr), "alice@example.com", "451")
	if s = ask(); s.Downstreams[0].State != "down" || len(s.Wrong) == 0 {
		t.Errorf("the downstream is away: %+v, wrong: %q", s.Downstreams, s.Wrong)
	}
}
