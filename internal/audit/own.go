package audit

import (
	"math/bits"

	"backstop/internal/maillog"
)

// knowledge is what shows whether a domain is the server's own.
type knowledge struct {
	own     bool   // mail for it goes into mailboxes here, or this server knows its users
	route   uint16 // by which mail for it went to a private address; 0: none
	senders uint64 // domains from which that came: a bit for each, by hash
	clients uint64 // strangers who sent mail for it without logging in: a bit for each, by hash
	hops    uint64 // who it was handed on to: the same
}

// route is a way out of the server, to a private address: to a store, to a filter, or to a smarthost, and so to the whole world.
type route struct {
	all, wanted int       // domains to which mail went by it, and those of them to which it came from many
	domains     [3]uint32 // who got bounces by it: more than two are the whole world
	n           int
}

// evidence returns what is known of the domain of an address.
func (c *Counter) evidence(address []byte) *knowledge { return &c.known[c.domain(address)] }

// accepted notes that a stranger may send to an address.
func (c *Counter) accepted(m *message, to []byte) {
	k := c.evidence(to)
	k.clients |= 1 << (mix(uint64(m.peer)) & 63)
}

// acceptedFor notes that, and where the mail went.
func (c *Counter) acceptedFor(m *message, to []byte, e *maillog.Event, moved bool) {
	if len(e.Host) == 0 || e.Kind == maillog.Deferred || m.flags&rewritten != 0 {
		return // before it was rewritten, it was for somebody else
	}
	if moved { // whoever gives its users other addresses has them
		c.accepted(m, to)
		return
	}
	if e.Addr == nil || maillog.Private(e.Addr) {
		c.evidence(to).own = true // strangers may send to it, and it is near
		return
	}
	c.accepted(m, to)
	c.evidence(to).hops |= 1 << (mix(fnv(0, e.Addr)) & 63)
}

// route notes by which way mail for a domain went, where that is a private address.
func (c *Counter) route(to []byte, e *maillog.Event, m *message) {
	if e.Local || len(e.Host) == 0 || !maillog.Private(e.Addr) || len(e.Other) > 0 || m.class == ownBounce || m.class == null || m.class == claimed {
		return
	}
	k := c.evidence(to)
	if k.route == 0 {
		k.route = c.routeOf(e)
	}
	if m.sender != 0 {
		k.senders |= 1 << (mix(uint64(m.sender)) & 63)
	}
}

// manySenders is from how many domains mail for one comes that is not written to by a few own users.
const manySenders = 4

// ways adds up who got mail by each route.
func (c *Counter) ways() {
	for i := range c.way {
		c.way[i].all, c.way[i].wanted = 0, 0
	}
	for i := range c.known {
		if k := &c.known[i]; k.route > 0 {
			c.way[k.route].all++
			if bits.OnesCount64(k.senders) >= manySenders {
				c.way[k.route].wanted++
			}
		}
	}
}

// near says whether the way of a domain's mail leads to its store. By a smarthost go bounces to many, or letters of own users to many of whom each
// hears from a few.
func (c *Counter) near(k *knowledge) bool {
	if k.route == 0 {
		return false
	}
	r := &c.way[k.route]
	return r.n < len(r.domains) && r.wanted*2 >= r.all && bits.OnesCount64(k.senders) >= manySenders
}

// routeOf is the number of the way to a private address, 0 for all others.
func (c *Counter) routeOf(e *maillog.Event) uint16 {
	if e.Local || len(e.Host) == 0 || !maillog.Private(e.Addr) {
		return 0
	}
	h := mix(fnv(fnv(fnv(e.Place, e.Via), e.Host), e.Addr) + uint64(e.MTA))
	if r, ok := c.routes[h]; ok {
		return r
	}
	if len(c.way) >= 1<<15 {
		return 0
	}
	c.way = append(c.way, route{})
	c.routes[h] = uint16(len(c.way) - 1)
	return uint16(len(c.way) - 1)
}

// carried notes that a bounce went by a way.
func (c *Counter) carried(d *delivery) {
	if d.route == 0 {
		return
	}
	r := &c.way[d.route]
	for _, seen := range r.domains[:min(r.n, len(r.domains))] {
		if seen == d.domain {
			return
		}
	}
	if r.n < len(r.domains) {
		r.domains[r.n] = d.domain
	}
	r.n++
}

// own says whether a domain is the server's, as far as anything shows.
func (c *Counter) own() func(domain uint32) bool {
	if len(c.options.Domains) > 0 {
		given := map[string]bool{}
		for _, d := range c.options.Domains {
			given[d] = true
		}
		return func(d uint32) bool { return given[c.domains.all[d]] }
	}
	c.ways()
	return func(d uint32) bool {
		k := &c.known[d]
		switch {
		case d == 0:
			return true // a local user, without a domain
		case d == others:
			return false
		case k.own:
			return true
		case c.near(k):
			return true
		}
		return bits.OnesCount64(k.clients) >= 8 && bits.OnesCount64(k.hops) <= 2
	}
}
