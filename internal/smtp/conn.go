package smtp

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"backstop/internal/mail"
)

const (
	smallBuffer = 1024      // what an idle connection holds
	largeBuffer = 32 * 1024 // while data is read
)

var largeBuffers = sync.Pool{New: func() any { b := make([]byte, largeBuffer); return &b }}

// sureToFit is how many octets a write cannot wait for: less than any socket's smallest send
// buffer (4.5 KB on Linux).
const sureToFit = 2048

var smallBuffers = sync.Pool{New: func() any { b := make([]byte, smallBuffer); return &b }}
var writeBuffers = sync.Pool{New: func() any { b := make([]byte, 0, 2048); return &b }}

// Conn is one connection of a Server.
type Conn struct {
	srv *Server
	cfg *ServerConfig
	h   Handler
	nc  net.Conn // what is read and written: raw, or TLS over it
	raw net.Conn

	small []byte
	buf   []byte  // what was read is buf[r:w]
	large *[]byte // set while buf is a pooled large buffer
	r, w  int
	out   *[]byte // replies not yet written; nil when there are none

	armed     time.Time // read deadline as it is set
	armedW    time.Time // write deadline as it is set
	written   int       // octets of replies so far
	sessionBy time.Time
	now       time.Time // taken at the last read

	mu       sync.Mutex // orders drain against the read deadline
	draining bool
	inData   bool

	addr     netip.Addr
	port     uint16
	name     string // from XCLIENT
	login    string // from XCLIENT
	xhelo    string // from XCLIENT
	early    bool
	ended    bool
	bareOK   bool
	xclient  bool
	extended bool // EHLO, not HELO
	helo     bool // one of them was said
	mail     bool // a transaction is open
	utf8     bool
	binary   bool
	bdat     bool       // the transaction's data comes in chunks
	bdatDead mail.Reply // and one of them was refused, with this: the rest is thrown away and told the same
	rcpts    int
	errors   int
	commands int
}

// Peer is who is at the other end, as the connection, PROXY or XCLIENT tells.
type Peer struct {
	Addr  netip.Addr // the unspecified IPv4 address for a unix socket
	Port  uint16
	Name  string // told by XCLIENT, or ""
	Helo  string // told by XCLIENT, or ""
	Login string // told by XCLIENT, or ""
}

// Peer is who is at the other end.
func (c *Conn) Peer() Peer {
	return Peer{Addr: c.addr, Port: c.port, Name: c.name, Login: c.login, Helo: c.xhelo}
}

// Early says whether the client talked before the banner.
func (c *Conn) Early() bool { return c.early }

// TLS is the state of the TLS connection, or nil in plain text.
func (c *Conn) TLS() *tls.ConnectionState {
	t, ok := c.nc.(*tls.Conn)
	if !ok {
		return nil
	}
	s := t.ConnectionState()
	return &s
}

// IsTLS says whether the connection is encrypted, without asking for details.
func (c *Conn) IsTLS() bool { _, ok := c.nc.(*tls.Conn); return ok }

func (c *Conn) serve() {
	defer c.srv.finished(c)
	defer c.raw.Close()
	c.now = time.Now()
	c.sessionBy = c.now.Add(c.cfg.Timeouts.Session)
	c.setPeer()
	small := smallBuffers.Get().(*[]byte)
	defer smallBuffers.Put(small)
	c.small = *small
	c.buf = c.small
	defer func() {
		if p := recover(); p != nil {
			c.panicked(p, debug.Stack())
		}
		c.end()
		c.releaseLarge()
	}()
	if !c.greet() {
		return
	}
	if !c.banner() {
		c.linger()
		return
	}
	c.loop()
}

// panicked answers for a fault of ours: 4xx, never a lost 250 or a 5xx (DESIGN 2).
// The handler may be what is broken, so it is asked for its words with care.
func (c *Conn) panicked(p any, stack []byte) {
	if c.cfg.Panic != nil {
		c.cfg.Panic(p, stack)
	}
	r := replyInternal
	func() {
		defer func() { recover() }()
		if c.h != nil && !c.ended {
			if own := c.h.Violation(ViolationInternal); own.Temporary() {
				r = own
			}
		}
	}()
	c.reply(r) // behind those of the group that are waiting, so that the client does not miscount
	c.flushLate()
}

// end tells the handler, once, that the connection is over.
func (c *Conn) end() {
	if !c.ended && c.h != nil {
		c.ended = true
		c.h.Close()
	}
}

// setPeer takes the client's address from the connection (which PROXY has changed already).
func (c *Conn) setPeer() {
	switch a := c.nc.RemoteAddr().(type) {
	case *net.TCPAddr:
		ap := a.AddrPort()
		c.addr, c.port = ap.Addr().Unmap().WithZone(""), ap.Port()
	default:
		c.addr = netip.IPv4Unspecified() // a unix socket: local
		if a != nil {
			if ap, err := netip.ParseAddrPort(a.String()); err == nil {
				c.addr, c.port = ap.Addr().Unmap(), ap.Port()
			}
		}
	}
	c.peerChanged()
}

