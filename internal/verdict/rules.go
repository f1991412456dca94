package verdict

import (
	"backstop/internal/evidence"
	"backstop/internal/mail"
)

// rule is one row of the table.
type rule struct {
	name   Rule
	stages uint8 // bits of evidence.Stage
	// watchable: in watch mode the rule only says what it would have done. The
	// others guard the protocol, the machine or the downstream, in every mode.
	watchable bool
}

const (
	atConnect = 1 << evidence.StageConnect
	atHelo    = 1 << evidence.StageHelo
	atMail    = 1 << evidence.StageMail
	atRcpt    = 1 << evidence.StageRcpt
	atData    = 1 << evidence.StageData
	anywhere  = atConnect | atHelo | atMail | atRcpt | atData
)

// table is the order of the rules.
var table = [...]rule{
	{ClientBlocked, atConnect, true},
	{TooManyConnections, atConnect, false},
	{EarlyTalker, atConnect, true},
	{CommandAbuse, anywhere, false},
	{SenderForged, atMail, true},
	{SenderSPF, atRcpt, true},
	{RelayDenied, atRcpt, false},
	{NullSenderRecipients, atRcpt, true},
	{RecipientSyntax, atRcpt, false},
	{RecipientTag, atRcpt, true},
	{RecipientMissing, atRcpt, true},
	{RecipientUnverified, atRcpt, true},
	{OtherRoute, atRcpt, false},
	{DownstreamRecipient, atRcpt, false},
	{MessageSize, atData, false},
	{MessageLines, anywhere, false},
	{MessageLoop, atData, false},
	{BounceNotOurs, atData, true},
	{BounceUnproven, atData, true},
	{DMARC, atData, true},
	{DownstreamMessage, atData, false},
	{DownstreamSilent, atData, false},
}

// weigh weighs one rule. A switch and no table of functions: called through a
// table, the case would have to live on the heap, once for each time a verdict is asked.
func (r Rules) weigh(name Rule, c *evidence.Case) finding {
	switch name {
	case ClientBlocked:
		return r.clientBlocked(c)
	case TooManyConnections:
		return r.tooManyConnections(c)
	case EarlyTalker:
		return r.earlyTalker(c)
	case CommandAbuse:
		return r.commandAbuse(c)
	case SenderForged:
		return r.senderForged(c)
	case SenderSPF:
		return r.senderSPF(c)
	case RelayDenied:
		return r.relayDenied(c)
	case NullSenderRecipients:
		return r.nullSenderRecipients(c)
	case RecipientSyntax:
		return r.recipientSyntax(c)
	case RecipientTag:
		return r.recipientTag(c)
	case RecipientMissing:
		return r.recipientMissing(c)
	case RecipientUnverified:
		return r.recipientUnverified(c)
	case OtherRoute:
		return r.otherRoute(c)
	case DownstreamRecipient:
		return r.downstreamRecipient(c)
	case MessageSize:
		return r.messageSize(c)
	case MessageLines:
		return r.messageLines(c)
	case MessageLoop:
		return r.messageLoop(c)
	case BounceNotOurs:
		return r.bounceNotOurs(c)
	case BounceUnproven:
		return r.bounceUnproven(c)
	case DMARC:
		return r.dmarc(c)
	case DownstreamMessage:
		return r.downstreamMessage(c)
	case DownstreamSilent:
		return r.downstreamSilent(c)
	}
	return finding{}
}

