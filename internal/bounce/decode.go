package bounce

import (
	"bytes"
	"encoding/base64"
)

// text returns the octets of the part with its transfer encoding undone. The label is not
// believed where the content contradicts it: gateways change the one and forget the other.
func (p part) text() []byte {
	e := bytes.TrimSpace(p.encoding)
	switch {
	case equalFold(e, "base64"):
		if d := fromBase64(p.body); d != nil {
			return d
		}
	case equalFold(e, "quoted-printable"):
		if isQuoted(p.body) {
			return fromQuoted(p.body)
		}
	}
	return p.body
}

// returned reads the part as a message, or the header of one.
func (p part) returned() Header {
	if h := headerIn(p.text()); !h.Empty() {
		return h
	}
	// Encoded and not labelled so, or labelled for nothing.
	if d := fromBase64(p.body); d != nil {
		return headerIn(d)
	}
	return headerIn(p.body)
}

// fromBase64 undoes base64 up to the first padding, or returns nil if it is something else: the first
// line that is not blank must consist of the alphabet only.
func fromBase64(b []byte) []byte {
	first := bytes.TrimLeft(b, " \t\r\n")
	line, _ := cutLine(first)
	if len(bytes.TrimSpace(line)) < 4 {
		return nil
	}
	for _, c := range bytes.TrimSpace(line) {
		if !inBase64(c) && c != '=' {
			return nil
		}
	}
	packed := make([]byte, 0, len(b))
	for _, c := range b {
		if c == '=' {
			break
		}
		if inBase64(c) {
			packed = append(packed, c)
		}
	}
	if len(packed)%4 == 1 {
		packed = packed[:len(packed)-1]
	}
	n, err := base64.RawStdEncoding.Decode(packed, packed)
	if err != nil {
		return nil
	}
	return packed[:n]
}

func inBase64(c byte) bool {
	return 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '+' || c == '/'
}

// isQuoted says that every = is one of an encoding (RFC 2045, 6.7). In a header that was only labelled so there is
// soon one that is not, as in a DKIM signature.
func isQuoted(b []byte) bool {
	for {
		i := bytes.IndexByte(b, '=')
		if i < 0 {
			return true
		}
		b = b[i+1:]
		for len(b) > 0 && (b[0] == ' ' || b[0] == '\t' || b[0] == '\r') {
			b = b[1:]
		}
		switch {
		case len(b) < 2: // cut off within
			return true
		case b[0] == '\n':
		case unhex(b[0]) < 0 || unhex(b[1]) < 0:
			return false
		}
	}
}

// fromQuoted undoes quoted-printable.
func fromQuoted(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		if b[i] != '=' {
			out = append(out, b[i])
			continue
		}
		if i+2 < len(b) && unhex(b[i+1]) >= 0 && unhex(b[i+2]) >= 0 {
			out = append(out, byte(unhex(b[i+1])<<4|unhex(b[i+2])))
			i += 2
			continue
		}
		j := i + 1
		for j < len(b) && (b[j] == ' ' || b[j] == '\t' || b[j] == '\r') {
			j++
		}
		if j < len(b) && b[j] == '\n' {
			i = j
		}
	}
	return out
}

func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	}
	return -1
}
