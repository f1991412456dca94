package mailtest

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
)

// peerConn is one connection of a mock. Its goroutine owns everything but the
// fields that the mock's lock guards.
type peerConn struct {
	m     *Mock
	nc    net.Conn // as accepted
	rw    net.Conn // nc, or TLS over it
	r     *bufio.Reader
	index int
	once  sync.Once

	in, out    []byte // these four are guarded by m.mu
	commands   []string
	open       bool
	sent, read int64
	epoch      int
	skipLF     bool // Lenient: the last line ended in CR, so an LF belongs to it
	helo       string
	login      string
	tls        bool
	client     map[string]string
	from       *Rcpt // the open transaction's sender
	to         []Rcpt
	chunks     []byte
	chunking   bool
}

var errCut = errors.New("mailtest: the script cuts the connection here")

func newPeerConn(m *Mock, nc net.Conn, index int) *peerConn {
	c := &peerConn{m: m, nc: nc, rw: nc, index: index, open: true, client: map[string]string{}}
	c.r = bufio.NewReaderSize((*peerReader)(c), 64<<10)
	return c
}

// cut closes the connection from outside or inside; reset makes it an RST.
func (c *peerConn) cut(reset bool) {
	c.once.Do(func() {
		if tc, ok := c.nc.(*net.TCPConn); ok && reset {
			tc.SetLinger(0)
		}
		c.nc.Close()
	})
}

// left is how many octets may still pass in one direction, and whether an
// exhausted count breaks the connection by RST.
func (c *peerConn) left(sending bool) (n int64, reset bool) {
	s, epoch := c.m.now()
	if epoch != c.epoch {
		c.epoch, c.sent, c.read = epoch, 0, 0
	}
	limit, done := s.CutReceived, c.read
	if sending {
		limit, done = s.CutSent, c.sent
	}
	if limit == 0 {
		return 1 << 62, s.ResetCut
	}
	return max(int64(limit)-1-done, 0), s.ResetCut
}

// peerReader is the recording, limited reading side.
type peerReader peerConn

func (r *peerReader) Read(p []byte) (int, error) {
	c := (*peerConn)(r)
	n, reset := c.left(false)
	if n == 0 {
		c.cut(reset)
		return 0, errCut
	}
	if int64(len(p)) > n {
		p = p[:n]
	}
	k, err := c.rw.Read(p)
	c.read += int64(k)
	c.m.mu.Lock()
	c.in = append(c.in, p[:k]...)
	c.m.mu.Unlock()
	if err == nil {
		if n, reset = c.left(false); n == 0 {
			c.cut(reset)
		}
	}
	return k, err
}

// write sends, records and counts.
func (c *peerConn) write(p string) error {
	n, reset := c.left(true)
	broken := int64(len(p)) >= n
	if broken {
		p = p[:n]
	}
	c.m.mu.Lock()
	c.out = append(c.out, p...)
	c.m.mu.Unlock()
	c.sent += int64(len(p))
	_, err := io.WriteString(c.rw, p)
	if broken {
		c.cut(reset)
		return errCut
	}
	return err
}

func (c *peerConn) serve() {
	defer func() {
		c.cut(false)
		c.m.mu.Lock()
		c.open = false
		c.m.notify()
		c.m.mu.Unlock()
	}()
	if n, reset := c.left(true); n == 0 {
		c.cut(reset)
		return
	}
	if s, _ := c.m.now(); s.Proxy {
		if err := c.readProxyHeader(); err != nil {
			c.m.fault(c.index, err.Error())
			return
		}
	}
	if s, _ := c.m.now(); c.answer("CONNECT", "", orElse(s.Banner, "220 mock.test ESMTP")) != nil {
		return
	}
	for {
		line, err := c.line()
		if err != nil {
			return
		}
		c.m.mu.Lock()
		c.commands = append(c.commands, line)
		c.m.notify()
		c.m.mu.Unlock()
		if c.command(line) != nil {
			return
		}
	}
}

