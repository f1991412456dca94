// Package mail holds the words every other package speaks: the address of a
// mailbox, the reverse-path (null included), the domain in its one folded form,
// the reply of a server and the identifier of a transaction.
//
// Parsing is the only way into a typed value, and the zero value of each type
// is safe: it means "none" (no domain, the null reverse-path, no reply).
//
// # Limits
//
// Nothing here does I/O or reads a clock. Addresses are those of RFC 5321, 4.1.2,
// and RFC 6531, 3.3; comments and folding white space of RFC 5322 are no part of
// them. A local part has at most 64 octets, but for SRS addresses, which other forwarders make
// longer: 200, and the whole path 256. Group syntax and display names are refused.
package mail
