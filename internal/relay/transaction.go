package relay

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	"backstop/internal/evidence"
	"backstop/internal/mail"
	"backstop/internal/route"
	"backstop/internal/smtp"
)

// Envelope is what a transaction begins with.
type Envelope struct {
	From   mail.ReversePath
	Params smtp.MailParams
	Client evidence.Client // the true client
}

// Transaction is one message on its way to one downstream. It belongs to one
// goroutine, and ends with Data or Abort.
type Transaction struct {
	d        *Downstream
	env      Envelope
	p        *pooled // nil before the first Rcpt, and after the end
	mailDone bool    // MAIL was accepted on p
	accepted int
}

// Begin opens a transaction; nothing is sent before the first Rcpt.
func (d *Downstream) Begin(_ context.Context, env Envelope) *Transaction {
	return &Transaction{d: d, env: env}
}

// Accepted is how many recipients the downstream accepted.
func (t *Transaction) Accepted() int { return t.accepted }

// Rcpt hands one recipient on. The first one opens the transaction: a
// connection, MAIL and RCPT in one write. A connection that was idle and turns out to be
// dead is replaced by a fresh one, once.
func (t *Transaction) Rcpt(ctx context.Context, to mail.Address, p smtp.RcptParams) evidence.Answer {
	if t.p != nil {
		return t.rcpt(ctx, to, p, true)
	}
	for reuse := true; ; reuse = false {
		conn, fresh, err := t.d.acquire(ctx, t.env.Client, reuse)
		if err != nil {
			return t.failed(ctx, err)
		}
		t.p = conn
		if a, ok := t.unsupported(to); ok {
			return a
		}
		if t.d.route.Client == route.HandoverXCLIENT {
			if err := t.handOver(ctx); err != nil {
				if !fresh && ctx.Err() == nil {
					t.drop()
					continue
				}
				return t.failed(ctx, err)
			}
		}
		a := t.rcpt(ctx, to, p, fresh)
		if a.Outcome == evidence.OutcomeUnreachable && !fresh && t.p == nil && a.Step == evidence.StepNone {
			continue
		}
		return a
	}
}

// rcpt sends what is due before RCPT, and RCPT. On a connection that is not
// fresh, a failure before any answer has StepNone: the caller may try again.
func (t *Transaction) rcpt(ctx context.Context, to mail.Address, p smtp.RcptParams, fresh bool) evidence.Answer {
	if a, ok := t.unsupported(to); ok {
		return a
	}
	b := t.p.c.Batch()
	var steps [4]smtp.Step
	n := 0
	add := func(s smtp.Step) { steps[n] = s; n++ }
	if !t.mailDone {
		if t.p.dirty {
			b.Reset()
			add(smtp.StepReset)
		}
		if t.d.route.Client == route.HandoverXFORWARD {
			if len(t.p.c.Capabilities().XForward) > 0 {
				b.XForward(attrs(t.env.Client))
				add(smtp.StepClient)
			} else {
				t.d.warnHandover("XFORWARD is not offered to us")
			}
		}
		b.Mail(t.env.From, t.env.Params)
		add(smtp.StepMail)
	}
	b.Rcpt(to, p)
	add(smtp.StepRcpt)
	t.p.dirty = true
	resps, err := b.Do(ctx)
	for i := range resps {
		r := &resps[i]
		switch steps[i] {
		case smtp.StepReset:
			if r.Class() != 2 && err == nil {
				err = errReset
			}
		case smtp.StepClient:
			if r.Class() != 2 {
				t.d.warnHandover(r.Text())
			}
		case smtp.StepMail:
			if r.Class() != 2 {
				t.after421(r)
				return t.answer(r, evidence.StepMail)
			}
			t.mailDone = true
		case smtp.StepRcpt:
			return t.judge(r)
		}
	}
	if err == nil {
		err = errShort
	}
	a := t.failed(ctx, err)
	if len(resps) == 0 && !fresh && ctx.Err() == nil {
		a.Step = evidence.StepNone
	}
	return a
}

var (
	errReset = errors.New("it refuses RSET")
	errShort = errors.New("it left a command without an answer")
)

