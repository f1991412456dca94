package book

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"unicode/utf16"
	"unicode/utf8"
)

// decode takes the byte order mark off, and makes UTF-8 of UTF-16.
func decode(in io.Reader) (source, error) {
	text := bufio.NewReaderSize(in, sample)
	head, err := text.Peek(4)
	if err != nil && err != io.EOF {
		return nil, err
	}
	switch {
	case len(head) == 0:
		return nil, errEmpty
	case bytes.HasPrefix(head, []byte("\xef\xbb\xbf")):
		_, err = text.Discard(3)
		return text, err
	case bytes.HasPrefix(head, []byte("\xff\xfe")):
		_, err = text.Discard(2)
		return bufio.NewReaderSize(&wide{in: text, order: binary.LittleEndian}, sample), err
	case bytes.HasPrefix(head, []byte("\xfe\xff")):
		_, err = text.Discard(2)
		return bufio.NewReaderSize(&wide{in: text, order: binary.BigEndian}, sample), err
	case bytes.HasPrefix(head, []byte("PK\x03\x04")):
		return nil, errors.New("this is a spreadsheet or another zip file; save it as CSV")
	case bytes.HasPrefix(head, []byte("\x1f\x8b")):
		return nil, errors.New("this is compressed; unpack it first, for example: gunzip -c FILE | backstop directory import -")
	}
	if head, err = text.Peek(sample); err != nil && err != io.EOF {
		return nil, err
	}
	if bytes.IndexByte(head, 0) >= 0 {
		return nil, errors.New("this is no text, or UTF-16 without a byte order mark; save it as UTF-8")
	}
	return text, nil
}

// wide reads UTF-16 (RFC 2781) as UTF-8. What stands alone of a pair becomes U+FFFD.
type wide struct {
	in    *bufio.Reader
	order binary.ByteOrder
	rest  []byte // made, and not fetched yet
	high  rune   // the first half of a pair
	buf   [4096]byte
}

func (w *wide) Read(p []byte) (int, error) {
	for len(w.rest) == 0 {
		if err := w.more(); err != nil {
			return 0, err
		}
	}
	n := copy(p, w.rest)
	w.rest = w.rest[n:]
	return n, nil
}

// more makes UTF-8 of some units. The end of the text is io.EOF.
func (w *wide) more() error {
	out := w.buf[:0]
	var unit [2]byte
	for len(out) < len(w.buf)-8 {
		if _, err := io.ReadFull(w.in, unit[:]); err != nil {
			if err == io.ErrUnexpectedEOF {
				err = errors.New("half a character of UTF-16 stands at its end")
			}
			if err == io.EOF && w.high != 0 {
				out, w.high = utf8.AppendRune(out, utf8.RuneError), 0
			}
			if w.rest = out; len(out) > 0 && err == io.EOF {
				return nil
			}
			return err
		}
		c := rune(w.order.Uint16(unit[:]))
		if w.high != 0 {
			both := utf16.DecodeRune(w.high, c)
			out, w.high = utf8.AppendRune(out, both), 0
			if both != utf8.RuneError {
				continue
			}
		}
		if 0xd800 <= c && c < 0xdc00 {
			w.high = c
		} else {
			out = utf8.AppendRune(out, c)
		}
	}
	w.rest = out
	return nil
}
