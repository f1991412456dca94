package daemon_test

import (
	"strings"
	"time"

	"backstop/internal/mailtest/rig"
)

// accessLines are a source whose answers have words of their own.
const accessLines = "To:alice@example.com\tRELAY\nTo:gone@example.com\tERROR:5.2.1:\"550 Mailbox closed\"\nTo:full@example.com\tERROR:4.2.2:\"452 Mailbox full\"\n"

// messages are what follows DATA.
var messages = map[string]string{
	"letter":  letterFrom("ann@client.test"),
	"forged":  letterFrom("ann@reject.example"),
	"bounce":  bounceOfMail("nobody@client.test", "alice@example.com"),
	"leaving": bounceOfMail("nobody@example.com", "dora@elsewhere.test"),
	"own":     bounceOfMail("nobody@example.net", "dora@elsewhere.test"),
	"header":  strings.Repeat("X-Fill: "+strings.Repeat("x", 500)+"\r\n", 600) + letterFrom("ann@client.test"),
	"loop":    strings.Repeat("Received: from a.example by b.example; Sun, 22 Nov 2026 09:00:00 +0000\r\n", 101) + letterFrom("ann@client.test"),
	"bare":    "From: ann@client.test\r\nSubject: x\r\n\r\nHel\rlo\r\n",
}

// bounceOfMail is what the server of a recipient writes to who sent him mail.
func bounceOfMail(recipient, sender string) string {
	_, domain, _ := strings.Cut(recipient, "@")
	return "From: MAILER-DAEMON@" + domain + "\r\nTo: " + sender + "\r\nDate: Sun, 22 Nov 2026 09:00:00 +0000\r\nMessage-ID: <3@" + domain + ">\r\n" +
		"Subject: Undelivered Mail\r\nAuto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n" +
		"--b\r\n\r\nSorry.\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; " + domain + "\r\n\r\nFinal-Recipient: rfc822; " + recipient +
		"\r\nAction: failed\r\nStatus: 5.1.1\r\n\r\n--b\r\nContent-Type: text/rfc822-headers\r\n\r\nFrom: " + sender + "\r\nMessage-ID: <never@example.com>\r\nSubject: never sent\r\n\r\n--b--\r\n"
}

func letterFrom(who string) string {
	return "From: Ann <" + who + ">\r\nTo: alice@example.com\r\nDate: Sun, 22 Nov 2026 09:00:00 +0000\r\nMessage-ID: <1@client.test>\r\nSubject: x\r\n\r\nHello\r\n"
}

// accepted is what follows the recipient where all is well.
const accepted = `
S: 250
L: rcpt accept accepted
C: DATA
S: 354
C: . letter
S: 250
L: data accept accepted
`

const ann = "C: MAIL FROM:<ann@client.test>\nS: 250\n"

// leavingBounce is one of a server of ours, up to its end.
const leavingBounce = `
C: MAIL FROM:<>
S: 250
C: RCPT TO:<dora@elsewhere.test>
S: 250
L: rcpt accept accepted
C: DATA
S: 354
C: . `

