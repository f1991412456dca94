package postfix

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// clientTimeout is how long Postfix waits for an answer (smtpd_policy_service_timeout, socketmap_table(5)).
const clientTimeout = 100 * time.Second

// ErrHangUp says that the server closed the connection instead of answering.
var ErrHangUp = errors.New("the server hung up without an answer")

// client is what the clients share.
type client struct {
	nc net.Conn
	r  *bufio.Reader
	w  []byte
	// Timeout is how long an answer may take. 0: 100 s, as Postfix waits.
	Timeout time.Duration
}

func newClient(nc net.Conn) client { return client{nc: nc, r: bufio.NewReaderSize(nc, smallBuffer)} }

// send writes what stands in w.
func (c *client) send() error {
	t := c.Timeout
	if t <= 0 {
		t = clientTimeout
	}
	c.nc.SetDeadline(time.Now().Add(t))
	_, err := c.nc.Write(c.w)
	c.w = c.w[:0]
	return err
}

// Close closes the connection.
func (c *client) Close() error { return c.nc.Close() }

// lost puts the end of the connection into words.
func lost(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrHangUp
	}
	return err
}

// line reads a line without its end, of at most limit octets.
func (c *client) line(limit int) ([]byte, error) {
	var long []byte
	for {
		b, err := c.r.ReadSlice('\n')
		switch {
		case err == nil && long == nil:
			return b[:len(b)-1], nil
		case err != nil && err != bufio.ErrBufferFull:
			return nil, lost(err)
		case len(long)+len(b) > limit:
			return nil, fmt.Errorf("%w: a line of more than %d octets", ErrMalformed, limit)
		}
		long = append(long, b...)
		if err == nil {
			return long[:len(long)-1], nil
		}
	}
}

// Attr is one attribute of a policy request.
type Attr struct{ Name, Value string }

// PolicyClient asks as Postfix's smtpd does.
type PolicyClient struct{ client }

// NewPolicyClient makes a client of an open connection.
func NewPolicyClient(nc net.Conn) *PolicyClient { return &PolicyClient{newClient(nc)} }

// Ask sends a request, with request=smtpd_access_policy before attrs, and returns the action.
// The error is ErrHangUp where the server said nothing, and wraps ErrMalformed where it said nonsense.
func (c *PolicyClient) Ask(attrs ...Attr) (string, error) {
	if err := c.Send(attrs...); err != nil {
		return "", err
	}
	return c.Receive()
}

// Send sends a request and does not wait for the answer: further ones may follow.
func (c *PolicyClient) Send(attrs ...Attr) error {
	c.w = append(c.w[:0], "request=smtpd_access_policy\n"...)
	for _, a := range attrs {
		if a.Name == "" || strings.ContainsAny(a.Name, "=\r\n\x00") || strings.ContainsAny(a.Value, "\n\x00") {
			return fmt.Errorf("%w attribute %q=%q", ErrMalformed, a.Name, a.Value)
		}
		c.w = append(append(append(append(c.w, a.Name...), '='), a.Value...), '\n')
	}
	c.w = append(c.w, '\n')
	return c.send()
}

// Receive reads the answer to the oldest request that has none.
func (c *PolicyClient) Receive() (string, error) {
	b, err := c.line(maxSocketmapReply)
	if err != nil {
		return "", err
	}
	action, ok := bytes.CutPrefix(b, []byte("action="))
	if !ok {
		return "", malformedAnswer(b)
	}
	s := string(action)
	if b, err = c.line(maxSocketmapReply); err != nil {
		return "", err
	}
	if len(b) != 0 {
		return "", malformedAnswer(b)
	}
	return s, nil
}

// SocketmapClient asks as Postfix and Sendmail do.
type SocketmapClient struct{ client }

// NewSocketmapClient makes a client of an open connection.
func NewSocketmapClient(nc net.Conn) *SocketmapClient { return &SocketmapClient{newClient(nc)} }

// Lookup asks for a key. The error is ErrHangUp where the server said nothing, and wraps
// ErrMalformed where it said nonsense.
func (c *SocketmapClient) Lookup(name, key string) (MapAnswer, error) {
	if err := c.Send(name, key); err != nil {
		return MapAnswer{}, err
	}
	return c.Receive()
}

// Send sends a request and does not wait for the answer.
func (c *SocketmapClient) Send(name, key string) error {
	if name == "" || strings.ContainsRune(name, ' ') {
		return fmt.Errorf("%w map name %q", ErrMalformed, name)
	}
	c.w = strconv.AppendInt(c.w[:0], int64(len(name)+1+len(key)), 10)
	c.w = append(append(append(append(append(c.w, ':'), name...), ' '), key...), ',')
	return c.send()
}

// Receive reads the answer to the oldest request that has none.
func (c *SocketmapClient) Receive() (MapAnswer, error) {
	head, err := c.r.ReadSlice(':')
	if err != nil {
		return MapAnswer{}, lost(err)
	}
	size, err := strconv.ParseUint(string(head[:len(head)-1]), 10, 20)
	if err != nil || size > maxSocketmapReply || len(head) > 2 && head[0] == '0' {
		return MapAnswer{}, malformedAnswer(head)
	}
	b := make([]byte, size+1)
	if _, err := io.ReadFull(c.r, b); err != nil {
		return MapAnswer{}, lost(err)
	}
	word, text, ok := strings.Cut(string(b[:size]), " ")
	if b[size] != ',' || !ok {
		return MapAnswer{}, malformedAnswer(b)
	}
	for s, w := range mapStatusWords {
		if w == word {
			return MapAnswer{MapStatus(s), text}, nil
		}
	}
	return MapAnswer{}, malformedAnswer(b)
}

// TCPTableClient asks as Postfix does.
type TCPTableClient struct{ client }

// NewTCPTableClient makes a client of an open connection.
func NewTCPTableClient(nc net.Conn) *TCPTableClient { return &TCPTableClient{newClient(nc)} }

// Lookup asks for a key; the answer is OK, NotFound or Temp. The error is ErrHangUp where the server said
// nothing, and wraps ErrMalformed where it said nonsense.
func (c *TCPTableClient) Lookup(key string) (MapAnswer, error) {
	if err := c.Send(key); err != nil {
		return MapAnswer{}, err
	}
	return c.Receive()
}

// Send sends a request and does not wait for the answer.
func (c *TCPTableClient) Send(key string) error {
	c.w = append(appendHex(append(c.w[:0], "get "...), key, false), '\n')
	return c.send()
}

// Receive reads the answer to the oldest request that has none.
func (c *TCPTableClient) Receive() (MapAnswer, error) {
	b, err := c.line(maxTCPTableReply)
	if err != nil {
		return MapAnswer{}, err
	}
	var a MapAnswer
	code, rest, _ := bytes.Cut(b, []byte(" "))
	switch string(code) {
	case "200":
		a.Status = OK
	case "500":
		a.Status = NotFound
	case "400":
		a.Status = Temp
	default:
		return a, malformedAnswer(b)
	}
	if a.Status != OK {
		rest = bytes.ReplaceAll(rest, []byte(" "), []byte("%20"))
	}
	text, ok := unquoteHex(nil, rest)
	if !ok {
		return MapAnswer{}, malformedAnswer(b)
	}
	a.Text = string(text)
	return a, nil
}
