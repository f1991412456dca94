package synced

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
)

// spoolInMemory is how many octets a spool keeps in memory before it becomes a file.
const spoolInMemory = 16 << 20

// spool takes what is written, and gives it back once. It outlives nothing: a
// crash leaves a file that the next Open deletes.
type spool struct {
	pattern string // of the file's name, as os.CreateTemp has it; "": memory only
	buf     []byte
	file    *os.File
}

func (s *spool) Write(b []byte) (int, error) {
	if s.file == nil && (s.pattern == "" || len(s.buf)+len(b) <= spoolInMemory) {
		s.buf = append(s.buf, b...)
		return len(b), nil
	}
	if s.file == nil {
		f, err := os.CreateTemp(filepath.Split(s.pattern))
		if err != nil {
			return 0, err
		}
		s.file = f
		if _, err := f.Write(s.buf); err != nil {
			return 0, err
		}
		s.buf = nil
	}
	return s.file.Write(b)
}

// read returns all that was written.
func (s *spool) read() (io.Reader, error) {
	if s.file == nil {
		return bytes.NewReader(s.buf), nil
	}
	_, err := s.file.Seek(0, io.SeekStart)
	return s.file, err
}

func (s *spool) close() {
	s.buf = nil
	if s.file != nil {
		s.file.Close()
		os.Remove(s.file.Name())
		s.file = nil
	}
}
