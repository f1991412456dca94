package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// crowdSize is how many connections each of the three doors has at once.
const crowdSize = 1000

// wired is what the crowd at one door does.
type wired struct {
	name    string
	dial    func() (asker, error)
	pool    pool
	answers atomic.Int64
}

// vitals are what a process is weighed by.
type vitals struct {
	rss        float64 // MB
	heap       float64 // MB in use by Go's allocator
	goroutines float64
}

// vitalsOf weighs a gateway that has a panel.
func vitalsOf(g *gateway) (v vitals, err error) {
	rss, err := memoryOf(g.pid(), "status", "VmRSS")
	if err != nil {
		return v, err
	}
	page, err := scrape(g.doors.web)
	if err != nil {
		return v, err
	}
	const mb = 1 << 20
	return vitals{megabytes(rss), page["go_memstats_heap_inuse_bytes"] / mb, page["go_goroutines"]}, nil
}

// rowCrowd has a thousand connections at each of three doors ask without a pause.
func rowCrowd(ctx context.Context, b *bench, r result) []result {
	r.Target = "all right, none left"
	own := &figure{Name: "Backstop, all connections busy", Unit: "MB"}
	r.Figures = []*figure{own}
	if err := b.crowded(ctx, own, &r); err != nil {
		own.Missing, own.Rounds, own.Spread = firstLine(err), nil, nil
		r.Reached = ""
	}
	return []result{r}
}

func (b *bench) crowded(ctx context.Context, own *figure, r *result) error {
	list, err := recipientList(b.dir, listedHere)
	if err != nil {
		return err
	}
	g, err := b.startDoors(ctx, "backstop-crowd", list, noGuards)
	if g != nil {
		defer g.stop()
	}
	if err != nil {
		return err
	}
	if err := fillCache(g); err != nil {
		return err
	}
	before, err := vitalsOf(g)
	if err != nil {
		return err
	}
	crowd := crowdOf(g)
	for _, w := range crowd {
		w.pool, err = openPool(crowdSize, w.dial)
		defer w.pool.close()
		if err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
	}
	const parts = 4
	var during []vitals
	for range parts {
		if err := work(ctx, crowd, 2*b.round); err != nil {
			return err
		}
		v, err := vitalsOf(g)
		if err != nil {
			return err
		}
		during, own.Rounds = append(during, v), append(own.Rounds, v.rss)
	}
	own.finish()
	for _, w := range crowd {
		w.pool.close()
	}
	after, err := quiet(ctx, g, before.goroutines)
	if err != nil {
		return err
	}
	crowdLine(r, crowd, before, during, after)
	return nil
}

// crowdOf are the three doors, with all that each can be asked.
func crowdOf(g *gateway) []*wired {
	parcels := parcelsOf(inbound(), originShown)
	return []*wired{
		{name: "milter", dial: func() (asker, error) {
			return dialMilter(g.doors.milter, strangeClient, listedHere, refusedPlay, messagePlay(parcels), brokenPlay(parcels))
		}},
		{name: "policy", dial: func() (asker, error) { return dialPolicy(g.doors.policy, allRecipients, listedHere) }},
		{name: "socketmap", dial: func() (asker, error) { return dialSocketmap(g.doors.socketmap, allRecipients, listedHere) }},
	}
}

// work has them all ask for a time, or until the first wrong answer.
func work(ctx context.Context, crowd []*wired, d time.Duration) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var all sync.WaitGroup
	for _, w := range crowd {
		all.Go(func() {
			if err := w.pool.run(ctx, d, &w.answers); err != nil {
				stop(err)
			}
		})
	}
	all.Wait()
	return context.Cause(ctx)
}

// spareGoroutines is how many more than before may be there behind a crowd: those of a panel that is being read, of a timer.
const spareGoroutines = 10

// quiet waits until the goroutines of those who have gone have ended too, ten seconds at most.
func quiet(ctx context.Context, g *gateway, before float64) (v vitals, err error) {
	for range 50 {
		if v, err = vitalsOf(g); err != nil || v.goroutines <= before+spareGoroutines {
			return v, err
		}
		pause(ctx, 200*time.Millisecond)
	}
	return v, ctx.Err()
}

// crowdLine judges the goroutines; a wrong answer never comes so far.
func crowdLine(r *result, crowd []*wired, before vitals, during []vitals, after vitals) {
	first, last := during[0], during[len(during)-1]
	connections := float64(len(crowd) * crowdSize)
	r.Ours = number(last.rss) + " MB"
	r.Reached = "no"
	if last.goroutines <= first.goroutines+spareGoroutines && after.goroutines <= before.goroutines+spareGoroutines {
		r.Reached = "yes"
	}
	for _, w := range crowd {
		r.note("%s: %d connections, %d right answers, none wrong", w.name, crowdSize, w.answers.Load())
	}
	r.note("memory: %s MB before, then %s, %s MB when all had gone; each connection %.1f KB", number(before.rss), each(during, func(v vitals) float64 { return v.rss }),
		number(after.rss), (last.rss-before.rss)*1024/connections)
	r.note("goroutines: %.0f before, then %s, %.0f when all had gone", before.goroutines, each(during, func(v vitals) float64 { return v.goroutines }), after.goroutines)
}

// each lists one figure of all.
func each(all []vitals, of func(vitals) float64) string {
	text := ""
	for i, v := range all {
		if i > 0 {
			text += ", "
		}
		text += number(of(v))
	}
	return text
}
