package daemon_test

import "slices"

// The ways by name.
const (
	gatewayItself    = "gateway"
	postfixMilter    = "Postfix milter"
	postfixPolicy    = "Postfix policy"
	postfixSocketmap = "Postfix socketmap"
	postfixTable     = "Postfix tcp_table"
	sendmailMilter   = "Sendmail milter"
	eximHTTP         = "Exim HTTP"
)

var (
	milters   = []string{postfixMilter, sendmailMilter}
	postfixes = []string{postfixMilter, postfixPolicy, postfixSocketmap, postfixTable}
	unseeing  = []string{postfixPolicy, postfixSocketmap, postfixTable, eximHTTP}
	atRcpt    = []string{postfixPolicy, eximHTTP}
	mapAlone  = []string{postfixSocketmap, postfixTable}
)

const aloneAtRcpt = "Backstop is asked at RCPT alone."

// differences are all that are allowed. They are applied in this order.
var differences = []difference{
	// What the MTA says before it asks.
	{ways: postfixes, at: "RCPT", plays: []string{"a domain of neither", "a domain in the local part"},
		when: `554 .* \| rcpt refuse relay-denied`, then: `554 5.7.1 {bare}: Relay access denied | `,
		says: "mail to strangers' domains, and a domain in the local part: `554 5.7.1` as well, in Postfix's words, and the log has no line",
		why:  "Postfix refuses them itself (`reject_unauth_destination`), before it asks."},
	{ways: []string{sendmailMilter}, at: "RCPT", plays: []string{"a domain of neither", "a domain in the local part"},
		when: `554 .* \| rcpt refuse relay-denied`, then: `550 5.7.1 {to}... Relaying denied | `,
		says: "mail to strangers' domains, and a domain in the local part: `550 5.7.1`, in Sendmail's words, and the log has no line", why: "Sendmail refuses them itself (`check_rcpt`), before it asks."},
	{ways: []string{eximHTTP}, at: "RCPT", plays: []string{"a domain of neither"},
		when: `554 .* \| rcpt refuse relay-denied`, then: `550 relay not permitted | `,
		says: "mail to strangers' domains: `550` without an enhanced code, and the log has no line", why: "Exim's ACL refuses them before the statements of Backstop."},
	{ways: postfixes, at: "MAIL", plays: []string{"a message that is too long"}, when: `552 .*`, then: `552 5.3.4 Message size exceeds fixed limit | `,
		says: "a message that is too long: `552 5.3.4` in Postfix's words, and the log has no line", why: "The MTA has a limit of its own (`message_size_limit`); `max_message_size` is the gateway's."},
	{ways: []string{sendmailMilter}, at: "MAIL", plays: []string{"a message that is too long"}, when: `552 .*`, then: `552 5.2.3 Message size exceeds fixed maximum message size (52428800) | `,
		says: "a message that is too long: `552 5.2.3`, and the log has no line", why: "The MTA has a limit of its own (`confMAX_MESSAGE_SIZE`)."},
	{ways: []string{eximHTTP}, at: "MAIL", plays: []string{"a message that is too long"}, when: `552 .*`, then: `552 Message size exceeds maximum permitted | `,
		says: "a message that is too long: `552` without an enhanced code, and the log has no line", why: "The MTA has a limit of its own (`message_size_limit`)."},
	{ways: []string{sendmailMilter}, at: "MAIL", plays: []string{"UTF-8"}, when: `250 \| `, then: `555 5.5.4 SMTPUTF8 parameter unrecognized | `,
		says: "`SMTPUTF8`: `555 5.5.4`", why: "This Sendmail does not speak it, and says so in its reply to EHLO."},
	{ways: []string{sendmailMilter}, at: "RCPT", plays: []string{"UTF-8"}, when: `.*`, then: `503 | `,
		says: "`RCPT` after a `MAIL` with `SMTPUTF8`: `503`", why: "There is no transaction."},
	{ways: postfixes, at: "RCPT", plays: []string{"no domain"}, when: `550 .*`, then: `250 | rcpt accept accepted`,
		says: "a recipient without a domain is accepted", why: "He is one of the MTA's own: it puts its domain behind him (`myorigin`)."},
	{ways: []string{sendmailMilter}, at: "RCPT", plays: []string{"no domain"}, when: `550 .*`, then: `550 5.1.1 <alice>... User unknown | `,
		says: "a recipient without a domain: `550 5.1.1` where there is no such local user, and the log has no line", why: "He is one of the MTA's own."},
	{ways: []string{eximHTTP}, at: "RCPT", plays: []string{"no domain"}, when: `550 .*`, then: `501 <alice>: recipient address must contain a domain | `,
		says: "a recipient without a domain: `501`, and the log has no line", why: "Exim refuses it itself, before it asks."},
	{ways: []string{postfixPolicy, postfixSocketmap, postfixTable}, at: "RCPT TO:<postmaster>", when: `250 \| rcpt accept accepted`, then: `250 | `,
		says: "`<postmaster>` without a domain: the log has no line", why: "Postfix accepts him without asking."},
	{ways: atRcpt, at: "RCPT", plays: []string{"a sender from inside", "a sender who logged in"}, when: `.*`, then: `250 | `,
		says: "your own clients, and who logged in: not judged, so that unknown recipients too are accepted, and the log has no line", why: "They pass before Backstop is asked (`permit_mynetworks`, `permit_sasl_authenticated`; `hosts = +relay_from_hosts`); the bounce goes to one of your own."},

	// The domains that only the MTA knows.
	{ways: []string{postfixMilter, postfixPolicy, sendmailMilter, eximHTTP}, at: "RCPT", plays: []string{"a domain that is the MTA's own"}, when: `554 .*`, then: `250 | rcpt accept accepted`,
		says: "a domain that Backstop does not know, and the MTA does: accepted", why: "It is the MTA's own business. What it does not relay it has refused before."},
	{ways: milters, at: "RCPT", plays: []string{"two domains that want different things"}, when: `554 .*`, then: `452 4.5.3 {to}: Send this recipient separately | rcpt defer other-route`,
		says: "such a domain in one transaction with one of yours that refuses messages (`dmarc`, `bounces`, `batv`): `452 4.5.3`, rule `other-route`", why: "The message is judged for all its recipients or for none; the sender brings the others in a transaction of their own."},
	{ways: milters, at: `\. `, plays: []string{"the same, of a domain that is the MTA's own"}, when: `550 .*`, then: `250 | data accept accepted`,
		says: "a bounce of such a domain, to a stranger: accepted", why: "Who wrote to that domain was never looked at, so that nothing could prove it."},
	{ways: slices.Concat(milters, unseeing), at: "RCPT", plays: []string{"two domains, two servers"}, when: `452 .*`, then: `250 | rcpt accept accepted`,
		says: "a recipient whose server is another: accepted in the same transaction", why: "The MTA delivers, and knows the ways."},
	{ways: atRcpt, at: "RCPT", plays: []string{"two domains that want different things"}, when: `554 .*`, then: `250 | rcpt accept accepted`,
		says: "such a domain in one transaction with one of yours that refuses messages: accepted", why: "No message is judged."},

	// What is not known at a door.
	{ways: milters, at: connectPattern, when: `554 (.*) \| (connect refuse .*)`, then: `220 | $2`,
		says: "the greeting of a blocked client: `220`; the log has its line", why: "He hears of it at MAIL."},
	{ways: milters, at: "EHLO", when: `closed \| `, then: `250 | `, says: "EHLO of a blocked client: `250`", why: "He hears of it at MAIL."},
	{ways: milters, at: "MAIL", when: `closed \| `, then: `{connect} | `, says: "MAIL of a blocked client: what the gateway says instead of its greeting", why: "Of an answer to the connection an MTA may show its own words."},
	{ways: milters, at: "RCPT", when: `closed \| `, then: `503 | `, says: "RCPT of a blocked client: `503`", why: "There is no transaction."},
	{ways: unseeing, at: connectPattern, when: `\d* .*\| connect .*`, then: `220 | `,
		says: "the greeting of a blocked client: `220`, and the log has no line yet", why: aloneAtRcpt},
	{ways: unseeing, at: "EHLO|MAIL", when: `closed \| `, then: `250 | `, says: "EHLO and MAIL of a blocked client: `250`", why: aloneAtRcpt},
	{ways: atRcpt, at: "RCPT", when: `closed \| `, then: `{connect} | {connect log}`, says: "RCPT of a blocked client: what the gateway says instead of its greeting; the log has its line", why: aloneAtRcpt},
	{ways: unseeing, at: "MAIL", when: `\d* .*\| mail .*`, then: `250 | `,
		says: "MAIL with a forged sender: `250`, and the log has no line yet", why: aloneAtRcpt},
	{ways: atRcpt, at: "RCPT", plays: []string{"a forged sender"}, when: `503 \| `, then: `{mail} | {mail log}`,
		says: "RCPT after a forged sender: what the gateway says to MAIL; the log has its line", why: aloneAtRcpt},
	{ways: atRcpt, at: "RCPT", plays: []string{"watched: recipients and senders"}, when: `250 \| (.* watched sender-spf)`, then: `250 | {mail log}, $1`,
		says: "in watch mode the line about the sender comes with the recipient", why: aloneAtRcpt},
	{ways: atRcpt, at: "RCPT", plays: []string{"watched: a blocked client"}, when: `250 \| (.*)`, then: `250 | {connect log}, $1`,
		says: "in watch mode the line about the client comes with the recipient", why: aloneAtRcpt},
	{ways: mapAlone, at: "RCPT", plays: []string{"a forged sender", "a blocked client"}, when: `(?:503|closed) \| `, then: `250 | rcpt accept accepted`,
		says: "a forged sender and a blocked client: accepted", why: "A map is asked for a recipient, and is not told who sends."},
	{ways: mapAlone, at: "RCPT", when: `.* \| rcpt (?:refuse|defer|accept accepted watched) (?:sender-spf|null-sender-recipients|recipient-tag)`, then: `250 | rcpt accept accepted`,
		says: "SPF, a second recipient of the null sender, a made-up tag: accepted", why: "A map is asked for a recipient, and is not told who sends."},
	{ways: []string{eximHTTP}, at: "RCPT", when: `.* \| rcpt (?:defer|accept accepted watched) null-sender-recipients`, then: `250 | rcpt accept accepted`,
		says: "a second recipient of the null sender: accepted", why: "Each recipient is asked about alone."},
	{ways: unseeing, at: "RCPT", plays: []string{"a bounce that leaves, to a stranger", "the same, with a mailbox for it", "the same, of a domain that is the MTA's own"}, when: `250 .*`, then: `250 | `,
		says: "recipients of what leaves: the log has no line", why: "Backstop is not asked about them."},
	{ways: unseeing, at: `\. `, when: `.* \| data .*`, then: `250 | `,
		says: "the message: whatever it is, it is accepted, and the log has no line", why: "It is not seen: DMARC, bounces, seals need the milter or the gateway."},
	{ways: postfixes, at: `\. `, plays: []string{"a loop"}, when: `.*`, then: `554 5.4.0 Error: too many hops | `,
		says: "a loop: `554 5.4.0`, and the log has no line", why: "Postfix counts the Received fields itself (`hopcount_limit`), before it asks."},
	{ways: []string{postfixMilter}, at: `\. `, plays: []string{"a bare CR"}, when: `550 .*`, then: `250 | data accept accepted`,
		says: "a bare CR in the message: accepted", why: "How lines end is between the client and the MTA."},
	{ways: []string{sendmailMilter}, at: `\. `, plays: []string{"a header that is too long"}, when: `552 .*`, then: `552 5.6.0 Headers too large (32768 max) | `,
		says: "a header that is too long: `552 5.6.0`, and the log has no line", why: "The MTA has a limit of its own (`confMAX_HEADERS_LENGTH`)."},
	{ways: []string{sendmailMilter}, at: `\. `, plays: []string{"a bare CR"}, when: `550 .*`, then: `421 4.5.0 Bare carriage return (CR) not allowed | `,
		says: "a bare CR in the message: `421 4.5.0`, and the log has no line", why: "How lines end is between the client and the MTA."},

	// The words.
	{ways: mapAlone, at: "RCPT", when: `(?:5\d\d .* \| (rcpt refuse .*)|501 .* \| )`, then: `550 5.1.1 {bare}: Recipient address rejected: User unknown in relay recipient table | $1`,
		says: "every refusal, that of a domain too which only Postfix knows: `550 5.1.1`, in Postfix's words", why: "A map says no more than that there is nobody. (Domains of Postfix's own need a table of their own behind Backstop's.)"},
	{ways: mapAlone, at: "RCPT", when: `4\d\d .* \| rcpt defer (.*)`, then: `451 4.3.0 {bare}: Temporary lookup failure | rcpt defer $1`,
		says: "every temporary answer: `451 4.3.0`, in Postfix's words", why: "A map that cannot tell has no words of its own."},
	{ways: mapAlone, at: "RCPT", plays: []string{"a quoted local part"}, when: `(550 .*) \| (.*)`, then: `$1 | $2, $2`,
		says: "who needs quotes and is unknown has two lines in the log", why: "Postfix asks a second time, without the quotes."},
	{ways: []string{postfixPolicy}, at: "RCPT", when: `(\d{3} \S+) (?:{to}: ([^R].*)|(<[^>]*>: Sender.*|Your .*|not a .*))( \| .*)`, then: `$1 {to}: Recipient address rejected: $2$3$4`,
		says: "`<recipient>: Recipient address rejected:` stands before every text, about senders and clients too", why: "Postfix writes it there."},
	{ways: []string{postfixPolicy}, at: "RCPT", when: `(\d{3} \S+ {to}: Recipient address) (not .*)`, then: `$1 rejected: $2`,
		says: "`Recipient address not verified` reads `Recipient address rejected: not verified`", why: "Postfix writes the first words."},
	{ways: []string{postfixPolicy}, at: "RCPT", when: `(\d{3} \S+) {to}(.*)`, then: `$1 {bare}$2`,
		says: "a quoted local part is shown without its quotes", why: "Postfix takes them off."},
	{ways: []string{sendmailMilter}, at: "MAIL|RCPT", when: `(550 \S+) (.*) \| (\S+ refuse .*)`, then: `$1 {to}... $2 | $3`,
		says: "the address as the client gave it, and `... `, stand before the text of a `550`", why: "Sendmail writes them there."},
	{ways: []string{eximHTTP}, at: "RCPT", plays: []string{"another case"}, when: `550 \S+ <\S+>(: .*)`, then: `550 5.1.1 <nobody@example.com>$1`,
		says: "the recipient is shown in small letters", why: "Exim's ACL has folded him (`$local_part`)."},
	{ways: []string{eximHTTP}, at: "RCPT", plays: []string{"UTF-8"}, when: `(550 \S+) <(\S+)@(.*)`, then: `$1 <"$2"@$3`,
		says: "a local part in UTF-8 is shown in quotes", why: "Exim puts them there (`quote_local_part`)."},
}

// connectPattern is the connection as a regular expression.
const connectPattern = `\(connect\)`
