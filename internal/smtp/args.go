package smtp

import (
	"fmt"
	"strings"

	"backstop/internal/mail"
)

// What follows is for doors that get a sender or a recipient from another mail server, which has read
// the command itself: whether its parameters are known and well formed was that server's to say.

// ParseSender reads the argument of MAIL without its angle brackets; "" is the null sender. What is
// no path gets the reply that this package's server gives. Octets above 127 are taken: whether the
// client asked for SMTPUTF8 the other server knows.
func ParseSender(text string) (mail.ReversePath, mail.Reply) {
	a, err := parseBare(text)
	if err != nil {
		return mail.ReversePath{}, syntaxReply(501, "5.1.7", err)
	}
	return mail.ReversePath{Address: a}, mail.Reply{}
}

// ParseRecipient reads the argument of RCPT as ParseSender reads that of MAIL. The address may have no domain.
func ParseRecipient(text string) (mail.Address, mail.Reply) {
	a, err := parseBare(text)
	switch {
	case err != nil:
		return mail.Address{}, syntaxReply(501, "5.1.3", err)
	case a.IsZero():
		return mail.Address{}, replyNullRcpt
	}
	return a, mail.Reply{}
}

// parseBare reads a path that has lost its angle brackets.
func parseBare(text string) (mail.Address, error) {
	a, err := parseWhole(text)
	if err == nil {
		return a, nil
	}
	// Some mailboxes have dots where RFC 5321 has none, and MTAs take them; in quotes they are in order.
	if at := strings.LastIndexByte(text, '@'); at > 0 && !strings.ContainsAny(text[:at], " \"(),:;<>@[\\]") {
		if quoted, e := parseWhole(`"` + text[:at] + `"` + text[at:]); e == nil {
			return quoted, nil
		}
	}
	return a, err
}

func parseWhole(text string) (mail.Address, error) {
	a, rest, err := mail.ParsePath("<"+text+">", true)
	if err == nil && rest != "" { // a ">" in the middle
		err = fmt.Errorf("%w: something stands behind its closing >", mail.ErrAddress)
	}
	return a, err
}

// ParseMailArgs reads the parameters of MAIL as separate words ("SIZE=10"). Those that are unknown or
// malformed are left out, and of two with one name the second where RFC 3461 allows only one.
func ParseMailArgs(args []string) MailParams {
	var p MailParams
	eachArg(args, func(key, value string) { p.set(key, value, 0) })
	return p
}

// ParseRcptArgs reads the parameters of RCPT as ParseMailArgs reads those of MAIL.
func ParseRcptArgs(args []string) RcptParams {
	var p RcptParams
	eachArg(args, func(key, value string) { p.set(key, value) })
	return p
}

func eachArg(args []string, set func(key, value string)) {
	for _, arg := range args {
		key, value, has := strings.Cut(arg, "=")
		if !has || value != "" {
			set(strings.ToUpper(key), value)
		}
	}
}
