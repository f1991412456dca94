package smtp_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"

	"backstop/internal/mail"
	"backstop/internal/mailtest"
	"backstop/internal/smtp"
)

// counted counts the writes that a client makes.
type counted struct {
	net.Conn
	writes atomic.Int32
}

func (c *counted) Write(p []byte) (int, error) { c.writes.Add(1); return c.Conn.Write(p) }
func (c *counted) NetConn() net.Conn           { return c.Conn }

func open(t testing.TB, m *mailtest.Mock) *counted {
	t.Helper()
	nc, err := net.Dial("tcp", m.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	return &counted{Conn: nc}
}

// talk opens a conversation that must come about.
func talk(t testing.TB, m *mailtest.Mock, cfg smtp.ClientConfig) (*smtp.Client, *counted) {
	t.Helper()
	nc := open(t, m)
	cfg.LocalName = "gate.test"
	c, err := smtp.NewClient(t.Context(), nc, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c, nc
}

func path(t testing.TB, s string) mail.Address {
	t.Helper()
	a, err := mail.ParseAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// begin gets a transaction as far as one accepted recipient.
func begin(t testing.TB, c *smtp.Client) {
	t.Helper()
	b := c.Batch()
	b.Mail(mail.ReversePath{Address: path(t, "a@b.example")}, smtp.MailParams{})
	b.Rcpt(path(t, "c@d.example"), smtp.RcptParams{})
	rs, err := b.Do(t.Context())
	if err != nil || len(rs) != 2 || rs[0].Code != 250 || rs[1].Code != 250 {
		t.Fatalf("%+v, %v", rs, err)
	}
}

func data(t testing.TB, c *smtp.Client) {
	t.Helper()
	b := c.Batch()
	b.Data()
	rs, err := b.Do(t.Context())
	if err != nil || rs[0].Code != 354 {
		t.Fatalf("%+v, %v", rs, err)
	}
}

func TestClientWrites(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{})
	for name, body := range map[string][]byte{
		"small": mailtest.Generate(1, 4<<10, mailtest.Plain),
		"64 KB": mailtest.Generate(2, 64<<10, mailtest.EightBit),
	} {
		for _, chunked := range []bool{false, true} {
			c, nc := talk(t, m, smtp.ClientConfig{})
			before := nc.writes.Load()
			begin(t, c)
			if n := nc.writes.Load() - before; n != 1 {
				t.Errorf("MAIL and RCPT took %d writes", n)
			}
			send, want := c.SendBDAT, int32(1)
			if !chunked {
				send, want = c.SendData, 2
				before = nc.writes.Load()
				data(t, c)
			} else {
				before = nc.writes.Load()
			}
			pre := []byte("Received: by gate.test\r\n")
			resp, err := send(t.Context(), pre, bytes.NewReader(body))
			if err != nil || resp.Code != 250 {
				t.Fatalf("%+v, %v", resp, err)
			}
			if n := nc.writes.Load() - before; n != want {
				t.Errorf("%s, chunked %v: %d writes, want %d", name, chunked, n, want)
			}
			held := m.Messages()
			if got := held[len(held)-1]; !bytes.Equal(got.Body, append(pre, body...)) || got.Chunked != chunked {
				t.Errorf("%s, chunked %v: another body arrived", name, chunked)
			}
			c.Quit(t.Context())
		}
	}
	if f := m.Faults(); len(f) > 0 {
		t.Error(f)
	}
}

func TestClientLargeMessage(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{})
	body := mailtest.Generate(3, 1<<20+17, mailtest.EightBit)
	for _, chunked := range []bool{false, true} {
		c, _ := talk(t, m, smtp.ClientConfig{})
		begin(t, c)
		send := c.SendBDAT
		if !chunked {
			data(t, c)
			send = c.SendData
		}
		resp, err := send(t.Context(), nil, iotest.HalfReader(bytes.NewReader(body)))
		if err != nil || resp.Code != 250 {
			t.Fatalf("%+v, %v", resp, err)
		}
		held := m.Messages()
		if !bytes.Equal(held[len(held)-1].Body, body) {
			t.Errorf("chunked %v: another body arrived", chunked)
		}
		c.Quit(t.Context())
	}
}

// TestClientLockStep: without PIPELINING, or told not to use it, a command waits for the answer before it.
func TestClientLockStep(t *testing.T) {
	for _, c := range []struct {
		offers []string
		cfg    smtp.ClientConfig
	}{
		{[]string{"8BITMIME"}, smtp.ClientConfig{}},
		{mailtest.AllExtensions, smtp.ClientConfig{NoPipelining: true}},
	} {
		m := mailtest.NewMock(t, mailtest.Script{Extensions: c.offers})
		cl, nc := talk(t, m, c.cfg)
		before := nc.writes.Load()
		begin(t, cl)
		if n := nc.writes.Load() - before; n != 2 {
			t.Errorf("%d writes for two commands", n)
		}
		m.On(mailtest.Rule{On: "MAIL", Reply: "550 5.7.1 no"})
		b := cl.Batch()
		b.Reset()
		b.Mail(mail.ReversePath{}, smtp.MailParams{})
		b.Rcpt(path(t, "never@asked.example"), smtp.RcptParams{})
		rs, err := b.Do(t.Context())
		if err != nil || len(rs) != 2 || rs[1].Code != 550 {
			t.Errorf("%+v, %v", rs, err)
		}
		if m.Asked("RCPT TO:<never") != 0 {
			t.Error("RCPT went out behind a refused MAIL")
		}
		cl.Close()
	}
}

func TestClientHello(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{Extensions: []string{
		"pipelining", "SIZE 1000", "8BitMIME", "SMTPUTF8", "CHUNKING", "BINARYMIME", "DSN", "ENHANCEDSTATUSCODES",
		"XCLIENT NAME ADDR", "XFORWARD NAME ADDR PORT", "AUTH=LOGIN", "X-UNHEARD-OF 1 2 3", "",
	}})
	c, _ := talk(t, m, smtp.ClientConfig{})
	caps := c.Capabilities()
	if !caps.ESMTP || !caps.Pipelining || !caps.EightBitMIME || !caps.SMTPUTF8 || !caps.Chunking || !caps.BinaryMIME ||
		!caps.DSN || !caps.EnhancedStatus || !caps.SizeOffered || caps.Size != 1000 || caps.TLS || caps.StartTLS {
		t.Errorf("%+v", caps)
	}
	if !slices.Equal(caps.XClient, []string{"NAME", "ADDR"}) || !slices.Equal(caps.XForward, []string{"NAME", "ADDR", "PORT"}) {
		t.Errorf("%+v", caps)
	}
	c.Quit(t.Context())
	m.On(mailtest.Rule{On: "EHLO", Reply: "500 5.5.1 EHLO?"})
	c, _ = talk(t, m, smtp.ClientConfig{})
	if caps := c.Capabilities(); caps.ESMTP || caps.Pipelining || m.Asked("HELO gate.test") != 1 {
		t.Errorf("%+v, asked %q", caps, m.Commands())
	}
	c.Quit(t.Context())
}

