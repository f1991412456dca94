package session

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"

	"backstop/internal/evidence"
)

const (
	// headSize is how much of a message is held before the downstream hears of it:
	// enough to see the whole header of all but freaks, and to hand a small message on in one piece.
	headSize = 64 << 10
	// maxHeader is the longest header that is taken. Postfix looks at 100 KB of one; what looks at fields must
	// not be given a million of them.
	maxHeader = 256 << 10
	// memSize is how much of a message is held in memory at most: what bounce.Recognise looks at.
	memSize = 1 << 20
	// memBudget is how much memory messages beyond headSize may take together.
	memBudget = 256 << 20
	// spoolBudget is how long the files may be together.
	spoolBudget = 2 << 30
)

var heads = sync.Pool{New: func() any { b := make([]byte, headSize); return &b }}

var (
	held    atomic.Int64 // of memBudget
	spooled atomic.Int64 // of spoolBudget
)

// holding is a message of which the beginning is kept: in memory, and beyond that in a
// file without a name, which is gone with the process. The rest stands in body still.
type holding struct {
	pooled *[]byte
	mem    []byte // from the first octet on
	took   int64  // of memBudget
	file   *os.File
	filed  int64  // octets in file
	at     int64  // of the file: what stands before is in mem
	tail   []byte // read, and found no room in the file
	body   io.Reader
	read   int64 // octets that came from body
	whole  bool  // nothing is left in body
	err    error // why it could not be read, or kept
	ours   bool  // err is a fault of ours: no room for it
	full   error // why not all of it is in memory and file; what is not stands in tail and body
	short  bool  // more of it was wanted in memory than there was memory for
	late   bool  // somebody was waited for behind the first read
	spool  string
}

func hold(body io.Reader, spool string) *holding {
	buf := heads.Get().(*[]byte)
	return &holding{pooled: buf, mem: (*buf)[:0], body: body, spool: spool}
}

// release gives everything back.
func (h *holding) release() {
	if h.pooled != nil {
		heads.Put(h.pooled)
	}
	held.Add(-h.took)
	spooled.Add(-h.filed)
	if h.file != nil {
		h.file.Close()
	}
}

// fill reads on until n octets are in memory, or all; short says that there was no memory for them.
func (h *holding) fill(n int) {
	if h.err != nil || len(h.mem) >= n || h.whole && h.behind() == 0 {
		return
	}
	if n > headSize {
		h.late = true
		if !h.grow(n) {
			h.short = true
			return
		}
	}
	for len(h.mem)+2 <= n { // the body hands lines' ends out as a whole
		k, err := h.next(h.mem[len(h.mem):n])
		h.mem = h.mem[:len(h.mem)+k]
		if err != nil {
			return
		}
	}
}

// behind is how many octets are held behind those in memory.
func (h *holding) behind() int64 { return h.filed - h.at + int64(len(h.tail)) }

// next reads on behind the memory: from the file, from what found no room in it, and then the rest as it comes.
func (h *holding) next(p []byte) (int, error) {
	if h.at < h.filed {
		n, err := h.file.ReadAt(p[:min(int64(len(p)), h.filed-h.at)], h.at)
		h.at += int64(n)
		if n > 0 {
			return n, nil
		}
		h.noRoom(notTheEnd(err))
		return 0, h.err
	}
	if len(h.tail) > 0 {
		n := copy(p, h.tail)
		h.tail = h.tail[n:]
		return n, nil
	}
	switch {
	case h.err != nil:
		return 0, h.err
	case h.whole:
		return 0, io.EOF
	}
	return h.fetch(p)
}

// notTheEnd keeps the end of a file that should be longer from being taken for the end of the message.
func notTheEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// fetch reads from the sender.
func (h *holding) fetch(p []byte) (int, error) {
	n, err := h.body.Read(p)
	h.read += int64(n)
	if err != nil {
		h.ended(err)
	}
	return n, err
}

// grow makes room for n octets, if the budget has it.
func (h *holding) grow(n int) bool {
	if cap(h.mem) >= n {
		return true
	}
	if held.Add(int64(n)) > memBudget {
		held.Add(int64(-n))
		return false
	}
	h.took += int64(n)
	mem := make([]byte, len(h.mem), n)
	copy(mem, h.mem)
	h.mem = mem
	if h.pooled != nil {
		heads.Put(h.pooled)
		h.pooled = nil
	}
	return true
}

func (h *holding) ended(err error) {
	h.whole = errors.Is(err, io.EOF)
	if !h.whole {
		h.err = err
	}
}

// finish reads the message to its end and keeps it. Where there is no room that is an error of ours.
func (h *holding) finish() {
	if err := h.keep(); err != nil {
		h.noRoom(err)
	}
}

