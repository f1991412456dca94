package tally

import (
	"context"
	"time"
)

// run loads what the store has of today, and then writes what is counted. It is the only one who writes.
func (t *Tally) run(loaded chan<- struct{}) {
	defer close(t.gone)
	t.load()
	close(loaded)
	sweep := time.NewTimer(firstSweep)
	defer sweep.Stop()
	delay := WriteDelay
	for {
		select {
		case <-t.stop:
			t.write()
			return
		case <-sweep.C:
			t.sweep()
			sweep.Reset(sweepEvery)
			continue
		case <-t.wake:
		}
		wait := time.NewTimer(delay)
		select {
		case <-wait.C:
		case <-t.stop:
			wait.Stop()
			t.write()
			return
		}
		if t.write() == nil {
			delay = WriteDelay
			continue
		}
		delay = min(2*delay, maxRetry)
		signal(t.wake)
	}
}

// load learns what was told apart today before this start.
func (t *Tally) load() {
	ctx, cancel := context.WithTimeout(t.background, storeTime)
	defer cancel()
	today := DayOf(t.now())
	err := t.use(ctx, func() error {
		return t.store.LoadTally(ctx, today, func(l Line) error {
			t.mu.Lock()
			defer t.mu.Unlock()
			if l.Day == today {
				t.day(today).know(l.Entry)
			}
			return nil
		})
	})
	if err != nil && t.background.Err() == nil {
		t.log.Error("the counts of bounces cannot be read", "error", err.Error())
	}
}

// use calls f while nobody else uses the store.
func (t *Tally) use(ctx context.Context, f func() error) error {
	select {
	case t.storing <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-t.storing }()
	return f()
}

// write adds what waits to the store. What cannot be written waits on.
func (t *Tally) write() error {
	ctx, cancel := context.WithTimeout(t.background, storeTime)
	defer cancel()
	return t.use(ctx, func() error {
		t.mu.Lock()
		var batch []Line
		for _, b := range t.days {
			for e, n := range b.waiting {
				batch = append(batch, Line{e, n})
			}
		}
		t.mu.Unlock()
		if len(batch) == 0 {
			return nil
		}
		err := t.store.AddTally(ctx, batch)
		t.written(batch, err)
		return err
	})
}

// written takes off what was written; more may have been counted meanwhile.
func (t *Tally) written(batch []Line, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	failed := t.stat.LastError != ""
	if err != nil {
		t.stat.Failures++
		t.stat.LastError = err.Error()
		if !failed {
			t.log.Error("counts of bounces cannot be written; they are kept in memory and tried again", "error", err.Error())
		}
		return
	}
	if failed {
		t.log.Info("counts of bounces are written again")
	}
	t.stat.LastError = ""
	today := DayOf(t.now())
	for _, l := range batch {
		b := t.days[l.Day]
		if b == nil {
			continue
		}
		if b.waiting[l.Entry] <= l.Count { // less: the day was dropped and begun anew meanwhile
			delete(b.waiting, l.Entry)
		} else {
			b.waiting[l.Entry] -= l.Count
		}
		if len(b.waiting) == 0 && l.Day != today {
			delete(t.days, l.Day)
		}
	}
}

// sweep drops the days that are kept no longer.
func (t *Tally) sweep() {
	ctx, cancel := context.WithTimeout(t.background, storeTime)
	defer cancel()
	err := t.use(ctx, func() error { return t.store.ExpireTally(ctx, DayOf(t.now())-KeepDays) })
	if err != nil && t.background.Err() == nil {
		t.log.Error("old counts of bounces could not be dropped", "error", err.Error())
	}
}
