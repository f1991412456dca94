package relay

import (
	"context"
	"io"

	"backstop/internal/evidence"
	"backstop/internal/smtp"
)

// Kept says that the owner has kept the message back since the last Rcpt, be it to read all of it or to ask
// others about it. Downstreams do not wait for that: Postfix hangs up after five minutes of silence, and under
// stress after ten seconds; and others may have taken the place meanwhile. As long as nothing of the message
// was sent Data then begins the transaction anew, once, with the same sender and the same recipients. It
// goes on only if each of them is accepted again.
func (t *Transaction) Kept() { t.kept = true }

// sending is one of the two ways in which a message is sent.
type sending func(ctx context.Context, pre []byte, body io.Reader) (smtp.Response, error)

// ready comes to where the message can be sent; where it cannot, the answer says why. Nothing of the
// message has left by then, so one that was kept back finds another connection.
func (t *Transaction) ready(ctx context.Context, body io.Reader) (sending, evidence.Answer) {
	binary := t.env.Params.Body == smtp.BodyBinaryMIME
	t.kept = t.kept && !binary // which goes by BDAT alone
	anew := t.kept && t.accepted > 0 && (t.p == nil || !t.p.c.Idle())
	if anew {
		if a, ok := t.again(ctx); !ok {
			return nil, a
		}
	}
	for {
		if t.p == nil || t.accepted == 0 {
			return nil, t.gone(evidence.StepData)
		}
		c := t.p.c
		if !anew && c.Capabilities().Chunking && (binary || whole(body)) {
			return c.SendBDAT, evidence.Answer{}
		}
		// A long message in chunks would wait for an answer after each of them. And one that follows RCPT at once,
		// as after a new beginning, asks first: an answer too many to MAIL or RCPT may be on its way still, and is no 354.
		a, ok := t.askData(ctx)
		if ok {
			return c.SendData, a
		}
		if !t.kept || !t.lost || ctx.Err() != nil {
			return nil, a
		}
		if a, ok := t.again(ctx); !ok {
			return nil, a
		}
	}
}

// again begins the transaction anew on another connection. Unless ok, the answer says why it could not.
func (t *Transaction) again(ctx context.Context) (a evidence.Answer, ok bool) {
	rcpts := t.rcpts
	t.drop()
	t.kept, t.lost, t.accepted, t.rcpts = false, false, 0, nil
	for _, r := range rcpts {
		if a = t.give(ctx, r.to, r.p); a.Outcome != evidence.OutcomeAccepted {
			t.Abort()
			return unlike(a), false
		}
	}
	return a, true
}

// unlike is the answer to a recipient who was accepted before and is not now. That is no word about the
// message, of which the downstream has heard nothing; the sender comes again and is told at RCPT.
func unlike(a evidence.Answer) evidence.Answer {
	switch a.Outcome {
	case evidence.OutcomeRefused, evidence.OutcomeUnsupported:
		a.Outcome, a.NoSuchUser, a.Unsupported = evidence.OutcomeDeferred, false, evidence.NoExtension
		a.Text = "accepted at first, and not when the transaction was begun anew: " + a.Text
	}
	return a
}
