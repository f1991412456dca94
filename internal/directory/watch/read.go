package watch

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

var (
	// ErrChanged is wrapped when a file was changed while it was read.
	ErrChanged = errors.New("it was changed while it was read")
	// ErrEmpty is wrapped when a file has no octet at all.
	ErrEmpty = errors.New("it is empty, so everybody would be refused; if that is meant, write a comment into it")
)

// Text is a file that is read.
type Text struct {
	io.Reader
	Lines int         // at most
	Info  fs.FileInfo // from before it was read
	Begun time.Time   // when the reading began
}

// Parser makes a T of a file's text, and says how many entries that has.
type Parser[T any] func(in *Text) (content *T, entries int, err error)

// Read reads the file once.
func Read[T any](path string, parse Parser[T]) (*T, error) {
	r, err := read(path, parse, time.Now())
	return r.content, err
}

// reading is what came of reading a file.
type reading[T any] struct {
	content *T // nil: it is not good
	entries int
	begun   time.Time
	stamp   stamp
	sum     uint32 // CRC-32C of the text
	young   bool   // it was read so soon after it was written that another change could have the same times
}

// stamp is what tells one content of a file from another without reading it.
type stamp struct {
	size, mtime int64
	dev, ino    uint64
	exists      bool
}

// read reads the file, and says which content it read, also with an error.
func read[T any](path string, parse Parser[T], now time.Time) (reading[T], error) {
	r := reading[T]{begun: now}
	f, err := os.Open(path)
	if err != nil {
		return r, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return r, err
	}
	if info.IsDir() {
		return r, fmt.Errorf("%s is a folder, not a file", path)
	}
	r.stamp, r.young = stampOf(info), fresh(info, now)
	if info.Size() == 0 { // a copy that failed, far more often than a wish
		return r, fmt.Errorf("%s: %w", path, ErrEmpty)
	}
	lines, err := CountLines(f)
	if err != nil {
		return r, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return r, fmt.Errorf("%s must be a plain file: %w", path, err)
	}
	hash := crc32.New(castagnoli)
	content, n, err := parse(&Text{Reader: io.TeeReader(f, hash), Lines: lines, Info: info, Begun: now})
	after, statErr := f.Stat()
	switch {
	case statErr != nil:
		return r, statErr
	case r.stamp != stampOf(after):
		return r, fmt.Errorf("%s: %w", path, ErrChanged)
	case err != nil:
		return r, err
	}
	r.content, r.entries, r.sum = content, n, hash.Sum32()
	return r, nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// settled is how long after its last change a file can no longer be changed again at what its
// times call the same moment. File systems count in steps of up to two seconds (FAT).
const settled = 3 * time.Second

// fresh says whether the file is not settled yet. A clock that is behind the file's finds it fresh.
func fresh(info fs.FileInfo, now time.Time) bool {
	return now.UnixNano()-max(info.ModTime().UnixNano(), Changed(info)) < int64(settled)
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
