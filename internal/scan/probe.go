package scan

import (
	"crypto/rand"
	"math/big"
	"strings"
	"time"

	"backstop/internal/mail"
	"backstop/internal/smtp"
)

// Shape is what kind of address was asked for. Some servers know patterns and no people, so one shape is not enough.
type Shape string

const (
	ShapeLetters    Shape = "random letters"
	ShapeName       Shape = "like first.last"
	ShapeDigits     Shape = "with digits"
	ShapeTag        Shape = "with a +tag"
	ShapeLong       Shape = "long"
	ShapePostmaster Shape = "the postmaster"
	ShapeForeign    Shape = "somebody elsewhere"
	ShapeMessage    Shape = "(the message)"     // in a Row: what was sent to one of them
	ShapeNotice     Shape = "(what came of it)" // in a Row
)

// unknown says whether nobody can have an address of this shape.
func (s Shape) unknown() bool { return s != ShapePostmaster && s != ShapeForeign }

// localPart makes a local part of a shape; but for the postmaster's nobody can guess it, so nobody has it: 19 letters are 89
// random bits.
func localPart(s Shape) string {
	switch s {
	case ShapeName:
		return spoken(8) + "." + spoken(16)
	case ShapeDigits:
		return "k" + random("0123456789", 10) + random(letters, 12)
	case ShapeTag:
		return "t" + random(letters, 19) + "+" + random(letters, 4)
	case ShapeLong:
		return random(letters, 12) + "-" + random(letters, 28) + "-" + random(letters, 16)
	case ShapePostmaster:
		return "postmaster"
	}
	return "x" + random(letters, 19)
}

const letters = "abcdefghijklmnopqrstuvwxyz"

func random(of string, n int) string {
	b := make([]byte, n)
	for i := range b {
		k, err := rand.Int(rand.Reader, big.NewInt(int64(len(of))))
		if err != nil {
			panic(err) // crypto/rand does not fail
		}
		b[i] = of[k.Int64()]
	}
	return string(b)
}

// spoken is n letters that could be said: what looks like noise is treated as such by some filters.
func spoken(n int) string {
	var b strings.Builder
	for b.Len() < n {
		b.WriteString(random("bdfgklmnprstvz", 1) + random("aeiou", 1))
	}
	return b.String()
}

// result is what an answer to RCPT, or to the MAIL before it, comes to.
type result uint8

const (
	unasked  result = iota // the conversation broke before
	accepted               // 2xx
	missing                // 5xx about the recipient
	denied                 // 5xx about something else, or not understood
	deferred               // 4xx
	tooMany                // one recipient is enough for this server
	barred                 // 5xx to MAIL: the sender is not wanted
)

func (r result) refused() bool { return r == missing || r == denied }

// asked is one recipient and what the server said.
type asked struct {
	to      mail.Address
	shape   Shape
	null    bool // sender
	from    string
	session int
	second  bool          // in the transaction of another
	mail    smtp.Response // Code 0: no answer
	rcpt    smtp.Response
	took    time.Duration // the answer to RCPT, or to MAIL where that was refused
	result  result
	retried bool // asked again after it had been deferred
}

// sender is the reverse-path as people write it.
func (a *asked) sender() string {
	if a.null {
		return "<>"
	}
	return a.from
}

// judgeAnswer sets the result.
func (a *asked) judgeAnswer() {
	switch {
	case a.mail.Class() == 5:
		a.result = barred
	case a.mail.Class() == 4:
		a.result = deferred
	case a.rcpt.Code == 0:
		a.result = unasked
	case a.second && oneOnly(&a.rcpt):
		a.result = tooMany
	case a.rcpt.Class() == 2:
		a.result = accepted
	case a.rcpt.Class() == 4:
		a.result = deferred
	case smtp.ClassifyRcpt(&a.rcpt) == smtp.RcptMissing:
		a.result = missing
	default:
		a.result = denied
	}
}

// wantsTLS says whether MAIL was refused until there is TLS (RFC 3207, 4). A login is wanted by the same code.
func (a *asked) wantsTLS() bool {
	return a.mail.Code == 530 && has(strings.ToLower(a.mail.Text()), "tls", "encrypt", "secure")
}

// answer is the response that decided.
func (a *asked) answer() *smtp.Response {
	if a.mail.Code != 0 && a.mail.Class() != 2 {
		return &a.mail
	}
	return &a.rcpt
}

// oneOnly says whether a recipient was refused because there was one before.
func oneOnly(r *smtp.Response) bool {
	if r.Class() == 2 {
		return false
	}
	return r.Status.Subject == 5 && r.Status.Detail == 3 || r.Code == 452 || r.Code == 421 ||
		has(strings.ToLower(r.Text()), "too many recipients", "one recipient", "single recipient", "separately", "multiple recipients")
}

func has(text string, words ...string) bool {
	for _, w := range words {
		if strings.Contains(text, w) {
			return true
		}
	}
	return false
}

// sayResponse is a response on one line, as people read it.
func sayResponse(r *smtp.Response) string {
	if r.Code == 0 {
		return "no answer"
	}
	status := ""
	if !r.Status.IsZero() {
		status = r.Status.String() + " "
	}
	text := clean([]byte(r.Text()))
	return strings.TrimSpace(itoa(r.Code) + " " + status + strings.ReplaceAll(text, "\n", " "))
}

// relayDenied are the words of servers that do not take mail for a domain.
var relayDenied = []string{"relay access denied", "relaying denied", "unable to relay", "relay not permitted", "not permitted to relay", "rcpthosts"}

// wordsOnUs are those of a refusal that is about the client or the sender, or about whoever tries too much.
var wordsOnUs = []string{
	"block", "blacklist", "black list", "dnsbl", "rbl", "listed", "banned", "reputation", "spam", "policy",
	"client", "your ip", "your host", "your address", "your server", "your mail server", "dynamic", "reverse", "rdns", "ptr record",
	"helo", "ehlo", "sender", "spf", "dkim", "dmarc", "authentic", "starttls", "encrypt", "too many", "rate limit",
}

// aboutUs says that a refusal is about us, and not about the recipient: by its words, or since somebody of another
// domain, who cannot be known here, got the very same one. relay is what he got, client our address.
func (a *asked) aboutUs(relay *asked, client string) bool {
	text := a.words()
	if has(strings.ReplaceAll(text, "not listed", ""), wordsOnUs...) || client != "" && strings.Contains(text, client) {
		return true
	}
	if relay == nil || relay.answer().Code != a.answer().Code || relay.words() != text {
		return false
	}
	return !has(text, "relay", "rcpthosts", "recipient", "user", "mailbox", "unknown", "no such", "not local") // who says so does not know either of them
}

// words are what was said, in lower case, without the address that was asked for, which may hold any word.
func (a *asked) words() string {
	text := strings.ToLower(a.answer().Text())
	text = strings.ReplaceAll(text, strings.ToLower(a.to.String()), "")
	text = strings.ReplaceAll(text, a.to.LocalKey(), "")
	return strings.ReplaceAll(text, strings.ToLower(a.to.Domain()), "")
}
