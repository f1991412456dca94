package mail

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// ErrAddress is wrapped by every error of ParseAddress and ParsePath that is about the address itself.
var ErrAddress = errors.New("not a mail address")

// Address is one mailbox. It keeps the octets in which it came (quoted local
// parts stay quoted, case stays), and beside them the folded form under which
// it is compared. The zero value is no address.
type Address struct {
	text string // local-part "@" domain as received, without angle brackets or source route
	key  string // folded: see Key
	at   int32  // index of the "@" in text; len(text) for a mailbox without a domain
	kat  int32  // the same in key
}

// ParseAddress reads local-part@domain, or a bare local part, as people and
// files write it. UTF-8 is allowed (RFC 6531).
func ParseAddress(s string) (Address, error) {
	end, err := scanLocal(s)
	if err != nil {
		return Address{}, err
	}
	if end == len(s) {
		return newAddress(s, end)
	}
	if s[end] != '@' {
		return Address{}, fmt.Errorf("%w: %q may not stand in a local part unquoted", ErrAddress, rune(s[end]))
	}
	return newAddress(s, end)
}

// newAddress takes text whose local part ends at at and is known to be well formed.
func newAddress(text string, at int) (Address, error) {
	local := text[:at]
	if len(local) == 0 {
		return Address{}, fmt.Errorf("%w: the local part is empty", ErrAddress)
	}
	long := len(local) > MaxLocalPart
	if long && !isSRS(local) {
		return Address{}, fmt.Errorf("%w: the local part is longer than %d octets (RFC 5321, 4.5.3.1.1)", ErrAddress, MaxLocalPart)
	}
	if len(local) > MaxSRSLocalPart {
		return Address{}, fmt.Errorf("%w: the local part is longer than %d octets, which is too long for an SRS address too", ErrAddress, MaxSRSLocalPart)
	}
	domain := ""
	if at < len(text) {
		d, err := FoldDomain(text[at+1:])
		if err != nil {
			return Address{}, fmt.Errorf("%w: %w", ErrAddress, err)
		}
		domain = d
	}
	if path := at + 1 + max(len(text)-at-1, len(domain)); long && path+2 > MaxPath { // in either form: both travel
		return Address{}, fmt.Errorf("%w: the path is too long (RFC 5321, 4.5.3.1.3)", ErrAddress)
	}
	a := Address{text: text, at: int32(at)}
	folded := foldLocal(local)
	a.kat = int32(len(folded))
	switch {
	case at == len(text):
		a.key = folded
	case folded == local && domain == text[at+1:]:
		a.key = text // the common case: already folded, nothing allocated
	default:
		a.key = folded + "@" + domain
	}
	return a, nil
}

// scanLocal returns where the local part at the head of s ends.
func scanLocal(s string) (int, error) {
	if s != "" && s[0] == '"' {
		return scanQuoted(s)
	}
	i, dot := 0, true // dot: a dot may not stand here
	for i < len(s) && s[i] != '@' && s[i] != '>' && s[i] != ' ' {
		switch c := s[i]; {
		case c == '.' && dot:
			return 0, fmt.Errorf("%w: a local part may not begin, end or double a dot unless it is quoted (RFC 5321, 4.1.2)", ErrAddress)
		case c == '.':
			dot = true
		case isAtext(c) || c >= utf8.RuneSelf:
			dot = false
		default:
			return 0, fmt.Errorf("%w: %q may not stand in a local part unquoted (RFC 5321, 4.1.2)", ErrAddress, rune(c))
		}
		i++
	}
	if dot && i > 0 {
		return 0, fmt.Errorf("%w: a local part may not end with a dot unless it is quoted (RFC 5321, 4.1.2)", ErrAddress)
	}
	return i, checkUTF8(s[:i])
}

// checkUTF8 refuses what is no UTF-8, and the control characters U+0080 to
// U+009F, which some terminals obey.
func checkUTF8(local string) error {
	if isASCII(local) {
		return nil
	}
	if !utf8.ValidString(local) {
		return fmt.Errorf("%w: the local part is not UTF-8 (RFC 6531, 3.3)", ErrAddress)
	}
	if strings.ContainsFunc(local, unicode.IsControl) {
		return fmt.Errorf("%w: a control character in the local part (RFC 5198, 2)", ErrAddress)
	}
	return nil
}

func scanQuoted(s string) (int, error) {
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			if i == 1 {
				return 0, fmt.Errorf("%w: the quoted local part is empty", ErrAddress)
			}
			return i + 1, checkUTF8(s[:i])
		case c == '\\':
			i++
			if i == len(s) || s[i] < ' ' || s[i] >= 0x7f {
				return 0, fmt.Errorf("%w: a backslash in a quoted local part quotes nothing printable (RFC 5321, 4.1.2)", ErrAddress)
			}
		case c < ' ' || c == 0x7f:
			return 0, fmt.Errorf("%w: a control character in a quoted local part (RFC 5321, 4.1.2)", ErrAddress)
		}
	}
	return 0, fmt.Errorf("%w: the quoted local part has no closing quote", ErrAddress)
}

// isAtext: RFC 5322, 3.2.3.
func isAtext(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) >= 0
}