// judge takes the answer to RCPT.
func (t *Transaction) judge(r *smtp.Response) evidence.Answer {
	a := t.answer(r, evidence.StepRcpt)
	switch {
	case a.Outcome == evidence.OutcomeAccepted:
		t.accepted++
	case smtp.ClassifyRcpt(r) == smtp.RcptMissing:
		a.NoSuchUser = true
	}
	t.after421(r)
	return a
}

// after421 gives a connection up that the downstream closes (RFC 5321, 3.8).
func (t *Transaction) after421(r *smtp.Response) {
	if r.Code == 421 {
		t.drop()
	}
}

// answer puts a response into the words of evidence.
func (t *Transaction) answer(r *smtp.Response, s evidence.Step) evidence.Answer {
	a := evidence.Answer{Step: s, Code: r.Code, Status: r.Status, Text: r.Text(), Host: t.d.name}
	switch {
	case r.Class() == 2, s == evidence.StepData && r.Class() == 3:
		a.Outcome = evidence.OutcomeAccepted
	case r.Class() == 5:
		a.Outcome = evidence.OutcomeRefused
	default: // 4xx, and a 3xx where none belongs
		a.Outcome = evidence.OutcomeDeferred
		if r.Class() != 4 {
			a.Code = 0
		}
	}
	return a
}

// steps gives a client's step its name in evidence.
var steps = map[smtp.Step]evidence.Step{
	smtp.StepConnect: evidence.StepConnect, smtp.StepBanner: evidence.StepBanner, smtp.StepHello: evidence.StepHello,
	smtp.StepStartTLS: evidence.StepStartTLS, smtp.StepClient: evidence.StepClient, smtp.StepReset: evidence.StepClient,
	smtp.StepMail: evidence.StepMail, smtp.StepRcpt: evidence.StepRcpt, smtp.StepData: evidence.StepData,
	smtp.StepMessage: evidence.StepMessage,
}

// failed ends the transaction for an error, and puts it into the words of evidence.
func (t *Transaction) failed(ctx context.Context, err error) evidence.Answer {
	t.drop()
	a := evidence.Answer{Outcome: evidence.OutcomeUnreachable, Step: evidence.StepConnect, Host: t.d.name, Text: reason(ctx, err)}
	var refused *smtp.RefusedError
	var broken *smtp.StepError
	switch {
	case errors.As(err, &refused):
		a = t.answer(&refused.Response, steps[refused.Step])
	case errors.As(err, &broken):
		a.Step = steps[broken.Step]
		if broken.Sent {
			a.Outcome = evidence.OutcomeSilent
		}
	}
	return a
}

// reason is an error in the words of the log.
func reason(ctx context.Context, err error) string {
	switch {
	case ctx.Err() != nil:
		return "given up: we are shutting down"
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "timed out"
	case errors.Is(err, io.EOF):
		return "it closed the connection"
	}
	return err.Error()
}

// unsupported holds the mail against what the downstream can take (RFC 6152, RFC 6531, RFC 3030, RFC 1870).
func (t *Transaction) unsupported(to mail.Address) (evidence.Answer, bool) {
	caps, p := t.p.c.Capabilities(), &t.env.Params
	lacks := evidence.NoExtension
	text := ""
	switch {
	case (p.UTF8 || to.NeedsUTF8() || t.env.From.NeedsUTF8()) && !caps.SMTPUTF8:
		lacks, text = evidence.ExtSMTPUTF8, "SMTPUTF8 is not offered"
	case p.Body == smtp.Body8BitMIME && !caps.EightBitMIME:
		lacks, text = evidence.Ext8BitMIME, "8BITMIME is not offered"
	case p.Body == smtp.BodyBinaryMIME && !(caps.BinaryMIME && caps.Chunking):
		lacks, text = evidence.ExtBinaryMIME, "BINARYMIME is not offered"
	case p.Size > 0 && caps.Size > 0 && p.Size > caps.Size:
		lacks, text = evidence.ExtSize, "the size declared is above its SIZE"
	default:
		return evidence.Answer{}, false
	}
	return evidence.Answer{Outcome: evidence.OutcomeUnsupported, Step: evidence.StepMail, Host: t.d.name, Text: text, Unsupported: lacks}, true
}

