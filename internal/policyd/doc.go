// Package policyd is the door for what Postfix asks before it accepts mail: the policy delegation
// and the maps of socketmap and tcp_table. It turns requests into the events of a session,
// and verdicts into actions and answers.
//
// An action is never OK: that would skip the restrictions which the operator has written behind
// ours. Where nothing is objected to it is DUNNO.
//
// # What the sender reads
//
// Postfix puts words of its own before the text of an action. In smtpd_recipient_restrictions they are those
// which our replies about a recipient have, so these are left away and the sender reads what the gateway would have said:
//
//	550 5.1.1 <user@example.com>: Recipient address rejected: User unknown [ID]
//
// Those about a recipient that begin otherwise stand behind the same words, and what is said of client or sender
// is shown in full:
//
//	451 4.1.1 <user@example.com>: Recipient address rejected: not verified, try again later [ID]
//	550 5.7.1 <user@example.com>: Recipient address rejected: <ann@example.com>: Sender address rejected: … [ID]
//
// At DATA and at the end of the message the words are "<DATA>: Data command rejected: " and "<END-OF-MESSAGE>:
// End-of-data rejected: ". Code and enhanced status are ours in all cases, and 421 closes the connection. Postfix shows
// a quoted local part without its quotes. Where we hang up it says "451 4.3.5 … Server configuration problem".
//
// # Limits
//
// The message itself is not seen: bounces and DMARC need the milter. The doors
// ask nobody to log in; who may ask is the listener's matter. A map that is not there is told to the log once a
// minute at most, and so, for itself, is what is malformed.
package policyd
