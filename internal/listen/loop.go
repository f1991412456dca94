package listen

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

// Served is one connection that is being served.
type Served interface {
	// Serve returns when the connection is over, and has closed it. It recovers its own
	// panics: one that it lets out ends the process, as everywhere.
	Serve()
	// Drain is called from another goroutine, at any time and perhaps before Serve: the connection
	// is to end at the next pause between transactions, at once if it is in one.
	Drain()
}

// Loop accepts connections and serves each in a goroutine of its own.
type Loop struct {
	begin func(net.Conn) Served

	mu       sync.Mutex
	open     map[net.Conn]Served // nil as long as begin runs
	ls       map[net.Listener]struct{}
	draining bool

	over chan struct{} // closed by Shutdown
	wg   sync.WaitGroup
}

// NewLoop makes a loop. begin runs in the connection's goroutine: it may read
// (a PROXY header) without holding up others.
func NewLoop(begin func(net.Conn) Served) *Loop {
	return &Loop{
		begin: begin, over: make(chan struct{}),
		open: map[net.Conn]Served{}, ls: map[net.Listener]struct{}{},
	}
}

// ErrLoopClosed is what Serve returns after Shutdown.
var ErrLoopClosed = errors.New("listen: loop closed")

// maxPause is the longest wait for descriptors or memory to come back.
const maxPause = time.Second

// Serve accepts connections from l until Shutdown, which closes l and lets Serve return
// ErrLoopClosed, or until somebody else closes l. Out of descriptors or memory it waits and goes on.
func (o *Loop) Serve(l net.Listener) error {
	if !o.enter(l) {
		l.Close()
		return ErrLoopClosed
	}
	defer o.leave(l)
	for pause := time.Duration(0); ; {
		nc, err := l.Accept()
		if err == nil {
			pause = 0
			o.start(nc)
			continue
		}
		select {
		case <-o.over:
			return ErrLoopClosed
		default:
		}
		if errors.Is(err, net.ErrClosed) {
			return err
		}
		pause = min(max(2*pause, 5*time.Millisecond), maxPause)
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-o.over:
			t.Stop()
			return ErrLoopClosed
		}
	}
}

func (o *Loop) enter(l net.Listener) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.draining {
		o.ls[l] = struct{}{}
	}
	return !o.draining
}

func (o *Loop) leave(l net.Listener) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.ls, l)
}

func (o *Loop) start(nc net.Conn) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.draining {
		nc.Close()
		return
	}
	o.open[nc] = nil
	o.wg.Add(1)
	go o.serve(nc)
}

func (o *Loop) serve(nc net.Conn) {
	defer o.finished(nc)
	s := o.begin(nc)
	o.mu.Lock()
	o.open[nc] = s
	draining := o.draining
	o.mu.Unlock()
	if draining { // Shutdown came while begin ran, and found nobody to tell
		s.Drain()
	}
	s.Serve()
}

func (o *Loop) finished(nc net.Conn) {
	nc.Close() // for a Served that forgot
	o.mu.Lock()
	delete(o.open, nc)
	o.mu.Unlock()
	o.wg.Done()
}

// Open is how many connections are open.
func (o *Loop) Open() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.open)
}

// Shutdown closes the listeners, drains every connection, and returns when all are gone. When ctx
// is over first, what is left is closed, waited for, and ctx's error returned.
func (o *Loop) Shutdown(ctx context.Context) error {
	o.mu.Lock()
	if !o.draining {
		close(o.over)
	}
	o.draining = true
	for l := range o.ls {
		l.Close()
	}
	open := make([]Served, 0, len(o.open))
	for _, s := range o.open {
		if s != nil {
			open = append(open, s)
		}
	}
	o.mu.Unlock()
	for _, s := range open { // outside the lock: a Drain may write to its client
		s.Drain()
	}
	gone := make(chan struct{})
	go func() { o.wg.Wait(); close(gone) }()
	select {
	case <-gone:
		return nil
	case <-ctx.Done():
	}
	o.mu.Lock()
	for nc := range o.open {
		nc.Close()
	}
	o.mu.Unlock()
	<-gone
	return ctx.Err()
}
