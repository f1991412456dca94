package mail

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Status is an enhanced status code, class.subject.detail (RFC 3463). The zero value is none.
type Status struct{ Class, Subject, Detail uint16 }

// ParseStatus reads "5.1.1".
func ParseStatus(s string) (Status, error) {
	parts := strings.Split(s, ".")
	if len(parts) != 3 {
		return Status{}, fmt.Errorf("%q is not an enhanced status code: three numbers are wanted, as in 5.1.1 (RFC 3463)", s)
	}
	var n [3]uint16
	for i, p := range parts {
		v, err := strconv.ParseUint(p, 10, 16)
		if err != nil || v > 999 || len(p) > 3 {
			return Status{}, fmt.Errorf("%q is not an enhanced status code: %q is not a number of one to three digits (RFC 3463, 2)", s, p)
		}
		n[i] = uint16(v)
	}
	if n[0] != 2 && n[0] != 4 && n[0] != 5 {
		return Status{}, fmt.Errorf("%q is not an enhanced status code: the class is 2, 4 or 5 (RFC 3463, 2)", s)
	}
	return Status{n[0], n[1], n[2]}, nil
}

// IsZero says whether there is no status.
func (s Status) IsZero() bool { return s == Status{} }

func (s Status) String() string {
	if s.IsZero() {
		return ""
	}
	return string(s.append(nil))
}

func (s Status) append(b []byte) []byte {
	b = append(strconv.AppendUint(b, uint64(s.Class), 10), '.')
	b = append(strconv.AppendUint(b, uint64(s.Subject), 10), '.')
	return strconv.AppendUint(b, uint64(s.Detail), 10)
}

// Reply is what a peer is told: code, enhanced status and text, checked
// against each other when it is made, so that a 550 can never say 4.1.1. The
// zero value is no reply.
type Reply struct {
	text    string // may hold several lines, parted by \n
	subject string // shown as "<subject>: " before the text
	id      ID     // shown as " [id]" after the text
	code    uint16
	status  Status
}

// NewReply makes a reply. The code is 2xx to 5xx; the status, where there is
// one, has the code's class; the text is printable.
func NewReply(code int, status Status, text string) (Reply, error) {
	if code < 200 || code > 599 {
		return Reply{}, fmt.Errorf("reply code %d is not between 200 and 599 (RFC 5321, 4.2.1)", code)
	}
	if !status.IsZero() && int(status.Class) != code/100 {
		return Reply{}, fmt.Errorf("reply code %d and enhanced status %v disagree (RFC 3463, 2)", code, status)
	}
	for i := 0; i < len(text); i++ {
		if c := text[i]; isControl(rune(c)) && c != '\n' && c != '\t' {
			return Reply{}, fmt.Errorf("the text of a reply may not hold control characters: %q", text)
		}
	}
	return Reply{code: uint16(code), status: status, text: text}, nil
}

// MustReply is NewReply for the fixed replies of a program; status may be "".
func MustReply(code int, status, text string) Reply {
	var s Status
	var err error
	if status != "" {
		if s, err = ParseStatus(status); err != nil {
			panic(err)
		}
	}
	r, err := NewReply(code, s, text)
	if err != nil {
		panic(err)
	}
	return r
}

// About is the reply with an address, shown in angle brackets before the text. A
// control character in it is shown as "?", so that nobody writes reply lines of his own.
func (r Reply) About(address string) Reply {
	r.subject = address
	for i := 0; i < len(address); i++ {
		if isControl(rune(address[i])) {
			r.subject = strings.Map(func(c rune) rune {
				if isControl(c) {
					return '?'
				}
				return c
			}, address)
			break
		}
	}
	return r
}

func isControl(c rune) bool { return c < ' ' || c == 0x7f }

// WithID is the reply with the identifier of its transaction, shown in brackets after the text.
func (r Reply) WithID(id ID) Reply { r.id = id; return r }

