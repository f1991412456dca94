package relay_test

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"backstop/internal/evidence"
	"backstop/internal/mailtest"
	"backstop/internal/relay"
	"backstop/internal/smtp"
)

// letters are messages as they come, and at hand.
var letters = map[string]func(string) io.Reader{
	"DATA": func(text string) io.Reader { return strings.NewReader(text) },
	"BDAT": func(text string) io.Reader { return held{bytes.NewReader([]byte(text))} },
}

// keep begins a transaction with two recipients, whose message is kept back.
func keep(t *testing.T, d *relay.Downstream) *relay.Transaction {
	t.Helper()
	tx := d.Begin(t.Context(), envelope(t))
	want(t, tx.Rcpt(t.Context(), addr(t, "nobody@d.example"), plain), refused, evidence.StepRcpt, 550)
	want(t, tx.Rcpt(t.Context(), addr(t, "ann@d.example"), smtp.RcptParams{Notify: "NEVER"}), accepted, evidence.StepRcpt, 250)
	want(t, tx.Rcpt(t.Context(), addr(t, "bob@d.example"), plain), accepted, evidence.StepRcpt, 250)
	tx.Kept()
	return tx
}

var some = mailtest.Script{Users: []string{"ann", "bob"}}

// TestKept: a downstream that hung up while the message was kept back gets it all the same, and once.
func TestKept(t *testing.T) {
	for name, letter := range letters {
		for what, leave := range map[string]func(*mailtest.Mock){
			"stays":    func(*mailtest.Mock) {},
			"hung up":  func(m *mailtest.Mock) { m.Hangup(); m.WaitIdle(t) },
			"hangs up": func(m *mailtest.Mock) { m.On(mailtest.Rule{On: "DATA", Hangup: true, Times: 1}) },
			"says 421": func(m *mailtest.Mock) {
				m.On(mailtest.Rule{On: "DATA", Reply: "421 4.4.2 Too late", Hangup: true, Times: 1})
			},
			"said 421":      func(m *mailtest.Mock) { m.On(mailtest.Rule{On: "DATA", Reply: "421 4.4.2 Too late", Times: 1}) },
			"was restarted": func(m *mailtest.Mock) { m.Down(); m.Up() },
			"has a new name": func(m *mailtest.Mock) {
				m.Hangup()
				m.WaitIdle(t)
				m.Change(func(s *mailtest.Script) { s.Banner = "220 other" })
			},
		} {
			m := mailtest.NewMock(t, some)
			d := down(t, m, "", nil)
			tx := keep(t, d)
			leave(m)
			want(t, tx.Data(t.Context(), []byte("X: 1\r\n"), letter("Subject: x\r\n\r\nx\r\n")), accepted, evidence.StepMessage, 250)
			tx.Abort()
			got := m.Messages()
			if len(got) != 1 {
				t.Fatalf("%s, %s: %d messages", name, what, len(got))
			}
			if to := got[0].To; got[0].From != "sender@a.example" || len(to) != 2 || to[0].Path != "ann@d.example" ||
				!strings.Contains(to[0].Params, "NOTIFY=NEVER") || to[1].Path != "bob@d.example" || !bytes.HasPrefix(got[0].Body, []byte("X: 1\r\nSubject")) {
				t.Errorf("%s, %s: %+v", name, what, got[0])
			}
			if f := m.Faults(); len(f) > 0 {
				t.Errorf("%s, %s: %v", name, what, f)
			}
			pass(t, d, []byte("x\r\n")) // and all is in order behind it
		}
	}
}

// TestKeptInVain: nothing is said to be taken, or to be refused, by who was not given it.
func TestKeptInVain(t *testing.T) {
	for name, letter := range letters {
		for what, c := range map[string]struct {
			leave   func(*mailtest.Mock)
			outcome evidence.Outcome
			step    evidence.Step
			code    int
		}{
			"another list": {func(m *mailtest.Mock) { m.Change(func(s *mailtest.Script) { s.Users = []string{"ann"} }) }, deferred, evidence.StepRcpt, 550},
			"other rules":  {func(m *mailtest.Mock) { m.On(mailtest.Rule{On: "MAIL", Reply: "550 5.7.1 no"}) }, deferred, evidence.StepMail, 550},
			"not now":      {func(m *mailtest.Mock) { m.On(mailtest.Rule{On: "RCPT", Reply: "450 4.2.0 later"}) }, deferred, evidence.StepRcpt, 450},
			"lost again":   {func(m *mailtest.Mock) { m.On(mailtest.Rule{On: "RCPT", Hangup: true}) }, unreachable, evidence.StepRcpt, 0},
			"down":         {func(m *mailtest.Mock) { m.Down() }, unreachable, evidence.StepConnect, 0},
		} {
			m := mailtest.NewMock(t, some)
			d := down(t, m, "", nil)
			tx := keep(t, d)
			m.Hangup()
			m.WaitIdle(t)
			c.leave(m)
			a := tx.Data(t.Context(), nil, letter("x\r\n"))
			want(t, a, c.outcome, c.step, c.code)
			if a.NoSuchUser || len(m.Messages()) != 0 {
				t.Errorf("%s, %s: %+v; %v", name, what, a, m.Messages())
			}
			tx.Abort()
			d.Close()
			m.WaitIdle(t)
			if s := d.State(); s.Open != 0 {
				t.Errorf("%s, %s: %+v", name, what, s)
			}
		}
	}
}

// TestKeptOnce: a downstream that hangs up at each DATA is not asked for ever, and one that the message did not wait for not twice.
func TestKeptOnce(t *testing.T) {
	for _, n := range []int{1, 2} {
		m := mailtest.NewMock(t, some)
		m.On(mailtest.Rule{On: "DATA", Hangup: true})
		tx := down(t, m, "", nil).Begin(t.Context(), envelope(t))
		want(t, tx.Rcpt(t.Context(), addr(t, "ann@d.example"), plain), accepted, evidence.StepRcpt, 250)
		if n == 2 {
			tx.Kept()
		}
		want(t, tx.Data(t.Context(), nil, strings.NewReader("x\r\n")), unreachable, evidence.StepData, 0)
		tx.Abort()
		if asked := m.Asked("DATA"); asked != n {
			t.Errorf("asked %d times, not %d", asked, n)
		}
	}
}

// TestKeptGivesWay: a place that is taken from a message that waits is given to it again when it comes.
func TestKeptGivesWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pipes
		d := downAt(t, "smtp://mx.test", func(o *relay.Options) { o.Dial, o.MaxConns = p.dial, 1 })
		begin := func() *relay.Transaction {
			tx := d.Begin(t.Context(), envelope(t))
			want(t, tx.Rcpt(t.Context(), addr(t, "ann@d.example"), plain), accepted, evidence.StepRcpt, 250)
			tx.Kept()
			return tx
		}
		var txs []*relay.Transaction
		for range 4 { // each takes the place of the one before
			txs = append(txs, begin())
			time.Sleep(6 * time.Second) // in the bubble's time
		}
		done := make(chan evidence.Answer)
		for _, tx := range txs {
			go func() {
				a := tx.Data(t.Context(), nil, strings.NewReader("x\r\n"))
				tx.Abort()
				done <- a
			}()
		}
		for range txs {
			want(t, <-done, accepted, evidence.StepMessage, 250)
		}
		d.Close()
		synctest.Wait()
		if s := d.State(); s.Open != 0 || p.open.Load() != 0 {
			t.Errorf("%+v, %d open", s, p.open.Load())
		}
	})
}
