package verdict

import (
	"strings"

	"backstop/internal/evidence"
	"backstop/internal/mail"
)

func (f finding) about(address string) finding {
	if !f.reply.IsZero() {
		f.reply = f.reply.About(address)
	}
	return f
}

// words are the replies about a downstream: what comes in goes to the server of a domain, what leaves to
// one that sends it on.
type words struct {
	unreachable, notTaken, lost, no8Bit, noUTF8, noBinary, size mail.Reply
	rcpt, message                                               string
}

func wordsFor(server string) *words {
	return &words{
		unreachable: mail.MustReply(451, "4.4.1", server+" cannot be reached, try again later"),
		notTaken:    mail.MustReply(451, "4.7.1", server+" does not take this mail from us now, try again later"),
		lost:        mail.MustReply(451, "4.4.2", server+" hung up, try again later"),
		no8Bit:      mail.MustReply(554, "5.6.3", server+" takes no 8-bit mail (RFC 6152)"),
		noUTF8:      mail.MustReply(553, "5.6.7", server+" takes no internationalized mail (RFC 6531)"),
		noBinary:    mail.MustReply(554, "5.6.1", server+" takes no binary mail (RFC 3030)"),
		size:        mail.MustReply(552, "5.3.4", "Message size exceeds the limit of "+strings.ToLower(server[:1])+server[1:]),
		rcpt:        "Recipient address rejected by " + strings.ToLower(server[:1]) + server[1:],
		message:     "Message refused by " + strings.ToLower(server[:1]) + server[1:],
	}
}

var inward, outward = wordsFor("The mail server of this domain"), wordsFor("The mail server that sends it on")

// passOn makes the sender's reply of a downstream's answer: its code and status
// where they are about this mail, a temporary failure where they are about us or about
// nothing that we understand. Only a yes at the step that counts is a yes.
func (r Rules) passOn(c *evidence.Case, a *evidence.Answer, step evidence.Step) finding {
	w := inward
	if c.Leaves {
		w = outward
	}
	f := finding{downstream: true}
	switch a.Outcome {
	case evidence.OutcomeAccepted:
		if a.Step == step {
			return finding{}
		}
		f.effect, f.reply = Defer, w.notTaken
	case evidence.OutcomeUnsupported:
		f.effect, f.reply = Refuse, w.unsupported(a.Unsupported)
		if f.reply.IsZero() {
			f.effect, f.reply = Defer, w.notTaken
		}
	case evidence.OutcomeRefused:
		f.effect, f.reply = Defer, w.notTaken
		if aboutMail(a.Code) && (a.Step >= evidence.StepRcpt || c.Leaves && aboutSender(a)) {
			f.effect, f.reply = Refuse, r.compose(c, a, step)
		}
	case evidence.OutcomeDeferred:
		f.effect, f.reply = Defer, w.notTaken
		if a.Step >= evidence.StepMail && a.Code/100 == 4 {
			f.reply = r.compose(c, a, step)
		}
	case evidence.OutcomeSilent:
		f.effect, f.reply = Defer, replySilent
	default:
		f.effect, f.reply = Defer, w.unreachable
		if a.Step >= evidence.StepMail {
			f.reply = w.lost
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

// aboutSender says that a no to MAIL is about the address of the sender, and not about us who brought it
// (RFC 3463, 3.2: the status speaks of addresses; 553 does by itself, RFC 5321, 4.2.3). To the relay of what leaves
// the sender is one of its own site's; of the others it may mean us as well.
func aboutSender(a *evidence.Answer) bool {
	return a.Step == evidence.StepMail && (a.Status.Subject == 1 && a.Status.Class == 5 || a.Code == 553)
}

// unsupported is the reply to mail that needs what the downstream lacks, or none where nobody said what that is.
func (w *words) unsupported(e evidence.Extension) mail.Reply {
	switch e {
	case evidence.Ext8BitMIME:
		return w.no8Bit
	case evidence.ExtSMTPUTF8:
		return w.noUTF8
	case evidence.ExtBinaryMIME:
		return w.noBinary
	case evidence.ExtSize:
		return w.size
	}
	return mail.Reply{}
}

// compose keeps code and status as far as they can stand in our reply. The code's
// class is that of the answer's outcome.
func (r Rules) compose(c *evidence.Case, a *evidence.Answer, step evidence.Step) mail.Reply {
	w, own := inward, ""
	if c.Leaves {
		w = outward
	}
	if own = w.rcpt; step == evidence.StepMessage {
		own = w.message
	}
	code, status := a.Code, a.Status
	if code == 421 {
		code = 451 // the downstream closes its connection with us; we do not close ours
	}
	if int(status.Class) != code/100 {
		status = mail.Status{Class: uint16(code / 100)}
	}
	reply, err := mail.NewReply(code, status, own)
	if err != nil {
		return w.notTaken // not a code of RFC 5321: neither refused nor taken for all we know
	}
	if (r.ShowDownstream || c.Leaves) && a.Text != "" { // to our own servers nothing is given away
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
