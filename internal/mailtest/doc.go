// Package mailtest is what tests of a mail gateway stand on: a scripted
// downstream (Mock), a sender that plays dialogues out of files (Dialogue), and
// the invariant that both sides are held against after every step (CheckOwned).
//
// Nothing here uses the product's own SMTP code: a peer that shared the
// gateway's mistakes would agree with them.
//
// # Dialogue files
//
// A dialogue is a text file, conventionally NAME.dlg, one step a line. Empty
// lines and lines that begin with # are skipped. Consecutive lines that send are
// gathered and leave in one write when something is next expected, so a
// pipelined group is simply several C: lines in a row.
//
//	only: postfix mock     play only at a peer that has one of these tags; several lines must all hold
//	not: exim              do not play at a peer with one of these tags
//
//	C: MAIL FROM:<a@b.c>   send the line and CRLF (Go escapes such as \x00 and \\ are understood)
//	S: 250                 the next reply must have this code; x is any digit, | separates choices: 4xx|5xx
//	S: 550 5.1.1           and its text must begin so
//	S: /^250.*SIZE/        or: the whole reply, its lines joined by \n, matches
//	D: Subject: hi         a line of the message: stuffed with dots as needed, remembered as sent
//	.                      the end of the message: CRLF.CRLF
//	message 4096 8bit      a generated message of so many octets, end included; "7bit" (default), "8bit" or "long" lines
//	file NAME              the message is that file's content (relative to the dialogue), end included
//	chunks 100 last        with a body of so many octets generated: BDAT 100 and as much of it, LAST on request
//	bdat 5 last "hello"    BDAT with this declared size and exactly these octets, whatever their number
//	raw "a\nb"             these octets and nothing else
//	raw-end "\n.\n"        the same, and a reply about a message is due: the body counts as unknown
//	flush                  send what is gathered now
//	one-by-one             from here on, every octet in a write of its own
//	whole                  back to gathered writes
//
//	close, reset           the sender hangs up: orderly, or by RST
//	wait-close             the server must hang up (replies that come before are read and dropped)
//	connect                a further connection (the first one is opened by itself); a former one is closed
//	from 127.0.0.2         the further connections come from this loopback address
//
//	on RCPT 450 4.2.0 no   the mock answers this verb so from here on; see Rule for the verbs
//	on RCPT /<b@/ 450 no   the same for commands that match (DOT: messages)
//	on DOT silent          it says nothing more; hangup: it leaves instead of answering;
//	on DOT keep once 451 x "once": the first time only; "keep": and takes the message all the same;
//	on QUIT hangup 221 x   "hangup" before a reply: it leaves after it
//	offers SIZE 10, DSN    the mock's EHLO keywords from here on; users a b: its mailboxes
//	off                    the mock goes back to the script it had before the dialogue
//	down, up, hangup       the mock stops listening and drops all; listens again; drops its open connections
//
//	held 2                 the downstream holds exactly so many messages, after it has come to rest
//	held-to a@b c@d        some held message has exactly these recipients
//	held-from a@b          some held message has this envelope sender; <> is the null one
//	held-has "text"        some held message contains the text; held-not: none does
//	asked /^RCPT TO:<b@/   the mock has been sent such a command; never-asked: it has not
//
// Steps that script or question the mock make a dialogue one for the mock only.
//
// # Limits
//
// Test code: it fails tests instead of returning errors, and it waits no longer
// than Patience for anything. The player understands only as much SMTP as it
// needs to know which message a reply is about: after DATA, the first reply that
// follows the end of the message; after BDAT LAST, its reply. It does not speak
// STARTTLS or AUTH (Talk can be given a TLS connection).
package mailtest

import "time"

// Patience is how long anything here waits for an event before the test fails.
// It bounds a broken test; no test measures time with it.
const Patience = 20 * time.Second
