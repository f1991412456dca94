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
	lost     bool // the connection went away with recipients accepted on it: nothing can follow, but for a message that was kept back
	rcpts    []rcpt
	kept     bool
}

// rcpt is a recipient whom the downstream accepted.
type rcpt struct {
	to mail.Address
	p  smtp.RcptParams
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
//
// Once the connection is lost with recipients accepted on it, every further
// answer is OutcomeUnreachable: a new connection would know nothing of them.
func (t *Transaction) Rcpt(ctx context.Context, to mail.Address, p smtp.RcptParams) evidence.Answer {
	t.wake()
	defer t.rest()
	return t.give(ctx, to, p)
}

// give is Rcpt for a transaction that is awake.
func (t *Transaction) give(ctx context.Context, to mail.Address, p smtp.RcptParams) evidence.Answer {
	switch {
	case t.lost:
		return t.gone(evidence.StepRcpt)
	case t.accepted > 0 && t.d.route.LMTP():
		return t.oneOnly()
	case t.p != nil:
		a, _ := t.rcpt(ctx, to, p)
		return a
	}
	for reuse := true; ; reuse = false {
		conn, fresh, err := t.d.acquire(ctx, t.env.Client, reuse)
		if err != nil {
			return t.failed(ctx, err)
		}
		t.p = conn
		a, stale := t.open(ctx, to, p)
		if stale && !fresh && ctx.Err() == nil {
			continue
		}
		return a
	}
}

// open begins the transaction on a connection that has none. stale says that the
// connection was of no use from the start, and that nothing came of the attempt.
func (t *Transaction) open(ctx context.Context, to mail.Address, p smtp.RcptParams) (a evidence.Answer, stale bool) {
	if t.d.route.Client == route.HandoverXCLIENT {
		if err := t.handOver(ctx); err != nil {
			return t.failed(ctx, err), true
		}
	}
	return t.rcpt(ctx, to, p)
}

// gone is the answer of a transaction that has no connection any more.
func (t *Transaction) gone(s evidence.Step) evidence.Answer {
	return evidence.Answer{Outcome: evidence.OutcomeUnreachable, Step: s, Host: t.d.name, Text: "the connection was lost in the middle of the transaction"}
}

// oneOnly keeps LMTP to one recipient a transaction, since it answers a message once
// for each and its sender wants one answer (RFC 2033, 4.2).
func (t *Transaction) oneOnly() evidence.Answer {
	return evidence.Answer{
		Outcome: evidence.OutcomeDeferred, Step: evidence.StepRcpt, Code: 452, Status: mail.Status{Class: 4, Subject: 5, Detail: 3},
		Host: t.d.name, Text: "LMTP takes one recipient a transaction",
	}
}

// rcpt sends what is due before RCPT, and RCPT, and reads all the answers. stale
// says that the connection was lost, or was being closed, before MAIL was answered.
func (t *Transaction) rcpt(ctx context.Context, to mail.Address, p smtp.RcptParams) (a evidence.Answer, stale bool) {
	if a, ok := t.unsupported(to); ok {
		return a, false
	}
	b := t.p.c.Batch()
	var steps [4]smtp.Step
	n := 0
	if !t.mailDone {
		if t.p.dirty {
			b.Reset()
			steps[n] = smtp.StepReset
			n++
		}
		if t.d.route.Client == route.HandoverXFORWARD {
			if len(t.p.c.Capabilities().XForward) > 0 {
				b.XForward(attrs(t.env.Client))
				steps[n] = smtp.StepClient
				n++
			} else {
				t.d.warnHandover("XFORWARD is not offered to us")
			}
		}
		b.Mail(t.env.From, t.env.Params)
		steps[n] = smtp.StepMail
		n++
	}
	b.Rcpt(to, p)
	steps[n] = smtp.StepRcpt
	t.p.dirty = true
	resps, err := b.Do(ctx)
	a, stale = t.read(ctx, steps[:len(resps)], resps, err)
	if a.Outcome == evidence.OutcomeAccepted {
		t.rcpts = append(t.rcpts, rcpt{to, p})
	}
	return a, stale
}

// read takes the answers to what rcpt sent. The first that decides is the answer;
// err is what kept further ones from coming.
func (t *Transaction) read(ctx context.Context, steps []smtp.Step, resps []smtp.Response, err error) (a evidence.Answer, stale bool) {
	for i := range resps {
		r := &resps[i]
		closing := r.Code == 421
		if r.Class() == 3 { // none belongs here: the two sides are out of step
			return t.failed(ctx, errConfused), !t.mailDone
		}
		switch steps[i] {
		case smtp.StepReset:
			if r.Class() != 2 {
				return t.failed(ctx, errReset), true
			}
		case smtp.StepClient:
			if r.Class() != 2 {
				t.d.warnHandover(r.Text())
			}
		case smtp.StepMail:
			if r.Class() != 2 {
				t.p.refused++
				a := t.answer(r, evidence.StepMail)
				if closing || err != nil {
					t.drop()
				}
				return a, closing
			}
			t.mailDone = true
		case smtp.StepRcpt:
			return t.judge(r), false
		}
	}
	stale = !t.mailDone
	if err == nil {
		err = errShort
	}
	return t.failed(ctx, err), stale
}

var (
	errReset = errors.New("it refuses RSET")
	errShort = errors.New("it left a command without an answer")
	// errConfused is an answer that says "go on" where nothing goes on.
	errConfused = errors.New("it gave an answer that does not belong here")
	// errOtherClient: this mail must not go under another client's name.
	errOtherClient = errors.New("the connection speaks for another client, and takes no XCLIENT any more")
)

// judge takes the answer to RCPT.
func (t *Transaction) judge(r *smtp.Response) evidence.Answer {
	a := t.answer(r, evidence.StepRcpt)
	switch {
	case a.Outcome == evidence.OutcomeAccepted:
		t.accepted++
	default:
		t.p.refused++
		a.NoSuchUser = smtp.ClassifyRcpt(r) == smtp.RcptMissing
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
	case r.Class() == 2:
		a.Outcome = evidence.OutcomeAccepted
	case r.Class() == 5:
		a.Outcome = evidence.OutcomeRefused
	case r.Class() == 4:
		a.Outcome = evidence.OutcomeDeferred
	default: // 3xx: "go on", where nothing goes on
		a.Outcome, a.Code, a.Status = evidence.OutcomeUnreachable, 0, mail.Status{}
	}
	return a
}

// steps gives a client's step its name in evidence.
var steps = map[smtp.Step]evidence.Step{
	smtp.StepConnect: evidence.StepConnect, smtp.StepBanner: evidence.StepBanner, smtp.StepHello: evidence.StepHello,
	smtp.StepStartTLS: evidence.StepStartTLS, smtp.StepAuth: evidence.StepAuth, smtp.StepClient: evidence.StepClient, smtp.StepReset: evidence.StepClient,
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
	case errors.As(err, new(*smtp.BodyError)):
		a.Step = evidence.StepMessage
	}
	return a
}

