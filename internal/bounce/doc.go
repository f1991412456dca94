// Package bounce says what kind of automatic mail a message is, and finds in it what
// the mail that caused it looked like.
//
// [Recognise] is given the first octets of a message and whether its envelope sender is
// the null one. It looks at structure first (RFC 6522, RFC 3464, RFC 8098, RFC 5965), then
// at what each server is known to write, and says by which [Clue] it knew. It does no I/O,
// reads no clock and remembers nothing.
//
// The MIME walker is its own. Those at hand either have no limit of depth or stop at
// the first fault; here a fault is the ordinary case, because the notices come from thirty years
// of software, and only the border lines of parts, four header fields and two encodings matter.
// Parts are slices of the message, so that nothing is copied which is not encoded. Work is linear
// in the octets looked at: each level of nesting reads them once more, and [MaxDepth] bounds
// the levels.
//
// An ordinary message costs one pass over its header. The body is looked at only when the
// header gives reason to: a report, an automatic sender, or the subject of a notice.
//
// docs/design/bounces.md says which clue serves which servers.
//
// # Limits
//
// Octets behind [MaxBytes], parts behind [MaxParts] and levels below [MaxDepth] are not seen;
// [Report.Cut] says so. What a server says only in HTML, in an image or in a language other than
// those of the table is recognised by structure and sender alone. A notice that is forwarded by a
// person is ordinary mail, so the inside of a message/rfc822 part is never searched for reports: of a
// bounce of a bounce, the returned header is the inner bounce's. The returned header is
// given as it came back: a server that re-wraps or drops lines breaks signatures over it.
// OpenSMTPD repeats the head of the part every 64 KB, so that a header larger than that is given
// up to there only. Recipients are for people and counters: those of plain text are read off by their shape.
// A Recipient's address is not checked against RFC 5321.
package bounce
