// Package authres writes what was found of a sender into the header of the message, and tells
// which such fields others wrote in our name (RFC 8601):
//
//	Authentication-Results: mx.example.net;
//	 spf=pass smtp.mailfrom=example.org;
//	 dkim=pass header.d=example.org header.s=s1;
//	 dmarc=pass (p=reject) header.from=example.org
//
// Who reads the field believes it, because fields of that name that a stranger brings are removed
// ([Claims]) before ours is added. So nothing that a stranger chose can end a part of it: names that are domains are
// written folded, in A-labels; of everything else the octets that mean something in the
// grammar are replaced, not escaped, since many readers know no escapes. For the same reason the field is
// ASCII, also in mail that came under SMTPUTF8, where RFC 8616 would allow more.
//
// # Limits
//
// Local parts are not written: SPF and DMARC speak of domains. Of the properties of RFC 8601 those above are written,
// and smtp.helo. Fields of others are told apart by their authserv-id only; what they say is not read.
package authres
