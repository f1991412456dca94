package listen

import (
	"io"
	"net"
	"path/filepath"
	"syscall"
	"testing"
)

// TestQuickAck: what comes in two writes is read and answered, and the option holds behind a read; a unix socket has no such thing.
func TestQuickAck(t *testing.T) {
	for _, where := range [][2]string{{"tcp", "127.0.0.1:0"}, {"unix", filepath.Join(t.TempDir(), "s")}} {
		l, err := net.Listen(where[0], where[1])
		if err != nil {
			t.Fatal(err)
		}
		quick := QuickAck(l)
		done := make(chan error, 1)
		go func() {
			c, err := quick.Accept()
			if err != nil {
				done <- err
				return
			}
			defer c.Close()
			p := make([]byte, 8)
			_, err = io.ReadFull(c, p)
			if q, ok := c.(*quickConn); ok != (where[0] == "tcp") {
				t.Errorf("%s: a %T", where[0], c)
			} else if ok {
				q.raw.Control(func(fd uintptr) {
					if on, err := syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_QUICKACK); err != nil || on != 1 {
						t.Errorf("the option is %d, %v", on, err)
					}
				})
			}
			if err == nil {
				_, err = c.Write(p) // which ends it: the kernel takes the two for a conversation
			}
			done <- err
		}()
		c, err := net.Dial(l.Addr().Network(), l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		c.Write([]byte("four"))
		c.Write([]byte("four"))
		p := make([]byte, 8)
		if _, err := io.ReadFull(c, p); err != nil || string(p) != "fourfour" {
			t.Errorf("%q, %v", p, err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		c.Close()
		l.Close()
	}
}
