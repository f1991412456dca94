package guide

import (
	"fmt"
	"strings"
)

// width is what a terminal has at least.
const width = 80

// Text is the guide as people read it, in lines of 80 characters; commands and configuration
// are not broken.
func (g *Guide) Text() string {
	var b strings.Builder
	b.WriteString(g.Title + "\n" + strings.Repeat("=", len(g.Title)) + "\n\n")
	if g.Example {
		wrap(&b, "", "There is no configuration here: the names are examples. With --config FILE, they are yours.")
		b.WriteString("\n")
	}
	wrap(&b, "", g.About)
	if g.Gateway == "" {
		b.WriteString("\n")
		wrap(&b, "", exampleGateway+" stands for the address from which Backstop connects; --gateway puts yours in its place.")
	}
	for i, s := range g.Steps {
		writeStep(&b, i+1, s)
	}
	n := len(g.Steps) + 1
	g.writeConfig(&b, n)
	for i, s := range g.Tests {
		writeStep(&b, n+1+i, s)
	}
	return b.String()
}

func writeStep(b *strings.Builder, n int, s Step) {
	fmt.Fprintf(b, "\n%d. %s\n\n", n, s.Title)
	wrap(b, "   ", s.Text)
	if len(s.Commands) > 0 {
		b.WriteString("\n")
	}
	for _, c := range s.Commands {
		b.WriteString("     " + c + "\n")
	}
}

func (g *Guide) writeConfig(b *strings.Builder, n int) {
	fmt.Fprintf(b, "\n%d. Tell Backstop\n\n", n)
	wrap(b, "   ", "In its configuration; other keys of a domain stay as they are.")
	b.WriteString("\n")
	for line := range strings.Lines(g.Config) {
		if strings.TrimSpace(line) != "" {
			b.WriteString("     ")
		}
		b.WriteString(line)
	}
}

// wrap breaks a paragraph between words.
func wrap(b *strings.Builder, indent, text string) {
	n := 0
	for _, word := range strings.Fields(text) {
		l := len([]rune(word))
		switch {
		case n == 0:
			b.WriteString(indent)
			n = len(indent)
		case n+1+l > width:
			b.WriteString("\n" + indent)
			n = len(indent)
		default:
			b.WriteString(" ")
			n++
		}
		b.WriteString(word)
		n += l
	}
	b.WriteString("\n")
}
