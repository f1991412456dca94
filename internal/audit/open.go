package audit

import "backstop/internal/maillog"

// class is what a message is, as far as is known.
type class uint8

const (
	unclear  class = iota
	ordinary       // it has a sender
	null           // it has none, and why is not known yet
	foreign        // it has none, and was handed to this server so
	ownBounce
	ownNotice // a notice of this server that is no bounce: late, delivered, for the postmaster
	claimed   // a notice about another message: Exim does not say of what kind
)

const (
	failed = 1 << iota
	deferred
	finished
	began     // the line was seen with which it came in
	outside   // from a stranger
	byLocal   // from a program of this machine
	passed    // counted already, under another queue id
	counted   // as written
	gone      // the bounce left, or was refused
	answered  // Exim wrote the bounce about what failed
	rewritten // some recipient is not of the domain for which it was accepted
)

// message is one in the queue. Numbers instead of pointers keep the garbage collector out.
type message struct {
	key, parent uint64
	older       int32 // neighbours by age, 0: none
	newer       int32
	host        uint32 // who refused it
	domain      uint32 // of the recipient that was refused
	peer        uint32 // hash of the client's address
	sender      uint32 // hash of the sender's domain
	client      uint32 // the private address that it came from
	id          uint64 // hash of the queue id, of one without a sender
	left        int32  // recipients of which nothing final was said; negative: unknown
	flags       uint16
	class       class
	cause       Cause
	stage       maillog.Stage
	mta         maillog.MTA
}

// delivery is one that was made before it was known of what.
type delivery struct {
	at      int64
	address uint64
	domain  uint32
	route   uint16
	local   bool
}

// queue are the messages that are followed. Slot 0 is not used.
type queue struct {
	slots          []message
	by             map[uint64]int32
	free           []int32
	oldest, newest int32
	most           int
	waiting        map[int32][]delivery
	done           []uint64 // ring of those that ended, which are kept for a while
	next           int
	forget         func(slot int32) // is called before one is dropped
	dropped        int              // unfinished ones
}

// kept is how many messages are remembered after their end: lines come late, and bounces are written then.
const kept = 16 << 10

func newQueue(most int, forget func(int32)) *queue {
	return &queue{
		slots: make([]message, 1, 1024), by: map[uint64]int32{}, most: most, waiting: map[int32][]delivery{},
		done: make([]uint64, min(kept, most/2+1)), forget: forget,
	}
}

// find returns the slot of a message, or 0.
func (q *queue) find(key uint64) int32 { return q.by[key] }

// get returns the slot of a message, which is made where there is none.
func (q *queue) get(key uint64, mta maillog.MTA) int32 {
	if i := q.by[key]; i > 0 {
		return i
	}
	if len(q.by) >= q.most {
		if q.slots[q.oldest].open() {
			q.dropped++
		}
		q.drop(q.oldest)
	}
	var i int32
	if n := len(q.free); n > 0 {
		i, q.free = q.free[n-1], q.free[:n-1]
	} else {
		q.slots = append(q.slots, message{})
		i = int32(len(q.slots) - 1)
	}
	q.slots[i] = message{key: key, mta: mta, older: q.newest, left: -1}
	if q.newest > 0 {
		q.slots[q.newest].newer = i
	} else {
		q.oldest = i
	}
	q.newest = i
	q.by[key] = i
	return i
}

// open says whether something may come of it yet that matters.
func (m *message) open() bool {
	return m.flags&finished == 0 && (m.class == claimed || m.class == ownBounce && m.flags&gone == 0 || m.flags&(deferred|failed) == deferred)
}

// drop forgets one.
func (q *queue) drop(i int32) {
	q.forget(i)
	m := &q.slots[i]
	delete(q.by, m.key)
	delete(q.waiting, i)
	if m.older > 0 {
		q.slots[m.older].newer = m.newer
	} else {
		q.oldest = m.newer
	}
	if m.newer > 0 {
		q.slots[m.newer].older = m.older
	} else {
		q.newest = m.older
	}
	*m = message{}
	q.free = append(q.free, i)
}

// renew begins a message whose queue id an older one had.
func (q *queue) renew(key uint64, mta maillog.MTA) int32 {
	if i := q.by[key]; i > 0 {
		q.drop(i)
	}
	return q.get(key, mta)
}

// finish marks one as ended. It goes when many others have.
func (q *queue) finish(i int32) {
	m := &q.slots[i]
	if m.flags&finished != 0 {
		return
	}
	m.flags |= finished
	if old := q.by[q.done[q.next]]; old > 0 && q.done[q.next] != m.key && q.slots[old].flags&finished != 0 {
		q.drop(old)
	}
	q.done[q.next] = m.key
	q.next = (q.next + 1) % len(q.done)
}

// end forgets all.
func (q *queue) end() {
	for q.oldest > 0 {
		q.drop(q.oldest)
	}
}
