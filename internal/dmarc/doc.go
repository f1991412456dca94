// Package dmarc judges the header From of a message by what its domain publishes and by what
// SPF and DKIM found (RFC 7489). It asks nobody: [FromDomain] names the domain, the caller fetches
// the record below "_dmarc." of it, or of [OrgDomain], [Parse] reads what came, and
// [Evaluate] weighs it. [FromAddress] is the author himself, where the field leaves no doubt who that is.
//
// The look at the header From is the security of the whole. Programs disagree about fields that are
// not well formed, and who writes such a field wants the domain that is judged to be another than
// the one that people see. So every domain counts that any reader could take for the author's, and if
// they are not one and the same, the field is [ErrAmbiguous] and nothing passes.
//
// # Limits
//
// The organisational domain is that of the public suffix list, in the edition that golang.org/x/net has; the tree
// walk of later drafts is not done, and their tags (np, psd, t) are ignored as RFC 7489, 6.3 asks. No reports are
// sent. A display name may say what it likes: "alice@bank.example" <x@example.org> is mail of
// example.org. In encoded words, addresses are found where the character set writes ASCII as ASCII, or is
// UTF-16.
package dmarc
