package smtp

import (
	"bytes"
	"crypto/tls"
	"errors"
	"net"
	"strconv"
	"strings"
	"unicode/utf8"

	"backstop/internal/mail"
)

var (
	replyMailSyntax   = mail.MustReply(501, "5.5.4", "Write MAIL FROM:<address>")
	replyRcptSyntax   = mail.MustReply(501, "5.5.4", "Write RCPT TO:<address>")
	replyNoParam      = mail.MustReply(555, "5.5.4", "MAIL or RCPT parameter not recognized")
	replyParamSyntax  = mail.MustReply(501, "5.5.4", "A parameter has no valid value")
	replyNoRequireTLS = mail.MustReply(555, "5.7.30", "REQUIRETLS is not offered: the way behind this server cannot promise it (RFC 8689)")
	replyNoBinary     = mail.MustReply(555, "5.6.1", "BINARYMIME is not offered: the server behind this one lacks it (RFC 3030)")
	replySizeTooBig   = replyTooBig
	replyNullRcpt     = mail.MustReply(501, "5.1.3", "A recipient is an address, not <>")
	replySenderUTF8   = mail.MustReply(553, "5.6.7", "The sender's address needs SMTPUTF8 (RFC 6531)")
	replyRcptUTF8     = mail.MustReply(553, "5.6.7", "The recipient's address needs SMTPUTF8 (RFC 6531)")
)

func tlsServer(nc net.Conn, cfg *tls.Config) *tls.Conn { return tls.Server(nc, cfg) }

// after takes word (upper-case, "FROM:") off the head of arg, whatever its case, and a
// space after it that RFC 5321 forbids and half the world writes.
func after(arg []byte, word string) (string, bool) {
	if len(arg) < len(word) || !bytes.EqualFold(arg[:len(word)], []byte(word)) {
		return "", false
	}
	return strings.TrimLeft(string(arg[len(word):]), " "), true
}

// syntaxReply says of a path why it is refused. The error's text is ours and tells nothing but the rule.
func syntaxReply(code int, status string, err error) mail.Reply {
	text := err.Error()
	if len(text) > 300 {
		text = text[:300]
	}
	s, serr := mail.ParseStatus(status)
	if serr != nil {
		return replyParamSyntax
	}
	r, rerr := mail.NewReply(code, s, printable(text))
	if rerr != nil {
		return replyParamSyntax
	}
	return r
}

// printable keeps what an ASCII terminal shows.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
}

func parseMail(arg []byte, maxSize int64) (mail.Address, MailParams, mail.Reply) {
	var p MailParams
	s, ok := after(arg, "FROM:")
	if !ok {
		return mail.Address{}, p, replyMailSyntax
	}
	// Whether octets above 127 may stand in the address is said only behind it.
	from, rest, err := mail.ParsePath(s, true)
	if err != nil {
		return mail.Address{}, p, syntaxReply(501, "5.1.7", err)
	}
	r := eachParam(rest, func(key, value string) mail.Reply { return p.set(key, value, maxSize) })
	if !r.IsZero() {
		return mail.Address{}, p, r
	}
	if from.NeedsUTF8() && !p.UTF8 {
		return mail.Address{}, p, replySenderUTF8
	}
	return from, p, mail.Reply{}
}

func parseRcpt(arg []byte, international bool) (mail.Address, RcptParams, mail.Reply) {
	var p RcptParams
	s, ok := after(arg, "TO:")
	if !ok {
		return mail.Address{}, p, replyRcptSyntax
	}
	to, rest, err := mail.ParsePath(s, true)
	switch {
	case err != nil:
		return mail.Address{}, p, syntaxReply(501, "5.1.3", err)
	case to.IsZero():
		return mail.Address{}, p, replyNullRcpt
	case to.NeedsUTF8() && !international:
		return mail.Address{}, p, replyRcptUTF8
	}
	r := eachParam(rest, p.set)
	if r.IsZero() && !international && strings.ContainsFunc(p.ORcpt, func(c rune) bool { return c > '~' }) {
		r = replyParamSyntax // RFC 6533, 3: the form with UTF-8 belongs to SMTPUTF8
	}
	return to, p, r
}

