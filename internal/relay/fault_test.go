package relay_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"backstop/internal/evidence"
	"backstop/internal/mailtest"
	"backstop/internal/relay"
	"backstop/internal/smtp"
)

// TestSweep lets the downstream die after every octet that it sends and after
// every one that it reads, and holds what the relay says against what it then has.
func TestSweep(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{})
	body := []byte("Subject: x\r\n\r\n.\r\nbody\r\n")
	for name, chunked := range map[string]bool{"DATA": false, "BDAT": true} {
		t.Run(name, func(t *testing.T) {
			m.Set(mailtest.Script{})
			m.Forget()
			turn := func(what string) {
				d := down(t, m, "", nil)
				final, told := sweepTurn(t, d, body, chunked)
				d.Close()
				m.WaitIdle(t)
				checkTurn(t, m, what, final, told, body)
				if s := d.State(); s.Open != 0 {
					t.Errorf("%s: %+v", what, s)
				}
			}
			turn("whole")
			whole := m.Wires()[0]
			for _, reset := range []bool{false, true} {
				for n := range len(whole.Out) + 1 {
					m.Set(mailtest.Script{CutSent: mailtest.After(int64(n)), ResetCut: reset})
					m.Forget()
					turn(fmt.Sprintf("cut after %d octets sent, reset %v", n, reset))
				}
				for n := range len(whole.In) + 1 {
					m.Set(mailtest.Script{CutReceived: mailtest.After(int64(n)), ResetCut: reset})
					m.Forget()
					turn(fmt.Sprintf("cut after %d octets read, reset %v", n, reset))
				}
			}
		})
	}
}

// sweepTurn sends to two recipients, and on to the data with those that were accepted.
func sweepTurn(t *testing.T, d *relay.Downstream, body []byte, chunked bool) (final evidence.Answer, told int) {
	t.Helper()
	tx := d.Begin(t.Context(), envelope(t))
	defer tx.Abort()
	for _, to := range []string{"ann@d.example", "bob@d.example"} {
		a := tx.Rcpt(t.Context(), addr(t, to), plain)
		switch a.Outcome {
		case accepted:
			told++
		case unreachable:
		default:
			t.Errorf("RCPT: %+v", a)
		}
	}
	if told == 0 {
		return final, told
	}
	var r io.Reader = bytes.NewReader(body)
	if chunked {
		r = held{bytes.NewReader(body)}
	}
	return tx.Data(t.Context(), nil, r), told
}

func checkTurn(t *testing.T, m *mailtest.Mock, what string, final evidence.Answer, told int, body []byte) {
	t.Helper()
	got := m.Messages()
	switch final.Outcome {
	case accepted:
		if len(got) != 1 || !got[0].Kept || got[0].Code != 250 || !bytes.Equal(got[0].Body, body) || len(got[0].To) != told {
			t.Errorf("%s: said to be taken, and it is not: %d told, %+v", what, told, got)
		}
	case silent: // it may have it, or not
	case unreachable, evidence.OutcomeNotAsked:
		if len(got) > 0 && got[0].Kept {
			t.Errorf("%s: said to be lost, and it was taken: %+v", what, final)
		}
	default:
		t.Errorf("%s: %+v", what, final)
	}
}

// TestContext ends the context while the downstream is silent, at each step.
func TestContext(t *testing.T) {
	for verb, step := range map[string]evidence.Step{
		"CONNECT": evidence.StepBanner, "EHLO": evidence.StepHello, "STARTTLS": evidence.StepStartTLS, "XCLIENT": evidence.StepClient,
		"MAIL": evidence.StepMail, "RCPT": evidence.StepRcpt, "DATA": evidence.StepData, "DOT": evidence.StepMessage,
	} {
		t.Run(verb, func(t *testing.T) {
			s := mailtest.Script{
				Rules:      []mailtest.Rule{{On: verb, Silent: true}},
				Extensions: append([]string{"XCLIENT ADDR"}, mailtest.AllExtensions...),
				TLS:        &tls.Config{Certificates: []tls.Certificate{mailtest.NewAuthority(t).Issue(t, "mx.test")}},
			}
			m := mailtest.NewMock(t, s)
			d := down(t, m, "?client=xclient", nil)
			ctx, cancel := context.WithCancel(t.Context())
			answers := make(chan evidence.Answer, 1)
			go func() {
				tx := d.Begin(ctx, envelope(t))
				defer tx.Abort()
				a := tx.Rcpt(ctx, addr(t, "ann@d.example"), plain)
				if a.Outcome == accepted {
					a = tx.Data(ctx, nil, strings.NewReader("x\r\n"))
				}
				answers <- a
			}()
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
			cancel()
			outcome := unreachable
			if verb == "DOT" {
				outcome = silent
			}
			a := <-answers
			if verb == "CONNECT" && a.Step == evidence.StepConnect || verb == "RCPT" && a.Step == evidence.StepMail {
				step = a.Step // cut short before the client saw the answer before
			}
			want(t, a, outcome, step, 0)
			m.WaitIdle(t)
			if s := d.State(); s.Open != 0 || s.LastError != "" {
				t.Errorf("our own giving up was held against the downstream: %+v", s)
			}
		})
	}
}

