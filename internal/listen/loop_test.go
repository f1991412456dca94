package listen

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// talker serves lines: "begin" opens a transaction, "end" closes it, and each is
// answered with itself.
type talker struct {
	net.Conn
	mu       sync.Mutex
	inside   bool
	draining bool
	drained  chan struct{} // a word for each Drain
}

func (c *talker) Serve() {
	defer c.Close()
	for r := bufio.NewReader(c); ; {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		c.mu.Lock()
		c.inside = line == "begin\n"
		over := c.draining && !c.inside
		c.mu.Unlock()
		if _, err := io.WriteString(c, line); err != nil || over {
			return
		}
	}
}

func (c *talker) Drain() {
	c.mu.Lock()
	c.draining = true
	if !c.inside {
		c.Close()
	}
	c.mu.Unlock()
	c.drained <- struct{}{}
}

// served runs a loop of talkers. What Serve returns comes by the first channel, a word for each Drain by the second.
func served(t *testing.T) (*Loop, net.Listener, chan error, chan struct{}) {
	t.Helper()
	drained, done := make(chan struct{}, 100), make(chan error, 1)
	o := NewLoop(func(nc net.Conn) Served { return &talker{Conn: nc, drained: drained} })
	l := mustListen(t, "127.0.0.1:0")
	go func() { done <- o.Serve(l) }()
	return o, l, done, drained
}

func exchange(t *testing.T, c net.Conn, line string) {
	t.Helper()
	if _, err := io.WriteString(c, line+"\n"); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(line)+1)
	if _, err := io.ReadFull(c, got); err != nil || string(got) != line+"\n" {
		t.Fatalf("%q was answered %q, %v", line, got, err)
	}
}

func gone(t *testing.T, c net.Conn) {
	t.Helper()
	if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("still open: read %d, %v", n, err)
	}
}

func TestLoopDrains(t *testing.T) {
	o, l, done, drained := served(t)
	idle, busy := dial(t, l), dial(t, l)
	exchange(t, idle, "hello")
	exchange(t, busy, "begin")
	if o.Open() != 2 {
		t.Errorf("%d connections are open, want 2", o.Open())
	}
	over := make(chan error, 1)
	go func() { over <- o.Shutdown(t.Context()) }()
	<-drained
	<-drained
	gone(t, idle)
	if err := <-done; err != ErrLoopClosed {
		t.Errorf("Serve: %v", err)
	}
	select {
	case err := <-over:
		t.Fatalf("Shutdown did not wait for an open transaction: %v", err)
	default:
	}
	exchange(t, busy, "end")
	gone(t, busy)
	if err := <-over; err != nil || o.Open() != 0 {
		t.Errorf("Shutdown: %v, %d open", err, o.Open())
	}
	if err := o.Serve(mustListen(t, "127.0.0.1:0")); err != ErrLoopClosed {
		t.Errorf("Serve after Shutdown: %v", err)
	}
	if err := o.Shutdown(t.Context()); err != nil {
		t.Errorf("the second Shutdown: %v", err)
	}
}

func TestLoopCuts(t *testing.T) {
	o, l, done, drained := served(t)
	busy := dial(t, l)
	exchange(t, busy, "begin")
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan error, 1)
	go func() { over <- o.Shutdown(ctx) }()
	<-drained
	cancel()
	if err := <-over; !errors.Is(err, context.Canceled) || o.Open() != 0 {
		t.Errorf("Shutdown: %v, %d open", err, o.Open())
	}
	gone(t, busy)
	<-done
}

// TestLoopDrainsWhoBegins has Shutdown come while a connection is being set up.
func TestLoopDrainsWhoBegins(t *testing.T) {
	begun, release, drained := make(chan struct{}), make(chan struct{}), make(chan struct{}, 1)
	o := NewLoop(func(nc net.Conn) Served {
		close(begun)
		<-release
		return &talker{Conn: nc, drained: drained}
	})
	l := mustListen(t, "127.0.0.1:0")
	done, over := make(chan error, 1), make(chan error, 1)
	go func() { done <- o.Serve(l) }()
	c := dial(t, l)
	<-begun
	go func() { over <- o.Shutdown(t.Context()) }()
	<-done // the listener is closed, so Shutdown has been through
	close(release)
	<-drained
	gone(t, c)
	if err := <-over; err != nil {
		t.Error(err)
	}
}

// failing is a listener out of descriptors for a while.
type failing struct {
	net.Listener
	fail int
}

func (l *failing) Accept() (net.Conn, error) {
	if l.fail > 0 {
		l.fail--
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	return l.Listener.Accept()
}

func TestLoopOutOfDescriptors(t *testing.T) {
	o := NewLoop(func(nc net.Conn) Served { return &talker{Conn: nc, drained: make(chan struct{}, 1)} })
	l := mustListen(t, "127.0.0.1:0")
	done := make(chan error, 1)
	go func() { done <- o.Serve(&failing{Listener: l, fail: 3}) }()
	exchange(t, dial(t, l), "hello")
	if err := o.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	<-done
	// One that has no end of it is still shut down.
	o = NewLoop(nil)
	go func() { done <- o.Serve(&failing{Listener: mustListen(t, "127.0.0.1:0"), fail: 1 << 30}) }()
	if err := o.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-done; err != ErrLoopClosed {
		t.Errorf("Serve: %v", err)
	}
}

// dry is a listener that has no descriptor until the test is over, and tells when it was asked for one.
type dry struct {
	net.Listener
	asked []time.Duration
	begin time.Time
	over  chan struct{}
	until int
}

func (l *dry) Accept() (net.Conn, error) {
	l.asked = append(l.asked, time.Since(l.begin))
	if len(l.asked) == l.until {
		close(l.over)
	}
	return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
}

func (l *dry) Close() error { return nil }

// TestLoopPauses: out of descriptors it asks again ever more seldom, and each second at last; the processor is left in peace.
func TestLoopPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &dry{begin: time.Now(), over: make(chan struct{}), until: 11}
		o, done := NewLoop(nil), make(chan error, 1)
		go func() { done <- o.Serve(l) }()
		<-l.over
		if err := o.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		<-done
		var got []time.Duration
		for i := 1; i < l.until; i++ {
			got = append(got, (l.asked[i]-l.asked[i-1])/time.Millisecond)
		}
		if want := []time.Duration{5, 10, 20, 40, 80, 160, 320, 640, 1000, 1000}; !slices.Equal(got, want) {
			t.Errorf("pauses of %d ms, want %d", got, want)
		}
	})
}

func TestLoopListenerClosed(t *testing.T) {
	_, l, done, _ := served(t)
	l.Close()
	if err := <-done; !errors.Is(err, net.ErrClosed) || strings.Contains(err.Error(), "loop") {
		t.Errorf("Serve: %v", err)
	}
}
