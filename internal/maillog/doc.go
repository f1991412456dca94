// Package maillog reads the logs of mail servers, line by line: Postfix, Exim, Sendmail, OpenSMTPD, and the message
// tracking of Exchange. Each line is told by itself whose it is, so that logs may be merged, and begin anywhere.
//
// A Parser turns a line into an Event: a message came in, its sender is known, it was delivered, it failed, a notice of it
// was written. Which line is of which message, and what follows, is not its matter (internal/audit does that). An event lives in
// the octets of its line: nothing is allocated on the way, and nothing of it may be kept.
//
// The forms of lines were taken from what those servers wrote here (Postfix 3.7, Exim 4.96, Sendmail 8.17, OpenSMTPD 6.8; the
// new message ids of Exim 4.97), and for Exchange from its manual. Around them the forms of syslog are
// known: RFC 3164 ("Nov 22 14:00:00 host program[1]:"), RFC 5424, and the former with ISO timestamps; and Exim's own files.
//
// # Limits
//
// Old timestamps have no year: it is the latest that does not lie after the moment that is given (the time the file was last
// written to), so a file may not span more than a year. Times without a zone are those of the zone that is given. A line is
// 64 KB at most; longer ones are not understood. Text in other languages than English
// is understood only in codes. OpenSMTPD does not say which message a bounce is about.
package maillog
