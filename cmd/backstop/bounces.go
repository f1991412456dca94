package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"backstop/internal/bouncereport"
	"backstop/internal/daemon"
	"backstop/internal/mail"
)

// mostSenders is how many domains of unproven mail are printed; --json has all.
const mostSenders = 20

func (a *app) bounces() *cobra.Command {
	var state, domain string
	var days int
	c := &cobra.Command{
		Use:   "bounces",
		Short: "Report how bounces were judged, in and out",
		Long: "Prints how bounces and other automatic mail were judged, by day counts of UTC, today\n" +
			"included. In: what proved it, and what enforcing would have refused. Out: which server\n" +
			"behind writes to people who never wrote.\n\n" +
			"The running daemon is asked; when none runs, its state folder is read.",
		Example: "  backstop bounces\n  backstop bounces --days 30 --domain example.com\n  backstop bounces --json --state /var/lib/backstop",
		Args:    wants(0, 0, "no argument"),
		RunE: func(c *cobra.Command, _ []string) error {
			if domain != "" {
				folded, err := mail.FoldDomain(domain)
				if err != nil {
					return hint("write it as example.com", "--domain: %w", err)
				}
				domain = folded
			}
			report, err := a.askBounces(c.Context(), state, days, domain)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(report)
			}
			a.printBounces(report)
			return nil
		},
	}
	c.Flags().IntVar(&days, "days", 7, "how many `DAYS`, today included")
	c.Flags().StringVar(&domain, "domain", "", "only this `DOMAIN` of ours")
	stateFlag(c, &state)
	return c
}

// askBounces asks the running daemon, or reads what one left.
func (a *app) askBounces(ctx context.Context, state string, days int, domain string) (bouncereport.Report, error) {
	var report bouncereport.Report
	running, err := a.dial(state)
	if err != nil {
		return report, err
	}
	query := url.Values{"days": {strconv.Itoa(days)}, "domain": {domain}}
	err = running.ask(ctx, http.MethodGet, "/bounces", query, &report)
	if !errors.Is(err, errNoDaemon) {
		return report, err
	}
	report, readErr := daemon.ReadBounces(ctx, running.state, days, domain, time.Now())
	if errors.Is(readErr, fs.ErrNotExist) {
		return report, err // neither a daemon nor what one left
	}
	return report, readErr
}

func (a *app) printBounces(r bouncereport.Report) {
	of := ""
	if r.Domain != "" {
		of = " of " + r.Domain
	}
	if r.Empty() {
		a.printf("nothing was counted%s since %s: no bounce and no other automatic mail was judged\n", of, r.Since)
		return
	}
	a.printf("bounces and other automatic mail%s since %s\n\nin, to your users:\n", of, r.Since)
	t := a.table("domain", "kind", "proven", "unproven", "exempt", "refused", "unknown", "proven by", "exempt by")
	for _, row := range r.In.Rows {
		t.AppendRow(table.Row{row.Domain, row.Kind, row.Proven, row.Unproven, row.Exempt, row.Refused, row.Unknown, counts(row.By), counts(row.ExemptBy)})
	}
	a.printTable(t)
	a.printWords(r.In.Words)
	a.printSenders(r.In.Senders)
	a.printf("\nout, from your servers:\n")
	t = a.table("domain", "server", "proven", "left unproven", "redirected", "refused", "unknown", "unproven were", "proven by")
	for _, row := range r.Out.Rows {
		t.AppendRow(table.Row{row.Domain, row.Server, row.Proven, row.Unproven, row.Redirected, row.Refused, row.Unknown, counts(row.Kinds), counts(row.By)})
	}
	a.printTable(t)
	a.printWords(r.Out.Words)
}

func (a *app) printSenders(all []bouncereport.Sender) {
	if len(all) == 0 {
		return
	}
	a.printf("\nunproven or refused, by the domain in From:\n")
	t := a.table()
	for i, s := range all {
		if i == mostSenders {
			break
		}
		name, likely := s.Sender, ""
		if name == "" {
			name = "(none)"
		}
		if s.Likely {
			likely = "looks legitimate"
		}
		t.AppendRow(table.Row{"  " + name, s.Count, counts(s.Kinds), likely})
	}
	a.printTable(t)
	if n := len(all) - mostSenders; n > 0 {
		a.printf("  and %d more: --json has them\n", n)
	}
}

func (a *app) printWords(words []string) {
	for _, w := range words {
		a.printf("- %s\n", w)
	}
}

// counts lists numbers by name.
func counts(by map[string]uint64) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(by)) {
		shown := name
		if shown == "" {
			shown = "other"
		}
		parts = append(parts, fmt.Sprintf("%s %d", shown, by[name]))
	}
	return strings.Join(parts, ", ")
}