func TestClientRefused(t *testing.T) {
	for name, c := range map[string]struct {
		rules []mailtest.Rule
		cfg   smtp.ClientConfig
		step  smtp.Step
		code  int
	}{
		"banner 554":    {[]mailtest.Rule{{On: "CONNECT", Reply: "554 5.3.2 not here"}}, smtp.ClientConfig{}, smtp.StepBanner, 554},
		"banner 421":    {[]mailtest.Rule{{On: "CONNECT", Reply: "421 busy"}}, smtp.ClientConfig{}, smtp.StepBanner, 421},
		"banner 354":    {[]mailtest.Rule{{On: "CONNECT", Reply: "354 what"}}, smtp.ClientConfig{}, smtp.StepBanner, 354},
		"EHLO 421":      {[]mailtest.Rule{{On: "EHLO", Reply: "421 busy"}}, smtp.ClientConfig{}, smtp.StepHello, 421},
		"HELO 550":      {[]mailtest.Rule{{On: "EHLO", Reply: "550 no"}, {On: "HELO", Reply: "550 still no"}}, smtp.ClientConfig{}, smtp.StepHello, 550},
		"LHLO to SMTP":  {nil, smtp.ClientConfig{LMTP: true}, smtp.StepHello, 500},
		"STARTTLS 454":  {[]mailtest.Rule{{On: "STARTTLS", Reply: "454 4.7.0 not now"}}, smtp.ClientConfig{TLS: smtp.TLSRequire}, smtp.StepStartTLS, 454},
		"many-line 554": {[]mailtest.Rule{{On: "CONNECT", Reply: "554-5.7.1 go\n554-5.7.1 away\n554 5.7.1 now"}}, smtp.ClientConfig{}, smtp.StepBanner, 554},
	} {
		t.Run(name, func(t *testing.T) {
			ca := mailtest.NewAuthority(t)
			m := mailtest.NewMock(t, mailtest.Script{Rules: c.rules, TLS: &tls.Config{Certificates: []tls.Certificate{ca.Issue(t, "localhost")}}})
			if c.cfg.TLS != smtp.TLSRequire {
				c.cfg.TLS = smtp.TLSOff
			}
			c.cfg.LocalName = "gate.test"
			nc := open(t, m)
			_, err := smtp.NewClient(t.Context(), nc, c.cfg)
			var refused *smtp.RefusedError
			if !errors.As(err, &refused) || refused.Step != c.step || refused.Response.Code != c.code {
				t.Fatalf("%v", err)
			}
			if _, err := nc.Write(nil); err == nil {
				if _, err = nc.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
					t.Errorf("the connection was left open: %v", err)
				}
			}
		})
	}
}

