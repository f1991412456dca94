package dmarc

import (
	"bytes"
	"fmt"
	"strings"

	"backstop/internal/mail"
)

// authors gathers the domains of a From field: of each "@" that is outside quotes and comments. So mailboxes,
// lists, groups (RFC 6854), source routes and whatever else is made of them are read alike, and what
// only some readers take for an address is not overlooked.
type authors struct {
	domain string // the one that all have so far
	angled bool   // this mailbox has an angle bracket, so what else it holds is a display name
	inside bool   // between angle brackets
	weak   string // "Alice @ Work" outside them: a domain only if there are no angle brackets
	begun  bool   // this mailbox has more than words, quoted strings and comments
	quoted bool   // this mailbox has an @ in quotes, which is well in a display name only
	doubt  string // why the field is ambiguous
}

// authorDomain reads the value of a From field.
func authorDomain(value []byte) (string, error) {
	var a authors
	a.read(value)
	if a.doubt == "" && bytes.Contains(value, []byte("=?")) {
		a.encoded(value)
	}
	switch {
	case a.doubt != "":
		return "", fmt.Errorf("%w: %s", ErrAmbiguous, a.doubt)
	case a.domain == "":
		return "", fmt.Errorf("%w: there is no address in the From field", ErrNone)
	case a.domain[0] == '[':
		return "", fmt.Errorf("%w: the From field has an address literal", ErrNone)
	}
	return a.domain, nil
}

// read goes through the tokens of RFC 5322, 3.2, once, until there is a doubt.
func (a *authors) read(v []byte) {
	var before []byte // the word or quoted string before this token
	for i := 0; i < len(v) && a.doubt == ""; {
		switch c := v[i]; {
		case c == ' ' || c == '\t':
			i++
			continue
		case c == '(':
			i = a.skip(v, i, skipComment, "a comment")
			continue
		case c == '"':
			end := a.skip(v, i, skipQuoted, "a quoted string")
			before, i = v[i:end], end
			a.quote(before)
			continue
		case c == '@':
			a.begun = true
			if bytes.IndexByte(before, '@') >= 0 || bytes.Contains(before, []byte("=?")) {
				a.doubt = "there is an @ or an encoded word in a local part"
			}
			i = a.after(v, i+1)
		case c == '<', c == '>':
			a.inside, a.angled, a.begun = c == '<', true, true
			i++
		case c == ',' || c == ';' || c == ':':
			a.endMailbox()
			i++
		case isWord(c):
			end := i + wordLen(v[i:])
			before, i = v[i:end], end
			continue
		case c == '\\' && (i+1 == len(v) || !isWord(v[i+1])), c < ' ', c == 0x7f:
			a.doubt = "there is a control character, or a backslash outside quotes"
		default: // ")", "[", "]", and a backslash as in DOMAIN\user
			a.begun = true
			i++
		}
		before = nil
	}
	a.inside = false
	a.endMailbox()
}

// quote is at a quoted string. One with an address in it may stand at the head of a mailbox, as its display
// name. Elsewhere some readers take it for the mailbox.
func (a *authors) quote(s []byte) {
	if bytes.IndexByte(s, '@') < 0 {
		return
	}
	if a.quoted = true; a.begun && a.doubt == "" {
		a.doubt = "there is an @ in quotes where no display name is"
	}
}

// skip goes past a comment or quoted string that begins at i.
func (a *authors) skip(v []byte, i int, skipper func([]byte) int, what string) int {
	n := skipper(v[i:])
	if n == 0 {
		a.doubt = what + " has no end"
		return len(v)
	}
	for _, c := range v[i : i+n] {
		if c < ' ' && c != '\t' || c == 0x7f {
			a.doubt = "there is a control character in " + what
		}
	}
	return i + n
}

// after reads the domain that begins at i, behind an "@", and returns where it ends. Comments and white space may stand
// around its dots (RFC 5322, 4.4).
func (a *authors) after(v []byte, i int) int {
	apart := i < 2 || v[i-2] == ' ' || i == len(v) || v[i] == ' '
	i = skipSpace(v, i)
	if i < len(v) && v[i] == '[' {
		end := bytes.IndexByte(v[i:], ']')
		if end < 0 {
			a.doubt = "an address literal has no end"
			return len(v)
		}
		a.add(string(v[i : i+end+1]))
		return i + end + 1
	}
	var domain []byte
	for i < len(v) {
		n := wordLen(v[i:])
		domain = append(domain, v[i:i+n]...)
		i += n
		next := skipSpace(v, i)
		if n == 0 || next == len(v) || v[next] != '.' && domain[len(domain)-1] != '.' {
			break
		}
		i = next
	}
	a.behind(v, i)
	if a.inside {
		a.add(string(domain))
		return i
	}
	name := strings.TrimRight(string(domain), "'!?*") // of a display name: 'alice@example.org' <alice@example.org>
	if apart && !strings.Contains(name, ".") {
		a.addWeak(name)
	} else {
		a.add(name)
	}
	return i
}

