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
// nothing that we understand. Only a yes at the step that counts is a yes.
func (r Rules) passOn(a evidence.Answer, step evidence.Step, own string) finding {
	f := finding{downstream: true}
	switch a.Outcome {
	case evidence.OutcomeAccepted:
		if a.Step == step {
			return finding{}
		}
		f.effect, f.reply = Defer, replyNotTaken
	case evidence.OutcomeUnsupported:
		f.effect, f.reply = Refuse, unsupported(a.Unsupported)
		if f.reply.IsZero() {
			f.effect, f.reply = Defer, replyNotTaken
		}
	case evidence.OutcomeRefused:
		f.effect, f.reply = Defer, replyNotTaken
		if a.Step >= evidence.StepRcpt && aboutMail(a.Code) {
			f.effect, f.reply = Refuse, r.compose(a, own)
		}
	case evidence.OutcomeDeferred:
		f.effect, f.reply = Defer, replyNotTaken
		if a.Step >= evidence.StepMail && a.Code/100 == 4 {
			f.reply = r.compose(a, own)
		}
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
// 502, 503, 504: RFC 5321, 4.2.2; 530 to 538, which want us to log in: RFC 4954, 6),
// which is never the sender's fault.
func aboutMail(code int) bool {
	return code == 501 || code == 521 || code == 523 || code == 524 || code == 525 || code >= 550 && code <= 599
}

// unsupported is the reply to mail that needs what the downstream lacks, or none where nobody said what that is.
func unsupported(e evidence.Extension) mail.Reply {
	switch e {
	case evidence.Ext8BitMIME:
		return replyNo8Bit
	case evidence.ExtSMTPUTF8:
		return replyNoUTF8
	case evidence.ExtBinaryMIME:
		return replyNoBinary
	case evidence.ExtSize:
		return replySizeThere
	}
	return mail.Reply{}
}

// compose keeps code and status as far as they can stand in our reply. The code's
// class is that of the answer's outcome.
func (r Rules) compose(a evidence.Answer, own string) mail.Reply {
	code, status := a.Code, a.Status
	if code == 421 {
		code = 451 // the downstream closes its connection with us; we do not close ours
	}
	if int(status.Class) != code/100 {
		status = mail.Status{Class: uint16(code / 100)}
	}
	reply, err := mail.NewReply(code, status, own)
	if err != nil {
		return replyNotTaken // not a code of RFC 5321: neither refused nor taken for all we know
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
