package smtp

import (
	"bufio"
	"strings"
	"testing"
)

// answer parses what a server would have sent.
func answer(t testing.TB, wire string) Response {
	t.Helper()
	r, err := readResponse(bufio.NewReaderSize(strings.NewReader(wire), maxResponseLine))
	if err != nil {
		t.Fatalf("%q: %v", wire, err)
	}
	return r
}

func TestClassifyRcpt(t *testing.T) {
	for _, c := range []struct {
		wire string
		want RcptClass
	}{
		// Accepted.
		{"250 2.1.5 Ok", RcptExists},
		{"250", RcptExists},
		{"251 2.1.5 User not local; will forward to <b@c.example>", RcptExists},
		{"252 2.5.2 Cannot VRFY user, but will take the message", RcptExists},
		// What the servers of FACTS say of somebody they do not know.
		{"550 5.1.1 <nobody@example.com>: Recipient address rejected: User unknown in local recipient table", RcptMissing},
		{"550 5.1.1 nobody@example.com... User unknown", RcptMissing},
		{"550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup", RcptMissing},
		{"550 Invalid recipient", RcptMissing},
		{"550 Invalid recipient: <nobody@example.com>", RcptMissing},
		{"524 5.2.4 Mailing list expansion problem: <nobody@example.com>", RcptMissing},
		{"550 5.4.1 Recipient address rejected: Access denied. AS(201806281) [mx.example]", RcptMissing},
		{"550 5.4.1 [nobody@example.com]: Recipient address rejected: Access denied", RcptMissing},
		{"550 Unrouteable address", RcptMissing},
		{"550 No such user here", RcptMissing},
		{"550-Callout failed:\r\n550 no such user", RcptMissing},
		{"550 5.0.0 User unknown", RcptMissing},
		{"551 User not local; please try <forward@example.net>", RcptMissing},
		{"551 5.1.6 The mailbox has moved, no forwarding address", RcptMissing},
		{"550 5.1.6 Moved", RcptMissing},
		{"553 Requested action not taken: mailbox name not allowed", RcptUnclear}, // "not allowed" may be about anything
		{"553 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)", RcptUnclear},
		{"550 sorry, no mailbox here by that name (#5.1.1)", RcptMissing},
		{"553 no mailbox here by that name", RcptMissing},
		{"554 5.1.1 unknown", RcptMissing},
		{"550 5.1.0 Address rejected", RcptMissing},
		{"501 5.1.3 Bad recipient address syntax", RcptMissing},
		{"550 <spam@example.com>: unknown user", RcptMissing}, // a word inside the address is none
		// The mailbox is there.
		{"550 5.2.1 The email account that you tried to reach is disabled", RcptExists},
		{"552 5.2.2 Mailbox full", RcptExists},
		// About the domain or the sender.
		{"550 5.1.2 Host unknown", RcptUnclear},
		{"553 5.1.8 Domain of sender address does not exist", RcptUnclear},
		{"553 5.1.7 Bad sender's mailbox address", RcptUnclear},
		{"550 5.1.0 <a@b.example>: Sender address rejected: User unknown in virtual mailbox table", RcptUnclear},
		{"550 5.1.1 <a@b.example>: Sender address rejected: undeliverable address", RcptUnclear},
		{"550 Sender verify failed", RcptUnclear},
		// Policy, never "no such user".
		{"550 5.7.1 <a@b.example>: Recipient address rejected: Access denied", RcptUnclear},
		{"554 5.7.1 Relay access denied", RcptUnclear},
		{"550 5.7.23 SPF check failed", RcptUnclear},
		{"550 relay not permitted", RcptUnclear},
		{"550 Administrative prohibition", RcptUnclear},
		{"550 Too many invalid recipients", RcptUnclear},
		{"550 Your host is listed at bl.example", RcptUnclear},
		{"550 Client host blocked", RcptUnclear},
		{"550 authentication required", RcptUnclear},
		{"550 Mailbox full", RcptUnclear},
		{"550 Callback verification is not supported", RcptUnclear},
		{"550 we take no bounces from you", RcptUnclear},
		{"550 Cannot resolve your domain", RcptUnclear},
		{"550 DNS lookup failed for your host", RcptUnclear},
		{"550 EHLO argument does not match", RcptUnclear},
		{"550 Encryption needed", RcptUnclear},
		{"550 unauthorized host", RcptUnclear},
		{"550 temporarily out of order", RcptUnclear},
		{"550 server busy", RcptUnclear},
		{"550 Rate exceeded", RcptUnclear},
		// Not understood.
		{"550 5.4.1 No answer from host", RcptUnclear},
		{"554 5.4.1 Recipient address rejected: Access denied", RcptUnclear},
		{"550 5.2.4 Mailing list expansion problem", RcptUnclear},
		{"550 5.5.0 Requested action not taken", RcptUnclear},
		{"554 Transaction failed", RcptUnclear},
		{"552 Exceeded storage allocation", RcptUnclear},
		{"500 Command unrecognized", RcptUnclear},
		{"503 5.5.1 Bad sequence", RcptUnclear},
		{"530 5.7.0 Must issue a STARTTLS command first", RcptUnclear},
		{"599 whatever", RcptUnclear},
		// A status that disagrees with its code is none.
		{"550 4.1.1 User unknown", RcptMissing},
		// The moment.
		{"450 4.1.1 <a@b.example>: Recipient address rejected: unverified address", RcptUnclear},
		{"450 4.2.0 <a@b.example>: Recipient address rejected: Greylisted", RcptUnclear},
		{"451 4.7.1 Greylisting in action", RcptUnclear},
		{"452 4.2.2 Mailbox full", RcptUnclear},
		{"452 4.5.3 Too many recipients", RcptUnclear},
		{"421 4.3.2 Closing", RcptUnclear},
		{"354 Go ahead", RcptUnclear},
	} {
		r := answer(t, c.wire+"\r\n")
		if got := ClassifyRcpt(&r); got != c.want {
			t.Errorf("%q: %v, want %v", c.wire, got, c.want)
		}
	}
}
