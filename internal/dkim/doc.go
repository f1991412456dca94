// Package dkim verifies and makes DKIM signatures (RFC 6376, RFC 8301, RFC 8463).
//
// A [Verifier] is given the header of a message and then the body as it passes, once, in pieces of any
// size; what it keeps does not grow with the message. [VerifyReturned] checks a
// signature of our own over the header that a bounce returns, where there is no body. [NewSigning] signs a message as
// it passes. [ParsePrivate] and [Key.Record] are what an operator needs of keys.
//
// docs/design/dkim.md says why this is not a library's work, and what the doubtful cases are decided to be.
//
// # Limits
//
// Keys are handed in: nothing here asks the DNS, reads a file or a clock. At most [MaxSignatures] signatures of
// a message are checked. rsa-sha1 is never believed, nor RSA below [MinRSA] bits; RSA above [MaxRSA]
// is not computed with. What a signature means for a sender is said elsewhere (DMARC).
package dkim
