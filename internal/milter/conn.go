package milter

import (
	"encoding/binary"
	"errors"
	"net"
	"runtime/debug"
	"sync"
	"time"
)

// Conn is one connection of an MTA. It is a listen.Served.
type Conn struct {
	cfg *Config
	nc  net.Conn
	in  packets
	h   Handler // nil before CONNECT and behind QUIT_NC
	mac macros

	version uint32
	actions ActionMask
	steps   StepMask

	connected bool
	open      bool     // a transaction is
	data      bool     // and DATA was said
	late      Response // what Data said, where it could not be sent
	owed      bool     // the MTA waits for an answer
	armed     time.Time

	mu       sync.Mutex // orders Drain against the read deadline
	draining bool
	busy     bool // in a transaction

	wmu    sync.Mutex // the progress timer writes too
	armedW time.Time
	word   [5]byte
	timer  *time.Timer // set while Message works behind the end of the body
}

const (
	defaultTimeout  = 2 * time.Hour
	defaultProgress = 10 * time.Second
	writeTimeout    = time.Minute // for an MTA that does not read what it waits for
)

var (
	errQuit     = errors.New("milter: the MTA has quit")
	errDraining = errors.New("milter: draining")
)

// NewConn makes a Conn of a connection that was accepted. cfg is shared and not changed.
func NewConn(nc net.Conn, cfg *Config) *Conn {
	c := &Conn{cfg: cfg, nc: nc}
	c.in = packets{nc: nc, wait: c.wait}
	return c
}

// Macro is the value of a macro, "i" or "{auth_authen}", with or without its braces: of the latest stage that has it.
// "" where there is none. Those of an earlier transaction are forgotten, as are those of stages that were left behind.
// It is for the Handler's methods only.
func (c *Conn) Macro(name string) string { return c.mac.get(name) }

// Can says whether the MTA granted all of a.
func (c *Conn) Can(a ActionMask) bool { return c.actions&a == a }

// Does says whether all of s was agreed upon.
func (c *Conn) Does(s StepMask) bool { return c.steps&s == s }

// Version is the version of the protocol that was agreed upon, 2 to 6.
func (c *Conn) Version() uint32 { return c.version }

// RemoteAddr is the MTA's address.
func (c *Conn) RemoteAddr() net.Addr { return c.nc.RemoteAddr() }

// Serve speaks with the MTA until the connection is over, and closes it. A panic of the Handler is answered by a temporary failure.
func (c *Conn) Serve() {
	c.in.init()
	defer func() {
		if p := recover(); p != nil {
			c.panicked(p, debug.Stack())
		}
		c.stopProgress()
		c.nc.Close() // before the handler is told: the MTA need not wait for what it does then
		c.leave()
		c.in.free()
	}()
	err := c.negotiate()
	for err == nil {
		var command byte
		var data []byte
		if command, data, err = c.in.next(); err == nil {
			err = c.event(command, data)
		}
	}
	if c.cfg.Malformed != nil && errors.Is(err, ErrMalformed) {
		c.cfg.Malformed(c.nc.RemoteAddr().String(), err)
	}
}

// panicked answers for a fault of ours. The connection ends with it: nobody knows what state the handler is in.
func (c *Conn) panicked(p any, stack []byte) {
	c.stopProgress()
	if c.cfg.Panic != nil {
		c.cfg.Panic(p, stack)
	}
	c.answer(Response{Action: TempFail})
}

// leave tells the handler, once, that the client's connection is over, even if it is broken itself.
func (c *Conn) leave() {
	h := c.h
	if h == nil {
		return
	}
	defer func() {
		if p := recover(); p != nil && c.cfg.Panic != nil {
			c.cfg.Panic(p, debug.Stack())
		}
	}()
	c.h = nil
	defer h.Close()
	if c.open {
		c.open = false
		h.Abort()
	}
}

// Drain ends the connection as soon as no transaction is open. It may be called from any goroutine, at any time.
func (c *Conn) Drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.draining = true
	if !c.busy {
		c.nc.SetReadDeadline(time.Unix(1, 0))
	}
}

// beginBusy is setBusy(true), unless the connection is to end now.
func (c *Conn) beginBusy() bool {
	c.mu.Lock()
	draining := c.draining
	c.mu.Unlock()
	if !draining {
		c.setBusy(true)
	}
	return !draining
}

// setBusy brackets a transaction, for whose end Drain waits.
func (c *Conn) setBusy(busy bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if busy == c.busy {
		return
	}
	c.busy = busy
	if !c.draining {
		return
	}
	c.armed = time.Time{} // the deadline was pulled an instant ago, or is now
	if !busy {
		c.nc.SetReadDeadline(time.Unix(1, 0))
	}
}

// wait is called before each read.
func (c *Conn) wait() error {
	if !c.open && c.in.r == c.in.w {
		c.in.rest()
	}
	timeout := c.cfg.Timeout
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	// Moving a deadline costs more than looking at the clock: it is moved where that makes a difference.
	want := time.Now().Add(timeout)
	if d := want.Sub(c.armed); d >= 0 && d < timeout/16 {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.draining && !c.busy {
		return errDraining
	}
	c.armed = want
	return c.nc.SetReadDeadline(want)
}

// negotiate takes SMFIC_OPTNEG and answers with what both sides can.
func (c *Conn) negotiate() error {
	command, data, err := c.in.next()
	switch {
	case err != nil:
		return err
	case command == cmdQuit:
		return errQuit
	case command != cmdNegotiate:
		return broken("%q before the negotiation", command)
	case len(data) < 12:
		return broken("a negotiation of %d octets", len(data))
	}
	c.version = min(binary.BigEndian.Uint32(data), MaxVersion)
	if c.version < MinVersion {
		return broken("version %d", c.version)
	}
	offered := ActionMask(binary.BigEndian.Uint32(data[4:]))
	wanted := c.cfg.Actions &^ SetMacros
	if len(c.cfg.Macros) > 0 {
		wanted |= SetMacros
	}
	c.actions = wanted & offered & allActions
	// Without these two there would be no transaction to speak of.
	c.steps = c.cfg.Steps & StepMask(binary.BigEndian.Uint32(data[8:])) & allSteps &^ (NoConnect | NoMail)
	b, at := begin(nil, cmdNegotiate)
	b = binary.BigEndian.AppendUint32(b, c.version)
	b = binary.BigEndian.AppendUint32(b, uint32(c.actions))
	b = binary.BigEndian.AppendUint32(b, uint32(c.steps))
	if c.Can(SetMacros) {
		for s := StageConnect; s <= StageEOH; s++ {
			if names, ok := c.cfg.Macros[s]; ok {
				b = binary.BigEndian.AppendUint32(b, uint32(s))
				b = append(append(b, names...), 0)
			}
		}
	}
	return c.write(end(b, at))
}
