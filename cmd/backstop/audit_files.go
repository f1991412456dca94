package main

import (
	"bufio"
	"cmp"
	"compress/bzip2"
	"compress/gzip"
	"context"
	"errors"
	"hash/fnv"
	"io"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"backstop/internal/maillog"
)

// logFile is a log that is read once or, to see when it begins, twice.
type logFile struct {
	name    string
	info    os.FileInfo
	stdin   io.Reader // instead of a file
	begins  int64     // time of its first line
	written time.Time // of its last
	size    int64     // octets as it lies there, compressed or not
	done    *atomic.Int64
	ctx     context.Context
	opening uint64 // hash of its first lines, 0: unknown
	err     error

	file    *os.File
	unzip   *gzip.Reader
	counted int64
}

// logFiles are all that were named, and those of them that can be read, in the order of their content.
type logFiles struct {
	all   []*logFile
	files []*logFile
	total int64        // octets, 0: not known
	done  atomic.Int64 // of these read
	ctx   context.Context
}

// open looks at each. Files are ordered by the time of their first line, whatever their names are; standard input comes last.
func (logs *logFiles) open(names []string, stdin io.Reader) {
	known := true
	for _, name := range names {
		l := &logFile{name: name, done: &logs.done, written: time.Now(), ctx: logs.ctx}
		logs.all = append(logs.all, l)
		if name == "-" {
			if slices.ContainsFunc(logs.files, func(o *logFile) bool { return o.stdin != nil }) {
				l.err = errors.New("standard input can be read once")
				continue
			}
			l.name, l.stdin, l.begins = "standard input", stdin, 1<<62
			known = false
			logs.files = append(logs.files, l)
			continue
		}
		if l.err = l.look(logs.files); l.err == nil {
			logs.total += l.size
			logs.files = append(logs.files, l)
		}
	}
	if !known {
		logs.total = 0
	}
	slices.SortStableFunc(logs.files, func(a, b *logFile) int { return cmp.Compare(a.begins, b.begins) })
}

func (l *logFiles) names() []string {
	var all []string
	for _, f := range l.files {
		if f.err == nil {
			all = append(all, f.name)
		}
	}
	return all
}

func (l *logFiles) close() {
	for _, f := range l.files {
		f.shut()
	}
}

// look finds out what a file is, and when its first line was written.
func (l *logFile) look(others []*logFile) error {
	info, err := os.Stat(l.name)
	if err != nil {
		return reason(err)
	}
	if info.IsDir() {
		return hint("name the files in it", "this is a folder")
	}
	for _, o := range others {
		if o.info != nil && os.SameFile(o.info, info) {
			return hint("name each log once, or its messages are counted twice", "this is the same file as %s", o.name)
		}
	}
	l.info, l.size, l.written = info, info.Size(), info.ModTime()
	if !info.Mode().IsRegular() { // a pipe can be read once
		l.size = 0
		return nil
	}
	in, err := l.open()
	if err != nil {
		return err
	}
	defer l.shut()
	if l.unzip != nil && !l.unzip.ModTime.IsZero() {
		l.written = l.unzip.ModTime // of the log; the file's own is when it was packed
	}
	p := maillog.NewParser(time.Local, l.written)
	var e maillog.Event
	lines := 0
	sum := fnv.New64a()
	err = maillog.Scan(io.LimitReader(in, mostLooked), func(line []byte) bool {
		if p.Parse(line, &e); l.begins == 0 {
			l.begins = e.At
		}
		if lines < openingLines {
			sum.Write(line)
			sum.Write([]byte{'\n'})
		}
		lines++
		return lines < openingLines || l.begins == 0
	})
	l.done.Store(l.done.Load() - l.counted)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) { // what is cut short, reading tells
		return err
	}
	if l.begins == 0 {
		return nil
	}
	l.opening = sum.Sum64()
	for _, o := range others {
		if o.begins == l.begins && o.opening == l.opening {
			return hint("name each log once, or its messages are counted twice", "this begins as %s does, and is not read: it looks like a copy, packed or not", o.name)
		}
	}
	return nil
}

const (
	mostLooked   = 1 << 20 // octets of a file that are looked at beforehand, unpacked
	openingLines = 20      // by so many the same log is known under two names
)

// open begins to read it.
func (l *logFile) open() (io.Reader, error) {
	var in io.Reader
	if l.stdin != nil {
		in = l.stdin
	} else {
		f, err := os.Open(l.name)
		if err != nil {
			return nil, reason(err)
		}
		l.file, in = f, f
	}
	l.counted = 0
	in, err := l.unpack(bufio.NewReaderSize(&countingReader{in, l}, 128<<10))
	if err != nil {
		l.shut()
		return nil, err
	}
	return &stoppable{in, l.ctx}, nil
}

// unpack takes the compression off, if there is one.
func (l *logFile) unpack(buffered *bufio.Reader) (io.Reader, error) {
	magic, err := buffered.Peek(6)
	if err != nil && err != io.EOF {
		return nil, reason(err)
	}
	switch begins := string(magic); {
	case len(begins) > 2 && begins[:2] == "\x1f\x8b":
		z, err := gzip.NewReader(buffered)
		if err != nil {
			return nil, err
		}
		l.unzip = z
		return z, nil
	case len(begins) > 3 && begins[:3] == "BZh":
		return bzip2.NewReader(buffered), nil
	case len(begins) > 1 && (begins[:2] == "\xff\xfe" || begins[:2] == "\xfe\xff"):
		return nil, hint("iconv -f UTF-16 -t UTF-8 FILE | backstop audit -", "this is text in UTF-16, which is not read")
	case begins == "\xfd7zXZ\x00":
		return nil, hint("xz -dc FILE | backstop audit -", "this is compressed by xz, which is not read")
	case len(begins) > 4 && begins[:4] == "\x28\xb5\x2f\xfd":
		return nil, hint("zstd -dc FILE | backstop audit -", "this is compressed by zstd, which is not read")
	}
	return buffered, nil
}

func (l *logFile) shut() {
	if l.file != nil {
		l.file.Close() // it was read only
		l.file = nil
	}
}

// stoppable ends with its context: a small file may unpack to a huge one.
type stoppable struct {
	io.Reader
	ctx context.Context
}

func (s *stoppable) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.Reader.Read(p)
}

// countingReader counts what is read, for the progress bar.
type countingReader struct {
	io.Reader
	l *logFile
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.l.counted += int64(n)
	c.l.done.Add(int64(n))
	return n, err
}

// reason is what the system said, without the name of the file, which stands before it anyway.
func reason(err error) error {
	if p := (*os.PathError)(nil); errors.As(err, &p) {
		return p.Err
	}
	return err
}