var plays = []play{
	{name: "a known recipient", text: ann + "C: RCPT TO:<alice@example.com>" + accepted + "C: QUIT\nS: 221"},
	{name: "an unknown recipient", text: ann + `
C: RCPT TO:<nobody@example.com>
S: 550 5.1.1 <nobody@example.com>: Recipient address rejected: User unknown
L: rcpt refuse recipient-missing`},
	{name: "several recipients", text: ann + `
C: RCPT TO:<nobody@example.com>
S: 550 5.1.1 <nobody@example.com>: Recipient address rejected: User unknown
L: rcpt refuse recipient-missing
C: RCPT TO:<alice@example.com>
S: 250
L: rcpt accept accepted
C: RCPT TO:<nobody.else@example.com>
S: 550 5.1.1 <nobody.else@example.com>: Recipient address rejected: User unknown
L: rcpt refuse recipient-missing
C: RCPT TO:<bob@example.com>` + accepted},
	{name: "another case", text: ann + `
C: RCPT TO:<ALICE@Example.COM>
S: 250
L: rcpt accept accepted
C: RCPT TO:<NoBody@Example.COM>
S: 550 5.1.1 <NoBody@Example.COM>: Recipient address rejected: User unknown
L: rcpt refuse recipient-missing`},
	{name: "a subaddress", domain: `subaddress = "+"`, text: ann + `
C: RCPT TO:<nobody+news@example.com>
S: 550 5.1.1 <nobody+news@example.com>: Recipient address rejected: User unknown
L: rcpt refuse recipient-missing
C: RCPT TO:<alice+news@example.com>` + accepted},
	{name: "a quoted local part", text: `
C: MAIL FROM:<"ann b"@client.test>
S: 250
C: RCPT TO:<"no body"@example.com>
S: 550 5.1.1 <"no body"@example.com>: Recipient address rejected: User unknown
L: rcpt refuse recipient-missing
C: RCPT TO:<"alice"@example.com>
S: 250
L: rcpt accept accepted
C: RCPT TO:<"john q public"@example.com>` + accepted},
	{name: "UTF-8", text: `
C: MAIL FROM:<ann@client.test> SMTPUTF8
S: 250
C: RCPT TO:<möller@example.com>
S: 550 5.1.1 <möller@example.com>: Recipient address rejected: User unknown
L: rcpt refuse recipient-missing
C: RCPT TO:<müller@example.com>
S: 250
L: rcpt accept accepted`},
	{name: "a long local part", text: ann + `
C: RCPT TO:<` + strings.Repeat("x", 64) + `@example.com>
S: 550 5.1.1 <` + strings.Repeat("x", 64) + `@example.com>: Recipient address rejected: User unknown
L: rcpt refuse recipient-missing
C: RCPT TO:<` + strings.Repeat("x", 65) + `@example.com>
S: 501 5.1.3 not a mail address: the local part is longer than 64 octets (RFC 5321, 4.5.3.1.1)
C: RCPT TO:<alice@example.com>` + accepted},
	{name: "no domain", text: ann + `
C: RCPT TO:<alice>
S: 550 5.1.3 <alice>: Recipient address rejected: it has no domain
L: rcpt refuse recipient-syntax`},
	{name: "postmaster, whom the list lacks", domain: `recipients = ["list:{few}"]`, text: ann + `
C: RCPT TO:<postmaster@example.com>
S: 250
L: rcpt accept accepted
C: RCPT TO:<Abuse@example.com>
S: 250
L: rcpt accept accepted
C: RCPT TO:<bob@example.com>
S: 550 5.1.1 <bob@example.com>: Recipient address rejected: User unknown
L: rcpt refuse recipient-missing
C: RCPT TO:<postmaster>` + accepted},
	{name: "a domain that is the MTA's own", text: ann + `
C: RCPT TO:<carl@example.net>
S: 554 5.7.1 <carl@example.net>: Relay access denied
L: rcpt refuse relay-denied
C: RCPT TO:<alice@example.com>` + accepted},
	{name: "a domain of neither", text: ann + `
C: RCPT TO:<dora@elsewhere.test>
S: 554 5.7.1 <dora@elsewhere.test>: Relay access denied
L: rcpt refuse relay-denied
C: RCPT TO:<alice@example.com>` + accepted},
	{name: "a domain in the local part", text: ann + `
C: RCPT TO:<dora%elsewhere.test@example.com>
S: 554 5.7.1 <dora%elsewhere.test@example.com>: Relay access denied: the local part names a way to another domain
L: rcpt refuse relay-denied
C: RCPT TO:<elsewhere.test!dora@example.com>
S: 554 5.7.1 <elsewhere.test!dora@example.com>: Relay access denied: the local part names a way to another domain
L: rcpt refuse relay-denied
C: RCPT TO:<"dora@elsewhere.test"@example.com>
S: 554 5.7.1 <"dora@elsewhere.test"@example.com>: Relay access denied: the local part names a way to another domain
L: rcpt refuse relay-denied`},
	{name: "the null sender", domain: `bounces = "off"`, text: `
C: MAIL FROM:<>
S: 250
C: RCPT TO:<nobody@example.com>
S: 550 5.1.1 <nobody@example.com>: Recipient address rejected: User unknown
L: rcpt refuse recipient-missing
C: RCPT TO:<alice@example.com>` + accepted},
	{name: "the null sender, two recipients", domain: `bounces = "off"`, text: `
C: MAIL FROM:<>
S: 250
C: RCPT TO:<alice@example.com>
S: 250
L: rcpt accept accepted
C: RCPT TO:<bob@example.com>
S: 452 4.5.3 <bob@example.com>: A message with the null sender has one recipient, send this one separately
L: rcpt defer null-sender-recipients
C: DATA
S: 354
C: . letter
S: 250
L: data accept accepted`},
	{name: "a source that is away", domain: `recipients = ["callahead:smtp://{away}"]`, text: ann + `
C: RCPT TO:<alice@example.com>
S: 451 4.1.1 <alice@example.com>: Recipient address not verified, try again later
L: rcpt defer recipient-unverified`},
	{name: "a source with words of its own", domain: `recipients = ["access:{access}"]`, text: ann + `
C: RCPT TO:<gone@example.com>
S: 550 5.2.1 <gone@example.com>: Mailbox closed
L: rcpt refuse recipient-missing
C: RCPT TO:<full@example.com>
S: 452 4.2.2 <full@example.com>: Mailbox full
L: rcpt defer recipient-unverified
C: RCPT TO:<alice@example.com>` + accepted},
	{name: "a forged sender", domain: `forged = "refuse"`, text: `
C: MAIL FROM:<bob@example.com>
S: 550 5.7.1 <bob@example.com>: Sender address rejected: not permitted from your network
L: mail refuse sender-forged
C: RCPT TO:<alice@example.com>
S: 503`},
	{name: "a sender from a network that may", domain: "forged = \"refuse\"\nsenders = [\"127.0.0.4/32\"]", from: "127.0.0.4", text: `
C: MAIL FROM:<bob@example.com>
S: 250
C: RCPT TO:<alice@example.com>` + accepted},
	{name: "a sender from inside", domain: `forged = "refuse"`, from: rig.Inside, text: `
C: MAIL FROM:<bob@example.com>
S: 250
C: RCPT TO:<nobody@example.com>
S: 550 5.1.1 <nobody@example.com>: Recipient address rejected: User unknown
L: rcpt refuse recipient-missing
C: RCPT TO:<alice@example.com>` + accepted},
	{name: "a sender who logged in", domain: `forged = "refuse"`, from: "127.0.0.9", not: []string{sendmailMilter, eximHTTP}, text: `
C: (log in)
S: 220
C: EHLO client.test
S: 250
C: MAIL FROM:<bob@example.com>
S: 250
C: RCPT TO:<alice@example.com>` + accepted},
	{name: "SPF says no", domain: `spf = "refuse"`, text: `
C: MAIL FROM:<ann@strict.example>
S: 250
C: RCPT TO:<alice@example.com>
S: 550 5.7.23 <ann@strict.example>: Sender address rejected: its domain does not send from your address (SPF)
L: rcpt refuse sender-spf`},
	{name: "SPF says no of the HELO name", domain: `spf = "refuse"`, text: `
C: (connect)
S: 220
C: EHLO helo.strict.example
S: 250
C: MAIL FROM:<>
S: 250
C: RCPT TO:<alice@example.com>
S: 550 5.7.23 <helo.strict.example>: Sender address rejected: its domain does not send from your address (SPF)
L: rcpt refuse sender-spf`},
	{name: "SPF says perhaps not", domain: `spf = "refuse"`, text: `
C: MAIL FROM:<ann@soft.example>
S: 250
C: RCPT TO:<alice@example.com>` + accepted},
	{name: "a blocked client", from: "127.0.0.66", text: `
C: (connect)
S: 554 5.7.1 Your address is refused by this server's operator
L: connect refuse client-blocked
C: EHLO client.test
S: closed
C: MAIL FROM:<ann@client.test>
S: closed
C: RCPT TO:<alice@example.com>
S: closed`},
	{name: "DMARC wants it rejected", domain: `dmarc = "refuse"`, text: ann + `
C: RCPT TO:<alice@example.com>
S: 250
L: rcpt accept accepted
C: DATA
S: 354
C: . forged
S: 550 5.7.1 Message rejected: the domain in its From field asks for that (DMARC)
L: data refuse dmarc`},
	{name: "a bounce of mail that never left", domain: `bounces = "enforce"`, text: `
C: MAIL FROM:<>
S: 250
C: RCPT TO:<alice@example.com>
S: 250
L: rcpt accept accepted
C: DATA
S: 354
C: . bounce
S: 550 5.7.1 <alice@example.com>: This bounce answers mail we did not send
L: data refuse bounce-not-ours
C: MAIL FROM:<ann@client.test>
S: 250
C: RCPT TO:<alice@example.com>` + accepted},
	{name: "a made-up tag", domain: `batv = "enforce"`, later: 9 * 24 * time.Hour, text: `
C: MAIL FROM:<>
S: 250
C: RCPT TO:<prvs=1999000000=alice@example.com>
S: 550 5.7.1 <prvs=1999000000=alice@example.com>: Recipient address rejected: its tag was not made here, or is too old
L: rcpt refuse recipient-tag
C: RCPT TO:<alice@example.com>
S: 250
L: rcpt accept accepted
C: DATA
S: 354
C: . bounce
S: 550 5.7.1 <alice@example.com>: This bounce answers mail we did not send
L: data refuse bounce-not-ours
C: MAIL FROM:<ann@client.test>
S: 250
C: RCPT TO:<prvs=1999000000=alice@example.com>` + accepted},
	{name: "a bounce that leaves, to a stranger", outbound: true, from: rig.Inside, text: leavingBounce + `leaving
S: 550 5.7.1 This is automatic mail to somebody who is not proven to have written
L: data refuse bounce-unproven`},
	{name: "the same, with a mailbox for it", outbound: true, domain: `bounce_to = "bob@example.com"`, from: rig.Inside, text: leavingBounce + `leaving
S: 250
L: data redirect bounce-unproven`},
	{name: "the same, of a domain that is the MTA's own", outbound: true, from: rig.Inside, text: leavingBounce + `own
S: 550 5.7.1 This is automatic mail to somebody who is not proven to have written
L: data refuse bounce-unproven`},
	{name: "two domains that want different things", domain: `dmarc = "refuse"`, text: ann + `
C: RCPT TO:<alice@example.com>
S: 250
L: rcpt accept accepted
C: RCPT TO:<carl@example.net>
S: 554 5.7.1 <carl@example.net>: Relay access denied
L: rcpt refuse relay-denied`},
	{name: "two domains, two servers", domain: "recipients = [\"list:{users}\"]\n[[domain]]\nname = \"example.net\"\nrelay = \"smtp://{away}\"\nrecipients = [\"anybody\"]", text: ann + `
C: RCPT TO:<alice@example.com>
S: 250
L: rcpt accept accepted
C: RCPT TO:<carl@example.net>
S: 452 4.5.3 <carl@example.net>: Send this recipient separately
L: rcpt defer other-route`},
	{name: "a header that is too long", text: ann + `
C: RCPT TO:<alice@example.com>
S: 250
L: rcpt accept accepted
C: DATA
S: 354
C: . header
S: 552 5.3.4 The header of the message is too long
L: data refuse message-size`},
	{name: "a message that is too long", text: `
C: MAIL FROM:<ann@client.test> SIZE=60000000
S: 552 5.3.4 Message size exceeds the limit announced`},
	{name: "a loop", text: ann + `
C: RCPT TO:<alice@example.com>
S: 250
L: rcpt accept accepted
C: DATA
S: 354
C: . loop
S: 554 5.4.6 The message is going around in a loop
L: data refuse message-loop`},
	{name: "a bare CR", text: ann + `
C: RCPT TO:<alice@example.com>
S: 250
L: rcpt accept accepted
C: DATA
S: 354
C: . bare
S: 550 5.6.0 A line ends with CR LF, and only there may either stand (RFC 5321, 2.3.8)
L: data refuse message-lines`},
	{name: "RSET between", domain: `bounces = "off"`, text: `
C: MAIL FROM:<>
S: 250
C: RCPT TO:<alice@example.com>
S: 250
L: rcpt accept accepted
C: RSET
S: 250
` + ann + `
C: RCPT TO:<nobody@example.com>
S: 550 5.1.1 <nobody@example.com>: Recipient address rejected: User unknown
L: rcpt refuse recipient-missing
C: RSET
S: 250
C: MAIL FROM:<>
S: 250
C: RCPT TO:<bob@example.com>` + accepted},
	{name: "two messages", domain: "forged = \"refuse\"\nbounces = \"off\"", text: ann + `
C: RCPT TO:<alice@example.com>` + accepted + `
C: MAIL FROM:<bob@example.com>
S: 550 5.7.1 <bob@example.com>: Sender address rejected: not permitted from your network
L: mail refuse sender-forged
C: RSET
S: 250
C: MAIL FROM:<>
S: 250
C: RCPT TO:<bob@example.com>` + accepted},
	{name: "watched: recipients and senders", domain: "mode = \"watch\"\nforged = \"refuse\"\nspf = \"refuse\"", text: `
C: MAIL FROM:<bob@example.com>
S: 250
L: mail accept accepted watched sender-forged
C: RCPT TO:<alice@example.com>
S: 250
L: rcpt accept accepted watched sender-spf
C: RSET
S: 250
C: MAIL FROM:<>
S: 250
C: RCPT TO:<nobody@example.com>
S: 250
L: rcpt accept accepted watched recipient-missing
C: RCPT TO:<bob@example.com>
S: 250
L: rcpt accept accepted watched null-sender-recipients
C: RSET
S: 250`},
	{name: "watched: a source that is away", domain: "mode = \"watch\"\nrecipients = [\"callahead:smtp://{away}\"]", text: ann + `
C: RCPT TO:<alice@example.com>
S: 250
L: rcpt accept accepted watched recipient-unverified`},
	{name: "watched: messages", domain: "mode = \"watch\"\nbounces = \"enforce\"\ndmarc = \"refuse\"", text: `
C: MAIL FROM:<>
S: 250
C: RCPT TO:<alice@example.com>
S: 250
L: rcpt accept accepted
C: DATA
S: 354
C: . bounce
S: 250
L: data accept accepted watched bounce-not-ours
` + ann + `
C: RCPT TO:<alice@example.com>
S: 250
L: rcpt accept accepted
C: DATA
S: 354
C: . forged
S: 250
L: data accept accepted watched dmarc`},
	{name: "watched: a blocked client", global: `mode = "watch"`, from: "127.0.0.66", text: `
C: (connect)
S: 220
L: connect accept accepted watched client-blocked
C: EHLO client.test
S: 250
` + ann + `
C: RCPT TO:<alice@example.com>` + accepted},
}
