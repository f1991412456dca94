package main

import (
	"context"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"backstop/internal/audit"
	"backstop/internal/mail"
	"backstop/internal/maillog"
)

// auditFlags are what `audit` is told besides the files.
type auditFlags struct {
	domains []string
	since   string
	top     int
	unknown bool
}

// mostSamples is how many lines that were not understood are shown.
const mostSamples = 20

// auditJSON is the report with what only the command knows.
type auditJSON struct {
	*audit.Report
	Files   []string       `json:"files"`
	Unknown []audit.Sample `json:"unknown,omitempty"`
}

func (a *app) audit() *cobra.Command {
	var f auditFlags
	c := &cobra.Command{
		Use:   "audit FILE...",
		Short: "Read mail logs: how much backscatter does this server send?",
		Long: "Reads the logs of Postfix, Exim, Sendmail and OpenSMTPD, and the message tracking of Exchange,\n" +
			"and counts the bounces that this server wrote to strangers: per day, by cause, by receiving\n" +
			"domain, who refused what had been accepted, and how many of them Backstop would have made\n" +
			"refusals at RCPT. What kind of log a file is, is found by itself, line by line; files may be\n" +
			"merged, rotated, compressed by gzip or bzip2, and given in any order. `-` is standard input.\n\n" +
			"Which domains are the server's own is inferred from its deliveries. Name them all with\n" +
			"--domain where the list that is printed is not right. Times without a zone are taken to be\n" +
			"of this machine's (TZ).\n\n" +
			"The exit code is 0 whatever was counted, 1 where a file could not be read, and 2 where there\n" +
			"was nothing to count: no line of a mail log, or none as late as --since.",
		Example: "  backstop audit /var/log/mail.log*\n  backstop audit --domain example.com --since 7d /var/log/exim4/mainlog*\n" +
			"  journalctl -u postfix@- -o short-iso | backstop audit -\n  backstop audit --json MSGTRK*.LOG",
		Args: wants(1, -1, "log files, or - for standard input"),
		RunE: func(c *cobra.Command, args []string) error { return a.runAudit(c.Context(), args, &f) },
	}
	c.Flags().StringArrayVar(&f.domains, "domain", nil, "a `DOMAIN` of this server; more than once for several: then nothing is inferred")
	c.Flags().StringVar(&f.since, "since", "", "count bounces from this `TIME` on: 2026-11-01, 7d, 24h, or RFC 3339")
	c.Flags().IntVar(&f.top, "top", 10, "how many domains, servers and so on are listed (`N`); --json has all")
	c.Flags().BoolVar(&f.unknown, "unknown", false, "show some of the lines that were not understood")
	return c
}

func (a *app) runAudit(ctx context.Context, args []string, f *auditFlags) error {
	o, err := f.options(time.Now())
	if err != nil {
		return err
	}
	logs := &logFiles{ctx: ctx}
	if !finished(ctx, func() { logs.open(args, a.in) }) {
		return errInterrupted
	}
	r := auditor{ctx: ctx, counter: audit.New(o), parser: maillog.NewParser(time.Local, time.Now())}
	if f.unknown {
		r.samples = new(audit.Samples)
	}
	stop := a.auditProgress(logs)
	all := finished(ctx, func() {
		defer logs.close()
		for _, l := range logs.files {
			r.read(l)
		}
	})
	stop()
	if !all {
		return errInterrupted
	}
	for _, l := range logs.all {
		if l.err != nil {
			a.complain(at(l.name, l.err))
			a.code = 1
		}
	}
	if len(logs.files) == 0 {
		return nil // each has its complaint
	}
	report := auditJSON{Report: r.counter.Report(), Files: logs.names()}
	if r.samples != nil {
		report.Unknown = r.samples.List(mostSamples)
	}
	if a.code == 0 && (report.Lines.Used == 0 || report.Ends) {
		a.code = 2
	}
	if a.json {
		return a.printJSON(report)
	}
	a.printAudit(&report, f)
	return nil
}

var errInterrupted = errors.New("interrupted before the logs were read")

// finished does f, and says whether it came to its end before ctx did. A read from a pipe or a terminal can not be told to end:
// the process does not wait for it.
func finished(ctx context.Context, f func()) bool {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

// options are those of the flags.
func (f *auditFlags) options(now time.Time) (audit.Options, error) {
	var o audit.Options
	for _, d := range f.domains {
		folded, err := mail.FoldDomain(d)
		if err != nil {
			return o, hint("write it as example.com", "--domain: %w", err)
		}
		o.Domains = append(o.Domains, folded)
	}
	if f.top < 1 {
		return o, hint("--top 10 lists ten of each", "--top takes a positive number")
	}
	if f.since == "" {
		return o, nil
	}
	since, err := sinceTime(f.since, now)
	if err != nil {
		return o, err
	}
	_, offset := since.Zone()
	o.Since = since.Unix() + int64(offset)
	return o, nil
}

// sinceTime reads "2026-11-01", "7d", "24h" and RFC 3339.
func sinceTime(text string, now time.Time) (time.Time, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			return now.AddDate(0, 0, -int(n)), nil
		}
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	if t, err := time.ParseInLocation("2006-01-02", text, now.Location()); err == nil {
		return t, nil
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t.In(now.Location()), nil
	}
	return now, hint("write 2026-11-01, 7d, 24h or 2026-11-01T08:00:00Z", "--since: %q is no time", text)
}

// auditor reads logs into a counter.
type auditor struct {
	ctx     context.Context
	counter *audit.Counter
	parser  *maillog.Parser
	samples *audit.Samples
}

// read reads one to its end. What goes wrong is noted in l.
func (r *auditor) read(l *logFile) {
	in, err := l.open()
	if err != nil {
		l.err = err
		return
	}
	defer l.shut()
	r.parser.Written(l.written)
	var e maillog.Event
	err = maillog.Scan(in, func(line []byte) bool {
		r.parser.Parse(line, &e)
		r.counter.Add(&e)
		if e.Kind == maillog.NotUnderstood && r.samples != nil {
			r.samples.Add(line)
		}
		return true
	})
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = hint("what could be read of it was counted", "the compressed file is cut short")
	}
	l.err = err
}
