package verdict

import "backstop/internal/evidence"

func detailed(s, detail string) string {
	if detail != "" {
		s += ": " + detail
	}
	return s
}

func describeSender(c *evidence.Case) string {
	s := describePolicy(&c.SenderPolicy)
	switch {
	case c.From.IsNull():
		return "null sender"
	case c.Leaves && c.SenderPolicy.Word == evidence.NothingSaid:
		return "our own servers may claim any domain"
	case c.Claim.Domain == "" || c.SenderPolicy.Word != evidence.NothingSaid:
		return s
	case !c.Claim.Refuse:
		return "sender in " + c.Claim.Domain + ", which anybody may claim"
	case c.Claim.Exempt != "":
		return "sender in " + c.Claim.Domain + ", allowed by " + c.Claim.Exempt
	}
	return "sender in " + c.Claim.Domain + " from outside; " + describeSPF(&c.SPF)
}

func describeSenderSPF(c *evidence.Case) string {
	switch {
	case c.Leaves:
		return "not asked of our own servers"
	case !c.FromGiven:
		return "no sender is known"
	case c.Guards.SPF != evidence.CheckRefuse && c.SPF.Result != evidence.NotChecked:
		return "a fail is not refused here; " + describeSPF(&c.SPF)
	case c.Guards.SPF != evidence.CheckRefuse:
		return "a fail is not refused here"
	case c.Claim.Vouched:
		return "not asked, exempt by " + c.Claim.Exempt
	}
	return describeSPF(&c.SPF)
}

func describeSPF(p *evidence.SPF) string {
	if p.Result == evidence.NotChecked {
		return "SPF not asked"
	}
	s := "SPF " + p.Result.String()
	if p.Domain != "" {
		s += choose(p.Helo, " of the HELO name ", " of ") + p.Domain
	}
	return detailed(s, p.Detail)
}

func describeDMARC(c *evidence.Case) string {
	d := &c.DMARC
	switch {
	case c.Leaves:
		return "not asked of our own servers"
	case d.Result == evidence.NotChecked && c.Claim.Vouched:
		return "DMARC not asked, exempt by " + c.Claim.Exempt
	case d.Result == evidence.NotChecked:
		return "DMARC not asked"
	}
	s := "DMARC " + d.Result.String()
	if d.Domain != "" {
		s += " of " + d.Domain
	}
	if d.Policy != evidence.PolicyUnknown {
		s += " (p=" + d.Policy.String() + ")"
	}
	return detailed(s, d.Detail)
}

func describeTag(t *evidence.Tag) string {
	switch t.Standing {
	case evidence.TagNotAsked:
		return "not looked at"
	case evidence.TagNone:
		return "no tag"
	}
	s := choose(t.SRS, "SRS address: ", "tag: ") + t.Standing.String()
	if !t.Address.IsZero() {
		s += ", for " + t.Address.String()
	}
	return s
}

func describeBounce(b *evidence.Bounce) string {
	if !b.Asked {
		return "not looked at"
	}
	s := b.Kind
	if b.Clue != "" {
		s += " (" + b.Clue + ")"
	}
	switch {
	case !b.Automatic:
		return s + ", has nothing to prove"
	case b.Exempt != "":
		s += ", exempt by " + b.Exempt
	case b.Proof != evidence.NoProof:
		s += ", proven by " + b.Proof.String()
	case b.CannotTell:
		s += ", and nobody can tell now whether it is genuine"
	default:
		s += ", proven by nothing"
	}
	return detailed(s, b.Detail)
}

// describeUnproven also says what became of automatic mail that must not leave.
func describeUnproven(c *evidence.Case) string {
	b, a := &c.Bounce, &c.Downstream
	switch s := describeBounce(b); {
	case !c.Leaves:
		return "mail that comes in"
	case !b.Redirected:
		return s
	case a.Outcome == evidence.OutcomeAccepted || a.Outcome == evidence.OutcomeNotAsked:
		return s + "; goes to " + b.BounceTo.String() + " instead"
	default:
		return s + "; should go to " + b.BounceTo.String() + " instead, " + describeAnswer(*a)
	}
}
