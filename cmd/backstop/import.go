package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"backstop/internal/config"
	"backstop/internal/directory/book"
	"backstop/internal/mail"
)

// importFlags are what `directory import` is told.
type importFlags struct {
	format     string
	columns    []string
	separator  string
	attributes []string
	domain     string
	to         string
	replace    bool
	force      bool
	dryRun     bool
}

// importReport is what `directory import --json` prints.
type importReport struct {
	Files  []importedFile `json:"files"`
	Lists  []importedList `json:"lists"`
	Others []passedDomain `json:"others,omitempty"`
	DryRun bool           `json:"dry_run"`
}

// importedFile is one file that was read.
type importedFile struct {
	Name      string       `json:"name"`
	Format    string       `json:"format"`
	Columns   []string     `json:"columns,omitempty"`
	Records   int          `json:"records"`
	Addresses int          `json:"addresses"`
	Passed    []passedOver `json:"passed,omitempty"`

	format     book.Format
	attributes []string // of LDIF: where addresses were looked for
}

type passedOver struct {
	Reason string `json:"reason"`
	Count  int    `json:"count"`
	Line   int    `json:"first_line,omitempty"`
}

// importedList is one list that was written, or would have been.
type importedList struct {
	File    string           `json:"file"`
	Written bool             `json:"written"`
	Domains []importedDomain `json:"domains"`
}

// changes says whether the list is another afterwards.
func (l *importedList) changes() bool {
	return slices.ContainsFunc(l.Domains, func(d importedDomain) bool { return d.New > 0 || d.Removed > 0 })
}

// importedDomain is what became of one domain in it.
type importedDomain struct {
	Domain  string `json:"domain"` // "": local parts alone
	Read    int    `json:"read"`
	New     int    `json:"new"`
	Already int    `json:"already"`
	Removed int    `json:"removed"`
	Total   int    `json:"total"`
}

// passedDomain is a domain whose addresses go nowhere.
type passedDomain struct {
	Domain    string `json:"domain"`
	Addresses int    `json:"addresses"`
	Why       string `json:"why"`
}

func (a *app) directoryImport() *cobra.Command {
	var f importFlags
	c := &cobra.Command{
		Use:   "import FILE…",
		Short: "Bring recipients from other systems into a list",
		Long: "Reads the addresses in FILE (\"-\": the standard input) and adds them to the list that their\n" +
			"domain has in the configuration (recipients = [\"list:FILE\"]), or to the one named with\n" +
			"--to. Understood are plain lists, Sendmail's access and virtusertable texts, Postfix maps,\n" +
			"LDIF and CSV; which it is, is found out. What is in the list stays, with its comments;\n" +
			"--replace leaves exactly what was read, with --domain of that domain alone. A running\n" +
			"daemon takes the new list by itself.\n\n" +
			"Everything is read before anything is written: with a mistake in FILE the list stays as\n" +
			"it is.",
		Example: "  backstop directory import users.ldif\n" +
			"  backstop directory import --dry-run --column PrimarySmtpAddress mailboxes.csv\n" +
			"  ldapsearch -LLL … mail | backstop directory import --replace --domain example.com -\n" +
			"  backstop directory import --to /etc/backstop/example.com /etc/mail/access",
		Args: wants(1, -1, "a file, or - for the standard input"),
		RunE: func(c *cobra.Command, args []string) error { return a.importFiles(c.Context(), f, args) },
	}
	flags := c.Flags()
	flags.StringVar(&f.format, "format", "", "what FILE is: list, access, virtusertable, postfix, ldif or csv (default: found out)")
	flags.StringSliceVar(&f.columns, "column", nil, "the column of CSV with the addresses, by `NAME` or number; may be repeated (default: found out)")
	flags.StringVar(&f.separator, "separator", "", "the separator of CSV, by `NAME`: comma, semicolon or tab (default: found out)")
	flags.StringSliceVar(&f.attributes, "attribute", nil, "an attribute of LDIF with addresses, by `NAME`, beside mail, proxyAddresses, mailLocalAddress and mailAlternateAddress; may be repeated")
	flags.StringVar(&f.domain, "domain", "", "bring in this `DOMAIN` alone; local parts alone are of it")
	flags.StringVar(&f.to, "to", "", "the list to bring them into, a `FILE` (default: the one of their domain in the configuration)")
	flags.BoolVar(&f.replace, "replace", false, "leave nothing in the list, or of the --domain in it, but what was read")
	flags.BoolVar(&f.force, "force", false, "with --replace, also where a domain loses more than a fifth of its recipients")
	flags.BoolVar(&f.dryRun, "dry-run", false, "say what would be done, and write nothing")
	return c
}

// importFiles reads all, then writes all.
func (a *app) importFiles(ctx context.Context, f importFlags, files []string) error {
	o, err := f.options()
	if err != nil {
		return err
	}
	t, err := a.targets(f)
	if err != nil {
		return err
	}
	r := importReport{DryRun: f.dryRun, Lists: []importedList{}}
	var wrong []config.Problem
	for _, name := range files {
		file, err := a.readBook(ctx, name, o, t)
		if err != nil {
			var list *config.Errors
			if !errors.As(err, &list) {
				return err
			}
			wrong = append(wrong, list.List...)
			continue
		}
		r.Files = append(r.Files, file)
	}
	if len(wrong) > 0 {
		return &config.Errors{List: wrong}
	}
	if err := t.ready(nobodyIn(r.Files)); err != nil {
		return err
	}
	stop := progress(a.err, "comparing and writing", nil)
	defer stop()
	if err := t.compare(f); err != nil {
		return err
	}
	for _, l := range t.lists {
		if err := l.write(f); err != nil {
			return err
		}
		r.Lists = append(r.Lists, l.importedList)
	}
	r.Others = t.others()
	stop()
	if a.json {
		return a.printJSON(r)
	}
	a.printImport(r)
	return nil
}

