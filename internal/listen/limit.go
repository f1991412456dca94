package listen

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// refuseTime bounds how long a refusal may keep Accept from the next client.
// A fresh socket's buffer is empty, so a short reply never waits.
const refuseTime = time.Second

// Limit lets at most total connections of l be open at once. Further ones are
// accepted, given to refuse, which may write a line to them, and closed: who is told to come
// back later does so, who waits in the kernel's queue does not know why. A
// total of 0 or less is no limit.
func Limit(l net.Listener, total int, refuse func(net.Conn)) net.Listener {
	if total <= 0 {
		return l
	}
	return &limited{Listener: l, total: int64(total), refuse: refuse}
}

type limited struct {
	net.Listener
	total  int64
	open   atomic.Int64
	refuse func(net.Conn)
}

func (l *limited) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if l.open.Add(1) <= l.total {
			return &counted{Conn: c, open: &l.open}, nil
		}
		l.open.Add(-1)
		if l.refuse != nil && c.SetDeadline(time.Now().Add(refuseTime)) == nil {
			l.refuse(c)
		}
		c.Close()
	}
}

type counted struct {
	net.Conn
	open   *atomic.Int64
	closed atomic.Bool
}

func (c *counted) Close() error {
	if !c.closed.Swap(true) {
		c.open.Add(-1)
	}
	return c.Conn.Close()
}

// NetConn returns the connection beneath, as tls.Conn has it.
func (c *counted) NetConn() net.Conn { return c.Conn }

// PerClient counts what is open by client address. The zero value counts without limit; it is
// safe for concurrent use.
type PerClient struct {
	Max int // 0 or less: no limit

	mu   sync.Mutex
	open map[netip.Addr]int
}

// key takes an IPv6 client by its /64: that is what one subscriber is given at least (RFC 6177).
func key(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a
}

// Acquire counts one more for a and says whether that is within the limit. Only
// where it says yes, Release must follow.
func (p *PerClient) Acquire(a netip.Addr) bool {
	k := key(a)
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.open[k]
	if p.Max > 0 && n >= p.Max {
		return false
	}
	if p.open == nil {
		p.open = map[netip.Addr]int{}
	}
	p.open[k] = n + 1
	return true
}

// Release gives back what Acquire counted.
func (p *PerClient) Release(a netip.Addr) {
	k := key(a)
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := p.open[k]; n > 1 {
		p.open[k] = n - 1
	} else {
		delete(p.open, k) // nothing is remembered of who is gone
	}
}
