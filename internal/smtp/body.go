package smtp

import (
	"bytes"
	"errors"
	"io"
	"time"
)

// BodyReader reads the octets of one message: dot-stuffing undone, the end
// taken off, every line ending in CRLF. It fails with io.ErrUnexpectedEOF when the client
// goes away, a *FaultError for broken lines, ErrTooBig, ErrSlow, ErrReset (a client that gave up
// between chunks), or the connection's error. After an error nothing more is read, ever.
type BodyReader struct {
	c       *Conn
	state   bodyState
	err     error // sticky; io.EOF at the proper end
	size    int64 // octets handed out
	line    int   // octets of the line so far
	started time.Time

	chunked bool  // BDAT
	left    int64 // octets of the chunk still to come
	last    bool  // this chunk is the last one
	after   []byte
	// farewell says what is to be said, and ends the connection, when the handler is done.
	farewell func()
	soft     bool // the line began behind a bare CR or LF: a lone dot on it is text
}

// bodyState is where in the data's grammar the next octet stands.
type bodyState uint8

const (
	atLineStart bodyState = iota
	inLine
	afterCR    // a CR that belongs to nothing yet
	afterDot   // a dot at the start of a line
	afterDotCR // and a CR behind it: an LF now ends the data
)

// maxOver is how much more than the limit is read and thrown away, so that the
// client gets to hear 552 instead of a reset connection.
const maxOver = 64 << 20

func newBody(c *Conn) *BodyReader { return &BodyReader{c: c, started: time.Now()} }

// Read implements io.Reader, but that p must hold two octets at least, since a
// line end is given out in one piece: a shorter one is io.ErrShortBuffer, and nothing is lost.
func (b *BodyReader) Read(p []byte) (int, error) {
	switch {
	case b.err != nil:
		return 0, b.err
	case len(p) < 2:
		return 0, io.ErrShortBuffer
	}
	n := 0
	for n == 0 && b.err == nil {
		if b.chunked && b.left == 0 {
			b.nextChunk()
			continue
		}
		if b.c.r == b.c.w {
			if err := b.fill(); err != nil {
				b.err = err
				break
			}
		}
		n = b.decode(p)
		b.size += int64(n)
		if limit := b.c.cfg.MaxMessageSize; limit > 0 && b.size > limit && !b.faulty() {
			b.err = b.skipOver()
			return 0, b.err
		}
	}
	if n > 0 {
		return n, nil
	}
	return 0, b.err
}

func (b *BodyReader) faulty() bool { return b.err != nil && !errors.Is(b.err, io.EOF) }

// Size is how many octets of the message were read so far.
func (b *BodyReader) Size() int64 { return b.size }

