package policyd_test

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"

	"backstop/internal/directory"
	"backstop/internal/evidence"
	"backstop/internal/mail"
	"backstop/internal/policyd"
	"backstop/internal/postfix"
)

// play asks one request after another on one connection, and gives the last action.
func (w *world) play(requests ...string) string {
	w.t.Helper()
	nc := w.dial()
	defer nc.Close()
	c := postfix.NewPolicyClient(nc)
	last := ""
	for _, r := range requests {
		var err error
		if last, err = c.Ask(request(r)...); err != nil {
			w.t.Fatalf("%s: %v", r, err)
		}
	}
	return untagged(last)
}

const sentTo = "recipient=carol@example.org"

// objections are requests with the last one's action, what was written down, and the same in watch mode.
var objections = map[string]struct {
	requests              []string
	action, log, watching string
}{
	"accepted":          {[]string{""}, "DUNNO", "accept rcpt accepted", "accept rcpt accepted"},
	"another domain":    {[]string{"recipient=no@other.example"}, "DUNNO", "accept rcpt accepted", "accept rcpt accepted"},
	"postmaster":        {[]string{"recipient=postmaster@example.org"}, "DUNNO", "accept rcpt accepted", "accept rcpt accepted"},
	"no domain":         {[]string{"recipient=bob"}, "DUNNO", "accept rcpt accepted", "accept rcpt accepted"},
	"recipient-missing": {[]string{"recipient=nobody@example.org"}, "550 5.1.1 User unknown [ID]", "refuse rcpt recipient-missing", "accept rcpt accepted (recipient-missing)"},
	"quoted":            {[]string{"recipient=no_body@example.org"}, "550 5.1.1 User unknown [ID]", "refuse rcpt recipient-missing", "accept rcpt accepted (recipient-missing)"},
	"recipient-unverified": {[]string{"recipient=later@example.org"}, "451 4.1.1 not verified, try again later [ID]", "defer rcpt recipient-unverified",
		"accept rcpt accepted (recipient-unverified)"},
	"client-blocked": {[]string{"client_address=203.0.113.9"}, "554 5.7.1 Your address is refused by this server's operator [ID]",
		"refuse connect client-blocked", "accept connect accepted (client-blocked), accept rcpt accepted"},
	"client-blocked, told each": {[]string{"client_address=203.0.113.9", "client_address=203.0.113.9 " + sentTo}, "554 5.7.1 Your address is refused by this server's operator [ID]",
		"refuse connect client-blocked", "accept connect accepted (client-blocked), accept rcpt accepted, accept rcpt accepted"},
	"client-blocked, asked at DATA only": {[]string{"client_address=203.0.113.9 protocol_state=DATA recipient="}, "554 5.7.1 Your address is refused by this server's operator [ID]",
		"refuse connect client-blocked", "accept connect accepted (client-blocked)"},
	"sender-forged": {[]string{"sender=ceo@example.org"}, "550 5.7.1 <ceo@example.org>: Sender address rejected: not permitted from your network [ID]",
		"refuse mail sender-forged", "accept mail accepted (sender-forged), accept rcpt accepted"},
	"sender logged in": {[]string{"sender=ceo@example.org sasl_username=ceo"}, "DUNNO", "accept rcpt accepted", "accept rcpt accepted"},
	"sender-spf": {[]string{"sender=ann@liar.example"}, "550 5.7.23 <ann@liar.example>: Sender address rejected: its domain does not send from your address (SPF) [ID]",
		"refuse rcpt sender-spf", "accept rcpt accepted (sender-spf)"},
	"sender-spf, not wanted": {[]string{"sender=ann@liar.example recipient=bob@example.net"}, "DUNNO", "accept rcpt accepted", "accept rcpt accepted"},
	"null-sender-recipients": {[]string{"sender=", "sender= " + sentTo}, "452 4.5.3 A message with the null sender has one recipient, send this one separately [ID]",
		"accept rcpt accepted, defer rcpt null-sender-recipients", "accept rcpt accepted, accept rcpt accepted (null-sender-recipients)"},
	"null-sender-recipients at DATA": {[]string{"sender= protocol_state=DATA recipient= recipient_count=2"}, "452 4.5.3 A message with the null sender has one recipient, send this one separately [ID]",
		"defer rcpt null-sender-recipients", "accept rcpt accepted (null-sender-recipients)"},
	"one of two lists":  {[]string{"sender=", "sender="}, "DUNNO", "accept rcpt accepted", "accept rcpt accepted"},
	"two with a sender": {[]string{"", sentTo, "protocol_state=DATA recipient= recipient_count=2"}, "DUNNO", "accept rcpt accepted, accept rcpt accepted", "accept rcpt accepted, accept rcpt accepted"},
	"recipient-tag":     {[]string{"sender= recipient=prvs=1999abcdef=bob@example.org"}, "550 5.7.1 its tag was not made here, or is too old [ID]", "refuse rcpt recipient-tag", "accept rcpt accepted (recipient-tag)"},
	"a percent":         {[]string{"recipient=bob%far.example@example.org"}, "554 5.7.1 Relay access denied: the local part names a way to another domain [ID]", "refuse rcpt relay-denied", "refuse rcpt relay-denied"},
	"within the size":   {[]string{"", "protocol_state=END-OF-MESSAGE size=1000 recipient_count=1"}, "DUNNO", "accept rcpt accepted", "accept rcpt accepted"},
	"malformed recipient": {[]string{"recipient=" + strings.Repeat("x", 70) + "@Example.ORG"},
		"501 5.1.3 not a mail address: the local part is longer than 64 octets (RFC 5321, 4.5.3.1.1)", "", ""},
	"malformed recipient elsewhere": {[]string{"recipient=" + strings.Repeat("x", 70) + "@other.example"}, "DUNNO", "", ""},
	"malformed sender": {[]string{"sender=" + strings.Repeat("x", 70) + "@far.example"},
		"501 5.1.7 not a mail address: the local part is longer than 64 octets (RFC 5321, 4.5.3.1.1)", "", ""},
	"malformed sender, no domain": {[]string{"sender=" + strings.Repeat("x", 70) + "@far.example recipient=example.org"}, "DUNNO", "", ""},
	"malformed sender elsewhere":  {[]string{"sender=" + strings.Repeat("x", 70) + "@far.example recipient=bob@other.example"}, "DUNNO", "", ""},
	"malformed sender at DATA":    {[]string{"sender=" + strings.Repeat("x", 70) + "@far.example protocol_state=DATA recipient_count=2"}, "DUNNO", "", ""},
	"no address":                  {[]string{"recipient=@"}, "DUNNO", "", ""},
	"no recipient":                {[]string{"recipient="}, "DUNNO", "", ""},
	"too early":                   {[]string{"protocol_state=MAIL recipient="}, "DUNNO", "", ""},
	"VRFY":                        {[]string{"protocol_state=VRFY recipient=nobody@example.org"}, "DUNNO", "", ""},
	"no state":                    {[]string{"protocol_state="}, "DUNNO", "", ""},
	"nonsense": {[]string{"client_address=unknown client_port=-1 size=many protocol_name= instance=", "protocol_state=DATA recipient_count=99999999999999999999 instance="}, "DUNNO",
		"accept rcpt accepted", "accept rcpt accepted"},
}

