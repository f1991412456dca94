package sqldir

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
)

// guard makes connections that can be given up together: when one of them turns out to
// be dead, those that lie idle are most likely dead as well (the database was restarted).
type guard struct {
	inner driver.Connector
	wires *wires       // nil: a file
	file  string       // SQLite's; "" with a server
	setup string       // said on each new connection
	keep  bool         // a query is prepared once a connection; else the driver does that
	epoch atomic.Int64 // connections of an earlier one are not used again
}

// driverConn is what all three drivers' connections can do.
type driverConn interface {
	driver.Conn
	driver.ConnPrepareContext
	driver.QueryerContext
	driver.ExecerContext
	driver.SessionResetter
}

// conn is one connection of a guard.
type conn struct {
	driverConn
	guard *guard
	epoch int64
	file  fs.FileInfo // as it was opened
	text  string      // the query that prepared is of
	ready driver.Stmt // nil: none
}

func (g *guard) Driver() driver.Driver { return g.inner.Driver() }

// Connect makes a connection that is ready for questions. A driver that panics over what
// a server sends costs the question, not the daemon.
func (g *guard) Connect(ctx context.Context) (made driver.Conn, err error) {
	defer func() {
		if p := recover(); p != nil {
			made, err = nil, fmt.Errorf("what the server sends is not understood: %v", p)
		}
	}()
	c := &conn{guard: g, epoch: g.epoch.Load()}
	if g.file != "" {
		if c.file, err = os.Stat(g.file); err != nil {
			return nil, err
		}
	}
	raw, err := g.inner.Connect(ctx)
	if err != nil {
		return nil, err
	}
	able, ok := raw.(driverConn)
	if !ok {
		raw.Close()
		return nil, errors.New("internal error: the driver's connection lacks a method")
	}
	c.driverConn = able
	if g.setup != "" {
		if _, err := able.ExecContext(ctx, g.setup, nil); err != nil {
			able.Close()
			return nil, fmt.Errorf("the session cannot be made read-only: %w", err)
		}
	}
	return c, nil
}

// giveUp makes all connections of the epoch unfit for further use.
func (g *guard) giveUp(epoch int64) { g.epoch.CompareAndSwap(epoch, epoch+1) }

// ResetSession is called before a connection that lay idle is used: here it is found
// out that it is not the one to use.
func (c *conn) ResetSession(ctx context.Context) error {
	if c.epoch != c.guard.epoch.Load() {
		return driver.ErrBadConn
	}
	if c.file != nil { // a file put in the place of the one that is open would never be seen
		now, err := os.Stat(c.guard.file)
		if err != nil || !os.SameFile(now, c.file) {
			return driver.ErrBadConn
		}
	}
	return c.driverConn.ResetSession(ctx)
}

// IsValid is called when a connection is laid aside.
func (c *conn) IsValid() bool {
	v, ok := c.driverConn.(driver.Validator)
	return c.epoch == c.guard.epoch.Load() && (!ok || v.IsValid())
}

// QueryContext asks, by a statement that is kept for the next question where the driver
// would prepare it anew each time.
func (c *conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if !c.guard.keep {
		return c.driverConn.QueryContext(ctx, query, args)
	}
	if c.ready == nil || c.text != query {
		c.drop()
		stmt, err := c.driverConn.PrepareContext(ctx, query)
		if err != nil {
			return nil, err
		}
		c.ready, c.text = stmt, query
	}
	asked, ok := c.ready.(driver.StmtQueryContext)
	if !ok {
		return nil, errors.New("internal error: the driver's statement lacks a method")
	}
	if n := c.ready.NumInput(); n >= 0 && n != len(args) {
		return nil, fmt.Errorf("the database sees %d parameters in the query, and %d are meant: a placeholder stands where it is taken for text", n, len(args))
	}
	rows, err := asked.QueryContext(ctx, args)
	if err != nil {
		c.drop()
	}
	return rows, err
}

func (c *conn) drop() {
	if c.ready != nil {
		c.ready.Close()
		c.ready = nil
	}
}

// Close closes the connection with its statement.
func (c *conn) Close() error {
	if c.guard.file != "" { // a server forgets it by itself, and may be unable to hear of it
		c.drop()
	}
	return c.driverConn.Close()
}

// wires are the network connections of a source, so that closing it leaves none behind:
// drivers say goodbye in the background, for as long as a server that hangs lets them.
type wires struct {
	ctx context.Context // ends with the source
	end context.CancelFunc

	mu   sync.Mutex
	open map[*wire]struct{}
}

func newWires() *wires {
	w := &wires{open: make(map[*wire]struct{})}
	w.ctx, w.end = context.WithCancel(context.Background())
	return w
}

// wire is one network connection.
type wire struct {
	net.Conn
	of *wires
}

func (w *wires) dial(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(w.ctx, cancel)()
	nc, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	c := &wire{Conn: nc, of: w}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ctx.Err() != nil {
		nc.Close()
		return nil, net.ErrClosed
	}
	w.open[c] = struct{}{}
	return c, nil
}

func (w *wires) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.end()
	for c := range w.open {
		c.Conn.Close()
	}
	clear(w.open)
}

// Close closes the connection.
func (c *wire) Close() error {
	c.of.mu.Lock()
	delete(c.of.open, c)
	c.of.mu.Unlock()
	return c.Conn.Close()
}

// SyscallConn lets a driver look whether the other side has hung up.
func (c *wire) SyscallConn() (syscall.RawConn, error) {
	s, ok := c.Conn.(syscall.Conn)
	if !ok {
		return nil, errors.New("it has no descriptor")
	}
	return s.SyscallConn()
}
