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

func (c RcptClass) String() string { return [...]string{"unclear", "exists", "missing"}[c] }

// ClassifyRcpt reads an answer to RCPT, and to RCPT only: what a server says at
// the banner, EHLO or MAIL is never about a recipient.
//
//   - 2xx: exists. 4xx: unclear, whatever the status.
//   - 5.1.x (RFC 3463, 3.2): missing, moved (5.1.6) included; but 5.1.2 speaks of the domain,
//     5.1.7 and 5.1.8 of the sender, and so does whatever names the sender (Postfix: 5.1.0 for an unlisted one).
//   - 5.2.1 (disabled) and 5.2.2 (full): exists.
//   - 524 5.2.4: OpenSMTPD's missing.
//   - 550 5.4.1 with "access denied": Microsoft 365 for missing (RFC 3463 gives the status another meaning).
//   - 550, 551 and 553 without a status, or with 5.0.0: missing, unless the words are about policy.
//   - 5.7.x is policy, and everything else is not understood: unclear, which is never a no.
func ClassifyRcpt(r *Response) RcptClass {
	switch r.Class() {
	case 2:
		return RcptExists
	case 5:
	default:
		return RcptUnclear
	}
	switch s := r.Status; {
	case s.IsZero(), s.Subject == 0 && s.Detail == 0: // 5.0.0 says nothing
		return classifyBare(r)
	case s.Subject == 1:
		return classifyAddress(r)
	case s == mail.Status{Class: 5, Subject: 2, Detail: 1}, s == mail.Status{Class: 5, Subject: 2, Detail: 2}:
		return RcptExists
	case s == mail.Status{Class: 5, Subject: 2, Detail: 4} && r.Code == 524,
		s == mail.Status{Class: 5, Subject: 4, Detail: 1} && r.Code == 550 && has(words(r), "access denied"):
		return RcptMissing
	}
	return RcptUnclear
}

// classifyAddress judges a refusal with 5.1.x.
func classifyAddress(r *Response) RcptClass {
	switch r.Status.Detail {
	case 0, 1, 3, 4, 6, 10: // 10: RFC 7505, and Exchange's RecipientNotFound
		if has(words(r), "sender address", "sender rejected", "sender verif") {
			return RcptUnclear
		}
		return RcptMissing
	}
	return RcptUnclear
}

// classifyBare judges a refusal that has no enhanced code.
func classifyBare(r *Response) RcptClass {
	switch r.Code {
	case 550, 551, 553:
		if !has(words(r), policyWords...) {
			return RcptMissing
		}
	}
	return RcptUnclear
}

// policyWords tell a refusal of the client, of the sender or of the moment from one of the recipient.
var policyWords = []string{
	"block", "blacklist", "black list", "spam", "reputation", "dnsbl", " rbl", "listed at", "listed by", "listed in",
	"policy", "prohibit", "authenticat", "not permitted", "not allowed", "denied", "relay", "your ip", "your host", "client host",
	"reverse dns", "rdns", "helo", "spf", "dmarc", "sender", "quota", "mailbox full", "mailbox is full", "disabled", "suspended",
	"greylist", "graylist", "try again", "too many", "limit", "exceed", "verif", "callback", "bounce", "rcpthosts", "#5.7.",
	"temporar", "busy", "overload", "dns", "resolv", "banned", "unauthori", "ehlo", "starttls", "encrypt",
}

// words is the text in lower case, without what stands in angle brackets: an
// address may hold any word.
func words(r *Response) string {
	text := strings.ToLower(r.Text())
	for {
		i := strings.IndexByte(text, '<')
		if i < 0 {
			return text
		}
		n := strings.IndexByte(text[i:], '>')
		if n < 0 {
			return text
		}
		text = text[:i] + text[i+n+1:]
	}
}

func has(text string, any ...string) bool {
	for _, word := range any {
		if strings.Contains(text, word) {
			return true
		}
	}
	return false
}
