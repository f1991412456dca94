package audit

import (
	"bytes"

	"backstop/internal/maillog"
)

// Options say how to count. The zero value infers everything.
type Options struct {
	Domains []string // the server's own, in lower case; nil: they are inferred
	Since   int64    // bounces before this are not counted: seconds of the wall clock, as maillog.Event.At; 0: all are
	Open    int      // messages that are followed at once; 0: 200,000
}

const (
	mostOpen      = 200_000
	mostDomains   = 200_000
	mostHosts     = 10_000
	mostCells     = 500_000
	mostStrangers = 1 << 20
	mostHandovers = 1 << 14
	mostNulls     = 1 << 18 // there are few of these in most logs; of a bounced flood there are many
	mostExpected  = 1 << 16
)

// cell is what bounces that left are told apart by.
type cell struct {
	day    int32  // since 1970
	domain uint32 // of who got it
	failed uint32 // of the recipient it is about
	host   uint32 // who refused that
	cause  Cause
	stage  maillog.Stage
	mta    maillog.MTA
	local  bool // it went into a mailbox of this machine
}

// sum is how many, and from when.
type sum struct {
	n     int
	first int64
}

// Counter counts. It is not safe for concurrent use.
type Counter struct {
	options Options
	queue   *queue
	domains names
	hosts   names
	known   []knowledge // of domains, by number
	routes  map[uint64]uint16
	way     []route
	cells   map[cell]sum
	crowd   strangers
	hand    recent[handover]    // by queue id, for messages that go on under it
	bounced recent[handover]    // the same of those without a sender
	nulls   recent[nullMessage] // by queue id, those without a sender
	awaited recent[expectation] // by sender
	scratch []byte
	folded  []byte

	lines       [numLineKinds]int
	byMTA       [maillog.NumMTAs]int
	first, last int64
	full        int             // bounces of which the table of cells had no room
	outward     map[outward]int // null senders that were handed on, and are no bounces of this server
	unjoined    int             // that were handed on, and of which no room was left to remember where
	written     [maillog.NumMTAs]int
	refused     int // bounces that the receiving server refused
	delays, receipts, postmaster,
	relayed, programs, headless, again int
}

// The kinds of lines that are told apart in the report.
const (
	lineUsed = iota
	lineNothing
	lineElsewhere
	lineUnknown
	numLineKinds
)

// New makes one.
func New(o Options) *Counter {
	if o.Open <= 0 {
		o.Open = mostOpen
	}
	c := &Counter{
		options: o, domains: newNames(mostDomains), hosts: newNames(mostHosts), known: make([]knowledge, 2),
		routes: map[uint64]uint16{}, way: make([]route, 1), cells: map[cell]sum{}, outward: map[outward]int{}, crowd: newStrangers(mostStrangers),
		hand: newRecent[handover](mostHandovers), bounced: newRecent[handover](mostNulls), nulls: newRecent[nullMessage](mostNulls), awaited: newRecent[expectation](mostExpected),
	}
	c.queue = newQueue(max(o.Open, 16), c.forget)
	return c
}

// Add takes what a line says. Nothing of e is kept.
func (c *Counter) Add(e *maillog.Event) {
	c.line(e)
	if len(e.ID) == 0 && e.Kind != maillog.Refused {
		return
	}
	switch e.Kind {
	case maillog.Received:
		c.received(e)
	case maillog.Sender, maillog.Expired:
		c.sender(e)
	case maillog.Envelope:
		c.envelope(e)
	case maillog.Session:
		c.session(e)
	case maillog.Delivered, maillog.Failed, maillog.Deferred:
		c.recipients(e)
	case maillog.Bounce, maillog.Delay, maillog.Success, maillog.Postmaster:
		c.notice(e)
	case maillog.Passed:
		c.passed(e)
	case maillog.Ended:
		if i := c.queue.find(c.key(e, e.ID)); i > 0 {
			c.queue.finish(i)
		}
	case maillog.Refused:
		if e.Client == maillog.ClientOutside || e.Client == maillog.ClientUnknown { // own users are refused any address
			c.evidence(e.To).own = true
		}
	}
}

// line counts the line itself.
func (c *Counter) line(e *maillog.Event) {
	switch e.Kind {
	case maillog.NotUnderstood:
		c.lines[lineUnknown]++
	case maillog.Elsewhere:
		c.lines[lineElsewhere]++
	case maillog.Nothing, maillog.Header:
		c.lines[lineNothing]++
	default:
		c.lines[lineUsed]++
		c.byMTA[e.MTA]++
		if c.first == 0 || e.At < c.first {
			c.first = e.At
		}
		c.last = max(c.last, e.At)
	}
}

// key is what a queue id is known by.
func (c *Counter) key(e *maillog.Event, id []byte) uint64 {
	return mix(fnv(fnv(14695981039346656037, id)^e.Place, []byte{byte(e.MTA)}))
}

func fnv(h uint64, b []byte) uint64 {
	for _, x := range b {
		h = (h ^ uint64(x)) * 1099511628211
	}
	return h
}

