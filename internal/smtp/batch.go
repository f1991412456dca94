package smtp

import (
	"context"
	"strconv"

	"backstop/internal/mail"
)

// Batch is a group of commands that go out together where the server allows it
// (RFC 2920). It is valid until its Do returns.
type Batch struct {
	c     *Client
	steps []Step
	ends  []int // where each command ends in c.w
}

// Batch begins a group.
func (c *Client) Batch() *Batch {
	b := &c.batch
	b.steps, b.ends = b.steps[:0], b.ends[:0]
	c.w = c.w[:0]
	return b
}

func (b *Batch) end(s Step) {
	b.c.w = append(b.c.w, '\r', '\n')
	b.steps = append(b.steps, s)
	b.ends = append(b.ends, len(b.c.w))
}

// Reset adds RSET.
func (b *Batch) Reset() {
	b.c.w = append(b.c.w, "RSET"...)
	b.end(StepReset)
}

// XForward adds XFORWARD with the attributes that the server knows; nothing where it knows none.
func (b *Batch) XForward(attrs []Attr) {
	if len(b.c.caps.XForward) == 0 {
		return
	}
	b.c.w = AppendAttrs(append(b.c.w, "XFORWARD"...), b.c.caps.XForward, attrs)
	b.end(StepClient)
}

// Mail adds MAIL, with those parameters that the server offers.
func (b *Batch) Mail(from mail.ReversePath, p MailParams) {
	w, caps := b.c.w, &b.c.caps
	w = append(append(append(w, "MAIL FROM:<"...), from.String()...), '>')
	if p.Size > 0 && caps.SizeOffered {
		w = strconv.AppendInt(append(w, " SIZE="...), p.Size, 10)
	}
	switch {
	case p.Body == BodyBinaryMIME && caps.BinaryMIME:
		w = append(w, " BODY=BINARYMIME"...)
	case p.Body == Body8BitMIME && caps.EightBitMIME:
		w = append(w, " BODY=8BITMIME"...)
	case p.Body == Body7Bit && caps.EightBitMIME:
		w = append(w, " BODY=7BIT"...)
	}
	if p.UTF8 && caps.SMTPUTF8 {
		w = append(w, " SMTPUTF8"...)
	}
	if caps.DSN {
		if p.Ret != "" {
			w = append(append(w, " RET="...), p.Ret...)
		}
		if p.EnvID != "" {
			w = append(append(w, " ENVID="...), p.EnvID...)
		}
	}
	b.c.w = w
	b.end(StepMail)
}

// Rcpt adds RCPT, with those parameters that the server offers.
func (b *Batch) Rcpt(to mail.Address, p RcptParams) {
	w := append(append(append(b.c.w, "RCPT TO:<"...), to.String()...), '>')
	if b.c.caps.DSN {
		if p.Notify != "" {
			w = append(append(w, " NOTIFY="...), p.Notify...)
		}
		if p.ORcpt != "" {
			w = append(append(w, " ORCPT="...), p.ORcpt...)
		}
	}
	b.c.w = w
	b.end(StepRcpt)
}

// Data adds DATA; it is the last of its group.
func (b *Batch) Data() {
	b.c.w = append(b.c.w, "DATA"...)
	b.end(StepData)
}

// Do sends the group and reads the answers, one for each command that was sent: all of
// them in one write where PIPELINING is offered, else one after another up to the
// first MAIL that is refused. With an error, which is a *StepError, what was answered
// before it is returned too.
func (b *Batch) Do(ctx context.Context) ([]Response, error) {
	c := b.c
	defer c.guard(ctx)()
	resps := make([]Response, 0, len(b.steps))
	group := len(b.steps)
	if !c.caps.Pipelining || c.cfg.NoPipelining {
		group = 1
	}
	start := 0
	for i := 0; i < len(b.steps); i += group {
		if err := c.inStep(b.steps[i]); err != nil {
			return resps, err
		}
		end := b.ends[i+group-1]
		c.arm(c.cfg.Timeouts.of(b.steps[i]))
		if _, err := c.nc.Write(c.w[start:end]); err != nil {
			return resps, c.broken(b.steps[i], err)
		}
		start = end
		for _, s := range b.steps[i : i+group] {
			resp, err := c.read(s)
			if err != nil {
				return resps, err
			}
			resps = append(resps, resp)
		}
		if group == 1 && b.steps[i] == StepMail && resps[i].Class() != 2 {
			break
		}
	}
	return resps, nil
}
