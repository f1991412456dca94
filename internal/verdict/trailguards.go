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
	case c.Claim.Domain == "" || c.SenderPolicy.Word != evidence.NothingSaid:
		return s
	case !c.Claim.Refuse:
		return "claims " + c.Claim.Domain + ", which anybody may"
	case c.Claim.Exempt != "":
		return "may claim " + c.Claim.Domain + " (" + c.Claim.Exempt + ")"
	}
	return "claims " + c.Claim.Domain + " from outside; " + describeSPF(&c.SPF)
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
	case d.Result == evidence.NotChecked:
		return "not asked"
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
	return choose(t.SRS, "SRS address, ", "tag, ") + t.Standing.String() + "; meant is " + t.Address.String()
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
		return s
	case b.Exempt != "":
		s += ", exempt by " + b.Exempt
	case b.Proof != evidence.NoProof:
		s += ", proven by " + b.Proof.String()
	case b.CannotTell:
		s += ", cannot be told"
	default:
		s += ", unproven"
	}
	if b.Redirected {
		s += ", handed to " + b.BounceTo.String()
	}
	return detailed(s, b.Detail)
}
