package book

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"backstop/internal/directory/watch"
	"backstop/internal/mail"
)

// Format is a kind of file. The zero Format is one that is not known yet.
type Format uint8

const (
	Unknown       Format = iota
	List                 // an address or a local part a line
	Access               // Sendmail's access text
	Virtusertable        // Sendmail's virtual users
	Postfix              // Postfix's map text
	LDIF                 // RFC 2849
	CSV                  // RFC 4180
	formats
)

var formatNames = [formats]string{"unknown", "list", "access", "virtusertable", "postfix", "ldif", "csv"}

func (f Format) String() string { return formatNames[f] }

// ParseFormat reads the name of a format.
func ParseFormat(s string) (Format, error) {
	for f := List; f < formats; f++ {
		if strings.EqualFold(s, formatNames[f]) {
			return f, nil
		}
	}
	return Unknown, fmt.Errorf("%q is not a known format; there are %s", s, strings.Join(formatNames[List:], ", "))
}

// Mistake is a line that is not understood.
type Mistake = watch.Mistake

// Options say how to read. All fields may be zero. Of another format than the one they are for, Columns,
// Separator and Attributes are an error.
type Options struct {
	// Format of the file; Unknown: it is found out.
	Format Format
	// Columns of CSV that hold the addresses, by name or by number from 1; none: found out.
	Columns []string
	// Separator of CSV: comma, semicolon or tab; 0: found out.
	Separator rune
	// Attributes of LDIF beside the usual ones.
	Attributes []string
	// Locals says that in CSV and LDIF too a local part alone is an address.
	Locals bool
	// Pattern is given the lines of an access text or virtusertable that stand for user with any +detail,
	// user+*@domain (or user++@domain), as they are written; nil: they are passed over. Its error is Read's.
	Pattern func(mail.Address) error
}

// fit says which option the format has no use for.
func (o *Options) fit(f Format) error {
	switch {
	case f != LDIF && len(o.Attributes) > 0 && f == CSV:
		return fmt.Errorf("it is %v, and --attribute is for %v; --column names a column", f, LDIF)
	case f != LDIF && len(o.Attributes) > 0:
		return fmt.Errorf("it is %v, and --attribute is for %v", f, LDIF)
	case f == LDIF && len(o.Columns) > 0:
		return fmt.Errorf("it is %v, and --column is for %v; --attribute names an attribute", f, CSV)
	case f != CSV && len(o.Columns) > 0:
		return fmt.Errorf("it is %v, and --column is for %v", f, CSV)
	case f != CSV && o.Separator != 0:
		return fmt.Errorf("it is %v, and --separator is for %v", f, CSV)
	}
	return nil
}

// Report is what was read.
type Report struct {
	Format     Format
	Columns    []string // of CSV: where the addresses stood
	Attributes []string // of LDIF: where they were looked for
	Records    int      // lines or records that hold something
	Addresses  int      // handed over; the same one may be among them twice
	Passed     []Passed
}

// Passed is what was passed over for one reason.
type Passed struct {
	Reason string
	Count  int
	Line   int // of the first
}

const (
	maxLine     = 64 << 10
	maxMistakes = 10
)

// reader is one reading.
type reader struct {
	Report
	name     string
	o        Options
	take     func(mail.Address) error
	line     int
	mistakes []error
	failed   error // of take, or of the file itself: ends the reading
}

// Read hands each address in the file to take; one without a domain is a local
// part alone. name is the file's, for messages and as a hint at the format. The error
// is take's, that of reading, or wraps a *Mistake for each bad line, up to ten: then what was
// handed over is not the whole file.
func Read(name string, in io.Reader, o Options, take func(mail.Address) error) (Report, error) {
	r := &reader{name: name, o: o, take: take}
	text, err := decode(in)
	if err != nil {
		return r.Report, fmt.Errorf("%s: %w", name, err)
	}
	if r.Format = o.Format; r.Format == Unknown {
		if r.Format, err = recognise(name, text); err != nil {
			return r.Report, fmt.Errorf("%s: %w", name, err)
		}
	}
	if err := r.o.fit(r.Format); err != nil {
		return r.Report, fmt.Errorf("%s: %w", name, err)
	}
	switch r.Format {
	case LDIF:
		err = r.ldif(text)
	case CSV:
		err = r.csv(text)
	default:
		err = r.lines(text)
	}
	switch {
	case r.failed != nil:
		return r.Report, r.failed
	case len(r.mistakes) > 0:
		return r.Report, errors.Join(r.mistakes...)
	case err != nil:
		return r.Report, fmt.Errorf("%s: %w", name, err)
	}
	return r.Report, nil
}

// address reads one address and hands it over.
func (r *reader) address(text string, locals bool) {
	a, err := mail.ParseAddress(text)
	switch {
	case err != nil:
		r.wrong("%q: %v", text, err)
	case a.Domain() == "" && !locals:
		r.wrong("%q has no domain, so it is no address (--domain says whose local parts are)", text)
	default:
		r.found(a)
	}
}

func (r *reader) found(a mail.Address) {
	r.Addresses++
	if err := r.take(a); err != nil && r.failed == nil {
		r.failed = err
	}
}

// pattern hands a pattern over, or passes it over.
func (r *reader) pattern(text string) {
	if r.o.Pattern == nil {
		r.passed(reasonPattern)
		return
	}
	a, err := mail.ParseAddress(text)
	if err != nil {
		r.wrong("%q: %v", text, err)
		return
	}
	if err := r.o.Pattern(a); err != nil && r.failed == nil {
		r.failed = err
	}
}

// passed counts what is passed over.
func (r *reader) passed(reason string) {
	for i := range r.Passed {
		if r.Passed[i].Reason == reason {
			r.Passed[i].Count++
			return
		}
	}
	r.Passed = append(r.Passed, Passed{reason, 1, r.line})
}

func (r *reader) wrong(format string, args ...any) {
	if len(r.mistakes) < maxMistakes {
		r.mistakes = append(r.mistakes, &Mistake{File: r.name, Line: r.line, Message: fmt.Sprintf(format, args...)})
	}
}

// over says whether there is no sense in reading on.
func (r *reader) over() bool { return r.failed != nil || len(r.mistakes) == maxMistakes }

// source is the text of a file as UTF-8, without a byte order mark.
type source = *bufio.Reader

// sample is how many octets of a file are looked at to find out what it is.
const sample = 64 << 10

var errEmpty = errors.New("it is empty")
