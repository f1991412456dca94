package postfix

import (
	"bytes"
	"fmt"
	"net"
	"strconv"
)

// maxSocketmapReply is how long an answer may be without its netstring (socketmap_table(5), PROTOCOL LIMITS).
const maxSocketmapReply = 100_000

// MapStatus is the kind of a map's answer. The zero value is Temp: who forgot to
// answer has not said that there is nothing.
type MapStatus uint8

const (
	Temp     MapStatus = iota // cannot be told now; Text says why
	OK                        // found; Text is what
	NotFound                  // there is none
	Timeout                   // whoever knows did not answer in time
	Perm                      // cannot be told and will not be, as long as nobody mends it
)

var mapStatusWords = [...]string{Temp: "TEMP", OK: "OK", NotFound: "NOTFOUND", Timeout: "TIMEOUT", Perm: "PERM"}

func (s MapStatus) String() string {
	if int(s) < len(mapStatusWords) {
		return mapStatusWords[s]
	}
	return mapStatusWords[Temp]
}

// MapAnswer is what a map says about a key.
type MapAnswer struct {
	Status MapStatus
	Text   string // the data of OK, a reason for people of the others
}

// MapHandler answers the look-ups of one connection, one after another.
type MapHandler interface {
	Lookup(name, key string) MapAnswer
	Close()
}

var (
	internalAnswer = MapAnswer{Temp, "internal error"}
	tooLongAnswer  = MapAnswer{Temp, "the answer is too long for the protocol"}
	noKeyAnswer    = MapAnswer{Perm, "a request is the name of a map, a space and the key"}
)

// SocketmapConn serves one connection of socketmap_table(5).
type SocketmapConn struct {
	conn
	h    MapHandler
	name string // of the last request: it is nearly always that of the next
}

// NewSocketmapConn makes the server of one connection; cfg must not change.
func NewSocketmapConn(nc net.Conn, cfg *Config, h MapHandler) *SocketmapConn {
	c := &SocketmapConn{h: h}
	c.conn = conn{nc: nc, cfg: cfg, take: c.takeRequest, close: h.Close}
	c.panic = func() { c.answer(internalAnswer) }
	return c
}

func (c *SocketmapConn) takeRequest(in []byte) taken {
	n, req, err := netstring(in, c.cfg.maxRequest())
	if err != nil || n == 0 || n > len(in) {
		return taken{need: n, err: err}
	}
	i := bytes.IndexByte(req, ' ')
	if i <= 0 { // the frame is whole, so the next request can be found
		c.answer(noKeyAnswer)
		return taken{n: n}
	}
	if string(req[:i]) != c.name {
		c.name = string(req[:i])
	}
	c.answer(c.h.Lookup(c.name, string(req[i+1:])))
	return taken{n: n}
}

func (c *SocketmapConn) answer(a MapAnswer) {
	out := c.answers()
	*out = appendSocketmapReply(*out, a)
}

// appendSocketmapReply appends an answer as a netstring.
func appendSocketmapReply(b []byte, a MapAnswer) []byte {
	word := a.Status.String()
	if len(word)+1+len(a.Text) > maxSocketmapReply {
		if a.Status == OK {
			a = tooLongAnswer
			word = a.Status.String()
		} else {
			a.Text = a.Text[:maxSocketmapReply-len(word)-1]
		}
	}
	b = append(strconv.AppendInt(b, int64(len(word)+1+len(a.Text)), 10), ':')
	b = append(append(b, word...), ' ')
	return append(append(b, a.Text...), ',')
}

// netstring reads the netstring at the head of in, and returns how many octets it has and what
// it holds: length 0 where that is not known yet, and nothing where it is longer than in.
func netstring(in []byte, limit int) (n int, payload []byte, err error) {
	size, i := 0, 0
	for ; i < len(in) && in[i] >= '0' && in[i] <= '9'; i++ {
		if i == 1 && size == 0 {
			return 0, nil, fmt.Errorf("%w: the length of a netstring begins with a zero", ErrMalformed)
		}
		if size = 10*size + int(in[i]-'0'); size > limit {
			return 0, nil, tooLong(limit)
		}
	}
	switch {
	case i == len(in):
		return 0, nil, nil
	case i == 0 || in[i] != ':':
		return 0, nil, fmt.Errorf("%w: %.20q is no netstring", ErrMalformed, in)
	}
	n = i + 1 + size + 1
	if n > len(in) {
		return n, nil, nil
	}
	if in[n-1] != ',' {
		return 0, nil, fmt.Errorf("%w: a netstring of %d octets does not end with a comma", ErrMalformed, size)
	}
	return n, in[i+1 : n-1], nil
}
