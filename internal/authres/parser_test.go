package authres_test

import (
	"errors"
	"fmt"
	"strings"
)

// parsed is a field as RFC 8601, 2.2 reads it.
type parsed struct {
	id      string
	results []result
}

type result struct {
	method, result string
	comments       []string
	properties     []string // "ptype.property=value"
}

func (r result) String() string {
	return r.method + "=" + r.result + " " + strings.Join(r.properties, " ")
}

// strict reads a whole field by the letter of RFC 8601, 2.2. It knows nothing of the package under test, and forgives nothing:
// a line of more than 998 octets, one of white space alone, an octet that is not printable ASCII.
type strict struct {
	s        string
	comments []string
}

func parse(field string) (p parsed, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
	}()
	body, ok := strings.CutSuffix(field, "\r\n")
	if !ok {
		return p, errors.New("no line end")
	}
	lines := strings.Split(body, "\r\n")
	for i, l := range lines {
		if i > 0 && !strings.HasPrefix(l, " ") || strings.TrimSpace(l) == "" || len(l) > 998 {
			return p, fmt.Errorf("line %d: %q", i+1, l)
		}
		for _, c := range []byte(l) {
			if c < ' ' || c >= 0x7f {
				return p, fmt.Errorf("octet %#x in line %d", c, i+1)
			}
		}
	}
	value, ok := strings.CutPrefix(strings.Join(lines, ""), "Authentication-Results:")
	if !ok {
		return p, errors.New("another name")
	}
	s := &strict{s: value}
	s.cfws()
	p.id = s.value()
	s.cfws()
	s.must(";")
	s.cfws()
	if s.s == "none" {
		return p, nil
	}
	for {
		p.results = append(p.results, s.resinfo())
		if s.s == "" {
			return p, nil
		}
		s.must(";")
	}
}

func (s *strict) resinfo() (r result) {
	s.cfws()
	s.comments = nil
	r.method = s.keyword()
	s.must("=")
	r.result = s.keyword()
	for s.cfws() {
		if s.s == "" || s.s[0] == ';' {
			break
		}
		name := s.keyword()
		s.must(".")
		name += "." + s.keyword()
		s.must("=")
		r.properties = append(r.properties, name+"="+s.value())
	}
	r.comments = s.comments
	return r
}

func (s *strict) must(c string) {
	rest, ok := strings.CutPrefix(s.s, c)
	if !ok {
		panic(fmt.Sprintf("want %q before %q", c, s.s))
	}
	s.s = rest
}

// cfws goes past white space and comments, and says whether there was any.
func (s *strict) cfws() bool {
	n := len(s.s)
	for s.s != "" {
		if s.s[0] == ' ' {
			s.s = s.s[1:]
			continue
		}
		if s.s[0] != '(' {
			break
		}
		end := strings.IndexAny(s.s[1:], `()\`) + 1 // ours have neither inner comments nor quoted pairs
		if end == 0 || s.s[end] != ')' {
			panic(fmt.Sprintf("a comment that is not plain: %q", s.s))
		}
		s.comments = append(s.comments, s.s[1:end])
		s.s = s.s[end+1:]
	}
	return len(s.s) < n
}

func (s *strict) span(what string, in func(c byte) bool) string {
	n := 0
	for n < len(s.s) && in(s.s[n]) {
		n++
	}
	if n == 0 {
		panic(fmt.Sprintf("no %s before %q", what, s.s))
	}
	word := s.s[:n]
	s.s = s.s[n:]
	return word
}

func letter(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' }

func (s *strict) keyword() string {
	return s.span("keyword", func(c byte) bool { return letter(c) || c == '-' })
}

// value is a token or quoted string of MIME (RFC 2045, 5.1).
func (s *strict) value() string {
	if !strings.HasPrefix(s.s, `"`) {
		return s.span("token", func(c byte) bool { return c > ' ' && !strings.ContainsRune(`()<>@,;:\"/[]?=`, rune(c)) })
	}
	end := strings.IndexAny(s.s[1:], `"\`) + 1
	if end == 0 || s.s[end] != '"' {
		panic(fmt.Sprintf("a quoted string that is not plain: %q", s.s))
	}
	v := s.s[1:end]
	s.s = s.s[end+1:]
	return v
}
