package book

import "strings"

// cell reads all addresses in a cell: one, or several after each other with semicolons,
// commas, blanks or line ends between them; those of Exchange with their kind before them,
// "SMTP:ann@example.com smtp:a@example.com X500:/o=Example/ou=First Group/cn=ann". What
// follows the kind of another address belongs to it up to the next kind, since such addresses hold
// blanks, and those of X.400 semicolons too. PowerShell may put braces around all, and Microsoft 365
// writes a plus sign between them.
func (r *reader) cell(s string) {
	if strings.HasPrefix(s, "{") && strings.HasSuffix(s, "}") { // no domain ends so
		s = s[1 : len(s)-1]
	}
	other, x400 := false, false
	for s != "" && !r.over() {
		var word string
		var ends bool
		word, s, ends = cutWord(s)
		if word == "" {
			other = other && (!ends || x400)
			continue
		}
		kind, rest, has := CutKind(word)
		switch {
		case has && strings.EqualFold(kind, "smtp"):
			other = false
			r.address(rest, false)
		case has:
			other, x400 = true, strings.EqualFold(kind, "x400")
			r.passed(reasonKind)
		case other:
		case (strings.HasPrefix(word, "System.") || strings.HasPrefix(word, "Microsoft.")) && strings.IndexByte(word, '@') < 0:
			r.wrong("the cell holds the name of a list (%s) and not what is in it; in PowerShell, export @{n='proxyAddresses';e={$_.proxyAddresses -join ';'}}", shortened(word))
			return
		default:
			r.address(word, r.o.Locals)
		}
		other = other && (!ends || x400)
	}
}

// cutWord takes the first word and what separates it from the rest. ends: that is more
// than blanks.
func cutWord(s string) (word, rest string, ends bool) {
	quoted, i := false, 0
	for ; i < len(s); i++ {
		if c := s[i]; c == '\\' && quoted {
			i++
		} else if c == '"' {
			quoted = !quoted
		} else if !quoted && (strings.IndexByte(" \t\r\n;,", c) >= 0 || plusKind(s[i:])) {
			break
		}
	}
	i = min(i, len(s))
	word, rest = s[:i], s[i:]
	if plusKind(rest) {
		return word, rest[1:], true
	}
	for rest != "" && strings.IndexByte(" \t\r\n;,", rest[0]) >= 0 {
		ends = ends || rest[0] != ' ' && rest[0] != '\t'
		rest = rest[1:]
	}
	return word, rest, ends
}

// plusKind says whether a plus sign parts one address from the kind of the next: none has
// a colon behind its own.
func plusKind(s string) bool {
	if len(s) < 2 || s[0] != '+' {
		return false
	}
	const longest = 16 // a kind and its colon
	_, _, has := CutKind(s[1:min(len(s), 1+longest)])
	return has
}

// CutKind takes the kind off an address as Exchange and its directory write them (SMTP:, X500:):
// letters, digits and "-" before a colon. A colon in a quoted local part ends no kind.
func CutKind(word string) (kind, rest string, has bool) {
	kind, rest, has = strings.Cut(word, ":")
	if !has || kind == "" || strings.IndexByte(kind, '@') >= 0 {
		return "", word, false
	}
	for i := 0; i < len(kind); i++ {
		if c := kind[i] | 0x20; (c < 'a' || c > 'z') && (kind[i] < '0' || kind[i] > '9') && kind[i] != '-' {
			return "", word, false
		}
	}
	return kind, rest, true
}

func shortened(s string) string {
	const most = 60
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
