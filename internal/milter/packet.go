package milter

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
)

const (
	smallBuffer = 1024        // what an idle connection holds
	largeBuffer = maxData + 5 // while much is read: any packet fits
	maxData     = 65535       // of one packet: MILTER_CHUNK_SIZE. Sendmail cuts header fields at 32 KB, Postfix at 60,000
)

var smallBuffers = sync.Pool{New: func() any { b := make([]byte, smallBuffer); return &b }}
var largeBuffers = sync.Pool{New: func() any { b := make([]byte, largeBuffer); return &b }}
var writeBuffers = sync.Pool{New: func() any { b := make([]byte, 0, 2048); return &b }}

// ErrMalformed is wrapped by every error about what the other end sent.
var ErrMalformed = errors.New("malformed")

func broken(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrMalformed}, args...)...)
}

// packets reads packets from a connection: into a small buffer while it is idle, into a large one from a pool
// while there is much to read.
type packets struct {
	nc   net.Conn
	wait func() error // called before each read that may wait

	small *[]byte
	large *[]byte // set while buf is a pooled large buffer
	buf   []byte
	r, w  int // what was read and not handed out is buf[r:w]
}

func (p *packets) init() {
	p.small = smallBuffers.Get().(*[]byte)
	p.buf = *p.small
}

// free gives the buffers back. Nothing may be read afterwards.
func (p *packets) free() {
	if p.large != nil {
		largeBuffers.Put(p.large)
	}
	if p.small != nil {
		smallBuffers.Put(p.small)
	}
	p.small, p.large, p.buf, p.r, p.w = nil, nil, nil, 0, 0
}

// next returns a packet. Its data are valid until the next call.
func (p *packets) next() (command byte, data []byte, err error) {
	if err := p.need(5); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(p.buf[p.r:])
	command = p.buf[p.r+4]
	if n == 0 {
		return 0, nil, broken("a packet of length 0")
	}
	if n > maxData+1 {
		return 0, nil, broken("a packet %q of %d octets", command, n)
	}
	if err := p.need(4 + int(n)); err != nil {
		return 0, nil, err
	}
	data = p.buf[p.r+5 : p.r+4+int(n)]
	p.r += 4 + int(n)
	return command, data, nil
}

// need waits until n octets are in the buffer.
func (p *packets) need(n int) error {
	for p.w-p.r < n {
		if p.r > 0 {
			p.w = copy(p.buf, p.buf[p.r:p.w])
			p.r = 0
		}
		if p.w == len(p.buf) {
			p.grow()
		}
		if err := p.wait(); err != nil {
			return err
		}
		m, err := p.nc.Read(p.buf[p.w:])
		p.w += m
		if m == 0 {
			if err == nil {
				err = io.ErrNoProgress
			}
			if err == io.EOF && p.w > 0 {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
	}
	return nil
}

// grow goes over to a large buffer: a peer gets one for what it sent, not for what it promised.
func (p *packets) grow() {
	p.large = largeBuffers.Get().(*[]byte)
	p.w = copy(*p.large, p.buf[p.r:p.w])
	p.r, p.buf = 0, *p.large
}

// rest makes an idle connection small again. The data of the last packet are void.
func (p *packets) rest() {
	if p.large == nil || p.w-p.r > len(*p.small) {
		return
	}
	p.w = copy(*p.small, p.buf[p.r:p.w])
	p.r, p.buf = 0, *p.small
	largeBuffers.Put(p.large)
	p.large = nil
}

// begin appends the head of a packet; end puts its length in, where at is what begin was given.
func begin(b []byte, command byte) (out []byte, at int) {
	return append(b, 0, 0, 0, 0, command), len(b)
}

func end(b []byte, at int) []byte {
	binary.BigEndian.PutUint32(b[at:], uint32(len(b)-at-4))
	return b
}

func appendPacket(b []byte, command byte, data ...string) []byte {
	b, at := begin(b, command)
	for _, s := range data {
		b = append(b, s...)
	}
	return end(b, at)
}

// takeString takes a string and its NUL off the head of data.
func takeString(data []byte) (s, rest []byte, err error) {
	for i, c := range data {
		if c == 0 {
			return data[:i], data[i+1:], nil
		}
	}
	return nil, nil, broken("a string without its NUL")
}

// takeStrings takes strings, and there is nothing else in data.
func takeStrings(data []byte) ([]string, error) {
	var list []string
	for len(data) > 0 {
		s, rest, err := takeString(data)
		if err != nil {
			return nil, err
		}
		list = append(list, string(s))
		data = rest
	}
	return list, nil
}

// takeOne takes the one string that is all of data.
func takeOne(data []byte) (string, error) {
	s, rest, err := takeString(data)
	if err == nil && len(rest) > 0 {
		err = broken("%d octets behind the string", len(rest))
	}
	return string(s), err
}
