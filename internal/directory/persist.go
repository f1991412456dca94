package directory

import (
	"context"
	"errors"
	"sync"
	"time"

	"backstop/internal/evidence"
)

// writer gathers what must reach the store, so that no answer waits for a disk.
type writer struct {
	wake chan struct{} // something is pending

	mu      sync.Mutex // guards pending
	pending []Entry

	store sync.Mutex // held while the store works, so that a Forget falls between two writes
}

const (
	// writeDelay is how much may be lost in a crash.
	writeDelay = time.Second
	// fewPending is how many answers wait for the store before first misses, which are
	// worth two minutes, are no longer kept; maxPending how many at all.
	fewPending = 5_000
	maxPending = 100_000
	// loadWait is how long the start waits for the answers kept from before.
	loadWait = time.Second
	// sweepEvery is how often answers that are of no use any more are dropped.
	sweepEvery = time.Hour
	// keepMissing is how long a "missing" is kept beyond its use, to know it as repeated.
	keepMissing = 24 * time.Hour
)

// errEnough ends a load when the cache is full.
var errEnough = errors.New("the cache is full")

// startLoad reads the store in the background, and waits for it a moment: the
// newest answers come first, and a gateway that waits for all of a very full store would be
// away the longer the more it knows.
func (d *Directory) startLoad() {
	done := make(chan struct{})
	d.running.Go(func() {
		defer close(done)
		d.load()
	})
	t := time.NewTimer(loadWait)
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
	}
}

func (d *Directory) load() {
	d.write.store.Lock()
	defer d.write.store.Unlock()
	now := d.now().UnixNano()
	n := 0
	err := d.cfg.Store.Load(d.background, func(s Entry) error {
		if n == d.cfg.Size {
			return errEnough
		}
		e := &entry{source: s.Source, addr: s.Address, detail: s.Detail, standing: s.Standing, at: s.At.UnixNano(), life: int64(s.Life)}
		if s.Standing != evidence.Exists && s.Standing != evidence.Missing || d.useless(e, now) {
			return nil
		}
		n++
		d.cache.update(e.source, e.addr, func(old *entry) *entry {
			if old != nil {
				return nil // asked for since: younger
			}
			return e
		})
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) && d.background.Err() == nil {
		d.cfg.Logger.Error("the answers kept from before could not all be read; they will be asked for again", "read", n, "error", err)
	}
}

// keepExists is how long an "exists" is kept: a month at the least, for a reload may make lives longer.
func (d *Directory) keepExists() time.Duration {
	l := d.longest.Load()
	return max(30*24*time.Hour, l.ExistsFor, l.MaxStale)
}

// useless says whether no chain can use the entry any more.
func (d *Directory) useless(e *entry, now int64) bool {
	if e.standing == evidence.Missing {
		return e.age(now) >= time.Duration(e.life)+d.longest.Load().MissingMax+keepMissing
	}
	return e.age(now) >= d.keepExists()
}

// persist notes an answer for the store.
func (d *Directory) persist(e *entry, lives *Lives) {
	if d.cfg.Store == nil {
		return
	}
	first := e.standing == evidence.Missing && time.Duration(e.life) <= lives.MissingFor
	w := &d.write
	w.mu.Lock()
	if n := len(w.pending); n < fewPending || n < maxPending && !first {
		w.pending = append(w.pending, Entry{
			Source: e.source, Address: e.addr, Standing: e.standing,
			At: time.Unix(0, e.at), Life: time.Duration(e.life), Detail: e.detail,
		})
	}
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (d *Directory) startWriter() {
	d.write.wake = make(chan struct{}, 1)
	d.running.Go(func() {
		sweep := time.NewTicker(sweepEvery)
		defer sweep.Stop()
		for {
			select {
			case <-d.background.Done():
				return
			case <-sweep.C:
				d.sweep()
			case <-d.write.wake:
				select {
				case <-time.After(writeDelay):
				case <-d.background.Done():
					return // Close writes the rest
				}
				if err := d.flush(d.background); err != nil {
					d.cfg.Logger.Error("answers could not be written to the store; they are remembered until the next start", "error", err)
				}
			}
		}
	})
}

// flush writes what is pending. What cannot be written stays pending.
func (d *Directory) flush(ctx context.Context) error {
	if d.cfg.Store == nil {
		return nil
	}
	w := &d.write
	w.store.Lock()
	defer w.store.Unlock()
	w.mu.Lock()
	batch := w.pending
	w.pending = nil
	w.mu.Unlock()
	if len(batch) == 0 {
		return nil
	}
	err := d.cfg.Store.Save(ctx, batch)
	if err != nil {
		w.mu.Lock()
		if len(w.pending)+len(batch) <= maxPending {
			w.pending = append(batch, w.pending...)
		}
		w.mu.Unlock()
	}
	return err
}

func (d *Directory) forgetStored(ctx context.Context, p Pattern) error {
	if d.cfg.Store == nil {
		return nil
	}
	w := &d.write
	w.store.Lock()
	defer w.store.Unlock()
	w.mu.Lock()
	kept := w.pending[:0]
	for _, e := range w.pending {
		if !p.Match(e.Address) {
			kept = append(kept, e)
		}
	}
	clear(w.pending[len(kept):])
	w.pending = kept
	w.mu.Unlock()
	return d.cfg.Store.Forget(ctx, p)
}

// sweep drops what is of no use any more, here and in the store.
func (d *Directory) sweep() {
	now := d.now()
	d.cache.drop(func(e *entry) bool { return d.useless(e, now.UnixNano()) })
	d.write.store.Lock()
	defer d.write.store.Unlock()
	exists := now.Add(-d.keepExists())
	missing := now.Add(-2*d.longest.Load().MissingMax - keepMissing)
	if err := d.cfg.Store.Expire(d.background, exists, missing); err != nil && d.background.Err() == nil {
		d.cfg.Logger.Error("old answers could not be dropped from the store", "error", err)
	}
}
