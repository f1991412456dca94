package watch

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

var (
	// ErrChanged is wrapped when a file was changed while it was read.
	ErrChanged = errors.New("it was changed while it was read")
	// ErrEmpty is wrapped when a file has no octet at all.
	ErrEmpty = errors.New("it is empty, so everybody would be refused; if that is meant, write a comment into it")
)

// Parser makes a T of the file's text, and says how many entries that has. lines is
// how many lines the file has at most.
type Parser[T any] func(in io.Reader, lines int) (content *T, entries int, err error)

// Read reads the file once.
func Read[T any](path string, parse Parser[T]) (*T, error) {
	content, _, _, err := read(path, parse)
	return content, err
}

// stamp is what tells one content of a file from another without reading it.
type stamp struct {
	size, mtime int64
	dev, ino    uint64
	exists      bool
}

func read[T any](path string, parse Parser[T]) (*T, int, stamp, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, stamp{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, 0, stamp{}, err
	}
	before := stampOf(info)
	if info.IsDir() {
		return nil, 0, stamp{}, fmt.Errorf("%s is a folder, not a file", path)
	}
	if info.Size() == 0 { // a copy that failed, far more often than a wish
		return nil, 0, before, fmt.Errorf("%s: %w", path, ErrEmpty)
	}
	lines, err := CountLines(f)
	if err != nil {
		return nil, 0, before, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, 0, before, fmt.Errorf("%s must be a plain file: %w", path, err)
	}
	content, n, err := parse(f, lines)
	info, statErr := f.Stat()
	switch {
	case statErr != nil:
		return nil, 0, before, statErr
	case before != stampOf(info):
		return nil, 0, before, fmt.Errorf("%s: %w", path, ErrChanged)
	case err != nil:
		return nil, 0, before, err
	}
	return content, n, before, nil
}

// CountLines counts the line ends, and one more for a line without.
func CountLines(in io.Reader) (int, error) {
	buf := make([]byte, 256<<10)
	for n := 1; ; {
		k, err := in.Read(buf)
		n += bytes.Count(buf[:k], []byte{'\n'})
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return 0, err
		}
	}
}

// EachLine calls one for each line, without its end (LF or CR LF) and, in the first,
// without a byte order mark. The line is one's only until it returns. Of a line of more
// than 256 KiB it gets the beginning: bound the length. One stops the reading
// with false. More lines than were counted are ErrChanged.
func EachLine(in io.Reader, lines int, one func(number int, line []byte) bool) error {
	r := bufio.NewReaderSize(in, 256<<10)
	for n := 1; ; n++ {
		line, err := r.ReadSlice('\n')
		if err != nil && err != io.EOF && err != bufio.ErrBufferFull {
			return err
		}
		if len(line) == 0 {
			return nil
		}
		if n > lines {
			return ErrChanged
		}
		if n == 1 { // as editors on Windows leave it
			line = bytes.TrimPrefix(line, []byte("\ufeff"))
		}
		if !one(n, bytes.TrimSuffix(bytes.TrimSuffix(line, []byte{'\n'}), []byte{'\r'})) {
			return nil
		}
		for err == bufio.ErrBufferFull { // one has seen enough of it
			_, err = r.ReadSlice('\n')
		}
		if err == io.EOF {
			return nil
		}
	}
}

// Mistake is a line that is not understood, or about which something must be said.
type Mistake struct {
	File    string
	Line    int
	Message string
}

func (m *Mistake) Error() string { return fmt.Sprintf("%s:%d: %s", m.File, m.Line, m.Message) }

// target is the file behind the symbolic links on the way, "" where there is none.
func target(path string) string {
	t, err := filepath.EvalSymlinks(path)
	if err != nil {
		return ""
	}
	return t
}

func stampFile(path string) stamp {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{}
	}
	return stampOf(info)
}
