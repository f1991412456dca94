package verdict

import (
	"backstop/internal/evidence"
	"backstop/internal/mail"
)

// Rule names one rule.
type Rule uint8

// The rules in the order in which they are weighed.
const (
	ClientBlocked        Rule = iota // the operator refuses this client
	TooManyConnections               // the client has too many connections open
	EarlyTalker                      // the client talked before the banner
	CommandAbuse                     // too many errors or commands, or not SMTP at all
	SenderForged                     // the operator refuses this sender, or an outsider claims a domain of ours
	SenderSPF                        // the sender's domain says that it does not send from there
	RelayDenied                      // the recipient's domain is not ours
	NullSenderRecipients             // a bounce has one recipient
	RecipientSyntax                  // the recipient is no address that could be delivered to
	RecipientTag                     // the recipient bears a tag that nobody of ours made
	RecipientMissing                 // somebody who must know says that the recipient does not exist
	RecipientUnverified              // nobody who must know can be asked now
	OtherRoute                       // the transaction belongs to another downstream
	DownstreamRecipient              // what the downstream said to the recipient
	MessageSize                      // larger than max_message_size
	MessageLines                     // a bare CR, bare LF or NUL, or a line too long
	MessageLoop                      // it went around too often, or came through here before
	BounceNotOurs                    // a bounce for mail that was not sent from here
	BounceUnproven                   // outbound: automatic mail to somebody who is not known to have written
	DMARC                            // the domain of the header From wants it rejected
	DownstreamMessage                // what the downstream said to the message
	DownstreamSilent                 // the downstream took the message's end and never answered
	InternalError                    // ours to blame
	Accepted                         // nobody objected
	rules
)

var ruleNames = [rules]string{
	"client-blocked", "too-many-connections", "early-talker", "command-abuse", "sender-forged", "sender-spf",
	"relay-denied", "null-sender-recipients", "recipient-syntax", "recipient-tag",
	"recipient-missing", "recipient-unverified", "other-route", "downstream-recipient",
	"message-size", "message-lines", "message-loop",
	"bounce-not-ours", "bounce-unproven", "dmarc",
	"downstream-message", "downstream-silent", "internal-error", "accepted",
}

func (r Rule) String() string { return ruleNames[r] }

// RuleNames lists the names of all rules, indexed by Rule.
func RuleNames() []string { return ruleNames[:] }

// Effect is what a rule, or the whole verdict, does.
type Effect uint8

const (
	Next     Effect = iota // the rule has no objection
	Accept                 // 2xx
	Refuse                 // 5xx
	Defer                  // 4xx
	Redirect               // accepted for another recipient
	effects
)

var effectNames = [effects]string{"next", "accept", "refuse", "defer", "redirect"}

func (e Effect) String() string { return effectNames[e] }

// EffectNames lists the names of all effects, indexed by Effect.
func EffectNames() []string { return effectNames[:] }

// Verdict is a reply, or the question whose answer is still missing.
type Verdict struct {
	Effect Effect
	Rule   Rule
	Reply  mail.Reply
	Ask    evidence.Question // not AskNothing: ask this and decide again; nothing else is set
	Trail  Trail
	// Downstream says that the reply passes on what a downstream said.
	Downstream bool
}

// Watched says whether a rule would have refused or deferred, had the mode not been watch, and which came first.
func (v Verdict) Watched() (Rule, bool) { return v.Trail.watched() }

// Trail remembers which rules were weighed and which would have objected; the
// words are made only when somebody asks for Steps.
type Trail struct {
	weighed uint32 // a bit a rule
	objects uint32 // watch mode: the rule objected and was not obeyed
}

func (t Trail) watched() (Rule, bool) {
	for r := range rules {
		if t.objects&(1<<r) != 0 {
			return r, true
		}
	}
	return 0, false
}

// Rules are the rules with the little that can be configured about them.
type Rules struct {
	// ShowDownstream puts the downstream's own text into the replies (reply_text = "downstream").
	ShowDownstream bool
	// MaxReceived is how many Received headers make a loop (RFC 5321, 6.3 wants at least 100).
	MaxReceived int
}

// Decide weighs the evidence for one stage of one transaction. It does no I/O,
// reads no clock and remembers nothing: the same case gives the same verdict today and
// from the journal a year later.
func (r Rules) Decide(c evidence.Case) Verdict { return r.Weigh(&c) }

// Weigh is Decide without a copy of the case, which it only reads.
func (r Rules) Weigh(c *evidence.Case) Verdict {
	var v Verdict
	for i := range table {
		rule := &table[i]
		if rule.stages&(1<<c.Stage) == 0 {
			continue
		}
		f := r.weigh(rule.name, c)
		if f.ask != evidence.AskNothing {
			return Verdict{Ask: f.ask}
		}
		v.Trail.weighed |= 1 << rule.name
		if f.effect == Next {
			continue
		}
		if f.noted || c.Mode == evidence.Watch && rule.watchable && !f.firm() {
			v.Trail.objects |= 1 << rule.name
			continue
		}
		v.Effect, v.Rule, v.Reply, v.Downstream = f.effect, rule.name, f.reply, f.downstream
		return v
	}
	v.Effect, v.Rule, v.Reply = Accept, Accepted, r.accepted(c)
	if c.Stage == evidence.StageData && c.Leaves && c.Bounce.Redirected {
		v.Effect, v.Rule = Redirect, BounceUnproven
	}
	v.Trail.weighed |= 1 << v.Rule
	return v
}

// finding is what one rule makes of the evidence.
type finding struct {
	effect     Effect
	reply      mail.Reply
	ask        evidence.Question
	downstream bool // the objection is the downstream's, so watch mode does not soften it
	always     bool // nor this one
	noted      bool // the domain asks to be told only, whatever the mode
}

// firm says that watch mode does not soften the objection.
func (f finding) firm() bool { return f.downstream || f.always }

func refuse(r mail.Reply) finding { return finding{effect: Refuse, reply: r} }
func deferTo(r mail.Reply) finding {
	return finding{effect: Defer, reply: r}
}

// when is an objection that depends on one thing.
func when(yes bool, effect Effect, reply *mail.Reply) finding {
	if yes {
		return finding{effect: effect, reply: *reply}
	}
	return finding{}
}

func ask(q evidence.Question) finding { return finding{ask: q} }
