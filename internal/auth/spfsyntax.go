package auth

import (
	"fmt"
	"net/netip"
	"strings"
)

// syntaxError says what is wrong with an SPF record.
type syntaxError struct{ what string }

func (e *syntaxError) Error() string { return e.what }

// spfVersion is how a record begins; case is of no matter.
const spfVersion = "v=spf1"

// isSPF says whether a TXT record is an SPF record (RFC 7208, 4.5).
func isSPF(txt string) bool {
	n := len(spfVersion)
	return len(txt) >= n && strings.EqualFold(txt[:n], spfVersion) && (len(txt) == n || txt[n] == ' ')
}

// spfSyntax reads an SPF record by the grammar of RFC 7208, 12. The library reads a term when it comes to it,
// and what is wrong behind the one that decides never comes to light; but "if there are any syntax
// errors anywhere in the record, check_host() returns immediately with the result permerror" (4.6).
func spfSyntax(record string) error {
	seen := map[string]bool{}
	for term := range strings.SplitSeq(record[len(spfVersion):], " ") {
		if term == "" {
			continue
		}
		if err := spfTermSyntax(term, seen); err != "" {
			if len(term) > 60 {
				term = term[:60] + "…"
			}
			return &syntaxError{fmt.Sprintf("its term %q %s", term, err)}
		}
	}
	return nil
}

// spfTermSyntax says what is wrong with a term; "": nothing. Seen are the modifiers that may stand once only.
func spfTermSyntax(term string, seen map[string]bool) string {
	if name, value, is := modifier(term); is {
		switch name {
		case "redirect", "exp":
			if seen[name] {
				return "may stand in it once only (RFC 7208, 6)"
			}
			seen[name] = true
			return domainSpec(value)
		}
		_, err := macroString(value)
		return err
	}
	if strings.IndexByte("+-?~", term[0]) >= 0 {
		term = term[1:]
	}
	end := strings.IndexAny(term, ":/")
	if end < 0 {
		end = len(term)
	}
	return mechanism(strings.ToLower(term[:end]), term[end:])
}

// modifier takes NAME=VALUE apart.
func modifier(term string) (name, value string, is bool) {
	name, value, is = strings.Cut(term, "=")
	if !is || name == "" || !isAlpha(name[0]) {
		return "", "", false
	}
	for i := range len(name) {
		if c := name[i]; !isAlnum(c) && c != '-' && c != '_' && c != '.' {
			return "", "", false
		}
	}
	return strings.ToLower(name), value, true
}

// mechanism checks what follows the name of one.
func mechanism(name, rest string) string {
	switch name {
	case "all":
		if rest != "" {
			return "takes no argument"
		}
		return ""
	case "include", "exists", "ptr":
		switch {
		case rest == "" && name == "ptr":
			return ""
		case rest == "":
			return "lacks a domain"
		case rest[0] != ':':
			return "takes no network"
		}
		return domainSpec(rest[1:])
	case "a", "mx":
		domain, err := dualCIDR(rest)
		if err != "" || domain == "" {
			return err
		}
		return domainSpec(domain[1:])
	case "ip4":
		return network(rest, 32, false)
	case "ip6":
		return network(rest, 128, true)
	}
	return "is of a kind that nobody knows"
}

// dualCIDR takes /N, //N or /N//N off the end, and returns what stands before it. A slash may be part of a
// domain too: a length is what is a slash and digits.
func dualCIDR(s string) (rest, err string) {
	rest = s
	if cut, digits, has := lastLength(rest); has && strings.HasSuffix(cut, "/") {
		if err := length(digits, 128); err != "" {
			return "", err
		}
		rest = cut[:len(cut)-1]
	}
	if cut, digits, has := lastLength(rest); has {
		if err := length(digits, 32); err != "" {
			return "", err
		}
		rest = cut
	}
	if rest != "" && rest[0] != ':' {
		return "", "has a network that cannot be read"
	}
	return rest, ""
}

// lastLength takes a slash and the digits behind it off the end.
func lastLength(s string) (rest, digits string, has bool) {
	i := strings.LastIndexByte(s, '/')
	if i < 0 || i == len(s)-1 || strings.Trim(s[i+1:], "0123456789") != "" {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

// length checks the length of a network, without zeros before it.
func length(digits string, most int) string {
	n := 0
	for i := range len(digits) {
		n = min(n*10+int(digits[i]-'0'), 1000)
	}
	if digits == "" || strings.Trim(digits, "0123456789") != "" || n > most || digits[0] == '0' && len(digits) > 1 {
		return fmt.Sprintf("has a network length that is not 0 to %d", most)
	}
	return ""
}

// network checks :ADDRESS or :ADDRESS/LENGTH.
func network(s string, most int, v6 bool) string {
	addr, digits, has := strings.Cut(strings.TrimPrefix(s, ":"), "/")
	ip, err := netip.ParseAddr(addr)
	if err != nil || ip.Zone() != "" || ip.Is4() == v6 {
		return "has no address that fits it"
	}
	if !has {
		return ""
	}
	return length(digits, most)
}

// domainSpec checks a domain that may have macros in it: it ends in a macro, or in a dot and a label that
// a top-level domain could have.
func domainSpec(s string) string {
	if s == "" {
		return "lacks a domain"
	}
	macroLast, err := macroString(s)
	if err != "" || macroLast {
		return err
	}
	s = strings.TrimSuffix(s, ".")
	dot := strings.LastIndexByte(s, '.')
	if dot < 0 || !topLabel(s[dot+1:]) {
		return "has a domain that ends in no top-level domain (RFC 7208, 7.1)"
	}
	return ""
}

// topLabel: letters, digits and inner hyphens, and not digits only.
func topLabel(s string) bool {
	if s == "" || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	digits := true
	for i := range len(s) {
		if !isAlnum(s[i]) && s[i] != '-' {
			return false
		}
		digits = digits && '0' <= s[i] && s[i] <= '9'
	}
	return !digits
}

// macroString checks printable text with macros, and says whether a macro is the last of it.
func macroString(s string) (macroLast bool, err string) {
	for i := 0; i < len(s); i++ {
		c := s[i]
		macroLast = c == '%'
		if c <= ' ' || c > '~' {
			return false, "has a character that may not stand in it"
		}
		if c != '%' {
			continue
		}
		i++
		switch {
		case i == len(s):
			return false, "ends in a single %"
		case strings.IndexByte("%_-", s[i]) >= 0:
		case s[i] == '{':
			n := strings.IndexByte(s[i:], '}')
			if n < 0 || !macro(s[i+1:i+n]) {
				return false, "has a macro that cannot be read"
			}
			i += n
		default:
			return false, "has a % that begins no macro"
		}
	}
	return macroLast, ""
}

// macro checks what stands between the braces. The letters c, r and t are for explanations only (RFC
// 7208, 7.2).
func macro(s string) bool {
	if s == "" || strings.IndexByte("slodiphvSLODIPHV", s[0]) < 0 {
		return false
	}
	rest := strings.TrimLeft(s[1:], "0123456789")
	if digits := s[1 : len(s)-len(rest)]; digits != "" && strings.Trim(digits, "0") == "" || len(digits) > 3 {
		return false // no name has more labels
	}
	if rest != "" && (rest[0] == 'r' || rest[0] == 'R') {
		rest = rest[1:]
	}
	return strings.Trim(rest, ".-+,/_=") == ""
}

func isAlpha(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

func isAlnum(c byte) bool { return isAlpha(c) || '0' <= c && c <= '9' }
