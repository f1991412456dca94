package resolver

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/publicsuffix"
)

// How many questions may be under way: each has a socket.
const (
	maxFlights = 512
	// maxBelow is how many of them may be below one registered domain. Its name servers may be silent.
	maxBelow = 32
	// share: and not more than this part of what the other domains leave, so that it takes some sixty
	// silent ones to fill it all, but
	share = 16
	// leastBelow always: the A and the AAAA record of one name.
	leastBelow = 2
)

// turnedTold is how often the log says at most that questions were turned away.
const turnedTold = time.Minute

// flight is a question under way.
type flight struct {
	q     question
	below string // the registered domain
	done  chan struct{}
	kept  kept
	ctx   context.Context // ends with the time for all of it, and with the resolver
	end   context.CancelFunc

	// Guarded by the mutex of the resolver.
	waiting int  // so many want the answer
	asks    bool // it has a place, and so its answer may be about to come
	left    bool // it ended because nobody wanted it any more
}

// join returns the flight of this question, and begins it if there is none; or says why not.
// Whoever gets one waits for it or leaves it.
func (r *Resolver) join(q question, anew bool) (*flight, string) {
	f, why := r.board(q, anew)
	if why == errMany {
		r.turned.note(f.below)
		why += " below " + strings.TrimSuffix(shown(f.below), ".")
	}
	return f, why
}

// errMany is what a question is told that is turned away.
const errMany = "too many questions are under way"

// board is join under the mutex. Of a question that is turned away the flight tells the domain.
func (r *Resolver) board(q question, anew bool) (*flight, string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, errEnds.Error()
	}
	if f, found := r.flights[q]; found {
		f.waiting++
		return f, ""
	}
	f := &flight{q: q, below: registered(q.name), done: make(chan struct{}), waiting: 1}
	if k, found := r.known(q, anew); found { // it ended a moment ago
		f.kept = k
		close(f.done)
		return f, ""
	}
	own := r.below[f.below]
	if own >= min(maxBelow, max(leastBelow, (maxFlights-len(r.flights)+own)/share)) {
		return f, errMany
	}
	trial, why := r.gate.enter()
	if why != "" {
		return nil, why
	}
	f.ctx, f.end = context.WithTimeout(r.open, r.conf.Total)
	r.flights[q] = f
	r.below[f.below]++
	r.work.Go(func() { r.fly(f, trial) })
	return f, ""
}

// leave is for one who waits no more. The last one ends a flight that only waits for its place; one that
// asks finishes with the server that it is at.
func (r *Resolver) leave(f *flight) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f.waiting--
	if f.waiting == 0 && !f.asks && r.flights[f.q] == f {
		f.left = true
		r.remove(f)
		f.end()
	}
}

// wanted says whether to ask a server. Another one, after a first that did not know, is not asked while others wait for
// a place: so the silent hold theirs no longer than one try.
func (r *Resolver) wanted(f *flight, another bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	f.asks = true
	if f.waiting == 0 {
		f.left = true
		r.remove(f) // who comes now begins anew
	}
	return !f.left && f.ctx.Err() == nil && !(another && r.queue > 0)
}

// remove takes the flight from those under way; r.mu is held.
func (r *Resolver) remove(f *flight) {
	if r.flights[f.q] != f {
		return
	}
	delete(r.flights, f.q)
	if r.below[f.below]--; r.below[f.below] == 0 {
		delete(r.below, f.below)
	}
}

// fly asks, keeps the answer and gives it to those who wait.
func (r *Resolver) fly(f *flight, trial bool) {
	defer close(f.done)
	defer f.end()
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.remove(f)
	}()
	if trial {
		r.probe()
	}
	if !r.place(f) {
		f.kept.err = &net.DNSError{Err: errMany, IsTemporary: true}
		return
	}
	defer func() { <-r.slots }()
	f.kept = r.ask(f, f.q)
	if f.kept.err != nil && f.left || r.open.Err() != nil {
		return // it says nothing of the name
	}
	r.cache.Set(f.q, f.kept)
}

// place waits until the flight may ask, for half of its time at most.
func (r *Resolver) place(f *flight) bool {
	select {
	case r.slots <- struct{}{}:
		return true
	default:
	}
	r.queued(1)
	defer r.queued(-1)
	ctx, cancel := context.WithTimeout(f.ctx, r.conf.Total/2)
	defer cancel()
	select {
	case r.slots <- struct{}{}:
		return true
	case <-ctx.Done():
	}
	if f.ctx.Err() == nil { // nobody left it
		r.turned.note(f.below)
	}
	return false
}

func (r *Resolver) queued(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.queue += n
}

// ask puts the question to the servers, and again for the name at the end of a chain that the answer
// does not show.
func (r *Resolver) ask(f *flight, q question) kept {
	ttl := longest
	for range maxChain {
		a, err := r.exchange(f, q)
		if err != nil {
			return kept{err: err, until: r.conf.Now().Add(failureKept)}
		}
		ttl = min(ttl, a.ttl)
		if a.next == "" {
			a.ttl = ttl
			return kept{answer: a, until: r.conf.Now().Add(min(max(ttl, leastKept), mostKept))}
		}
		q.name = a.next
	}
	return kept{err: &net.DNSError{Err: errLoop.Error(), IsTemporary: true}, until: r.conf.Now().Add(failureKept)}
}

// registered is the part of a name in the DNS that somebody registered, who has all that is below; of the
// name of an address, that of a network as somebody has it: a /16, a /32 of IPv6.
func registered(name string) string {
	switch {
	case strings.HasSuffix(name, ".in-addr.arpa."):
		return lastLabels(name, 4)
	case strings.HasSuffix(name, ".ip6.arpa."):
		return lastLabels(name, 10)
	}
	name = strings.TrimSuffix(name, ".")
	if org, err := publicsuffix.EffectiveTLDPlusOne(name); err == nil {
		return org
	}
	return name
}

// lastLabels cuts a name with the dot at the end to so many labels.
func lastLabels(name string, n int) string {
	at := len(name) - 1
	for ; n > 0 && at > 0; n-- {
		at = strings.LastIndexByte(name[:at], '.')
	}
	return name[at+1:]
}

// turned counts the questions that were turned away, and tells the log, not of each.
type turned struct {
	now    func() time.Time
	logger *slog.Logger

	mu    sync.Mutex
	all   uint64
	fresh uint64 // that the log has not heard of
	told  time.Time
}

// note counts one.
func (t *turned) note(below string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.all++
	t.fresh++
	if now := t.now(); t.told.IsZero() || now.Sub(t.told) >= turnedTold {
		t.logger.Warn("too many questions to the DNS are under way: some are not asked", "below", shown(below), "turned_away", t.fresh)
		t.told, t.fresh = now, 0
	}
}

func (t *turned) total() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.all
}
