package relay_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"

	"go.uber.org/goleak"

	"backstop/internal/evidence"
	"backstop/internal/mail"
	"backstop/internal/mailtest"
	"backstop/internal/relay"
	"backstop/internal/route"
	"backstop/internal/smtp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var plain = smtp.RcptParams{}

// down is a downstream in front of a mock; options is appended to its URL.
func down(t testing.TB, m *mailtest.Mock, options string, change func(*relay.Options)) *relay.Downstream {
	t.Helper()
	return downAt(t, "smtp://"+m.Addr()+options, change)
}

func downAt(t testing.TB, url string, change func(*relay.Options)) *relay.Downstream {
	t.Helper()
	r, err := route.ParseRelay(url)
	if err != nil {
		t.Fatal(err)
	}
	o := relay.Options{LocalName: "gate.test"}
	if change != nil {
		change(&o)
	}
	d := relay.New(r, o)
	t.Cleanup(d.Close)
	return d
}

func addr(t testing.TB, s string) mail.Address {
	t.Helper()
	a, err := mail.ParseAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func envelope(t testing.TB) relay.Envelope {
	return relay.Envelope{
		From: mail.ReversePath{Address: addr(t, "sender@a.example")},
		Client: evidence.Client{
			Addr: netip.MustParseAddr("192.0.2.7"), Port: 4711, Name: "client.example", Helo: "helo.example", Protocol: "ESMTPS",
		},
	}
}

// want holds an answer against outcome, step and code.
func want(t testing.TB, a evidence.Answer, o evidence.Outcome, s evidence.Step, code int) {
	t.Helper()
	if a.Outcome != o || a.Step != s || a.Code != code {
		t.Errorf("%v at %v, code %d (%s); want %v at %v, code %d", a.Outcome, a.Step, a.Code, a.Text, o, s, code)
	}
	if a.Host == "" {
		t.Error("the answer does not say whose it is")
	}
}

const (
	accepted    = evidence.OutcomeAccepted
	refused     = evidence.OutcomeRefused
	deferred    = evidence.OutcomeDeferred
	unreachable = evidence.OutcomeUnreachable
	silent      = evidence.OutcomeSilent
	unsupported = evidence.OutcomeUnsupported
)

// held is a body that is at hand, as the session gives a small one.
type held struct{ *bytes.Reader }

func (h held) Buffered() ([]byte, bool) { return nil, true }

// pass sends one whole message and expects it to be taken.
func pass(t testing.TB, d *relay.Downstream, body []byte) {
	t.Helper()
	tx := d.Begin(t.Context(), envelope(t))
	want(t, tx.Rcpt(t.Context(), addr(t, "ann@d.example"), plain), accepted, evidence.StepRcpt, 250)
	want(t, tx.Data(t.Context(), []byte("Received: by gate.test\r\n"), held{bytes.NewReader(body)}), accepted, evidence.StepMessage, 250)
	tx.Abort()
}

func checkHeld(t testing.TB, m *mailtest.Mock, bodies ...[]byte) {
	t.Helper()
	got := m.Messages()
	if len(got) != len(bodies) {
		t.Fatalf("%d messages arrived, not %d", len(got), len(bodies))
	}
	for i, b := range bodies {
		if !bytes.Equal(got[i].Body, append([]byte("Received: by gate.test\r\n"), b...)) {
			t.Errorf("message %d is another one", i)
		}
	}
	if f := m.Faults(); len(f) > 0 {
		t.Error(f)
	}
}

func TestReuse(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{})
	d := down(t, m, "", nil)
	one, two := mailtest.Generate(1, 4096, mailtest.EightBit), mailtest.Generate(2, 300<<10, mailtest.Plain)
	pass(t, d, one)
	pass(t, d, two)
	checkHeld(t, m, one, two)
	if n := len(m.Wires()); n != 1 {
		t.Errorf("%d connections for two messages", n)
	}
	if s := d.State(); !s.Up || s.Open != 1 || s.Idle != 1 || !s.Capabilities.Pipelining || s.LastError != "" {
		t.Errorf("%+v", s)
	}
	if _, seen := d.Capabilities(); !seen {
		t.Error("the capabilities were not seen")
	}
	d.Close()
	m.WaitIdle(t)
	if s := d.State(); s.Open != 0 || s.Idle != 0 {
		t.Errorf("after Close: %+v", s)
	}
}