var (
	replyBlocked     = mail.MustReply(554, "5.7.1", "Your address is refused by this server's operator")
	replyBlockedNow  = mail.MustReply(450, "4.7.1", "Your address is refused by this server's operator for now, try again later")
	replyForged      = mail.MustReply(550, "5.7.1", "Sender address rejected: not permitted from your network")
	replyForgedNow   = mail.MustReply(450, "4.7.1", "Sender address rejected for now, try again later")
	replyNotListed   = mail.MustReply(554, "5.7.1", "This port is for the servers of this site")
	replyForgedDNS   = mail.MustReply(451, "4.4.3", "Sender address not verified: its SPF record cannot be had now, try again later")
	replySPF         = mail.MustReply(550, "5.7.23", "Sender address rejected: its domain does not send from your address (SPF)")
	replyTag         = mail.MustReply(550, "5.7.1", "Recipient address rejected: its tag was not made here, or is too old")
	replyLongHead    = mail.MustReply(552, "5.3.4", "The header of the message is too long")
	replyNotOurs     = mail.MustReply(550, "5.7.1", "This bounce answers mail we did not send")
	replyNotOursNow  = mail.MustReply(451, "4.4.5", "Whether this bounce answers mail of ours cannot be told now, try again later")
	replyUnproven    = mail.MustReply(550, "5.7.1", "This is automatic mail to somebody who is not proven to have written")
	replyUnprovenNow = mail.MustReply(451, "4.4.5", "Whether the addressee of this automatic mail wrote cannot be told now, try again later")
	replyNotHeld     = mail.MustReply(451, "4.3.5", "The mailbox that this site keeps for such mail does not take it now, try again later")
	replyDMARC       = mail.MustReply(550, "5.7.1", "Message rejected: the domain in its From field asks for that (DMARC)")
	replyTooMany     = mail.MustReply(421, "4.7.0", "Too many connections from your address")
	replyEarly       = mail.MustReply(554, "5.5.0", "You talked before the greeting (RFC 5321, 3.1)")
	replyAbuse       = mail.MustReply(421, "4.7.0", "Too many errors or commands, closing")
	replyDenied      = mail.MustReply(554, "5.7.1", "Relay access denied")
	replyRouted      = mail.MustReply(554, "5.7.1", "Relay access denied: the local part names a way to another domain")
	replyOneBounce   = mail.MustReply(452, "4.5.3", "A message with the null sender has one recipient, send this one separately")
	replyNoDomain    = mail.MustReply(550, "5.1.3", "Recipient address rejected: it has no domain")
	replyMissing     = mail.MustReply(550, "5.1.1", "Recipient address rejected: User unknown")
	replyUnverified  = mail.MustReply(451, "4.1.1", "Recipient address not verified, try again later")
	replyOtherRoute  = mail.MustReply(452, "4.5.3", "Send this recipient separately")
	replySize        = mail.MustReply(552, "5.3.4", "Message size exceeds the limit announced")
	replyLines       = mail.MustReply(550, "5.6.0", "A line ends with CR LF, and only there may either stand (RFC 5321, 2.3.8)")
	replyNUL         = mail.MustReply(550, "5.6.0", "NUL characters are refused")
	replyLongLine    = mail.MustReply(550, "5.6.0", "A line of the message is too long (RFC 5321, 4.5.3.1.6)")
	replyLoop        = mail.MustReply(554, "5.4.6", "The message is going around in a loop")
	replySilent      = mail.MustReply(451, "4.4.2", "The message may or may not have been taken, send it again")
	replyInternal    = mail.MustReply(451, "4.3.0", "Temporary failure, reference")
	replyRcptOK      = mail.MustReply(250, "2.1.5", "Ok")
	replyMessageOK   = mail.MustReply(250, "2.0.0", "Ok: taken by the mail server of the recipient")
	replyBeside      = mail.MustReply(250, "2.0.0", "Ok: left to the mail server to take")
	replyLeaves      = mail.MustReply(250, "2.0.0", "Ok: taken by the mail server that sends it on")
)

// Internal is the verdict for something that went wrong on our side.
func Internal() Verdict {
	return Verdict{Effect: Defer, Rule: InternalError, Reply: replyInternal}
}