// foldLocal folds a well-formed local part: lower case, and without quotes
// where they are not needed ("alice"@ and alice@ are one mailbox, RFC 5321, 4.1.2).
func foldLocal(local string) string {
	if local[0] == '"' {
		local = unquote(local)
		if !isDotString(local) {
			local = quote(local)
		}
	}
	for i := 0; i < len(local); i++ {
		if c := local[i]; c >= utf8.RuneSelf || 'A' <= c && c <= 'Z' {
			return strings.Map(lower, local)
		}
	}
	return local
}

// lower folds one character, and never a foreign one into ASCII: the Kelvin sign
// is no "k" to the server that keeps the mailbox, so its no must not be remembered as one to "k".
func lower(r rune) rune {
	if l := unicode.ToLower(r); r < utf8.RuneSelf || l >= utf8.RuneSelf {
		return l
	}
	return r
}

func unquote(s string) string {
	in := s[1 : len(s)-1]
	if strings.IndexByte(in, '\\') < 0 {
		return in
	}
	b := make([]byte, 0, len(in))
	for i := 0; i < len(in); i++ {
		if in[i] == '\\' {
			i++
		}
		b = append(b, in[i])
	}
	return string(b)
}

func quote(s string) string {
	b := append(make([]byte, 0, len(s)+8), '"')
	for i := 0; i < len(s); i++ {
		if s[i] == '"' || s[i] == '\\' {
			b = append(b, '\\')
		}
		b = append(b, s[i])
	}
	return string(append(b, '"'))
}

func isDotString(s string) bool {
	dot := true
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '.' && dot:
			return false
		case c == '.':
			dot = true
		case isAtext(c) || c >= utf8.RuneSelf:
			dot = false
		default:
			return false
		}
	}
	return !dot
}

// IsZero says whether this is no address at all.
func (a Address) IsZero() bool { return a.text == "" }

// String is the address as it was received, without angle brackets.
func (a Address) String() string { return a.text }

// Local is the local part as it was received, quotes kept.
func (a Address) Local() string { return a.text[:a.at] }

// Domain is the folded domain (see FoldDomain), or "" where the address has none.
func (a Address) Domain() string {
	if int(a.kat) >= len(a.key) {
		return ""
	}
	return a.key[a.kat+1:]
}

// LocalKey is the local part as it is compared: lower case, quoted only where it must be.
func (a Address) LocalKey() string { return a.key[:a.kat] }

// Key is the whole address as it is compared, stored and looked up: LocalKey "@" Domain.
func (a Address) Key() string { return a.key }

// Routed says whether the local part names a way to another domain, as user%elsewhere,
// elsewhere!user or "user@elsewhere": old forms of relaying (RFC 1123, 5.2.16) that servers
// with a Sendmail in their family still obey. An "@" in quotes counts where a domain
// with a dot stands behind it: "a@b" alone is only an odd name.
func (a Address) Routed() bool {
	local := a.LocalKey()
	if strings.ContainsAny(local, "%!") {
		return true
	}
	at := strings.LastIndexByte(local, '@')
	if at < 0 {
		return false
	}
	domain := strings.TrimSuffix(local[at+1:], `"`)
	_, err := FoldDomain(domain)
	return err == nil && strings.Contains(domain, ".")
}

// Ways are the domains that the local part names as the next one on a way, folded: elsewhere of user%elsewhere,
// elsewhere!user and "user@elsewhere". An MTA with a Sendmail in its family goes that way where the address has no
// domain, or one of its own.
func (a Address) Ways() []string {
	local := strings.Trim(a.Local(), `"`)
	var ways []string
	add := func(name string) {
		if name, err := FoldDomain(strings.TrimSuffix(name, ".")); err == nil {
			ways = append(ways, name)
		}
	}
	if before, _, ok := strings.Cut(local, "!"); ok {
		add(before)
	}
	for _, sign := range []string{"%", "@"} {
		if i := strings.LastIndex(local, sign); i >= 0 {
			add(local[i+1:])
		}
	}
	return ways
}

// IsSRS says whether the local part has the form of an SRS address, of whomever: SRS0 or SRS1 in any case,
// and one of the three separators (package srs).
func (a Address) IsSRS() bool { return isSRS(a.Local()) }

func isSRS(local string) bool {
	s := strings.TrimPrefix(local, `"`)
	return len(s) >= 5 && strings.EqualFold(s[:3], "srs") && (s[3] == '0' || s[3] == '1') && strings.IndexByte("=+-", s[4]) >= 0
}

// NeedsUTF8 says whether the address can travel only under SMTPUTF8 (RFC 6531).
func (a Address) NeedsUTF8() bool { return !isASCII(a.text) }

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// WithDomain is the same mailbox in another domain (an alias, or the domain
// that <postmaster> stands for). The local part keeps its octets.
func (a Address) WithDomain(domain string) (Address, error) {
	return newAddress(a.text[:a.at]+"@"+domain, int(a.at))
}

// Base is the address without its subaddress: user for user+tag, when separator
// is "+" (RFC 5233). An address that has none, or nothing before it, is returned as it is.
func (a Address) Base(separator string) Address {
	if separator == "" || !utf8.ValidString(separator) || a.IsZero() || a.text[0] == '"' {
		return a
	}
	i := strings.Index(a.Local(), separator)
	if i <= 0 || a.text[i-1] == '.' {
		return a
	}
	b, err := newAddress(a.text[:i]+a.text[a.at:], i)
	if err != nil {
		return a
	}
	return b
}
