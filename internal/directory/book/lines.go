package book

import (
	"math"
	"strings"

	"backstop/internal/directory/watch"
	"backstop/internal/mail"
)

// NoAddress is the Reason for which an entry of LDIF or a record of CSV without any address is passed over.
const NoAddress = "no address in it"

// Reasons for which lines are passed over.
const (
	reasonRefused  = "refused by the file itself (REJECT, DISCARD, SKIP or an error that is no 4xx)"
	reasonDomain   = "for a whole domain, so it names nobody"
	reasonPattern  = "a pattern (user+*, %1), so it names nobody"
	reasonOther    = "about senders, clients or other things (From:, Connect:, …)"
	reasonDisabled = "a disabled account without a mailbox in Exchange"
	reasonKind     = "an address of another kind (X500, SIP, fax, …)"
	reasonNone     = NoAddress
)

// lines reads the formats that have one recipient a line.
func (r *reader) lines(text source) error {
	one := map[Format]func(string){List: r.listLine, Access: r.accessLine, Virtusertable: r.virtualLine, Postfix: r.mapLine}[r.Format]
	return watch.EachLine(text, math.MaxInt, func(n int, line []byte) bool {
		r.line = n
		if len(line) > maxLine {
			r.wrong("the line is longer than %d octets", maxLine)
		} else {
			one(string(line))
		}
		return !r.over()
	})
}

// listLine reads a line as internal/directory/list does.
func (r *reader) listLine(line string) {
	text := strings.TrimSpace(WithoutComment(line))
	switch {
	case text == "":
		return
	case text[0] == '@':
		r.Records++
		r.passed(reasonDomain)
		return
	}
	r.Records++
	if word := strings.Fields(text); len(word) > 1 && text[0] != '"' {
		advice := ""
		if r.o.Format == Unknown {
			advice = " (--format says what the file is)"
		}
		r.wrong("%q stands after the address; a list has one address a line and nothing else%s", word[1], advice)
		return
	}
	r.address(text, true)
}

// WithoutComment cuts a line of a list at a "#" that begins it or follows white space; one
// inside a word may stand in a local part (RFC 5322, 3.2.3), one inside quotes too.
func WithoutComment(s string) string {
	if strings.IndexByte(s, '#') < 0 {
		return s
	}
	quoted, blank := false, true
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '#' && blank && !quoted:
			return s[:i]
		case c == '\\' && quoted:
			i++
		case c == '"':
			quoted = !quoted
		}
		blank = c == ' ' || c == '\t'
	}
	return s
}

// pair reads a line and counts it, or its mistake.
func (r *reader) pair(line string) (key, value string, ok bool) {
	key, value, err := Pair(line)
	if err == nil && key == "" {
		return "", "", false
	}
	r.Records++
	if err != nil {
		r.wrong("%v", err)
	}
	return key, value, err == nil
}

func (r *reader) accessLine(line string) {
	key, value, ok := r.pair(line)
	if !ok {
		return
	}
	if tag, rest, tagged := strings.Cut(key, ":"); tagged {
		if notRecipient(tag) {
			r.passed(reasonOther)
			return
		}
		if !strings.EqualFold(tag, "To") {
			r.wrong("the tag %q is not known", tag+":")
			return
		}
		key = rest
	}
	named := strings.IndexByte(key, '@') > 0
	switch {
	case !accessYes(value) && !accessNo(value):
		r.wrong("the value %q of %q is not understood", value, key)
	case !accessYes(value) && !deferred(afterError(value)):
		r.passed(reasonRefused)
	case !named:
		r.passed(reasonDomain) // or an untagged line for a client: nobody is named either
	case strings.Contains(key, "+*@"):
		r.pattern(strings.TrimSuffix(key, "@"))
	default:
		r.address(strings.TrimSuffix(key, "@"), true)
	}
}

func accessYes(value string) bool {
	return strings.EqualFold(value, "OK") || strings.EqualFold(value, "RELAY")
}