func (c *Conn) peerChanged() {
	c.bareOK = c.cfg.AllowBareNewline != nil && c.cfg.AllowBareNewline(c.addr)
}

// greet waits the banner delay and looks whether the client talks before its turn
// (RFC 5321, 3.1: the client waits for the greeting).
func (c *Conn) greet() bool {
	c.xclient = c.cfg.XClient != nil && c.cfg.XClient(c.addr)
	if d := c.cfg.BannerDelay; d > 0 {
		c.nc.SetReadDeadline(c.now.Add(d))
		n, err := c.nc.Read(c.buf)
		c.armed = time.Time{}
		c.w = n
		c.early = n > 0
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return false // gone before the banner
		}
		c.now = time.Now()
		if !c.isDraining() {
			c.nc.SetReadDeadline(time.Time{})
		}
	} else {
		c.early = pending(c.nc)
	}
	c.h = c.cfg.NewHandler(c)
	return true
}

// bare unwraps a connection that somebody counts or reads ahead of us.
func bare(nc net.Conn) net.Conn {
	for {
		w, ok := nc.(interface{ NetConn() net.Conn })
		if _, isTLS := nc.(*tls.Conn); !ok || isTLS {
			return nc
		}
		nc = w.NetConn()
	}
}

// pending looks, without waiting, whether octets have arrived.
func pending(nc net.Conn) bool {
	sc, ok := bare(nc).(syscall.Conn)
	if !ok {
		return false
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	var b [1]byte
	n := 0
	rc.Control(func(fd uintptr) {
		n, _, _ = syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	})
	return n > 0
}

func (c *Conn) banner() bool {
	if r := c.h.Connect(); !r.IsZero() && !r.Positive() {
		c.reply(r)
		c.flushLate()
		return false
	}
	b := c.outBuf()
	b = append(append(append(b, "220 "...), c.cfg.Hostname...), bannerText+"\r\n"...)
	c.setOut(b)
	return true
}

func (c *Conn) outBuf() []byte {
	if c.out == nil {
		c.out = writeBuffers.Get().(*[]byte)
	}
	return *c.out
}

func (c *Conn) setOut(b []byte) { *c.out = b }

func (c *Conn) reply(r mail.Reply) { c.setOut(r.AppendWire(c.outBuf())) }

// flush writes the replies gathered so far in one write.
func (c *Conn) flush() error {
	if c.out == nil || len(*c.out) == 0 {
		return nil
	}
	// A client that does not read may hold us for one command time-out and no longer;
	// the deadline is moved rarely, since moving it costs more than the write's bookkeeping.
	// The first few octets always find room in the kernel, and most sessions write no more.
	c.written += len(*c.out)
	if d := c.cfg.Timeouts.Command; c.written > sureToFit && c.armedW.Sub(c.now) < d/2 {
		c.armedW = c.now.Add(d)
		c.nc.SetWriteDeadline(c.armedW)
	}
	_, err := c.nc.Write(*c.out)
	if cap(*c.out) <= 16*1024 {
		*c.out = (*c.out)[:0]
		writeBuffers.Put(c.out)
	}
	c.out = nil
	return err
}

// flushLate is flush where a handler may have taken its time since the last read:
// a deadline reckoned from then could be over, and a yes to a message be lost.
func (c *Conn) flushLate() error {
	c.now = time.Now()
	return c.flush()
}

// fill reads more into the buffer, after writing what is to be written.
func (c *Conn) fill(wait time.Duration) error {
	c.now = time.Now()
	if err := c.flush(); err != nil {
		return err
	}
	if c.r > 0 {
		c.w = copy(c.buf, c.buf[c.r:c.w])
		c.r = 0
	}
	if c.large != nil && !c.inData && c.w <= len(c.small) {
		c.releaseLarge()
	}
	if c.w == len(c.buf) {
		return bytes.ErrTooLarge
	}
	if err := c.arm(wait); err != nil {
		return err
	}
	n, err := c.nc.Read(c.buf[c.w:])
	c.w += n
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	if c.isDraining() && errors.Is(err, os.ErrDeadlineExceeded) {
		return errDraining
	}
	return err
}

var errDraining = errors.New("smtp: draining")

// arm sets the read deadline, but only where it differs from the one set by a second or more.
func (c *Conn) arm(wait time.Duration) error {
	want := c.now.Add(wait)
	if want.After(c.sessionBy) {
		want = c.sessionBy
	}
	if d := want.Sub(c.armed); d > -time.Second && d < time.Second {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.draining && !c.inData {
		return errDraining
	}
	c.armed = want
	return c.nc.SetReadDeadline(want)
}

func (c *Conn) isDraining() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.draining
}

// drain makes a connection that waits for a command come back; one in the data goes on.
func (c *Conn) drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.draining = true
	if !c.inData {
		c.raw.SetReadDeadline(time.Unix(1, 0))
	}
}

