package access

import (
	"errors"
	"fmt"
	"io"
	"log/slog"

	"backstop/internal/directory/book"
	"backstop/internal/directory/table"
	"backstop/internal/directory/watch"
	"backstop/internal/mail"
)

// content is what a source answers from. It is immutable.
type content struct {
	path    string
	keys    *table.Table // a tag, and an address, user@, @domain, domain or network; noted is the line
	actions []action     // by the value in keys
	// What there is at all, so that the rest need not be looked for.
	seen                            [tags]bool
	users, plus, brackets, networks bool

	warnings []*watch.Mistake
}

// tag is the first octet of a key in a table.
type tag byte

const (
	tagNone tag = iota
	tagTo
	tagFrom
	tagConnect
	tags
)

const (
	maxLine     = 2048 // octets
	maxMistakes = 10
	maxWarnings = 100
	maxActions  = 65000
)

// reader makes a content.
type reader struct {
	*content
	canonical func(string) string
	index     map[action]uint16
	mistakes  []error
	line      int

	warned             map[string]bool     // of what is warned once a file
	virtual, catchAlls []link              // lines of a virtusertable that name another address
	domains            map[string]struct{} // of the keys of a virtusertable
	logical            logical
}

func parser(kind Kind, path string, canonical func(string) string, log *slog.Logger) watch.Parser[content] {
	return func(in *watch.Text) (*content, int, error) {
		r := &reader{
			content: &content{path: path, keys: table.New(in.Lines)}, canonical: canonical,
			index: map[action]uint16{}, warned: map[string]bool{}, domains: map[string]struct{}{},
		}
		if err := r.all(kind, in, in.Lines); err != nil {
			return nil, 0, err
		}
		for _, w := range r.warnings {
			log.Warn("a line of recipients is probably not meant so", "file", w.File, "line", w.Line, "warning", w.Message)
		}
		return r.content, r.keys.Len(), nil
	}
}

func (r *reader) all(kind Kind, in io.Reader, lines int) error {
	one, end := r.accessLine, func() {}
	switch kind {
	case Virtusertable:
		one, end = r.virtualLine, r.resolve
	case Postmap:
		one, end = r.mapLine, r.endRecord
	}
	err := watch.EachLine(in, lines, func(n int, line []byte) bool {
		if len(line) > maxLine {
			r.line = n
			r.wrong("the line is longer than %d octets", maxLine)
		} else {
			one(n, string(line))
		}
		return len(r.mistakes) < maxMistakes
	})
	if err != nil {
		return fmt.Errorf("%s: %w", r.path, err)
	}
	if len(r.mistakes) < maxMistakes {
		end()
	}
	return errors.Join(r.mistakes...)
}

// split reads a line, or tells its mistake.
func (r *reader) split(line string) (key, value string, ok bool) {
	key, value, err := book.Pair(line)
	if err != nil {
		r.wrong("%v", err)
	}
	return key, value, key != ""
}

// put adds a key. The first of two lines holds, as with makemap; two that differ are
// warned of.
func (r *reader) put(t tag, key string, a action) (h table.Hash, fresh bool) {
	n, known := r.index[a]
	if !known {
		if len(r.actions) >= maxActions {
			r.wrong("there are more than %d different right-hand sides", maxActions)
			return h, false
		}
		n = uint16(len(r.actions))
		r.actions = append(r.actions, a)
		r.index[a] = n
	}
	r.seen[t] = true
	var buf [400]byte
	full := append(append(buf[:0], byte(t)), key...)
	h = r.keys.HashBytes(full)
	if !r.keys.Insert(h, n) {
		if before, _ := r.keys.Get(full); before != n {
			r.warn("%s stands in an earlier line with another value, and that one holds", shown(key))
		}
		return h, false
	}
	return h, true
}

// address reads user@domain, and gives its key under the domain's canonical name.
func (r *reader) address(text string) (key string, ok bool) {
	a, err := mail.ParseAddress(text)
	if err != nil {
		r.wrong("%v", err)
		return "", false
	}
	domain := a.Domain()
	if domain == "" {
		return a.LocalKey(), true
	}
	if name := r.canonical(domain); name != domain {
		return a.LocalKey() + "@" + name, true
	}
	return a.Key(), true
}

func (r *reader) domain(text string) (name string, ok bool) {
	name, err := mail.FoldDomain(text)
	if err != nil {
		r.wrong("%v", err)
		return "", false
	}
	return r.canonical(name), true
}

func (r *reader) wrong(format string, args ...any) {
	if len(r.mistakes) < maxMistakes {
		r.mistakes = append(r.mistakes, r.mistake(format, args...))
	}
}

func (r *reader) warn(format string, args ...any) {
	if len(r.warnings) < maxWarnings {
		r.warnings = append(r.warnings, r.mistake(format, args...))
	}
}

// warnOnce warns of the first line of a kind.
func (r *reader) warnOnce(kind, format string, args ...any) {
	if !r.warned[kind] {
		r.warned[kind] = true
		r.warn(format, args...)
	}
}

func (r *reader) mistake(format string, args ...any) *watch.Mistake {
	return &watch.Mistake{File: r.path, Line: r.line, Message: fmt.Sprintf(format, args...)}
}

// get looks a key up that is put together of its parts, without allocating.
func (c *content) get(t tag, a, b, d string) (action *action, found bool) {
	var buf [400]byte
	key := append(append(append(append(buf[:0], byte(t)), a...), b...), d...)
	n, found := c.keys.Get(key)
	if !found {
		return nil, false
	}
	return &c.actions[n], true
}
