package audit

import "backstop/internal/maillog"

// notice joins a message and what was written about it.
func (c *Counter) notice(e *maillog.Event) {
	if len(e.Other) == 0 {
		return
	}
	parent, key := c.key(e, e.ID), c.key(e, e.Other)
	i := c.queue.find(key)
	if i > 0 {
		// What had this id before was another message; the notice itself may have left already.
		if m := &c.queue.slots[i]; m.flags&finished != 0 && (m.class == ordinary || m.class == ownBounce || m.flags&began != 0) && e.MTA != maillog.Exchange {
			i = c.queue.renew(key, e.MTA)
		}
	} else {
		i = c.queue.get(key, e.MTA)
	}
	m := &c.queue.slots[i]
	m.parent = parent
	kind := e.Kind
	if e.MTA == maillog.Exchange && kind == maillog.Bounce {
		if p := c.queue.find(parent); p > 0 && c.queue.slots[p].flags&(failed|deferred) == deferred {
			kind = maillog.Delay // its subject was in another language
		}
	}
	if kind == maillog.Bounce {
		c.becomes(m, e)
		c.count(m, e)
		c.settle(i)
		return
	}
	m.class = ownNotice
	c.other(kind, e.At)
	c.settle(i)
}

// becomes makes a message a bounce. Where it was refused before that was known, it is now known what was refused.
func (c *Counter) becomes(m *message, e *maillog.Event) {
	m.class = ownBounce
	delete(c.nulls.by, m.id) // nobody else wrote it
	if m.flags&failed != 0 {
		if m.flags&(gone|passed) == 0 && e.At >= c.options.Since {
			c.refused++
		}
		m.flags = m.flags&^failed | gone
	}
	m.cause, m.stage, m.domain, m.host = NotSaid, maillog.StageUnknown, 0, 0 // why it failed itself is of no matter
}

// other counts a notice that is no bounce.
func (c *Counter) other(kind maillog.Kind, at int64) {
	if at < c.options.Since {
		return
	}
	switch kind {
	case maillog.Delay:
		c.delays++
	case maillog.Success:
		c.receipts++
	case maillog.Postmaster:
		c.postmaster++
	}
}

// count counts a bounce that was written.
func (c *Counter) count(m *message, e *maillog.Event) {
	if m.flags&counted != 0 {
		return
	}
	m.flags |= counted
	if e.At >= c.options.Since {
		c.written[e.MTA]++
	}
	c.inherit(m)
}

// inherit gives a bounce the reason of the message that it is about.
func (c *Counter) inherit(m *message) {
	if m.cause != NotSaid || m.parent == 0 {
		return
	}
	p := c.queue.find(m.parent)
	if p == 0 {
		return
	}
	of := &c.queue.slots[p]
	if of.flags&failed == 0 && of.flags&deferred == 0 {
		return
	}
	m.cause, m.stage, m.domain, m.host = of.cause, of.stage, of.domain, of.host
}

// decide finds out what a notice of Exim is: it is a bounce where its message failed, tells of a delay where that was
// put off, and is else what a program answered. It writes one bounce about all that failed at once, and after that.
func (c *Counter) decide(i int32, e *maillog.Event) {
	m := &c.queue.slots[i]
	p := c.queue.find(m.parent)
	switch {
	case p > 0 && c.queue.slots[p].flags&(failed|answered) == failed, p == 0:
		if p > 0 {
			c.queue.slots[p].flags |= answered // the next is a program's, until something else fails
		}
		c.becomes(m, e)
		c.count(m, e)
	case c.queue.slots[p].flags&deferred != 0:
		m.class = ownNotice
		c.other(maillog.Delay, e.At)
	default:
		m.class = foreign
		m.flags |= byLocal
	}
	c.settle(i)
}

// delivered is that a message was handed on.
func (c *Counter) delivered(i int32, to []byte, e *maillog.Event) {
	m := &c.queue.slots[i]
	if m.class == claimed {
		c.decide(i, e)
	}
	switch m.class {
	case ordinary, ownNotice:
		return
	case ownBounce:
		if e.Dropped {
			m.flags |= gone
			return
		}
		c.left(m, &delivery{at: e.At, address: c.address(to), domain: c.domain(to), route: c.routeOf(e), local: e.Local})
		return
	}
	if e.Dropped {
		return
	}
	if len(c.queue.waiting[i]) < 100 { // a bounce has one recipient
		c.queue.waiting[i] = append(c.queue.waiting[i], delivery{e.At, c.address(to), c.domain(to), c.routeOf(e), e.Local})
	}
}

// left counts a bounce that was handed on to another server, or into a mailbox.
func (c *Counter) left(m *message, d *delivery) {
	if m.flags&passed != 0 {
		if d.at >= c.options.Since {
			c.again++
		}
		return
	}
	if m.flags&gone != 0 { // Exchange hands one on from server to server
		return
	}
	m.flags |= gone
	if d.at < c.options.Since {
		return
	}
	c.inherit(m)
	k := cell{day: int32(floorDay(d.at)), domain: d.domain, failed: m.domain, host: m.host, cause: m.cause, stage: m.stage, mta: m.mta, local: d.local}
	s, ok := c.cells[k]
	if !ok && len(c.cells) >= mostCells {
		c.full++
		if !c.known[k.domain].own {
			k.domain = others
		}
		k.failed, k.host = min(k.failed, others), min(k.host, others)
		s = c.cells[k]
	}
	s.n++
	if s.first == 0 || d.at < s.first {
		s.first = d.at
	}
	c.cells[k] = s
	c.crowd.add(d.address, d.domain)
	c.carried(d)
}

func floorDay(at int64) int64 {
	day := at / 86400
	if at%86400 < 0 {
		day--
	}
	return day
}

// settle counts what waited until it was known what the message is.
func (c *Counter) settle(i int32) {
	waiting := c.queue.waiting[i]
	if waiting == nil {
		return
	}
	m := &c.queue.slots[i]
	if m.class == foreign {
		return // it is counted when all is known
	}
	delete(c.queue.waiting, i)
	if m.class != ownBounce {
		return
	}
	for k := range waiting {
		c.left(m, &waiting[k])
	}
}

// forget is the last that is done for a message: what it was shows now, or never.
func (c *Counter) forget(i int32) {
	m := &c.queue.slots[i]
	if m.class == claimed {
		c.decide(i, &maillog.Event{MTA: m.mta, At: c.last})
	}
	n, to := 0, outward{client: m.client, local: m.flags&byLocal != 0}
	for _, d := range c.queue.waiting[i] {
		if d.at >= c.options.Since {
			n++
			to.domain = d.domain
		}
	}
	switch {
	case n == 0 || m.class == unclear || m.class == ordinary || m.class == ownBounce:
	case m.flags&passed != 0:
		c.again += n
	case m.flags&byLocal != 0:
		c.programs += n
		c.goesOut(to, n)
	case m.flags&began != 0 || m.class == foreign:
		c.relayed += n
		c.goesOut(to, n)
		if _, ok := c.nulls.get(m.id); ok {
			c.keepNull(m.id, nullMessage{m.key, n, to})
		}
	default:
		c.headless += n
	}
}

// done marks a message as ended.
func (c *Counter) done(i int32) {
	if i > 0 {
		c.queue.finish(i)
	}
}