// TestReset: what a transaction without recipients left behind is forgotten in the same write as the next MAIL.
func TestReset(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{Users: []string{"ann"}})
	var nc atomic.Pointer[counted]
	d := down(t, m, "", func(o *relay.Options) { o.Dial = counting(&nc) })
	tx := d.Begin(t.Context(), envelope(t))
	a := tx.Rcpt(t.Context(), addr(t, "nobody@d.example"), plain)
	want(t, a, refused, evidence.StepRcpt, 550)
	if !a.NoSuchUser {
		t.Errorf("%+v", a)
	}
	if tx.Accepted() != 0 {
		t.Errorf("%d accepted", tx.Accepted())
	}
	tx.Abort()
	tx.Abort()
	before := nc.Load().writes.Load()
	tx = d.Begin(t.Context(), envelope(t))
	want(t, tx.Rcpt(t.Context(), addr(t, "ann@d.example"), plain), accepted, evidence.StepRcpt, 250)
	if n := nc.Load().writes.Load() - before; n != 1 {
		t.Errorf("RSET, MAIL and RCPT took %d writes", n)
	}
	if got := m.Commands(); !slices.Equal(verbs(got), []string{"EHLO", "MAIL", "RCPT", "RSET", "MAIL", "RCPT"}) {
		t.Errorf("%q", got)
	}
	before = nc.Load().writes.Load()
	want(t, tx.Data(t.Context(), nil, held{bytes.NewReader([]byte("x\r\n"))}), accepted, evidence.StepMessage, 250)
	if n := nc.Load().writes.Load() - before; n != 1 {
		t.Errorf("a small message took %d writes", n)
	}
	if got := m.Messages(); len(got) != 1 || !got[0].Chunked || len(got[0].To) != 1 {
		t.Errorf("%+v", got)
	}
}

func verbs(commands []string) []string {
	var v []string
	for _, c := range commands {
		word, _, _ := strings.Cut(c, " ")
		v = append(v, word)
	}
	return v
}

type counted struct {
	net.Conn
	writes atomic.Int32
}

func (c *counted) Write(p []byte) (int, error) { c.writes.Add(1); return c.Conn.Write(p) }
func (c *counted) NetConn() net.Conn           { return c.Conn }

func counting(last *atomic.Pointer[counted]) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		nc, err := new(net.Dialer).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		c := &counted{Conn: nc}
		last.Store(c)
		return c, nil
	}
}

