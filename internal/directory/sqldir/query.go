package sqldir

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// dialect is how a kind of database quotes, comments and counts parameters.
type dialect uint8

const (
	postgres dialect = iota
	mysql
	sqlite
)

// part is what of the address is handed over for a parameter.
type part uint8

const (
	wholeAddress part = iota
	localPart
	domainPart
)

// places are the names of the parts in a query.
var places = [...]string{wholeAddress: "{address}", localPart: "{user}", domainPart: "{domain}"}

// question is a query in the words of its database.
type question struct {
	text  string // parameters are $1, $2, … (PostgreSQL) or ? (the others), one for each of parts
	parts []part
}

// verbs are the words a query may begin with: those that read, and CALL for the procedure
// that the owner of the tables offers instead of them. A WITH may hide a writing
// statement, and a function may do anything, so this finds mistakes only; sessions are read-only besides.
var verbs = []string{"SELECT", "WITH", "VALUES", "TABLE", "CALL"}

// oneColumn: in a second one there might be addresses too, and they would be missing.
const oneColumn = "a listing has one column, the address (UNION puts several columns into one)"

// parse turns a query as the operator wrote it into the database's words, or says what is wrong
// with it: placeholders that are absent, unknown or inside quotes, several statements, one that does not
// read. sync: it lists addresses, and has no placeholder. What is handed over is never put into the text.
func parse(query string, d dialect, sync bool) (question, error) {
	s := scanner{q: query, d: d, end: -1}
	if err := s.run(); err != nil {
		return question{}, fmt.Errorf("the query: %w", err)
	}
	marks, err := s.placeholders(sync)
	if err != nil {
		return question{}, fmt.Errorf("the query: %w", err)
	}
	if !slices.Contains(verbs, strings.ToUpper(s.verb)) {
		return question{}, fmt.Errorf("the query: it must read, so it begins with %s, not with %q", strings.Join(verbs, ", "), s.verb)
	}
	if sync && s.commas > 0 {
		return question{}, errors.New("the query: " + oneColumn)
	}
	text := query
	if s.end >= 0 {
		text = query[:s.end]
	}
	var out strings.Builder
	var parts []part
	at := 0
	for _, m := range marks {
		out.WriteString(text[at:m.from])
		parts = append(parts, m.part)
		// Each with a number of its own, so that the database finds the type of each by
		// itself; with space around it, or a letter beside it would make it another word.
		switch {
		case d == postgres:
			out.WriteString(" $" + strconv.Itoa(len(parts)) + " ")
		case d == mysql && strings.HasSuffix(out.String(), "--"): // twice minus, which a space would make a comment
			out.WriteString("? ")
		default:
			out.WriteString(" ? ")
		}
		at = m.to
	}
	out.WriteString(text[at:])
	return question{text: out.String(), parts: parts}, nil
}

// placeholders are the marks that stand for something to be handed over.
func (s *scanner) placeholders(sync bool) ([]mark, error) {
	marks := s.marks
	named := slices.ContainsFunc(marks, func(m mark) bool { return !m.plain })
	if s.d == postgres && named { // then ? is an operator (jsonb)
		marks = slices.DeleteFunc(slices.Clone(marks), func(m mark) bool { return m.plain })
	}
	switch {
	case sync && len(marks) > 0:
		m := marks[0]
		why := ""
		if m.plain && s.d == postgres {
			why = " (for the operator of that name write jsonb_exists())"
		}
		return nil, fmt.Errorf("%s stands for an address that is asked for, and a listing asks for none: leave it away, or ask live%s", s.q[m.from:m.to], why)
	case !sync && len(marks) == 0:
		return nil, errors.New("it does not say where the address goes: write {address}, as in WHERE email = {address}")
	}
	return marks, nil
}
