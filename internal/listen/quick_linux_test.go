package listen

import (
	"io"
	"net"
	"path/filepath"
	"syscall"
	"testing"
)

// controlled is a socket whose option is only controlled.
type controlled struct {
	syscall.RawConn
	n int
}

func (c *controlled) Control(func(uintptr)) error { c.n++; return nil }

// TestQuickAck: who reads on without an answer has had half of something, and only he acknowledges it himself.
func TestQuickAck(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close()
	raw := &controlled{}
	c := &quickConn{Conn: far, raw: raw}
	defer c.Close()
	p := make([]byte, 8)
	say := func(text string, then int) {
		t.Helper()
		go io.WriteString(near, text)
		if _, err := io.ReadFull(c, p[:len(text)]); err != nil || raw.n != then {
			t.Errorf("%q: %v, %d acknowledged", text, err, raw.n)
		}
	}
	answer := func() {
		done := make(chan struct{})
		go func() { defer close(done); near.Read(make([]byte, 8)) }()
		c.Write([]byte("ok"))
		<-done
	}
	say("whole", 0)
	answer()
	say("whole", 0)
	answer()
	say("half", 0)
	say("half", 1)
	answer()
	say("whole", 1)
}

// TestQuickAckListener: TCP has the option, a unix socket has not.
func TestQuickAckListener(t *testing.T) {
	for _, where := range [][2]string{{"tcp", "127.0.0.1:0"}, {"unix", filepath.Join(t.TempDir(), "s")}} {
		l, err := net.Listen(where[0], where[1])
		if err != nil {
			t.Fatal(err)
		}
		quick := QuickAck(l)
		c, err := net.Dial(l.Addr().Network(), l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		s, err := quick.Accept()
		if err != nil {
			t.Fatal(err)
		}
		q, is := s.(*quickConn)
		if is != (where[0] == "tcp") {
			t.Errorf("%s: a %T", where[0], s)
		}
		if is {
			q.raw.Control(func(fd uintptr) {
				acknowledge(fd)
				if on, err := syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_QUICKACK); err != nil || on != 1 {
					t.Errorf("the option is %d, %v", on, err)
				}
			})
		}
		s.Close()
		c.Close()
		l.Close()
	}
}
