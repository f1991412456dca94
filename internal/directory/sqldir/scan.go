package sqldir

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// mark is where a placeholder stands in the query.
type mark struct {
	from, to int
	part     part
	plain    bool // a question mark, which may be an operator
}

// scanner reads a query as far as is needed to tell text of the statement from text in
// quotes and comments. If it is mistaken a statement comes out that the database
// refuses: never one that says something else, since nothing is put into it but parameters.
type scanner struct {
	q     string
	d     dialect
	i     int
	verb  string // the first word, or character
	end   int    // of the statement: its semicolon; -1: none
	marks []mark

	depth  int  // brackets that are open
	listed bool // the columns of the first SELECT have been passed
	commas int  // between these
}

func (s *scanner) run() error {
	switch {
	case strings.TrimSpace(s.q) == "":
		return errors.New("it is empty")
	case strings.IndexByte(s.q, 0) >= 0:
		return errors.New("it has a NUL in it")
	case !utf8.ValidString(s.q):
		return errors.New("it is not UTF-8")
	}
	for s.i < len(s.q) {
		if err := s.token(); err != nil {
			return err
		}
	}
	return nil
}

// at is the octet n after the present one, or 0.
func (s *scanner) at(n int) byte {
	if s.i+n < len(s.q) {
		return s.q[s.i+n]
	}
	return 0
}

func (s *scanner) token() error {
	c := s.at(0)
	switch {
	case c <= ' ':
		s.i++
		return nil
	case c == '-' && s.at(1) == '-' && (s.d != mysql || s.at(2) <= ' '), c == '#' && s.d == mysql:
		return s.comment(s.lineEnd())
	case c == '/' && s.at(1) == '*':
		return s.block()
	case c == ';':
		if s.end < 0 {
			s.end = s.i
		}
		s.i++
		return nil
	}
	if s.end >= 0 {
		return errors.New("it has more than one statement: write one, without ; in it")
	}
	switch {
	case isLetter(c):
		return s.word()
	case s.verb == "" && c != '(':
		_, n := utf8.DecodeRuneInString(s.q[s.i:])
		s.verb = s.q[s.i : s.i+n]
	}
	switch {
	case c == '\'' || c == '"':
		return s.quoted(c, s.d == mysql)
	case c == '`':
		return s.quoted(c, false)
	case c == '[' && s.d == sqlite:
		return s.quoted(']', false)
	case c == '$':
		return s.dollar()
	case c == '{':
		return s.brace()
	case c == '?':
		return s.questionMark()
	case (c == ':' || c == '@') && s.d == sqlite && isWord(s.at(1)):
		return fmt.Errorf("%c%s is a parameter that nobody fills: there are {address}, {user} and {domain}", c, s.rest(1))
	case isWord(c): // a number
		for isWord(s.at(0)) || s.at(0) == '.' {
			s.i++
		}
		return nil
	}
	switch c {
	case '(', '[':
		s.depth++
	case ')', ']':
		s.depth--
	case ',':
		if s.depth == 0 && !s.listed && strings.EqualFold(s.verb, "SELECT") {
			s.commas++
		}
	}
	s.i++
	return nil
}

// afterColumns are the words that may follow the columns of a SELECT.
var afterColumns = []string{"FROM", "WHERE", "GROUP", "HAVING", "WINDOW", "UNION", "INTERSECT", "EXCEPT", "ORDER", "LIMIT", "OFFSET", "FETCH", "FOR", "INTO"}

// word passes over a name. E before a quote makes PostgreSQL heed backslashes in it.
func (s *scanner) word() error {
	from := s.i
	for isWord(s.at(0)) || s.at(0) == '$' {
		s.i++
	}
	w := s.q[from:s.i]
	if s.verb == "" {
		s.verb = w
	}
	s.listed = s.listed || s.depth == 0 && slices.Contains(afterColumns, strings.ToUpper(w))
	if s.d == postgres && (w == "E" || w == "e") && s.at(0) == '\'' {
		return s.quoted('\'', true)
	}
	return nil
}

// quoted passes over what stands in quotes, which a doubled quote does not end.
func (s *scanner) quoted(end byte, backslash bool) error {
	from := s.i
	for s.i++; s.i < len(s.q); s.i++ {
		switch c := s.q[s.i]; {
		case c == '\\' && backslash:
			s.i++
		case c != end:
		case s.at(1) == end && end != ']':
			s.i++
		default:
			s.i++
			in := s.q[from+1 : s.i-1]
			if in == "?" || in == "$1" {
				return fmt.Errorf("%s stands inside quotes: drop the quotes, the database gets the address apart from the query", in)
			}
			return inside(in, "quotes: drop the quotes")
		}
	}
	return fmt.Errorf("%c is not closed", s.q[from])
}

