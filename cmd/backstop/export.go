package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/spf13/cobra"

	"backstop/internal/config"
	"backstop/internal/daemon"
	"backstop/internal/directory/book"
	"backstop/internal/mail"
	"backstop/internal/safefile"
)

// exportFlags are what `directory export` is told.
type exportFlags struct {
	format     string
	domains    []string
	source     string
	output     string
	remembered bool
	empty      bool
}

// exportReport is what `directory export --output FILE --json` prints.
type exportReport struct {
	File      string         `json:"file"`
	Format    string         `json:"format"`
	Addresses int            `json:"addresses"`
	Patterns  int            `json:"patterns,omitempty"`
	Domains   map[string]int `json:"domains"`
	Left      []leftOut      `json:"left_out,omitempty"`
	Partly    []partlyNamed  `json:"partly,omitempty"`
}

// exportObject is what `directory export --json` prints in place of the file.
type exportObject struct {
	Format     string        `json:"format"`
	Addresses  int           `json:"addresses"`
	Patterns   int           `json:"patterns,omitempty"`
	Recipients []string      `json:"recipients"` // addresses and patterns, as they would stand in the file
	Left       []leftOut     `json:"left_out"`
	Partly     []partlyNamed `json:"partly,omitempty"`
}

// partlyNamed is a domain of which not everybody is named.
type partlyNamed struct {
	Domain string `json:"domain"`
	Reason string `json:"reason"`
}

type leftOut struct {
	Reason string `json:"reason"`
	Count  int    `json:"count"`
	First  string `json:"first"`
}

func (a *app) directoryExport() *cobra.Command {
	var f exportFlags
	c := &cobra.Command{
		Use:   "export --format list|postfix|access",
		Short: "Write the recipients into a file for another mail server",
		Long: "Writes the recipients of all domains, or of those named with --domain, sorted: as a\n" +
			"plain list (list), as the text of a Postfix map such as relay_recipient_maps (postfix),\n" +
			"or as Sendmail's access text (access), whose last line for each domain refuses everybody\n" +
			"else. In the latter two each address stands also under the aliases of its domain.\n\n" +
			"Files are read, directory servers and databases are asked for all that they have. A server\n" +
			"that is only ever asked about single recipients (callahead) has no list: --remembered\n" +
			"writes those whom it is remembered to have said exist, and no line then refuses the others.\n" +
			"Where somebody's recipients cannot be had nothing is written at all, since a map that lacks\n" +
			"users refuses their mail.",
		Example: "  backstop directory export --format postfix --output /etc/postfix/relay_recipients\n" +
			"  backstop directory export --format access --domain example.com\n" +
			"  backstop directory export --format list --source corp --output corp.list",
		Args: wants(0, 0, "no argument"),
		RunE: func(c *cobra.Command, _ []string) error { return a.exportTo(c.Context(), f) },
	}
	flags := c.Flags()
	flags.StringVar(&f.format, "format", "", "what to write: list, postfix or access")
	flags.StringSliceVar(&f.domains, "domain", nil, "export this `DOMAIN` alone; may be repeated")
	flags.StringVar(&f.source, "source", "", "export what this source alone has, by its `NAME` in the configuration")
	flags.StringVar(&f.output, "output", "", "the `FILE` to write (default: the standard output)")
	flags.BoolVar(&f.remembered, "remembered", false, "of servers without a list, export whom they are remembered to have said exist")
	flags.BoolVar(&f.empty, "empty", false, "write the file also where there are no recipients at all")
	return c
}

// exportTo gathers all recipients before it writes the first.
func (a *app) exportTo(ctx context.Context, f exportFlags) error {
	format, err := exportFormat(f.format)
	if err != nil {
		return err
	}
	q := daemon.RecipientsQuery{Source: f.source, Remembered: f.remembered}
	for _, name := range f.domains {
		folded, err := mail.FoldDomain(name)
		if err != nil {
			return hint("--domain takes a name such as example.com", "%w", err)
		}
		q.Domains = append(q.Domains, folded)
	}
	b, cfg, err := a.gather(ctx, q)
	if err != nil {
		return unlisted(a.file, err)
	}
	aliases := map[string][]string{}
	if format != book.List { // which our own lists need not, and others do not know
		for i := range cfg.Domains {
			aliases[cfg.Domains[i].Name] = cfg.Domains[i].Aliases
		}
	}
	written, err := book.Each(format, b, aliases, func(string, string) {})
	if err != nil {
		return err
	}
	if written.Addresses+written.Patterns == 0 && !f.empty {
		a.warnExport(format, b, written)
		return hint("if that is right, say --empty", "there is no recipient at all, and a map without any refuses all mail: nothing was written")
	}
	return a.writeExport(f, format, b, aliases)
}

func exportFormat(s string) (book.Format, error) {
	const advice = "write --format list, --format postfix or --format access"
	if s == "" {
		return book.Unknown, hint(advice, "export needs a format")
	}
	format, err := book.ParseFormat(s)
	if err != nil || format != book.List && format != book.Postfix && format != book.Access {
		return book.Unknown, hint(advice, "%q cannot be exported", s)
	}
	return format, nil
}

