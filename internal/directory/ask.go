package directory

import (
	"context"
	"fmt"
	"strings"
	"time"

	"backstop/internal/evidence"
	"backstop/internal/mail"
)

// flight is one question under way, for everybody who wants its answer.
type flight struct {
	done   chan struct{}
	answer Answer // set before done is closed
}

type flightKey struct{ source, addr string }

// ask asks the source, together with whoever else asks the same just now. The
// question is nobody's own: a caller who gives up leaves it to the others, and its
// answer is remembered even when all have left.
func (d *Directory) ask(ctx context.Context, l *link, addr mail.Address) Answer {
	f := d.flight(l, addr)
	select {
	case <-f.done:
		return f.answer
	case <-ctx.Done():
		return Answer{Standing: evidence.Unavailable, Detail: "gave up waiting for the answer: " + ctx.Err().Error()}
	}
}

// flight returns the question under way, or begins one.
func (d *Directory) flight(l *link, addr mail.Address) *flight {
	k := flightKey{l.key, addr.Key()}
	d.mu.Lock()
	defer d.mu.Unlock()
	if f := d.flights[k]; f != nil {
		return f
	}
	f := &flight{done: make(chan struct{})}
	if d.closed {
		f.answer = Answer{Standing: evidence.Unavailable, Detail: "the directory is closed"}
		close(f.done)
		return f
	}
	d.flights[k] = f
	epoch := d.epoch
	d.running.Add(1)
	go func() {
		defer d.running.Done()
		began := d.now()
		ctx, cancel := context.WithTimeout(d.background, d.cfg.Timeout)
		f.answer = d.call(ctx, l, addr)
		cancel()
		d.mu.Lock()
		if d.epoch == epoch { // an answer from before a Forget would undo it
			d.remember(l, addr.Key(), f.answer, began)
		}
		delete(d.flights, k)
		d.mu.Unlock()
		close(f.done)
	}()
	return f
}

// call asks the source itself. Whatever it does, a panic included, comes out as a
// checked answer: what is not understood is Unavailable.
func (d *Directory) call(ctx context.Context, l *link, addr mail.Address) (a Answer) {
	began := d.now()
	defer func() {
		if p := recover(); p != nil {
			d.cfg.Logger.Error("a recipient source panicked", "source", l.name, "panic", fmt.Sprint(p))
			a = Answer{Standing: evidence.Unavailable, Detail: "internal error in this source"}
		}
		if d.cfg.OnAnswer != nil {
			d.cfg.OnAnswer(l.name, a.Standing, d.now().Sub(began))
		}
	}()
	a = l.source.Lookup(ctx, addr)
	switch a.Standing {
	case evidence.Exists, evidence.Missing, evidence.NotAsked:
	default:
		a.Standing = evidence.Unavailable
	}
	return a
}

// refreshPause is how long a background question is not repeated.
const refreshPause = time.Minute

// refresh asks again in the background when the answer in use nears its end.
func (d *Directory) refresh(l *link, addr mail.Address, e *entry, now int64, lives *Lives) {
	if e.age(now) < lives.ExistsFor-lives.Refresh {
		return
	}
	due := e.refreshAt.Load()
	if now < due || !e.refreshAt.CompareAndSwap(due, now+int64(refreshPause)) {
		return
	}
	select {
	case d.refreshing <- struct{}{}:
	default:
		return // many are under way; a later use tries again
	}
	f := d.flight(l, addr)
	go func() {
		<-f.done
		<-d.refreshing
	}()
}

