package callahead

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"backstop/internal/evidence"
	"backstop/internal/mail"
	"backstop/internal/mailtest"
	"backstop/internal/route"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// asking makes a source that asks the mock over loopback.
func asking(t *testing.T, m *mailtest.Mock, url string, change func(*Config)) *Source {
	t.Helper()
	target, err := route.ParseRelay(strings.ReplaceAll(url, "MOCK", m.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{Name: "callahead:" + target.String(), Target: target, Helo: "mx.example"}
	if change != nil {
		change(&cfg)
	}
	s := New(cfg)
	t.Cleanup(s.Close)
	return s
}

const plainURL = "smtp://MOCK?tls=off"

func TestAStageThatIsNotAboutTheRecipient(t *testing.T) {
	for _, tt := range []struct {
		on, reply string
		want      evidence.Standing
	}{
		{"CONNECT", "554 5.7.1 You are on a list", evidence.Unavailable},
		{"CONNECT", "550 5.1.1 No such user", evidence.Unavailable},
		{"CONNECT", "421 4.3.2 Later", evidence.Unavailable},
		{"EHLO", "550 5.1.1 No such user", evidence.Unavailable},
		{"EHLO", "421 4.3.2 Later", evidence.Unavailable},
		{"MAIL", "550 5.1.1 No such user", evidence.Unavailable},
		{"MAIL", "550 Null sender refused", evidence.Unavailable},
		{"MAIL", "451 4.7.1 Later", evidence.Unavailable},
		{"MAIL", "421 4.3.2 Later", evidence.Unavailable},
		{"RCPT", "550 5.7.1 Client host blocked", evidence.Unavailable},
		{"RCPT", "550 5.7.23 SPF", evidence.Unavailable},
		{"RCPT", "450 4.2.0 Greylisted", evidence.Unavailable},
		{"RCPT", "421 4.3.2 Later", evidence.Unavailable},
		{"RCPT", "552 5.2.2 Mailbox full", evidence.Exists},
		{"RCPT", "550 5.2.1 Mailbox disabled", evidence.Exists},
		{"RCPT", "500 5.5.2 What?", evidence.Unavailable},
		{"RCPT", "not SMTP at all", evidence.Unavailable},
		{"RCPT", strings.Repeat("550-5.1.1 and so on\n", 5000), evidence.Unavailable},
		{"RCPT", "550 5.1.1 No such user", evidence.Missing},
		{"RCPT", "550 No such user here", evidence.Missing},
		{"RCPT", "550 5.4.1 Recipient address rejected: Access denied. AS(201806281)", evidence.Missing},
		{"RCPT", "550-5.1.1 No such user,\n550 5.1.1 and never was", evidence.Missing},
		{"RCPT", "250 2.1.5 Yes", evidence.Exists},
		{"RCPT", "251 2.1.5 Will forward", evidence.Exists},
	} {
		t.Run(tt.on+" "+tt.reply[:min(30, len(tt.reply))], func(t *testing.T) {
			script := mailtest.Script{Users: []string{"ann"}, Rules: []mailtest.Rule{{On: tt.on, Reply: tt.reply}}}
			if tt.on == "RCPT" { // who cannot exist gets the honest answer
				script.Rules[0].Match = regexp.MustCompile("bob")
			}
			if tt.on == "EHLO" {
				script.Rules = append(script.Rules, mailtest.Rule{On: "HELO", Reply: tt.reply})
			}
			s := asking(t, mailtest.NewMock(t, script), plainURL, nil)
			a := s.Lookup(t.Context(), address(t, "bob@example.com"))
			if a.Standing != tt.want {
				t.Errorf("%v (%s), want %v", a.Standing, a.Detail, tt.want)
			}
			if a.Cacheable != (tt.want != evidence.Unavailable) {
				t.Errorf("cacheable: %v", a.Cacheable)
			}
			if a.Detail == "" {
				t.Error("the operator is told nothing")
			}
		})
	}
}

func TestServerThatGoes(t *testing.T) {
	for name, rule := range map[string]mailtest.Rule{
		"hangs up at RCPT":   {On: "RCPT", Hangup: true},
		"hangs up at MAIL":   {On: "MAIL", Hangup: true},
		"hangs up at EHLO":   {On: "EHLO", Hangup: true},
		"hangs up at once":   {On: "CONNECT", Hangup: true},
		"says nothing at it": {On: "RCPT", Silent: true},
	} {
		t.Run(name, func(t *testing.T) {
			m := mailtest.NewMock(t, mailtest.Script{Rules: []mailtest.Rule{rule}})
			s := asking(t, m, plainURL, func(c *Config) { c.Timeout = 1e8 })
			if a := s.Lookup(t.Context(), address(t, "bob@example.com")); a.Standing != evidence.Unavailable || a.Cacheable {
				t.Errorf("%+v", a)
			}
		})
	}
	m := mailtest.NewMock(t, mailtest.Script{})
	m.Down()
	s := asking(t, m, plainURL, nil)
	if a := s.Lookup(t.Context(), address(t, "bob@example.com")); a.Standing != evidence.Unavailable || !strings.Contains(a.Detail, "refused") {
		t.Errorf("nobody listens: %+v", a)
	}
}

func TestBlindServerIsFoundOut(t *testing.T) {
	for _, tt := range []struct {
		when WhenBlind
		want evidence.Standing
	}{{BlindAccept, evidence.Exists}, {BlindDefer, evidence.Unavailable}} {
		m := mailtest.NewMock(t, mailtest.Script{}) // accepts everybody
		var log bytes.Buffer
		s := asking(t, m, plainURL, func(c *Config) {
			c.WhenBlind = tt.when
			c.Logger = slog.New(slog.NewTextHandler(&log, nil))
		})
		a := s.Lookup(t.Context(), address(t, "ann@example.com"))
		if a.Standing != tt.want || !a.Blind || a.Cacheable {
			t.Errorf("%+v, want %v, blind and not to be remembered", a, tt.want)
		}
		if blind, known := s.Blind("example.com"); !blind || !known {
			t.Errorf("blind: %v, known: %v", blind, known)
		}
		m.Wait(t, "the end of the test's session", func(m *mailtest.Mock) bool { return m.Asked("QUIT") == 1 })
		asked := m.Asked("RCPT")
		if a := s.Lookup(t.Context(), address(t, "bob@example.com")); a.Standing != tt.want || !a.Blind {
			t.Errorf("the second question: %+v", a)
		}
		if m.Asked("RCPT") != asked {
			t.Error("a blind server was asked")
		}
		for _, w := range m.Wires() {
			rcpts := slices.DeleteFunc(w.Commands, func(c string) bool { return !strings.HasPrefix(c, "RCPT") })
			if len(rcpts) == 2 && strings.Contains(rcpts[0]+rcpts[1], "<ann@") {
				t.Errorf("the test had no session of its own: %q", rcpts)
			}
		}
		s.Close()
		if st := s.State(); st.Condition != Blind || !slices.Equal(st.Blind, []string{"example.com"}) {
			t.Errorf("%+v", st)
		}
		if !strings.Contains(log.String(), "level=ERROR") || !strings.Contains(log.String(), "domain=example.com") {
			t.Errorf("not reported: %s", log.String())
		}
	}
}

func TestSeeingServer(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{Users: []string{"ann"}})
	s := asking(t, m, plainURL, nil)
	if a := s.Lookup(t.Context(), address(t, "Ann@Example.com")); a.Standing != evidence.Exists || a.Blind || !a.Cacheable {
		t.Errorf("%+v", a)
	}
	if a := s.Lookup(t.Context(), address(t, "bob@example.com")); a.Standing != evidence.Missing || !strings.Contains(a.Detail, "550 5.1.1") {
		t.Errorf("%+v", a)
	}
	if st := s.State(); st.Condition != Up || st.Failures != 0 || st.Answered.IsZero() {
		t.Errorf("%+v", st)
	}
	if m.Asked("MAIL FROM:<>") != m.Asked("MAIL") || m.Asked("DATA") != 0 || m.Asked("EHLO mx.example") != m.Asked("EHLO") {
		t.Errorf("%q", m.Commands())
	}
	if f := m.Faults(); len(f) != 0 {
		t.Errorf("%q", f)
	}
}

// A server that refuses what looks like a machine's, and takes everybody with a name, is
// blind; and so is one that does it the other way round.
func TestServerThatSeesOneShape(t *testing.T) {
	for _, shape := range []string{`<x[a-z2-7]{24}@`, `<[a-z]+\.[a-z]+@`} {
		m := mailtest.NewMock(t, mailtest.Script{Rules: []mailtest.Rule{
			{On: "RCPT", Match: regexp.MustCompile(shape), Reply: "550 5.1.1 Not with such a name"},
		}})
		s := asking(t, m, plainURL, nil)
		if a := s.Lookup(t.Context(), address(t, "ann@example.com")); !a.Blind {
			t.Errorf("refuses only %s: %+v", shape, a)
		}
	}
}

func TestServerThatCannotBeTested(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{Rules: []mailtest.Rule{
		{On: "RCPT", Match: regexp.MustCompile("<ann@"), Reply: "250 2.1.5 Yes"},
		{On: "RCPT", Reply: "450 4.2.0 Greylisted"},
	}})
	s := asking(t, m, plainURL, nil)
	if a := s.Lookup(t.Context(), address(t, "ann@example.com")); a.Standing != evidence.Exists || a.Blind || a.Cacheable {
		t.Errorf("%+v", a)
	}
}

