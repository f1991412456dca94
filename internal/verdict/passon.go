package verdict

import (
	"backstop/internal/evidence"
	"backstop/internal/mail"
)

func (f finding) about(address string) finding {
	if !f.reply.IsZero() {
		f.reply = f.reply.About(address)
	}
	return f
}

// passOn makes the sender's reply of a downstream's answer: its code and status
// where they are about this mail, a temporary failure where they are about us or about
// nothing that we understand.
func (r Rules) passOn(a evidence.Answer, own string) finding {
	f := finding{downstream: true}
	switch a.Outcome {
	case evidence.OutcomeAccepted:
		return finding{}
	case evidence.OutcomeUnsupported:
		f.effect, f.reply = Refuse, unsupported(a.Unsupported)
	case evidence.OutcomeRefused:
		if a.Step < evidence.StepRcpt || !aboutMail(a.Code) {
			f.effect, f.reply = Defer, replyNotTaken
			break
		}
		f.effect = Refuse
		f.reply = r.compose(a, own)
	case evidence.OutcomeDeferred:
		f.effect = Defer
		if a.Step < evidence.StepMail {
			f.reply = replyNotTaken
			break
		}
		f.reply = r.compose(a, own)
	case evidence.OutcomeSilent:
		f.effect, f.reply = Defer, replySilent
	default:
		f.effect, f.reply = Defer, replyUnreachable
		if a.Step >= evidence.StepMail {
			f.reply = replyLost
		}
	}
	return f
}

// aboutMail tells the refusals that are about a sender, a recipient or a
// message from those that say that the conversation itself went wrong (500,
// 502, 503, 504: RFC 5321, 4.2.2), which is never the sender's fault.
func aboutMail(code int) bool {
	return code == 501 || code == 521 || code == 523 || code == 524 || code == 525 || code == 535 || code >= 550 && code <= 599
}

func unsupported(e evidence.Extension) mail.Reply {
	switch e {
	case evidence.Ext8BitMIME:
		return replyNo8Bit
	case evidence.ExtSMTPUTF8:
		return replyNoUTF8
	case evidence.ExtBinaryMIME:
		return replyNoBinary
	}
	return replySizeThere
}

// compose keeps code and status as far as they can stand in our reply.
func (r Rules) compose(a evidence.Answer, own string) mail.Reply {
	code, status := a.Code, a.Status
	if code == 421 {
		code = 451 // the downstream closes its connection with us; we do not close ours
	}
	if int(status.Class) != code/100 {
		status = mail.Status{Class: uint16(code / 100)}
	}
	reply, err := mail.NewReply(code, status, own)
	if err != nil { // a code outside RFC 5321: understood as far as its class
		if a.Outcome == evidence.OutcomeRefused {
			reply = mail.MustReply(550, "5.0.0", own)
		} else {
			reply = mail.MustReply(451, "4.0.0", own)
		}
	}
	if r.ShowDownstream && a.Text != "" {
		return r.said(reply, reply.Code(), reply.Status(), a.Text)
	}
	return reply
}

// said is the reply with the downstream's own text, when that can stand in one.
func (r Rules) said(fallback mail.Reply, code int, status mail.Status, text string) mail.Reply {
	clean := make([]byte, 0, len(text))
	for i := 0; i < len(text) && len(clean) < 400; i++ {
		if c := text[i]; c >= ' ' && c <= '~' {
			clean = append(clean, c)
		} else {
			clean = append(clean, ' ')
		}
	}
	reply, err := mail.NewReply(code, status, string(clean))
	if err != nil {
		return fallback
	}
	return reply
}
