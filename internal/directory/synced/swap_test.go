package synced

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"backstop/internal/directory"
	"backstop/internal/evidence"
)

// crowd is a directory of n people of whom each pull finds another one gone.
type crowd struct {
	n     int
	pulls atomic.Int64
}

func (c *crowd) name(i int) string { return fmt.Sprintf("user.number%d@example.com", i) }

func (c *crowd) Full(_ context.Context, into directory.Copy) (directory.Pulled, error) {
	gone := int(c.pulls.Add(1)) % 100
	for i := range c.n {
		if i == gone {
			continue
		}
		if err := into.Take("", c.name(i)); err != nil {
			return directory.Pulled{}, err
		}
	}
	return directory.Pulled{}, nil
}

func (c *crowd) Changes(context.Context, []byte, directory.Copy) (directory.Pulled, error) {
	return directory.Pulled{}, directory.ErrStartOver
}

// A hundred look up while a large set is swapped, again and again: no wrong answer.
func TestSwapUnderReaders(t *testing.T) {
	const n, readers, swaps = 250_000, 100, 12
	c := &crowd{n: n}
	s, err := Open(Config{Name: "crowd", Puller: c, Ticks: make(chan time.Time), Folder: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.Start()
	if _, err := s.Sync(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	var asked, wrong atomic.Int64
	end := make(chan struct{})
	var all sync.WaitGroup
	for r := range readers {
		all.Go(func() {
			for i := 100 + r; ; i = 100 + (i+7919)%(n-100) {
				select {
				case <-end:
					return
				default:
				}
				k := c.name(i)
				if s.Known(k) != evidence.Exists || s.Known("no"+k) != evidence.Missing {
					wrong.Add(1)
				}
				asked.Add(1)
				runtime.Gosched() // or a hundred of them leave the puller no processor
			}
		})
	}
	changed := 0
	for range swaps {
		r, err := s.Sync(t.Context(), false)
		if err != nil {
			t.Error(err)
		}
		if r.Changed {
			changed++
		}
	}
	close(end)
	all.Wait()
	if wrong.Load() != 0 || asked.Load() == 0 || changed == 0 {
		t.Errorf("%d of %d answers were wrong, in %d swaps", wrong.Load(), asked.Load(), changed)
	}
	t.Logf("%d answers in %d swaps", 2*asked.Load(), changed)
}
