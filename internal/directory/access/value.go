package access

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"backstop/internal/mail"
)

// Verb is what a right-hand side does.
type Verb uint8

const (
	OK      Verb = iota // yes, whatever else is said of it
	Relay               // yes
	Reject              // no
	Discard             // no: nothing is taken only to be thrown away
	Skip                // the search ends, and nothing is said
	Refuse              // no, or not now, with a reply of the file's own
	rewrite             // of a virtusertable: another address
	verbs
)

var verbNames = [verbs]string{"OK", "RELAY", "REJECT", "DISCARD, which is refused here", "SKIP", "its own reply", "another address"}

func (v Verb) String() string { return verbNames[v] }

// action is a right-hand side that was understood.
type action struct {
	verb   Verb
	reply  mail.Reply // of Refuse
	said   string     // of Refuse: the reply as a line, made once
	party  mail.Reply // of Refuse in an untagged line: the reply to a sender or client, where that is another one
	target string     // of rewrite: with %1, %2, %3
}

var words = []struct {
	text string
	verb Verb
}{{"OK", OK}, {"RELAY", Relay}, {"REJECT", Reject}, {"DISCARD", Discard}, {"SKIP", Skip}}

const known = "a value is OK, RELAY, REJECT, DISCARD, SKIP, a code and a text (550 text), ERROR:550 text or ERROR:5.1.1:550 text"

// subject is what a status says the fault is about, where the file does not tell (RFC 3463, 3).
type subject uint16

const (
	addressing subject = 1 // of a recipient: X.1.1, no such mailbox
	security   subject = 7 // of a sender or client: X.7.1, not authorised
)

// parseValue reads the right-hand side of an access file.
func parseValue(s string, about subject) (action, error) {
	for _, w := range words {
		if strings.EqualFold(s, w.text) {
			return action{verb: w.verb}, nil
		}
	}
	if _, ok := cutFold(s, "QUARANTINE:"); ok {
		return action{}, errors.New("QUARANTINE would keep the message in a queue, and there is none here; refuse it, or let it through")
	}
	if rest, ok := cutFold(s, "ERROR:"); ok {
		return parseError(rest, about)
	}
	text := unquote(s)
	if len(text) < 3 || !digits(text[:3]) {
		return action{}, fmt.Errorf("%q is not understood; %s", s, known)
	}
	return newReply(mail.Status{}, text, about)
}

// parseError reads what follows ERROR: in an access file, [D.S.N:]text.
func parseError(s string, about subject) (action, error) {
	if head, text, ok := strings.Cut(s, ":"); ok {
		if status, err := mail.ParseStatus(strings.TrimSpace(head)); err == nil {
			return newReply(status, unquote(strings.TrimSpace(text)), about)
		}
	}
	return newReply(mail.Status{}, unquote(strings.TrimSpace(s)), about)
}

// exits are the words that a virtusertable may have for a status, with Sendmail's
// meaning of them (sysexits).
var exits = []struct{ word, status string }{
	{"nouser", "5.1.1"}, {"nohost", "5.1.2"}, {"unavailable", "5.0.0"}, {"usage", "5.5.4"}, {"software", "5.3.0"},
	{"protocol", "5.5.0"}, {"config", "5.3.5"}, {"tempfail", "4.0.0"},
}

// parseVirtualError reads what follows error: in a virtusertable: D.S.N:text, or word text.
func parseVirtualError(s string) (action, error) {
	word, text, _ := strings.Cut(s, " ")
	for _, e := range exits {
		if strings.EqualFold(word, e.word) {
			status, err := mail.ParseStatus(e.status)
			if err != nil {
				return action{}, err
			}
			return newReply(status, unquote(strings.TrimSpace(text)), addressing)
		}
	}
	return parseError(s, addressing)
}

// newReply makes a reply of "550 5.1.1 text". What stands in the text goes before status.
func newReply(status mail.Status, text string, about subject) (action, error) {
	code := 0
	head, rest, _ := strings.Cut(text, " ")
	if len(head) == 3 && digits(head) {
		code, _ = strconv.Atoi(head) // three digits
		text = strings.TrimSpace(rest)
		if head, rest, _ := strings.Cut(text, " "); code != 0 {
			if s, err := mail.ParseStatus(head); err == nil {
				status, text = s, strings.TrimSpace(rest)
			}
		}
	}
	switch {
	case code == 0 && status.IsZero():
		return action{}, fmt.Errorf("%q has neither a code nor a status, so a sender could not tell what it means; write ERROR:5.1.1:550 and the text", text)
	case code == 421 || code != 0 && code/100 != 4 && code/100 != 5:
		return action{}, fmt.Errorf("%d is no code with which mail can be refused; write 550, or 450 for not now", code)
	case strings.ContainsFunc(text, func(c rune) bool { return c >= 0x80 }):
		return action{}, fmt.Errorf("the text %q of the reply is not ASCII (RFC 5321, 4.2.1)", text)
	case text == "":
		return action{}, errors.New("the reply has no text; write ERROR:5.1.1:550 User unknown")
	case code == 0 && status.Class == 2:
		return action{}, fmt.Errorf("the status %v is a success, and this is an error", status)
	case code == 0:
		code = int(status.Class)*100 + 50
	case status.IsZero(): // somebody may read the status alone
		status = mail.Status{Class: uint16(code / 100), Subject: uint16(about), Detail: 1}
	}
	r, err := mail.NewReply(code, status, text)
	return action{verb: Refuse, reply: r, said: r.String()}, err
}

// unquote drops the quotes around words, as Sendmail does with a text.
func unquote(s string) string {
	if strings.IndexByte(s, '"') < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"':
		case s[i] == '\\' && i+1 < len(s):
			i++
			b = append(b, s[i])
		default:
			b = append(b, s[i])
		}
	}
	return strings.TrimSpace(string(b))
}

func digits(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

func cutFold(s, prefix string) (rest string, found bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return strings.TrimSpace(s[len(prefix):]), true
}
