package policyd_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"backstop/internal/directory"
	"backstop/internal/dkim"
	"backstop/internal/evidence"
	"backstop/internal/journal"
	"backstop/internal/keyring"
	"backstop/internal/mail"
	"backstop/internal/policyd"
	"backstop/internal/postfix"
	"backstop/internal/route"
	"backstop/internal/session"
	"backstop/internal/verdict"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// people is a source: those whose name begins with "no" are missing, of those with "later" nobody can tell.
type people struct{}

func (people) Name() string { return "people" }
func (people) Lookup(_ context.Context, a mail.Address) directory.Answer {
	switch local := strings.TrimPrefix(a.LocalKey(), "\""); {
	case strings.HasPrefix(local, "no"), a.IsPostmaster():
		return directory.Answer{Standing: evidence.Missing, Cacheable: true}
	case strings.HasPrefix(local, "later"):
		return directory.Answer{Standing: evidence.Unavailable, Detail: "the source is away"}
	}
	return directory.Answer{Standing: evidence.Exists, Cacheable: true}
}

// checker is an Authenticator to whom liar.example has published what it is.
type checker struct{}

func (checker) SPF(_ context.Context, _ netip.Addr, _ string, from mail.ReversePath) evidence.SPF {
	if from.Domain() == "liar.example" {
		return evidence.SPF{Result: evidence.Fail, Domain: from.Domain()}
	}
	return evidence.SPF{Result: evidence.None, Domain: from.Domain()}
}
func (checker) DKIM(context.Context, *dkim.Verifier) []evidence.Signature { return nil }
func (checker) DMARC(context.Context, []byte, evidence.SPF, []evidence.Signature, mail.ReversePath) evidence.DMARC {
	return evidence.DMARC{Result: evidence.None}
}

// lines is a stream that keeps what was written.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lines) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.b.Reset()
	return l.b.String()
}

// world is example.org, which wants everything, and example.net, which wants nothing beside a directory;
// blocked are clients of 203.0.113.0/24.
type world struct {
	t    testing.TB
	cfg  session.Config
	org  *session.Domain
	log  lines    // decisions
	ops  lines    // what the door says to its operator
	told chan any // of panics
	now  atomic.Pointer[time.Time]
	door *policyd.Door
	addr string
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, told: make(chan any, 10)}
	w.later(0)
	relay, err := route.ParseRelay("smtp://127.0.0.1:9") // nobody connects
	must(t, err)
	table, err := route.NewTable([]route.Domain{{Name: "example.org", Relay: relay}, {Name: "example.net", Relay: relay}})
	must(t, err)
	chain := directory.NewChain("people", directory.Member{Source: people{}, Lives: directory.Lives{ExistsFor: directory.Never, MissingFor: directory.Never}})
	domains := map[*route.Domain]*session.Domain{}
	for _, r := range table.Domains() {
		domains[r] = &session.Domain{Route: r, Chain: chain}
	}
	w.org = domains[table.Find("example.org")]
	w.org.Forged, w.org.TagsSince = true, time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	w.org.Guards = evidence.Guards{SPF: evidence.CheckRefuse, Tags: evidence.TagEnforce, DMARC: evidence.CheckRefuse}
	dir := directory.New(directory.Config{})
	j := journal.New(&w.log, journal.JSON)
	ring, err := keyring.New(keyring.Key{ID: 1, Secret: keyring.Secret("secret"), Created: w.org.TagsSince, SignsFrom: w.org.TagsSince})
	must(t, err)
	blocked := netip.MustParsePrefix("203.0.113.0/24")
	w.cfg = session.Config{
		Hostname: "mx.example.org", Rules: verdict.Rules{MaxReceived: 50}, Table: table, Domains: domains, Directory: dir, Auth: checker{},
		MaxMessageSize: 1000, Blocked: blocked.Contains, Keys: func() keyring.Ring { return ring }, Journal: j,
		Now: func() time.Time { return *w.now.Load() },
	}
	t.Cleanup(func() { j.Close(); dir.Close() })
	return w
}