func TestClientTLS(t *testing.T) {
	ca := mailtest.NewAuthority(t)
	other := mailtest.NewAuthority(t)
	offered := &tls.Config{Certificates: []tls.Certificate{ca.Issue(t, "mx.test")}}
	for name, c := range map[string]struct {
		server *tls.Config
		cfg    smtp.ClientConfig
		fails  bool
		tls    bool
	}{
		"opportunistic, offered":      {offered, smtp.ClientConfig{ServerName: "another.name"}, false, true},
		"opportunistic, not offered":  {nil, smtp.ClientConfig{}, false, false},
		"off, offered":                {offered, smtp.ClientConfig{TLS: smtp.TLSOff}, false, false},
		"required, trusted":           {offered, smtp.ClientConfig{TLS: smtp.TLSRequire, ServerName: "mx.test", TLSConfig: &tls.Config{RootCAs: ca.Pool()}}, false, true},
		"required, not offered":       {nil, smtp.ClientConfig{TLS: smtp.TLSRequire, ServerName: "mx.test"}, true, false},
		"required, wrong name":        {offered, smtp.ClientConfig{TLS: smtp.TLSRequire, ServerName: "mx2.test", TLSConfig: &tls.Config{RootCAs: ca.Pool()}}, true, false},
		"required, unknown authority": {offered, smtp.ClientConfig{TLS: smtp.TLSRequire, ServerName: "mx.test", TLSConfig: &tls.Config{RootCAs: other.Pool()}}, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			m := mailtest.NewMock(t, mailtest.Script{TLS: c.server})
			c.cfg.LocalName = "gate.test"
			cl, err := smtp.NewClient(t.Context(), open(t, m), c.cfg)
			if c.fails {
				var broken *smtp.StepError
				if !errors.As(err, &broken) || broken.Step != smtp.StepStartTLS {
					t.Fatalf("%v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if cl.Capabilities().TLS != c.tls {
				t.Errorf("%+v", cl.Capabilities())
			}
			begin(t, cl)
			if !cl.Idle() {
				t.Error("an open connection is not seen as idle")
			}
			m.Hangup()
			m.WaitIdle(t)
			if cl.Idle() {
				t.Error("a closed connection is seen as idle")
			}
			cl.Close()
		})
	}
}

// TestClientTLSInjection: what comes in the clear behind the answer to STARTTLS is nobody's word.
func TestClientTLSInjection(t *testing.T) {
	ca := mailtest.NewAuthority(t)
	m := mailtest.NewMock(t, mailtest.Script{
		TLS:   &tls.Config{Certificates: []tls.Certificate{ca.Issue(t, "mx.test")}},
		Rules: []mailtest.Rule{{On: "STARTTLS", Reply: "220 go\n250-evil\n250 XFORWARD NAME"}},
	})
	cl, err := smtp.NewClient(t.Context(), open(t, m), smtp.ClientConfig{LocalName: "gate.test"})
	if err == nil {
		defer cl.Close()
		if len(cl.Capabilities().XForward) > 0 {
			t.Errorf("the injected answer was believed: %+v", cl.Capabilities())
		}
	}
}

func TestClientParams(t *testing.T) {
	all := smtp.MailParams{Size: 123, Body: smtp.Body8BitMIME, UTF8: true, Ret: "HDRS", EnvID: "x+2By", Auth: "<>"}
	rp := smtp.RcptParams{Notify: "NEVER", ORcpt: "rfc822;c@d.example"}
	for _, c := range []struct {
		offers     []string
		mail, rcpt string
	}{
		{[]string{"SIZE", "8BITMIME", "SMTPUTF8", "DSN"}, "MAIL FROM:<a@b.example> SIZE=123 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=x+2By", "RCPT TO:<c@d.example> NOTIFY=NEVER ORCPT=rfc822;c@d.example"},
		{[]string{"SIZE 1000"}, "MAIL FROM:<a@b.example> SIZE=123", "RCPT TO:<c@d.example>"},
		{[]string{"PIPELINING"}, "MAIL FROM:<a@b.example>", "RCPT TO:<c@d.example>"},
	} {
		m := mailtest.NewMock(t, mailtest.Script{Extensions: c.offers})
		cl, _ := talk(t, m, smtp.ClientConfig{})
		b := cl.Batch()
		b.Mail(mail.ReversePath{Address: path(t, "a@b.example")}, all)
		b.Rcpt(path(t, "c@d.example"), rp)
		if _, err := b.Do(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := m.Commands()[1:]; !slices.Equal(got, []string{c.mail, c.rcpt}) {
			t.Errorf("offered %q: %q", c.offers, got)
		}
		cl.Quit(t.Context())
	}
}

func TestClientXClient(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{Extensions: []string{"PIPELINING", "XCLIENT NAME ADDR HELO", "XFORWARD NAME ADDR"}})
	c, _ := talk(t, m, smtp.ClientConfig{})
	attrs := []smtp.Attr{{Name: "NAME", Value: ""}, {Name: "ADDR", Value: "IPV6:2001:db8::1"}, {Name: "PORT", Value: "25"}, {Name: "HELO", Value: "a b+c=\xff" + strings.Repeat("x", 1000)}}
	resp, err := c.XClient(t.Context(), attrs)
	if err != nil || resp.Code != 220 {
		t.Fatalf("%+v, %v", resp, err)
	}
	b := c.Batch()
	b.XForward(attrs)
	b.Mail(mail.ReversePath{}, smtp.MailParams{})
	b.Rcpt(path(t, "c@d.example"), smtp.RcptParams{})
	if rs, err := b.Do(t.Context()); err != nil || len(rs) != 3 || rs[0].Class() != 2 {
		t.Fatalf("%+v, %v", rs, err)
	}
	cmds := m.Commands()
	if !regexp.MustCompile(`^XCLIENT NAME=\[UNAVAILABLE\] ADDR=IPV6:2001:db8::1 HELO=a\+20b\+2Bc\+3D\+FFx{200,255}$`).MatchString(cmds[1]) {
		t.Errorf("%q", cmds[1])
	}
	if want := []string{"EHLO gate.test", "XFORWARD NAME=[UNAVAILABLE] ADDR=IPV6:2001:db8::1", "MAIL FROM:<>", "RCPT TO:<c@d.example>"}; !slices.Equal(cmds[2:], want) {
		t.Errorf("%q", cmds[2:])
	}
	c.Leave()
	m.WaitIdle(t)
}

func TestClientIdle(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{})
	c, _ := talk(t, m, smtp.ClientConfig{})
	if !c.Idle() {
		t.Error("not idle after EHLO")
	}
	begin(t, c)
	if !c.Idle() {
		t.Error("not idle in a transaction")
	}
	m.Hangup()
	m.WaitIdle(t)
	if c.Idle() {
		t.Error("idle after the server went")
	}
	c.Close()
	if c.Idle() {
		t.Error("idle when closed")
	}
	// An unasked-for farewell: it is answered to the command before it, in the same write.
	m.On(mailtest.Rule{On: "NOOP", Reply: "250 ok"})
	m.On(mailtest.Rule{On: "RSET", Reply: "250 ok\n421 4.4.2 idle too long"})
	c, _ = talk(t, m, smtp.ClientConfig{})
	b := c.Batch()
	b.Reset()
	if _, err := b.Do(t.Context()); err != nil {
		t.Fatal(err)
	}
	if c.Idle() {
		t.Error("idle with an answer that nobody asked for")
	}
	c.Close()
}

