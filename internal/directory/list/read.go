package list

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
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

// reading is one look at the text.
type reading struct {
	set   *snapshot.Set // nil: it is not good
	stamp stamp
	sum   uint32 // CRC-32C of the text
	young bool   // it was read so soon after it was written that another change could have the same times
}

// read makes a set of the file, and says which content it read, also with an
// error. The error wraps a *Mistake for each bad line, up to ten.
func read(path string, o *Options) (reading, error) {
	f, err := os.Open(path)
	if err != nil {
		return reading{}, err
	}
	defer f.Close()
	now := o.Now()
	info, err := f.Stat()
	if err != nil {
		return reading{}, err
	}
	if info.IsDir() {
		return reading{}, fmt.Errorf("%s is a folder, not a file", path)
	}
	r := reading{stamp: stampOf(info), young: fresh(info, now)}
	if info.Size() == 0 { // a copy that failed, far more often than a wish
		return r, fmt.Errorf("%s: %w", path, errEmpty)
	}
	lines, err := countLines(f)
	if err != nil {
		return r, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return r, fmt.Errorf("%s must be a plain file: %w", path, err)
	}
	b, err := snapshot.NewBuilder(snapshot.Key{}, lines)
	if err != nil {
		return r, err
	}
	defer b.Discard()
	hash := crc32.New(castagnoli)
	text := reader{path: path, aliases: o.Aliases, to: b}
	err = text.all(io.TeeReader(f, hash), lines)
	after, statErr := f.Stat()
	switch {
	case statErr != nil:
		return r, statErr
	case r.stamp != stampOf(after):
		return r, fmt.Errorf("%s: %w", path, errChanged)
	case err != nil:
		return r, err
	}
	r.sum = hash.Sum32()
	r.set, err = b.Finish(origin(path, info, o), now)
	return r, err
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

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
	path     string
	aliases  map[string]string
	to       *snapshot.Builder
	domain   []byte // the last domain that was found good and is no alias
	mistakes []error
	line     int
}

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
		if len(r.mistakes) == maxMistakes || err == io.EOF {
			return errors.Join(r.mistakes...)
		}
	}
}

func (r *reader) one(line []byte) {
	line = bytes.TrimSuffix(line, []byte{'\r'})
	if isPlain(line, r.domain) {
		r.to.AddBytes(line)
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
	text = strings.TrimSpace(book.WithoutComment(text))
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
