package dmarc

import (
	"bytes"
	"encoding/base64"
)

// decodeWords gives the text of all encoded words (RFC 2047, 2) in v, one behind the other. The character set is not
// looked at: those that people use write the ASCII of an address as ASCII. What does not decode is
// given as far as it does.
func decodeWords(v []byte) []byte {
	var text []byte
	for {
		_, rest, found := bytes.Cut(v, []byte("=?"))
		if !found {
			return text
		}
		v = rest
		_, rest, found = bytes.Cut(rest, []byte{'?'})
		if !found {
			return text
		}
		if len(rest) < 2 || rest[1] != '?' || rest[0]|0x20 != 'b' && rest[0]|0x20 != 'q' {
			continue
		}
		body, after, found := bytes.Cut(rest[2:], []byte("?="))
		if !found {
			return text // nor is there an end for those that follow
		}
		if rest[0]|0x20 == 'b' {
			text = appendBase64(text, body)
		} else {
			text = appendQ(text, body)
		}
		rest = after
		v = rest
	}
}

// appendBase64 decodes without minding padding, as lenient readers do.
func appendBase64(text, body []byte) []byte {
	body = bytes.TrimRight(body, "= ")
	b := make([]byte, base64.RawStdEncoding.DecodedLen(len(body)))
	n, _ := base64.RawStdEncoding.Decode(b, body)
	return append(text, b[:n]...)
}

// appendQ decodes the Q encoding (RFC 2047, 4.2).
func appendQ(text, body []byte) []byte {
	for i := 0; i < len(body); i++ {
		c := body[i]
		if c == '_' {
			c = ' '
		} else if c == '=' && i+2 < len(body) {
			hi, ok1 := hexDigit(body[i+1])
			lo, ok2 := hexDigit(body[i+2])
			if ok1 && ok2 {
				c = hi<<4 | lo
				i += 2
			}
		}
		text = append(text, c)
	}
	return text
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10, true
	}
	return 0, false
}