// One domain with a catch-all does not spoil the others.
func TestBlindnessIsByDomain(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{Users: []string{"ann@example.com"}, Rules: []mailtest.Rule{
		{On: "RCPT", Match: regexp.MustCompile("@catchall.example>"), Reply: "250 2.1.5 Yes"},
	}})
	s := asking(t, m, plainURL, nil)
	if a := s.Lookup(t.Context(), address(t, "ann@example.com")); a.Standing != evidence.Exists || a.Blind {
		t.Errorf("%+v", a)
	}
	if a := s.Lookup(t.Context(), address(t, "ann@catchall.example")); !a.Blind {
		t.Errorf("%+v", a)
	}
}

func TestUnguessable(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		for _, local := range []string{noise(), noName()} {
			if _, err := mail.ParseAddress(local + "@example.com"); err != nil || seen[local] {
				t.Fatalf("%q: %v, seen before: %v", local, err, seen[local])
			}
			seen[local] = true
		}
	}
}

func TestLMTPAndProxyAndUTF8(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{LMTP: true, Users: []string{"ann"}})
	s := asking(t, m, "lmtp://MOCK?tls=off", nil)
	if a := s.Lookup(t.Context(), address(t, "ann@example.com")); a.Standing != evidence.Exists {
		t.Errorf("LMTP: %+v", a)
	}

	m = mailtest.NewMock(t, mailtest.Script{Proxy: true, Users: []string{"ann"}})
	s = asking(t, m, "smtp://MOCK?tls=off&client=proxy", nil)
	if a := s.Lookup(t.Context(), address(t, "ann@example.com")); a.Standing != evidence.Exists {
		t.Errorf("PROXY: %+v", a)
	}

	m = mailtest.NewMock(t, mailtest.Script{Users: []string{"ann", "jürgen"}})
	s = asking(t, m, plainURL, nil)
	for who, want := range map[string]evidence.Standing{
		"jürgen@bücher.example": evidence.Exists, "jörg@bücher.example": evidence.Missing, "ann@bücher.example": evidence.Exists,
	} {
		if a := s.Lookup(t.Context(), address(t, who)); a.Standing != want {
			t.Errorf("%s: %+v", who, a)
		}
	}
	m.Change(func(s *mailtest.Script) { s.Extensions = []string{} })
	m.Hangup()
	if a := s.Lookup(t.Context(), address(t, "jürgen@bücher.example")); a.Standing != evidence.Unavailable || a.Detail != noUTF8 {
		t.Errorf("no SMTPUTF8: %+v", a)
	}
	if a := s.Lookup(t.Context(), address(t, "ann@bücher.example")); a.Standing != evidence.Exists {
		t.Errorf("no SMTPUTF8, and none needed: %+v", a)
	}
}

