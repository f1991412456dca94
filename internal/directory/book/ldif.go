package book

import (
	"bytes"
	"encoding/base64"
	"math"
	"slices"
	"strconv"
	"strings"

	"backstop/internal/directory/watch"
)

// attributes are those that hold addresses of their own accord. In all but mail an address may
// have its kind before it, as in Active Directory.
var attributes = []string{"mail", "proxyAddresses", "mailLocalAddress", "mailAlternateAddress"}

const maxValues = 100_000 // addresses of one entry

// entries reads LDIF (RFC 2849).
type entries struct {
	*reader
	wanted map[string]bool

	// The logical line that is being put together:
	logical []byte
	at      int // its number
	known   bool
	skip    bool // nobody wants it

	// The entry:
	inside   bool
	ignored  bool // a mistake was told of it, or it is the end of a search
	values   []value
	disabled bool
	exchange bool
}

type value struct {
	text  string
	typed bool
	line  int
}

func (r *reader) ldif(text source) error {
	e := &entries{reader: r, wanted: map[string]bool{}}
	for _, a := range slices.Concat(attributes, r.o.Attributes) {
		a = strings.TrimSpace(a)
		if key := strings.ToLower(a); !e.wanted[key] {
			e.wanted[key] = true
			r.Attributes = append(r.Attributes, a)
		}
	}
	err := watch.EachLine(text, math.MaxInt, func(n int, line []byte) bool {
		e.line = n
		e.physical(line)
		return !e.over()
	})
	if err == nil && !e.over() {
		e.line++
		e.endLine()
		e.endEntry()
	}
	return err
}

// physical takes a line as it stands in the file. One that begins with a space goes on the line
// before; what nobody wants is not kept.
func (e *entries) physical(line []byte) {
	if len(line) > 0 && line[0] == ' ' && e.at > 0 {
		if e.skip {
			return
		}
		e.logical = append(e.logical, line[1:]...)
	} else {
		e.endLine()
		if len(line) == 0 {
			e.endEntry()
			return
		}
		e.at, e.skip, e.known = e.line, line[0] == '#', false
		if e.skip {
			return
		}
		e.logical = append(e.logical[:0], line...)
	}
	if !e.known {
		if colon := bytes.IndexByte(e.logical, ':'); colon >= 0 {
			e.known = true
			e.skip = !e.cares(nameOf(e.logical[:colon]))
		}
	}
	if !e.skip && len(e.logical) > maxLine {
		e.line = e.at
		e.wrong("the line is longer than %d octets", maxLine)
		e.skip, e.ignored = true, true
	}
}

// nameOf is the attribute without its options, folded (RFC 4512, 2.5).
func nameOf(description []byte) string {
	name, _, _ := bytes.Cut(description, []byte{';'})
	return strings.ToLower(string(name))
}

func (e *entries) cares(name string) bool {
	switch name {
	case "dn", "changetype", "version", "useraccountcontrol", "msexchrecipienttypedetails":
		return true
	}
	return e.wanted[name] || !e.inside
}

// endLine reads the logical line that is complete now.
func (e *entries) endLine() {
	line, at, skip := e.logical, e.at, e.skip
	e.logical, e.at = e.logical[:0], 0
	if at == 0 || skip || e.ignored {
		return
	}
	now := e.line
	e.line = at
	defer func() { e.line = now }()
	colon := bytes.IndexByte(line, ':')
	if colon <= 0 {
		e.bad("%q is no line of LDIF: it has no attribute before a colon (RFC 2849)", shortened(string(line)))
		return
	}
	name := nameOf(line[:colon])
	text, ok := e.value(name, line[colon+1:])
	if ok {
		e.attribute(name, text)
	}
}

// value reads what stands behind the colon.
func (e *entries) value(name string, rest []byte) (string, bool) {
	if len(rest) > 0 && rest[0] == '<' {
		e.bad("the value of %s is in another file (%s), and is not fetched; export the values themselves", name, shortened(strings.TrimSpace(string(rest[1:]))))
		return "", false
	}
	if len(rest) == 0 || rest[0] != ':' {
		return strings.TrimSpace(string(rest)), true
	}
	b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(rest[1:])))
	if err != nil {
		e.bad("the value of %s is no base64 (RFC 4648, 4)", name)
		return "", false
	}
	return strings.TrimSpace(string(b)), true
}

// attribute takes one attribute of an entry.
func (e *entries) attribute(name, text string) {
	if !e.inside {
		e.begin(name, text)
		return
	}
	switch {
	case name == "dn":
		e.bad("an entry begins, and the one before it was not ended by an empty line (RFC 2849)")
	case name == "changetype":
		if !strings.EqualFold(text, "add") {
			e.bad("changetype: %s is a change, and what it leaves is not known here; export whole entries (changetype: add is understood)", shortened(text))
		}
	case name == "useraccountcontrol":
		if bits, err := strconv.ParseInt(text, 10, 64); err == nil && bits&2 != 0 {
			e.disabled = true
		}
	case name == "msexchrecipienttypedetails":
		e.exchange = true
	case !e.wanted[name]:
	case len(e.values) == maxValues:
		e.bad("the entry has more than %d addresses", maxValues)
	default:
		e.values = append(e.values, value{text, name != "mail", e.line})
	}
}

// begin takes the first line of an entry.
func (e *entries) begin(name, text string) {
	switch name {
	case "dn":
		e.inside = true
	case "version":
		if text != "1" || e.Records > 0 {
			e.bad("version: %s is not known; there is version 1 (RFC 2849)", shortened(text))
		}
	case "search": // with which ldapsearch ends
		e.inside, e.ignored = true, true
	default:
		e.bad("an entry begins with %q, where dn: is wanted (RFC 2849)", name)
	}
}

// bad tells of a mistake, and passes over the rest of the entry.
func (e *entries) bad(format string, args ...any) {
	e.wrong(format, args...)
	e.inside, e.ignored = true, true
}

// endEntry hands over the addresses of the entry: only now is known whether it is disabled.
func (e *entries) endEntry() {
	whole := e.inside && !e.ignored
	if whole {
		e.Records++
		now := e.line
		if len(e.values) > 0 {
			e.line = e.values[0].line
		}
		switch {
		case len(e.values) == 0:
			e.passed(reasonNone)
		case e.disabled && !e.exchange:
			e.passed(reasonDisabled)
		default:
			e.give()
		}
		e.line = now
	}
	e.inside, e.ignored, e.disabled, e.exchange, e.values = false, false, false, false, e.values[:0]
}

func (e *entries) give() {
	for _, v := range e.values {
		e.line = v.line
		kind, rest, has := CutKind(v.text)
		switch {
		case v.text == "":
		case !v.typed || !has:
			e.address(v.text, e.o.Locals)
		case strings.EqualFold(kind, "smtp"):
			e.address(rest, e.o.Locals)
		default:
			e.passed(reasonKind)
		}
	}
}
