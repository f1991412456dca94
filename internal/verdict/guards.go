package verdict

import "backstop/internal/evidence"

// These rules ask who sent a message, and what automatic mail answers.

// claimed is about an outsider who gives a sender in a domain of ours. SPF is asked last:
// it costs a look-up, and who passes is no outsider.
func (r Rules) claimed(c *evidence.Case) finding {
	if c.Leaves || c.Claim.Domain == "" || !c.Claim.Refuse || c.Claim.Exempt != "" || c.SenderPolicy.Word == evidence.Allowed {
		return finding{}
	}
	switch c.SPF.Result {
	case evidence.NotChecked:
		return ask(evidence.AskSPF)
	case evidence.Pass:
		return finding{}
	case evidence.TempError:
		return deferTo(replyForgedDNS).about(c.From.String())
	}
	return refuse(replyForged).about(c.From.String())
}

// senderSPF refuses a fail alone: that is the one word by which a domain says that the client is not its own.
func (r Rules) senderSPF(c *evidence.Case) finding {
	if c.Leaves || !c.FromGiven || c.Guards.SPF != evidence.CheckRefuse || c.OurDomain != evidence.Yes || c.Claim.Vouched {
		return finding{}
	}
	switch c.SPF.Result {
	case evidence.NotChecked:
		return ask(evidence.AskSPF)
	case evidence.Fail:
		return refuse(replySPF).about(senderOrHelo(c))
	}
	return finding{}
}

// senderOrHelo is whose SPF record was asked.
func senderOrHelo(c *evidence.Case) string {
	if c.From.IsNull() {
		return c.SPF.Domain
	}
	return c.From.String()
}

// recipientTag refuses what nobody can have been given: a tag with wrong digits under the null sender,
// and an SRS address that nobody here made. All else is for the message to show: who only asks
// whether the recipient exists (a callback) writes to the plain address. As long as tags are not due
// there may be some that another signer made whose place we took.
func (r Rules) recipientTag(c *evidence.Case) finding {
	if c.Leaves {
		return finding{}
	}
	f := finding{}
	switch t := &c.Tag; {
	case t.SRS && (t.Standing == evidence.TagForged || t.Standing == evidence.TagExpired):
		f = refuse(replyTag)
	case !t.SRS && t.Standing == evidence.TagForged && c.FromGiven && c.From.IsNull() && c.Guards.Tags >= evidence.TagWatch:
		f = refuse(replyTag)
		f.noted = c.Guards.Tags != evidence.TagEnforce || !c.Guards.TagsDue
	}
	return f.about(c.To.String())
}

// bounceNotOurs objects to a bounce that nothing proves.
func (r Rules) bounceNotOurs(c *evidence.Case) finding {
	g := &c.Guards
	if c.Leaves || g.Bounces == evidence.JudgeOff && g.Tags < evidence.TagWatch {
		return finding{}
	}
	b := &c.Bounce
	switch {
	case !b.Asked:
		return ask(evidence.AskBounce)
	case !b.Automatic, b.Exempt != "", b.Proof != evidence.NoProof:
		return finding{}
	}
	enforced := g.Bounces == evidence.JudgeEnforce || g.Tags == evidence.TagEnforce && g.TagsDue && b.Untagged
	watched := g.Bounces == evidence.JudgeWatch || b.Untagged
	f := refuse(replyNotOurs)
	switch {
	case !enforced && !watched:
		return finding{}
	case b.CannotTell:
		f = deferTo(replyNotOursNow)
	}
	f.noted = !enforced
	return f.about(c.To.String())
}

// bounceUnproven keeps automatic mail from people who never wrote.
func (r Rules) bounceUnproven(c *evidence.Case) finding {
	if !c.Leaves {
		return finding{}
	}
	b := &c.Bounce
	switch {
	case !b.Asked:
		return ask(evidence.AskBounce)
	case !b.Automatic, b.Exempt != "", b.Proof != evidence.NoProof:
		return finding{}
	case b.Redirected:
		if o := c.Downstream.Outcome; o != evidence.OutcomeAccepted && o != evidence.OutcomeNotAsked {
			return deferTo(replyNotHeld) // whatever it said: that mailbox is the operator's choice, not the sender's
		}
		return finding{}
	case b.CannotTell:
		return deferTo(replyUnprovenNow)
	case b.BounceTo.IsZero():
		return refuse(replyUnproven)
	case c.Mode == evidence.Watch: // noted, and not carried out
		return finding{effect: Redirect}
	}
	return ask(evidence.AskRedirect)
}

// dmarc refuses what its domain wants rejected. A bounce that answers mail of ours comes from wherever that
// went, and many servers sign none of theirs.
func (r Rules) dmarc(c *evidence.Case) finding {
	if c.Leaves || c.Guards.DMARC != evidence.CheckRefuse || c.Claim.Vouched || c.Bounce.Automatic && c.Bounce.Proof != evidence.NoProof {
		return finding{}
	}
	if c.DMARC.Result == evidence.NotChecked {
		return ask(evidence.AskDMARC)
	}
	return when(c.DMARC.Result == evidence.Fail && c.DMARC.Policy == evidence.PolicyReject, Refuse, &replyDMARC)
}
