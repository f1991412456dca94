package postfix

import (
	"errors"
	"fmt"
	"net"
	"runtime/debug"
	"sync"
	"time"
)

// Config is what the servers need. Functions may be nil.
type Config struct {
	// Timeout is how long a client may be silent, a request may take to come, and an answer to be taken.
	// 0: ten minutes, which is longer than Postfix keeps an idle connection (300 s, smtpd_policy_service_max_idle).
	Timeout    time.Duration
	MaxRequest int                          // octets of one request; 0: 16384
	Panic      func(v any, stack []byte)    // told of a handler's panic, which ends its connection
	Malformed  func(peer string, err error) // told why a connection was ended; err wraps ErrMalformed
}

// ErrMalformed is wrapped by every error about what the other end sent.
var ErrMalformed = errors.New("malformed")

const (
	defaultTimeout = 10 * time.Minute
	defaultRequest = 16 * 1024
	smallBuffer    = 2 * 1024  // what a connection holds: most requests fit
	maxGathered    = 32 * 1024 // answers that wait for those of their group
	framing        = 16        // octets around a request: a netstring's length, colon and comma
)

var (
	smallBuffers = sync.Pool{New: func() any { b := make([]byte, smallBuffer); return &b }}
	outBuffers   = sync.Pool{New: func() any { b := make([]byte, 0, smallBuffer); return &b }}
)

func (c *Config) timeout() time.Duration {
	if c.Timeout <= 0 {
		return defaultTimeout
	}
	return c.Timeout
}

func (c *Config) maxRequest() int {
	if c.MaxRequest <= 0 {
		return defaultRequest
	}
	return c.MaxRequest
}

// taken is what became of the octets that wait.
type taken struct {
	n    int   // octets of the first request, which is answered; 0: it is not whole
	need int   // octets that it will have, where that is known
	err  error // the connection ends, behind the answers that were given
}

// errHangUp ends a connection that has done nothing wrong.
var errHangUp = errors.New("hang up")

// conn is what the three servers share: octets in, answers gathered, deadlines, the end.
type conn struct {
	nc    net.Conn
	cfg   *Config
	take  func(in []byte) taken // serves the first request of in, and appends its answer to out
	panic func()                // appends an answer for a request whose handler panicked, or nothing
	close func()                // tells the handler that the connection is over

	small *[]byte
	buf   []byte // small, or larger as long as a long request is read; what was read is buf[r:w]
	r, w  int
	need  int
	out   *[]byte   // answers not yet written; nil when there are none
	armed time.Time // when reading and writing time out

	mu       sync.Mutex // orders Drain against the read deadline
	draining bool
}

// Serve answers requests until the client goes, is silent for too long or malformed, or until Drain; and closes
// the connection.
func (c *conn) Serve() {
	defer c.nc.Close()
	c.small = smallBuffers.Get().(*[]byte)
	c.buf = *c.small
	defer func() { smallBuffers.Put(c.small) }()
	defer c.guard(c.close)
	c.guard(func() {
		c.arm()
		if err := c.run(); errors.Is(err, ErrMalformed) && c.cfg.Malformed != nil {
			c.cfg.Malformed(c.nc.RemoteAddr().String(), err)
		}
	})
	c.flush()
}

// guard keeps a panic of the handler to its own connection.
func (c *conn) guard(f func()) {
	defer func() {
		if p := recover(); p != nil {
			if c.cfg.Panic != nil {
				c.cfg.Panic(p, debug.Stack())
			}
			c.panic()
		}
	}()
	f()
}

// Drain ends the connection: at once where it is silent, else when the requests that
// were read are answered. Between two requests there is always a pause, and Postfix comes again.
func (c *conn) Drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.draining = true
	c.nc.SetReadDeadline(time.Unix(1, 0))
}

func (c *conn) run() error {
	for {
		for c.r < c.w {
			t := c.take(c.buf[c.r:c.w])
			c.r += t.n
			c.need = t.need
			if t.err != nil {
				return t.err
			}
			if t.n == 0 {
				break
			}
			if c.out != nil && len(*c.out) >= maxGathered && c.flush() != nil {
				return errHangUp
			}
		}
		if c.flush() != nil {
			return errHangUp
		}
		if err := c.room(); err != nil {
			return err
		}
		n, err := c.nc.Read(c.buf[c.w:])
		c.w += n
		if n == 0 && err != nil {
			return errHangUp
		}
	}
}

// room makes place for what is read next.
func (c *conn) room() error {
	if c.r == c.w {
		c.r, c.w, c.need = 0, 0, 0
		c.buf = *c.small // a long request's buffer is not kept for the short ones behind it
		return nil
	}
	want := max(c.need, c.w-c.r+1)
	if want <= len(c.buf)-c.r {
		return nil
	}
	limit := c.cfg.maxRequest() + framing
	if want > limit {
		return tooLong(c.cfg.maxRequest())
	}
	old := c.buf[c.r:c.w]
	if want > len(c.buf) {
		c.buf = make([]byte, min(limit, max(want, 2*len(c.buf))))
	}
	c.r, c.w = 0, copy(c.buf, old)
	return nil
}

func tooLong(limit int) error {
	return fmt.Errorf("%w: the request is longer than %d octets", ErrMalformed, limit)
}

// answers is where the next answer is appended.
func (c *conn) answers() *[]byte {
	if c.out == nil {
		c.out = outBuffers.Get().(*[]byte)
	}
	return c.out
}

// flush writes what was answered.
func (c *conn) flush() error {
	if c.out == nil {
		return nil
	}
	c.arm()
	_, err := c.nc.Write(*c.out)
	if cap(*c.out) <= 2*maxGathered {
		*c.out = (*c.out)[:0]
		outBuffers.Put(c.out)
	}
	c.out = nil
	return err
}

// arm gives the client its time anew. It is called where an answer was made, so that
// a request which dribbles in does not prolong itself. Moving a deadline costs more than an answer: by less than a
// second in a long time it is not moved.
func (c *conn) arm() {
	t := c.cfg.timeout()
	due := time.Now().Add(t)
	if due.Sub(c.armed) < min(time.Second, t/4) {
		return
	}
	c.armed = due
	c.nc.SetWriteDeadline(due)
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.draining {
		c.nc.SetReadDeadline(due)
	}
}
