package smtp

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"backstop/internal/mail"
)

// loop reads and runs commands until the connection is over.
func (c *Conn) loop() {
	for {
		line, err := c.line(c.cfg.Timeouts.Command)
		if err != nil {
			if !c.lineError(err) {
				return
			}
			continue
		}
		if c.commands++; c.commands > c.cfg.MaxCommands {
			c.violation(ViolationCommands)
			return
		}
		if !c.run(line) {
			return
		}
	}
}

// lineError answers a command line that could not be read, and says whether to go on.
func (c *Conn) lineError(err error) bool {
	switch {
	case errors.Is(err, errLongLine):
		return c.fault(replyLongLine)
	case errors.Is(err, errLineEnd):
		c.violation(ViolationLineEnd)
	case errors.Is(err, errDraining):
		c.last(replyShutdown)
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.last(replyTimeout)
	case errors.Is(err, bytes.ErrTooLarge):
		c.violation(ViolationErrors)
	}
	return false // the peer is gone, or was told why we are
}

// last sends one more reply and ends the connection.
func (c *Conn) last(r mail.Reply) {
	c.reply(r)
	c.linger()
}

// violation ends the connection with the handler's words.
func (c *Conn) violation(v Violation) {
	r := c.h.Violation(v)
	if r.IsZero() {
		if r = replyAbuse; v == ViolationLineEnd {
			r = replyViolation
		}
	}
	c.last(r)
}

// fault answers a protocol error and says whether the connection goes on.
func (c *Conn) fault(r mail.Reply) bool {
	if c.errors++; c.errors > c.cfg.MaxErrors {
		c.violation(ViolationErrors)
		return false
	}
	c.reply(r)
	return true
}

// verb is a command word, upper-cased and packed: no string is made of it.
type verb uint64

func packVerb(b []byte) verb {
	if len(b) > 8 {
		return 0
	}
	var v verb
	for _, c := range b {
		if 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		v = v<<8 | verb(c)
	}
	return v
}

const (
	verbHELO     = verb('H')<<24 | 'E'<<16 | 'L'<<8 | 'O'
	verbEHLO     = verb('E')<<24 | 'H'<<16 | 'L'<<8 | 'O'
	verbMAIL     = verb('M')<<24 | 'A'<<16 | 'I'<<8 | 'L'
	verbRCPT     = verb('R')<<24 | 'C'<<16 | 'P'<<8 | 'T'
	verbDATA     = verb('D')<<24 | 'A'<<16 | 'T'<<8 | 'A'
	verbBDAT     = verb('B')<<24 | 'D'<<16 | 'A'<<8 | 'T'
	verbRSET     = verb('R')<<24 | 'S'<<16 | 'E'<<8 | 'T'
	verbNOOP     = verb('N')<<24 | 'O'<<16 | 'O'<<8 | 'P'
	verbQUIT     = verb('Q')<<24 | 'U'<<16 | 'I'<<8 | 'T'
	verbVRFY     = verb('V')<<24 | 'R'<<16 | 'F'<<8 | 'Y'
	verbEXPN     = verb('E')<<24 | 'X'<<16 | 'P'<<8 | 'N'
	verbHELP     = verb('H')<<24 | 'E'<<16 | 'L'<<8 | 'P'
	verbETRN     = verb('E')<<24 | 'T'<<16 | 'R'<<8 | 'N'
	verbAUTH     = verb('A')<<24 | 'U'<<16 | 'T'<<8 | 'H'
	verbGET      = verb('G')<<16 | 'E'<<8 | 'T'
	verbPUT      = verb('P')<<16 | 'U'<<8 | 'T'
	verbPOST     = verb('P')<<24 | 'O'<<16 | 'S'<<8 | 'T'
	verbCONNECT  = verb('C')<<48 | 'O'<<40 | 'N'<<32 | 'N'<<24 | 'E'<<16 | 'C'<<8 | 'T'
	verbSTARTTLS = verb('S')<<56 | 'T'<<48 | 'A'<<40 | 'R'<<32 | 'T'<<24 | 'T'<<16 | 'L'<<8 | 'S'
	verbXCLIENT  = verb('X')<<48 | 'C'<<40 | 'L'<<32 | 'I'<<24 | 'E'<<16 | 'N'<<8 | 'T'
)

