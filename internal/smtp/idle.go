package smtp

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"syscall"
	"time"
)

// Idle says whether the connection is open and silent: no end, no unasked-for 421. It does not wait.
func (c *Client) Idle() bool {
	if c.r.Buffered() > 0 {
		return false
	}
	nc := c.nc
	t, encrypted := nc.(*tls.Conn)
	if encrypted {
		nc = t.NetConn()
	}
	return silent(nc) && (!encrypted || c.nothingDecrypted())
}

// silent looks whether octets, or the end, have arrived at the socket.
func silent(nc net.Conn) bool {
	sc, ok := bare(nc).(syscall.Conn)
	if !ok {
		return true
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	idle := false
	var b [1]byte
	err = rc.Control(func(fd uintptr) {
		_, _, e := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		idle = e == syscall.EAGAIN
	})
	return err == nil && idle
}

// nothingDecrypted looks for answers that crypto/tls has taken from the socket with
// the one before them: past its deadline a read still gives what is there, and asks the socket for no more.
func (c *Client) nothingDecrypted() bool {
	c.nc.SetReadDeadline(time.Unix(1, 0))
	_, err := c.r.Peek(1)
	c.nc.SetReadDeadline(time.Time{})
	c.armed = time.Time{}
	return errors.Is(err, os.ErrDeadlineExceeded)
}

// errUnasked: an answer that nothing was asked for would be taken for the answer to what is asked next.
var errUnasked = errors.New("the server hung up, or gave an answer that it was not asked for")

// inStep ends a conversation in which the server is ahead of us: from there on each
// answer would be taken for the answer to another command, a yes to RCPT for one to the message.
func (c *Client) inStep(s Step) error {
	if c.Idle() {
		return nil
	}
	return c.broken(s, errUnasked)
}
