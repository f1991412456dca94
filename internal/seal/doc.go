// Package seal makes and judges the two header fields by which returned headers prove
// where a message came from:
//
//	Backstop-Seal: v=1; k=3; t=1795338268; h=0123456789abcdef0123456789abcdef
//	Backstop-Origin: v=1; k=3; t=1795338268; spf=pass; dkim=none;
//	 dmarc=pass; aligned=yes; h=0123456789abcdef0123456789abcdef
//
// A Seal stands on mail that leaves: a bounce that returns it answers mail that this sender
// sent. An Origin stands on mail that came in: a bounce that would leave and returns it
// goes to somebody who was proven to have written. v is the version, k the number of the key, t the
// seconds since 1970, h the first 128 bits of HMAC-SHA256 over the name of the field, everything
// before h and the envelope sender, folded (mail.Address.Key), without tag. White space, folding and the case of letters do not matter.
//
// docs/design/seals.md says why, and what somebody can do who sees one.
//
// # Limits
//
// The envelope sender is bound and not written: a field of another sender cannot be told from a forged
// one. A field proves for Lifetime that this sender wrote something; which message, and to whom, it does not say.
// Finding the returned headers is not done here, nor removing fields that others wrote.
package seal