// run runs one command line and says whether the connection goes on.
func (c *Conn) run(line []byte) bool {
	word, arg := line, []byte(nil)
	if i := bytes.IndexByte(line, ' '); i >= 0 {
		word, arg = line[:i], line[i+1:]
	}
	switch packVerb(word) {
	case verbHELO, verbEHLO:
		return c.hello(arg, packVerb(word) == verbEHLO)
	case verbMAIL:
		return c.mailFrom(arg)
	case verbRCPT:
		return c.rcptTo(arg)
	case verbDATA:
		return c.data(arg)
	case verbBDAT:
		return c.chunk(arg)
	case verbRSET:
		if len(arg) > 0 {
			return c.fault(replyNoArgs)
		}
		c.reset()
		c.reply(replyOK)
	case verbNOOP:
		c.reply(replyOK) // an argument is allowed (RFC 5321, 4.1.1.9)
	case verbQUIT:
		if len(arg) > 0 {
			return c.fault(replyNoArgs)
		}
		c.reply(replyBye)
		c.flushLate()
		return false
	case verbVRFY:
		c.reply(replyVerify)
	case verbHELP:
		c.reply(replyHelp)
	case verbEXPN, verbETRN, verbAUTH:
		return c.fault(replyNotHere)
	case verbSTARTTLS:
		return c.startTLS(arg)
	case verbXCLIENT:
		return c.runXClient(arg)
	case verbGET, verbPUT, verbPOST, verbCONNECT:
		c.violation(ViolationHTTP)
		return false
	default:
		return c.fault(replyUnknown)
	}
	return true
}

// reset ends the open transaction, if there is one.
func (c *Conn) reset() {
	if c.mail {
		c.h.Reset()
	}
	c.mail, c.utf8, c.binary, c.bdat, c.bdatDead, c.rcpts = false, false, false, false, mail.Reply{}, 0
}

func (c *Conn) hello(arg []byte, extended bool) bool {
	name := strings.TrimSpace(string(arg))
	if name == "" {
		return c.fault(replyNeedName)
	}
	c.reset()
	r := c.h.Helo(name, extended)
	if !r.IsZero() && !r.Positive() {
		c.reply(r)
		return true
	}
	c.helo, c.extended = true, extended
	b := c.outBuf()
	if !extended {
		c.setOut(append(append(append(b, "250 "...), c.cfg.Hostname...), "\r\n"...))
		return true
	}
	c.setOut(c.appendCapabilities(b))
	return true
}

func (c *Conn) appendCapabilities(b []byte) []byte {
	cfg := c.cfg
	b = append(append(append(b, "250-"...), cfg.Hostname...), "\r\n250-PIPELINING\r\n250-SIZE"...)
	if cfg.MaxMessageSize > 0 {
		b = strconv.AppendInt(append(b, ' '), cfg.MaxMessageSize, 10)
	}
	b = append(b, "\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-DSN\r\n250-CHUNKING\r\n"...)
	if cfg.Binary != nil && cfg.Binary() {
		b = append(b, "250-BINARYMIME\r\n"...)
	}
	if cfg.TLS != nil && !c.IsTLS() {
		b = append(b, "250-STARTTLS\r\n"...)
	}
	if c.xclient {
		b = append(b, "250-XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT\r\n"...)
	}
	return append(b, "250 ENHANCEDSTATUSCODES\r\n"...)
}

func (c *Conn) mailFrom(arg []byte) bool {
	switch {
	case !c.helo:
		return c.fault(replyHeloFirst)
	case c.mail:
		return c.fault(replyNested)
	}
	from, p, r := parseMail(arg, c.cfg.MaxMessageSize)
	if !r.IsZero() {
		return c.fault(r)
	}
	if p.Body == BodyBinaryMIME && (c.cfg.Binary == nil || !c.cfg.Binary()) {
		return c.fault(replyNoBinary)
	}
	if r = c.h.Mail(mail.ReversePath{Address: from}, p); r.IsZero() {
		r = replyMailOK
	}
	if r.Positive() {
		c.mail, c.utf8, c.binary = true, p.UTF8, p.Body == BodyBinaryMIME
	}
	c.reply(r)
	return true
}

