package dkim

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"backstop/internal/evidence"
)

// fieldName is the name of the field, in lower case.
const fieldName = "dkim-signature"

// Algorithms by which a signature is made (RFC 8301, 3.1; RFC 8463, 3).
const (
	algRSA     = "rsa-sha256"
	algEd25519 = "ed25519-sha256"
)

// maxNames is how many fields h= may name. A signer who names each twice comes to a hundred.
const maxNames = 1000

const (
	// ahead is by how much the clock of a signer may be ahead: time zones are often wrong.
	ahead = 24 * time.Hour
	// late is by how much our own clocks may be.
	late = 10 * time.Minute
)

// signature is one DKIM-Signature field and what became of it.
type signature struct {
	evidence.Signature // Result: NotChecked, until it is decided

	raw        []byte // the field
	algorithm  string
	headers    string // h=
	identity   string // the domain of i=
	relaxed    [2]bool
	limit      int64 // l=
	at, until  int64 // t= and x=, in seconds since 1970; 0: absent
	bh, b      []byte
	bFrom, bTo int // where the value of b= stands in the field
	body       *bodyHash
	digest     [sha256.Size]byte // what b= signs
}

// Indexes of signature.relaxed.
const (
	ofHeader = iota
	ofBody
)

// decide sets the result; the first decision counts.
func (s *signature) decide(r evidence.Result, detail string, args ...any) {
	if s.Result == evidence.NotChecked {
		s.Result, s.Detail = r, fmt.Sprintf(detail, args...)
	}
}

// malformed is decide for what RFC 6376, 6.1.1 calls a permanent failure.
func (s *signature) malformed(detail string, args ...any) {
	s.decide(evidence.PermError, detail, args...)
}

// parseSignature reads a field (RFC 6376, 3.5 and 6.1.1). What cannot be read is decided already.
func parseSignature(f field) *signature {
	s := &signature{raw: f.raw, limit: whole}
	begin := len(f.name)
	for begin < len(f.raw) && f.raw[begin] != ':' {
		begin++
	}
	list, err := parseTags(string(f.raw[begin+1:]))
	if err != nil {
		s.malformed("the signature: %v", err)
		return s
	}
	s.parseNames(list)
	if v, ok := list.get("v"); !ok || v.value != "1" {
		s.malformed("v=%.20q: not a version that is known (RFC 6376, 3.5)", v.value)
	}
	for _, need := range [...]string{"a", "b", "bh", "d", "h", "s"} {
		if _, ok := list.get(need); !ok {
			s.malformed("no %s= (RFC 6376, 3.5)", need)
		}
	}
	s.parseIdentity(list)
	s.parseHow(list)
	s.parseNumbers(list)
	s.headers = list.value("h", "")
	if !lists(s.headers, "from") {
		s.malformed("h= lacks From (RFC 6376, 5.4)")
	}
	if strings.Count(s.headers, ":") >= maxNames {
		s.malformed("h= names more than %d fields", maxNames)
		s.headers = ""
	}
	if s.bh, err = decode(list.value("bh", "")); err != nil {
		s.malformed("bh=: %v", err)
	} else if len(s.bh) != sha256.Size {
		s.malformed("bh= is not a SHA-256 hash")
	}
	b, _ := list.get("b")
	if s.b, err = decode(b.value); err != nil {
		s.malformed("b=: %v", err)
	} else if len(s.b) == 0 {
		s.malformed("b= is empty")
	} else if len(s.b) > MaxRSA/8 {
		s.malformed("b= has %d octets, more than a key of %d bits makes", len(s.b), MaxRSA)
		s.b = nil
	}
	s.bFrom, s.bTo = begin+1+b.from, begin+1+b.to
	return s
}

// parseNames reads d= and s=.
func (s *signature) parseNames(list tags) {
	var err error
	if d, ok := list.get("d"); ok {
		if s.Domain, err = foldName(d.value); err != nil {
			s.Domain = ""
			s.malformed("d=%.60q is no domain", d.value)
		}
	}
	if sel, ok := list.get("s"); ok {
		if s.Selector, err = foldName(sel.value); err != nil {
			s.Selector = ""
			s.malformed("s=%.60q is no selector", sel.value)
		}
	}
	s.Domain, s.Selector = strings.Clone(s.Domain), strings.Clone(s.Selector) // so that the field itself is not kept
	if len(s.Selector)+len(between)+len(s.Domain) > maxName {
		s.malformed("s= and d= are too long together for a name in the DNS")
	}
}

