package book

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	maxRecord = 1 << 20 // octets of a record
	trial     = 100     // records that are looked at to find the column
)

// separators of CSV, the likeliest last.
var separators = []rune{'\t', ';', ','}

// tiers are the names of columns that hold addresses, in the form of plainName. All columns of
// the best tier are read: Exchange has the main address in one and all of them in another.
var tiers = [][]string{
	{"userprincipalname", "upn", "username", "login"},
	{"address", "addresses", "recipient", "recipients", "mailbox"},
	{
		"mail", "mails", "email", "emails", "emailaddress", "emailaddresses", "mailaddress", "mailaddresses", "smtpaddress", "smtpaddresses",
		"primarysmtpaddress", "primaryemail", "windowsemailaddress", "proxyaddress", "proxyaddresses", "aliasaddress", "emailaliases",
		"maillocaladdress", "mailalternateaddress",
	},
}

// plainName is a column's name without case, blanks, hyphens and remarks in brackets.
func plainName(s string) string {
	s, _, _ = strings.Cut(strings.ToLower(s), "[")
	return strings.NewReplacer(" ", "", "-", "", "_", "", "\ufeff", "").Replace(s)
}

// tierOf is how well the name of a column says that it holds addresses; 0: not at all.
func tierOf(name string) int {
	for i, names := range tiers {
		if slices.Contains(names, plainName(name)) {
			return i + 1
		}
	}
	return 0
}

// separatorOf finds the separator that a line has most of, quotes aside.
func separatorOf(line string) rune {
	best := ','
	for _, s := range separators {
		if n := count(line, s); n > 0 && n >= count(line, best) {
			best = s
		}
	}
	return best
}

func count(line string, sep rune) (n int) {
	quoted := false
	for _, c := range line {
		switch {
		case c == '"':
			quoted = !quoted
		case c == sep && !quoted:
			n++
		}
	}
	return n
}

// separatorLine reads the line with which Excel says what its separator is, "sep=;". 0: it is none.
func separatorLine(line string) rune {
	s, ok := strings.CutPrefix(strings.ToLower(strings.TrimRight(line, "\r\n")), "sep=")
	if !ok || utf8.RuneCountInString(s) != 1 {
		return 0
	}
	c, _ := utf8.DecodeRuneInString(s)
	return c
}

// bounded ends a reading in which one record takes too much.
type bounded struct {
	in   io.Reader
	left int
}

var errLong = errors.New("too long")

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errLong
	}
	n, err := b.in.Read(p)
	b.left -= n
	return n, err
}

// table is a reading of CSV.
type table struct {
	*reader
	in      *csv.Reader
	bound   *bounded
	before  int   // lines that stood before the first record
	columns []int // that hold addresses
	header  []string
}

// csv reads CSV.
func (r *reader) csv(text source) error {
	t := &table{reader: r, bound: &bounded{in: text}}
	sep := r.o.Separator
	for {
		line, _ := text.Peek(sample) // its error comes again with what is behind
		if len(line) == 0 {
			return errEmpty
		}
		first, _, _ := strings.Cut(string(line), "\n")
		said := separatorLine(first)
		if said == 0 && !strings.HasPrefix(first, "#TYPE ") { // the latter is PowerShell's
			if sep == 0 {
				sep = separatorOf(first)
			}
			break
		}
		if sep == 0 {
			sep = said
		}
		t.before++
		if _, err := text.Discard(min(len(first)+1, len(line))); err != nil {
			return err
		}
	}
	if !slices.Contains(separators, sep) {
		return fmt.Errorf("the separator %q is none; there are the comma, the semicolon and the tab", sep)
	}
	t.in = csv.NewReader(t.bound)
	t.in.Comma, t.in.FieldsPerRecord = sep, -1
	return t.all()
}

// all finds the columns among the first records, and reads these and the rest.
func (t *table) all() error {
	var kept [][]string
	var lines []int
	for len(kept) < trial && !t.over() {
		rec, err := t.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if rec != nil {
			kept, lines = append(kept, rec), append(lines, t.line)
		}
	}
	if t.over() || len(kept) == 0 {
		return nil
	}
	data, err := t.find(kept)
	if err != nil {
		return err
	}
	for i := len(kept) - len(data); i < len(kept) && !t.over(); i++ {
		t.line = lines[i]
		t.row(kept[i])
	}
	for t.in.ReuseRecord = true; !t.over(); {
		rec, err := t.next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if rec != nil {
			t.row(rec)
		}
	}
	return nil
}