func (f *importFlags) options() (o book.Options, err error) {
	if f.format != "" {
		if o.Format, err = book.ParseFormat(f.format); err != nil {
			return o, err
		}
	}
	switch f.separator {
	case "":
	case "comma", ",":
		o.Separator = ','
	case "semicolon", ";":
		o.Separator = ';'
	case "tab", "\t":
		o.Separator = '\t'
	default:
		return o, hint("write --separator comma, semicolon or tab", "%q is no separator", f.separator)
	}
	if f.domain != "" {
		if f.domain, err = mail.FoldDomain(f.domain); err != nil {
			return o, hint("--domain takes one name such as example.com", "%w", err)
		}
	}
	if f.force && !f.replace {
		return o, hint("without --replace nothing is ever taken out of a list", "--force means nothing without --replace")
	}
	o.Columns, o.Attributes, o.Locals = f.columns, f.attributes, f.domain != ""
	return o, nil
}

// counting counts the octets that were read.
type counting struct {
	io.Reader
	n atomic.Int64
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// readBook reads one file into the targets.
func (a *app) readBook(ctx context.Context, name string, o book.Options, t *targets) (importedFile, error) {
	in := &counting{Reader: a.in}
	shown, size := "standard input", int64(0)
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return importedFile{}, err
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return importedFile{}, err
		}
		if info.IsDir() {
			return importedFile{}, fmt.Errorf("%s is a folder, not a file", name)
		}
		in.Reader, shown, size = f, name, info.Size()
	}
	const mega = 1 << 20
	count := func() (int, int) { return int(in.n.Load() / mega), int(size / mega) }
	if size == 0 {
		count = nil
	}
	defer progress(a.err, "reading "+shown+" (MB)", count)()
	rep, err := book.Read(shown, in, o, func(addr mail.Address) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		t.add(addr)
		return nil
	})
	if err != nil {
		return importedFile{}, mistakesOf(err)
	}
	f := importedFile{Name: shown, Format: rep.Format.String(), Columns: rep.Columns, Records: rep.Records, Addresses: rep.Addresses, format: rep.Format, attributes: rep.Attributes}
	for _, p := range rep.Passed {
		f.Passed = append(f.Passed, passedOver(p))
	}
	return f, nil
}

// nobodyIn says of files without a single address what was read, and where addresses were looked for. "": there
// are addresses.
func nobodyIn(files []importedFile) string {
	var all []string
	for i := range files {
		f := &files[i]
		if f.Addresses > 0 {
			return ""
		}
		read := func(one, many string) string {
			return fmt.Sprintf("%s: %d %s read", f.Name, f.Records, plural(f.Records, one+" was", many+" were"))
		}
		without := slices.ContainsFunc(f.Passed, func(p passedOver) bool { return p.Reason == book.NoAddress })
		var told string
		switch {
		case f.format == book.LDIF && without:
			last := len(f.attributes) - 1
			told = fmt.Sprintf("%s, without an address in %s or %s; --attribute NAME names another", read("entry", "entries"), strings.Join(f.attributes[:last], ", "), f.attributes[last])
		case f.format == book.CSV && without:
			told = fmt.Sprintf("%s, without an address in %s %s; --column NAME names another", read("record", "records"), plural(len(f.Columns), "column", "columns"), quoted(f.Columns))
		default:
			told = read("record", "records") + ", and nobody is named there"
		}
		for _, p := range f.Passed {
			if p.Reason != book.NoAddress {
				told += fmt.Sprintf("; passed over, %d: %s", p.Count, p.Reason)
			}
		}
		all = append(all, told)
	}
	return strings.Join(all, "; ")
}

// mistakesOf gives each bad line a line of its own among the errors.
func mistakesOf(err error) error {
	var all []config.Problem
	several, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return err
	}
	for _, e := range several.Unwrap() {
		var m *book.Mistake
		if !errors.As(e, &m) {
			return err
		}
		all = append(all, config.Problem{File: m.File, Line: m.Line, Message: m.Message})
	}
	return &config.Errors{List: all}
}

func (a *app) printImport(r importReport) {
	for _, f := range r.Files {
		from := ""
		if len(f.Columns) > 0 {
			from = fmt.Sprintf(" in %s %s", plural(len(f.Columns), "column", "columns"), quoted(f.Columns))
		}
		a.printf("%s: %s, %d %s, %d %s%s\n", f.Name, f.Format, f.Records, plural(f.Records, "record", "records"), f.Addresses, plural(f.Addresses, "address", "addresses"), from)
		for _, p := range f.Passed {
			a.printf("  passed over, %d: %s, first in line %d\n", p.Count, p.Reason, p.Line)
		}
	}
	for _, o := range r.Others {
		a.printf("  passed over, %d: at %s: %s\n", o.Addresses, o.Domain, o.Why)
	}
	a.printf("\n")
	t := a.table("domain", "read", "new", "already there", "removed", "now", "list")
	for _, l := range r.Lists {
		for _, d := range l.Domains {
			t.AppendRow(table.Row{localsOr(d.Domain), d.Read, d.New, d.Already, d.Removed, d.Total, l.File})
		}
	}
	a.printTable(t)
	a.printf("\n")
	for _, l := range r.Lists {
		switch {
		case l.Written:
			a.printf("written: %s\n", l.File)
		case r.DryRun && l.changes():
			a.printf("not written, because of --dry-run: %s\n", l.File)
		default:
			a.printf("nothing to change: %s\n", l.File)
		}
	}
}

func localsOr(domain string) string {
	if domain == "" {
		return "(local parts alone)"
	}
	return domain
}