// remember stores a definite answer to a question that began at began.
func (d *Directory) remember(l *link, key string, a Answer, began time.Time) {
	if !a.Cacheable || a.Standing != evidence.Exists && a.Standing != evidence.Missing ||
		a.Standing == evidence.Exists && a.Blind {
		return
	}
	lives := l.lives.or(&d.cfg.Lives)
	at := d.now().Add(-a.Age).UnixNano()
	stored := false
	e := d.cache.update(l.key, key, func(old *entry) *entry {
		if old != nil && old.at > began.UnixNano() {
			return nil // somebody learned it while this question was under way: that is younger
		}
		if spared(old, a, at, &lives) {
			return nil
		}
		stored = true
		e := &entry{source: l.key, addr: strings.Clone(key), detail: clip(a.Detail), standing: a.Standing, at: at}
		if old != nil {
			e.addr = old.addr
		}
		if a.Standing == evidence.Missing {
			e.life = int64(missingLife(old, at, &lives))
		}
		return e
	})
	if stored {
		d.persist(e, &lives)
	}
}

// spare is how long a "yes" that is asked for each time is not written again: what is
// kept of it serves for days, while the source is away, and each mail would write it.
const spare = time.Minute

// spared says that an answer asked for each time is not worth the writing: a "no" of which
// nothing was known before, or a "yes" that was written a moment ago.
func spared(old *entry, a Answer, at int64, lives *Lives) bool {
	if a.Standing == evidence.Missing {
		return lives.MissingFor == Never && old == nil
	}
	return lives.ExistsFor == Never && old != nil && old.standing == evidence.Exists && old.age(at) < spare
}

// missingLife is how long a "missing" given at the moment at is fresh. It grows only
// when the one before it had run out: asking often must not make it long.
func missingLife(old *entry, at int64, lives *Lives) time.Duration {
	life := min(lives.MissingFor, lives.MissingMax)
	if old == nil || old.standing != evidence.Missing {
		return life
	}
	if old.age(at) < time.Duration(old.life) {
		return time.Duration(old.life)
	}
	return min(max(life, 2*time.Duration(old.life)), lives.MissingMax)
}

// maxDetail bounds what is kept of a source's own words, in octets.
const maxDetail = 200

func clip(s string) string {
	if len(s) > maxDetail {
		s = s[:maxDetail]
	}
	return strings.ToValidUTF8(strings.Clone(s), "")
}

// Learn takes the relay's answer to a real RCPT for an answer of the chain's sources.
// Call it after each RCPT, whatever Lookup said before. addr is as in Query.Address.
//
// "No such user" is missing for every source that is asked, the relay or not: whatever
// another one says, the mail cannot be delivered. An acceptance is exists for the
// relay alone, unless it is blind. Everything else teaches nothing, and a list
// is not taught.
func (d *Directory) Learn(chain *Chain, addr mail.Address, a evidence.Answer) {
	if a.Step != evidence.StepRcpt {
		return
	}
	missing := a.Outcome == evidence.OutcomeRefused && a.NoSuchUser
	if !missing && a.Outcome != evidence.OutcomeAccepted {
		return
	}
	key := addr.Key()
	for i := range chain.links {
		l := &chain.links[i]
		switch {
		case l.known != nil:
		case missing:
			d.learn(l, key, evidence.Missing, a)
		case l.relay && d.trusts(l, addr):
			d.learn(l, key, evidence.Exists, a)
		}
	}
}

// trusts says whether the relay's yes is worth remembering.
func (d *Directory) trusts(l *link, addr mail.Address) bool {
	if l.judge == nil {
		return true
	}
	blind, known := l.judge.Blind(addr.Domain())
	return known && !blind
}

func (d *Directory) learn(l *link, key string, s evidence.Standing, a evidence.Answer) {
	now := d.now()
	lives := l.lives.or(&d.cfg.Lives)
	if e := d.cache.get(l.key, key); e != nil && e.standing == s && e.age(now.UnixNano()) < lives.ExistsFor/8 &&
		e.fresh(now.UnixNano(), &lives) {
		return // nothing new; each message through would write it again
	}
	d.remember(l, key, Answer{Standing: s, Cacheable: true, Detail: describe(a)}, now)
}

func describe(a evidence.Answer) string {
	s := fmt.Sprintf("%s said %d", a.Host, a.Code)
	if !a.Status.IsZero() {
		s += " " + a.Status.String()
	}
	if a.Text != "" {
		s += " " + a.Text
	}
	return s
}
