package book

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// Written is what Write wrote, and what the format has no words for.
type Written struct {
	Addresses int
	Left      []Left
}

// Left is what was left out for one reason.
type Left struct {
	Reason string
	Count  int
	First  string // one of them
}

// What the real servers were seen not to find (real_test.go).
const (
	leftHash   = "the local part begins with #, which Postfix would take for a comment"
	leftQuoted = "the local part needs quotes, and Sendmail looks it up without"
	leftSign   = "the local part has % or !, which Sendmail takes for a way to another domain"
	leftStar   = "the local part ends with +*, which Sendmail takes for a pattern"
	leftUTF8   = "the local part is not ASCII, and Sendmail has signs of its own among its octets"
)

// Write writes the book's addresses, sorted by domain and name, as a List, Postfix or
// Access text. The same book gives the same text. aliases are further names of a domain,
// under each of which its addresses are written again.
func Write(w io.Writer, f Format, b *Book, aliases map[string][]string) (Written, error) {
	p := &printer{w: bufio.NewWriterSize(w, 64<<10), f: f}
	switch f {
	case List, Postfix, Access:
	default:
		return p.Written, fmt.Errorf("%v is read, but not written; there are list, postfix and access", f)
	}
	if f == List && b.Len() == 0 {
		p.w.WriteString("# nobody\n") // a list of no octets is never taken for one
	}
	for _, domain := range b.Domains() {
		for _, name := range append([]string{domain}, aliases[domain]...) {
			p.domain(name, b.Of(domain).Sorted())
		}
	}
	return p.Written, p.w.Flush()
}

// AppendList appends the lines of a plain list for the names of one domain, "" for
// local parts alone.
func AppendList(w io.Writer, domain string, names []string) error {
	p := &printer{w: bufio.NewWriterSize(w, 64<<10), f: List}
	p.domain(domain, names)
	return p.w.Flush()
}

type printer struct {
	Written
	w *bufio.Writer // its error comes with Flush
	f Format
}

func (p *printer) domain(domain string, names []string) {
	for _, name := range names {
		p.one(name, domain)
	}
	if p.f == Access && domain != "" {
		p.line("To:", domain, "\tERROR:5.1.1:\"550 User unknown\"\n")
	}
}

// line writes without making a string of the parts.
func (p *printer) line(parts ...string) {
	for _, s := range parts {
		p.w.WriteString(s)
	}
}

func (p *printer) one(local, domain string) {
	at := "@"
	if domain == "" && p.f != Access {
		at = ""
	}
	switch p.f {
	case List:
		if local[0] == '#' {
			local = `"` + local + `"`
		}
		p.line(local, at, domain, "\n")
	case Postfix:
		if why := notInMap(local); why != "" {
			p.leave(why, local+at+domain)
			return
		}
		p.line(local, at, domain, " OK\n")
	case Access:
		if why := notInAccess(local); why != "" {
			p.leave(why, local+at+domain)
			return
		}
		p.line("To:", local, at, domain, "\tRELAY\n")
	}
	p.Addresses++
}

// notInMap says why a local part cannot be a key of a Postfix map, or "".
func notInMap(local string) string {
	if local[0] == '#' {
		return leftHash
	}
	return ""
}

// notInAccess says why a local part cannot be a key of an access text, or "".
func notInAccess(local string) string {
	switch {
	case local[0] == '"':
		return leftQuoted
	case strings.ContainsAny(local, "%!"):
		return leftSign
	case strings.HasSuffix(local, "+*"):
		return leftStar
	case strings.ContainsFunc(local, func(c rune) bool { return c >= 0x80 }):
		return leftUTF8
	}
	return ""
}

func (p *printer) leave(reason, address string) {
	for i := range p.Left {
		if p.Left[i].Reason == reason {
			p.Left[i].Count++
			return
		}
	}
	p.Left = append(p.Left, Left{reason, 1, address})
}
