package config

import "fmt"

// made says how a table came to be, which decides what may be added to it (TOML 1.0,
// "Table", "Inline Table" and "Array of Tables").
type made uint8

const (
	byChild  made = iota // [a.b] makes a, which [a] may still define
	byHeader             // [a]
	byDots               // a.b = 1
	byInline             // a = { … }: closed
	byArray              // [[a]]: the list itself
)

// freeze closes an inline table and all that is in it.
func freeze(n *node) {
	n.made = byInline
	for _, f := range n.fields {
		if f.value.kind == kindTable {
			freeze(f.value)
		}
	}
}

func (d *document) fail(at position, hint, format string, args ...any) {
	d.problems = append(d.problems, newProblem(at, hint, format, args...))
}

// twice reports a second definition.
func (d *document) twice(p part, first position) {
	d.fail(p.at, "keep one of the two", "%q is defined a second time; the first is on line %d", p.name, first.line)
}

// nowhere takes the keys below a header that could not be used.
func (d *document) nowhere() *node { return &node{made: byHeader} }

// define puts value under a dotted key of table.
func (d *document) define(table *node, parts []part, value *node) {
	for _, p := range parts[:len(parts)-1] {
		f := table.field(p.name)
		if f == nil {
			table = table.put(p.name, p.at, &node{at: p.at, made: byDots})
			continue
		}
		if f.value.kind != kindTable || f.value.made != byDots {
			d.twice(p, f.at)
			return
		}
		table = f.value
	}
	last := parts[len(parts)-1]
	if f := table.field(last.name); f != nil {
		d.twice(last, f.at)
		return
	}
	table.put(last.name, last.at, value)
}

// parents walks to the table that holds the last part of a header, nil where that cannot be.
func (d *document) parents(parts []part) *node {
	table := d.root
	for _, p := range parts[:len(parts)-1] {
		f := table.field(p.name)
		if f == nil {
			table = table.put(p.name, p.at, &node{at: p.at})
			continue
		}
		next := f.value
		if next.made == byArray {
			next = next.elems[len(next.elems)-1] // [[a]] [a.b]: the b of the latest a
		}
		if next.kind != kindTable || next.made == byInline {
			d.twice(p, f.at)
			return nil
		}
		table = next
	}
	return table
}

// openTable takes [a.b] and returns where its keys go.
func (d *document) openTable(parts []part) *node {
	table := d.parents(parts)
	if table == nil {
		return d.nowhere()
	}
	last := parts[len(parts)-1]
	f := table.field(last.name)
	if f == nil {
		return table.put(last.name, last.at, &node{at: last.at, made: byHeader})
	}
	if f.value.kind == kindTable && f.value.made == byChild {
		f.value.made, f.value.at, f.at = byHeader, last.at, last.at
		return f.value
	}
	if f.value.made == byArray {
		d.fail(last.at, fmt.Sprintf("write [[%s]]", last.name), "[%s] is a list of sections since line %d", last.name, f.at.line)
		return d.nowhere()
	}
	d.twice(last, f.at)
	if f.value.kind == kindTable && f.value.made == byHeader {
		return f.value // its keys are looked at with those of the first
	}
	return d.nowhere()
}

// openArrayTable takes [[a.b]] and returns where its keys go.
func (d *document) openArrayTable(parts []part) *node {
	table := d.parents(parts)
	if table == nil {
		return d.nowhere()
	}
	last := parts[len(parts)-1]
	element := &node{at: last.at, made: byHeader}
	f := table.field(last.name)
	switch {
	case f == nil:
		list := table.put(last.name, last.at, &node{kind: kindArray, at: last.at, made: byArray})
		list.elems = append(list.elems, element)
	case f.value.made == byArray:
		f.value.elems = append(f.value.elems, element)
	default:
		d.twice(last, f.at)
	}
	return element
}
