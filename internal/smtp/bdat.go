package smtp

import (
	"bytes"
	"errors"
	"io"

	"backstop/internal/mail"
)

var replyChunkOK = mail.MustReply(250, "2.0.0", "Chunk received")

// parseBDAT reads the argument of BDAT: size, and LAST (RFC 3030, 2).
func parseBDAT(arg []byte) (size int64, last, ok bool) {
	word, rest, _ := bytes.Cut(arg, []byte{' '})
	if len(word) == 0 || len(word) > 18 {
		return 0, false, false
	}
	for _, ch := range word {
		if ch < '0' || ch > '9' {
			return 0, false, false
		}
		size = size*10 + int64(ch-'0')
	}
	rest = bytes.TrimSpace(rest)
	if len(rest) == 0 {
		return size, false, true
	}
	return size, true, bytes.EqualFold(rest, []byte("LAST"))
}

// chunk runs BDAT outside a message: the first chunk of one, or one that cannot be taken.
func (c *Conn) chunk(arg []byte) bool {
	size, last, ok := parseBDAT(arg)
	if !ok {
		// How many octets follow is not known, and they must not become commands.
		c.last(replyBadBDAT)
		return false
	}
	body := newBody(c)
	body.chunked, body.left, body.last = true, size, last
	var refusal mail.Reply
	switch {
	case !c.mail:
		refusal = replyMailFirst
	case !c.bdatDead.IsZero():
		// Not 503: a client that goes by the last answer would take a temporary refusal for a permanent one.
		refusal = c.bdatDead
	case c.rcpts == 0:
		refusal = replyNoRecipients
	default:
		refusal = c.h.Data()
	}
	if !refusal.IsZero() {
		return c.refuseChunk(body, refusal)
	}
	c.bdat = true
	return c.message(body)
}

// refuseChunk reads a chunk away and refuses it; so are the ones that follow, until RSET.
func (c *Conn) refuseChunk(b *BodyReader, r mail.Reply) bool {
	c.enterData()
	b.skipChunk()
	c.leaveData()
	if b.err != nil {
		if b.err == ErrTooBig {
			c.last(replyTooBig)
		}
		return false
	}
	if c.mail {
		c.bdat, c.bdatDead = true, r
	}
	c.reply(r)
	return true
}

// skipChunk throws the rest of the current chunk away without looking at it.
func (b *BodyReader) skipChunk() {
	if b.left > maxOver {
		b.err = ErrTooBig
		return
	}
	for b.left > 0 {
		if b.c.r == b.c.w {
			if err := b.fill(); err != nil {
				b.err = err
				return
			}
		}
		n := min(int64(b.c.w-b.c.r), b.left)
		b.c.r += int(n)
		b.left -= n
	}
}

// nextChunk acknowledges the chunk that was read and reads commands up to the next one.
func (b *BodyReader) nextChunk() {
	if b.last {
		b.err = io.EOF
		if b.state == afterCR { // "BDAT 0 LAST" behind a chunk that ended in a CR
			b.err = &FaultError{FaultBareCR}
		}
		return
	}
	c := b.c
	c.reply(replyChunkOK)
	for b.err == nil {
		line, err := c.line(c.cfg.Timeouts.Command)
		switch {
		case errors.Is(err, errLongLine):
			b.fault(replyLongLine)
			continue
		case err != nil:
			b.breakOff(func() { c.lineError(err) })
			return
		}
		if c.commands++; c.commands > c.cfg.MaxCommands {
			b.breakOff(func() { c.violation(ViolationCommands) })
			return
		}
		word, arg, _ := bytes.Cut(line, []byte{' '})
		switch packVerb(word) {
		case verbBDAT:
			size, last, ok := parseBDAT(arg)
			if !ok {
				b.breakOff(func() { c.last(replyBadBDAT) })
				return
			}
			b.left, b.last = size, last
			return
		case verbRSET, verbQUIT, verbEHLO, verbHELO:
			b.after = append([]byte(nil), line...)
			b.err = ErrReset
		case verbNOOP:
			c.reply(replyOK)
		default:
			b.fault(replyMixed)
		}
	}
}

// breakOff ends the message as if the client had gone. What is still to be said, and
// the end of the connection, wait until the handler is done with the message.
func (b *BodyReader) breakOff(farewell func()) {
	b.farewell, b.err = farewell, io.ErrUnexpectedEOF
}

// fault answers a protocol error between two chunks. The one too many breaks the message off.
func (b *BodyReader) fault(r mail.Reply) {
	if b.c.errors >= b.c.cfg.MaxErrors {
		b.breakOff(func() { b.c.fault(r) })
		return
	}
	b.c.fault(r)
}

// afterReset runs the command with which the client gave its message up.
func (b *BodyReader) afterReset() bool {
	b.c.reset()
	return b.c.run(b.after)
}