// TestStale: a connection that died while idle is replaced without anybody noticing.
func TestStale(t *testing.T) {
	for name, die := range map[string]func(*mailtest.Mock){
		"it hung up":          func(m *mailtest.Mock) { m.Hangup() },
		"it hangs up at RSET": func(m *mailtest.Mock) { m.On(mailtest.Rule{On: "RSET", Hangup: true, Times: 1}) },
		"it says 421 at RSET": func(m *mailtest.Mock) {
			m.On(mailtest.Rule{On: "RSET", Reply: "421 4.4.2 idle", Hangup: true, Times: 1})
		},
		"it hangs up at MAIL": func(m *mailtest.Mock) { m.On(mailtest.Rule{On: "MAIL", Hangup: true, Times: 1}) },
		"it says 421 at MAIL": func(m *mailtest.Mock) {
			m.On(mailtest.Rule{On: "MAIL", Reply: "421 4.4.2 idle", Hangup: true, Times: 1})
		},
		"it refuses RSET":        func(m *mailtest.Mock) { m.On(mailtest.Rule{On: "RSET", Reply: "500 5.5.1 what", Times: 1}) },
		"it is out of step":      func(m *mailtest.Mock) { m.On(mailtest.Rule{On: "RSET", Reply: "354 go on", Times: 1}) },
		"it talks nonsense":      func(m *mailtest.Mock) { m.On(mailtest.Rule{On: "RSET", Reply: "nonsense", Times: 1}) },
		"it was restarted whole": func(m *mailtest.Mock) { m.Down(); m.Up() },
	} {
		t.Run(name, func(t *testing.T) {
			m := mailtest.NewMock(t, mailtest.Script{Users: []string{"ann"}})
			d := down(t, m, "", nil)
			tx := d.Begin(t.Context(), envelope(t))
			want(t, tx.Rcpt(t.Context(), addr(t, "nobody@d.example"), plain), refused, evidence.StepRcpt, 550)
			tx.Abort()
			die(m)
			body := mailtest.Generate(1, 4096, mailtest.Plain)
			pass(t, d, body)
			checkHeld(t, m, body)
			if s := d.State(); s.Open != 1 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// TestStaleOnce: a fresh connection that fails is not tried a third time.
func TestStaleOnce(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{})
	d := down(t, m, "", nil)
	pass(t, d, []byte("x\r\n"))
	m.On(mailtest.Rule{On: "MAIL", Hangup: true})
	tx := d.Begin(t.Context(), envelope(t))
	want(t, tx.Rcpt(t.Context(), addr(t, "ann@d.example"), plain), unreachable, evidence.StepMail, 0)
	if n := m.Asked("EHLO"); n != 2 {
		t.Errorf("%d connections", n)
	}
	if s := d.State(); s.Open != 0 {
		t.Errorf("%+v", s)
	}
}

func TestAnswers(t *testing.T) {
	for _, c := range []struct {
		on, reply string
		outcome   evidence.Outcome
		step      evidence.Step
		code      int
		nobody    bool
	}{
		{"CONNECT", "554 5.3.2 not here", refused, evidence.StepBanner, 554, false},
		{"CONNECT", "421 busy", deferred, evidence.StepBanner, 421, false},
		{"CONNECT", "354 what", unreachable, evidence.StepBanner, 0, false},
		{"CONNECT", "SSH-2.0-x", unreachable, evidence.StepBanner, 0, false},
		{"EHLO", "421 busy", deferred, evidence.StepHello, 421, false},
		{"MAIL", "550 5.7.1 not from you", refused, evidence.StepMail, 550, false},
		{"MAIL", "550 5.1.1 no such user", refused, evidence.StepMail, 550, false},
		{"MAIL", "452 4.3.1 full", deferred, evidence.StepMail, 452, false},
		{"MAIL", "421 4.3.2 closing", deferred, evidence.StepMail, 421, false},
		{"MAIL", "354 go on", unreachable, evidence.StepConnect, 0, false},
		{"RCPT", "550 5.1.1 no such user", refused, evidence.StepRcpt, 550, true},
		{"RCPT", "550 5.7.1 no", refused, evidence.StepRcpt, 550, false},
		{"RCPT", "450 4.2.0 greylisted", deferred, evidence.StepRcpt, 450, false},
		{"RCPT", "421 4.3.2 closing", deferred, evidence.StepRcpt, 421, false},
		{"RCPT", "251 2.1.5 forwarding", accepted, evidence.StepRcpt, 251, false},
		{"RCPT", "354 go on", unreachable, evidence.StepConnect, 0, false},
		{"RCPT", "nonsense", unreachable, evidence.StepRcpt, 0, false},
	} {
		m := mailtest.NewMock(t, mailtest.Script{Rules: []mailtest.Rule{{On: c.on, Reply: c.reply}}})
		d := down(t, m, "", nil)
		tx := d.Begin(t.Context(), envelope(t))
		a := tx.Rcpt(t.Context(), addr(t, "ann@d.example"), plain)
		want(t, a, c.outcome, c.step, c.code)
		if a.NoSuchUser != c.nobody {
			t.Errorf("%s %q: no such user: %v", c.on, c.reply, a.NoSuchUser)
		}
		tx.Abort()
		if s := d.State(); s.Open != s.Idle {
			t.Errorf("%s %q: %+v", c.on, c.reply, s)
		}
		if strings.HasPrefix(c.reply, "421") || strings.HasPrefix(c.reply, "354") {
			if s := d.State(); s.Open != 0 {
				t.Errorf("%s %q: the connection was kept", c.on, c.reply)
			}
		}
	}
}

func TestMessageAnswers(t *testing.T) {
	for _, c := range []struct {
		on, reply string
		chunked   bool
		outcome   evidence.Outcome
		step      evidence.Step
		code      int
		kept      int // connections
	}{
		{"DOT", "250 2.0.0 queued as 1", false, accepted, evidence.StepMessage, 250, 1},
		{"DOT", "250 2.0.0 queued as 1", true, accepted, evidence.StepMessage, 250, 1},
		{"DOT", "554 5.7.1 spam", false, refused, evidence.StepMessage, 554, 1},
		{"DOT", "554 5.7.1 spam", true, refused, evidence.StepMessage, 554, 1},
		{"DOT", "451 4.3.0 later", false, deferred, evidence.StepMessage, 451, 1},
		{"DOT", "421 4.3.0 closing", true, deferred, evidence.StepMessage, 421, 0},
		{"DOT", "354 go on", false, silent, evidence.StepMessage, 0, 0},
		{"DOT", "354 go on", true, silent, evidence.StepMessage, 0, 0},
		{"DOT", "nonsense", false, silent, evidence.StepMessage, 0, 0},
		{"DATA", "554 5.5.1 no valid recipients", false, refused, evidence.StepData, 554, 1},
		{"DATA", "451 4.3.0 later", false, deferred, evidence.StepData, 451, 1},
		{"DATA", "421 4.3.0 closing", false, deferred, evidence.StepData, 421, 0},
		{"DATA", "250 fine", false, unreachable, evidence.StepData, 250, 0},
		{"DATA", "355 what", false, unreachable, evidence.StepData, 0, 0},
	} {
		m := mailtest.NewMock(t, mailtest.Script{Rules: []mailtest.Rule{{On: c.on, Reply: c.reply}}})
		d := down(t, m, "", nil)
		tx := d.Begin(t.Context(), envelope(t))
		want(t, tx.Rcpt(t.Context(), addr(t, "ann@d.example"), plain), accepted, evidence.StepRcpt, 250)
		var body io.Reader = strings.NewReader("Subject: x\r\n\r\nx\r\n")
		if c.chunked {
			body = held{bytes.NewReader([]byte("Subject: x\r\n\r\nx\r\n"))}
		}
		a := tx.Data(t.Context(), nil, body)
		want(t, a, c.outcome, c.step, c.code)
		tx.Abort()
		if s := d.State(); s.Open != c.kept || s.Idle != c.kept {
			t.Errorf("%s %q: %+v", c.on, c.reply, s)
		}
		m.Set(mailtest.Script{})
		if c.kept > 0 && c.outcome != accepted {
			m.Forget()
			pass(t, d, []byte("another\r\n"))
			checkHeld(t, m, []byte("another\r\n"))
		}
	}
}

// TestLost: when the connection dies with recipients accepted on it, nothing may
// be sent for those who come later, since the earlier ones would not get it.
func TestLost(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{})
	d := down(t, m, "", nil)
	for _, rule := range []mailtest.Rule{{On: "RCPT", Hangup: true, Times: 1}, {On: "RCPT", Reply: "421 4.3.2 closing", Times: 1}} {
		tx := d.Begin(t.Context(), envelope(t))
		want(t, tx.Rcpt(t.Context(), addr(t, "ann@d.example"), plain), accepted, evidence.StepRcpt, 250)
		m.On(rule)
		if a := tx.Rcpt(t.Context(), addr(t, "bob@d.example"), plain); a.Outcome == accepted {
			t.Errorf("%+v", a)
		}
		if tx.Accepted() != 1 {
			t.Errorf("%d accepted: the session would begin anew without the first", tx.Accepted())
		}
		want(t, tx.Rcpt(t.Context(), addr(t, "eve@d.example"), plain), unreachable, evidence.StepRcpt, 0)
		want(t, tx.Data(t.Context(), nil, strings.NewReader("x\r\n")), unreachable, evidence.StepData, 0)
		tx.Abort()
		if n := len(m.Messages()); n != 0 || d.State().Open != 0 {
			t.Errorf("%d messages, %+v", n, d.State())
		}
	}
}

func TestUnsupported(t *testing.T) {
	for _, c := range []struct {
		offers []string
		p      smtp.MailParams
		to     string
		lacks  evidence.Extension
	}{
		{[]string{"SMTPUTF8"}, smtp.MailParams{Body: smtp.Body8BitMIME}, "a@b.example", evidence.Ext8BitMIME},
		{[]string{"8BITMIME"}, smtp.MailParams{UTF8: true}, "a@b.example", evidence.ExtSMTPUTF8},
		{[]string{"8BITMIME"}, smtp.MailParams{}, "ä@b.example", evidence.ExtSMTPUTF8},
		{[]string{"8BITMIME", "BINARYMIME"}, smtp.MailParams{Body: smtp.BodyBinaryMIME}, "a@b.example", evidence.ExtBinaryMIME},
		{[]string{"SIZE 1000"}, smtp.MailParams{Size: 1001}, "a@b.example", evidence.ExtSize},
		{[]string{"SIZE 1000"}, smtp.MailParams{Size: 1000}, "a@b.example", evidence.NoExtension},
		{[]string{"SIZE"}, smtp.MailParams{Size: 1 << 40}, "a@b.example", evidence.NoExtension},
		{[]string{}, smtp.MailParams{Body: smtp.Body7Bit}, "a@b.example", evidence.NoExtension},
		{[]string{"CHUNKING", "BINARYMIME"}, smtp.MailParams{Body: smtp.BodyBinaryMIME}, "a@b.example", evidence.NoExtension},
	} {
		m := mailtest.NewMock(t, mailtest.Script{Extensions: c.offers})
		d := down(t, m, "", nil)
		env := envelope(t)
		env.Params = c.p
		tx := d.Begin(t.Context(), env)
		a := tx.Rcpt(t.Context(), addr(t, c.to), plain)
		if c.lacks == evidence.NoExtension {
			want(t, a, accepted, evidence.StepRcpt, 250)
		} else {
			want(t, a, unsupported, evidence.StepMail, 0)
			if a.Unsupported != c.lacks || m.Asked("MAIL") > 0 {
				t.Errorf("%q: lacks %v, want %v; asked %q", c.offers, a.Unsupported, c.lacks, m.Commands())
			}
		}
		tx.Abort()
		if s := d.State(); s.Open != s.Idle || s.Idle != 1 && a.Outcome == unsupported {
			t.Errorf("%+v", s)
		}
	}
}

// TestAbort: the downstream hears at once that a message which it expects does not come.
func TestAbort(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{})
	d := down(t, m, "", nil)
	tx := d.Begin(t.Context(), envelope(t))
	tx.Abort() // before anything
	want(t, tx.Rcpt(t.Context(), addr(t, "ann@d.example"), plain), accepted, evidence.StepRcpt, 250)
	tx.Abort()
	tx.Abort()
	m.WaitIdle(t)
	if s := d.State(); s.Open != 0 || m.Asked("DATA") > 0 {
		t.Errorf("%+v, asked %q", s, m.Commands())
	}
}

// TestBodyError: a sender who goes away in the middle leaves the downstream with nothing.
func TestBodyError(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{})
	d := down(t, m, "", nil)
	gone := errors.New("the sender is gone")
	for _, size := range []int{64, 200 << 10} {
		for _, binary := range []bool{false, true} {
			env := envelope(t)
			if binary {
				env.Params.Body = smtp.BodyBinaryMIME
			}
			tx := d.Begin(t.Context(), env)
			want(t, tx.Rcpt(t.Context(), addr(t, "ann@d.example"), plain), accepted, evidence.StepRcpt, 250)
			body := io.MultiReader(bytes.NewReader(mailtest.Generate(1, size, mailtest.Plain)), iotest.ErrReader(gone))
			want(t, tx.Data(t.Context(), nil, body), unreachable, evidence.StepMessage, 0)
			tx.Abort()
			m.WaitIdle(t)
		}
	}
	if n := len(m.Messages()); n > 0 {
		t.Errorf("%d messages arrived", n)
	}
	if s := d.State(); s.Open != 0 {
		t.Errorf("%+v", s)
	}
}