func TestRules(t *testing.T) {
	for name, tt := range objections {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.opens(policyd.Policy)
			if got := w.play(tt.requests...); got != tt.action {
				t.Errorf("action %q, want %q", got, tt.action)
			}
			if got := w.decided(); got != tt.log {
				t.Errorf("written down: %s, want %s", got, tt.log)
			}
		})
	}
}

// TestWatch: nothing is refused but what is refused in every mode.
func TestWatch(t *testing.T) {
	for name, tt := range objections {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.watch()
			w.opens(policyd.Policy)
			got := w.play(tt.requests...)
			if firm := strings.Contains(tt.watching, "refuse"); got != "DUNNO" && !firm {
				t.Errorf("action %q", got)
			}
			if got := w.decided(); got != tt.watching {
				t.Errorf("written down: %s, want %s", got, tt.watching)
			}
		})
	}
}

// TestInstances: what is known of one message is not taken for known of another.
func TestInstances(t *testing.T) {
	w := newWorld(t)
	w.opens(policyd.Policy)
	c := postfix.NewPolicyClient(w.dial())
	for i, tt := range []struct{ request, action string }{
		{"instance=1 sender=", "DUNNO"},
		{"instance=2 sender= recipient=carol@example.org", "DUNNO"}, // else the second of a null sender
		{"instance=2 sender= recipient=bob@example.org", "452 4.5.3"},
		{"instance=3 sender=ceo@example.org", "550 5.7.1 <ceo@example.org>"},
		{"instance=3 sender=ceo@example.org recipient=carol@example.org", "550 5.7.1 <ceo@example.org>"},
		{"instance=3 sender=ann@far.example", "DUNNO"}, // by hand: Postfix does not do so
		{"instance=4 client_address=203.0.113.1", "554 5.7.1 Your address"},
		{"instance=4", "DUNNO"},
		{"instance= sender=", "DUNNO"},
		{"instance= sender= recipient=carol@example.org", "DUNNO"}, // nobody says that they are one
	} {
		if a, err := c.Ask(request(tt.request)...); err != nil || !strings.HasPrefix(a, tt.action) {
			t.Errorf("%d: %q, %v, want %q", i, a, err, tt.action)
		}
	}
}

// TestClient: what Postfix knows of its client is written down.
func TestClient(t *testing.T) {
	w := newWorld(t)
	w.opens(policyd.Policy)
	for given, want := range map[string]string{
		"client_address=2001:db8::1 helo_name=six.example":    `"client":"2001:db8::1"`,
		"client_address=192.0.2.7 helo_name=four.example":     `"helo":"four.example"`,
		"client_address=unknown sender=":                      `"from":"<>"`,
		"sender=An_n@far.example recipient=b_b@Example.ORG":   `"from":"\"An n\"@far.example"`,
		"recipient=b_b@Example.ORG sender=An_n@far.example x": `"to":"\"b b\"@Example.ORG"`,
		"protocol_name=SMTP":                                  `"door":"policy"`,
	} {
		if a := w.play(given); a != "DUNNO" {
			t.Errorf("%s: %s", given, a)
		}
		w.cfg.Journal.Flush()
		if log := w.log.take(); !strings.Contains(log, want) {
			t.Errorf("%s: %s lacks %s", given, log, want)
		}
	}
}

