package listen

import (
	"sync"
	"time"
)

// Quiet keeps a door from telling its operator the same again and again: a wrong line in the configuration of a mail
// server is met with every mail. The zero value is ready, and safe for concurrent use.
type Quiet struct {
	mu   sync.Mutex
	last map[string]time.Time
}

// quietFor is how long a subject rests.
const quietFor = time.Minute

// Due says whether the subject is to be spoken of: it was not in the minute before now. It is remembered for ever, so it is a
// word of ours and never a stranger's.
func (q *Quiet) Due(subject string, now time.Time) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if last, ok := q.last[subject]; ok {
		if d := now.Sub(last); d >= 0 && d < quietFor {
			return false
		}
	}
	if q.last == nil {
		q.last = map[string]time.Time{}
	}
	q.last[subject] = now
	return true
}