// errBody ends in the middle.
var errBody = errors.New("the sender is gone")

func TestClientBodyError(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{})
	for _, size := range []int{0, 10, 100 << 10, 400 << 10} {
		for _, chunked := range []bool{false, true} {
			c, _ := talk(t, m, smtp.ClientConfig{})
			begin(t, c)
			send := c.SendBDAT
			if !chunked {
				data(t, c)
				send = c.SendData
			}
			body := io.MultiReader(bytes.NewReader(mailtest.Generate(1, max(size, 64), mailtest.Plain)[:size]), iotest.ErrReader(errBody))
			_, err := send(t.Context(), []byte("Received: x\r\n"), body)
			var be *smtp.BodyError
			if !errors.As(err, &be) || !errors.Is(err, errBody) {
				t.Errorf("%d octets, chunked %v: %v", size, chunked, err)
			}
			m.WaitIdle(t)
		}
	}
	if held := m.Messages(); len(held) > 0 {
		t.Errorf("the server holds %d messages that were never ended", len(held))
	}
}

// TestClientContext ends the context while the server is silent, at each step.
func TestClientContext(t *testing.T) {
	cause := errors.New("enough")
	for _, verb := range []string{"CONNECT", "EHLO", "STARTTLS", "XCLIENT", "MAIL", "RCPT", "DATA", "DOT", "BDAT", "RSET", "QUIT"} {
		t.Run(verb, func(t *testing.T) {
			s := mailtest.Script{Rules: []mailtest.Rule{{On: verb, Silent: true}}, Extensions: append([]string{"XCLIENT ADDR"}, mailtest.AllExtensions...)}
			if verb == "BDAT" {
				s.Rules[0].On = "DOT"
			}
			if verb == "STARTTLS" {
				ca := mailtest.NewAuthority(t)
				s.TLS = &tls.Config{Certificates: []tls.Certificate{ca.Issue(t, "mx.test")}}
			}
			m := mailtest.NewMock(t, s)
			ctx, cancel := context.WithCancelCause(t.Context())
			nc := open(t, m)
			done := make(chan error, 1)
			go func() { done <- wholeMail(ctx, nc, verb == "BDAT") }()
			m.Wait(t, verb, func(m *mailtest.Mock) bool {
				ws := m.Wires()
				switch verb {
				case "CONNECT":
					return len(ws) == 1
				case "DOT":
					return len(ws) > 0 && bytes.HasSuffix(ws[0].In, []byte("\r\n.\r\n"))
				}
				return m.Asked(verb) > 0
			})
			cancel(cause)
			err := <-done
			var se *smtp.StepError
			if !errors.As(err, &se) || !errors.Is(err, cause) || se.Timeout() {
				t.Fatalf("%v", err)
			}
			if sent := verb == "DOT" || verb == "BDAT"; se.Sent != sent {
				t.Errorf("sent: %v", se.Sent)
			}
			m.WaitIdle(t)
		})
	}
}

