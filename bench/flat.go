package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// flatLimit is what the dearest size may cost, compared with the cheapest.
const flatLimit = 1.1

// rowFlat refuses the same recipients with ever more of them known.
func rowFlat(ctx context.Context, b *bench, r result) []result {
	sizes := []int{1000, 100_000, 1_000_000, 10_000_000}
	if b.quick {
		sizes = sizes[:3]
	}
	defer os.RemoveAll(b.flatDir()) // after the gateways have stopped, which would complain
	for _, n := range sizes {
		if _, err := recipientList(b.flatDir(), n); err != nil {
			r.note("the list of %s: %v", count(n), err) // and its gateway will say the same
		}
	}
	pause(ctx, textSettles)
	contenders := make([]contender, len(sizes))
	for i, n := range sizes {
		c := &contenders[i]
		c.name = "Backstop, " + count(n) + " known"
		g, err := b.gatewayOf(ctx, n)
		if g != nil {
			defer g.stop() // hundreds of megabytes, which no later row needs
			c.addr, c.meter, c.log = g.addr, g.meter, g.output
		}
		c.missing = err
	}
	return []result{flatLine(r, sizes, b.turns(ctx, load{unknown: 5}, contenders))}
}

// flatDir is where their lists are.
func (b *bench) flatDir() string { return filepath.Join(b.dir, "flat") }

// gatewayOf starts a Backstop that knows n recipients.
func (b *bench) gatewayOf(ctx context.Context, n int) (*gateway, error) {
	if b.gatewayMissing != nil {
		return nil, b.gatewayMissing
	}
	path, err := recipientList(b.flatDir(), n)
	if err != nil {
		return nil, err
	}
	name := fmt.Sprintf("backstop-%d", n)
	g, err := b.startGateway(ctx, name, path)
	if err != nil {
		return g, err
	}
	return g, awaitFile(ctx, g, filepath.Join(b.dir, name+".state", "lists", "*.recipients"))
}

// textSettles is how long a text must have been left alone before Backstop keeps what it compiled it into. Of a newer one it
// does so half a minute later, which would be in the midst of a round.
const textSettles = 4 * time.Second

// awaitFile waits until a file with such a name is there.
func awaitFile(ctx context.Context, g *gateway, pattern string) error {
	const patience = time.Minute
	for deadline := time.Now().Add(patience); ; {
		found, err := filepath.Glob(pattern)
		if len(found) > 0 || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-g.ended:
			return fmt.Errorf("%s ended%s", g.name, g.lastWords())
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s has no compiled list after %v", g.name, patience)
		}
	}
}

// flatLine compares the dearest size with the cheapest, round by round.
func flatLine(r result, sizes []int, figures []*figure) result {
	names, costs := make([]string, len(sizes)), make([]string, len(sizes))
	var least, most *figure
	whole := true
	for i, f := range figures {
		names[i], costs[i] = count(sizes[i]), "-"
		if f.Spread == nil {
			whole = false
			continue
		}
		costs[i] = number(f.Spread.Median)
		if least == nil || f.Spread.Median < least.Spread.Median {
			least = f
		}
		if most == nil || f.Spread.Median > most.Spread.Median {
			most = f
		}
	}
	r.About = "CPU of a session with 5 refused recipients; known are " + strings.Join(names, ", ")
	r.Ours, r.Target, r.Figures = strings.Join(costs, ", ")+" us", "1.1", figures
	if !whole {
		return r // a size that could not be measured may be the dear one
	}
	if ratios := pairRatios(most.Rounds, least.Rounds); len(ratios) > 0 {
		s := spreadOf(ratios)
		r.Ratio = fmt.Sprintf("%.3f (%.3f-%.3f)", s.Median, s.Min, s.Max)
		r.judge(s.Median, flatLimit)
		r.note("the ratio is that of the dearest to the cheapest, round by round")
	}
	return r
}
