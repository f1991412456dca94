// Package srs makes and reverses the addresses of the Sender Rewriting Scheme, in the form
// of postsrsd 1.10 and libsrs2, whose secrets it can use.
//
//	SRS0=HHHH=TT=domain=local@forwarder          by the first forwarder
//	SRS1=HHHH=first==HHHH=TT=domain=local@second by each one after it
//	HHHH    first digits, in base64, of HMAC-SHA1(secret, TT domain local), of SRS1: (secret, first =HHHH…)
//	TT      day on which it was made: days since 1970 (UTC) modulo 1024, two digits in base32
//
// Behind SRS0 and SRS1 stands "=", "+" or "-". What is hashed is in lower case, and digits are
// compared whatever their case, since there are servers that change it on the way.
//
// In a quoted local part the scheme stands inside the quotes, where RFC 5321 wants it; postsrsd
// writes them behind it.
//
// # Limits
//
// Nothing is sent and nothing looked up. An SRS1 address has no day of its own: only whoever made the
// SRS0 address in it can tell its age. Four digits of base64 without case are guessed once in a million times or so.
// Addresses whose local part would exceed 64 octets (RFC 5321, 4.5.3.1.1) are not made: a server need not
// take longer ones. Other forwarders make them, so they are judged, up to what package mail takes.
package srs