// reason is an error in the words of the log.
func reason(ctx context.Context, err error) string {
	switch {
	case ctx.Err() != nil:
		return "given up: the session is over"
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

// handOver tells the downstream the true client by XCLIENT, unless it was told
// already. A downstream that does not listen gets the mail all the same, and the operator is told.
func (t *Transaction) handOver(ctx context.Context) error {
	if t.p.told && t.p.client == t.env.Client {
		return nil
	}
	if len(t.p.c.Capabilities().XClient) == 0 {
		if t.p.told {
			return errOtherClient
		}
		t.d.warnHandover("XCLIENT is not offered to us")
		return nil
	}
	if t.p.dirty { // XCLIENT cannot stand inside a transaction
		b := t.p.c.Batch()
		b.Reset()
		if _, err := b.Do(ctx); err != nil {
			return err
		}
		t.p.dirty = false
	}
	resp, err := t.p.c.XClient(ctx, attrs(t.env.Client))
	if err != nil {
		return err
	}
	if resp.Class() != 2 {
		if t.p.told {
			return errOtherClient
		}
		t.d.warnHandover(resp.Text())
		return nil
	}
	t.p.told, t.p.client = true, t.env.Client
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
	t.wake()
	send, a := t.ready(ctx, body)
	if send == nil {
		return a
	}
	start := time.Now()
	resp, err := send(ctx, pre, body)
	t.observe(start)
	if err != nil {
		return t.failed(ctx, err)
	}
	a = t.answer(&resp, evidence.StepMessage)
	switch a.Outcome {
	case evidence.OutcomeAccepted:
		t.p.dirty, t.p.refused = false, 0
	case evidence.OutcomeUnreachable: // "go on" after the end: whether it took the message, nobody can know
		a.Outcome = evidence.OutcomeSilent
		t.drop()
	default:
		t.p.refused++ // and dirty: after a refused chunk RSET is due (RFC 3030, 2)
		t.after421(&resp)
	}
	t.end()
	return a
}

// askData says DATA; ok is a 354.
func (t *Transaction) askData(ctx context.Context) (a evidence.Answer, ok bool) {
	b := t.p.c.Batch()
	b.Data()
	resps, err := b.Do(ctx)
	if err != nil {
		t.kept = t.kept && !errors.Is(err, os.ErrDeadlineExceeded) // who does not answer is not asked twice
		return t.failed(ctx, err), false
	}
	r := &resps[0]
	if r.Code == 354 {
		return evidence.Answer{}, true
	}
	a = t.answer(r, evidence.StepData)
	if r.Class() == 2 || r.Class() == 3 {
		a.Outcome = evidence.OutcomeUnreachable
		t.drop()
		return a, false
	}
	t.p.refused++
	if t.after421(r); t.p != nil {
		t.end()
	}
	return a, false
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
	t.p, t.mailDone, t.accepted, t.lost, t.rcpts = nil, false, 0, false, nil
}

// drop closes the connection. What was accepted on it stays counted, so that
// nobody takes the transaction for one that can begin again.
func (t *Transaction) drop() {
	if t.p != nil {
		t.d.discard(t.p)
	}
	t.p, t.mailDone, t.lost = nil, false, t.accepted > 0
}

// Abort ends the transaction without a message. Where a recipient was accepted the
// connection is closed: the downstream may have begun a message in its queue, and must
// hear at once that none comes. Otherwise it is kept for the next one. It may be called again.
func (t *Transaction) Abort() {
	t.wake()
	if t.accepted > 0 {
		t.drop()
		return
	}
	t.end()
}
