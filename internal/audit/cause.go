package audit

import (
	"bytes"

	"backstop/internal/maillog"
)

// Cause is why a message failed after it was accepted.
type Cause uint8

// Why a message may fail.
const (
	NotSaid Cause = iota // the log does not have it
	UnknownUser
	OverQuota
	Content
	Loop
	TooLate
	Elsewhere // somebody else's server refused it, as whoever forwards mail knows; found by the report alone
	Other
	numCauses
)

var causeNames = [numCauses]string{"not-said", "unknown-user", "over-quota", "content", "loop", "too-late", "elsewhere", "other"}

var causeWords = [numCauses]string{
	"not in this log", "unknown user at the store", "mailbox over quota", "content or policy, refused after it was accepted", "mail loop",
	"not delivered in time", "refused by a server of others, to which it was forwarded or relayed", "other",
}

// String is its name in JSON.
func (c Cause) String() string { return causeNames[c] }

// phrases say why, whatever the code. They are looked for in this order, in lower case.
var phrases = []struct {
	cause Cause
	texts []string
}{
	{OverQuota, []string{"over quota", "quota exceeded", "exceeded quota", "mailbox full", "mailbox is full", "overquota", "storage exceeded", "exceeded storage", "insufficient space in mailbox"}},
	{Loop, []string{"too many hops", "mail loop", "loops back to myself", "forwarding loop", "hop count exceeded", "loop detected", "routing loop", "local configuration error", "mail for"}},
	{TooLate, []string{"retry timeout exceeded", "delivery time expired", "returned to sender", "could not be delivered for", "retry time not reached for any host after a long failure period", "envelope expired"}},
	{UnknownUser, []string{
		"user unknown", "unknown user", "no such user", "no such mailbox", "no such recipient", "unknown recipient", "recipient unknown", "unknown local part",
		"does not exist", "doesn't exist", "unrouteable address", "unroutable address", "recipnotfound", "recipientnotfound", "recipient not found", "user not found", "mailbox not found",
		"invalid recipient", "invalid mailbox", "not a valid mailbox", "mailbox unavailable", "unknown address", "address unknown", "no mailbox here", "no such address",
		"user doesn't", "unknown in virtual", "unknown in local", "unknown in relay", "not our customer", "no such person",
	}},
	{Content, []string{"spam", "virus", "content", "policy", "malware", "blocked", "banned", "too large", "too big", "size limit", "message size", "rejected by filter"}},
}

// causeOf tells why, by the words and by the enhanced status code (RFC 3463, 3).
func causeOf(dsn, text []byte, stage maillog.Stage, scratch []byte) Cause {
	if code := enhanced(text); code != nil {
		dsn = code
	}
	if c := causeOfCode(dsn); c != NotSaid {
		return c
	}
	low := lower(scratch[:0], text)
	for _, p := range phrases {
		for _, t := range p.texts {
			if bytes.Contains(low, []byte(t)) && (t != "mail for" || bytes.Contains(low, []byte("loop"))) {
				return p.cause
			}
		}
	}
	switch {
	case bytes.HasPrefix(dsn, []byte("5.1.")):
		return UnknownUser
	case bytes.HasPrefix(dsn, []byte("5.7.")), bytes.HasPrefix(dsn, []byte("5.6.")), stage == maillog.StageData:
		return Content
	}
	return Other
}

// causeOfCode knows the codes that have one meaning.
func causeOfCode(dsn []byte) Cause {
	switch string(dsn) {
	case "5.1.1", "5.1.10", "5.1.6":
		return UnknownUser
	case "5.2.2", "4.2.2":
		return OverQuota
	case "5.4.6", "5.4.14", "4.4.6":
		return Loop
	case "5.4.7", "4.4.7":
		return TooLate
	case "5.3.4", "5.2.3":
		return Content
	}
	return NotSaid
}

// enhanced finds the code that stands behind a reply code: "550 5.1.1 no such user" has 5.1.1. What the server said counts for more than
// what ours made of it: Sendmail and Postfix write 5.0.0 or 5.1.1 for replies that have none.
func enhanced(text []byte) []byte {
	for i := 0; i+8 < len(text); i++ {
		if (text[i] != '5' && text[i] != '4') || i > 0 && text[i-1] != ' ' && text[i-1] != '<' || text[i+3] != ' ' && text[i+3] != '-' || text[i+5] != '.' || text[i+4] != '5' && text[i+4] != '4' {
			continue
		}
		code := text[i+4:]
		for j, c := range code {
			if c != '.' && (c < '0' || c > '9') {
				return code[:j]
			}
		}
		return code
	}
	return nil
}

func lower(to, b []byte) []byte {
	for _, c := range b {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		to = append(to, c)
	}
	return to
}
