package config

import (
	"bytes"
	"errors"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// position is where something stands in a file. Flags have a name and no line.
type position struct {
	file      string
	line, col int
}

// kind is the TOML type of a value.
type kind uint8

const (
	kindTable kind = iota
	kindArray
	kindText
	kindInteger
	kindFloat
	kindBool
	kindDate
)

var kindNames = []string{"a section", "a list", "a text", "a whole number", "a number with a fraction", "true or false", "a date"}

func (k kind) String() string { return kindNames[k] }

// node is one value of the document and where it stands.
type node struct {
	kind   kind
	at     position
	text   string // a text's value; of other scalars what the file has
	elems  []*node
	fields []field // of a table, in the order of the file
	made   made
}

// field is one key of a table.
type field struct {
	name  string
	at    position // of the key
	value *node
}

func (n *node) field(name string) *field {
	for i := range n.fields {
		if n.fields[i].name == name {
			return &n.fields[i]
		}
	}
	return nil
}

func (n *node) put(name string, at position, value *node) *node {
	n.fields = append(n.fields, field{name, at, value})
	return value
}

// document is a file on its way from octets to nodes.
type document struct {
	file     string
	data     []byte
	lines    []int // offset of the first octet of each line
	parser   unstable.Parser
	root     *node
	current  *node // the section that keys go to
	problems []Problem
}

func newDocument(file string, data []byte) *document {
	data = slices.Clip(bytes.TrimPrefix(data, []byte("\ufeff")))
	d := &document{file: file, data: data, lines: []int{0}, root: &node{at: position{file, 1, 1}, made: byHeader}}
	for i, c := range data {
		if c == '\n' {
			d.lines = append(d.lines, i+1)
		}
	}
	d.current = d.root
	d.parser.Reset(data)
	return d
}

// parseTop reads as much of TOML as can be read. whole: it is all there is before the first section.
func parseTop(file string, data []byte) (root *node, whole bool) {
	d := newDocument(file, data)
	for d.parser.NextExpression() {
		d.expression(d.parser.Expression())
	}
	return d.root, d.parser.Error() == nil || d.current != d.root
}

// parseTree reads TOML. With a breach of syntax there is exactly one problem; with
// second definitions there may be several.
func parseTree(file string, data []byte) (*node, []Problem) {
	d := newDocument(file, data)
	for d.parser.NextExpression() {
		d.expression(d.parser.Expression())
	}
	if err := d.parser.Error(); err != nil {
		return nil, []Problem{d.syntaxError(err)}
	}
	if len(d.problems) > 0 {
		return nil, sortProblems(d.problems)
	}
	// The decoder proper looks closer than its parser: numbers, dates, invalid UTF-8.
	var ignored map[string]any
	if err := toml.Unmarshal(d.data, &ignored); err != nil {
		return nil, []Problem{d.syntaxError(err)}
	}
	return d.root, nil
}

func (d *document) expression(e *unstable.Node) {
	switch e.Kind {
	case unstable.KeyValue:
		d.keyValue(d.current, e)
	case unstable.Table:
		d.current = d.openTable(d.keyParts(e))
	case unstable.ArrayTable:
		d.current = d.openArrayTable(d.keyParts(e))
	}
}

// part is one name of a dotted key.
type part struct {
	name string
	at   position
	end  int // offset after it
}

func (d *document) keyParts(e *unstable.Node) []part {
	var parts []part
	for it := e.Key(); it.Next(); {
		k := it.Node()
		parts = append(parts, part{string(k.Data), d.position(int(k.Raw.Offset)), int(k.Raw.Offset + k.Raw.Length)})
	}
	return parts
}

// keyValue adds what `a.b = value` says to table.
func (d *document) keyValue(table *node, e *unstable.Node) {
	parts := d.keyParts(e)
	value := d.value(e.Value(), d.position(d.afterEquals(parts[len(parts)-1].end)))
	d.define(table, parts, value)
}

// afterEquals finds where the value of a key that ends at offset begins. Lists have
// no position of their own in the parser's tree.
func (d *document) afterEquals(offset int) int {
	skip := func() {
		for offset < len(d.data) && (d.data[offset] == ' ' || d.data[offset] == '\t') {
			offset++
		}
	}
	skip()
	offset++ // the =
	skip()
	return min(offset, len(d.data))
}

func (d *document) value(v *unstable.Node, at position) *node {
	if v.Raw.Length > 0 {
		at = d.position(int(v.Raw.Offset))
	}
	n := &node{at: at, text: string(v.Data)}
	switch v.Kind {
	case unstable.String:
		n.kind = kindText
	case unstable.Bool:
		n.kind = kindBool
	case unstable.Integer:
		n.kind = kindInteger
	case unstable.Float:
		n.kind = kindFloat
	case unstable.Array:
		n.kind = kindArray
		for it := v.Children(); it.Next(); {
			if c := it.Node(); c.Kind != unstable.Comment {
				n.elems = append(n.elems, d.value(c, at))
			}
		}
	case unstable.InlineTable:
		n.kind, n.text = kindTable, ""
		for it := v.Children(); it.Next(); {
			if c := it.Node(); c.Kind == unstable.KeyValue {
				d.keyValue(n, c)
			}
		}
		freeze(n)
	default:
		n.kind = kindDate
	}
	return n
}

// position turns an offset into line and column.
func (d *document) position(offset int) position {
	for offset > 0 && offset < len(d.data) && !utf8.RuneStart(d.data[offset]) {
		offset-- // the library may point into the middle of a character
	}
	line, found := slices.BinarySearch(d.lines, offset)
	if !found {
		line--
	}
	return position{d.file, line + 1, utf8.RuneCount(d.data[d.lines[line]:offset]) + 1}
}

// syntaxError words an error of the TOML library in our way.
func (d *document) syntaxError(err error) Problem {
	at, message := position{d.file, 1, 1}, err.Error()
	var pe *unstable.ParserError
	var de *toml.DecodeError
	switch {
	case errors.As(err, &pe):
		at, message = d.position(cap(d.data)-cap(pe.Highlight)), pe.Message
	case errors.As(err, &de):
		line, col := de.Position()
		at, message = d.position(min(d.lines[min(line, len(d.lines))-1]+col-1, len(d.data))), de.Error()
	}
	message = strings.TrimPrefix(message, "toml: ")
	return newProblem(at, d.syntaxHint(at, message), "not valid TOML: %s", message)
}

// syntaxHint guesses the usual slips from the line in which the parser stopped.
func (d *document) syntaxHint(at position, message string) string {
	end := len(d.data)
	if at.line < len(d.lines) {
		end = d.lines[at.line]
	}
	line := strings.TrimSpace(string(d.data[d.lines[at.line-1]:end]))
	name, value, ok := strings.Cut(line, "=")
	name, value = strings.TrimSpace(name), strings.TrimSpace(value)
	switch {
	case strings.Contains(message, "after array value"):
		return "a list ends with ], and its values are parted by commas"
	case !ok && strings.HasPrefix(line, "["):
		return "a section is written [name] and one of several [[name]]"
	case !ok && strings.Contains(line, ":"):
		return "a key and its value are parted by =, not by a colon"
	case !ok:
		return ""
	case value == "":
		return name + " has no value"
	case strings.Count(value, `"`)%2 == 1:
		return "a text begins and ends with a quote on the same line"
	case strings.HasPrefix(value, "["):
		return "a list is written [\"one\", \"two\"]"
	case isLetter(value[0]) && !strings.ContainsAny(value, `"'{`):
		return "a text stands in quotes: " + name + " = " + strconv.Quote(value)
	}
	return ""
}

func isLetter(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }
