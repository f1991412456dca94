package resolver

import (
	"strings"

	"github.com/miekg/dns"
)

// maxName and maxLabel are those of RFC 1035, 2.3.4, of a name as it is written, without the dot at the end.
const (
	maxName  = 253
	maxLabel = 63
)

// wireName makes a name as people write it, with or without the dot at the end, one that the
// DNS library packs: small letters, all that is not plain escaped, so that a backslash is an octet and no
// sign. False: it cannot be a name. Octets above 127 are no part of a name, so that what a U-label or the
// local part of an address put into one finds nothing (RFC 8616, 4).
func wireName(s string) (string, bool) {
	s = strings.TrimSuffix(s, ".")
	if s == "" || len(s) > maxName {
		return "", false
	}
	plain, label := true, 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '.':
			if label == 0 {
				return "", false
			}
			label = 0
			continue
		case c >= 0x80:
			return "", false
		case !plainOctet(c):
			plain = false
		}
		if label++; label > maxLabel {
			return "", false
		}
	}
	if label == 0 {
		return "", false
	}
	if plain {
		return s + ".", true
	}
	return canonical(escaped(s))
}

// canonical is the name with the escapes that the library gives it when it comes back in an answer.
func canonical(s string) (string, bool) {
	var b [256]byte
	if _, err := dns.PackDomainName(s, b[:], 0, nil, false); err != nil {
		return "", false
	}
	s, _, err := dns.UnpackDomainName(b[:], 0)
	return s, err == nil
}

// plainOctet: what needs no change.
func plainOctet(c byte) bool {
	return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_'
}

func escaped(s string) string {
	b := make([]byte, 0, len(s)+16)
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case 'A' <= c && c <= 'Z':
			b = append(b, c+'a'-'A')
		case plainOctet(c) || c == '.':
			b = append(b, c)
		default:
			b = append(b, '\\', '0'+c/100, '0'+c/10%10, '0'+c%10)
		}
	}
	return string(append(b, '.'))
}

// plainName makes a name in an answer one as people write it. False: it cannot be written so, because a dot, a
// control character or an octet above 127 is part of a label.
func plainName(s string) (string, bool) {
	if !strings.Contains(s, `\`) {
		return s, s != "" // a record may lack its data
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '\\' {
			if i+1 >= len(s) {
				return "", false
			}
			i++
			c = s[i]
			if '0' <= c && c <= '9' {
				if i+2 >= len(s) {
					return "", false
				}
				n := int(c-'0')*100 + int(s[i+1]-'0')*10 + int(s[i+2]-'0')
				if n > 0x7e {
					return "", false
				}
				c = byte(n)
				i += 2
			}
			if c == '.' || c < ' ' || c > 0x7e {
				return "", false
			}
		}
		b = append(b, c)
	}
	return string(b), true
}
