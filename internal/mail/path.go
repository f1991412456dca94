package mail

import (
	"fmt"
	"strings"
)

// ReversePath is the argument of MAIL FROM: an address, or the null
// reverse-path <> of bounces and other automatic mail (RFC 5321, 4.5.5).
// The zero value is the null reverse-path.
type ReversePath struct{ Address }

// IsNull says whether this is <>.
func (p ReversePath) IsNull() bool { return p.IsZero() }

// ParsePath reads the path at the head of s ("<user@example.org> SIZE=10" gives
// the address and " SIZE=10"). A source route is dropped (RFC 5321, 4.1.1.3: "SHOULD
// ignore"); "<>" gives the zero Address; <postmaster> needs no domain (RFC 5321, 4.1.1.3),
// and any other mailbox without one is returned as it is, for the caller to judge.
// Without utf8 a path with octets above 127 is an error.
func ParsePath(s string, utf8 bool) (a Address, rest string, err error) {
	if s == "" || s[0] != '<' {
		return Address{}, s, fmt.Errorf("%w: a path is written <user@domain>", ErrAddress)
	}
	in := s[1:]
	if in != "" && in[0] == '>' {
		return Address{}, in[1:], nil
	}
	if in != "" && in[0] == '@' {
		colon := strings.IndexByte(in, ':')
		if colon < 0 || strings.IndexByte(in[:colon], '>') >= 0 {
			return Address{}, s, fmt.Errorf("%w: a source route has a colon before the address", ErrAddress)
		}
		for _, hop := range strings.Split(in[:colon], ",") {
			domain, ok := strings.CutPrefix(hop, "@")
			if !ok {
				return Address{}, s, fmt.Errorf("%w: a source route is written @one,@two:user@domain", ErrAddress)
			}
			if _, err := FoldDomain(domain); err != nil {
				return Address{}, s, fmt.Errorf("%w: %w", ErrAddress, err)
			}
		}
		in = in[colon+1:]
	}
	at, err := scanLocal(in)
	if err != nil {
		return Address{}, s, err
	}
	end := at
	if at < len(in) && in[at] == '@' {
		n := strings.IndexByte(in[at:], '>')
		if n < 0 {
			return Address{}, s, fmt.Errorf("%w: the closing > is missing", ErrAddress)
		}
		end = at + n
		if end == at+1 {
			return Address{}, s, fmt.Errorf("%w: the domain is empty", ErrAddress)
		}
	}
	if end >= len(in) || in[end] != '>' {
		return Address{}, s, fmt.Errorf("%w: the closing > is missing", ErrAddress)
	}
	if end+2 > MaxPath+MaxLocalPart { // generous: RFC 5321 says 256, long domains with long local parts exist
		return Address{}, s, fmt.Errorf("%w: the path is too long (RFC 5321, 4.5.3.1.3)", ErrAddress)
	}
	text := in[:end]
	if !utf8 && !isASCII(text) {
		return Address{}, s, fmt.Errorf("%w: it is not ASCII, and SMTPUTF8 was not asked for (RFC 6531, 3.4)", ErrAddress)
	}
	a, err = newAddress(text, at)
	if err != nil {
		return Address{}, s, err
	}
	return a, in[end+1:], nil
}

// IsPostmaster says whether the mailbox is the one that every domain must
// answer for (RFC 5321, 4.5.1), whatever its domain.
func (a Address) IsPostmaster() bool { return a.LocalKey() == "postmaster" }

// IsAbuse says the same of the abuse mailbox (RFC 2142, 4).
func (a Address) IsAbuse() bool { return a.LocalKey() == "abuse" }
