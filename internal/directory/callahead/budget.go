package callahead

import (
	"context"
	"fmt"
	"time"
)

// enter waits for the turn of n questions and for a connection's place. It returns "" when both
// are there, and then leave must follow; else why not.
func (s *Source) enter(ctx context.Context, n int) string {
	now := s.cfg.Now()
	r := s.limit.ReserveN(now, n)
	if delay := r.DelayFrom(now); delay > s.cfg.Timeout/4 {
		// Better 451 at once than a sender who is kept waiting for it.
		r.CancelAt(now)
		return fmt.Sprintf("not asked: more than %g questions a second", s.cfg.Rate)
	} else if delay > 0 && !sleep(ctx, delay) {
		return "not asked: gave up waiting for its turn"
	}
	select {
	case s.slots <- struct{}{}:
		return ""
	case <-ctx.Done():
		return fmt.Sprintf("not asked: all %d connections were busy", s.cfg.Connections)
	}
}

func (s *Source) leave() { <-s.slots }

// sleep waits, and says whether it was for the whole time.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