// handOver tells the downstream the true client by XCLIENT. A downstream that
// does not listen gets the mail all the same, and the operator is told.
func (t *Transaction) handOver(ctx context.Context) error {
	if t.p.dirty { // XCLIENT cannot stand inside a transaction
		b := t.p.c.Batch()
		b.Reset()
		if _, err := b.Do(ctx); err != nil {
			return err
		}
		t.p.dirty = false
	}
	if len(t.p.c.Capabilities().XClient) == 0 {
		t.d.warnHandover("XCLIENT is not offered to us")
		return nil
	}
	resp, err := t.p.c.XClient(ctx, attrs(t.env.Client))
	var refused *smtp.RefusedError
	switch {
	case errors.As(err, &refused):
		return err
	case err != nil:
		return err
	case resp.Class() != 2:
		t.d.warnHandover(resp.Text())
	}
	return nil
}

// warnHandover says, once, that the downstream does not trust us with client addresses.
func (d *Downstream) warnHandover(why string) {
	d.mu.Lock()
	warned := d.warned
	d.warned = true
	d.mu.Unlock()
	if !warned {
		d.o.Logger.Warn("the downstream does not take the client's address from us", "downstream", d.name, "client", d.route.Client.String(), "error", why)
	}
}

// Data sends pre and body, and passes the final answer back. OutcomeSilent
// means that the end was sent and no answer came. When body fails the connection
// is closed in the middle of the message, and the downstream has none.
func (t *Transaction) Data(ctx context.Context, pre []byte, body io.Reader) evidence.Answer {
	if t.p == nil || t.accepted == 0 {
		return evidence.Answer{Outcome: evidence.OutcomeUnreachable, Step: evidence.StepData, Host: t.d.name, Text: "the connection was lost before the message"}
	}
	c := t.p.c
	var resp smtp.Response
	var err error
	if c.Capabilities().Chunking && (t.env.Params.Body == smtp.BodyBinaryMIME || whole(body)) {
		start := time.Now()
		resp, err = c.SendBDAT(ctx, pre, body)
		t.observe(start)
	} else {
		b := c.Batch()
		b.Data()
		resps, derr := b.Do(ctx)
		if derr != nil {
			return t.failed(ctx, derr)
		}
		if resps[0].Code != 354 {
			a := t.answer(&resps[0], evidence.StepData)
			if a.Outcome == evidence.OutcomeAccepted { // 2xx to DATA: nothing that we could go on with
				a = evidence.Answer{Outcome: evidence.OutcomeUnreachable, Step: evidence.StepData, Code: a.Code, Text: a.Text, Host: a.Host}
				t.drop()
				return a
			}
			t.after421(&resps[0])
			t.end()
			return a
		}
		start := time.Now()
		resp, err = c.SendData(ctx, pre, body)
		t.observe(start)
	}
	if err != nil {
		return t.failed(ctx, err)
	}
	a := t.answer(&resp, evidence.StepMessage)
	t.p.dirty = false // the transaction is over, whatever the answer (RFC 5321, 4.1.1.4)
	if c.Capabilities().Chunking && a.Outcome != evidence.OutcomeAccepted {
		t.p.dirty = true // RFC 3030, 2: after a refused chunk RSET is due
	}
	t.after421(&resp)
	t.end()
	return a
}

func (t *Transaction) observe(start time.Time) {
	if t.d.o.Observe != nil {
		t.d.o.Observe(time.Since(start))
	}
}

// whole says whether a body can be had without waiting for anybody.
func whole(body io.Reader) bool {
	b, ok := body.(interface{ Buffered() ([]byte, bool) })
	if !ok {
		return false
	}
	_, all := b.Buffered()
	return all
}

// end gives the connection back.
func (t *Transaction) end() {
	if t.p != nil {
		t.d.release(t.p)
	}
	t.p, t.mailDone, t.accepted = nil, false, 0
}

// drop closes the connection.
func (t *Transaction) drop() {
	if t.p != nil {
		t.d.discard(t.p)
	}
	t.p, t.mailDone, t.accepted = nil, false, 0
}

// Abort ends the transaction without a message; the connection is kept for the
// next one. (A message that was begun has closed it already.) It may be called again.
func (t *Transaction) Abort() { t.end() }
