package daemon

import (
	"errors"
	"fmt"
	"io"
	"net"
	"testing"

	"backstop/internal/config"
	"backstop/internal/listen"
)

// TestListenersBeside: the milter's connections acknowledge at once, or Sendmail would wait 40 ms for each answer; and who
// is one too many at a door that is not SMTP is told nothing, which no protocol there would understand.
func TestListenersBeside(t *testing.T) {
	spec, err := listen.Parse("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &setup{cfg: &config.Config{}}
	s.cfg.SMTP.MaxConnections = 1
	s.cfg.Milter.Listen, s.cfg.Policy.Listen, s.cfg.Socketmap.Listen, s.cfg.TCPTable.Listen = spec, spec, spec, spec
	d := &Daemon{doors: &doors{}}
	opened, err := d.open(s)
	if err != nil || len(opened) != 4 {
		t.Fatal(len(opened), err)
	}
	plain, err := spec.Listen()
	if err != nil {
		t.Fatal(err)
	}
	opened = append(opened, &listener{wanted: wanted{doorPanel, spec}, l: d.limited(doorPanel, plain, s)})
	for _, o := range opened {
		one, two := dialed(t, o.l), dialed(t, o.l)
		c, err := o.l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		beneath := c.(interface{ NetConn() net.Conn }).NetConn()
		if quick := fmt.Sprintf("%T", beneath) == "*listen.quickConn"; quick != (o.door == doorMilter) {
			t.Errorf("%s: a %T", o.door, beneath)
		}
		over := make(chan error)
		go func() { _, err := o.l.Accept(); over <- err }()
		if b, err := io.ReadAll(two); len(b) > 0 || err != nil {
			t.Errorf("%s: one too many is told %q, %v", o.door, b, err)
		}
		o.l.Close()
		if err := <-over; !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: %v", o.door, err)
		}
		c.Close()
		one.Close()
		two.Close()
	}
}

func dialed(t *testing.T, l net.Listener) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return c
}
