package config

import (
	"fmt"
	"path/filepath"
	"strings"
)

// key is one row of a section's table: all that is to be known of one key.
type key struct {
	name string
	def  string // the default as the file would write it; "" for none
	// unset says what holds without the key, where that is not a fixed value.
	unset string
	// doc says what it is, in which unit, and why one would change it.
	doc      string
	required bool
	example  string // of a required key
	// hidden leaves a second name for another key out of the reference.
	hidden bool
	set    setter
	keys   []key     // of a section
	parts  []variant // of a section whose keys depend on a type, for the reference only
}

// variant is one kind of a section in the reference.
type variant struct {
	heading, doc string
	keys         []key
}

// setter checks a value and stores it. It reports what is wrong itself.
type setter func(d *decoder, n *node)

// decoder walks the document along the tables of keys.
type decoder struct {
	name     string // of the file, as in messages
	dir      string // from which relative paths are taken
	where    string // the section just now, as in messages: "[smtp]"
	key      string // the key just now
	root     []key
	top      *node // the document
	problems []Problem
	warnings []Problem

	domains  []*domainDraft
	names    map[string]claim // domain names and aliases
	sources  map[string]*namedSource
	ordered  []*namedSource
	places   map[string]position // of single keys that finish looks at
	listened map[string]position // sockets, to find one named twice
	outbound *outboundDraft
	srsAt    []position // of each of the domains of [srs]

	// lost says that a key or section was misspelt, or the listener of a door: what is missing may be it, so nothing is
	// said about that.
	lost bool
}

func (d *decoder) fail(at position, hint, format string, args ...any) {
	d.problems = append(d.problems, newProblem(at, hint, format, args...))
}

func (d *decoder) warn(at position, hint, format string, args ...any) {
	d.warnings = append(d.warnings, newProblem(at, hint, format, args...))
}

// bad reports a value of the key just now.
func (d *decoder) bad(n *node, hint, format string, args ...any) {
	d.fail(n.at, hint, "%s: %s", d.key, fmt.Sprintf(format, args...))
}

// badValue reports an error of a value's parser, with its advice where it has some.
func (d *decoder) badValue(n *node, err error) {
	hint := ""
	if h, ok := err.(interface{ Hint() string }); ok {
		hint = h.Hint()
	}
	d.bad(n, hint, "%v", err)
}

// want reports a value of the wrong type.
func (d *decoder) want(n *node, k kind) bool {
	if n.kind == k {
		return true
	}
	hint := ""
	switch {
	case k == kindText && n.kind != kindArray && n.kind != kindTable:
		hint = fmt.Sprintf("write it in quotes: %s = %q", d.key, n.text)
	case k == kindInteger && n.kind == kindText:
		hint = "a number stands without quotes"
	case k == kindBool && n.kind == kindText:
		hint = "true and false stand without quotes"
	case k == kindArray && n.kind == kindText:
		hint = fmt.Sprintf("a list, even of one, is written in brackets: %s = [%q]", d.key, n.text)
	}
	d.bad(n, hint, "%s is wanted, this is %s", k, n.kind)
	return false
}

// table decodes a section: every key of the file must be known, every default is set.
func (d *decoder) table(n *node, where string, keys []key) {
	if n.kind != kindTable {
		d.wrongSection(n, where)
		return
	}
	outerWhere, outerKey := d.where, d.key
	d.where = where
	for _, f := range n.fields {
		if !contains(keys, f.name) {
			d.unknown(f, keys)
		}
	}
	for i := range keys {
		k := &keys[i]
		d.key = k.name
		if f := n.field(k.name); f != nil {
			d.given(f, k)
		} else {
			d.absent(n, k)
		}
	}
	d.where, d.key = outerWhere, outerKey
}

func (d *decoder) given(f *field, k *key) {
	switch {
	case k.set != nil:
		k.set(d, f.value)
	default:
		d.table(f.value, heading(k), k.keys)
	}
}

func (d *decoder) absent(n *node, k *key) {
	switch {
	case k.required && !n.misspelt(k.name):
		d.fail(n.at, "write "+k.name+" = "+k.example, "%s has no %s", d.where, k.name)
	case k.required:
	case k.set == nil:
		d.table(&node{at: n.at}, heading(k), k.keys)
	case k.def != "":
		k.set(d, defaultValue(k))
	}
}