func orElse(s, usual string) string {
	if s == "" {
		return usual
	}
	return s
}

var errLeave = errors.New("mailtest: the mock has hung up")

// answer gives the usual reply to a verb, or the scripted one; an error means
// that the conversation is over.
func (c *peerConn) answer(verb, subject, usual string) error {
	_, err := c.reply(verb, subject, usual)
	return err
}

// reply is answer, and returns the code that was sent.
func (c *peerConn) reply(verb, subject, usual string) (int, error) {
	r := c.m.rule(verb, subject)
	if err := c.holdBack(r); err != nil {
		return 0, err
	}
	return c.say(r, usual)
}

// holdBack waits as the rule wants it.
func (c *peerConn) holdBack(r *Rule) error {
	if r == nil || r.Wait == nil {
		return nil
	}
	select {
	case <-r.Wait:
		return nil
	case <-c.m.ended:
		return errLeave
	}
}

// say sends the usual reply, or the rule's.
func (c *peerConn) say(r *Rule, usual string) (int, error) {
	if r != nil && r.Silent {
		io.Copy(io.Discard, c.r) // reads on, so that what is sent is recorded and the end is noticed
		return 0, errLeave
	}
	text := usual
	if r != nil {
		if r.Reply != "" {
			text = r.Reply
		} else if r.Hangup {
			return 0, errLeave
		}
	}
	err := c.write(strings.ReplaceAll(text, "\n", "\r\n") + "\r\n")
	if err == nil && r != nil && r.Hangup {
		err = errLeave
	}
	return replyCode(text), err
}

func replyCode(text string) int {
	if len(text) < 3 {
		return 0
	}
	n, err := strconv.Atoi(text[:3])
	if err != nil {
		return 0
	}
	return n
}

// maxLine is more than any sender needs, and bounds what a broken one costs us.
const maxLine = 64 << 10

// line reads one command line, without its end. A strict mock wants CRLF and
// nothing like it inside (RFC 5321, 2.3.8); after anything else it answers 500 and hangs up.
func (c *peerConn) line() (string, error) {
	s, _ := c.m.now()
	var b []byte
	for {
		ch, err := c.r.ReadByte()
		if err != nil {
			return "", err
		}
		skip := c.skipLF
		c.skipLF = false
		switch {
		case s.Lenient && ch == '\n' && skip:
		case s.Lenient && (ch == '\n' || ch == '\r'):
			c.skipLF = ch == '\r'
			return string(b), nil
		case ch == '\n' && len(b) > 0 && b[len(b)-1] == '\r':
			return c.whole(string(b[:len(b)-1]))
		case ch == '\n' || len(b) > maxLine:
			return c.whole(string(b) + "\n")
		default:
			b = append(b, ch)
		}
	}
}

// whole passes a line on that is free of line ends.
func (c *peerConn) whole(line string) (string, error) {
	if !strings.ContainsAny(line, "\r\n\x00") {
		return line, nil
	}
	c.m.fault(c.index, "bare CR, bare LF or NUL in a command: "+strconv.Quote(line))
	c.write("500 5.5.2 Lines end in CRLF\r\n")
	return "", errLeave
}

// startTLS answers STARTTLS and changes over.
func (c *peerConn) startTLS(s Script) error {
	if s.TLS == nil || c.tls {
		return c.answer("STARTTLS", "", "502 5.5.1 Not offered")
	}
	code, err := c.reply("STARTTLS", "", "220 2.0.0 Go ahead")
	if err != nil || code != 220 {
		return err
	}
	if c.r.Buffered() > 0 {
		c.m.fault(c.index, "octets in the clear behind STARTTLS")
		c.r.Discard(c.r.Buffered())
	}
	tc := tls.Server(c.nc, s.TLS)
	if err := tc.Handshake(); err != nil {
		return err
	}
	c.rw, c.tls, c.helo, c.login, c.from, c.to = tc, true, "", "", nil, nil
	return nil
}
