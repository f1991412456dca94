package directory

import (
	"context"
	"strings"
	"time"

	"backstop/internal/evidence"
	"backstop/internal/mail"
)

// Lookup asks the chain. It always answers: Exists, Missing, Unavailable, or,
// with CutThrough, LeftToDownstream. When ctx ends first the answer is what an
// unavailable source gives; the question itself goes on for others who wait for it.
//
// After LeftToDownstream and a downstream that could not be reached, ask again
// with NoAsk and without CutThrough: a recipient known to be missing is found so.
func (d *Directory) Lookup(ctx context.Context, chain *Chain, q Query) evidence.Directory {
	f := d.decide(ctx, chain, &q, nil)
	return f.evidence()
}

// Trace is Lookup with what each source said, in the order in which they were asked.
func (d *Directory) Trace(ctx context.Context, chain *Chain, q Query) (evidence.Directory, []Finding) {
	var trace []Finding
	f := d.decide(ctx, chain, &q, &trace)
	return f.evidence(), trace
}

func (f *Finding) evidence() evidence.Directory {
	return evidence.Directory{Standing: f.Standing, Source: f.Source, Age: f.Age, Stale: f.Stale, Blind: f.Blind, Detail: f.Detail, Reply: f.Reply}
}

// decide asks for the address, and where it is missing for the address without its subaddress.
func (d *Directory) decide(ctx context.Context, chain *Chain, q *Query, trace *[]Finding) Finding {
	f, final := d.walk(ctx, chain, q, q.Address, trace)
	if final || f.Standing != evidence.Missing || q.Subaddress == "" {
		return f
	}
	base := q.Address.Base(q.Subaddress)
	if base.Key() == q.Address.Key() {
		return f
	}
	f, _ = d.walk(ctx, chain, q, base, trace)
	return f
}

// walk asks each source in turn. final: the relay itself refuses the address as it
// is given, or the operator says what becomes of it, so no other form of it helps.
func (d *Directory) walk(ctx context.Context, chain *Chain, q *Query, addr mail.Address, trace *[]Finding) (f Finding, final bool) {
	var away, silent, anybody Finding
	var isAway, isSilent, isAnybody bool
	for i := range chain.links {
		l := &chain.links[i]
		f = d.one(ctx, l, q, addr, trace != nil)
		if trace != nil {
			*trace = append(*trace, f)
		}
		switch f.Standing {
		case evidence.Exists, evidence.LeftToDownstream:
			if l.ruled != nil && f.Blind { // names nobody: who knows better has the word first
				if !isAnybody {
					anybody, isAnybody = f, true
				}
				continue
			}
			return f, true
		case evidence.Missing:
			if l.next {
				silent, isSilent = f, true
			} else if !isAway {
				return f, l.relay || f.exact
			}
		case evidence.NotAsked:
			silent, isSilent = f, true
		default:
			if f.Reply.Temporary() {
				return f, true
			}
			if !isAway {
				away, isAway = f, true
			}
		}
	}
	switch {
	case isAway:
		return away, false
	case isAnybody:
		return anybody, true
	case isSilent:
		silent.Standing = evidence.Missing
		return silent, false
	}
	return Finding{Source: chain.name, Standing: evidence.Unavailable, Detail: "no source is configured for this domain"}, true
}

// one asks one source.
func (d *Directory) one(ctx context.Context, l *link, q *Query, addr mail.Address, timed bool) Finding {
	switch {
	case l.ruled != nil:
		return d.fromRules(l, q, addr)
	case l.known != nil:
		return d.fromList(l, q, addr)
	}
	if !timed {
		return d.fromSource(ctx, l, q, addr)
	}
	began := d.now()
	f := d.fromSource(ctx, l, q, addr)
	f.Took, f.Address = d.now().Sub(began), addr.Key()
	return f
}

// fromList is the hot path of a refusal: no clock, no allocation.
func (d *Directory) fromList(l *link, q *Query, addr mail.Address) Finding {
	f := Finding{Source: l.name, Address: addr.Key(), Blind: l.blind}
	f.Standing = l.known.Known(f.Address)
	if f.Standing == evidence.NotAsked && q.Subaddress != "" {
		// Here and not only at the end of the chain: a list that names the user spares
		// the sources behind it a question.
		if base := addr.Base(q.Subaddress); base.Key() != f.Address {
			if l.known.Known(base.Key()) == evidence.Exists {
				f.Standing, f.Address = evidence.Exists, base.Key()
			}
		}
	}
	return f
}