// misspelt says whether a table has a key whose name is nearly this one.
func (n *node) misspelt(name string) bool {
	for _, f := range n.fields {
		if f.name != name && nearest(f.name, []string{name}) != "" {
			return true
		}
	}
	return false
}

// defaultValue reads a default the way the file's values are read, so that both pass the same check.
func defaultValue(k *key) *node {
	root, problems := parseTree("default of "+k.name, []byte(k.name+" = "+k.def))
	if len(problems) > 0 {
		panic(problems[0].String()) // a default that is not TOML never leaves the tests
	}
	n := root.fields[0].value
	n.at = position{} // nowhere in the file
	for _, e := range n.elems {
		e.at = position{}
	}
	return n
}

// since tells where a first definition stands.
func since(at position) string {
	if at.line == 0 {
		return ""
	}
	return fmt.Sprintf(", since line %d", at.line)
}

func heading(k *key) string { return "[" + k.name + "]" }

// wrongSection reports something that should have been a section.
func (d *decoder) wrongSection(n *node, where string) {
	name := strings.Trim(where, "[]")
	if n.kind == kindArray && n.made == byArray {
		d.fail(n.at, "write ["+name+"]", "there is only one [%s]; [[%s]] makes a list", name, name)
		return
	}
	d.fail(n.at, "", "%s: a section is wanted, this is %s", name, n.kind)
}

// unknown reports a key that no table has, with the likeliest reason.
func (d *decoder) unknown(f field, keys []key) {
	d.lost = true
	what := "key"
	if f.value.kind == kindTable || f.value.made == byArray {
		what = "section"
	}
	in := ""
	if d.where != "" {
		in = " in " + d.where
	}
	names := make([]string, len(keys))
	for i := range keys {
		names[i] = keys[i].name
	}
	var hint string
	if home := d.home(f.name, what == "section"); home != "" {
		hint = fmt.Sprintf("%q belongs to %s", f.name, home)
	} else {
		hint = didYouMean(f.name, names)
	}
	d.fail(f.at, hint, "unknown %s %q%s", what, f.name, in)
}

// home is the section that has a key of that name.
func (d *decoder) home(name string, section bool) string {
	for i := range d.root {
		if k := &d.root[i]; k.name == name && k.isSection() == section {
			return "the top of the file, before the first section"
		}
	}
	for i := range d.root {
		k := &d.root[i]
		if holds(k.keys, name, section) {
			return heading(k)
		}
		for _, p := range k.parts {
			if holds(p.keys, name, section) {
				return strings.ReplaceAll(p.heading, "`", "")
			}
		}
	}
	return ""
}

// holds says whether the name is among keys, or among sections. What may be written inline is both.
func holds(keys []key, name string, section bool) bool {
	for i := range keys {
		if k := &keys[i]; k.name == name && (k.isSection() == section || k.isSection() && k.unset != "") {
			return true
		}
	}
	return false
}

func contains(keys []key, name string) bool {
	for i := range keys {
		if keys[i].name == name {
			return true
		}
	}
	return false
}

// notYet refuses what a later version will have, so that nobody believes it works.
func (d *decoder) notYet(at position, what string) {
	d.fail(at, "take it out for now; the rest of the file is checked all the same", "%s is not part of this version yet", what)
}

// path takes a relative path from the folder of the file.
func (d *decoder) path(p string) string {
	if filepath.IsAbs(p) {
		return filepath.Clean(p)
	}
	return filepath.Join(d.dir, p)
}

// cannotRead reports a file that a value names.
func (d *decoder) cannotRead(n *node, path string, err error, hint string) {
	if full := d.path(path); hint == "" && full != path {
		hint = "it was looked for as " + full
	}
	d.bad(n, hint, "%v", fileError(path, err))
}

// mark remembers where a key stands, for the checks that look at several keys.
func (d *decoder) mark(name string, n *node) { d.places[name] = n.at }

// marked remembers where the key stands, for finish.
func (d *decoder) marked(name string, set setter) setter {
	return func(d *decoder, n *node) {
		d.mark(name, n)
		set(d, n)
	}
}