// IsZero says whether there is no reply.
func (r Reply) IsZero() bool { return r.code == 0 }

// Code is the reply code, 0 for no reply.
func (r Reply) Code() int { return int(r.code) }

// Status is the enhanced status.
func (r Reply) Status() Status { return r.status }

// Class is the first digit of the code.
func (r Reply) Class() int { return int(r.code) / 100 }

// Positive says whether the code is 2xx or 3xx.
func (r Reply) Positive() bool { c := r.Class(); return c == 2 || c == 3 }

// Permanent says whether the code is 5xx.
func (r Reply) Permanent() bool { return r.Class() == 5 }

// Temporary says whether the code is 4xx.
func (r Reply) Temporary() bool { return r.Class() == 4 }

// Text is the text with the address before it, without the identifier.
func (r Reply) Text() string {
	if r.subject == "" {
		return r.text
	}
	return "<" + r.subject + ">: " + r.text
}

// String is the reply on one line, as logs and people show it.
func (r Reply) String() string {
	if r.IsZero() {
		return ""
	}
	b := r.Append(nil)
	for i := range b {
		if b[i] == '\n' {
			b[i] = ' '
		}
	}
	return string(b)
}

// Append appends code, status, address, text and identifier, without line end.
func (r Reply) Append(b []byte) []byte {
	b = append(strconv.AppendUint(b, uint64(r.code), 10), ' ')
	return r.appendLine(b, r.text, true)
}

// maxReplyLine: RFC 5321, 4.5.3.1.5, 512 octets with the line end.
const maxReplyLine = 512 - 2

// AppendWire appends the reply as SMTP sends it: each line with the code
// and the enhanced status, the last with a space after the code, CRLF after each
// (RFC 5321, 4.2.1; RFC 2034, 4). Lines are cut at 512 octets.
func (r Reply) AppendWire(b []byte) []byte {
	text := r.text
	for {
		line, more, multi := strings.Cut(text, "\n")
		start := len(b)
		b = strconv.AppendUint(b, uint64(r.code), 10)
		if multi {
			b = append(b, '-')
		} else {
			b = append(b, ' ')
		}
		b = r.appendLine(b, line, !multi)
		if len(b)-start > maxReplyLine {
			id := ""
			if !multi && !r.id.IsZero() { // the identifier is what the operator searches for: keep it
				id = " [" + r.id.String() + "]"
			}
			b = append(cut(b, start+maxReplyLine-len(id)), id...)
		}
		b = append(b, '\r', '\n')
		if !multi {
			return b
		}
		text = more
	}
}

// cut shortens b to n octets, or to a few less where a character would be torn.
func cut(b []byte, n int) []byte {
	for end := n; end > n-utf8.UTFMax; end-- {
		if utf8.RuneStart(b[end]) {
			return b[:end]
		}
	}
	return b[:n] // no UTF-8 at all
}

func (r Reply) appendLine(b []byte, line string, last bool) []byte {
	if !r.status.IsZero() {
		b = append(r.status.append(b), ' ')
	}
	if r.subject != "" {
		b = append(append(append(b, '<'), r.subject...), ">: "...)
	}
	b = append(b, line...)
	if last && !r.id.IsZero() {
		b = append(append(append(b, " ["...), r.id[:]...), ']')
	}
	return b
}

// ID names one transaction in replies, log and journal: twelve characters that
// are easy to read aloud. The zero value is none.
type ID [12]byte

const idAlphabet = "0123456789abcdefghjkmnpqrstvwxyz" // Crockford's base 32: no i, l, o, u

// NewID returns a fresh identifier with 60 random bits.
func NewID() ID {
	n := rand.Uint64()
	var id ID
	for i := range id {
		id[i] = idAlphabet[n&31]
		n >>= 5
	}
	return id
}

// IsZero says whether there is no identifier.
func (id ID) IsZero() bool { return id == ID{} }

func (id ID) String() string {
	if id.IsZero() {
		return ""
	}
	return string(id[:])
}
