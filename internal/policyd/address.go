package policyd

import "strings"

// quoted makes of an address in Postfix's internal form, whose local part has lost its quotes, one
// as RFC 5321 writes it. The local part is what stands before the last "@".
func quoted(text string) string {
	at := strings.LastIndexByte(text, '@')
	if at < 0 {
		at = len(text)
	}
	local := text[:at]
	if isDotString(local) {
		return text
	}
	b := make([]byte, 0, len(text)+4)
	b = append(b, '"')
	for i := range len(local) {
		if c := local[i]; c == '"' || c == '\\' {
			b = append(b, '\\')
		}
		b = append(b, local[i])
	}
	return string(append(append(b, '"'), text[at:]...))
}

// isDotString says that a local part needs no quotes (RFC 5321, 4.1.2; RFC 6531, 3.3). The empty one is left as it
// is: quotes would make an address of "@example.com".
func isDotString(local string) bool {
	last := byte('.')
	for i := range len(local) {
		c := local[i]
		if c <= ' ' || c == 0x7f || c == '.' && last == '.' || strings.IndexByte(`()<>[]:;@\,"`, c) >= 0 {
			return false
		}
		last = c
	}
	return last != '.' || local == ""
}
