package dmarc

import (
	"bytes"
	"fmt"

	"backstop/internal/mail"
)

// FromAddress returns the author of the message: the one mailbox of the header From. It is stricter than FromDomain,
// since the mailbox may become whom a bounce is sent to: several mailboxes, a group, another address in a display name that
// is not quoted, a source route, or comments and white space inside the address are ErrAmbiguous, even
// if all is of one domain.
func FromAddress(header []byte) (mail.Address, error) {
	value, err := fromValue(header)
	if err != nil {
		return mail.Address{}, err
	}
	domain, err := authorDomain(value)
	if err != nil {
		return mail.Address{}, err
	}
	text, ok := mailbox(value)
	if !ok || encodesAddress(value) {
		return mail.Address{}, fmt.Errorf("%w: it is not one plain mailbox", ErrAmbiguous)
	}
	a, err := mail.ParseAddress(text)
	if err != nil {
		return mail.Address{}, fmt.Errorf("%w: %w", ErrAmbiguous, err)
	}
	if a.Domain() != domain {
		return mail.Address{}, fmt.Errorf("%w: its mailbox has no domain, or another one", ErrAmbiguous)
	}
	return a, nil
}

// mailbox finds the text of the address in a field that has the form of RFC 5322, 3.4: words and quoted strings and then
// <address>, or the address alone, with comments around either.
func mailbox(v []byte) (text string, ok bool) {
	begin := skipSpace(v, 0)
	end, pieces, ats := begin, 1, 0
	for {
		i := skipSpace(v, end)
		if i == len(v) {
			return string(v[begin:end]), pieces == 1 && ats == 1
		}
		if v[i] == '<' {
			text, ok = inBrackets(v[i+1:])
			return text, ok && ats == 0
		}
		if i > end {
			pieces++
		}
		n := 0
		switch c := v[i]; {
		case c == '"':
			n = skipQuoted(v[i:])
		case c == '@':
			n = 1
			ats++
		case c == '[', c == ']': // "[List] Alice" should be quoted, and often is not
			n = 1
		default:
			n = wordLen(v[i:])
		}
		if n == 0 {
			return "", false
		}
		end = i + n
	}
}

// inBrackets is the address at the head of v, behind "<". Nothing but comments may follow its ">".
func inBrackets(v []byte) (text string, ok bool) {
	quoted := 0 // a local part in quotes may hold a ">"
	if len(v) > 0 && v[0] == '"' {
		quoted = skipQuoted(v)
	}
	end := bytes.IndexByte(v[quoted:], '>')
	if end < 0 {
		return "", false
	}
	end += quoted
	return string(bytes.Trim(v[:end], " \t")), skipSpace(v, end+1) == len(v)
}

// encodesAddress says that encoded words hold what a reader who decodes them first could take for an address.
func encodesAddress(v []byte) bool {
	return bytes.Contains(v, []byte("=?")) && bytes.IndexByte(decodeWords(v), '@') >= 0
}
