package health

import (
	"context"
	"errors"
	"fmt"
)

// GateOptions are those of a Gate. All fields may be zero.
type GateOptions struct {
	Options
	// Connections is how many questions may be under way; 8.
	Connections int
	// Odd says whether an error is about what was asked, so that no other question need fail; nil: never.
	Odd func(error) bool
	// Explain makes one line of an error, for the operator; nil: its text.
	Explain func(error) string
}

// Gate is the way to a system. It lets so many questions through at a time, each for so
// long, and none while the system is down, and notes how each ends. Its methods are called from many goroutines.
type Gate struct {
	*Health
	odd     func(error) bool
	explain func(error) string
	slots   chan struct{}   // holds one for each question under way
	open    context.Context // ends with Close
	end     context.CancelFunc
}

// NewGate makes a gate to a system that was never asked.
func NewGate(o GateOptions) *Gate {
	if o.Connections <= 0 {
		o.Connections = 8
	}
	if o.Odd == nil {
		o.Odd = func(error) bool { return false }
	}
	if o.Explain == nil {
		o.Explain = error.Error
	}
	g := &Gate{Health: New(o.Options), odd: o.Odd, explain: o.Explain, slots: make(chan struct{}, o.Connections)}
	g.open, g.end = context.WithCancel(context.Background())
	return g
}

// Open ends when the gate is closed.
func (g *Gate) Open() context.Context { return g.open }

// Close ends the questions under way, and lets no more through.
func (g *Gate) Close() { g.end() }

var (
	errClosed = errors.New("this source is closed")
	errGone   = errors.New("nobody waits for the answer any more")
)

// Put puts a question to the system: ask gets a context that ends with ctx, with the
// timeout of a question, or with the gate. The error is one line for the operator.
//
// That ctx was cancelled is no fault of the system's. That it ran out of time is: whoever
// set the time wanted to know by then.
func (g *Gate) Put(ctx context.Context, ask func(context.Context) error) error {
	if g.open.Err() != nil {
		return errClosed
	}
	q, why := g.Ask()
	if q == nil {
		return errors.New("not asked: " + why)
	}
	defer q.Abandoned() // however it ends, and be it in a panic
	began := g.opts.Now()
	limited, cancel := context.WithTimeout(ctx, g.opts.Timeout)
	defer cancel()
	defer context.AfterFunc(g.open, cancel)()
	select {
	case g.slots <- struct{}{}:
		defer func() { <-g.slots }()
	case <-limited.Done():
		if err := g.givenUp(ctx); err != nil {
			return err
		}
		return fmt.Errorf("not asked: all %d connections were busy", cap(g.slots))
	}
	err := ask(limited)
	if err == nil {
		q.Answered(g.opts.Now().Sub(began))
		return nil
	}
	if gone := g.givenUp(ctx); gone != nil {
		return gone
	}
	why = g.explain(err)
	if g.odd(err) {
		q.Odd(why)
	} else {
		q.Failed(why)
	}
	return errors.New(why)
}

// givenUp says why our side no longer wants an answer, if so.
func (g *Gate) givenUp(ctx context.Context) error {
	switch {
	case g.open.Err() != nil:
		return errClosed
	case errors.Is(ctx.Err(), context.Canceled):
		return errGone
	}
	return nil
}
