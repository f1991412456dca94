package guide

import (
	"fmt"
	"strings"
)

// width is what a terminal has at least.
const width = 80

// Text is the guide as people read it, in lines of 80 characters; commands, configuration and
// lines to paste are not broken.
func (g *Guide) Text() string {
	var b strings.Builder
	b.WriteString(g.Title + "\n" + strings.Repeat("=", len(g.Title)) + "\n\n")
	if g.Example {
		wrap(&b, "", "There is no configuration here: the names are examples. With --config FILE, they are yours.")
		b.WriteString("\n")
	}
	wrap(&b, "", g.About)
	if g.Gateway == "" && !g.beside {
		b.WriteString("\n")
		wrap(&b, "", exampleGateway+" stands for the address from which Backstop connects; --gateway puts yours in its place.")
	}
	for i, w := range g.Warnings {
		if i == 0 {
			b.WriteString("\nMind:\n")
		}
		wrapAs(&b, "  - ", "    ", w)
	}
	n := 1
	if g.beside && g.Config != "" {
		g.writeConfig(&b, n)
		n++
	}
	for _, s := range g.Steps {
		writeStep(&b, n, s)
		n++
	}
	if !g.beside {
		g.writeConfig(&b, n)
		n++
	}
	for _, s := range g.Tests {
		writeStep(&b, n, s)
		n++
	}
	return b.String()
}

func writeStep(b *strings.Builder, n int, s Step) {
	fmt.Fprintf(b, "\n%d. %s", n, s.Title)
	if s.File != "" {
		b.WriteString(" (" + s.File + ")")
	}
	b.WriteString("\n\n")
	wrap(b, "   ", s.Text)
	for _, block := range [][]string{s.Lines, s.Commands} {
		if len(block) > 0 {
			b.WriteString("\n")
		}
		indent := "     "
		if len(s.Lines) > 0 {
			indent = "" // to be pasted: a blank before a line means something to Postfix and Exim
		}
		for _, c := range block {
			b.WriteString(indent + c + "\n")
		}
	}
}

func (g *Guide) writeConfig(b *strings.Builder, n int) {
	fmt.Fprintf(b, "\n%d. Tell Backstop\n\n", n)
	text := "In its configuration; other keys of a domain stay as they are."
	if g.beside {
		text = "In its configuration; then `backstop check" + g.options + "`, and restart it."
	}
	wrap(b, "   ", text)
	b.WriteString("\n")
	for line := range strings.Lines(g.Config) {
		if strings.TrimSpace(line) != "" {
			b.WriteString("     ")
		}
		b.WriteString(line)
	}
}

// wrap breaks a paragraph between words.
func wrap(b *strings.Builder, indent, text string) { wrapAs(b, indent, indent, text) }

// wrapAs is wrap with something else before the first line; both are of one length.
func wrapAs(b *strings.Builder, first, indent, text string) {
	n := 0
	for _, word := range strings.Fields(text) {
		l := len([]rune(word))
		switch {
		case n == 0:
			b.WriteString(first)
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
