package postfix

import (
	"bytes"
	"fmt"
	"net"
)

// maxTCPTableReply is how long an answer may be, its line end included (tcp_table(5), REPLY FORMAT).
const maxTCPTableReply = 4096

var (
	notGetAnswer = MapAnswer{Temp, "a request is the word get, a space and the key"}
	notHexAnswer = MapAnswer{Temp, "percent, blanks and what cannot be printed stand as %XX in a key"}
)

// TCPTableConn serves one connection of tcp_table(5).
type TCPTableConn struct {
	conn
	h    MapHandler
	name string
	key  []byte
}

// NewTCPTableConn makes the server of one connection, whose protocol names no map: the handler is
// asked for mapName. cfg must not change.
func NewTCPTableConn(nc net.Conn, cfg *Config, h MapHandler, mapName string) *TCPTableConn {
	c := &TCPTableConn{h: h, name: mapName}
	c.conn = conn{nc: nc, cfg: cfg, take: c.takeRequest, close: h.Close}
	c.panic = func() { c.answer(internalAnswer) }
	return c
}

func (c *TCPTableConn) takeRequest(in []byte) taken {
	end := bytes.IndexByte(in, '\n')
	if end > c.cfg.maxRequest() || end < 0 && len(in) > c.cfg.maxRequest() {
		return taken{err: tooLong(c.cfg.maxRequest())}
	}
	if end < 0 {
		return taken{}
	}
	key, ok := bytes.CutPrefix(in[:end], []byte("get "))
	if !ok || len(key) == 0 {
		c.answer(notGetAnswer)
		return taken{n: end + 1}
	}
	if c.key, ok = unquoteHex(c.key[:0], key); ok {
		c.answer(c.h.Lookup(c.name, string(c.key)))
	} else {
		c.answer(notHexAnswer)
	}
	if cap(c.key) > smallBuffer {
		c.key = nil
	}
	return taken{n: end + 1}
}

func (c *TCPTableConn) answer(a MapAnswer) {
	out := c.answers()
	*out = appendTCPTableReply(*out, a)
}

// appendTCPTableReply appends an answer as a line. The protocol knows no lasting failure: 500 says
// that there is nothing, so all failures are 400.
func appendTCPTableReply(b []byte, a MapAnswer) []byte {
	start := len(b)
	switch a.Status {
	case OK:
		b = appendHex(append(b, "200 "...), a.Text, false)
		if len(b)-start >= maxTCPTableReply {
			return appendTCPTableReply(b[:start], tooLongAnswer)
		}
	case NotFound:
		b = appendHex(append(b, "500 "...), a.Text, true)
	default:
		b = appendHex(append(b, "400 "...), a.Text, true)
	}
	if len(b)-start >= maxTCPTableReply {
		b = b[:start+maxTCPTableReply-1]
		for _, n := range []int{1, 2} { // not in the middle of %XX
			if b[len(b)-n] == '%' {
				b = b[:len(b)-n]
				break
			}
		}
	}
	return append(b, '\n')
}

const hexDigits = "0123456789ABCDEF"

// appendHex writes what may not stand as it is as %XX (tcp_table(5), ENCODING). In texts for people blanks may stand.
func appendHex(b []byte, s string, blanks bool) []byte {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c > ' ' && c < 0x7f && c != '%', c == ' ' && blanks:
			b = append(b, c)
		default:
			b = append(b, '%', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return b
}

// unquoteHex undoes appendHex. It refuses a broken %XX and what had to be written so, but for
// octets above ASCII, which old clients send as they are.
func unquoteHex(b, s []byte) ([]byte, bool) {
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c <= ' ' || c == 0x7f:
			return b, false
		case c == '%':
			if i+2 >= len(s) {
				return b, false
			}
			hi, lo := hexValue(s[i+1]), hexValue(s[i+2])
			if hi < 0 || lo < 0 {
				return b, false
			}
			c = byte(hi<<4 | lo)
			i += 2
		}
		b = append(b, c)
	}
	return b, true
}

func hexValue(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

func malformedAnswer(b []byte) error { return fmt.Errorf("%w answer %.60q", ErrMalformed, b) }