func (r Rules) accepted(c *evidence.Case) mail.Reply {
	switch c.Stage {
	case evidence.StageRcpt:
		return replyRcptOK
	case evidence.StageData:
		if r.ShowDownstream && c.Final.Outcome == evidence.OutcomeAccepted {
			return r.said(replyMessageOK, 250, mail.Status{Class: 2}, c.Final.Text)
		}
		if c.Door.Beside() {
			return replyBeside
		}
		if c.Leaves {
			return replyLeaves
		}
		return replyMessageOK
	}
	return mail.Reply{} // the door's own words: banner, capabilities
}

func (r Rules) clientBlocked(c *evidence.Case) finding {
	if c.NotListed { // or watch mode would make an open relay
		f := refuse(replyNotListed)
		f.always = true
		return f
	}
	if c.Blocked { // stricter than a file that lets the client in
		return refuse(replyBlocked)
	}
	return byPolicy(&c.ClientPolicy, replyBlocked, replyBlockedNow)
}

// byPolicy is what an operator's file makes of a client or a sender. Only a no is
// the rules' business: a yes exempts him from no other rule.
func byPolicy(p *evidence.Policy, refused, deferred mail.Reply) finding {
	switch p.Word {
	case evidence.Refused:
		return refuse(own(p.Reply, refused))
	case evidence.Deferred:
		return deferTo(own(p.Reply, deferred))
	}
	return finding{}
}

func (r Rules) tooManyConnections(c *evidence.Case) finding {
	return when(c.TooMany, Defer, &replyTooMany)
}

func (r Rules) earlyTalker(c *evidence.Case) finding {
	return when(c.Early, Refuse, &replyEarly)
}

func (r Rules) commandAbuse(c *evidence.Case) finding {
	return when(c.Abuse, Defer, &replyAbuse)
}

func (r Rules) senderForged(c *evidence.Case) finding {
	if c.From.IsNull() {
		return finding{} // no file is asked about it, and a bounce must be taken (RFC 5321, 4.5.5)
	}
	if f := byPolicy(&c.SenderPolicy, replyForged, replyForgedNow); f.effect != Next {
		return f.about(c.From.String())
	}
	return r.claimed(c)
}

func (r Rules) relayDenied(c *evidence.Case) finding {
	switch {
	case c.Leaves && c.NotListed: // a door that should have closed at the connection
		f := refuse(replyNotListed)
		f.always = true
		return f
	case c.Leaves && !(c.Door.Beside() && c.To.Routed()), c.NoDomain:
		return finding{}
	case c.OurDomain != evidence.Yes && (c.Leaves || c.Door.Beside() && c.OurDomain == evidence.No):
		return finding{} // the MTA has taken it, or will not
	case c.OurDomain == evidence.Yes && c.To.Routed():
		// The downstream trusts our address more than the client's: what it would
		// refuse the client, it would carry to another domain for us.
		return refuse(replyRouted.About(c.To.String()))
	case c.OurDomain == evidence.Yes:
		return finding{}
	case c.OurDomain == evidence.Unknown: // nobody looked: no reason to take it, and none to refuse it for good
		return deferTo(replyInternal.About(c.To.String()))
	}
	return refuse(replyDenied.About(c.To.String()))
}

func (r Rules) nullSenderRecipients(c *evidence.Case) finding {
	if c.Door.Beside() && c.OurDomain != evidence.Yes {
		return finding{} // it is the MTA's own
	}
	if c.FromGiven && c.From.IsNull() && c.RcptCount > 0 {
		return deferTo(replyOneBounce.About(c.To.String()))
	}
	return finding{}
}

func (r Rules) recipientSyntax(c *evidence.Case) finding {
	if c.NoDomain && !c.Door.Beside() { // an MTA knows what its own users mean by a name alone
		return refuse(replyNoDomain.About(c.To.String()))
	}
	return finding{}
}

