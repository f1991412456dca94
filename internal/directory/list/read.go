package list

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"backstop/internal/mail"
)

// Mistake is a line that is no recipient.
type Mistake struct {
	File    string
	Line    int
	Message string
}

func (m *Mistake) Error() string { return fmt.Sprintf("%s:%d: %s", m.File, m.Line, m.Message) }

const (
	maxLine     = 1024 // octets; an address has 320
	maxMistakes = 10
)

var (
	errChanged = errors.New("it was changed while it was read")
	errEmpty   = errors.New("it is empty, so everybody would be refused; if that is meant, write a comment into it")
)

// stamp is what tells one content of a file from another without reading it.
type stamp struct {
	size, mtime int64
	dev, ino    uint64
	exists      bool
}

// read makes a set of the file, and says which content it read. The error wraps a
// *Mistake for each bad line, up to ten.
func read(path string, canonical func(string) string) (*set, stamp, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, stamp{}, err
	}
	defer f.Close()
	before, err := f.Stat()
	if err != nil {
		return nil, stamp{}, err
	}
	if before.IsDir() {
		return nil, stamp{}, fmt.Errorf("%s is a folder, not a file", path)
	}
	if before.Size() == 0 { // a copy that failed, far more often than a wish
		return nil, stampOf(before), fmt.Errorf("%s: %w", path, errEmpty)
	}
	lines, err := countLines(f)
	if err != nil {
		return nil, stampOf(before), err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, stampOf(before), fmt.Errorf("%s must be a plain file: %w", path, err)
	}
	r := reader{path: path, canonical: canonical, set: newSet(lines)}
	err = r.all(f, lines)
	after, statErr := f.Stat()
	switch {
	case statErr != nil:
		return nil, stampOf(before), statErr
	case stampOf(before) != stampOf(after):
		return nil, stampOf(before), fmt.Errorf("%s: %w", path, errChanged)
	case err != nil:
		return nil, stampOf(before), err
	}
	return r.set, stampOf(before), nil
}

func countLines(f io.Reader) (int, error) {
	buf := make([]byte, 256<<10)
	for n := 1; ; {
		k, err := f.Read(buf)
		n += bytes.Count(buf[:k], []byte{'\n'})
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return 0, err
		}
	}
}

type reader struct {
	path      string
	canonical func(string) string
	set       *set
	domain    []byte // the last domain that was found good and is its own canonical name
	mistakes  []error
	line      int
	batch     []hash // of keys that are not in the set yet
}

const batchSize = 1024

// all reads the file, whose lines were counted as many.
func (r *reader) all(f io.Reader, lines int) error {
	in := bufio.NewReaderSize(f, 256<<10)
	for {
		line, err := in.ReadSlice('\n')
		if err != nil && err != io.EOF && err != bufio.ErrBufferFull {
			return err
		}
		if len(line) > 0 {
			if r.line++; r.line > lines {
				return fmt.Errorf("%s: %w", r.path, errChanged)
			}
			r.one(bytes.TrimSuffix(line, []byte{'\n'}))
		}
		for err == bufio.ErrBufferFull { // one() has complained already
			_, err = in.ReadSlice('\n')
		}
		if len(r.batch) >= batchSize || err == io.EOF {
			r.set.insertAll(r.batch)
			r.batch = r.batch[:0]
		}
		if len(r.mistakes) == maxMistakes || err == io.EOF {
			return errors.Join(r.mistakes...)
		}
	}
}

func (r *reader) one(line []byte) {
	line = bytes.TrimSuffix(line, []byte{'\r'})
	if isPlain(line, r.domain) {
		r.batch = append(r.batch, r.set.hashBytes(line))
		return
	}
	if len(line) > maxLine {
		r.wrong("the line is longer than %d octets", maxLine)
		return
	}
	text := string(line)
	if r.line == 1 {
		text = strings.TrimPrefix(text, "\ufeff") // a byte order mark, as editors on Windows leave it
	}
	text = strings.TrimSpace(withoutComment(text))
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
		r.batch = append(r.batch, r.set.hash(a.LocalKey()))
		return
	}
	if name := r.canonical(domain); name != domain {
		r.batch = append(r.batch, r.set.hash(a.LocalKey()+"@"+name))
		return
	}
	if strings.HasSuffix(text, domain) {
		r.domain = append(r.domain[:0], domain...)
	}
	r.batch = append(r.batch, r.set.hash(a.Key()))
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
