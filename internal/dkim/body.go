package dkim

import (
	"bytes"
	"crypto/sha256"
	"hash"
)

// bodyHash is the hash of a canonical body, or of its beginning.
type bodyHash struct {
	limit int64 // octets that are hashed (l=); whole: all
	total int64 // octets that there were
	hash  hash.Hash
	sum   [sha256.Size]byte // when the body has ended
}

const whole = -1 // no l=

func newBodyHash(limit int64) *bodyHash { return &bodyHash{limit: limit, hash: sha256.New()} }

func (b *bodyHash) write(p []byte) {
	room := b.limit - b.total
	b.total += int64(len(p))
	if b.limit != whole {
		if room <= 0 {
			return
		}
		p = p[:min(int64(len(p)), room)]
	}
	b.hash.Write(p)
}

// canonicaliser brings a body into its canonical form (RFC 6376, 3.4.3 and 3.4.4) as it passes. Line ends and
// white space whose meaning depends on what follows are counted, not kept, so a body of any
// length and content costs the same memory, and time in proportion to its length.
type canonicaliser struct {
	relaxed bool
	sums    []*bodyHash
	out     []byte // canonical octets on their way to the hashes
	cr      bool   // the last piece ended in CR: a line end, if LF follows
	wsp     bool   // relaxed: white space, which counts if the line goes on
	crlfs   int64  // line ends, which count if the body goes on
	any     bool   // something was written
	ended   bool
}

const outSize = 1024

// What is written where line ends and white space turn out to count.
var (
	lineEnds = bytes.Repeat([]byte("\r\n"), outSize/2)
	blank    = []byte{' '}
)

// sum gives the hash of the first octets of the body; the same one to all who ask for as many.
func (c *canonicaliser) sum(limit int64) *bodyHash {
	for _, s := range c.sums {
		if s.limit == limit {
			return s
		}
	}
	s := newBodyHash(limit)
	c.sums = append(c.sums, s)
	return s
}

func (c *canonicaliser) write(p []byte) {
	if len(c.sums) == 0 {
		return
	}
	for i := 0; i < len(p); {
		b := p[i]
		if c.cr {
			c.cr = false
			if b == '\n' {
				c.lineEnd()
				i++
				continue
			}
			c.text(lineEnds[:1])
		}
		switch {
		case b == '\r' && i+1 == len(p):
			c.cr = true
			i++
		case b == '\r' && p[i+1] == '\n':
			c.lineEnd()
			i += 2
		case c.relaxed && (b == ' ' || b == '\t'):
			c.wsp = true
			i++
		default:
			end := i + c.run(p[i:])
			c.text(p[i:end])
			i = end
		}
	}
}

func (c *canonicaliser) lineEnd() {
	c.wsp = false
	c.crlfs++
}

// run is how many octets at the beginning of p are the same in the canonical form. The first one is; the
// rest is looked at only as far as it can be judged by what follows within p.
func (c *canonicaliser) run(p []byte) int {
	if !c.relaxed {
		i := 1
		for {
			n := bytes.IndexByte(p[i:], '\r')
			if n < 0 {
				return len(p)
			}
			i += n
			switch {
			case i+1 < len(p) && p[i+1] != '\n':
				i++ // an octet like any other
			case i+2 < len(p) && p[i+2] != '\r':
				i += 3
			default:
				return i
			}
		}
	}
	i := 1
	for i < len(p) {
		switch b := p[i]; {
		case b > ' ':
			i++
		case b == ' ' && i+1 < len(p) && p[i+1] > ' ':
			i += 2
		case b == '\r' && i+2 < len(p) && p[i+1] == '\n' && p[i+2] > ' ':
			i += 3
		case b == '\r' && i+1 < len(p) && p[i+1] != '\n':
			i++
		default:
			return i
		}
	}
	return i
}

// text writes octets that stand in the canonical form, and before them what counts because of them.
func (c *canonicaliser) text(p []byte) {
	for c.crlfs > 0 {
		n := min(c.crlfs, outSize/2)
		c.put(lineEnds[:2*n])
		c.crlfs -= n
	}
	if c.wsp {
		c.put(blank)
		c.wsp = false
	}
	c.any = true
	if len(p) < outSize {
		c.put(p)
		return
	}
	c.flush()
	for _, s := range c.sums {
		s.write(p)
	}
}

func (c *canonicaliser) put(p []byte) {
	if len(c.out)+len(p) > outSize {
		c.flush()
	}
	c.out = append(c.out, p...)
}

func (c *canonicaliser) flush() {
	for _, s := range c.sums {
		s.write(c.out)
	}
	c.out = c.out[:0]
}

// end ends the body. A simple one always ends in one CRLF; a relaxed one does unless it is empty.
func (c *canonicaliser) end() {
	if c.ended {
		return
	}
	c.ended = true
	if c.cr {
		c.text(lineEnds[:1])
	}
	if c.any || !c.relaxed {
		c.put(lineEnds[:2])
	}
	c.flush()
	for _, s := range c.sums {
		s.hash.Sum(s.sum[:0])
	}
}
