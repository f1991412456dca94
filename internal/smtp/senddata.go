package smtp

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strconv"
	"sync"
)

const (
	// readBuffer is how much of a body is taken at a time.
	readBuffer = 32 << 10
	// sendBuffer holds a message of up to 96 KB whole, so that it leaves in one
	// write, and behind that room for one more read of nothing but dots on lines of their own.
	sendBuffer = 96<<10 + 2*readBuffer + 8
)

var sendBuffers = sync.Pool{New: func() any { b := make([]byte, 0, sendBuffer); return &b }}
var readBuffers = sync.Pool{New: func() any { b := make([]byte, readBuffer); return &b }}

// stuffer writes a message as DATA has it (RFC 5321, 4.5.2).
type stuffer struct {
	out     []byte
	midLine bool
	last    byte
	before  byte // the octet before last
	some    bool // there was an octet at all
}

// add appends p with its leading dots doubled, also behind a bare LF: what takes
// that for a line end must not find the end of the data there.
func (s *stuffer) add(p []byte) {
	for len(p) > 0 {
		if !s.midLine && p[0] == '.' {
			s.out = append(s.out, '.')
		}
		n := bytes.IndexByte(p, '\n') + 1
		s.midLine = n == 0
		if s.midLine {
			n = len(p)
		}
		s.out = append(s.out, p[:n]...)
		if n > 1 {
			s.before = p[n-2]
		} else {
			s.before = s.last
		}
		s.last, s.some = p[n-1], true
		p = p[n:]
	}
}

// finish appends the end of the data, and a line end before it where there is none.
func (s *stuffer) finish() {
	switch {
	case !s.some || s.last == '\n' && s.before == '\r': // in order
	case s.last == '\r':
		s.out = append(s.out, '\n')
	default:
		s.out = append(s.out, '\r', '\n')
	}
	s.out = append(s.out, ".\r\n"...)
}

// SendData sends pre and body after a 354, octet for octet, and reads the final
// answer. When body fails with anything but io.EOF the connection is closed before the
// end of the message has left, and the error is a *BodyError. A *StepError whose Sent is
// set is a server that may have taken the message and did not say.
func (c *Client) SendData(ctx context.Context, pre []byte, body io.Reader) (Response, error) {
	defer c.guard(ctx)()
	buf := sendBuffers.Get().(*[]byte)
	rb := readBuffers.Get().(*[]byte)
	defer sendBuffers.Put(buf)
	defer readBuffers.Put(rb)
	s := stuffer{out: (*buf)[:0]}
	s.add(pre)
	for {
		n, err := body.Read(*rb)
		s.add((*rb)[:n])
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			c.nc.Close()
			return Response{}, &BodyError{err}
		}
		if len(s.out) > sendBuffer-2*readBuffer-8 {
			if err := c.writeBlock(s.out); err != nil {
				return Response{}, err
			}
			s.out = s.out[:0]
		}
	}
	s.finish()
	if err := c.writeBlock(s.out); err != nil {
		return Response{}, err
	}
	return c.final()
}

// writeBlock writes a part of a message. Where it fails the part's end did not leave. A
// server that answers before it has the message answers something else.
func (c *Client) writeBlock(p []byte) error {
	if err := c.inStep(StepMessage); err != nil {
		return err
	}
	c.arm(c.cfg.Timeouts.Block)
	if _, err := c.nc.Write(p); err != nil {
		return c.broken(StepMessage, err)
	}
	return nil
}

// final reads the answer to a message whose end was sent.
func (c *Client) final() (Response, error) {
	resp, err := c.read(StepMessage)
	var se *StepError
	if errors.As(err, &se) {
		se.Sent = true
	}
	return resp, err
}

// SendBDAT sends pre and body as chunks (RFC 3030), without 354 before them. A
// message that fits into one buffer is one chunk and one write. Errors are those of
// SendData; a negative answer to a chunk that was not the last ends the message there.
func (c *Client) SendBDAT(ctx context.Context, pre []byte, body io.Reader) (Response, error) {
	defer c.guard(ctx)()
	buf := sendBuffers.Get().(*[]byte)
	defer sendBuffers.Put(buf)
	const room = 32 // for the command before the chunk
	b := append((*buf)[:0], make([]byte, room)...)
	b = append(b, pre...)
	for {
		whole := false
		for !whole && cap(b)-len(b) >= 2 { // a BodyReader wants room for a line end
			n, err := body.Read(b[len(b):cap(b)])
			b = b[:len(b)+n]
			if errors.Is(err, io.EOF) {
				whole = true
			} else if err != nil {
				c.nc.Close()
				return Response{}, &BodyError{err}
			}
		}
		var head [room]byte
		command := strconv.AppendInt(append(head[:0], "BDAT "...), int64(len(b)-room), 10)
		if whole {
			command = append(command, " LAST"...)
		}
		command = append(command, '\r', '\n')
		start := room - len(command)
		copy(b[start:room], command)
		if err := c.writeBlock(b[start:]); err != nil {
			return Response{}, err
		}
		if whole {
			return c.final()
		}
		resp, err := c.read(StepMessage)
		if err != nil || resp.Class() != 2 {
			return resp, err
		}
		b = b[:room]
	}
}
