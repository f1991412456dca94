// Package batv tags envelope senders, and judges the tags of recipients, so that a
// bounce to an address that was never a sender can be told from one that was
// (draft-levine-smtp-batv-01, the prvs scheme).
//
//	prvs=KDDDSSSSSS=local-part@domain
//	K       number of the key
//	DDD     day on which the tag expires: days since 1970 (UTC), modulo 1000
//	SSSSSS  first 3 octets, in hex, of HMAC-SHA1(key, K DDD local-part@domain)
//
// The address that is signed is the folded one (mail.Address.Key), since there are servers that
// change the case of a local part; what is sent keeps its case. Verify also takes a
// tag over the address as it is written, as other signers make it whose key was imported.
//
// In a quoted local part the tag stands inside the quotes: "prvs=0786d6aa1a=a b"@example.org.
//
// # Limits
//
// Three octets are guessed once in sixteen million times: enough for telling bounces,
// and for nothing else. A tag says that the address was a sender in the last days, and not of
// which message; whoever saw it may use it until it expires (docs/design/seals.md).
//
// The modulus makes a tag good again after 1000 days, for as long as its key is not retired.
// A local part longer than 48 octets has no room for a tag (RFC 5321, 4.5.3.1.1): Sign leaves
// it as it is and says so, Taggable tells, and such an address must not be asked for a tag. A machine
// whose clock is a day ahead makes tags that the others do not take yet. Nothing is looked up: whether a bounce may come without a tag is for others to say.
package batv
