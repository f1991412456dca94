// Package smtp is the wire of RFC 5321 and its extensions, both ends, and
// nothing else: the server turns octets into the events of a Handler, the client turns
// calls into octets. Neither knows a rule, a recipient or a configuration file.
//
// The server reads strictly: a line ends with CRLF and nothing else does, only
// CRLF.CRLF ends the data, and whatever goes wrong inside the data (a bare CR or LF, a
// time-out, a limit) ends the connection, so that no octet of a message is ever run as a
// command. The client writes strictly: what it sends cannot end a message early.
//
// # Limits
//
// No queue, no AUTH on the server's side, no BURL, no PRDR. The client logs in by
// PLAIN and LOGIN only, once, before any XCLIENT, and says no AUTH= with MAIL. Header fields are
// octets here. Everything a peer can make grow (lines, replies, commands,
// recipients, octets, time) has a bound in ServerConfig or ClientConfig.
package smtp
