// Package milter is the wire of Sendmail's mail filter protocol, versions 2 to 6, both ends, and
// nothing else: a Conn turns the packets of an MTA into the events of a Handler and its responses into
// packets, an MTA turns calls into packets and collects what the filter answers and changes. Neither
// knows a rule, an address or a configuration file.
//
// A packet is a length in four octets (of what follows), a command in one, and its data. The protocol has
// no document but the library libmilter and the MTAs; the names in these comments (SMFIC_MAIL, SMFIR_ADDRCPT)
// are those of its header mfdef.h.
//
// Whatever breaks the protocol ends the connection without an answer (Config.Malformed is told why), and the MTA does what it
// does when a filter is gone: a temporary failure, if it is set up as it should be. These break it:
//
//   - a packet of length 0, or with more than 65,535 octets of data, which is as much as libmilter takes. It is refused
//     when its length was read, before room is made for it;
//   - a command that is not in the protocol;
//   - a string without its NUL, one too few or too many, a number cut short;
//   - anything before the negotiation but QUIT, and a second negotiation;
//   - HELO, MAIL or UNKNOWN before CONNECT, and a second CONNECT without QUIT_NC;
//   - RCPT, DATA or a part of a message outside of a transaction, RCPT behind DATA, a header field behind the end
//     of the header, and any command within a message but its parts, macros, ABORT, QUIT and QUIT_NC.
//
// These do not: ABORT at any time, and twice; MAIL and HELO while a transaction is open, which end it;
// a missing HELO, DATA or end of header (an older MTA has no DATA); a CONNECT whose family, port or address makes no sense, which
// is told as an unknown client.
//
// # Limits
//
// Chunks of a body larger than 65,535 octets (SMFIP_MDS_256K, SMFIP_MDS_1M) are not asked for. The body of a message cannot be
// replaced. Version 1 is refused. How many fields and octets a message has is bounded by whoever reads it, not here.
// Postfix tells of a RSET only with the MAIL behind it, so until then a drain takes the transaction for an open one and waits.
// An MTA keeps all changes that its filter sends: it is there for tests, the bench and the like.
package milter
