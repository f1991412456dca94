package callahead

import (
	"context"
	"errors"
	"strconv"
	"time"

	"backstop/internal/directory"
	"backstop/internal/evidence"
	"backstop/internal/mail"
	"backstop/internal/smtp"
)

// ask asks one question within the budgets, over a kept connection where there is one.
func (s *Source) ask(ctx context.Context, addr mail.Address) directory.Answer {
	now := s.cfg.Now()
	if !s.breaker.allow(now) {
		_, why := s.breaker.down()
		return unavailable("not asked, it failed again and again: " + why)
	}
	if why := s.enter(ctx, 1); why != "" {
		s.breaker.abandoned()
		return unavailable(why)
	}
	began := s.cfg.Now()
	c, a, err := s.exchange(ctx, addr)
	s.pace.add(s.cfg.Now().Sub(began))
	s.judge(ctx, err)
	// The next question finds the connection without a transaction, and this one's
	// asker does not wait for that.
	if c == nil || !s.spawn(func() { s.tidy(c); s.leave() }) {
		s.drop(c)
		s.leave()
	}
	if err != nil {
		return unavailable(err.Error())
	}
	return a
}

// judge tells the breaker how the question went.
func (s *Source) judge(ctx context.Context, err error) {
	failure := ""
	if err != nil {
		if errors.Is(ctx.Err(), context.Canceled) { // our side gave up; the server may be well
			s.breaker.abandoned()
			return
		}
		failure = err.Error()
	}
	opened, closed := s.breaker.done(s.cfg.Now(), failure)
	switch {
	case opened:
		s.cfg.Logger.Error("a server that is asked for recipients fails; it is asked only now and then from here on", "error", failure)
	case closed:
		s.cfg.Logger.Info("a server that is asked for recipients answers again")
	}
}

// exchange asks over a kept connection, and once more over a new one if the kept one
// turns out to be dead. It returns the connection if it is still good; the error is one of the
// server's, and says nothing about the recipient.
func (s *Source) exchange(ctx context.Context, addr mail.Address) (*conn, directory.Answer, error) {
	if c := s.idle.take(); c != nil {
		a, alive, err := s.over(ctx, c, addr)
		if alive {
			return c, a, err
		}
		c.Close()
		if ctx.Err() != nil {
			return nil, a, err
		}
	}
	c, err := s.connect(ctx, s.cfg.Target.TLS)
	if err != nil {
		return nil, directory.Answer{}, err
	}
	a, alive, err := s.over(ctx, c, addr)
	if !alive {
		c.Close()
		c = nil
	}
	return c, a, err
}

// noUTF8: nobody with such an address can be asked for, or be sent mail, there.
const noUTF8 = "the server does not offer SMTPUTF8, which this address needs"

// over asks over one connection.
func (s *Source) over(ctx context.Context, c *conn, addr mail.Address) (a directory.Answer, alive bool, err error) {
	if to, err := addr.WithDomain(addr.Domain()); err == nil {
		addr = to // in ASCII as far as the domain goes
	}
	if addr.NeedsUTF8() && !c.Capabilities().SMTPUTF8 {
		return unavailable(noUTF8), true, nil
	}
	r, err := s.rcpt(ctx, c, addr)
	if err != nil {
		var refused *smtp.RefusedError
		alive = errors.As(err, &refused) && refused.Response.Code != codeClosing
		return directory.Answer{}, alive, err
	}
	a = directory.Answer{Standing: evidence.Unavailable, Detail: describe(r)}
	switch smtp.ClassifyRcpt(r) {
	case smtp.RcptExists:
		a.Standing, a.Cacheable = evidence.Exists, true
	case smtp.RcptMissing:
		a.Standing, a.Cacheable = evidence.Missing, true
	}
	return a, r.Code != codeClosing, nil
}

// codeClosing: the server closes the connection (RFC 5321, 3.8).
const codeClosing = 421

// rcpt opens a transaction and names the recipient. The answer is the one to RCPT; a
// refusal of MAIL is a *smtp.RefusedError.
func (s *Source) rcpt(ctx context.Context, c *conn, addr mail.Address) (*smtp.Response, error) {
	b := c.Batch()
	if c.open {
		b.Reset()
	}
	b.Mail(s.cfg.From, smtp.MailParams{UTF8: addr.NeedsUTF8() || s.cfg.From.NeedsUTF8()})
	b.Rcpt(addr, smtp.RcptParams{})
	first := 0
	if c.open {
		first = 1
	}
	c.open = true
	c.asked++
	rs, err := b.Do(ctx)
	switch {
	case len(rs) > first && rs[first].Class() != 2:
		// Also when the connection broke after it: this was the server's word.
		return nil, &smtp.RefusedError{Step: smtp.StepMail, Response: rs[first]}
	case len(rs) == first+2:
		r := &rs[first+1]
		if r.Class() == 5 {
			c.refused++
		}
		return r, nil
	case err == nil:
		err = errors.New("the server did not answer every command")
	}
	return nil, err
}

// describe is a server's answer as the operator reads it.
func describe(r *smtp.Response) string {
	s := strconv.Itoa(r.Code)
	if !r.Status.IsZero() {
		s += " " + r.Status.String()
	}
	return s + " " + r.Text()
}

// timeouts bound each step by what a whole question may take; the question's own
// context ends it earlier.
func timeouts(d time.Duration) smtp.Timeouts {
	return smtp.Timeouts{Connect: d, Banner: d, Hello: d, Mail: d, Rcpt: d, Data: d, Block: d, Final: d, Quit: min(d, 5*time.Second)}
}
