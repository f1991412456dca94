package dmarc

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
)

// Errors of FromDomain and FromAddress.
var (
	// ErrNone: there is no author's domain to ask (RFC 7489, 11.2: the result is "none").
	ErrNone = errors.New("the header names no author with a domain")
	// ErrAmbiguous: readers could disagree which domain the author's is, or the field is malformed.
	ErrAmbiguous = errors.New("the From field is malformed or ambiguous")
)

// FromDomain returns the folded domain of the header From. header is all fields of the message. Errors wrap ErrNone or
// ErrAmbiguous. Several mailboxes are fine while they are of one domain; several From fields are not
// (RFC 5322, 3.6).
func FromDomain(header []byte) (string, error) {
	value, err := fromValue(header)
	if err != nil {
		return "", err
	}
	return authorDomain(value)
}

// fromValue is the value of the one From field.
func fromValue(header []byte) ([]byte, error) {
	value, n := fromField(header)
	switch {
	case n == 0:
		return nil, fmt.Errorf("%w: there is no From field", ErrNone)
	case n > 1:
		return nil, fmt.Errorf("%w: there are several", ErrAmbiguous)
	}
	return value, nil
}

// fromField finds the value of the first From field, unfolded, and counts them. It counts whatever a reader could
// take for one: white space or other unprintable octets in or around the name, a first line
// that begins with white space, a carriage return that ends a line alone.
func fromField(header []byte) (value []byte, n int) {
	in, first := false, true
	for line := range lines(header) {
		if (line[0] == ' ' || line[0] == '\t') && !first {
			if in && n == 1 {
				value = append(value, line...)
			}
			continue
		}
		first = false
		name, rest, found := bytes.Cut(line, []byte{':'})
		if in = found && isFrom(name); in {
			if n++; n == 1 {
				value = append(value, rest...)
			}
		}
	}
	return value, n
}

// lines yields the lines that are not empty; LF, CRLF and CR end one.
func lines(b []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for len(b) > 0 {
			var whole []byte
			whole, b, _ = bytes.Cut(b, []byte{'\n'})
			for len(whole) > 0 {
				var line []byte
				line, whole, _ = bytes.Cut(whole, []byte{'\r'})
				if len(line) > 0 && !yield(line) {
					return
				}
			}
		}
	}
}

// isFrom compares the printable ASCII of a field's name.
func isFrom(name []byte) bool {
	const from = "from"
	n := 0
	for _, c := range name {
		if c <= ' ' || c >= 0x7f {
			continue
		}
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if n == len(from) || c != from[n] {
			return false
		}
		n++
	}
	return n == len(from)
}