// later moves the clock.
func (w *world) later(d time.Duration) {
	now := time.Date(2026, 5, 6, 12, 0, 0, 0, time.UTC)
	if last := w.now.Load(); last != nil {
		now = last.Add(d)
	}
	w.now.Store(&now)
}

// watch has the world only watch, for engines that are made from now on.
func (w *world) watch() {
	w.cfg.Mode = evidence.Watch
	domains := map[*route.Domain]*session.Domain{}
	for r, d := range w.cfg.Domains {
		other := *d
		other.Mode = evidence.Watch
		domains[r] = &other
	}
	w.cfg.Domains = domains
}

// config is a door to the world as it is now.
func (w *world) config(p policyd.Protocol) policyd.Config {
	return policyd.Config{
		Protocol: p, Map: policyd.MapRecipients, Engine: session.New(w.cfg), Logger: slog.New(slog.NewTextHandler(&w.ops, nil)),
		Panic: func(v any, _ []byte) { w.told <- v },
	}
}

// opens begins to serve.
func (w *world) opens(p policyd.Protocol) {
	w.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(w.t, err)
	d := policyd.New(w.config(p))
	done := make(chan error, 1)
	go func() { done <- d.Serve(l) }()
	w.door, w.addr = d, l.Addr().String()
	w.t.Cleanup(func() {
		must(w.t, d.Shutdown(context.Background()))
		<-done
	})
}

func (w *world) dial() net.Conn {
	w.t.Helper()
	c, err := net.Dial("tcp", w.addr)
	must(w.t, err)
	w.t.Cleanup(func() { c.Close() })
	return c
}

// decided is what was written down since it was asked last: msg, stage, rule, and in watch mode the rule that
// would have objected.
func (w *world) decided() string {
	w.t.Helper()
	w.cfg.Journal.Flush()
	var all []string
	for line := range strings.Lines(w.log.take()) {
		var d struct{ Msg, Stage, Rule, Watched, Door string }
		must(w.t, json.Unmarshal([]byte(line), &d))
		s := d.Msg + " " + d.Stage + " " + d.Rule
		if d.Watched != "" {
			s += " (" + d.Watched + ")"
		}
		all = append(all, s)
	}
	return strings.Join(all, ", ")
}

// request is what Postfix asks at RCPT, with changes: "name=value" separated by blanks; "_" stands for a blank in a value.
func request(changes string) []postfix.Attr {
	attrs := []postfix.Attr{
		{Name: "protocol_state", Value: "RCPT"}, {Name: "protocol_name", Value: "ESMTP"}, {Name: "client_address", Value: "192.0.2.1"},
		{Name: "client_name", Value: "unknown"}, {Name: "reverse_client_name", Value: "unknown"}, {Name: "helo_name", Value: "client.example"},
		{Name: "sender", Value: "ann@far.example"}, {Name: "recipient", Value: "bob@example.org"}, {Name: "recipient_count", Value: "0"},
		{Name: "queue_id", Value: ""}, {Name: "instance", Value: "1.1.1"}, {Name: "size", Value: "0"}, {Name: "etrn_domain", Value: ""},
		{Name: "stress", Value: ""}, {Name: "sasl_method", Value: ""}, {Name: "sasl_username", Value: ""}, {Name: "encryption_protocol", Value: ""},
		{Name: "client_port", Value: "40000"}, {Name: "policy_context", Value: ""}, {Name: "server_port", Value: "25"},
	}
	for c := range strings.FieldsSeq(changes) {
		name, value, _ := strings.Cut(c, "=")
		value = strings.ReplaceAll(value, "_", " ")
		for i := range attrs {
			if attrs[i].Name == name {
				attrs[i].Value, name = value, ""
			}
		}
		if name != "" {
			attrs = append(attrs, postfix.Attr{Name: name, Value: value})
		}
	}
	return attrs
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// untagged is text with the identifiers of its transactions made alike.
func untagged(s string) string {
	if i := strings.LastIndexByte(s, '['); i >= 0 && len(s)-i == len("[0123456789ab]") {
		return s[:i] + "[ID]"
	}
	return s
}