// parseIdentity reads i=, which must be of d= or below it.
func (s *signature) parseIdentity(list tags) {
	s.identity = s.Domain
	i, ok := list.get("i")
	if !ok {
		return
	}
	domain, err := foldName(i.value[strings.LastIndexByte(i.value, '@')+1:])
	if err != nil || !strings.Contains(i.value, "@") {
		s.malformed("i=%.60q is no identity (RFC 6376, 3.5)", i.value)
	} else if !within(domain, s.Domain) {
		s.malformed("i=%.60q is not of d= (RFC 6376, 6.1.1)", i.value)
	}
	s.identity = strings.Clone(domain)
}

// within says whether a domain is the other one or below it.
func within(domain, of string) bool {
	rest, found := strings.CutSuffix(domain, of)
	return found && (rest == "" || rest[len(rest)-1] == '.')
}

// parseHow reads a=, c= and q=. What is well formed and not known cannot be judged, which is neutral.
func (s *signature) parseHow(list tags) {
	switch a := list.value("a", ""); {
	case strings.EqualFold(a, algRSA):
		s.algorithm = algRSA
	case strings.EqualFold(a, algEd25519):
		s.algorithm = algEd25519
	case strings.EqualFold(a, "rsa-sha1"):
		s.malformed("a=rsa-sha1 must not be believed (RFC 8301, 3.1)")
	default:
		s.decide(evidence.Neutral, "a=%.30q is not known", a)
	}
	head, body, _ := strings.Cut(list.value("c", "simple/simple"), "/")
	for i, c := range [...]string{head, body} {
		switch c = strings.Trim(c, fws); {
		case strings.EqualFold(c, "relaxed"):
			s.relaxed[i] = true
		case strings.EqualFold(c, "simple"), i == ofBody && c == "":
		default:
			s.decide(evidence.Neutral, "c=%.30q is not known", c)
		}
	}
	if q := list.value("q", "dns/txt"); !lists(q, "dns/txt") {
		s.decide(evidence.Neutral, "q=%.30q is not known", q)
	}
}

// parseNumbers reads l=, t= and x=.
func (s *signature) parseNumbers(list tags) {
	for _, number := range [...]struct {
		name string
		to   *int64
	}{{"l", &s.limit}, {"t", &s.at}, {"x", &s.until}} {
		n, ok := list.get(number.name)
		if !ok {
			continue
		}
		if strings.Trim(n.value, "0123456789") != "" || n.value == "" || len(n.value) > 76 {
			s.malformed("%s=%.30q is no number", number.name, n.value)
			continue
		}
		var err error
		if *number.to, err = strconv.ParseInt(n.value, 10, 64); err != nil {
			*number.to = 1<<63 - 1 // the longest that can be; no body is, and no time comes
		}
	}
	if s.at != 0 && s.until != 0 && s.until <= s.at {
		s.malformed("x= is not after t= (RFC 6376, 3.5)")
	}
}

// digestHeader computes what b= signs: the fields that h= names, then the signature's own with b= empty, without
// its CRLF (RFC 6376, 3.7).
func (s *signature) digestHeader(x *index) {
	sum := sha256.New()
	for raw := range x.selected(s.headers) {
		x.buf = appendField(x.buf[:0], raw, s.relaxed[ofHeader])
		sum.Write(x.buf)
	}
	own := slices.Concat(s.raw[:s.bFrom], s.raw[s.bTo:])
	x.buf = appendField(x.buf[:0], own, s.relaxed[ofHeader])
	sum.Write(x.buf[:len(x.buf)-2])
	sum.Sum(s.digest[:0])
}

// timely says whether t= lets the signature count now.
func (s *signature) timely(now time.Time) {
	if s.at > now.Add(ahead).Unix() {
		s.decide(evidence.Fail, "made in the future: t=%d", s.at)
	}
}

// unexpired is the same for x=.
func (s *signature) unexpired(now time.Time) {
	if s.until != 0 && s.until < now.Add(-late).Unix() {
		s.decide(evidence.Fail, "expired: x=%d", s.until)
	}
}