func TestDeadConnectionIsReplaced(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{Users: []string{"ann"}})
	s := asking(t, m, plainURL, nil)
	for range 5 {
		if a := s.Lookup(t.Context(), address(t, "ann@example.com")); a.Standing != evidence.Exists {
			t.Fatalf("%+v", a)
		}
		m.Hangup()
	}
	if st := s.State(); st.Failures != 0 {
		t.Errorf("%+v", st)
	}
}

func TestCallerWhoGivesUp(t *testing.T) {
	gate := make(chan struct{})
	defer close(gate)
	m := mailtest.NewMock(t, mailtest.Script{Users: []string{"ann"}, Rules: []mailtest.Rule{{On: "RCPT", Match: regexp.MustCompile("<ann@"), Wait: gate}}})
	s := asking(t, m, plainURL, nil)
	for range 2 * breakAfter {
		ctx, cancel := context.WithCancel(t.Context())
		answer := make(chan evidence.Standing)
		before := m.Asked("RCPT TO:<ann@")
		go func() { answer <- s.Lookup(ctx, address(t, "ann@example.com")).Standing }()
		m.Wait(t, "the question", func(m *mailtest.Mock) bool { return m.Asked("RCPT TO:<ann@") > before })
		cancel()
		if got := <-answer; got != evidence.Unavailable {
			t.Fatalf("%v", got)
		}
	}
	if st := s.State(); st.Failures != 0 || st.Busy > 1 {
		t.Errorf("the server was blamed for its askers: %+v", st)
	}
}

// 200 ask at once, and the server never sees more connections than it should.
func TestConnectionsHold(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{Users: []string{"ann"}})
	var mu sync.Mutex
	open, most := 0, 0
	s := asking(t, m, plainURL, func(c *Config) {
		c.Connections, c.Rate, c.Timeout = 5, 1e6, mailtest.Patience
		c.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			nc, err := (&net.Dialer{}).DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			mu.Lock()
			defer mu.Unlock()
			open++
			most = max(most, open)
			return &counted{Conn: nc, closed: func() { mu.Lock(); open--; mu.Unlock() }}, nil
		}
	})
	var wg sync.WaitGroup
	for i := range 200 {
		who, want := "ann@example.com", evidence.Exists
		if i%2 == 1 {
			who, want = "nobody@example.com", evidence.Missing
		}
		wg.Go(func() {
			if a := s.Lookup(t.Context(), address(t, who)); a.Standing != want {
				t.Errorf("%s: %+v", who, a)
			}
		})
	}
	wg.Wait()
	mu.Lock()
	defer mu.Unlock()
	if most > 5 {
		t.Errorf("%d connections at once, 5 are allowed", most)
	}
	if f := m.Faults(); len(f) != 0 {
		t.Errorf("%q", f)
	}
}

type counted struct {
	net.Conn
	once   sync.Once
	closed func()
}

func (c *counted) Close() error {
	c.once.Do(c.closed)
	return c.Conn.Close()
}