// accessNo says whether the value is one that refuses, or at least is no yes.
func accessNo(value string) bool {
	for _, w := range []string{"REJECT", "DISCARD", "SKIP"} {
		if strings.EqualFold(value, w) {
			return true
		}
	}
	if head, _, ok := strings.Cut(value, ":"); ok && (strings.EqualFold(head, "ERROR") || strings.EqualFold(head, "QUARANTINE")) {
		return true
	}
	code := strings.TrimPrefix(value, `"`)
	return len(code) >= 3 && (code[0] == '4' || code[0] == '5') && digits(code[:3])
}

// deferred says whether the text of an error is one for "not now", which does not say that somebody is unknown:
// 450 text, 4.2.2:450 text, 4.2.2:text, or in a virtusertable "tempfail text". A code goes before the rest.
func deferred(text string) bool {
	class := byte('5')
	word, rest, _ := strings.Cut(text, " ")
	if head, more, has := strings.Cut(text, ":"); has && isStatus(head) {
		class, text = head[0], more
	} else if strings.EqualFold(word, "tempfail") {
		class, text = '4', rest
	} else if !strings.ContainsAny(word, "0123456789") { // nouser, …
		text = rest
	}
	text = strings.TrimLeft(text, `" `)
	if len(text) >= 3 && digits(text[:3]) {
		class = text[0]
	}
	return class == '4'
}

func isStatus(s string) bool {
	_, err := mail.ParseStatus(s)
	return err == nil
}

// afterError is what stands behind "error:", or all.
func afterError(value string) string {
	if head, text, ok := strings.Cut(value, ":"); ok && strings.EqualFold(head, "error") {
		return strings.TrimSpace(text)
	}
	return value
}

func digits(s string) bool { return strings.Trim(s, "0123456789") == "" && s != "" }

func (r *reader) virtualLine(line string) {
	key, value, ok := r.pair(line)
	if !ok {
		return
	}
	at := strings.LastIndexByte(key, '@')
	head, _, hasHead := strings.Cut(value, ":")
	switch {
	case at < 0 || at == len(key)-1:
		r.wrong("%q is never looked up; a key is user@domain or @domain", key)
	case hasHead && strings.EqualFold(head, "error") && !deferred(afterError(value)):
		r.passed(reasonRefused)
	case at == 0:
		r.passed(reasonDomain)
	case strings.HasSuffix(key[:at], "+*") || strings.HasSuffix(key[:at], "++"):
		r.pattern(key)
	default:
		r.address(key, false)
	}
}

// mapLine reads a line of a Postfix map. White space at its beginning continues the record
// before (postmap(1)), and the rest of a record is value, which says nothing.
func (r *reader) mapLine(line string) {
	text := strings.TrimSpace(line)
	if text == "" || text[0] == '#' {
		return
	}
	if line[0] == ' ' || line[0] == '\t' {
		if r.Records == 0 {
			r.wrong("the line continues none: the first record begins with white space")
		}
		return
	}
	r.Records++
	key, ok := MapKey(text)
	switch {
	case !ok:
		r.wrong("the quoted key has no closing quote")
	case key[0] == '@':
		r.passed(reasonDomain)
	case key[0] == '/' && !keyLike(key):
		r.wrong("%q is a pattern; regexp: and pcre: tables name nobody", key)
	case len(key) == len(text):
		r.wrong("%q has no value, and Postfix passes over such a line", key)
	default:
		r.address(key, true)
	}
}

// MapKey is the key of a Postfix map's record, before the value. In quotes it may hold white space
// (postmap(1), Postfix 3.2); ok is false where these are not closed.
func MapKey(s string) (key string, ok bool) {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && quoted:
			i++
		case s[i] == '"':
			quoted = !quoted
		case !quoted && (s[i] == ' ' || s[i] == '\t'):
			return s[:i], true
		}
	}
	return s, !quoted
}
