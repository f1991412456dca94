package listen

import (
	"net"
	"sync/atomic"
	"syscall"
)

// QuickAck makes the connections of l acknowledge at once what they read (TCP_QUICKACK, tcp(7)). It is for peers
// that send one message in two writes and wait for the answer, as Sendmail does with its macros and the command behind: Nagle's
// algorithm holds the second back until the first is acknowledged, and the kernel would take 40 ms for that.
func QuickAck(l net.Listener) net.Listener { return &quickListener{l} }

type quickListener struct{ net.Listener }

func (l *quickListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	s, ok := c.(syscall.Conn)
	if _, tcp := c.LocalAddr().(*net.TCPAddr); !ok || !tcp {
		return c, nil
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return c, nil
	}
	return &quickConn{Conn: c, raw: raw}, nil
}

type quickConn struct {
	net.Conn
	raw    syscall.RawConn
	waited atomic.Bool // something was read and not answered yet
}

// Read acknowledges what came before, if nothing was written since: it was half of something. The kernel
// goes back to its own ways after some octets, so this is done each time.
func (c *quickConn) Read(p []byte) (int, error) {
	if c.waited.Load() {
		_ = c.raw.Control(acknowledge) // without it the peer is slower, and that is all
	}
	n, err := c.Conn.Read(p)
	c.waited.Store(n > 0)
	return n, err
}

func (c *quickConn) Write(p []byte) (int, error) {
	c.waited.Store(false)
	return c.Conn.Write(p)
}

func acknowledge(fd uintptr) {
	_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_QUICKACK, 1)
}
