package smtp

import (
	"strings"

	"backstop/internal/mail"
)

// RcptClass is what a server's answer to RCPT says about the recipient.
type RcptClass uint8

const (
	RcptUnclear RcptClass = iota // nothing about whether he exists: a refusal of us, of the sender, of the moment
	RcptExists
	RcptMissing
)

// ClassifyRcpt reads an answer to RCPT, and to RCPT only: what a server says at
// the banner, EHLO or MAIL is never about a recipient.
//
//   - 2xx: exists.
//   - 5.1.1, 5.1.0, 5.1.3, 5.1.4, 5.1.6, 5.1.10 and any other 5.1.x about the destination
//     mailbox (RFC 3463, 3.2): missing; but 5.1.2 speaks of the domain, 5.1.7 and 5.1.8 of the sender, 5.1.9 of a relay.
//   - 5.2.1 (disabled) and 5.2.2 (full), and all 5.2.x but OpenSMTPD's 524 5.2.4: the mailbox exists, and
//     what it says of itself is not ours to cache.
//   - 5.4.1 with "access denied" is Microsoft 365 for an unknown recipient (RFC 3463 gives the code another meaning).
//   - 550, 551 and 553 without an enhanced code: missing, unless the words are about policy.
//   - 5.7.x is policy, everything else is not understood: unclear, which is never a no.
func ClassifyRcpt(r *Response) RcptClass {
	switch r.Class() {
	case 2:
		return RcptExists
	case 5:
	default:
		return RcptUnclear
	}
	if r.Status.IsZero() {
		return classifyBare(r)
	}
	switch r.Status {
	case mail.Status{Class: 5, Subject: 2, Detail: 4}:
		if r.Code == 524 { // OpenSMTPD: mailing list expansion problem, and its word for an unknown recipient
			return RcptMissing
		}
		return RcptUnclear
	case mail.Status{Class: 5, Subject: 4, Detail: 1}:
		if containsFold(r.Text(), "access denied") {
			return RcptMissing
		}
		return RcptUnclear
	case mail.Status{Class: 5, Subject: 0, Detail: 0}:
		return classifyBare(r) // a status that says nothing
	}
	if r.Status.Subject != 1 {
		return RcptUnclear
	}
	switch r.Status.Detail {
	case 2, 7, 8, 9:
		return RcptUnclear
	}
	return RcptMissing
}

// classifyBare judges a refusal that has no enhanced code.
func classifyBare(r *Response) RcptClass {
	switch r.Code {
	case 550, 551, 553:
	default:
		return RcptUnclear
	}
	text := r.Text()
	for _, word := range policyWords {
		if containsFold(text, word) {
			return RcptUnclear
		}
	}
	return RcptMissing
}

// policyWords tell a refusal of the client or of the moment from one of the recipient.
var policyWords = []string{
	"blocked", "blacklist", "blocklist", "block list", "spam", "reputation", "dnsbl", "rbl", "listed",
	"policy", "authenticat", "not permitted", "denied", "relay", "your ip", "your host", "client host",
	"sender", "quota", "mailbox full", "disabled", "suspended", "greylist", "try again", "verify",
}

func containsFold(s, lower string) bool { return strings.Contains(strings.ToLower(s), lower) }
