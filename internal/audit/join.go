package audit

import "backstop/internal/maillog"

// handover is what is known of a message that goes on under another queue id.
type handover struct {
	class class
	flags uint16
	peer  uint32
	met   bool // the next server's log was read
}

// nullMessage is one without a sender.
type nullMessage struct {
	key     uint64
	relayed int // how often it was counted as somebody else's
	outward outward
}

// outward is for whom a message without a sender was handed on, and whereto.
type outward struct {
	client uint32 // a private address, 0: a program here, or a public address
	domain uint32
	local  bool // a program
}

// mostOutward is how many of these are told apart.
const mostOutward = 100_000

// goesOut counts them. Whose domain that is, shows at the end.
func (c *Counter) goesOut(o outward, n int) {
	if _, ok := c.outward[o]; ok || len(c.outward) < mostOutward {
		c.outward[o] += n
	}
}

// handOver notes under which id the next server has a message, where that is a near one: its log may be among ours.
func (c *Counter) handOver(m *message, e *maillog.Event, moved bool) {
	if !maillog.Private(e.Addr) {
		return
	}
	h := handover{class: m.class, flags: m.flags & (outside | rewritten), peer: m.peer}
	if moved {
		h.flags |= rewritten
	}
	if i := c.queue.find(c.key(e, e.Other)); i > 0 {
		c.handed(i, h)
		return
	}
	id := fnv(0, e.Other)
	if m.class == ordinary {
		c.hand.put(id, h) // it may come later: logs are read one after another
		return
	}
	n, earlier := c.nulls.get(id)
	if !earlier {
		if old, dropped := c.bounced.put(id, h); dropped && !old.met {
			c.unjoined++
		}
		return
	}
	if i := c.queue.find(n.key); i > 0 {
		c.handed(i, h)
	} else if h.class != null && h.class != unclear {
		c.relayed -= n.relayed
		c.again += n.relayed
		c.goesOut(n.outward, -n.relayed)
		c.keepNull(id, nullMessage{key: n.key})
	}
}

// keepNull remembers one without a sender: it may show later that it is ours.
func (c *Counter) keepNull(id uint64, n nullMessage) {
	if old, dropped := c.nulls.put(id, n); dropped && old.relayed > 0 {
		c.unjoined++
	}
}

// expectation is what OpenSMTPD will write to a sender: it does not say what a bounce is about.
type expectation struct {
	message uint64 // that failed last
	bounces int    // to be written
	late    bool   // a message was put off
}

// awaits notes that a message of this sender failed, or was put off.
func (c *Counter) awaits(sender uint64, m *message, late bool) {
	x, _ := c.awaited.get(sender)
	switch {
	case late:
		x.late = true
	case x.message != m.key || x.bounces == 0:
		x.bounces++
		x.message = m.key
	}
	c.awaited.put(sender, x)
}

// session is a connection to OpenSMTPD: it is followed as a message is, until it ends.
func (c *Counter) session(e *maillog.Event) {
	i := c.queue.get(c.key(e, e.ID), e.MTA)
	m := &c.queue.slots[i]
	m.class = ordinary
	m.flags &^= outside | byLocal
	c.client(m, e)
}

// fromSession gives a message what is known of the session.
func (c *Counter) fromSession(m *message, e *maillog.Event) {
	if s := c.queue.find(c.key(e, e.Other)); s > 0 {
		m.flags |= c.queue.slots[s].flags & (outside | byLocal)
		m.peer = c.queue.slots[s].peer
	}
}

// envelope is a recipient of a message in OpenSMTPD. With the null sender, and from the machine itself, it is a bounce where one is due.
func (c *Counter) envelope(e *maillog.Event) {
	i := c.queue.get(c.key(e, e.ID), e.MTA)
	m := &c.queue.slots[i]
	if m.flags&began == 0 {
		c.fromSession(m, e)
	}
	c.from(i, e)
	if len(e.From) > 0 {
		if m.flags&outside != 0 {
			c.accepted(m, e.To)
		}
		return
	}
	if m.flags&byLocal == 0 || m.class == ownBounce || m.class == ownNotice {
		return
	}
	sender := c.address(e.To) ^ e.Place
	x, ok := c.awaited.get(sender)
	switch {
	case ok && x.bounces > 0:
		x.bounces--
		c.awaited.put(sender, x)
		m.parent, m.class = x.message, ownBounce
		c.count(m, e)
	case x.late:
		m.class = ownNotice
		c.other(maillog.Delay, e.At)
	}
}