// wholeMail sends one message from the banner to QUIT.
func wholeMail(ctx context.Context, nc net.Conn, chunked bool) error {
	c, err := smtp.NewClient(ctx, nc, smtp.ClientConfig{LocalName: "gate.test"})
	if err != nil {
		return err
	}
	defer c.Close()
	if len(c.Capabilities().XClient) > 0 {
		if _, err := c.XClient(ctx, []smtp.Attr{{Name: "ADDR", Value: "192.0.2.1"}}); err != nil {
			return err
		}
	}
	b := c.Batch()
	b.Mail(mail.ReversePath{}, smtp.MailParams{})
	to, _ := mail.ParseAddress("c@d.example")
	b.Rcpt(to, smtp.RcptParams{})
	send := c.SendBDAT
	if !chunked {
		b.Data()
		send = c.SendData
	}
	if _, err := b.Do(ctx); err != nil {
		return err
	}
	resp, err := send(ctx, nil, strings.NewReader("Subject: x\r\n\r\nbody\r\n"))
	if err != nil {
		return err
	}
	if resp.Class() != 2 {
		return &smtp.RefusedError{Step: smtp.StepMessage, Response: resp}
	}
	b = c.Batch()
	b.Reset()
	if _, err := b.Do(ctx); err != nil {
		return err
	}
	return c.Quit(ctx)
}
