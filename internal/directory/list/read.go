package list

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"backstop/internal/directory/table"
	"backstop/internal/directory/watch"
	"backstop/internal/mail"
)

// Mistake is a line that is no recipient.
type Mistake = watch.Mistake

const (
	maxLine     = 1024 // octets; an address has 320
	maxMistakes = 10
)

// set is what a list answers from.
type set struct {
	*table.Table
	locals bool // some entries are local parts alone
}

type reader struct {
	path      string
	canonical func(string) string
	set       *set
	domain    []byte // the last domain that was found good and is its own canonical name
	mistakes  []error
	line      int
	batch     []table.Hash // of keys that are not in the set yet
}

const batchSize = 1024

func newReader(path string, canonical func(string) string, lines int) *reader {
	return &reader{path: path, canonical: canonical, set: &set{Table: table.New(lines)}}
}

// all reads the file, whose lines were counted as many.
func (r *reader) all(in io.Reader, lines int) error {
	err := watch.EachLine(in, lines, func(n int, line []byte) bool {
		r.line = n
		r.one(line)
		if len(r.batch) >= batchSize {
			r.flush()
		}
		return len(r.mistakes) < maxMistakes
	})
	r.flush()
	if err != nil {
		return fmt.Errorf("%s: %w", r.path, err)
	}
	return errors.Join(r.mistakes...)
}

func (r *reader) flush() {
	r.set.InsertAll(r.batch)
	r.batch = r.batch[:0]
}

func (r *reader) one(line []byte) {
	if isPlain(line, r.domain) {
		r.batch = append(r.batch, r.set.HashBytes(line))
		return
	}
	if len(line) > maxLine {
		r.wrong("the line is longer than %d octets", maxLine)
		return
	}
	text := strings.TrimSpace(withoutComment(string(line)))
	if text == "" {
		return
	}
	if text[0] == '@' {
		r.wrong("%q names a whole domain; the source that accepts everybody is called anybody", text)
		return
	}
	a, err := mail.ParseAddress(text)
	if err != nil {
		if word := strings.Fields(text); len(word) > 1 && text[0] != '"' {
			r.wrong("%q stands after the address; a list has one address a line and nothing else (a Postfix map is read with postmap:FILE, a Sendmail one with access:FILE)", word[1])
			return
		}
		r.wrong("%v", err)
		return
	}
	r.add(a, text)
}

func (r *reader) add(a mail.Address, text string) {
	domain := a.Domain()
	if domain == "" {
		r.set.locals = true
		r.batch = append(r.batch, r.set.Hash(a.LocalKey()))
		return
	}
	if name := r.canonical(domain); name != domain {
		r.batch = append(r.batch, r.set.Hash(a.LocalKey()+"@"+name))
		return
	}
	if strings.HasSuffix(text, domain) {
		r.domain = append(r.domain[:0], domain...)
	}
	r.batch = append(r.batch, r.set.Hash(a.Key()))
}

func (r *reader) wrong(format string, args ...any) {
	r.mistakes = append(r.mistakes, &Mistake{File: r.path, Line: r.line, Message: fmt.Sprintf(format, args...)})
}

// withoutComment cuts the line at a "#" that begins it or follows white space; one inside
// a word may stand in a local part (RFC 5322, 3.2.3), one inside quotes too.
func withoutComment(s string) string {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			if quoted {
				i++
			}
		case '"':
			quoted = !quoted
		case '#':
			if !quoted && (i == 0 || s[i-1] == ' ' || s[i-1] == '\t') {
				return s[:i]
			}
		}
	}
	return s
}

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