// eachParam hands the ESMTP parameters behind a path to set, one after another.
func eachParam(rest string, set func(key, value string) mail.Reply) mail.Reply {
	if rest == "" {
		return mail.Reply{}
	}
	if rest[0] != ' ' {
		return replyParamSyntax
	}
	for rest = strings.TrimLeft(rest, " "); rest != ""; {
		var one string
		one, rest, _ = strings.Cut(rest, " ")
		rest = strings.TrimLeft(rest, " ")
		key, value, has := strings.Cut(one, "=")
		if has && value == "" {
			return replyParamSyntax
		}
		if r := set(strings.ToUpper(key), value); !r.IsZero() {
			return r
		}
	}
	return mail.Reply{}
}

// set takes one parameter of MAIL.
func (p *MailParams) set(key, value string, maxSize int64) mail.Reply {
	switch key {
	case "SIZE": // RFC 1870, 4: up to 20 digits
		n, err := strconv.ParseInt(value, 10, 64)
		if errors.Is(err, strconv.ErrRange) && n > 0 {
			return replySizeTooBig
		}
		if err != nil || n < 0 {
			return replyParamSyntax
		}
		if maxSize > 0 && n > maxSize {
			return replySizeTooBig
		}
		p.Size = n
	case "BODY":
		switch strings.ToUpper(value) {
		case "7BIT":
			p.Body = Body7Bit
		case "8BITMIME":
			p.Body = Body8BitMIME
		case "BINARYMIME":
			p.Body = BodyBinaryMIME
		default:
			return replyParamSyntax
		}
	case "SMTPUTF8":
		if value != "" {
			return replyParamSyntax
		}
		p.UTF8 = true
	case "RET": // RFC 3461, 4.3
		v := strings.ToUpper(value)
		if p.Ret != "" || v != "FULL" && v != "HDRS" {
			return replyParamSyntax
		}
		p.Ret = v
	case "ENVID": // RFC 3461, 4.4
		if p.EnvID != "" || len(value) > 100 || !isXtext(value) {
			return replyParamSyntax
		}
		p.EnvID = value
	case "AUTH": // RFC 4954, 5: taken in and not passed on, since we trust nobody's word for it
		if !isXtext(value) {
			return replyParamSyntax
		}
		p.Auth = value
	case "REQUIRETLS":
		return replyNoRequireTLS
	default:
		return replyNoParam
	}
	return mail.Reply{}
}

// set takes one parameter of RCPT (RFC 3461, 4.1 and 4.2).
func (p *RcptParams) set(key, value string) mail.Reply {
	switch key {
	case "NOTIFY":
		v := strings.ToUpper(value)
		if p.Notify != "" || !validNotify(v) {
			return replyParamSyntax
		}
		p.Notify = v
	case "ORCPT":
		kind, addr, ok := strings.Cut(value, ";")
		if p.ORcpt != "" || !ok || kind == "" || addr == "" || len(value) > 500 ||
			strings.ContainsFunc(value, func(c rune) bool { return c <= ' ' || 0x7f <= c && c < 0xa0 || c == utf8.RuneError }) {
			return replyParamSyntax
		}
		p.ORcpt = value
	default:
		return replyNoParam
	}
	return mail.Reply{}
}

func validNotify(v string) bool {
	if v == "NEVER" {
		return true
	}
	for part := range strings.SplitSeq(v, ",") {
		if part != "SUCCESS" && part != "FAILURE" && part != "DELAY" {
			return false
		}
	}
	return true
}

// isXtext: RFC 3461, 4.
func isXtext(s string) bool {
	if s == "" {
		return false
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '+':
			if i+2 >= len(s) || !isUpperHex(s[i+1]) || !isUpperHex(s[i+2]) {
				return false
			}
			i += 2
		case c < '!' || c > '~' || c == '=':
			return false
		}
	}
	return true
}

func isUpperHex(c byte) bool { return '0' <= c && c <= '9' || 'A' <= c && c <= 'F' }