// enterData and leaveData bracket the reading of a message: it may use a large
// buffer, and a shutdown waits for it.
func (c *Conn) enterData() {
	c.mu.Lock()
	c.inData = true
	if c.draining { // the deadline may have been pulled an instant ago
		c.armed = time.Time{}
	}
	c.mu.Unlock()
	if c.large == nil && len(c.buf) < largeBuffer { // long command lines may have grown it beyond
		c.large = largeBuffers.Get().(*[]byte)
		c.w = copy(*c.large, c.buf[c.r:c.w])
		c.r = 0
		c.buf = *c.large
	}
}

func (c *Conn) leaveData() {
	c.mu.Lock()
	c.inData = false
	c.mu.Unlock()
	c.armed = time.Time{}
	if c.w-c.r <= len(c.small) {
		c.releaseLarge()
	}
}

func (c *Conn) releaseLarge() {
	if c.large == nil {
		return
	}
	n := copy(c.small, c.buf[c.r:c.w])
	c.r, c.w, c.buf = 0, n, c.small
	largeBuffers.Put(c.large)
	c.large = nil
}

// line returns the next command line without its end; it is valid until the next read.
func (c *Conn) line(wait time.Duration) ([]byte, error) {
	scanned := 0
	for {
		if i := bytes.IndexByte(c.buf[c.r+scanned:c.w], '\n'); i >= 0 {
			line := c.buf[c.r : c.r+scanned+i]
			c.r += scanned + i + 1
			if len(line)+1 > c.cfg.MaxLine {
				return nil, c.longLine(line[len(line)-1])
			}
			return c.checkLine(line)
		}
		scanned = c.w - c.r
		if scanned >= c.cfg.MaxLine {
			return nil, c.skipLine(wait)
		}
		if c.r == 0 && c.w == len(c.buf) {
			c.grow()
		}
		if err := c.fill(wait); err != nil {
			return nil, err
		}
	}
}

func (c *Conn) grow() {
	b := make([]byte, min(2*len(c.buf), max(c.cfg.MaxLine+2, smallBuffer)))
	if len(b) <= len(c.buf) {
		b = make([]byte, 2*len(c.buf))
	}
	copy(b, c.buf[:c.w])
	c.buf = b
	if c.large == nil {
		c.small = b
	}
}

var (
	errLongLine = errors.New("smtp: command line too long")
	errLineEnd  = errors.New("smtp: bare CR, LF or NUL in a command line")
)

// checkLine holds a line to CR LF, and takes the CR off.
func (c *Conn) checkLine(line []byte) ([]byte, error) {
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	} else if !c.bareOK {
		return nil, errLineEnd
	}
	if bytes.IndexByte(line, '\r') >= 0 || bytes.IndexByte(line, 0) >= 0 {
		return nil, errLineEnd
	}
	return line, nil
}

// skipLine throws an overlong command line away up to its end, so that its
// tail is not taken for a command.
func (c *Conn) skipLine(wait time.Duration) error {
	var before byte // the octet before the ones in the buffer
	for budget := 64 * 1024; budget > 0; {
		if i := bytes.IndexByte(c.buf[c.r:c.w], '\n'); i >= 0 {
			if i > 0 {
				before = c.buf[c.r+i-1]
			}
			c.r += i + 1
			return c.longLine(before)
		}
		budget -= c.w - c.r
		before = c.buf[c.w-1]
		c.r, c.w = 0, 0
		if err := c.fill(wait); err != nil {
			return err
		}
	}
	return bytes.ErrTooLarge
}

// longLine is the error of an overlong line whose LF stands behind the octet before.
func (c *Conn) longLine(before byte) error {
	if before != '\r' && !c.bareOK {
		return errLineEnd
	}
	return errLongLine
}

// linger ends the handler and lets the peer read our last words: a socket closed with unread input
// is reset, and the reply with it lost, so the sender would try again and again.
func (c *Conn) linger() {
	type halfCloser interface{ CloseWrite() error }
	err := c.flushLate()
	c.end()
	if err != nil {
		return
	}
	if hc, ok := bare(c.nc).(halfCloser); ok {
		hc.CloseWrite()
	}
	c.raw.SetReadDeadline(time.Now().Add(5 * time.Second))
	if !c.isDraining() {
		io.Copy(io.Discard, io.LimitReader(c.raw, 16<<20))
	}
}
