package postfix

import (
	"bytes"
	"fmt"
	"net"
	"unicode/utf8"
)

const (
	maxAttributes = 256  // of one policy request; Postfix 3.10 sends 31
	maxAction     = 1000 // octets: more than a line of SMTP can show (RFC 5321, 4.5.3.1.5)
)

// Request is one request of the policy delegation: attributes with their values. It and
// the octets that it gives live until the next one.
type Request struct {
	attrs []attr
}

type attr struct{ name, value []byte }

// Bytes is the value of an attribute, nil where it is not there. It must not be changed or kept.
func (r *Request) Bytes(name string) []byte {
	for i := range r.attrs {
		if string(r.attrs[i].name) == name {
			return r.attrs[i].value
		}
	}
	return nil
}

// Get is Bytes as a string that may be kept, "" where the attribute is not there.
func (r *Request) Get(name string) string { return string(r.Bytes(name)) }

// Is says whether an attribute has this value.
func (r *Request) Is(name, value string) bool { return string(r.Bytes(name)) == value }

// PolicyHandler answers the policy requests of one connection, one after another.
type PolicyHandler interface {
	// Policy gives an action of access(5), or hangs up where ok is false: Postfix then asks again
	// on a new connection, and in the end says 451 4.3.5 (smtpd_policy_service_default_action).
	Policy(r *Request) (action string, ok bool)
	Close()
}

// PolicyConn serves one connection of the policy delegation.
type PolicyConn struct {
	conn
	h   PolicyHandler
	req Request
}

// NewPolicyConn makes the server of one connection; cfg must not change.
func NewPolicyConn(nc net.Conn, cfg *Config, h PolicyHandler) *PolicyConn {
	c := &PolicyConn{h: h}
	c.conn = conn{nc: nc, cfg: cfg, take: c.takeRequest, panic: func() {}, close: h.Close}
	return c
}

func (c *PolicyConn) takeRequest(in []byte) taken {
	n, err := c.req.parse(in)
	if n > c.cfg.maxRequest() {
		err = tooLong(c.cfg.maxRequest())
	}
	if err != nil || n == 0 {
		return taken{err: err}
	}
	action, ok := c.h.Policy(&c.req)
	if !ok {
		return taken{err: errHangUp}
	}
	out := c.answers()
	*out = append(*out, "action="...)
	*out = appendText(*out, action, maxAction)
	*out = append(*out, "\n\n"...)
	return taken{n: n}
}

// parse reads the first request of in, and returns its length: 0 where it is not whole.
func (r *Request) parse(in []byte) (int, error) {
	r.attrs = r.attrs[:0]
	first := bytes.IndexByte(in, '\n')
	switch {
	case first < 0:
		return 0, nil
	case first == 0:
		return 0, fmt.Errorf("%w: an empty request", ErrMalformed)
	case in[first-1] == '\r':
		return 0, fmt.Errorf("%w: a line of the policy protocol ends with LF alone", ErrMalformed)
	}
	end := bytes.Index(in[first:], []byte("\n\n"))
	if end < 0 {
		return 0, nil
	}
	end += first
	for rest := in[:end]; rest != nil; {
		line := rest
		if i := bytes.IndexByte(rest, '\n'); i >= 0 {
			line, rest = rest[:i], rest[i+1:]
		} else {
			rest = nil
		}
		i := bytes.IndexByte(line, '=')
		if i <= 0 {
			return 0, fmt.Errorf("%w: %.40q is not NAME=VALUE", ErrMalformed, line)
		}
		if len(r.attrs) == maxAttributes {
			return 0, fmt.Errorf("%w: more than %d attributes", ErrMalformed, maxAttributes)
		}
		r.attrs = append(r.attrs, attr{line[:i:i], line[i+1:]})
	}
	if r.Bytes("request") == nil {
		return 0, fmt.Errorf("%w: a policy request begins with request=smtpd_access_policy", ErrMalformed)
	}
	return end + 2, nil
}

// appendText appends text as the rest of a line: a control character in it, above all a line
// end, would begin an answer of its own. It is cut at limit octets.
func appendText(b []byte, text string, limit int) []byte {
	if len(text) > limit {
		for limit > 0 && !utf8.RuneStart(text[limit]) {
			limit--
		}
		text = text[:limit]
	}
	start := len(b)
	b = append(b, text...)
	for i, c := range b[start:] {
		if c < ' ' || c == 0x7f {
			b[start+i] = ' '
		}
	}
	return b
}
