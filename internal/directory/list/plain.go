package list

import "bytes"

// isPlain says whether line is its own folded key: local@domain in lower-case ASCII
// without quotes, in the domain that was found good before. It spares
// nearly every line of a large file the full parser, and is never right about one
// which that would refuse.
func isPlain(line, domain []byte) bool {
	n := len(line) - len(domain)
	if len(domain) == 0 || n < 2 || n-1 > maxLocal || line[n-1] != '@' || !bytes.Equal(line[n:], domain) {
		return false
	}
	dot := true // a dot may not stand here
	for _, c := range line[:n-1] {
		if c == '.' {
			if dot {
				return false
			}
			dot = true
			continue
		}
		if !plain[c] {
			return false
		}
		dot = false
	}
	return !dot
}

const maxLocal = 64 // mail.MaxLocalPart

// plain: the atext of RFC 5322, 3.2.3, that is folded already, but for "#",
// which the caller would have to tell from a comment.
var plain = func() (t [256]bool) {
	for _, c := range []byte("abcdefghijklmnopqrstuvwxyz0123456789!$%&'*+-/=?^_`{|}~") {
		t[c] = true
	}
	return t
}()