func TestLimit(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{})
	d := down(t, m, "", func(o *relay.Options) { o.MaxConns = 2 })
	begin := func() *relay.Transaction {
		tx := d.Begin(t.Context(), envelope(t))
		want(t, tx.Rcpt(t.Context(), addr(t, "ann@d.example"), plain), accepted, evidence.StepRcpt, 250)
		return tx
	}
	one, two := begin(), begin()

	// Who waits is let go by his context.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	tx := d.Begin(ctx, envelope(t))
	want(t, tx.Rcpt(ctx, addr(t, "ann@d.example"), plain), unreachable, evidence.StepConnect, 0)
	tx.Abort()

	// Who waits gets the connection that is given back, and the place of one that is closed.
	const waiting = 6
	answers := make(chan evidence.Answer, waiting)
	for range waiting {
		go func() {
			tx := d.Begin(t.Context(), envelope(t))
			defer tx.Abort()
			if a := tx.Rcpt(t.Context(), addr(t, "ann@d.example"), plain); a.Outcome != accepted {
				answers <- a
				return
			}
			answers <- tx.Data(t.Context(), nil, strings.NewReader("x\r\n"))
		}()
	}
	one.Abort()
	want(t, two.Data(t.Context(), nil, strings.NewReader("x\r\n")), accepted, evidence.StepMessage, 250)
	for range waiting {
		want(t, <-answers, accepted, evidence.StepMessage, 250)
	}
	if n := len(m.Wires()); n > 3 {
		t.Errorf("%d connections", n)
	}
	if s := d.State(); s.Open > 2 || s.Open != s.Idle {
		t.Errorf("%+v", s)
	}
}

// TestErrorsEndReuse: a connection that has heard enough refusals is not used again.
func TestErrorsEndReuse(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{Users: []string{}})
	d := down(t, m, "", nil)
	for range 20 {
		tx := d.Begin(t.Context(), envelope(t))
		want(t, tx.Rcpt(t.Context(), addr(t, "nobody@d.example"), plain), refused, evidence.StepRcpt, 550)
		tx.Abort()
	}
	for _, w := range m.Wires() {
		if n := bytes.Count(w.Out, []byte("550 ")); n > 9 {
			t.Errorf("%d refusals over one connection", n)
		}
	}
	if n := len(m.Wires()); n != 3 {
		t.Errorf("%d connections", n)
	}
}

