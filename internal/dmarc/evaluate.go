package dmarc

import (
	"backstop/internal/evidence"
	"backstop/internal/mail"
)

// Input is what a message is weighed by.
type Input struct {
	From   string       // the domain of the header From, as FromDomain gives it
	Author mail.Address // of the header From, as FromAddress gives it; zero where that is an error
	Record Record
	OfOrg  bool // the record was found at the organisational domain, and From is below it
	SPF    evidence.SPF
	DKIM   []evidence.Signature
	Sender mail.ReversePath // of the envelope
	Roll   uint8            // 0 to 99, at random: which share of the mail this message is in, for pct
}

// Evaluate weighs a message for which there is a record. It passes if SPF or a DKIM signature passed for a domain
// that is aligned with From (RFC 7489, 3.1). It fails only if everything that could have made it pass was seen: a
// temporary error there, and SPF that nobody checked, is TempError.
//
// A pass says something of the envelope sender only where he is the author himself. Of the same domain is not
// enough: whoever has a mailbox at a large provider gets its signature on a letter to himself, and could
// send that again in the name of any other of its users, to whom the bounces would go.
func Evaluate(in Input) evidence.DMARC {
	d := evidence.DMARC{Domain: in.From, Policy: in.Record.Policy}
	if in.OfOrg {
		d.Policy = in.Record.Subdomains
	}
	d.Result, d.Detail = weigh(in)
	if d.Result == evidence.Pass {
		d.Aligned = !in.Sender.IsNull() && in.Sender.Key() == in.Author.Key()
	} else if in.Roll >= in.Record.Percent {
		d.Policy = weaker(d.Policy)
	}
	return d
}

// weigh finds the result, and for the operator why it is not a pass.
func weigh(in Input) (evidence.Result, string) {
	var unknown, other string // a domain that could have passed; one that passed and is not aligned
	note := func(r evidence.Result, domain string, strict bool) bool {
		ok := aligned(in.From, domain, strict)
		switch {
		case r == evidence.Pass && ok:
			return true
		case r == evidence.Pass:
			other = domain
		case r == evidence.TempError && ok:
			unknown = domain
		}
		return false
	}
	for _, s := range in.DKIM {
		if note(s.Result, s.Domain, in.Record.StrictDKIM) {
			return evidence.Pass, ""
		}
	}
	if note(in.SPF.Result, in.SPF.Domain, in.Record.StrictSPF) {
		return evidence.Pass, ""
	}
	switch {
	case unknown != "":
		return evidence.TempError, "SPF or DKIM could not be checked now for " + clean(unknown)
	case in.SPF.Result == evidence.NotChecked:
		return evidence.TempError, "SPF was not checked"
	case other != "":
		return evidence.Fail, "what passed is for " + clean(other) + ", which is not aligned with " + in.From
	}
	return evidence.Fail, "neither SPF nor DKIM passed for " + in.From
}

// clean is a domain that the message names, in the form that can be shown. Only domains that fold become
// more than "another domain".
func clean(domain string) string {
	d, err := mail.FoldDomain(domain)
	if err != nil {
		return "another domain"
	}
	return d
}

// aligned says whether domain speaks for from (RFC 7489, 3.1): strictly the same, or of the same organisation.
func aligned(from, domain string, strict bool) bool {
	d, err := mail.FoldDomain(domain)
	if err != nil || d[0] == '[' {
		return false
	}
	return d == from || !strict && OrgDomain(d) == OrgDomain(from)
}

// weaker is the policy for messages outside the share (RFC 7489, 6.6.4).
func weaker(p evidence.PublishedPolicy) evidence.PublishedPolicy {
	switch p {
	case evidence.PolicyReject:
		return evidence.PolicyQuarantine
	case evidence.PolicyQuarantine:
		return evidence.PolicyNone
	}
	return p
}
