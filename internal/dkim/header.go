package dkim

import (
	"bytes"
	"iter"
	"slices"
	"strings"
)

// field is one field of a header, with all its lines.
type field struct {
	raw  []byte // to its last CRLF, which only the last field may lack
	name []byte // as it is written, without white space; nil: a line that is no field
}

// is compares the name; lower is in lower case.
func (f field) is(lower string) bool {
	return len(f.name) == len(lower) && bytes.EqualFold(f.name, []byte(lower))
}

// fields takes a header with whole lines apart, from the top down. An empty line ends it.
func fields(b []byte) iter.Seq[field] {
	return func(yield func(field) bool) {
		for len(b) > 0 && !bytes.HasPrefix(b, []byte("\r\n")) {
			f := field{raw: b[:fieldEnd(b)]}
			b = b[len(f.raw):]
			if colon := bytes.IndexByte(f.raw, ':'); colon > 0 && f.raw[0] > ' ' {
				f.name = bytes.TrimRight(f.raw[:colon], " \t")
			}
			if !yield(f) {
				return
			}
		}
	}
}

// index is where the fields of certain names stand in a header. Of all other fields nothing is kept, since a
// stranger's header may have as many as it has lines.
type index struct {
	header []byte
	places []place
	ids    map[string]int32 // by lower-case name
	last   []int32          // by number of name: the lowest place; -1: none
	buf    []byte           // to write canonical forms into
}

// place is one field; a header has less than 2 GB.
type place struct{ from, to, prev int32 } // prev: the nearest above of the same name; -1: none

// newIndex looks for the fields of the names in the lists, which are made as h= is, in a header with whole lines.
func newIndex(header []byte, lists ...string) *index {
	x := &index{header: header, ids: make(map[string]int32), places: make([]place, 0, 32)}
	var lower []byte
	for _, list := range lists {
		for one := range strings.SplitSeq(list, ":") {
			lower = appendLower(lower[:0], strings.Trim(one, fws))
			if _, known := x.ids[string(lower)]; !known {
				x.ids[string(lower)] = int32(len(x.last))
				x.last = append(x.last, -1)
			}
		}
	}
	at := 0
	for f := range fields(header) {
		from := at
		at += len(f.raw)
		lower = appendLower(lower[:0], f.name)
		id, known := x.ids[string(lower)]
		if !known || f.name == nil {
			continue
		}
		if len(x.places) == cap(x.places) { // once: there are no more fields than lines
			x.places = slices.Grow(x.places, 2+bytes.Count(header[at:], []byte{'\n'}))
		}
		x.places = append(x.places, place{int32(from), int32(at), x.last[id]})
		x.last[id] = int32(len(x.places) - 1)
	}
	return x
}

// wholeLines makes CRLF of every bare LF. A header that has none is returned as it is.
func wholeLines(b []byte) []byte {
	bare := 0
	for i, c := range b {
		if c == '\n' && (i == 0 || b[i-1] != '\r') {
			bare++
		}
	}
	if bare == 0 {
		return b
	}
	whole := make([]byte, 0, len(b)+bare)
	for i, c := range b {
		if c == '\n' && (i == 0 || b[i-1] != '\r') {
			whole = append(whole, '\r')
		}
		whole = append(whole, c)
	}
	return whole
}

// fieldEnd is how long the field at the beginning of b is, with the lines that continue it.
func fieldEnd(b []byte) int {
	end := 0
	for {
		i := bytes.IndexByte(b[end:], '\n')
		if i < 0 {
			return len(b)
		}
		end += i + 1
		if end == len(b) || b[end] != ' ' && b[end] != '\t' {
			return end
		}
	}
}

func appendLower[T string | []byte](dst []byte, s T) []byte {
	for i := range len(s) {
		c := s[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		dst = append(dst, c)
	}
	return dst
}

// raw is the field at a place.
func (x *index) raw(p place) []byte { return x.header[p.from:p.to] }

// named returns the fields of a name, given in lower case, from the bottom up.
func (x *index) named(name string) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		id, known := x.ids[name]
		if !known {
			return
		}
		for i := x.last[id]; i >= 0 && yield(x.raw(x.places[i])); i = x.places[i].prev {
		}
	}
}

// count is how many fields of a name there are, but no more than most.
func (x *index) count(name string, most int) int {
	n := 0
	for range x.named(name) {
		if n++; n == most {
			break
		}
	}
	return n
}

// selected returns the fields that a list of names means: a name that is repeated means the next field
// above, and one more than there are means nothing (RFC 6376, 5.4.2).
func (x *index) selected(names string) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		next := append([]int32(nil), x.last...)
		var lower []byte
		for one := range strings.SplitSeq(names, ":") {
			lower = appendLower(lower[:0], strings.Trim(one, fws))
			id, known := x.ids[string(lower)]
			if !known || next[id] < 0 {
				continue
			}
			p := x.places[next[id]]
			next[id] = p.prev
			if !yield(x.raw(p)) {
				return
			}
		}
	}
}

// appendField writes the canonical form of a field, with its CRLF (RFC 6376, 3.4.1 and 3.4.2).
func appendField(dst, raw []byte, relaxed bool) []byte {
	raw = bytes.TrimSuffix(raw, []byte("\r\n"))
	colon := bytes.IndexByte(raw, ':')
	if !relaxed || colon < 0 {
		return append(append(dst, raw...), '\r', '\n')
	}
	dst = appendLower(dst, bytes.TrimRight(raw[:colon], " \t"))
	dst = append(dst, ':')
	begin := len(dst)
	space := false
	for i := colon + 1; i < len(raw); i++ {
		c := raw[i]
		switch {
		case c == ' ' || c == '\t':
			space = true
			continue
		case c == '\r' && i+1 < len(raw) && raw[i+1] == '\n':
			i++
			continue
		case space && len(dst) > begin:
			dst = append(dst, ' ')
		}
		space = false
		dst = append(dst, c)
	}
	return append(dst, '\r', '\n')
}