func (r Rules) recipientMissing(c *evidence.Case) finding {
	switch c.Directory.Standing {
	case evidence.NotAsked:
		return ask(evidence.AskDirectory)
	case evidence.Missing:
		if !c.MustAccept {
			return refuse(own(c.Directory.Reply, replyMissing).About(c.To.String()))
		}
	case evidence.LeftToDownstream:
		if c.OtherRoute == evidence.Yes {
			return finding{} // another downstream would have to be asked: other-route says so
		}
		if c.Downstream.Outcome == evidence.OutcomeNotAsked {
			return ask(evidence.AskDownstreamRecipient)
		}
		if saysMissing(c.Downstream) && !c.MustAccept {
			f := refuse(replyMissing.About(c.To.String()))
			f.downstream = true
			return f
		}
	}
	return finding{}
}

// own is the operator's own reply if it has the class of the usual one: what a source
// has been given to say decides how a no sounds, never whether it is for good.
func own(reply, usual mail.Reply) mail.Reply {
	if reply.Class() == usual.Class() {
		return reply
	}
	return usual
}

// saysMissing says that the downstream refused the recipient, and because nobody has that name.
func saysMissing(a evidence.Answer) bool {
	return a.NoSuchUser && a.Outcome == evidence.OutcomeRefused && a.Step == evidence.StepRcpt
}

func (r Rules) recipientUnverified(c *evidence.Case) finding {
	if c.MustAccept && c.Door.Delivers() {
		return finding{} // the downstream itself will say
	}
	switch {
	case c.Directory.Standing == evidence.Unavailable:
		return deferTo(own(c.Directory.Reply, replyUnverified).About(c.To.String()))
	case c.Directory.Standing == evidence.LeftToDownstream && c.Downstream.NotReached():
		f := deferTo(replyUnverified.About(c.To.String()))
		f.downstream = true
		return f
	}
	return finding{}
}

func (r Rules) otherRoute(c *evidence.Case) finding {
	if c.OtherRoute == evidence.Yes {
		return deferTo(replyOtherRoute.About(c.To.String()))
	}
	return finding{}
}

func (r Rules) downstreamRecipient(c *evidence.Case) finding {
	if !c.Door.Delivers() {
		return finding{}
	}
	if c.Downstream.Outcome == evidence.OutcomeNotAsked {
		return ask(evidence.AskDownstreamRecipient)
	}
	return r.passOn(c, &c.Downstream, evidence.StepRcpt).about(c.To.String())
}

func (r Rules) messageSize(c *evidence.Case) finding {
	if c.Message.LongHead {
		return refuse(replyLongHead)
	}
	return when(c.Message.TooBig, Refuse, &replySize)
}

func (r Rules) messageLines(c *evidence.Case) finding {
	switch c.Message.Fault {
	case evidence.NoFault:
		return finding{}
	case evidence.FaultNUL:
		return refuse(replyNUL)
	case evidence.FaultLongLine:
		return refuse(replyLongLine)
	}
	return refuse(replyLines)
}

func (r Rules) messageLoop(c *evidence.Case) finding {
	if c.Message.OurName || r.MaxReceived > 0 && c.Message.Received > r.MaxReceived {
		return refuse(replyLoop)
	}
	return finding{}
}

func (r Rules) downstreamMessage(c *evidence.Case) finding {
	if !c.Door.Delivers() {
		return finding{}
	}
	switch c.Final.Outcome {
	case evidence.OutcomeNotAsked:
		return ask(evidence.AskDownstreamMessage)
	case evidence.OutcomeSilent:
		return finding{} // downstream-silent has the word
	}
	f := r.passOn(c, &c.Final, evidence.StepMessage)
	if c.Bounce.Redirected && f.effect == Refuse {
		return finding{effect: Defer, reply: replyNotHeld, downstream: true} // it would be lost
	}
	return f
}

func (r Rules) downstreamSilent(c *evidence.Case) finding {
	return when(c.Final.Outcome == evidence.OutcomeSilent, Defer, &replySilent)
}