func TestDown(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{})
	var log bytes.Buffer
	d := down(t, m, "", func(o *relay.Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	m.Down()
	for range 3 {
		tx := d.Begin(t.Context(), envelope(t))
		want(t, tx.Rcpt(t.Context(), addr(t, "ann@d.example"), plain), unreachable, evidence.StepConnect, 0)
		tx.Abort()
	}
	if s := d.State(); s.Up || !s.Asked || s.LastError == "" || s.Open != 0 {
		t.Errorf("%+v", s)
	}
	m.Up()
	pass(t, d, []byte("x\r\n"))
	if s := d.State(); !s.Up || s.LastError != "" {
		t.Errorf("%+v", s)
	}
	if n := strings.Count(log.String(), "\n"); n != 2 {
		t.Errorf("two changes, and the log says:\n%s", log.String())
	}
}

func TestTLS(t *testing.T) {
	ca := mailtest.NewAuthority(t)
	good := &tls.Config{Certificates: []tls.Certificate{ca.Issue(t, "127.0.0.1")}}
	broken := &tls.Config{Certificates: good.Certificates, MinVersion: tls.VersionTLS13, CurvePreferences: []tls.CurveID{tls.CurveP521}}
	narrow := &tls.Config{MaxVersion: tls.VersionTLS12, RootCAs: ca.Pool()}
	for _, c := range []struct {
		server, client *tls.Config
		options        string
		outcome        evidence.Outcome
		tls            bool
	}{
		{good, nil, "", accepted, true},
		{good, nil, "?tls=off", accepted, false},
		{good, &tls.Config{RootCAs: ca.Pool()}, "?tls=require", accepted, true},
		{good, nil, "?tls=require", unreachable, false},                               // an authority nobody knows
		{nil, nil, "?tls=require", unreachable, false},                                // not offered
		{broken, narrow, "?tls=require", unreachable, false},                          // no version in common
		{broken, narrow, "", accepted, false},                                         // and then in plain text
		{good, &tls.Config{RootCAs: ca.Pool()}, "?tls=opportunistic", accepted, true}, // the default by its name
	} {
		m := mailtest.NewMock(t, mailtest.Script{TLS: c.server})
		d := down(t, m, c.options, func(o *relay.Options) { o.TLSConfig = c.client })
		tx := d.Begin(t.Context(), envelope(t))
		a := tx.Rcpt(t.Context(), addr(t, "ann@d.example"), plain)
		if a.Outcome != c.outcome || a.Outcome == unreachable && a.Step != evidence.StepStartTLS {
			t.Errorf("%q: %+v", c.options, a)
		}
		if got := d.State().Capabilities.TLS; got != c.tls {
			t.Errorf("%q: TLS %v", c.options, got)
		}
		if c.outcome == accepted {
			want(t, tx.Data(t.Context(), nil, strings.NewReader("x\r\n")), accepted, evidence.StepMessage, 250)
		}
		tx.Abort()
		d.Close()
	}
}

func TestHandover(t *testing.T) {
	offers := append([]string{"XCLIENT NAME ADDR PORT PROTO HELO LOGIN", "XFORWARD NAME ADDR PORT PROTO HELO SOURCE"}, mailtest.AllExtensions...)
	for _, c := range []struct {
		options string
		script  mailtest.Script
		attrs   map[string]string
	}{
		{"?client=xclient", mailtest.Script{Extensions: offers}, map[string]string{"ADDR": "192.0.2.7", "PORT": "4711", "NAME": "client.example", "HELO": "helo.example", "PROTO": "ESMTP"}},
		{"?client=xforward", mailtest.Script{Extensions: offers}, map[string]string{"ADDR": "192.0.2.7", "PORT": "4711", "NAME": "client.example", "HELO": "helo.example", "SOURCE": "REMOTE"}},
		{"?client=proxy", mailtest.Script{Proxy: true}, map[string]string{"ADDR": "192.0.2.7", "PORT": "4711"}},
		{"?client=xclient", mailtest.Script{}, nil}, // not offered: the mail goes all the same
		{"?client=xforward", mailtest.Script{}, nil},
		{"?client=xclient", mailtest.Script{Extensions: offers, Rules: []mailtest.Rule{{On: "XCLIENT", Reply: "550 5.7.0 no"}}}, nil},
		{"?client=xforward", mailtest.Script{Extensions: offers, Rules: []mailtest.Rule{{On: "XFORWARD", Reply: "550 5.7.0 no"}}}, nil},
	} {
		m := mailtest.NewMock(t, c.script)
		var log bytes.Buffer
		d := down(t, m, c.options, func(o *relay.Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
		pass(t, d, []byte("x\r\n"))
		pass(t, d, []byte("y\r\n"))
		checkHeld(t, m, []byte("x\r\n"), []byte("y\r\n"))
		for _, got := range m.Messages() {
			for k, v := range c.attrs {
				if got.Client[k] != v {
					t.Errorf("%s: %s is %q, not %q", c.options, k, got.Client[k], v)
				}
			}
		}
		if warned := strings.Count(log.String(), "does not take"); (warned == 1) != (c.attrs == nil) {
			t.Errorf("%s: warned %d times", c.options, warned)
		}
	}
}

// TestHandoverChanges: a kept connection never speaks for the client before.
func TestHandoverChanges(t *testing.T) {
	offers := append([]string{"XCLIENT NAME ADDR PORT PROTO HELO", "XFORWARD NAME ADDR PORT PROTO HELO"}, mailtest.AllExtensions...)
	for _, options := range []string{"?client=xclient", "?client=xforward", "?client=proxy"} {
		m := mailtest.NewMock(t, mailtest.Script{Extensions: offers, Users: []string{"ann"}, Proxy: options == "?client=proxy"})
		d := down(t, m, options, nil)
		for i := range 4 {
			env := envelope(t)
			env.Client.Addr = env.Client.Addr.Next()
			if i%2 == 1 {
				env.Client.Name = ""
				env.Client.Addr = env.Client.Addr.Next()
			}
			tx := d.Begin(t.Context(), env)
			want(t, tx.Rcpt(t.Context(), addr(t, "nobody@d.example"), plain), refused, evidence.StepRcpt, 550)
			tx.Abort()
			tx = d.Begin(t.Context(), env)
			want(t, tx.Rcpt(t.Context(), addr(t, "ann@d.example"), plain), accepted, evidence.StepRcpt, 250)
			want(t, tx.Data(t.Context(), nil, strings.NewReader("x\r\n")), accepted, evidence.StepMessage, 250)
			held := m.Messages()
			if got := held[len(held)-1].Client["ADDR"]; got != env.Client.Addr.String() {
				t.Errorf("%s: the downstream heard of %q, not %v", options, got, env.Client.Addr)
			}
		}
		if f := m.Faults(); len(f) > 0 {
			t.Error(f)
		}
	}
}

// pipes is a Dial whose server obliges, in memory, so that time can be played with.
type pipes struct {
	dialled atomic.Int32
	open    atomic.Int32
	mute    atomic.Bool // connections are taken and nothing is said
}

func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	p.dialled.Add(1)
	p.open.Add(1)
	go func() {
		defer p.open.Add(-1)
		defer theirs.Close()
		if p.mute.Load() {
			io.Copy(io.Discard, theirs)
			return
		}
		r := bufio.NewReader(theirs)
		for answer := "220 hi\r\n"; ; {
			if _, err := io.WriteString(theirs, answer); err != nil {
				return
			}
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			switch answer = "250 ok\r\n"; {
			case strings.HasPrefix(line, "RCPT TO:<nobody"):
				answer = "550 5.1.1 no\r\n"
			case line == "DATA\r\n":
				if _, err := io.WriteString(theirs, "354 go on\r\n"); err != nil {
					return
				}
				for line != ".\r\n" && err == nil {
					line, err = r.ReadString('\n')
				}
			}
		}
	}()
	return ours, nil
}

func TestIdleTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pipes
		d := downAt(t, "smtp://mx.test", func(o *relay.Options) { o.Dial, o.IdleTime, o.MaxIdle = p.dial, time.Minute, 2 })
		ask := func() *relay.Transaction {
			tx := d.Begin(t.Context(), envelope(t))
			want(t, tx.Rcpt(t.Context(), addr(t, "nobody@d.example"), plain), refused, evidence.StepRcpt, 550)
			return tx
		}
		txs := []*relay.Transaction{ask(), ask(), ask()}
		for _, tx := range txs {
			tx.Abort()
			time.Sleep(time.Second / 2) // in the bubble's time
		}
		synctest.Wait()
		if s := d.State(); s.Idle != 3 || p.open.Load() != 3 {
			t.Errorf("not kept for a burst: %+v", s)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if s := d.State(); s.Idle != 2 || p.open.Load() != 2 {
			t.Errorf("one too many was kept: %+v", s)
		}
		time.Sleep(58*time.Second + time.Second/4)
		synctest.Wait()
		if n := p.open.Load(); n != 1 {
			t.Errorf("%d open after the second one's time", n)
		}
		ask().Abort()
		if n := p.dialled.Load(); n != 3 {
			t.Errorf("%d dialled: an idle connection was not used", n)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if s := d.State(); s.Open != 0 || p.open.Load() != 0 {
			t.Errorf("%+v, %d open", s, p.open.Load())
		}
		d.Close()
	})
}

// TestHung: before a downstream that takes connections and says nothing, one session waits at a time.
func TestHung(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pipes
		p.mute.Store(true)
		d := downAt(t, "smtp://mx.test", func(o *relay.Options) {
			o.Dial, o.Timeouts = p.dial, smtp.Timeouts{Connect: 30 * time.Second, Banner: 20 * time.Second}
		})
		try := func() evidence.Answer {
			tx := d.Begin(t.Context(), envelope(t))
			defer tx.Abort()
			return tx.Rcpt(t.Context(), addr(t, "nobody@d.example"), plain)
		}
		start := time.Now()
		want(t, try(), unreachable, evidence.StepBanner, 0)
		if took := time.Since(start); took != 20*time.Second {
			t.Errorf("given up after %v", took)
		}
		const many = 10
		answers := make(chan evidence.Answer, many)
		for range many {
			go func() { answers <- try() }()
		}
		synctest.Wait()
		if n := p.dialled.Load(); n != 2 || len(answers) != many-1 {
			t.Errorf("%d dialled, %d of %d answered at once", n, len(answers), many)
		}
		p.mute.Store(false)
		for range many {
			if a := <-answers; a.Outcome != unreachable {
				t.Errorf("%+v", a)
			}
		}
		for range 3 {
			want(t, try(), refused, evidence.StepRcpt, 550)
		}
		d.Close()
		synctest.Wait()
	})
}

// TestDialFails: a name that cannot be resolved is not a downstream that hangs.
func TestDialFails(t *testing.T) {
	fails := errors.New("no such host")
	d := downAt(t, "smtp://mx.test", func(o *relay.Options) {
		o.MaxConns = 1
		o.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, fails }
	})
	for range 3 {
		tx := d.Begin(t.Context(), envelope(t))
		a := tx.Rcpt(t.Context(), addr(t, "ann@d.example"), plain)
		want(t, a, unreachable, evidence.StepConnect, 0)
		if a.Text != fails.Error() {
			t.Errorf("%+v", a)
		}
		tx.Abort()
	}
	if s := d.State(); s.Open != 0 {
		t.Errorf("%+v", s)
	}
}
