package record

import "time"

// name is what a record is found by.
type name struct {
	kind Kind
	key  [16]byte
}

// queue holds records in their order, at most MaxHeld, and finds them by name.
type queue struct {
	byName map[name]held
	order  []Entry // from head on; what lies before was taken off
	head   int
	first  uint64 // the number of order[head], counted from the first record ever
}

// held is where a record stands: the youngest of its name.
type held struct {
	number uint64
	at     time.Time
}

func (q *queue) init() { q.byName = map[name]held{} }

func (q *queue) len() int { return len(q.order) - q.head }

// add appends a record and says whether the oldest had to go for it. One of a message that
// is held since the same hour is left out: it is found already.
func (q *queue) add(e Entry) (pushed bool) {
	if q.has(name{e.Kind, e.Key}, e.At.Add(-time.Hour)) {
		return false
	}
	if q.len() == MaxHeld {
		q.drop()
		pushed = true
	}
	q.byName[name{e.Kind, e.Key}] = held{q.first + uint64(q.len()), e.At}
	q.order = append(q.order, e)
	return pushed
}

func (q *queue) has(n name, since time.Time) bool {
	h, ok := q.byName[n]
	return ok && !h.at.Before(since)
}

// drop takes the oldest off.
func (q *queue) drop() {
	e := &q.order[q.head]
	n := name{e.Kind, e.Key}
	if q.byName[n].number == q.first { // else the same message was noted again since
		delete(q.byName, n)
	}
	q.head++
	q.first++
	if q.head == len(q.order) || q.head >= MaxHeld { // moved once in MaxHeld, so that adding stays cheap
		q.order = append(q.order[:0], q.order[q.head:]...)
		q.head = 0
	}
	if len(q.order) == 0 && cap(q.order) > 4*BatchSize { // what a store that failed made large is not kept
		q.order, q.byName = nil, map[name]held{}
	}
}

// dropUntil takes off all that come before that number.
func (q *queue) dropUntil(number uint64) {
	for q.len() > 0 && q.first < number {
		q.drop()
	}
}

// dropBefore takes off the oldest as long as they are from before that moment.
func (q *queue) dropBefore(t time.Time) {
	for q.len() > 0 && q.order[q.head].At.Before(t) {
		q.drop()
	}
}

// batch is a copy of the oldest, and the number behind its last.
func (q *queue) batch(room []Entry) (entries []Entry, end uint64) {
	n := min(q.len(), BatchSize)
	return append(room[:0], q.order[q.head:q.head+n]...), q.first + uint64(n)
}