// keep reads the message to its end and keeps it in the file, for memory is dear. The error says that there was no
// room for all of it. Nothing is lost by that: what was not kept stands in tail and body.
func (h *holding) keep() error {
	if h.full != nil || h.whole || h.err != nil {
		return h.full
	}
	h.late = true
	if h.full = h.open(); h.full != nil {
		return h.full
	}
	buf := heads.Get().(*[]byte)
	defer heads.Put(buf)
	for {
		k, err := h.fetch(*buf)
		if h.full = h.spill((*buf)[:k]); h.full != nil {
			return h.full
		}
		if err != nil {
			return nil
		}
	}
}

// open makes the file, and takes its name away.
func (h *holding) open() error {
	f, err := os.CreateTemp(h.spool, ".backstop-message-*")
	if err != nil {
		return err
	}
	h.file = f
	return os.Remove(f.Name())
}

// spill writes to the file, and keeps what cannot be written.
func (h *holding) spill(p []byte) error {
	err, n, wants := errNoSpool, 0, int64(len(p))
	if spooled.Add(wants) <= spoolBudget {
		n, err = h.file.Write(p)
		h.filed += int64(n)
	}
	spooled.Add(int64(n) - wants)
	if err != nil {
		h.tail = bytes.Clone(p[n:])
	}
	return err
}

var (
	// errNoMemory: too many long messages are being judged at the same time.
	errNoMemory = errors.New("too much memory is in use")
	errNoSpool  = errors.New("too much is being kept already")
)

func (h *holding) noRoom(err error) {
	h.err, h.ours = fmt.Errorf("a long message cannot be kept while it is judged: %w", err), true
}

// copyTo writes what is held behind the first skip octets, which are in memory.
func (h *holding) copyTo(w io.Writer, skip int) error {
	if _, err := w.Write(h.mem[skip:]); err != nil || h.at == h.filed {
		return err
	}
	n, err := io.Copy(w, io.NewSectionReader(h.file, h.at, h.filed-h.at))
	if err == nil && n < h.filed-h.at {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// size is how many octets came from the sender so far.
func (h *holding) size() int64 { return h.read }

// header is how many octets of the memory are header: without the empty line that ends it.
// False: it has no end in what is held, and more follows.
func (h *holding) header() (int, bool) {
	if emptyLine(h.mem) {
		return 0, true
	}
	end := len(h.mem)
	if i := bytes.Index(h.mem, []byte("\n\r\n")); i >= 0 {
		end = i + 1
	}
	if i := bytes.Index(h.mem[:end], []byte("\n\n")); i >= 0 { // binary mail may have no CR in it
		end = i + 1
	}
	return end, end < len(h.mem) || h.whole
}

// stray finds a CR or LF that stands alone in the header of binary mail, whose octets come as they are (RFC 3030, 3):
// some would end a line or the header there and some not, and see other fields than those we looked at.
func (h *holding) stray() evidence.Fault {
	head := h.mem
	if i := bytes.Index(head, []byte("\r\n\r\n")); i >= 0 {
		head = head[:i+2]
	}
	if bytes.HasPrefix(head, []byte("\r\n")) {
		return evidence.NoFault // no header at all
	}
	for i, c := range head {
		switch {
		case c == '\n' && (i == 0 || head[i-1] != '\r'):
			return evidence.FaultBareLF
		case c == '\r' && (i+1 == len(head) || head[i+1] != '\n'):
			return evidence.FaultBareCR
		}
	}
	return evidence.NoFault
}

// continues says that the first line would go on with a field that is put before it.
func (h *holding) continues() bool {
	return len(h.mem) > 0 && (h.mem[0] == ' ' || h.mem[0] == '\t')
}

// bodyAt is where the body begins in memory, behind the empty line.
func (h *holding) bodyAt(header int) int {
	switch rest := h.mem[header:]; {
	case bytes.HasPrefix(rest, []byte("\r\n")):
		return header + 2
	case bytes.HasPrefix(rest, []byte("\n")):
		return header + 1
	}
	return header
}

// reader reads the whole message, once: what is held, then the rest as it comes.
func (h *holding) reader() *remainder { return &remainder{h, h.mem} }

// remainder is the message as the relay reads it. What went wrong with the sender, as
// apart from the downstream, stays in the holding.
type remainder struct {
	h    *holding
	head []byte
}

func (r *remainder) Read(p []byte) (int, error) {
	if len(r.head) > 0 {
		n := copy(p, r.head)
		r.head = r.head[n:]
		return n, nil
	}
	return r.h.next(p)
}

// Buffered returns what can be had without waiting, for a relay that can send it in one piece; whole
// says that nothing follows. What is returned is still read by Read.
func (r *remainder) Buffered() (head []byte, whole bool) {
	return r.head, r.h.whole && r.h.behind() == 0 && r.h.err == nil
}
