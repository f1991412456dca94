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
	Patterns  int // lines for a user with any +detail
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
	leftHash    = "the local part begins with #, which Postfix would take for a comment"
	leftQuoted  = "the local part needs quotes, and Sendmail looks it up without"
	leftSign    = "the local part has % or !, which Sendmail takes for a way to another domain"
	leftStar    = "the local part ends with +*, which Sendmail takes for a pattern"
	leftUTF8    = "the local part is not ASCII, and Sendmail has signs of its own among its octets"
	leftPattern = "a pattern for all with a +detail, for which the format has no line"
)

// Write writes the book's addresses, sorted by domain and name, as a List, Postfix or
// Access text, and behind those of a domain its patterns. The same book gives the same text. aliases are
// further names of a domain, under each of which its addresses are written again. The last line of an Access
// text for a domain refuses everybody else, but a comment stands there where not everybody is named (SetPartly).
func Write(w io.Writer, f Format, b *Book, aliases map[string][]string) (Written, error) {
	t := &printer{w: bufio.NewWriterSize(w, 64<<10), f: f, last: map[string]bool{}}
	for _, own := range b.Domains() {
		for _, domain := range append([]string{own}, aliases[own]...) {
			t.last[domain] = b.Partly(own) == ""
		}
	}
	if f == List && b.Len() == 0 {
		t.line("# nobody\n") // a list of no octets is never taken for one
	}
	written, err := each(f, b, aliases, t.one, t.end)
	if err != nil {
		return written, err
	}
	return written, t.w.Flush()
}

// Each hands over what Write would write, patterns too, in the same order. An address without a domain has "" for it.
func Each(f Format, b *Book, aliases map[string][]string, take func(local, domain string)) (Written, error) {
	return each(f, b, aliases, take, func(string, string) {})
}

// each is Each that also says when a domain ends.
func each(f Format, b *Book, aliases map[string][]string, take func(local, domain string), end func(domain, partly string)) (w Written, err error) {
	switch f {
	case List, Postfix, Access:
	default:
		return w, fmt.Errorf("%v is read, but not written; there are list, postfix and access", f)
	}
	for _, own := range b.Domains() {
		for _, domain := range append([]string{own}, aliases[own]...) {
			for _, local := range b.Of(own).Sorted() {
				if why := f.lacks(local); why != "" {
					w.leave(why, local, domain)
					continue
				}
				take(local, domain)
				w.Addresses++
			}
			for _, local := range b.patternsOf(own) {
				if why := f.lacksPattern(local); why != "" {
					w.leave(why, local, domain)
					continue
				}
				take(local, domain)
				w.Patterns++
			}
			end(domain, b.Partly(own))
		}
	}
	return w, nil
}

// AppendList appends the lines of a plain list for the names of one domain, "" for
// local parts alone.
func AppendList(w io.Writer, domain string, names []string) error {
	t := &printer{w: bufio.NewWriterSize(w, 64<<10), f: List}
	for _, local := range names {
		t.one(local, domain)
	}
	return t.w.Flush()
}

// printer writes lines.
type printer struct {
	w    *bufio.Writer // its error comes with Flush
	f    Format
	last map[string]bool // domains whose last line refuses the others
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
		p.line(local, at, domain, " OK\n")
	case Access:
		p.line("To:", local, at, domain, "\tRELAY\n")
	}
}

// end is the last word on a domain. Where not everybody is named, nobody else is refused.
func (p *printer) end(domain, partly string) {
	switch {
	case partly != "":
		p.line("# ", domain, ": not all are named (", partly, ")")
		if p.f == Access {
			p.line(", so no line refuses the others")
		}
		p.line("\n")
		if p.f == Access && p.below(domain) {
			p.line("To:", domain, "\tSKIP\n") // or the last line of the domain above refuses them
		}
	case p.f == Access && domain != "":
		p.line("To:", domain, "\tERROR:5.1.1:\"550 User unknown\"\n")
	}
}

// below says whether a domain above this one, in which it is included, has a last line.
func (p *printer) below(domain string) bool {
	for domain != "" {
		if _, domain, _ = strings.Cut(domain, "."); p.last[domain] {
			return true
		}
	}
	return false
}

// lacks says why the format has no line for a local part, or "".
func (f Format) lacks(local string) string {
	switch f {
	case Postfix:
		return notInMap(local)
	case Access:
		return notInAccess(local)
	}
	return ""
}

// lacksPattern says why the format has no line for a pattern, or "". Sendmail's access looks up user+*
// of all patterns, and never without a user.
func (f Format) lacksPattern(local string) string {
	user, is := strings.CutSuffix(local, "+*")
	if f != Access || !is || user == "" {
		return leftPattern
	}
	return notInAccess(user)
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

func (w *Written) leave(reason, local, domain string) {
	for i := range w.Left {
		if w.Left[i].Reason == reason {
			w.Left[i].Count++
			return
		}
	}
	at := "@"
	if domain == "" {
		at = ""
	}
	w.Left = append(w.Left, Left{reason, 1, local + at + domain})
}
