package smtp

// Body is the BODY parameter of MAIL (RFC 6152, 3; RFC 3030, 3).
type Body uint8

const (
	BodyUnspecified Body = iota // no BODY parameter: 7-bit by definition
	Body7Bit
	Body8BitMIME
	BodyBinaryMIME
)

// MailParams are the ESMTP parameters of MAIL, syntax checked. The zero value has none.
type MailParams struct {
	Size  int64 // octets as declared (RFC 1870); 0: not declared
	Body  Body
	UTF8  bool   // SMTPUTF8 (RFC 6531, 3.4)
	Ret   string // FULL or HDRS (RFC 3461, 4.3), or ""
	EnvID string // xtext as received (RFC 3461, 4.4), or ""
	Auth  string // xtext as received (RFC 4954, 5), or ""
}

// RcptParams are the ESMTP parameters of RCPT, syntax checked. The zero value has none.
type RcptParams struct {
	Notify string // NEVER, or SUCCESS, FAILURE and DELAY joined by commas (RFC 3461, 4.1), or ""
	ORcpt  string // type;xtext as received (RFC 3461, 4.2), or ""
}
