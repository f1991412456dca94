package blocklist

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"
)

const (
	// questionTime bounds one question, whatever the resolver's own patience is.
	questionTime = 10 * time.Second
	// atOnce is how many addresses one list is asked about side by side: lists count questions.
	atOnce = 4
	// listTime bounds all questions to one list: some minutes more than hundreds of addresses need where it answers.
	listTime = 3 * time.Minute
)

// Checker asks lists about addresses. The zero value lacks a Resolver.
type Checker struct {
	Resolver Resolver
	// Told is called with each result as it comes, from several goroutines; nil: nobody.
	Told func(Result)
}

// Check asks each list about each address, all lists side by side, and returns the results by address and then by list,
// in the order given. Nothing is taken from a memory of our own. It takes 3 minutes at most; what is not known then, or when ctx
// ends, is Unknown.
// Addresses are to be public ones without a zone index; an IPv4 address in IPv6 form is taken for the IPv4 address.
func (c *Checker) Check(ctx context.Context, zones []string, addrs []netip.Addr) []Result {
	ctx, cancel := context.WithTimeout(ctx, listTime)
	defer cancel()
	results := make([]Result, len(zones)*len(addrs))
	var work sync.WaitGroup
	for i, zone := range zones {
		work.Go(func() {
			t := &tests{c: c, ctx: ctx, zone: zone}
			slots := make(chan struct{}, atOnce)
			var asked sync.WaitGroup
			for j, a := range addrs {
				fit := t.of(!a.Unmap().Is4()) // before the address, since its answer means nothing without
				slots <- struct{}{}
				asked.Go(func() {
					defer func() { <-slots }()
					r := c.one(ctx, zone, a.Unmap(), fit)
					results[j*len(zones)+i] = r
					if c.Told != nil {
						c.Told(r)
					}
				})
			}
			asked.Wait()
		})
	}
	work.Wait()
	return results
}

// one asks a list that the test found fit, or not.
func (c *Checker) one(ctx context.Context, zone string, a netip.Addr, fit fitness) Result {
	began := time.Now()
	r := Result{Zone: zone, Address: a, Why: fit.why}
	if fit.useless {
		return r
	}
	s := c.ask(ctx, zone, a)
	r.Standing, r.Codes, r.Why = s.standing, s.codes, s.why
	switch s.standing {
	case Listed:
		r.Text = c.text(ctx, zone, a)
	case Clean:
		r.Standing, r.Why, r.Kept = fit.silence, fit.why, fit.kept
	}
	r.Took = time.Since(began)
	return r
}

// ask puts one question. What a list that refuses says of that is added to the reason.
func (c *Checker) ask(ctx context.Context, zone string, a netip.Addr) said {
	q, cancel := context.WithTimeout(ctx, questionTime)
	defer cancel()
	s := judge(c.Resolver.LookupAFresh(q, Name(a, zone)))
	if s.refused {
		if t := c.text(ctx, zone, a); len(t) > 0 {
			s.why += fmt.Sprintf("; it says %q", t[0])
		}
	}
	return s
}

// text is what the list says of the address; without it the answer holds all the same.
func (c *Checker) text(ctx context.Context, zone string, a netip.Addr) []string {
	q, cancel := context.WithTimeout(ctx, questionTime)
	defer cancel()
	t, err := c.Resolver.LookupTXT(q, Name(a, zone))
	if err != nil {
		return nil
	}
	return texts(t)
}

// fitness is what the test entries show.
type fitness struct {
	// silence is what it means that an address is not there: Clean if the list answers us; NotCovered if it lists the
	// other family alone; Unknown if it may be silent about everything. That an address is there holds in each case.
	silence Standing
	useless bool          // no answer means anything: nobody need be asked
	why     string        // unless silence is Clean
	kept    time.Duration // what silence rests on may be remembered for so much longer
}

// tests asks the test entries of a list, each family once. It is used by one goroutine.
type tests struct {
	c    *Checker
	ctx  context.Context
	zone string
	done [2]*said // by family, of the entry that must be listed
}

// of says whether a list can be asked about addresses of a family.
func (t *tests) of(v6 bool) fitness {
	own := t.entry(v6)
	switch {
	case own.standing == Listed:
		return fitness{silence: Clean, kept: own.kept}
	case own.standing == Unknown:
		return fitness{useless: true, why: own.why}
	}
	if other := t.entry(!v6); other.standing == Listed {
		return fitness{silence: NotCovered, kept: other.kept, why: fmt.Sprintf("the list does not list IPv%s: it has no test entry for it", family(v6))}
	}
	return fitness{why: fmt.Sprintf("the test entry %s is not listed, and every list has that: it refuses this resolver, it has shut down, or it is no list", entryOf(v6))}
}

func family(v6 bool) string {
	if v6 {
		return "6"
	}
	return "4"
}

func entryOf(v6 bool) netip.Addr {
	if v6 {
		return testListed6
	}
	return testListed
}

// entry asks the two test entries of a family: Listed if the list answers as it must, Clean if it has none of them.
func (t *tests) entry(v6 bool) said {
	i := 0
	if v6 {
		i = 1
	}
	if t.done[i] == nil {
		s := t.probe(v6)
		t.done[i] = &s
	}
	return *t.done[i]
}

func (t *tests) probe(v6 bool) said {
	s := t.c.ask(t.ctx, t.zone, entryOf(v6))
	if s.standing == Unknown {
		s.why = fmt.Sprintf("asked about the test entry %s: %s", entryOf(v6), s.why)
		return s
	}
	never := testClean
	if v6 {
		never = testClean6
	}
	switch n := t.c.ask(t.ctx, t.zone, never); n.standing {
	case Listed:
		return said{why: fmt.Sprintf("it lists the test entry %s, which no list has: it says yes to everything, as lists do that have shut down", never)}
	case Unknown:
		return said{why: fmt.Sprintf("asked about the test entry %s: %s", never, n.why)}
	}
	return s
}
