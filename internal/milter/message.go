package milter

import (
	"errors"
	"fmt"
	"io"
)

// Message is one message: its header fields as "Name:value" and CRLF, in their order, an empty line, and the body as the MTA sends it.
// A value has the blank behind its colon: the client's own where the MTA granted HeaderLeadSpace, else one that is put there.
type Message struct {
	c     *Conn
	out   []byte // what was read and not handed out; valid until the next packet
	after []byte // behind it
	field []byte // room for a header field
	kind  byte   // of the last part
	body  bool   // the header is over
	end   bool   // so is the body
	last  byte   // ABORT, QUIT or QUIT_NC, which ended it
	err   error  // what Read says when all is handed out
	fatal error  // what ends the connection
}

var emptyLine = []byte("\r\n")

// Read reads the message. It returns ErrAborted, wrapped, when the message will have no end.
func (m *Message) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(m.out) == 0 {
		if len(m.after) > 0 {
			m.out, m.after = m.after, nil
			continue
		}
		if m.err != nil {
			return 0, m.err
		}
		m.next(Continue)
	}
	n := copy(p, m.out)
	m.out = m.out[n:]
	return n, nil
}

// Progress tells the MTA that the work goes on, if all of the message was read: the protocol allows it nowhere else.
// The connection does so by itself every Config.Progress. An error says that the MTA is gone.
func (m *Message) Progress() error {
	if !m.end {
		return nil
	}
	return m.c.progress()
}

// next answers the last part and reads another.
func (m *Message) next(a Action) {
	m.out, m.after = nil, nil
	if err := m.c.answer(Response{Action: a}); err != nil {
		m.fail(err)
		return
	}
	command, data, err := m.c.in.next()
	if err != nil {
		m.fail(err)
		return
	}
	m.take(command, data)
}

func (m *Message) fail(err error) {
	m.fatal = err
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF // the connection's end is not the message's
	}
	m.err = fmt.Errorf("%w: %w", ErrAborted, err)
}

// take takes a part of the message, or what ends it.
func (m *Message) take(command byte, data []byte) {
	c := m.c
	m.kind = command
	switch command {
	case cmdMacro:
		if err := c.mac.set(data); err != nil {
			m.fail(err)
		}
	case cmdHeader:
		m.takeField(data)
		c.owed = !c.Does(NRHeader)
	case cmdEOH:
		if m.body {
			m.fail(broken("a second end of the header"))
			return
		}
		m.body, m.out = true, emptyLine
		c.owed = !c.Does(NREOH)
	case cmdBody, cmdEOB:
		m.out = data
		if !m.body {
			m.body, m.out, m.after = true, emptyLine, data
		}
		c.owed = command == cmdEOB || !c.Does(NRBody)
		if command == cmdEOB {
			m.end, m.err = true, io.EOF
			c.startProgress()
		}
	case cmdAbort, cmdQuit, cmdQuitNC:
		m.last, m.err = command, ErrAborted
		if command == cmdQuit {
			m.fatal = errQuit
		}
	default:
		m.fail(broken("%q within a message", command))
	}
}

func (m *Message) takeField(data []byte) {
	name, rest, err := takeString(data)
	if err != nil {
		m.fail(err)
		return
	}
	value, rest, err := takeString(rest)
	switch {
	case err != nil:
		m.fail(err)
	case len(rest) > 0:
		m.fail(broken("%d octets behind a header field", len(rest)))
	case len(name) == 0:
		m.fail(broken("a header field without a name"))
	case m.body:
		m.fail(broken("a header field behind the end of the header"))
	default:
		b := append(append(m.field[:0], name...), ':')
		if !m.c.Does(HeaderLeadSpace) {
			b = append(b, ' ')
		}
		for i, o := range value {
			if o == '\n' && (i == 0 || value[i-1] != '\r') {
				b = append(b, '\r')
			}
			b = append(b, o)
		}
		m.field = append(b, '\r', '\n')
		m.out = m.field
	}
}

// finish sends r when there is a packet to answer, and reads what the handler left.
func (m *Message) finish(r Response) error {
	c := m.c
	early := r.Action != Continue && (r.Action != Accept || r.Changes == nil)
	for m.err == nil && !(early && c.owed) {
		a := Continue
		if m.kind == cmdBody && c.owed && c.Does(Skip) {
			a = skip
		}
		m.next(a)
	}
	c.stopProgress()
	if m.fatal != nil {
		return m.fatal
	}
	if m.last != 0 {
		return nil
	}
	return c.final(r, m.end)
}
