package book

import (
	"maps"
	"slices"
	"strings"

	"backstop/internal/mail"
)

// Book holds addresses, each once, by domain. It is used by one goroutine.
type Book struct {
	domains map[string]*Names
	last    *Names // of the domain that came last
	domain  string
	chunk   strings.Builder

	patterns *Book             // user+*@domain; nil: there are none
	partly   map[string]string // why not everybody in a domain is named
}

// Names are the local parts of one domain, as they are compared (mail.Address.LocalKey).
type Names struct {
	list   []string
	sorted bool
}

// chunkSize is how many octets of names are kept in one piece.
const chunkSize = 256 << 10

// New makes an empty book.
func New() *Book { return &Book{domains: map[string]*Names{}} }

// Add adds an address, under its own domain; one without a domain stands under "".
func (b *Book) Add(a mail.Address) { b.AddTo(a.Domain(), a.LocalKey()) }

// AddTo adds a folded local part to a folded domain.
func (b *Book) AddTo(domain, local string) {
	if b.last == nil || b.domain != domain {
		n := b.domains[domain]
		if n == nil {
			n = &Names{}
			b.domains[strings.Clone(domain)] = n
		}
		b.last, b.domain = n, strings.Clone(domain)
	}
	if b.chunk.Len()+len(local) > b.chunk.Cap() {
		b.chunk = strings.Builder{}
		b.chunk.Grow(max(chunkSize, len(local)))
	}
	at := b.chunk.Len()
	b.chunk.WriteString(local) // into room that is there, so what was cut from it before stays
	b.last.list, b.last.sorted = append(b.last.list, b.chunk.String()[at:]), false
}

// AddPattern adds a line that stands for one user with any +detail, as Options.Pattern gives it.
func (b *Book) AddPattern(a mail.Address) {
	if b.patterns == nil {
		b.patterns = New()
	}
	b.patterns.Add(a)
}

// patternsOf are the patterns of a domain.
func (b *Book) patternsOf(domain string) []string {
	if b.patterns == nil {
		return nil
	}
	return b.patterns.Of(domain).Sorted()
}

// SetPartly notes that not everybody in a domain is named, and why, in one line. The first reason stays.
func (b *Book) SetPartly(domain, why string) {
	if b.partly == nil {
		b.partly = map[string]string{}
	}
	if b.partly[domain] == "" {
		b.partly[domain] = why
	}
}

// Partly says why not everybody in a domain is named; "": all are.
func (b *Book) Partly(domain string) string { return b.partly[domain] }

// Domains are the folded names of the domains, sorted; "" is that of local parts alone.
func (b *Book) Domains() []string {
	names := slices.Collect(maps.Keys(b.domains))
	if b.patterns != nil {
		names = slices.AppendSeq(names, maps.Keys(b.patterns.domains))
	}
	names = slices.AppendSeq(names, maps.Keys(b.partly))
	slices.Sort(names)
	return slices.Compact(names)
}

// Len is how many different addresses there are, patterns aside.
func (b *Book) Len() int {
	n := 0
	for _, names := range b.domains {
		n += len(names.Sorted())
	}
	return n
}

// Of are the names of a domain; of one that is not in the book there are none.
func (b *Book) Of(domain string) *Names {
	if n := b.domains[domain]; n != nil {
		return n
	}
	return &Names{sorted: true}
}

// Len is how many different names there are.
func (n *Names) Len() int { return len(n.Sorted()) }

// Sorted are the names, sorted, each once. It is not to be changed.
func (n *Names) Sorted() []string {
	if !n.sorted {
		slices.Sort(n.list)
		n.list, n.sorted = slices.Compact(n.list), true
	}
	return n.list
}

// Without are the names that others has not.
func (n *Names) Without(others *Names) []string {
	var out []string
	o := others.Sorted()
	for _, name := range n.Sorted() {
		for len(o) > 0 && o[0] < name {
			o = o[1:]
		}
		if len(o) == 0 || o[0] != name {
			out = append(out, name)
		}
	}
	return out
}
