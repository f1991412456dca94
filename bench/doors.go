package main

import (
	"context"
	"fmt"
	"net"
	"sync/atomic"
	"time"
)

// question is something that one of the doors beside an MTA is asked.
type question struct {
	about string
	limit float64 // of our CPU for an answer, in microseconds; 0: none
	dial  func() (asker, error)
	meter meter // of a server that is asked instead of us; nil for us
}

// crowds are with how many connections at the same time each question is asked.
var crowds = []int{1, 100}

// rowDoors asks the doors themselves, on connections that are kept, one question after another on each.
func rowDoors(ctx context.Context, b *bench, r result) []result {
	g, err := b.startDoors(ctx, "backstop-doors", b.list, noGuards)
	if g != nil {
		defer g.stop()
	}
	if err == nil {
		err = fillCache(g)
	}
	if err != nil {
		r.Target = "-"
		r.note("not measured: %v", err)
		return []result{r}
	}
	var results []result
	all := questions(g.doors, b.listed)
	if floor, addr, err := b.startAnswerer(); err == nil {
		defer floor.stop()
		all = append(all, question{about: "a policy service that refuses all without a look", meter: floor.meter,
			dial: func() (asker, error) { return dialPolicy(addr, listedStrangers, b.listed) }})
	}
	for _, q := range all {
		results = append(results, b.answers(ctx, r, q, g))
	}
	results[0].Notes = append(results[0].Notes, unlogged(g)...)
	return results
}

// startDoors starts a Backstop with all its doors.
func (b *bench) startDoors(ctx context.Context, name, list string, g guards) (*gateway, error) {
	if b.gatewayMissing != nil {
		return nil, b.gatewayMissing
	}
	g.beside = true
	started, err := b.startGuarded(ctx, name, list, g)
	if err != nil {
		return started, err
	}
	for _, addr := range []string{started.doors.milter, started.doors.policy, started.doors.socketmap, started.doors.table, started.doors.web} {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return started, fmt.Errorf("a door is not open: %w%s", err, started.lastWords())
		}
		_ = conn.Close()
	}
	return started, nil
}

// fillCache has the downstream that takes its time asked for everybody whom the questions later take from the cache.
func fillCache(g *gateway) error {
	const side = 10
	for _, kind := range []recipients{cachedUsers, cachedStrangers} {
		n := 0
		p, err := openPool(side, func() (asker, error) {
			a, err := dialSocketmap(g.doors.socketmap, kind, 1)
			if err == nil {
				a.(*mapAsker).n = n
				n += numCached / side
			}
			return a, err
		})
		if err == nil {
			err = p.once(numCached/side, new(atomic.Int64))
		}
		p.close()
		if err != nil {
			return fmt.Errorf("filling the cache: %w", err)
		}
	}
	return nil
}

// questions are all that are asked.
func questions(at places, listed int) []question {
	var all []question
	add := func(about string, limit float64, dial func() (asker, error)) {
		all = append(all, question{about: about, limit: limit, dial: dial})
	}
	kinds := []struct {
		kind recipients
		name string
	}{
		{listedUsers, "known, from a list"}, {listedStrangers, "unknown by a list"},
		{cachedUsers, "known, from the cache"}, {cachedStrangers, "unknown, from the cache"},
	}
	for _, k := range kinds {
		add("policy, a recipient "+k.name, answerLimit, func() (asker, error) { return dialPolicy(at.policy, k.kind, listed) })
	}
	for _, k := range kinds {
		add("socketmap, a recipient "+k.name, answerLimit, func() (asker, error) { return dialSocketmap(at.socketmap, k.kind, listed) })
	}
	add("tcp_table, a recipient known, from a list", 0, func() (asker, error) { return dialTable(at.table, listedUsers, listed) })
	add("GET /api/v1/lookup, a recipient known, from a list", 0, func() (asker, error) { return dialHTTP(at.web, listedUsers, listed) })
	parcels := parcelsOf(inbound(), originShown)
	add("milter, a transaction with 5 refused recipients", 0, func() (asker, error) { return dialMilter(at.milter, strangeClient, listed, refusedPlay) })
	add("milter, a transaction with one 4 KB message", 0, func() (asker, error) {
		return dialMilter(at.milter, strangeClient, listed, messagePlay(parcels))
	})
	return all
}

// answers asks one question with few connections and with many, in turns.
func (b *bench) answers(ctx context.Context, r result, q question, g *gateway) result {
	r = result{Row: r.Row, About: "our CPU for an answer of " + q.about + "; connections are 1, 100", Target: "-"}
	m := g.meter
	if q.meter != nil {
		m, r.About = q.meter, "the same for "+q.about
	}
	pools := make([]pool, len(crowds))
	for i, n := range crowds {
		f := &figure{Name: fmt.Sprintf("%d at once", n), Unit: "us", Meter: m.String()}
		r.Figures = append(r.Figures, f)
		var err error
		pools[i], err = openPool(n, q.dial)
		defer pools[i].close()
		if err == nil {
			err = pools[i].run(ctx, b.round/4, new(atomic.Int64)) // stacks and buffers grow
		}
		if err != nil {
			f.Missing = firstLine(err)
		}
	}
	rates := make([][]float64, len(crowds))
	for round := range b.rounds {
		for k := range crowds {
			i := k
			if round%2 == 1 {
				i = len(crowds) - 1 - k
			}
			f := r.Figures[i]
			if f.Missing != "" || ctx.Err() != nil {
				continue
			}
			cpu, rate, err := answerTurn(ctx, m, pools[i], b.round/2)
			if err != nil {
				f.Missing, f.Rounds = firstLine(err), nil
				continue
			}
			f.Rounds, rates[i] = append(f.Rounds, cpu), append(rates[i], rate)
		}
	}
	for i, f := range r.Figures {
		f.finish()
		if f.Spread != nil {
			f.PerSecond = median(rates[i])
		}
	}
	return b.answerLine(ctx, r, q, pools, g)
}

// answerTurn returns our CPU for each answer, in microseconds, and the answers a second.
func answerTurn(ctx context.Context, m meter, p pool, d time.Duration) (cpu, rate float64, err error) {
	before, err := settle(ctx, m)
	if err != nil {
		return 0, 0, err
	}
	var answers atomic.Int64
	begun := time.Now()
	if err := p.run(ctx, d, &answers); err != nil {
		return 0, 0, err
	}
	took := time.Since(begun)
	after, err := settle(ctx, m)
	n := float64(answers.Load())
	return float64(after-before) / n / float64(time.Microsecond), n / took.Seconds(), err
}

// answerLine judges the dearer of the two, and says what it goes to where that is too much.
func (b *bench) answerLine(ctx context.Context, r result, q question, pools []pool, g *gateway) result {
	dearest, worst := 0, 0.0
	for i, f := range r.Figures {
		if f.Spread == nil {
			return r
		}
		if i > 0 {
			r.Ours += ", "
		}
		r.Ours += number(f.Spread.Median)
		if f.Spread.Median > worst {
			dearest, worst = i, f.Spread.Median
		}
	}
	r.Ours += " us"
	if q.limit == 0 {
		return r
	}
	r.Target = number(q.limit) + " us"
	r.judge(worst, q.limit)
	if worst > q.limit && b.profile && ctx.Err() == nil {
		r.note("of %d at once:", crowds[dearest])
		r.Notes = append(r.Notes, b.profileOf(ctx, g.pid(), func(ctx context.Context, d time.Duration) error {
			return pools[dearest].run(ctx, d, new(atomic.Int64))
		})...)
	}
	return r
}
