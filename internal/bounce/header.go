package bounce

import (
	"bytes"
	"iter"
	"strings"
)

// Header is a header as it came back in a notice. The zero value is one that did not come back.
type Header struct{ raw []byte }

// Raw returns the fields with their line ends and folding as they stand in the notice, without the empty line
// behind them.
func (h Header) Raw() []byte { return h.raw }

// ReadHeader takes the header of a message as it stands: nothing is passed over, and
// octets are not copied.
func ReadHeader(b []byte) Header { return Header{raw: b} }

// Empty says that no header came back.
func (h Header) Empty() bool { return len(h.raw) == 0 }

// Fields yields name and value of each field, unfolded (RFC 5322, 2.2.3) and trimmed, from the top. Lines that are no
// field are passed over.
func (h Header) Fields() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for rest := h.raw; len(rest) > 0; {
			var f field
			f, rest = nextField(rest)
			if f.name != nil && !yield(string(f.name), unfold(f.value)) {
				return
			}
		}
	}
}

// Get returns the value of the first field of that name, unfolded, or "".
func (h Header) Get(name string) string {
	for rest := h.raw; len(rest) > 0; {
		var f field
		f, rest = nextField(rest)
		if equalFold(f.name, name) {
			return unfold(f.value)
		}
	}
	return ""
}

// All returns the values of the fields of that name, unfolded, from the top, at most limit of them.
func (h Header) All(name string, limit int) []string {
	var all []string
	for rest := h.raw; len(rest) > 0 && len(all) < limit; {
		var f field
		f, rest = nextField(rest)
		if equalFold(f.name, name) {
			all = append(all, unfold(f.value))
		}
	}
	return all
}

// field is one field of a header; name is nil for a line that is none.
type field struct{ name, value []byte }

// nextField cuts the first field with its folded lines off b. A whitespace-only line does not fold: nobody
// meant it to.
func nextField(b []byte) (field, []byte) {
	line, rest := cutLine(b)
	name, value, ok := splitField(line)
	if !ok {
		return field{}, rest
	}
	end := len(line)
	for len(rest) > 0 && (rest[0] == ' ' || rest[0] == '\t') {
		more, after := cutLine(rest)
		if blank(more) {
			break
		}
		end = len(b) - len(after)
		rest = after
	}
	if end > len(line) {
		value = b[len(line)-len(value) : end]
	}
	return field{name, value}, rest
}

// splitField takes a line apart at its colon. The name has only visible characters (RFC 5322, 2.2); blanks
// before the colon are an old habit.
func splitField(line []byte) (name, value []byte, ok bool) {
	i := 0
	for i < len(line) && line[i] > ' ' && line[i] < 0x7f && line[i] != ':' {
		i++
	}
	if i == 0 || i > 76 {
		return nil, nil, false
	}
	j := i
	for j < len(line) && (line[j] == ' ' || line[j] == '\t') {
		j++
	}
	if j == len(line) || line[j] != ':' {
		return nil, nil, false
	}
	return line[:i], line[j+1:], true
}

// cutLine cuts the first line off, its end included.
func cutLine(b []byte) (line, rest []byte) {
	i := bytes.IndexByte(b, '\n')
	if i < 0 {
		return b, nil
	}
	return b[:i+1], b[i+1:]
}

// skipEmpty leaves the empty lines out with which b begins: a message may be a megabyte of them.
func skipEmpty(b []byte) []byte {
	for len(b) > 0 && (b[0] == '\n' || b[0] == '\r') {
		b = b[1:]
	}
	return b
}

// blank says that the line holds nothing but white space.
func blank(line []byte) bool {
	for _, c := range line {
		if c != ' ' && c != '\t' && c != '\r' && c != '\n' {
			return false
		}
	}
	return true
}

// unfold takes the line ends out of a value and trims it.
func unfold(v []byte) string {
	v = bytes.TrimSpace(v)
	if bytes.IndexByte(v, '\n') < 0 {
		return string(v)
	}
	var s strings.Builder
	s.Grow(len(v))
	for _, c := range v {
		if c != '\n' && c != '\r' {
			s.WriteByte(c)
		}
	}
	return s.String()
}

// equalFold compares a name with an ASCII word, whatever the case.
func equalFold(b []byte, word string) bool {
	return len(b) == len(word) && hasPrefixFold(b, word)
}

// hasPrefixFold says that b begins with the ASCII word, whatever the case.
func hasPrefixFold(b []byte, word string) bool {
	if len(b) < len(word) {
		return false
	}
	for i := 0; i < len(word); i++ {
		if lower(b[i]) != lower(word[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// headerIn returns the header at the beginning of b: blank lines and an mbox "From " line before it are passed over,
// it ends before the first blank line, and it counts only if it has a field that every message has.
func headerIn(b []byte) Header {
	for range 4 {
		line, rest := cutLine(b)
		if len(line) == 0 || !blank(line) && !bytes.HasPrefix(line, []byte("From ")) && !bytes.HasPrefix(line, []byte(">From ")) {
			break
		}
		b = rest
	}
	end, seen := 0, fieldSet(0)
	for rest := b; len(rest) > 0; {
		if line, _ := cutLine(rest); blank(line) {
			break
		}
		var f field
		f, rest = nextField(rest)
		seen = seen.with(f.name)
		end = len(b) - len(rest)
		if f.name == nil && seen == 0 {
			return Header{}
		}
	}
	if seen&(hasFrom|hasMessageID|hasReceived|hasSubject|hasDate|hasReturnPath) == 0 {
		return Header{}
	}
	return Header{raw: b[:end:end]}
}

// fieldSet says which of the fields that tell a header from other lines with colons were seen.
type fieldSet uint16

const (
	hasFrom fieldSet = 1 << iota
	hasTo
	hasSubject
	hasDate
	hasMessageID
	hasReceived
	hasReturnPath
	hasMIME
	hasContentType
	hasSignature
)

var fieldBits = [...]struct {
	name string
	bit  fieldSet
}{
	{"from", hasFrom}, {"to", hasTo}, {"subject", hasSubject}, {"date", hasDate}, {"message-id", hasMessageID},
	{"received", hasReceived}, {"return-path", hasReturnPath}, {"mime-version", hasMIME}, {"content-type", hasContentType}, {"dkim-signature", hasSignature},
}

// with adds the field of that name.
func (s fieldSet) with(name []byte) fieldSet {
	for _, b := range &fieldBits {
		if equalFold(name, b.name) {
			return s | b.bit
		}
	}
	return s
}

// count is how many different fields were seen.
func (s fieldSet) count() int {
	n := 0
	for ; s != 0; s &= s - 1 {
		n++
	}
	return n
}

// header says that lines with these fields are the header of a message, and not a summary of it.
func (s fieldSet) header() bool {
	return s.count() >= 3 && s&(hasReceived|hasMessageID|hasReturnPath) != 0
}