// received is the beginning of a message.
func (c *Counter) received(e *maillog.Event) {
	key := c.key(e, e.ID)
	i := c.queue.find(key)
	if i > 0 && e.MTA != maillog.Exchange { // there a message comes in once at each server
		if m := &c.queue.slots[i]; m.flags&began != 0 && m.class != ownBounce {
			i = c.queue.renew(key, e.MTA)
		}
	}
	if i == 0 {
		i = c.queue.get(key, e.MTA)
	}
	m := &c.queue.slots[i]
	m.flags |= began
	if e.MTA == maillog.OpenSMTPD {
		c.fromSession(m, e)
	} else {
		c.client(m, e)
	}
	if e.Count > 0 {
		m.left = int32(e.Count)
	}
	if e.HasFrom {
		c.from(i, e)
	}
	if e.MTA == maillog.Exim && len(e.Other) > 0 && len(e.From) == 0 && e.Client == maillog.ClientSelf {
		m.parent, m.class = c.key(e, e.Other), claimed
		if p := c.queue.find(m.parent); p > 0 && c.queue.slots[p].flags&(failed|answered) == failed {
			c.decide(i, e)
		} else if m.flags&failed != 0 || c.queue.waiting[i] != nil { // its end came before its beginning
			c.decide(i, e)
		}
	}
	if e.MTA == maillog.Exchange && m.flags&outside != 0 {
		maillog.Each(e.To, func(to []byte) { c.accepted(m, to) })
	}
}

func (c *Counter) client(m *message, e *maillog.Event) {
	switch e.Client {
	case maillog.ClientOutside:
		m.flags |= outside
		m.peer = uint32(fnv(2166136261, e.Peer))
	case maillog.ClientInside:
		if maillog.Private(e.Peer) && !maillog.Loopback(e.Peer) {
			m.client = c.hosts.number(e.Peer)
		}
	case maillog.ClientLocal:
		m.flags |= byLocal
	}
}

// sender is what the queue manager of Postfix says of a message.
func (c *Counter) sender(e *maillog.Event) {
	i := c.queue.get(c.key(e, e.ID), e.MTA)
	if m := &c.queue.slots[i]; m.flags&finished != 0 && (m.class == ordinary || m.class == ownBounce || m.flags&began != 0) {
		if e.Kind == maillog.Expired {
			return
		}
		i = c.queue.renew(m.key, e.MTA)
	}
	c.from(i, e)
	if m := &c.queue.slots[i]; e.Kind == maillog.Expired && m.flags&failed == 0 {
		m.flags |= failed
		m.cause = TooLate
	}
}

// from notes whether a message has a sender.
func (c *Counter) from(i int32, e *maillog.Event) {
	m := &c.queue.slots[i]
	if len(e.From) > 0 {
		if m.class == unclear || m.class == null {
			m.class = ordinary
			c.settle(i)
		}
		m.sender = c.domainHash(e.From)
	} else if m.class == unclear {
		m.class = null
	}
	id := fnv(0, e.ID)
	if len(e.From) > 0 {
		if h, ok := c.hand.get(id); ok {
			c.handed(i, h)
		}
		return
	}
	if h, ok := c.bounced.get(id); ok {
		c.handed(i, h)
		h.met = true
		c.bounced.put(id, h)
	}
	if m.class == null {
		m.id = id
		c.keepNull(id, nullMessage{key: m.key})
	}
}

// passed joins a message with the one under whose queue id it goes on.
func (c *Counter) passed(e *maillog.Event) {
	i := c.queue.get(c.key(e, e.ID), e.MTA)
	h := handover{class: c.queue.slots[i].class, flags: c.queue.slots[i].flags & (outside | rewritten), peer: c.queue.slots[i].peer}
	c.handed(c.queue.get(c.key(e, e.Other), e.MTA), h)
	c.done(c.queue.find(c.key(e, e.ID)))
}

// handed gives a message what is known of it under an earlier queue id.
func (c *Counter) handed(i int32, h handover) {
	if i == 0 {
		return
	}
	m := &c.queue.slots[i]
	switch h.class {
	case ordinary:
		m.flags |= h.flags & (outside | rewritten)
		if m.peer == 0 {
			m.peer = h.peer
		}
	case ownBounce, ownNotice, claimed:
		m.flags |= passed
	}
}

// recipients is what became of a message for one or several of its recipients.
func (c *Counter) recipients(e *maillog.Event) {
	key := c.key(e, e.ID)
	i := c.queue.find(key)
	if i == 0 {
		if e.MTA == maillog.Exim && e.HasFrom && len(e.From) > 0 && e.Kind == maillog.Delivered {
			return // its beginning is not in the log, and it is no bounce
		}
		i = c.queue.get(key, e.MTA)
	}
	if e.HasFrom && e.MTA != maillog.Exchange && c.queue.slots[i].class == unclear {
		c.from(i, e)
	}
	n := 0
	if e.MTA == maillog.Sendmail || e.MTA == maillog.Exchange {
		maillog.Each(e.To, func(to []byte) {
			n++
			c.recipient(i, to, e)
		})
	} else {
		n = 1
		c.recipient(i, e.To, e)
	}
	if e.Kind == maillog.Deferred {
		return
	}
	if m := &c.queue.slots[i]; e.MTA == maillog.Sendmail || e.MTA == maillog.OpenSMTPD {
		if m.left > 0 {
			m.left -= min(int32(n), m.left)
		}
		if m.left == 0 || m.class == ownBounce || m.class == ownNotice {
			c.queue.finish(i)
		}
	}
}