// inside finds a placeholder where it would be taken for text.
func inside(text, what string) error {
	for _, p := range places {
		if strings.Contains(text, p) {
			return fmt.Errorf("%s stands inside %s, the database gets the address apart from the query", p, what)
		}
	}
	return nil
}

func (s *scanner) lineEnd() int {
	if n := strings.IndexAny(s.q[s.i:], "\n\r"); n >= 0 {
		return s.i + n
	}
	return len(s.q)
}

func (s *scanner) comment(end int) error {
	text := s.q[s.i:end]
	s.i = end
	return inside(text, "a comment: move it out")
}

// block passes over a comment in /* */, which PostgreSQL nests and MySQL may obey.
func (s *scanner) block() error {
	if s.d == mysql && (s.at(2) == '!' || s.at(2) == 'M' && s.at(3) == '!') {
		return errors.New("/*! is a comment to some servers and a command to others: write what is meant without it")
	}
	depth, i := 1, s.i+2
	for depth > 0 {
		closing := strings.Index(s.q[i:], "*/")
		if closing < 0 {
			return errors.New("/* is not closed")
		}
		opening := strings.Index(s.q[i:], "/*")
		if s.d == postgres && opening >= 0 && opening < closing {
			depth++
			i += opening + 2
			continue
		}
		depth--
		i += closing + 2
	}
	return s.comment(i)
}

// dollar reads $1, or what PostgreSQL quotes in $$ or $name$.
func (s *scanner) dollar() error {
	n := 1
	for isWord(s.at(n)) {
		n++
	}
	name := s.q[s.i+1 : s.i+n]
	digits := leadingDigits(name)
	switch {
	case digits == "1":
		s.add(2, wholeAddress, false)
	case digits != "":
		return fmt.Errorf("$%s: there is one parameter, $1, the address; its sides are {user} and {domain}", digits)
	case s.d == postgres && s.at(n) == '$':
		tag := s.q[s.i : s.i+n+1]
		from := s.i + len(tag)
		to := strings.Index(s.q[from:], tag)
		if to < 0 {
			return fmt.Errorf("%s is not closed", tag)
		}
		s.i = from + to + len(tag)
		return inside(s.q[from:from+to], "quotes: drop "+tag)
	case s.d == sqlite && name != "":
		return fmt.Errorf("$%s is a parameter that nobody fills: there are {address}, {user} and {domain}", name)
	default:
		s.i++
	}
	return nil
}

func (s *scanner) brace() error {
	n := 1
	for isWord(s.at(n)) {
		n++
	}
	if n == 1 || s.at(n) != '}' {
		s.i++
		return nil
	}
	name := s.q[s.i : s.i+n+1]
	for p, known := range places {
		if name == known {
			s.add(len(name), part(p), false)
			return nil
		}
	}
	return fmt.Errorf("%s is not known: there are {address}, {user} and {domain}", name)
}

// questionMark reads ? and ?1. PostgreSQL has operators that begin or end with one.
func (s *scanner) questionMark() error {
	if s.d == postgres && (s.at(1) == '|' || s.at(1) == '&' || s.at(1) == '?') {
		s.i += 2
		return nil
	}
	if s.d == postgres && s.i > 0 && s.q[s.i-1] == '@' {
		s.i++
		return nil
	}
	digits := leadingDigits(s.q[s.i+1:])
	if digits != "" && digits != "1" {
		return fmt.Errorf("?%s: there is one parameter, ?, the address; its sides are {user} and {domain}", digits)
	}
	s.add(1+len(digits), wholeAddress, true)
	return nil
}

func (s *scanner) add(length int, p part, plain bool) {
	s.marks = append(s.marks, mark{from: s.i, to: s.i + length, part: p, plain: plain})
	s.i += length
}

// rest is the name that begins n after the present octet.
func (s *scanner) rest(n int) string {
	from := s.i + n
	to := from
	for to < len(s.q) && isWord(s.q[to]) {
		to++
	}
	return s.q[from:to]
}

func leadingDigits(t string) string {
	n := 0
	for n < len(t) && '0' <= t[n] && t[n] <= '9' {
		n++
	}
	return t[:n]
}

func isLetter(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_' || c >= utf8.RuneSelf
}

func isWord(c byte) bool { return isLetter(c) || '0' <= c && c <= '9' }
