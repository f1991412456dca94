package dkim

import (
	"bytes"
	"strings"
)

// field is one field of a header, with all its lines.
type field struct {
	raw  []byte // to its last CRLF, which only the last field may lack
	name []byte // as it is written, without white space; nil: a line that is no field
	id   int32  // the number of its name among all; -1: no field
	prev int32  // the nearest field above of the same name; -1: none
}

// header is a header taken apart.
type header struct {
	fields []field
	ids    map[string]int32 // by lower-case name
	last   []int32          // by number of name: the lowest field
}

// parseHeader takes a header apart. It ends at an empty line; line ends without CR are taken for whole ones,
// since that is what a header may be returned with.
func parseHeader(b []byte) *header {
	b = wholeLines(b)
	h := &header{fields: make([]field, 0, 32), ids: make(map[string]int32, 32)}
	var lower []byte
	for len(b) > 0 && !bytes.HasPrefix(b, []byte("\r\n")) {
		f := field{raw: b[:fieldEnd(b)], id: -1, prev: -1}
		b = b[len(f.raw):]
		if colon := bytes.IndexByte(f.raw, ':'); colon > 0 && f.raw[0] > ' ' {
			f.name = bytes.TrimRight(f.raw[:colon], " \t")
			lower = appendLower(lower[:0], f.name)
			id, known := h.ids[string(lower)]
			if !known {
				id = int32(len(h.last))
				h.ids[string(lower)] = id
				h.last = append(h.last, -1)
			}
			f.id, f.prev = id, h.last[id]
			h.last[id] = int32(len(h.fields))
		}
		h.fields = append(h.fields, f)
	}
	return h
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

// named returns the fields of a name, given in lower case, from the bottom up.
func (h *header) named(name string) func(yield func(*field) bool) {
	return func(yield func(*field) bool) {
		id, known := h.ids[name]
		if !known {
			return
		}
		for i := h.last[id]; i >= 0 && yield(&h.fields[i]); i = h.fields[i].prev {
		}
	}
}

// count is how many fields of a name there are, but no more than most.
func (h *header) count(name string, most int) int {
	n := 0
	for range h.named(name) {
		if n++; n == most {
			break
		}
	}
	return n
}

// selected hands the fields that a list of names means to each: a name that is repeated means
// the next field above, and one more than there are means nothing (RFC 6376, 5.4.2).
func (h *header) selected(names string, each func(*field)) {
	next := make([]int32, len(h.last))
	copy(next, h.last)
	var lower []byte
	for len(names) > 0 {
		var one string
		one, names, _ = strings.Cut(names, ":")
		lower = appendLower(lower[:0], strings.Trim(one, fws))
		id, known := h.ids[string(lower)]
		if !known || next[id] < 0 {
			continue
		}
		f := &h.fields[next[id]]
		next[id] = f.prev
		each(f)
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
