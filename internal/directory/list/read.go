package list

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"backstop/internal/directory/book"
	"backstop/internal/directory/snapshot"
	"backstop/internal/directory/watch"
	"backstop/internal/mail"
)

// Mistake is a line that is no recipient.
type Mistake = watch.Mistake

const (
	maxLine     = 1024 // octets; an address has 320
	maxMistakes = 10
)

// parser makes a set of the file. Its error wraps a *Mistake for each bad line, up to ten.
func parser(path string, o *Options) watch.Parser[snapshot.Set] {
	return func(in *watch.Text) (*snapshot.Set, int, error) {
		b, err := snapshot.NewBuilder(snapshot.Key{}, in.Lines)
		if err != nil {
			return nil, 0, err
		}
		defer b.Discard()
		text := reader{path: path, aliases: o.Aliases, to: b}
		if err := text.all(in, in.Lines); err != nil {
			return nil, 0, err
		}
		set, err := b.Finish(origin(path, in.Info, o), in.Begun)
		if err != nil {
			return nil, 0, err
		}
		return set, set.Len(), nil
	}
}

type reader struct {
	path     string
	aliases  map[string]string
	to       *snapshot.Builder
	domain   []byte // the last domain that was found good and is no alias
	mistakes []error
	line     int
}

// all reads the file, whose lines were counted as many.
func (r *reader) all(in io.Reader, lines int) error {
	err := watch.EachLine(in, lines, func(n int, line []byte) bool {
		r.line = n
		r.one(line)
		return len(r.mistakes) < maxMistakes
	})
	if err != nil {
		return fmt.Errorf("%s: %w", r.path, err)
	}
	return errors.Join(r.mistakes...)
}

func (r *reader) one(line []byte) {
	if isPlain(line, r.domain) {
		r.to.AddBytes(line)
		return
	}
	if len(line) > maxLine {
		r.wrong("the line is longer than %d octets", maxLine)
		return
	}
	text := strings.TrimSpace(book.WithoutComment(string(line)))
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
		r.to.Add(a.LocalKey())
		return
	}
	if name, alias := r.aliases[domain]; alias {
		r.to.Add(a.LocalKey() + "@" + name)
		return
	}
	if strings.HasSuffix(text, domain) {
		r.domain = append(r.domain[:0], domain...)
	}
	r.to.Add(a.Key())
}

func (r *reader) wrong(format string, args ...any) {
	r.mistakes = append(r.mistakes, &Mistake{File: r.path, Line: r.line, Message: fmt.Sprintf(format, args...)})
}
