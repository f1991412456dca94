package synced

import (
	"context"
	"errors"
	"runtime"
	"time"
)

// run is a pull under way, or one that is wanted. All but done is guarded by Source.mu until done is closed.
type run struct {
	confirm *Held // what somebody who waits was shown, and takes over; nil: nothing
	heard   bool  // confirm was there when it was asked for
	done    chan struct{}
	report  Report
	err     error
}

// Sync pulls now, or joins the pull under way, and waits for its end; before Start, for that. With confirm a pull is
// taken over that would be held back, unless it loses more than State shows when Sync is called: where nothing is
// held back yet, there is nothing to confirm. When ctx ends first, the pull goes on. The error wraps ErrHeld, or is the pull's; where the report says that the copy
// has changed, it is why that cannot be kept.
func (s *Source) Sync(ctx context.Context, confirm bool) (Report, error) {
	if s.cfg.Offline {
		return Report{}, ErrOffline
	}
	var shown *Held
	if confirm {
		shown = s.State().Held
	}
	for {
		r, err := s.want(shown)
		if err != nil {
			return Report{}, err
		}
		select {
		case <-r.done:
		case <-ctx.Done():
			return Report{}, ctx.Err()
		}
		if shown != nil && errors.Is(r.err, ErrHeld) && !r.heard {
			continue // it was decided before it could hear
		}
		return r.report, r.err
	}
}

// want returns the pull under way, or has one begin.
func (s *Source) want(confirm *Held) (*run, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	if s.run == nil {
		s.run = &run{done: make(chan struct{})}
		s.wake <- struct{}{} // it has room, for there was no run
	}
	if confirm != nil {
		s.run.confirm = confirm
	}
	return s.run, nil
}

// loop pulls whenever it is time, or somebody wants it.
func (s *Source) loop() {
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.end()
	}()
	s.files.sweep()
	if s.overtaken() {
		s.show(s.openKept())
	}
	ticks := s.cfg.Ticks
	var timer *time.Timer
	if ticks == nil {
		timer = time.NewTimer(0)
		defer timer.Stop()
		ticks = timer.C
	} else {
		s.pull(s.begin())
	}
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-ticks:
		case <-s.wake:
		}
		s.pull(s.begin())
		if timer != nil {
			timer.Reset(s.rest())
		}
	}
}

// end tells whoever waits that no pull will come. Source.mu is locked.
func (s *Source) end() {
	s.closed = true
	if s.run != nil {
		s.run.err = ErrClosed
		close(s.run.done)
		s.run = nil
	}
	s.state.Next = time.Time{}
}

// begin makes the run that was wanted, or one that nobody waits for yet, the one under way.
func (s *Source) begin() *run {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.run == nil {
		s.run = &run{done: make(chan struct{})}
	}
	select {
	case <-s.wake:
	default:
	}
	s.state.Pulling, s.state.Next = true, time.Time{}
	s.taken.Store(0)
	return s.run
}

// confirmed says whether the run may lose what held says. From then on whoever confirms is too late.
func (s *Source) confirmed(r *run, h *Held) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.heard = r.confirm != nil
	return r.heard && !h.worse(r.confirm)
}

// rest is how long to wait for the next pull.
func (s *Source) rest() time.Duration {
	if s.failures == 0 {
		return s.cfg.Every
	}
	return min(s.cfg.Every, firstPause<<min(s.failures-1, 20))
}

// large is the size in octets from which the memory of a set is not left to the next collection, which may be minutes away.
const large = 16 << 20

// pull pulls once, and tells everybody what came of it.
func (s *Source) pull(r *run) {
	begun := s.cfg.Now()
	before := s.State().Size
	report, err := s.pullSafely(r, begun)
	if report.Changed && before >= large {
		runtime.GC() // which finds out that nobody looks into the one before, and gives its memory back
	}
	if s.ctx.Err() != nil && err != nil {
		err = ErrClosed
	}
	report.Took = s.cfg.Now().Sub(begun)
	s.settle(&report, err, begun)
	s.mu.Lock()
	r.report, r.err = report, err
	s.run = nil
	s.mu.Unlock()
	if err != ErrClosed {
		s.cfg.Changed(s.State())
	}
	close(r.done)
}

// settle notes the end of a pull, and logs it where it differs from the one before.
func (s *Source) settle(report *Report, err error, begun time.Time) {
	s.mu.Lock()
	before := s.state
	st := &s.state
	st.Pulling, st.Taken = false, 0
	if err == ErrClosed {
		s.mu.Unlock()
		return
	}
	st.Bad, st.Err = report.Bad, err
	if err == nil || errors.Is(err, ErrHeld) || report.Changed {
		st.Held = report.Held // one that failed says nothing about what is held
	}
	if errors.Is(err, ErrHeld) {
		st.Err = nil
	}
	if st.Since.IsZero() || (before.Err == nil) != (st.Err == nil) || (before.Held == nil) != (st.Held == nil) {
		st.Since = begun
	}
	if failed := st.Err != nil && !report.Changed; failed {
		s.failures++
	} else {
		s.failures = 0
	}
	if s.cfg.Ticks == nil {
		st.Next = s.cfg.Now().Add(s.rest())
	}
	now := *st
	now.Stale = s.stale()
	s.mu.Unlock()
	s.show(s.view.Load().set) // its words may be others
	s.tell(report, &before, &now)
}

// tell logs what is new.
func (s *Source) tell(r *Report, before, now *State) {
	log := s.cfg.Logger.With("source", s.cfg.Name)
	none := now.Made.IsZero()
	switch {
	case now.Err == nil:
		if before.Err != nil {
			log.Info("a source can be pulled again")
		}
	case before.Err != nil:
		log.Debug("a source still cannot be pulled", "error", now.Err)
	case r.Changed:
		log.Error("a pulled source cannot be kept, so a restart would pull everything anew", "error", now.Err)
	case none:
		log.Error("a source cannot be pulled, and there is no copy of it: its recipients are deferred", "error", now.Err)
	case now.Stale:
		log.Error("a source cannot be pulled, and its copy is too old: its recipients are deferred", "made", now.Made, "error", now.Err)
		s.staleTold = true
	default:
		log.Error("a source cannot be pulled; its copy goes on", "entries", now.Entries, "made", now.Made, "error", now.Err)
	}
	if now.Stale && !none && !s.staleTold {
		log.Error("the copy of a source is too old by now: its recipients are deferred", "made", now.Made)
	}
	s.staleTold = now.Stale
	switch {
	case now.Held != nil && before.Held == nil && none:
		log.Error("a pull was held back, for it loses too many recipients; as there is no copy, all are deferred until a pull loses less, or somebody confirms it",
			"loss", now.Held.String(), "before", now.Held.Before, "after", now.Held.After)
	case now.Held != nil && before.Held == nil:
		log.Error("a pull was held back, for it loses too many recipients; the copy goes on until a pull loses less, or somebody confirms it",
			"loss", now.Held.String(), "before", now.Held.Before, "after", now.Held.After)
	case now.Held == nil && before.Held != nil && !r.Changed:
		log.Info("a pull loses nobody any more")
	}
	if r.Changed {
		log.Info("a pulled source was taken over", "entries", r.Entries, "before", r.Before, "recipients", r.Taken, "full", r.Full, "ms", float64(r.Took.Microseconds())/1000)
	}
}