// next reads a record. One that is not understood is nil.
func (t *table) next() ([]string, error) {
	t.bound.left = maxRecord
	rec, err := t.in.Read()
	var bad *csv.ParseError
	switch {
	case err == nil:
		at, _ := t.in.FieldPos(0)
		t.line = at + t.before
	case err == io.EOF:
		return nil, err
	case errors.Is(err, errLong):
		t.line++
		t.wrong("the record that begins here is longer than %d octets; is a closing quote missing?", maxRecord)
		return nil, io.EOF
	case errors.As(err, &bad):
		t.line = bad.Line + t.before
		t.wrong("%s", csvMistake(bad))
		return nil, nil
	default:
		return nil, err
	}
	for _, cell := range rec {
		if !utf8.ValidString(cell) {
			t.wrong("this is not UTF-8; save the file as \"CSV UTF-8\"")
			return nil, io.EOF // the rest would be the same
		}
	}
	return rec, nil
}

func csvMistake(e *csv.ParseError) string {
	if errors.Is(e.Err, csv.ErrQuote) {
		return fmt.Sprintf("a quoted cell that begins in line %d does not end as it should (RFC 4180, 2)", e.StartLine)
	}
	return "a quote stands in a cell that is not quoted (RFC 4180, 2); write the cell in quotes and the quote twice"
}

// find says which columns hold the addresses, and returns the records without the header.
func (t *table) find(recs [][]string) ([][]string, error) {
	if len(t.o.Columns) > 0 {
		return t.named(recs)
	}
	best := 0
	for i, name := range recs[0] {
		switch tier := tierOf(name); {
		case tier > best:
			best, t.columns = tier, []int{i}
		case tier > 0 && tier == best:
			t.columns = append(t.columns, i)
		}
	}
	if best > 0 {
		t.useHeader(recs[0])
		return recs[1:], nil
	}
	data := recs
	if !slices.ContainsFunc(recs[0], func(c string) bool { return strings.Contains(c, "@") }) {
		data = recs[1:]
		t.header = recs[0]
	}
	for i := range recs[0] {
		full := func(rec []string) bool { return i < len(rec) && strings.Contains(rec[i], "@") }
		if len(data) > 0 && !slices.ContainsFunc(data, func(rec []string) bool { return !full(rec) }) {
			t.columns = append(t.columns, i)
		}
	}
	if len(t.columns) != 1 {
		return nil, fmt.Errorf("it is not clear which column holds the addresses; name it with --column NAME or --column NUMBER (%s)", t.list(recs[0]))
	}
	t.noteColumns()
	return data, nil
}

// named takes the columns that the caller names.
func (t *table) named(recs [][]string) ([][]string, error) {
	first, byName := recs[0], false
	for _, want := range t.o.Columns {
		i := slices.IndexFunc(first, func(c string) bool { return strings.EqualFold(strings.TrimSpace(c), strings.TrimSpace(want)) })
		if i >= 0 {
			byName = true
		} else if n, err := strconv.Atoi(want); err == nil && n >= 1 && n <= len(first) {
			i = n - 1
		} else {
			return nil, fmt.Errorf("there is no column %q; %s", want, t.list(first))
		}
		t.columns = append(t.columns, i)
	}
	if byName || !strings.Contains(first[t.columns[0]], "@") && len(recs) > 1 && !t.o.Locals {
		t.useHeader(first)
		return recs[1:], nil
	}
	t.noteColumns()
	return recs, nil
}

// list names the columns that there are.
func (t *table) list(first []string) string {
	const most = 20
	if slices.ContainsFunc(first, func(c string) bool { return strings.Contains(c, "@") }) {
		return fmt.Sprintf("there are %d, and they have no names", len(first))
	}
	names := make([]string, 0, most)
	for _, c := range first[:min(most, len(first))] {
		names = append(names, strconv.Quote(shortened(strings.TrimSpace(c))))
	}
	return "there are " + strings.Join(names, ", ")
}

func (t *table) useHeader(rec []string) {
	t.header = rec
	t.noteColumns()
}

func (t *table) noteColumns() {
	for _, i := range t.columns {
		t.Columns = append(t.Columns, t.column(i))
	}
}

// column is what a column is called.
func (t *table) column(i int) string {
	if i < len(t.header) && strings.TrimSpace(t.header[i]) != "" {
		return strings.TrimSpace(t.header[i])
	}
	return strconv.Itoa(i + 1)
}

// row reads one record.
func (t *table) row(rec []string) {
	t.Records++
	before, wrong := t.Addresses, len(t.mistakes)
	for _, i := range t.columns {
		if i < len(rec) {
			t.cell(rec[i])
		}
	}
	if t.Addresses == before && len(t.mistakes) == wrong {
		t.passed(reasonNone)
	}
}