// behind looks at what follows a domain that ends at i: what some readers would take for more of it is a doubt.
func (a *authors) behind(v []byte, i int) {
	if i < len(v) && strings.IndexByte("\"\\[", v[i]) >= 0 {
		a.doubt = "there is no end of a domain"
	}
	if i = skipSpace(v, i); a.inside && i < len(v) && strings.IndexByte(">,:@", v[i]) < 0 {
		a.doubt = "there is more than an address in angle brackets"
	}
}

// add is one more domain that a reader could take for the author's.
func (a *authors) add(name string) {
	var domain string
	err := mail.ErrDomain
	if len(name) <= 4*mail.MaxDomain { // U-labels are longer than A-labels, but not so much
		domain, err = mail.FoldDomain(name)
	}
	switch {
	case err != nil:
		a.doubt = "what stands behind an @ is no domain"
	case a.domain != "" && a.domain != domain:
		a.doubt = "it has addresses of more than one domain"
	default:
		a.domain = domain
	}
}

// addWeak keeps what may be a part of a display name until it is known whether it is.
func (a *authors) addWeak(name string) {
	if a.weak != "" && a.weak != name {
		name = "@" // no domain
	}
	if a.weak = name; name == "" {
		a.weak = "@"
	}
}

// endMailbox is at the separators of a list or group. Within angle brackets they are those of a source route.
func (a *authors) endMailbox() {
	if a.inside {
		return
	}
	if a.weak != "" && !a.angled && a.doubt == "" {
		a.add(a.weak)
	}
	if a.quoted && !a.angled && a.doubt == "" {
		a.doubt = "there is an @ in quotes where no display name is"
	}
	a.weak, a.angled, a.begun, a.quoted = "", false, false, false
}

// encoded looks into encoded words (RFC 2047). They are display names; but some readers decode them before they look
// for addresses, and others decode those in quotes too. So an address in them counts where it has the brackets
// or the comma with which such a reader would be led on.
func (a *authors) encoded(v []byte) {
	text := bytes.ReplaceAll(decodeWords(v), []byte{0}, nil) // UTF-16 becomes ASCII
	if !bytes.ContainsAny(text, "<,;") {
		return
	}
	for a.doubt == "" {
		_, rest, found := bytes.Cut(text, []byte{'@'})
		if !found {
			return
		}
		text = rest
		if name := text[:hostLen(text)]; bytes.IndexByte(name, '.') > 0 {
			a.add(string(name))
		}
	}
}

// skipSpace goes past white space and comments (RFC 5322, 3.2.2).
func skipSpace(v []byte, i int) int {
	for i < len(v) {
		switch v[i] {
		case ' ', '\t':
			i++
		case '(':
			n := skipComment(v[i:])
			if n == 0 {
				return i // read will find it
			}
			i += n
		default:
			return i
		}
	}
	return i
}

// skipComment returns the length of the comment at the head of v, inner ones included, or 0 if it has no end.
func skipComment(v []byte) int {
	depth := 0
	for i := 0; i < len(v); i++ {
		switch v[i] {
		case '\\':
			i++
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return 0
}

// skipQuoted returns the length of the quoted string at the head of v, or 0 if it has no end.
func skipQuoted(v []byte) int {
	for i := 1; i < len(v); i++ {
		switch v[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return 0
}

// isWord says what words are made of: atoms and the dots between them, and whatever is not ASCII.
func isWord(c byte) bool {
	return c > ' ' && c != 0x7f && strings.IndexByte(`()<>@,;:\"[]`, c) < 0
}

func wordLen(v []byte) int {
	n := 0
	for n < len(v) && isWord(v[n]) {
		n++
	}
	return n
}

// hostLen is the length of what can be a domain at the head of v.
func hostLen(v []byte) int {
	n := 0
	for n < len(v) && (v[n] == '.' || v[n] == '-' || v[n] == '_' || v[n] >= 0x80 ||
		'0' <= v[n] && v[n] <= '9' || 'a' <= v[n]|0x20 && v[n]|0x20 <= 'z') {
		n++
	}
	return n
}
