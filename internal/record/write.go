package record

import (
	"context"
	"time"
)

// run writes what is held: BatchDelay after the first, or when BatchSize wait. It is the only one who writes.
func (r *Record) run() {
	defer close(r.gone)
	sweep := time.NewTimer(firstSweep)
	defer sweep.Stop()
	var room []Entry
	retry := time.Duration(0) // after a failure: how long the store is left alone
	for {
		select {
		case <-r.stop:
			r.finish(room)
			return
		case <-sweep.C:
			r.sweep()
			sweep.Reset(sweepEvery)
			continue
		case <-r.wake:
		}
		if !r.pause(max(BatchDelay, retry), retry == 0) {
			r.finish(room)
			return
		}
		var more bool
		var err error
		for more = true; more && err == nil; {
			room, more, err = r.write(room)
		}
		if err == nil {
			retry = 0
			continue
		}
		retry = min(max(2*retry, 2*BatchDelay), maxRetry)
		signal(r.wake) // what is held must be tried again, whether more comes or not
	}
}

// pause waits for the time, or for a whole batch where that may shorten it. False: stop.
func (r *Record) pause(d time.Duration, hurry bool) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	full := r.full
	if !hurry {
		full = nil
	}
	select {
	case <-t.C:
	case <-full:
	case <-r.stop:
		return false
	}
	return true
}

// write writes one batch and says whether a whole one is left. What cannot be written stays held.
func (r *Record) write(room []Entry) (_ []Entry, more bool, _ error) {
	r.mu.Lock()
	batch, end := r.held.batch(room)
	r.mu.Unlock()
	if len(batch) == 0 {
		return batch, false, nil
	}
	ctx, cancel := context.WithTimeout(r.background, saveTime)
	err := r.store.SaveRecords(ctx, batch)
	cancel()

	r.mu.Lock()
	defer r.mu.Unlock()
	failed := r.stat.LastError != ""
	if err != nil {
		r.stat.Failures++
		r.stat.LastError = err.Error()
		if !failed {
			r.log.Error("records of seen mail cannot be written; they are kept in memory and tried again", "waiting", r.held.len(), "error", err.Error())
		}
		return batch, false, err
	}
	if failed {
		r.log.Info("records of seen mail are written again", "waiting", r.held.len()-len(batch))
	}
	r.stat.LastError = ""
	r.stat.Written += uint64(len(batch))
	r.held.dropUntil(end) // some may have been pushed out meanwhile
	return batch, r.held.len() >= BatchSize, nil
}

// finish writes the rest, until the store fails.
func (r *Record) finish(room []Entry) {
	for r.background.Err() == nil {
		var err error
		room, _, err = r.write(room)
		if err != nil || len(room) == 0 {
			return
		}
	}
}

// sweep drops what holds no longer.
func (r *Record) sweep() {
	ctx, cancel := context.WithTimeout(r.background, expireTime)
	defer cancel()
	if err := r.store.ExpireRecords(ctx, r.now().Add(-Keep)); err != nil && r.background.Err() == nil {
		r.log.Error("old records of seen mail could not be dropped", "error", err.Error())
	}
}