// recipient is what became of it for one.
func (c *Counter) recipient(i int32, to []byte, e *maillog.Event) {
	m := &c.queue.slots[i]
	accepted := to
	moved := false // it goes to another domain than it was accepted for
	if len(e.Accepted) > 0 && e.MTA != maillog.Sendmail {
		accepted = e.Accepted
		moved = c.domain(to) != c.domain(accepted)
	}
	if m.flags&outside != 0 && m.class == ordinary && !(e.MTA == maillog.Sendmail && len(e.Accepted) > 0) {
		c.acceptedFor(m, accepted, e, moved)
	}
	if len(e.Other) > 0 && e.Kind == maillog.Delivered {
		c.handOver(m, e, moved)
	}
	if e.Local || string(e.Via) == relayDomains && e.MTA == maillog.Postfix {
		c.evidence(accepted).own = true
	}
	failing := accepted
	if moved && len(e.Host) > 0 && !maillog.Private(e.Addr) { // it was forwarded, and he who got it does not know it
		failing = to
	}
	switch e.Kind {
	case maillog.Deferred:
		m.flags |= deferred
		if e.MTA == maillog.OpenSMTPD {
			c.awaits(c.address(e.From)^e.Place, m, true)
		}
		if m.flags&failed == 0 {
			c.blame(m, failing, e)
		}
	case maillog.Failed:
		c.route(accepted, e, m)
		c.fails(i, failing, e)
	case maillog.Delivered:
		c.route(accepted, e, m)
		c.delivered(i, to, e)
	}
}

// relayDomains is the transport of Postfix for the domains whose mail it takes from strangers and hands on.
const relayDomains = "relay"

// fails notes the first failure of a message.
func (c *Counter) fails(i int32, to []byte, e *maillog.Event) {
	if c.queue.slots[i].class == claimed {
		c.decide(i, e)
	}
	m := &c.queue.slots[i]
	m.flags &^= answered
	if m.class == ownBounce {
		if m.flags&(gone|passed) == 0 && e.At >= c.options.Since {
			c.refused++
		}
		m.flags |= gone
		return
	}
	if e.MTA == maillog.OpenSMTPD && len(e.From) > 0 {
		c.awaits(c.address(e.From)^e.Place, m, false)
	}
	if m.flags&failed != 0 {
		return
	}
	m.flags |= failed
	c.blame(m, to, e)
}

// blame notes why, and who said so.
func (c *Counter) blame(m *message, to []byte, e *maillog.Event) {
	if e.Kind == maillog.Deferred {
		m.cause = TooLate // if ever
	} else {
		m.cause = causeOf(e.DSN, e.Text, e.Stage, c.scratch)
		m.stage = e.Stage
	}
	if len(e.Accepted) > 0 && e.MTA != maillog.Sendmail && e.Kind == maillog.Failed && len(e.Host) > 0 && !maillog.Private(e.Addr) && c.domain(e.Accepted) != c.domain(to) {
		m.cause = Elsewhere
	}
	m.domain = c.domain(to)
	m.host = c.host(e)
}

// byLMTP stands behind the name of a host that was asked by LMTP and not by SMTP.
const byLMTP = " (LMTP)"

// host is the number of who was asked.
func (c *Counter) host(e *maillog.Event) uint32 {
	if len(e.Host) == 0 {
		return 0
	}
	c.folded = lower(c.folded[:0], e.Host)
	if len(e.Addr) > 0 && !bytes.Equal(e.Addr, e.Host) {
		c.folded = append(append(append(c.folded, " ["...), e.Addr...), ']')
	}
	if len(e.Port) > 0 && string(e.Port) != "25" {
		c.folded = append(append(c.folded, ':'), e.Port...)
	}
	if e.MTA == maillog.Postfix && string(e.Via) == "lmtp" {
		c.folded = append(c.folded, byLMTP...)
	}
	return c.hosts.number(c.folded)
}

// domain is the number of that of an address.
func (c *Counter) domain(address []byte) uint32 {
	at := bytes.LastIndexByte(address, '@')
	if at < 0 {
		return 0
	}
	c.folded = lower(c.folded[:0], address[at+1:])
	n := c.domains.number(c.folded)
	for len(c.known) <= int(n) {
		c.known = append(c.known, knowledge{})
	}
	return n
}

// domainHash is a hash of that of an address: of senders there are more than there is room for.
func (c *Counter) domainHash(address []byte) uint32 {
	c.folded = lower(c.folded[:0], address[bytes.LastIndexByte(address, '@')+1:])
	return uint32(mix(fnv(14695981039346656037, c.folded)))
}

// address is a hash of one.
func (c *Counter) address(a []byte) uint64 {
	c.folded = lower(c.folded[:0], a)
	return fnv(14695981039346656037, c.folded)
}