// gather collects the recipients.
func (a *app) gather(ctx context.Context, q daemon.RecipientsQuery) (*book.Book, *config.Config, error) {
	cfg, err := a.load()
	if err != nil {
		return nil, nil, err
	}
	var n atomic.Int64
	defer progress(a.err, "gathering recipients", func() (int, int) { return int(n.Load()), 0 })()
	b := book.New()
	q.Patterns = func(addr mail.Address) error {
		b.AddPattern(addr)
		return nil
	}
	q.Partly = func(domain, why string) { b.SetPartly(domain, oneLine(why)) }
	err = a.offline(ctx, func(d *daemon.Daemon) error {
		return d.Recipients(ctx, q, func(addr mail.Address) error {
			n.Add(1)
			b.Add(addr)
			return nil
		})
	})
	return b, cfg, err
}

// unlisted gives each source whose recipients cannot be had a line of its own.
func unlisted(file string, err error) error {
	var done *config.Errors
	var told advised
	var several interface{ Unwrap() []error }
	if errors.As(err, &done) || !errors.As(err, &told) || !errors.As(errors.Unwrap(told), &several) {
		return err
	}
	advice := told.Hint()
	list := &config.Errors{}
	for _, e := range several.Unwrap() {
		list.List = append(list.List, config.Problem{File: file, Message: e.Error()})
	}
	if len(list.List) > 0 {
		list.List[len(list.List)-1].Hint = advice
	}
	return list
}

// writeExport writes to the file, whole or not at all, or to the standard output.
func (a *app) writeExport(f exportFlags, format book.Format, b *book.Book, aliases map[string][]string) error {
	var written book.Written
	fill := func(w io.Writer) (err error) {
		written, err = book.Write(w, format, b, aliases)
		return err
	}
	if f.output == "" && a.json {
		return a.printRecipients(format, b, aliases)
	}
	if f.output == "" {
		if err := fill(a.out); err != nil {
			return err
		}
		a.warnExport(format, b, written)
		return nil
	}
	if info, err := os.Stat(f.output); err == nil && !info.Mode().IsRegular() {
		return hint("without --output it goes to the standard output", "%s is no plain file, so it cannot be replaced", f.output)
	}
	if err := safefile.Replace(f.output, fill, 0o644); err != nil {
		return err
	}
	r := exportReport{File: f.output, Format: format.String(), Addresses: written.Addresses, Patterns: written.Patterns, Domains: map[string]int{}}
	for _, d := range b.Domains() {
		r.Domains[d] = b.Of(d).Len()
	}
	r.Left, r.Partly = leftOf(written), partlyOf(b)
	if a.json {
		return a.printJSON(r)
	}
	a.warnExport(format, b, written)
	patterns := ""
	if n := written.Patterns; n > 0 {
		patterns = fmt.Sprintf(" and %d %s", n, plural(n, "pattern", "patterns"))
	}
	a.printf("%s: %d %s%s of %d %s\n", f.output, written.Addresses, plural(written.Addresses, "address", "addresses"), patterns, len(r.Domains), plural(len(r.Domains), "domain", "domains"))
	switch format {
	case book.Postfix:
		a.printf("Make the map of it: postmap %s\n", f.output)
	case book.Access:
		a.printf("Make the map of it: makemap hash %s < %s\n", f.output, f.output)
	}
	return nil
}

// printRecipients prints them as JSON.
func (a *app) printRecipients(format book.Format, b *book.Book, aliases map[string][]string) error {
	o := exportObject{Format: format.String(), Recipients: make([]string, 0, b.Len()), Left: []leftOut{}, Partly: partlyOf(b)}
	w, err := book.Each(format, b, aliases, func(local, domain string) {
		if domain != "" {
			local += "@" + domain
		}
		o.Recipients = append(o.Recipients, local)
	})
	if err != nil {
		return err
	}
	o.Addresses, o.Patterns, o.Left = w.Addresses, w.Patterns, append(o.Left, leftOf(w)...)
	return a.printJSON(o)
}

func leftOf(w book.Written) (all []leftOut) {
	for _, l := range w.Left {
		all = append(all, leftOut(l))
	}
	return all
}

// warnExport says on the standard error what the file lacks.
func (a *app) warnExport(format book.Format, b *book.Book, w book.Written) {
	for _, l := range w.Left {
		a.complainOne(fmt.Sprintf("warning: left out: %d, the first of them %s: %s", l.Count, l.First, l.Reason), "")
	}
	so := "and a server that takes the file for all refuses the others"
	if format == book.Access {
		so = "so the last line, which refuses the others, is left out"
	}
	for _, p := range partlyOf(b) {
		a.complainOne(fmt.Sprintf("warning: %s: not all are named (%s), %s", p.Domain, p.Reason, so), "")
	}
}

func partlyOf(b *book.Book) (all []partlyNamed) {
	for _, domain := range b.Domains() {
		if why := b.Partly(domain); why != "" {
			all = append(all, partlyNamed{domain, why})
		}
	}
	return all
}

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

func quoted(list []string) string {
	q := make([]string, len(list))
	for i, s := range list {
		q[i] = strconv.Quote(s)
	}
	return strings.Join(q, ", ")
}
