package health

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var errAway = errors.New("away")

// wants puts a question and looks at what comes of it.
func wants(t *testing.T, g *Gate, ctx context.Context, ask func(context.Context) error, want string, c Condition) {
	t.Helper()
	err := g.Put(ctx, ask)
	if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %q", err, want)
	}
	if s := g.State(); s.Condition != c {
		t.Errorf("%+v, want %v", s, c)
	}
}

func hangs(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func says(err error) func(context.Context) error { return func(context.Context) error { return err } }

func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		odd := errors.New("odd")
		g := NewGate(GateOptions{Options: Options{Timeout: 10 * time.Second}, Connections: 2,
			Odd:     func(err error) bool { return errors.Is(err, odd) },
			Explain: func(err error) string { return "explained: " + err.Error() }})
		ctx := t.Context()
		canceled, cancel := context.WithCancel(ctx)
		time.AfterFunc(time.Second, cancel)
		wants(t, g, canceled, hangs, "nobody waits", Unseen) // no fault of the system's
		wants(t, g, ctx, says(nil), "", Up)
		wants(t, g, ctx, says(odd), "explained: odd", Up)
		wants(t, g, ctx, says(errAway), "explained: away", Down)
		wants(t, g, ctx, says(nil), "not asked: explained: away", Down)
		time.Sleep(firstPause)
		wants(t, g, ctx, says(nil), "", Up)
		short, end := context.WithTimeout(ctx, time.Second)
		defer end()
		wants(t, g, short, hangs, "deadline", Down) // its fault: somebody wanted to know by then
		time.Sleep(firstPause)
		wants(t, g, ctx, says(nil), "", Up)
		wants(t, g, ctx, hangs, "deadline", Down)
		time.Sleep(firstPause)
		wants(t, g, ctx, says(odd), "odd", Up) // it is there
	})
}

// TestGateIsNarrow: who finds no room in time says nothing of the system.
func TestGateIsNarrow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGate(GateOptions{Connections: 2})
		ends := make(chan struct{})
		for range 2 {
			go g.Put(t.Context(), func(context.Context) error {
				<-ends
				return nil
			})
		}
		synctest.Wait()
		wants(t, g, t.Context(), says(nil), "all 2 connections were busy", Unseen)
		time.AfterFunc(time.Second, g.Close)
		wants(t, g, t.Context(), says(nil), "closed", Unseen)
		wants(t, g, t.Context(), says(nil), "closed", Unseen)
		close(ends)
	})
}

// TestGateAfterAPanic: a question that ends in a panic is over, too, or nobody would ever find
// out that the system is back.
func TestGateAfterAPanic(t *testing.T) {
	c := &clock{time.Unix(1_000_000, 0)}
	g := NewGate(GateOptions{Options: Options{Now: c.now}, Connections: 1})
	defer g.Close()
	wants(t, g, t.Context(), says(errAway), "away", Down)
	c.t = c.t.Add(firstPause)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed: it is for the directory to tell of it")
			}
		}()
		g.Put(t.Context(), func(context.Context) error { panic("a driver's") })
	}()
	wants(t, g, t.Context(), says(nil), "", Up)
}
