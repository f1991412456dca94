package session

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
)

const (
	// headSize is how much of a message is held before the downstream hears of it:
	// enough to see the whole header of all but freaks, and to hand a small message on in one piece.
	headSize = 64 << 10
	// maxHeader is the longest header that is taken. Postfix looks at 100 KB of one; what looks at fields must
	// not be given a million of them.
	maxHeader = 256 << 10
	// memSize is how much of a message is held in memory: what bounce.Recognise looks at.
	memSize = 1 << 20
	// memBudget is how much memory messages beyond headSize may take together; above it they go to files at once.
	memBudget = 256 << 20
)

var heads = sync.Pool{New: func() any { b := make([]byte, headSize); return &b }}

var held atomic.Int64 // of memBudget

// holding is a message of which the beginning is kept: in memory, and beyond that in a
// file without a name, which is gone with the process. The rest stands in body still.
type holding struct {
	pooled *[]byte
	mem    []byte // from the first octet on
	took   int64  // of memBudget
	file   *os.File
	filed  int64 // octets in file
	body   io.Reader
	whole  bool  // nothing is left in body
	err    error // why it could not be read, or kept
	ours   bool  // err is a fault of ours: no room for it
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
	if h.file != nil {
		h.file.Close()
	}
}

// fill reads on until n octets are in memory, or all.
func (h *holding) fill(n int) {
	if h.err != nil || h.whole || h.file != nil || len(h.mem) >= n || n > headSize && !h.grow(n) {
		return
	}
	for len(h.mem)+2 <= n { // the body hands lines' ends out as a whole
		k, err := h.body.Read(h.mem[len(h.mem):n])
		h.mem = h.mem[:len(h.mem)+k]
		if err != nil {
			h.ended(err)
			return
		}
	}
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

// finish reads the message to its end and keeps it.
func (h *holding) finish() {
	h.fill(memSize)
	if h.whole || h.err != nil {
		return
	}
	if h.file == nil {
		f, err := os.CreateTemp(h.spool, ".backstop-message-*")
		if err != nil {
			h.noRoom(err)
			return
		}
		h.file = f
		if err := os.Remove(f.Name()); err != nil {
			h.noRoom(err)
			return
		}
	}
	buf := heads.Get().(*[]byte)
	defer heads.Put(buf)
	for {
		k, err := h.body.Read(*buf)
		if k > 0 {
			if _, err := h.file.Write((*buf)[:k]); err != nil {
				h.noRoom(err)
				return
			}
			h.filed += int64(k)
		}
		if err != nil {
			h.ended(err)
			return
		}
	}
}

// errNoMemory: too many long messages are being judged at the same time.
var errNoMemory = errors.New("too much memory is in use")

func (h *holding) noRoom(err error) {
	h.err, h.ours = fmt.Errorf("a long message cannot be kept while it is judged: %w", err), true
}

// copyTo writes what is held behind the first skip octets, which are in memory.
func (h *holding) copyTo(w io.Writer, skip int) error {
	if _, err := w.Write(h.mem[skip:]); err != nil {
		return err
	}
	if h.file == nil {
		return nil
	}
	_, err := io.Copy(w, io.NewSectionReader(h.file, 0, h.filed))
	return err
}

// size is how many octets were read so far.
func (h *holding) size() int64 { return int64(len(h.mem)) + h.filed }

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

// reader reads the whole message: what is held, then the rest as it comes.
func (h *holding) reader() *remainder {
	r := &remainder{h: h, head: h.mem}
	if h.file != nil {
		r.file = io.NewSectionReader(h.file, 0, h.filed)
	}
	return r
}

// remainder is the message as the relay reads it. What went wrong with the sender, as
// apart from the downstream, stays in the holding.
type remainder struct {
	h    *holding
	head []byte
	file *io.SectionReader
	size int64 // what was read from the sender meanwhile
}

func (r *remainder) Read(p []byte) (int, error) {
	if len(r.head) > 0 {
		n := copy(p, r.head)
		r.head = r.head[n:]
		return n, nil
	}
	if r.file != nil {
		n, err := r.file.Read(p)
		if n > 0 {
			return n, nil
		}
		if !errors.Is(err, io.EOF) {
			r.h.noRoom(err)
			return 0, err
		}
		r.file = nil
	}
	if r.h.err != nil {
		return 0, r.h.err
	}
	if r.h.whole {
		return 0, io.EOF
	}
	n, err := r.h.body.Read(p)
	r.size += int64(n)
	if err != nil {
		r.h.ended(err)
	}
	return n, err
}

// Buffered returns what can be had without waiting, for a relay that can send it in one piece; whole
// says that nothing follows. What is returned is still read by Read.
func (r *remainder) Buffered() (head []byte, whole bool) {
	return r.head, r.h.whole && r.file == nil && r.h.err == nil
}