// fromRules is fromList for a source that has more to say.
func (d *Directory) fromRules(l *link, q *Query, addr mail.Address) Finding {
	key := addr.Key()
	r := l.ruled.Rule(key)
	if !r.Exact && q.Subaddress != "" { // a line for the user goes before one for the domain
		if base := addr.Base(q.Subaddress); base.Key() != key {
			if b := l.ruled.Rule(base.Key()); b.Exact {
				r, key = b, base.Key()
			}
		}
	}
	f := Finding{Source: l.name, Address: key, Standing: r.Standing, Blind: r.Blind, Detail: r.Detail, Reply: r.Reply, exact: r.Exact}
	if !r.Made.IsZero() {
		f.Age = max(0, d.now().Sub(r.Made))
	}
	if f.Standing == evidence.LeftToDownstream || f.Reply.Positive() { // neither is theirs to say
		f.Standing, f.Reply = evidence.Unavailable, mail.Reply{}
	}
	return f
}

// fromSource answers from the cache or by asking.
func (d *Directory) fromSource(ctx context.Context, l *link, q *Query, addr mail.Address) Finding {
	now := q.At
	if now.IsZero() {
		now = d.now()
	}
	ns := now.UnixNano()
	e := d.cache.get(l.key, addr.Key())
	if e != nil && e.standing == evidence.Missing && e.freshMissing(ns) {
		return cached(l, e, ns, false)
	}
	lives := l.lives.or(&d.cfg.Lives)
	blind := false
	if l.judge != nil {
		blind, _ = l.judge.Blind(addr.Domain())
	}
	if l.relay && q.CutThrough {
		return d.leave(ctx, l, addr, blind)
	}
	if blind && e != nil && e.standing == evidence.Exists {
		e = nil // given before it was found out: proves nothing now
	}
	if e != nil && e.standing == evidence.Exists && e.fresh(ns, &lives) {
		d.refresh(l, addr, e, ns, &lives)
		return cached(l, e, ns, false)
	}
	a := Answer{Standing: evidence.Unavailable, Detail: "asking was not wanted"}
	switch {
	case q.NoAsk && e == nil:
		a.Detail = "no answer is remembered, and asking was not wanted"
	case q.NoAsk:
	case !q.At.IsZero():
		a = d.call(ctx, l, addr)
	default:
		a = d.ask(ctx, l, addr)
	}
	if a.Standing == evidence.Unavailable && e != nil && e.stale(ns, &lives) {
		f := cached(l, e, ns, true)
		f.Detail = strings.TrimSpace(e.detail + " (not asked again: " + a.Detail + ")")
		return f
	}
	return Finding{Source: l.name, Address: addr.Key(), Standing: a.Standing, Age: a.Age, Blind: a.Blind, Detail: a.Detail}
}

// leave leaves the answer to the RCPT of the transaction. Where the relay is known to
// be blind its source has the word first, since the operator may want such mail deferred.
func (d *Directory) leave(ctx context.Context, l *link, addr mail.Address, blind bool) Finding {
	f := Finding{Source: l.name, Address: addr.Key(), Standing: evidence.LeftToDownstream, Blind: blind}
	if blind {
		if a := d.call(ctx, l, addr); a.Standing != evidence.Exists {
			f.Standing, f.Detail = a.Standing, a.Detail
		}
	}
	return f
}

func cached(l *link, e *entry, now int64, stale bool) Finding {
	return Finding{
		Source: l.name, Address: e.addr, Standing: e.standing,
		Age: e.age(now), Stale: stale, Cached: true, Detail: e.detail,
	}
}

// or is l with its zero fields taken from o.
func (l Lives) or(o *Lives) Lives {
	pick := func(d *time.Duration, o time.Duration) {
		if *d == 0 {
			*d = o
		}
	}
	if l.Refresh == 0 && l.ExistsFor != 0 {
		l.Refresh = l.ExistsFor / 4 // of the life it belongs to, not of another one's
	}
	pick(&l.ExistsFor, o.ExistsFor)
	pick(&l.Refresh, o.Refresh)
	pick(&l.MaxStale, o.MaxStale)
	pick(&l.MissingFor, o.MissingFor)
	pick(&l.MissingMax, o.MissingMax)
	return l
}