func (c *Conn) rcptTo(arg []byte) bool {
	if !c.mail || c.bdat {
		return c.fault(replyMailFirst)
	}
	to, p, r := parseRcpt(arg, c.utf8)
	if !r.IsZero() {
		return c.fault(r)
	}
	if c.rcpts >= c.cfg.MaxRecipients {
		c.reply(replyTooMany) // RFC 5321, 4.5.3.1.10: not an error of the client's
		return true
	}
	if r = c.h.Rcpt(to, p); r.IsZero() {
		r = replyRcptOK
	}
	if r.Positive() {
		c.rcpts++
	}
	c.reply(r)
	return true
}

func (c *Conn) data(arg []byte) bool {
	switch {
	case len(arg) > 0:
		return c.fault(replyNoArgs)
	case !c.mail:
		return c.fault(replyMailFirst)
	case c.bdat:
		return c.fault(replyMixed)
	case c.binary:
		return c.fault(replyBinaryData)
	case c.rcpts == 0:
		return c.noRecipients()
	}
	if r := c.h.Data(); !r.IsZero() {
		c.reply(r)
		return true
	}
	c.reply(replyGoAhead)
	body := newBody(c)
	return c.message(body)
}

// noRecipients answers DATA with no recipient: when some were refused this is
// how a pipelining client learns it, and no error of its own (RFC 2920, 3.1).
func (c *Conn) noRecipients() bool {
	c.reply(replyNoRecipients)
	return true
}

// message lets the handler read body and answers.
func (c *Conn) message(body *BodyReader) bool {
	c.enterData()
	r := c.h.Message(body)
	if r.Positive() && !errors.Is(body.err, io.EOF) {
		r = replyInternal // nobody has taken what nobody has read
	}
	ok := body.finish() // what the handler left unread is not run as commands
	c.leaveData()
	switch {
	case errors.Is(body.err, ErrReset):
		return body.afterReset()
	case ok:
		if r.IsZero() {
			r = replyInternal
		}
		c.reply(r)
		if !body.chunked || body.last {
			c.reset()
		} else {
			c.bdatDead = r // refused early: the chunks still to come are thrown away
		}
		if c.isDraining() {
			c.last(replyShutdown)
			return false
		}
		return true
	}
	c.reset()
	switch {
	case body.farewell != nil:
		body.farewell()
		return false
	case errors.Is(body.err, io.ErrUnexpectedEOF):
		return false // the client is gone
	case errors.Is(body.err, os.ErrDeadlineExceeded), errors.Is(body.err, ErrSlow):
		r = replyTimeout
	case !r.IsZero() && !r.Positive(): // the handler's own words for a fault or a limit
	case errors.Is(body.err, ErrTooBig):
		r = replyTooBig
	case isFault(body.err):
		r = replyViolation
	default:
		return false
	}
	c.last(r)
	return false
}

func isFault(err error) bool { var f *FaultError; return errors.As(err, &f) }

func (c *Conn) startTLS(arg []byte) bool {
	switch {
	case c.cfg.TLS == nil:
		return c.fault(replyNotHere)
	case len(arg) > 0:
		return c.fault(replyNoArgs)
	case c.IsTLS():
		return c.fault(replyTLSAgain)
	case !c.extended:
		return c.fault(replyHeloFirst)
	}
	c.reset()
	c.reply(replyTLSReady)
	if c.flushLate() != nil {
		return false
	}
	// Whatever came in plain text after STARTTLS was put there by somebody in
	// between (CVE-2011-0411): it is thrown away, never run.
	c.r, c.w = 0, 0
	t := tlsServer(c.nc, c.cfg.TLS)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := t.HandshakeContext(ctx); err != nil {
		return false
	}
	c.nc = t
	c.armed, c.armedW = time.Time{}, time.Time{}
	c.helo, c.extended = false, false // RFC 3207, 4.2: everything said before is forgotten
	return true
}
