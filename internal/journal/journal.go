// Package journal writes down what was decided: one line a decision, in JSON or
// for a terminal, and the ordinary lines of log/slog in the same stream.
//
// A line is encoded by the caller's goroutine and appended to a buffer in
// memory; another goroutine writes the buffer out, at most FlushEvery later. A
// writer that fails or hangs therefore never delays a decision: what does not
// fit into the buffer is dropped, counted, and reported in the stream itself as
// soon as it can be written again.
//
// Nearly everything in a line was chosen by a stranger (HELO, addresses, replies
// of other servers). No octet of it reaches the stream unescaped, so a line
// cannot be forged and a terminal cannot be driven.
//
// # Limits
//
// Lines that stand in the buffer when the process is killed are lost. Nothing
// is rotated and nothing is compressed: that is the work of journald or
// logrotate. There is no message content in a Record, and there must never be.
package journal

import (
	"bytes"
	"io"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"backstop/internal/evidence"
	"backstop/internal/mail"
)

// Effect is what a decision did, and the line's msg. It is text, so that the
// rules' own names can be handed over as they are.
type Effect string

// The four effects.
const (
	Accept   Effect = "accept"
	Refuse   Effect = "refuse"
	Defer    Effect = "defer"
	Redirect Effect = "redirect"
)

// Format is how lines are written.
type Format uint8

const (
	JSON Format = iota // what slog.JSONHandler would print: for journald, files, machines
	Text               // one short line, columns aligned: for a terminal
)

// Record is one decision. Fields that hold their zero value are left out of the
// line, except that a null sender which was given is written "<>".
type Record struct {
	Time       time.Time
	Effect     Effect
	ID         mail.ID
	Door       evidence.Door
	Leaves     bool // at a door through which mail goes both ways: it leaves
	Stage      evidence.Stage
	Client     netip.Addr
	Helo       string // as the client gave it
	From       mail.ReversePath
	FromGiven  bool // MAIL was accepted, so that a null From is the null sender
	To         mail.Address
	Rule       string // the rule that decided
	Reply      mail.Reply
	Took       time.Duration    // from the client's command to our reply
	Downstream *evidence.Answer // what the downstream said, nil when none was asked
	Source     string           // which source could not say whether the recipient exists; "": not the matter
	Finding    string           // why, or what the rule found of sender or bounce
	Bounce     string           // what automatic mail it is, and by what it is proven; "": it is none
	Redirected mail.Address     // who got it in place of its recipients
	Mode       evidence.Mode
	Watched    string // in watch mode: the rule that would have refused or deferred
}

const (
	// FlushEvery is the longest time that a line stays in memory while the writer keeps up.
	FlushEvery = 100 * time.Millisecond
	// flushSize is how many octets make the buffer be written at once.
	flushSize = 64 << 10
	// maxBuffer is how many octets wait for a slow writer before lines are dropped.
	maxBuffer = 4 << 20
	// maxEncoder is the largest line buffer kept for the next line.
	maxEncoder = 16 << 10
	// closePatience is how long Close waits for a writer that hangs.
	closePatience = 2 * time.Second
)

// Journal writes decisions and log lines. Make it with New. All methods may be
// called by any number of goroutines.
type Journal struct {
	format   Format
	encoders sync.Pool // *encoder

	mu      sync.Mutex
	buf     []byte // lines that wait
	spare   []byte // the other buffer, nil while it is being written
	lost    uint64 // lines dropped since the last report in the stream
	closed  bool
	written sync.Cond // signalled after each write; its lock is mu
	seq     uint64    // how many times buf was taken to be written
	done    uint64    // how many of those are finished

	wake chan struct{} // the buffer is no longer empty
	full chan struct{} // it holds flushSize, or somebody waits in Flush
	stop chan struct{}
	gone chan struct{} // the writing goroutine has ended

	lines, dropped, failures atomic.Uint64
	lastErr                  atomic.Pointer[string]

	w io.Writer
}

// New starts a journal on w, which is written by one goroutine at a time.
func New(w io.Writer, format Format) *Journal {
	j := &Journal{
		format: format,
		w:      w,
		wake:   make(chan struct{}, 1),
		full:   make(chan struct{}, 1),
		stop:   make(chan struct{}),
		gone:   make(chan struct{}),
	}
	j.written.L = &j.mu
	j.encoders.New = func() any { return &encoder{buf: make([]byte, 0, 1024)} }
	go j.run()
	return j
}