// TestReload: a message goes on as it began, and the next one is decided by the new configuration.
func TestReload(t *testing.T) {
	w := newWorld(t)
	w.opens(policyd.Policy)
	c := postfix.NewPolicyClient(w.dial())
	ask := func(changes, want string) {
		t.Helper()
		if a, err := c.Ask(request(changes)...); err != nil || !strings.HasPrefix(a, want) {
			t.Errorf("%s: %q, %v, want %q", changes, a, err, want)
		}
	}
	ask("instance=1 recipient=nobody@example.org", "550 5.1.1")
	w.watch()
	w.door.Configure(w.config(policyd.Policy))
	ask("instance=1 recipient=nobody@example.org", "550 5.1.1")
	ask("instance=2 recipient=nobody@example.org", "DUNNO")
	ask("instance=2 recipient=nobody2@example.org", "DUNNO")
}

// TestPanic: a fault of ours hangs up, so that Postfix says 451, and others go on.
func TestPanic(t *testing.T) {
	w := newWorld(t)
	blocked := w.cfg.Blocked
	w.cfg.Blocked = func(a netip.Addr) bool {
		if a == netip.MustParseAddr("192.0.2.66") {
			panic("at the connection")
		}
		return blocked(a)
	}
	w.opens(policyd.Policy)
	other := postfix.NewPolicyClient(w.dial())
	if _, err := other.Ask(request("")...); err != nil {
		t.Fatal(err)
	}
	if a, err := postfix.NewPolicyClient(w.dial()).Ask(request("client_address=192.0.2.66")...); !errors.Is(err, postfix.ErrHangUp) {
		t.Errorf("%q, %v", a, err)
	}
	if a, err := other.Ask(request("instance=2")...); a != "DUNNO" || err != nil {
		t.Errorf("the other connection: %q, %v", a, err)
	}
	if v := <-w.told; v != "at the connection" {
		t.Errorf("told of %v", v)
	}
}

// TestMalformed: the operator is told, once.
func TestMalformed(t *testing.T) {
	w := newWorld(t)
	w.opens(policyd.Policy)
	for range 3 {
		nc := w.dial()
		if _, err := io.WriteString(nc, "GET / HTTP/1.0\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(nc); len(b) > 0 || err != nil {
			t.Errorf("answered %q, %v", b, err)
		}
	}
	if log := w.ops.take(); strings.Count(log, "a connection is closed") != 1 || !strings.Contains(log, "door=policy protocol=policy ") || !strings.Contains(log, "LF alone") {
		t.Errorf("logged %s", log)
	}
}

// slow is a source that answers when it is let.
type slow struct{ begun, let chan struct{} }

func (slow) Name() string { return "slow" }
func (s slow) Lookup(ctx context.Context, _ mail.Address) directory.Answer {
	s.begun <- struct{}{}
	select {
	case <-s.let:
		return directory.Answer{Standing: evidence.Missing}
	case <-ctx.Done():
		return directory.Answer{Standing: evidence.Unavailable}
	}
}

// slowly gives example.org a slow source.
func (w *world) slowly() slow {
	s := slow{make(chan struct{}), make(chan struct{})}
	w.org.Chain = directory.NewChain("slow", directory.Member{Source: s, Lives: directory.Lives{}})
	return s
}

func TestDrain(t *testing.T) {
	w := newWorld(t)
	s := w.slowly()
	w.opens(policyd.Policy)
	idle, busy := postfix.NewPolicyClient(w.dial()), postfix.NewPolicyClient(w.dial())
	if a, err := idle.Ask(request("recipient=bob@example.net")...); a != "DUNNO" || err != nil {
		t.Fatal(a, err)
	}
	must(t, busy.Send(request("")...))
	<-s.begun
	if n := w.door.Open(); n != 2 {
		t.Errorf("%d connections are open", n)
	}
	over := make(chan error, 1)
	go func() { over <- w.door.Shutdown(t.Context()) }()
	if _, err := idle.Receive(); !errors.Is(err, postfix.ErrHangUp) {
		t.Errorf("the idle one: %v", err)
	}
	close(s.let)
	if a, err := busy.Receive(); !strings.HasPrefix(a, "550 5.1.1") || err != nil {
		t.Errorf("the busy one: %q, %v", a, err)
	}
	must(t, <-over)
}

// TestCut: who waits for a source when the time is up is cut off, and nobody is told no.
func TestCut(t *testing.T) {
	w := newWorld(t)
	s := w.slowly()
	w.opens(policyd.Policy)
	c := postfix.NewPolicyClient(w.dial())
	must(t, c.Send(request("")...))
	<-s.begun
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.door.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown: %v", err)
	}
	if a, err := c.Receive(); err == nil && !strings.HasPrefix(a, "451") {
		t.Errorf("told %q", a)
	}
}