func TestLMTP(t *testing.T) {
	s := mailtest.Script{LMTP: true, Users: []string{"ann", "bob"}}
	sock := filepath.Join(mailtest.Dir(t), "lmtp")
	for _, c := range []struct {
		m   *mailtest.Mock
		url func(*mailtest.Mock) string
	}{
		{mailtest.NewMock(t, s), func(m *mailtest.Mock) string { return "lmtp://" + m.Addr() }},
		{mailtest.NewUnixMock(t, s, sock), func(m *mailtest.Mock) string { return "lmtp+unix://" + sock }},
	} {
		d := downAt(t, c.url(c.m), nil)
		tx := d.Begin(t.Context(), envelope(t))
		a := tx.Rcpt(t.Context(), addr(t, "nobody@d.example"), plain)
		if want(t, a, refused, evidence.StepRcpt, 550); !a.NoSuchUser {
			t.Errorf("%+v", a)
		}
		want(t, tx.Rcpt(t.Context(), addr(t, "ann@d.example"), plain), accepted, evidence.StepRcpt, 250)
		want(t, tx.Rcpt(t.Context(), addr(t, "bob@d.example"), plain), deferred, evidence.StepRcpt, 452)
		want(t, tx.Data(t.Context(), []byte("Received: by gate.test\r\n"), strings.NewReader("x\r\n")), accepted, evidence.StepMessage, 250)
		tx.Abort()
		pass(t, d, []byte("y\r\n"))
		checkHeld(t, c.m, []byte("x\r\n"), []byte("y\r\n"))
		d.Close()
		c.m.WaitIdle(t)
	}
}
