package smtp

import (
	"bytes"
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
	case c.bdatDead:
		refusal = replyRcptFirst
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
	c.bdat, c.bdatDead = c.mail, c.mail
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
	for {
		line, err := c.line(c.cfg.Timeouts.Command)
		if err != nil {
			if !c.lineError(err) {
				b.err = io.ErrUnexpectedEOF
				return
			}
			continue
		}
		if c.commands++; c.commands > c.cfg.MaxCommands {
			c.violation(ViolationCommands)
			b.err = io.ErrUnexpectedEOF
			return
		}
		word, arg, _ := bytes.Cut(line, []byte{' '})
		switch packVerb(word) {
		case verbBDAT:
			size, last, ok := parseBDAT(arg)
			if !ok {
				c.last(replyBadBDAT)
				b.err = io.ErrUnexpectedEOF
				return
			}
			b.left, b.last = size, last
			return
		case verbRSET, verbQUIT, verbEHLO, verbHELO:
			b.after = append([]byte(nil), line...)
			b.err = ErrReset
			return
		case verbNOOP:
			c.reply(replyOK)
		default:
			if !c.fault(replyMixed) {
				b.err = io.ErrUnexpectedEOF
				return
			}
		}
	}
}

// afterReset runs the command with which the client gave its message up.
func (b *BodyReader) afterReset() bool {
	b.c.reset()
	return b.c.run(b.after)
}
