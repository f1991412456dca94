package mail

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// Lengths in octets (RFC 5321, 4.5.3.1.1 to 4.5.3.1.3; RFC 1035, 2.3.4).
const (
	MaxLocalPart = 64
	MaxDomain    = 255
	MaxPath      = 256 // with the angle brackets
	maxLabel     = 63

	// MaxSRSLocalPart is that of an address which forwarders rewrote (IsSRS): it holds a whole address besides a
	// hash and a day. RFC 5321 knows no such exception, and mail from and to them is on its way all the same.
	MaxSRSLocalPart = 200
)

// ErrDomain is wrapped by every error of FoldDomain.
var ErrDomain = errors.New("not a domain name")

// folder turns U-labels into A-labels the way a name is looked up (UTS 46,
// non-transitional), so that "BÜCHER.example" and "xn--bcher-kva.example" are one domain.
var folder = idna.New(idna.MapForLookup(), idna.Transitional(false), idna.BidiRule(), idna.StrictDomainName(false))

// FoldDomain gives the one form under which a domain is compared, stored and
// looked up: lower-case A-labels, no trailing dot; an address literal
// ("[192.0.2.1]", "[IPv6:2001:db8::1]", RFC 5321, 4.1.3) is lower-cased and kept.
// A name that is folded already is returned without allocating.
func FoldDomain(s string) (string, error) {
	if s == "" {
		return "", fmt.Errorf("%w: it is empty", ErrDomain)
	}
	if s[0] == '[' {
		return foldLiteral(s)
	}
	folded := true
	for i := 0; i < len(s); i++ {
		if c := s[i]; c >= 0x80 {
			return foldIDN(s)
		} else if 'A' <= c && c <= 'Z' {
			folded = false
		}
	}
	s = strings.TrimSuffix(s, ".")
	if !folded {
		s = strings.ToLower(s)
	}
	return s, checkLabels(s)
}

func foldIDN(s string) (string, error) {
	a, err := folder.ToASCII(s)
	if err != nil || !utf8.ValidString(s) { // the library would read broken UTF-8 as U+FFFD
		return "", fmt.Errorf("%w: %q has a label that cannot be written in ASCII (RFC 5890)", ErrDomain, s)
	}
	a = strings.ToLower(strings.TrimSuffix(a, ".")) // only now: other scripts have full stops of their own
	return a, checkLabels(a)
}

// checkLabels accepts letters, digits, hyphen and, because the real world has
// them, underscore (RFC 5321, 4.1.2 allows only Let-dig and hyphen).
func checkLabels(s string) error {
	if len(s) > MaxDomain {
		return fmt.Errorf("%w: longer than %d octets", ErrDomain, MaxDomain)
	}
	label := 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '.':
			if label == 0 {
				return fmt.Errorf("%w: %q has an empty label", ErrDomain, s)
			}
			label = 0
			continue
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return fmt.Errorf("%w: %q may not contain %q", ErrDomain, s, rune(c))
		}
		if label++; label > maxLabel {
			return fmt.Errorf("%w: a label is longer than %d octets", ErrDomain, maxLabel)
		}
	}
	if label == 0 {
		return fmt.Errorf("%w: %q has an empty label", ErrDomain, s)
	}
	return nil
}

func foldLiteral(s string) (string, error) {
	if len(s) < 3 || s[len(s)-1] != ']' {
		return "", fmt.Errorf("%w: %q is an address literal without its end", ErrDomain, s)
	}
	s = strings.ToLower(s)
	in := s[1 : len(s)-1]
	v6, is6 := strings.CutPrefix(in, "ipv6:")
	addr, err := netip.ParseAddr(v6)
	if err != nil || addr.Zone() != "" || addr.Is4() == is6 {
		return "", fmt.Errorf("%w: %q is not an address literal (RFC 5321, 4.1.3)", ErrDomain, s)
	}
	return s, nil
}
