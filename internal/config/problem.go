package config

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// Problem is one mistake, or one thing worth a warning, and where it stands.
type Problem struct {
	File    string // the file as it was named, or the flag
	Line    int    // from 1; 0 where there is no line
	Column  int    // in characters, from 1; 0 where there is no line
	Message string // one line, lower case
	Hint    string // what to do about it, "" where nothing can be said
}

// String is FILE:LINE:COLUMN: message, as far as the place is known, without the hint.
func (p Problem) String() string {
	s := p.File
	if p.Line > 0 {
		s += ":" + strconv.Itoa(p.Line)
	}
	if p.Column > 0 {
		s += ":" + strconv.Itoa(p.Column)
	}
	return s + ": " + p.Message
}

func newProblem(at position, hint, format string, args ...any) Problem {
	return Problem{at.file, at.line, at.col, oneLine(fmt.Sprintf(format, args...)), oneLine(hint)}
}

// oneLine keeps what a file has in its values from breaking the line of a message.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
}

// Errors is every mistake of a configuration, in the order of the file.
type Errors struct{ List []Problem }

// Error is the first mistake, and how many more there are.
func (e *Errors) Error() string {
	if len(e.List) == 0 {
		return "no mistake in the configuration"
	}
	s := e.List[0].String()
	if n := len(e.List) - 1; n > 0 {
		s += fmt.Sprintf(" (and %d more)", n)
	}
	return s
}

// sortProblems puts them in the order of the file, and drops what was said twice.
// What is wrong with the whole file comes last: a mistake with a line is mostly why.
func sortProblems(list []Problem) []Problem {
	noLine := func(p Problem) int { return max(0, 1-p.Line) }
	slices.SortStableFunc(list, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(noLine(a), noLine(b)), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return slices.Compact(list)
}

// hinted is an error of a value with advice.
type hinted struct{ message, hint string }

func (h hinted) Error() string { return h.message }

// Hint says what to write instead.
func (h hinted) Hint() string { return h.hint }