// Decision writes one line. It does no I/O, blocks on nobody's behalf and keeps
// no reference to r.
func (j *Journal) Decision(r *Record) {
	e := j.encoders.Get().(*encoder)
	e.buf = e.buf[:0]
	if j.format == JSON {
		e.json(r)
	} else {
		e.text(r)
	}
	j.append(e.buf)
	if cap(e.buf) <= maxEncoder {
		j.encoders.Put(e)
	}
}

// append adds one whole line to the buffer, or drops it.
func (j *Journal) append(line []byte) {
	j.mu.Lock()
	if j.closed || len(j.buf)+len(line) > maxBuffer {
		j.lost++
		j.mu.Unlock()
		j.dropped.Add(1)
		return
	}
	first := len(j.buf) == 0
	j.buf = append(j.buf, line...)
	big := len(j.buf) >= flushSize
	j.mu.Unlock()
	j.lines.Add(1)
	if first {
		signal(j.wake)
	}
	if big {
		signal(j.full)
	}
}

// signal leaves word in a channel of one place; when word is there already, that is enough.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// run writes the buffer out: FlushEvery after its first line, or when it is full.
func (j *Journal) run() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-j.wake:
			timer.Reset(FlushEvery)
			select {
			case <-timer.C:
			case <-j.full:
			case <-j.stop:
			}
		case <-j.full:
		case <-j.stop:
			j.write()
			j.end()
			return
		}
		j.write()
	}
}

// end tells everybody who waits that nothing will be written any more.
func (j *Journal) end() {
	j.mu.Lock()
	close(j.gone)
	j.mu.Unlock()
	j.written.Broadcast()
}

// write hands what waits to the writer. Only run calls it.
func (j *Journal) write() {
	j.mu.Lock()
	reported := j.lost
	if reported > 0 {
		j.buf, j.lost = j.reportLoss(j.buf, reported), 0
	}
	out := j.buf
	j.buf, j.spare = j.spare[:0], nil
	j.seq++
	j.mu.Unlock()

	var lost uint64
	if len(out) > 0 {
		if n, err := j.w.Write(out); err != nil {
			lost = j.failed(err, out[min(max(n, 0), len(out)):], reported > 0)
		}
	}

	j.mu.Lock()
	if lost > 0 { // the report, at the end, is lost as well: its number stays due
		j.lost += lost + reported
	}
	if cap(out) <= maxBuffer/4 { // what a hanging writer made larger is not kept
		j.spare = out[:0]
	}
	j.done = j.seq
	j.mu.Unlock()
	j.written.Broadcast()
}

// failed counts a write that failed, and the lines in what it left unwritten; a
// report of earlier losses at its end is no such line.
func (j *Journal) failed(err error, unwritten []byte, report bool) uint64 {
	text := err.Error()
	j.lastErr.Store(&text)
	j.failures.Add(1)
	n := uint64(bytes.Count(unwritten, []byte{'\n'}))
	if report && n > 0 {
		n--
	}
	j.dropped.Add(n)
	return n
}

// Flush returns when every line that was appended before the call has been
// handed to the writer. It waits for a writer that hangs.
func (j *Journal) Flush() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.buf) == 0 && j.done == j.seq {
		return
	}
	for want := j.seq + 1; j.done < want && !j.ended(); {
		signal(j.full)
		j.written.Wait()
	}
}

// ended says whether the writing goroutine has stopped for good.
func (j *Journal) ended() bool {
	select {
	case <-j.gone:
		return true
	default:
		return false
	}
}

// Close writes what waits and stops. Lines that come later are dropped. It waits
// a short time for a writer that hangs, and then gives up. The writer is not closed.
func (j *Journal) Close() {
	j.mu.Lock()
	first := !j.closed
	j.closed = true
	j.mu.Unlock()
	if first {
		close(j.stop)
	}
	patience := time.NewTimer(closePatience)
	defer patience.Stop()
	select {
	case <-j.gone:
	case <-patience.C:
	}
}

// Stats is how the journal itself fares.
type Stats struct {
	Lines     uint64 `json:"lines"`                // lines taken into the buffer
	Dropped   uint64 `json:"dropped"`              // lines lost: the writer was too slow, or failed, or they came after Close
	Failures  uint64 `json:"write_errors"`         // writes that failed
	LastError string `json:"last_error,omitempty"` // of the last write that failed
}

// Stats reads the counters.
func (j *Journal) Stats() Stats {
	s := Stats{Lines: j.lines.Load(), Dropped: j.dropped.Load(), Failures: j.failures.Load()}
	if p := j.lastErr.Load(); p != nil {
		s.LastError = *p
	}
	return s
}
