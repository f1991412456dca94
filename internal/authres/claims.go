package authres

import (
	"bytes"
	"strings"
)

// maxHead is how many octets before the first result are looked at: ours has not a tenth of them.
const maxHead = 1024

// Claims says whether a field (its name, the colon, the value, folded or not) is an Authentication-Results field that a
// reader could take for one of the server id, and so is to be removed (RFC 8601, 5). Forgers write the id in
// ways that some readers see through and some do not: with comments, quotes, folding and
// control characters before, behind and inside of it, in capitals, with a version. In doubt the answer is yes: if the
// field is malformed before its first result, or names no server at all.
func Claims(field []byte, id string) bool {
	name, v, found := bytes.Cut(field, []byte{':'})
	if !found || !isName(name) {
		return false
	}
	bare, raw, ok := head(v)
	if !ok || bytes.IndexByte(bare, '=') >= 0 {
		return true
	}
	want := key(id)
	words := bytes.FieldsFunc(raw, notHost)
	for _, w := range words {
		if k := key(string(w)); k == want || k == "" {
			return true
		}
	}
	// In pieces: "mx.(comment)example.org", or folded in the middle.
	pieces := bytes.FieldsFunc(bare, notHost)
	joined := key(string(bytes.Join(pieces, nil)))
	rest, found := strings.CutPrefix(joined, want)
	return len(pieces) == 0 || joined == "" || len(words) > 1 && found && strings.Trim(rest, ".0123456789") == ""
}

// isName compares the printable ASCII of a field's name, since readers differ in what they forgive around it.
func isName(name []byte) bool {
	n := 0
	for _, c := range name {
		if c <= ' ' || c >= 0x7f {
			continue
		}
		if n == len(Name) || lower(c) != lower(Name[n]) {
			return false
		}
		n++
	}
	return n == len(Name)
}

// head is what stands before the first semicolon: bare without comments, and raw with them. Quotes, backslashes and control
// characters are left out of bare, and separate in raw: a reader may pass over them or stop there. It is not ok if it
// has no end: an open comment or quote, or no semicolon for too long; or if it
// has parentheses within quotes.
func head(v []byte) (bare, raw []byte, ok bool) {
	depth, quoted := 0, false
	for i := 0; i < len(v); i++ {
		c := v[i]
		escaped := c == '\\' && i+1 < len(v)
		switch {
		case i >= maxHead, quoted && (c == '(' || c == ')'): // a comment within quotes is none, but who knows that?
			return nil, nil, false
		case escaped:
			i++
			c = v[i]
			raw = append(raw, ' ')
		case c == '"' && depth == 0:
			quoted = !quoted
			raw = append(raw, ' ')
			continue
		case c == '(':
			depth++
		case c == ')' && depth > 0:
			depth--
			raw = append(raw, ' ')
			continue
		case c == ';' && depth == 0 && !quoted:
			return bare, raw, true
		}
		if c < ' ' && c != '\t' && c != '\r' && c != '\n' || c == 0x7f {
			raw = append(raw, ' ')
			continue
		}
		raw = append(raw, c)
		if depth == 0 {
			bare = append(bare, c)
		}
	}
	return bare, raw, depth == 0 && !quoted
}

// notHost separates words: it says what cannot be in the name of a host.
func notHost(r rune) bool {
	return r < 0x80 && r != '.' && r != '-' && r != '_' && (r < '0' || '9' < r) && (r|0x20 < 'a' || 'z' < r|0x20)
}

// key is the form in which names of servers are compared; "" for one that is not ASCII and no domain, which
// could be read as anything.
func key(s string) string {
	s = strings.Trim(s, ".")
	if d, err := fold(s); err == nil {
		return d
	}
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			return ""
		}
	}
	return strings.ToLower(s)
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}