// fill reads from the connection, within the time for one read and for the message.
func (b *BodyReader) fill() error {
	t := &b.c.cfg.Timeouts
	spent := b.c.now.Sub(b.started)
	if spent > t.Message {
		return ErrSlow
	}
	if t.MinRate > 0 && spent > time.Minute && b.size < t.MinRate*int64((spent-time.Minute)/time.Second) {
		return ErrSlow
	}
	err := b.c.fill(min(t.Data, t.Message-spent+time.Second))
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// decode moves octets from the connection's buffer to p. It sets b.err at the end and at a fault.
func (b *BodyReader) decode(p []byte) int {
	c := b.c
	in := c.buf[c.r:c.w]
	if b.chunked {
		if int64(len(in)) > b.left {
			in = in[:b.left]
		}
		if c.binary {
			n := copy(p, in)
			c.r += n
			b.left -= int64(n)
			return n
		}
	}
	used, n := b.scan(in, p)
	c.r += used
	if b.chunked {
		b.left -= int64(used)
		if b.left == 0 && b.last && b.err == nil && b.state == afterCR {
			b.err = &FaultError{FaultBareCR} // nothing can follow to make it a line end
		}
	}
	return n
}

// scan is the grammar of the data: used octets of in became n octets of p.
func (b *BodyReader) scan(in, p []byte) (used, n int) {
	for used < len(in) && n+2 <= len(p) && b.err == nil {
		ch := in[used]
		switch b.state {
		case atLineStart:
			b.line = 0
			if ch == '.' && !b.chunked {
				b.state = afterDot
				used++
				continue
			}
			b.state = inLine
		case inLine:
			k := plainRun(in[used:])
			k = min(k, len(p)-n)
			if k > 0 {
				copy(p[n:], in[used:used+k])
				used, n = used+k, n+k
				if b.line += k; b.tooLong() {
					b.err = &FaultError{FaultLongLine}
				}
				continue
			}
			used++
			n += b.special(ch, p[n:])
		case afterCR:
			b.state, b.soft = atLineStart, ch != '\n'
			if ch == '\n' {
				used++
			} else if !b.c.bareOK {
				b.err = &FaultError{FaultBareCR}
				return used, n
			}
			n += copy(p[n:], "\r\n")
		case afterDot, afterDotCR:
			u, m := b.dotLine(ch, p[n:])
			used, n = used+u, n+m
		}
	}
	return used, n
}

// dotLine takes the octet behind a dot at the start of a line, or behind such a dot and a CR.
func (b *BodyReader) dotLine(ch byte, p []byte) (used, n int) {
	switch {
	case b.state == afterDotCR && ch == '\n' && !b.soft: // CRLF.CRLF, and nothing else, ends the data
		b.err = io.EOF
		return 1, 0
	case b.state == afterDotCR && b.c.bareOK:
		b.state = afterCR
		return 0, copy(p, ".")
	case b.state == afterDotCR:
		b.err = &FaultError{FaultBareCR}
	case ch == '\r':
		b.state = afterDotCR
		return 1, 0
	case ch == '\n' && !b.c.bareOK:
		b.err = &FaultError{FaultBareLF}
	case ch == '\n': // LF.LF never ends the data: the line is a dot
		b.state = inLine
		return 0, copy(p, ".")
	default: // the dot was stuffed (RFC 5321, 4.5.2)
		b.state = inLine
		if ch == '.' {
			p[0] = '.'
			b.line++
			return 1, 1
		}
	}
	return 0, 0
}

func (b *BodyReader) tooLong() bool {
	limit := b.c.cfg.MaxTextLine
	return limit > 0 && b.line+2 > limit
}

// special takes CR, LF or NUL inside a line.
func (b *BodyReader) special(ch byte, p []byte) int {
	switch ch {
	case '\r':
		b.state = afterCR
		return 0
	case '\n':
		if b.c.bareOK {
			b.state, b.soft = atLineStart, true
			return copy(p, "\r\n")
		}
		b.err = &FaultError{FaultBareLF}
	default:
		b.err = &FaultError{FaultNUL}
	}
	return 0
}

// plainRun is how many octets at the head of in are neither CR, LF nor NUL.
// Three passes of the vectorised search beat one loop over octets.
func plainRun(in []byte) int {
	if i := bytes.IndexByte(in, '\r'); i >= 0 {
		in = in[:i]
	}
	if i := bytes.IndexByte(in, '\n'); i >= 0 {
		in = in[:i]
	}
	if i := bytes.IndexByte(in, 0); i >= 0 {
		in = in[:i]
	}
	return len(in)
}

// skipOver throws the rest of an over-long message away and reports ErrTooBig.
func (b *BodyReader) skipOver() error {
	var scratch [4096]byte
	for thrown := int64(0); thrown < maxOver && b.err == nil; {
		if b.chunked && b.left == 0 {
			break // the client learns it at the next chunk's reply
		}
		if b.c.r == b.c.w {
			if b.fill() != nil {
				break
			}
		}
		thrown += int64(b.decode(scratch[:])) + 1
	}
	return ErrTooBig
}

// finish throws away what a handler left unread, and says whether the
// connection can go on: only when the data was read to its end.
func (b *BodyReader) finish() bool {
	if b.err == nil {
		if b.chunked {
			b.skipChunk()
		} else {
			b.drainData()
		}
	}
	return b.err == nil || errors.Is(b.err, io.EOF)
}

func (b *BodyReader) drainData() {
	var scratch [4096]byte
	for thrown := int64(0); b.err == nil; {
		n, _ := b.Read(scratch[:])
		if thrown += int64(n); thrown > maxOver && b.err == nil {
			b.err = ErrTooBig
		}
	}
}
