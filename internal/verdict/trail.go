package verdict

import (
	"fmt"
	"time"

	"backstop/internal/evidence"
)

// Step is one rule of a trail in words.
type Step struct {
	Rule    string `json:"rule"`
	Finding string `json:"finding"`
	Effect  string `json:"effect"`
}

// Steps puts a verdict's trail into words, from the case it was made of.
func (v Verdict) Steps(c evidence.Case) []Step {
	var steps []Step
	for r := range rules {
		if v.Trail.weighed&(1<<r) == 0 {
			continue
		}
		s := Step{Rule: r.String(), Finding: describe(r, &c), Effect: Next.String()}
		switch {
		case v.Trail.objects&(1<<r) != 0:
			s.Finding += " (watch: would object)"
		case r == v.Rule:
			s.Effect = v.Effect.String()
		}
		steps = append(steps, s)
	}
	return steps
}

// Finding is in words what the rule that decided found.
func (v Verdict) Finding(c *evidence.Case) string { return v.Rule.Finding(c) }

// Finding is in words what the rule finds in the case.
func (r Rule) Finding(c *evidence.Case) string { return describe(r, c) }

// describe says what a rule found.
func describe(r Rule, c *evidence.Case) string {
	switch r {
	case ClientBlocked:
		if c.NotListed {
			return "not among those whose mail leaves here"
		}
		return choose(c.Blocked, "refused by the operator", describePolicy(&c.ClientPolicy))
	case TooManyConnections:
		return choose(c.TooMany, "over the limit", "within the limit")
	case EarlyTalker:
		return choose(c.Early, "talked before the greeting", "waited for the greeting")
	case CommandAbuse:
		return choose(c.Abuse, "too many errors or commands", "no abuse")
	case SenderForged:
		return describeSender(c)
	case SenderSPF:
		return describeSenderSPF(c)
	case RecipientTag:
		return describeTag(&c.Tag)
	case RelayDenied:
		return describeDomain(c)
	case NullSenderRecipients:
		return nullSender(c)
	case RecipientSyntax:
		return choose(c.NoDomain, choose(c.Door.Beside(), "no domain: left to the MTA", "no domain"), "well formed")
	case RecipientMissing, RecipientUnverified:
		return describeDirectory(c)
	case OtherRoute:
		return choose(c.OtherRoute == evidence.Yes, "another downstream, or a domain that judges messages otherwise", "same downstream")
	case DownstreamRecipient:
		if !c.Door.Delivers() {
			return "not asked: nothing is delivered here"
		}
		return describeAnswer(c.Downstream)
	}
	return describeMessage(r, c)
}

func describeDomain(c *evidence.Case) string {
	switch {
	case c.Leaves && c.NotListed:
		return "not among those whose mail leaves here"
	case c.OurDomain == evidence.Yes && c.To.Routed() && c.Door.Beside():
		return "the local part names a way to a domain of ours, or from it to another"
	case c.Leaves:
		return "mail of our own servers goes to any domain"
	case c.OurDomain == evidence.No && c.Door.Beside():
		return "domain is not ours: left to the MTA"
	case c.OurDomain == evidence.Unknown && !c.NoDomain:
		return "nobody looked whether the domain is ours"
	case c.OurDomain == evidence.Yes && c.To.Routed():
		return "domain is ours, but the local part names a way to another domain"
	}
	return choose(c.OurDomain == evidence.Yes, "domain is ours", "domain is not ours")
}

// describeMessage is describe for the rules about a message.
func describeMessage(r Rule, c *evidence.Case) string {
	switch r {
	case MessageSize:
		if c.Message.LongHead {
			return "the header is too long"
		}
		return choose(c.Message.TooBig, "too large", fmt.Sprintf("%d octets", c.Message.Size))
	case MessageLines:
		return [...]string{"every line ends in CR LF", "bare CR", "bare LF", "NUL", "line too long"}[c.Message.Fault]
	case MessageLoop:
		return fmt.Sprintf("%d Received headers%s", c.Message.Received, choose(c.Message.OurName, ", one of this gateway for the same recipient, or too many", ""))
	case BounceNotOurs:
		return choose(c.Leaves, "mail that goes out", describeBounce(&c.Bounce))
	case BounceUnproven:
		return describeUnproven(c)
	case DMARC:
		return describeDMARC(c)
	case DownstreamMessage, DownstreamSilent:
		return describeAnswer(c.Final)
	case Accepted:
		return "no rule objects"
	}
	return ""
}

func choose(yes bool, a, b string) string {
	if yes {
		return a
	}
	return b
}

// describePolicy names the line that decided, and what it says.
func describePolicy(p *evidence.Policy) string {
	if p.Word == evidence.NothingSaid {
		return "not refused"
	}
	s := p.Word.String()
	if p.File != "" {
		s += " by " + p.File
		if p.Line > 0 {
			s += fmt.Sprintf(":%d", p.Line)
		}
	}
	switch {
	case !p.Reply.IsZero():
		s += ": " + p.Reply.String()
	case p.Detail != "":
		s += ": " + p.Detail
	}
	return s
}

func nullSender(c *evidence.Case) string {
	if !c.FromGiven || !c.From.IsNull() {
		return "sender is not null"
	}
	return choose(c.RcptCount > 0, "null sender, not the first recipient", "null sender, one recipient")
}

func describeDirectory(c *evidence.Case) string {
	d := c.Directory
	if c.Door.Beside() && c.OurDomain != evidence.Yes {
		return "not asked: the MTA knows its own users"
	}
	s := d.Standing.String()
	if d.Standing == evidence.LeftToDownstream && c.Downstream.Outcome != evidence.OutcomeNotAsked {
		s = choose(saysMissing(c.Downstream), "missing", s) + " (" + describeAnswer(c.Downstream) + ")"
		return s
	}
	if d.Source != "" {
		s += " (" + d.Source
		if d.Age > 0 {
			s += ", " + d.Age.Round(time.Second).String() + " ago"
		}
		s += choose(d.Stale, ", stale", "") + choose(d.Blind, ", blind: it says yes to anybody", "") + ")"
	}
	if d.Detail != "" {
		s += ": " + d.Detail
	}
	if c.MustAccept && d.Standing == evidence.Missing {
		s += "; postmaster and abuse are never refused as missing (RFC 5321, 4.5.1)"
	}
	return s
}

func describeAnswer(a evidence.Answer) string {
	s := a.Outcome.String()
	if a.Step != evidence.StepNone {
		s += " at " + a.Step.String()
	}
	if a.Host != "" {
		s += " by " + a.Host
	}
	if a.Code != 0 {
		s += fmt.Sprintf(": %d", a.Code)
		if !a.Status.IsZero() {
			s += " " + a.Status.String()
		}
	}
	if a.Text != "" {
		s += choose(a.Code != 0, " ", ": ") + a.Text
	}
	return s
}
