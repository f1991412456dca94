package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"backstop/internal/daemon"
	"backstop/internal/directory"
)

func (a *app) directory() *cobra.Command {
	c := &cobra.Command{
		Use:     "directory",
		Short:   "What is known about recipients: show it, bring it in, write it out, forget it",
		Example: "  backstop directory stat\n  backstop directory import users.csv\n  backstop directory export --format postfix",
	}
	c.AddCommand(a.directoryStat(), a.directoryImport(), a.directoryExport(), a.directoryForget(), a.directorySync())
	group(c)
	return c
}

func (a *app) directoryStat() *cobra.Command {
	var state string
	c := &cobra.Command{
		Use:     "stat",
		Short:   "Print how many answers are remembered and recipients listed, by domain",
		Example: "  backstop directory stat --json",
		Args:    wants(0, 0, "no argument"),
		RunE: func(c *cobra.Command, _ []string) error {
			running, err := a.dial(state)
			if err != nil {
				return err
			}
			var answer json.RawMessage
			if err := running.ask(c.Context(), http.MethodGet, "/directory/stat", nil, &answer); err != nil {
				return err
			}
			if a.json {
				return a.printJSON(answer)
			}
			var stats []daemon.DomainStat
			if err := json.Unmarshal(answer, &stats); err != nil {
				return err
			}
			a.printStat(stats, time.Now())
			return nil
		},
	}
	stateFlag(c, &state)
	return c
}

// printStat prints what is remembered, and below it what listed sources have.
func (a *app) printStat(stats []daemon.DomainStat, now time.Time) {
	remembered := a.table("domain", "exists", "missing", "oldest", "newest")
	listed := a.table("domain", "entries", "read", "source")
	for _, s := range stats {
		if s.Exists+s.Missing > 0 {
			remembered.AppendRow(table.Row{s.Domain, s.Exists, s.Missing, ago(now, s.Oldest), ago(now, s.Newest)})
		}
		for _, l := range s.Listed {
			entries := fmt.Sprint(l.Entries)
			if l.Whole {
				entries += " in all"
			}
			listed.AppendRow(table.Row{s.Domain, entries, ago(now, l.Read), l.Source})
		}
	}
	if remembered.Length() == 0 {
		a.printf("nothing is remembered yet\n")
	}
	a.printTable(remembered)
	if listed.Length() > 0 {
		a.printf("\nlisted:\n")
		a.printTable(listed)
	}
}

func (a *app) directoryForget() *cobra.Command {
	var state string
	var all bool
	c := &cobra.Command{
		Use:   "forget [ADDRESS|@DOMAIN]…",
		Short: "Drop remembered answers, so that the source is asked again",
		Example: "  backstop directory forget bob@example.com\n" +
			"  backstop directory forget @example.com\n" +
			"  backstop directory forget --all",
		RunE: func(c *cobra.Command, args []string) error {
			if all == (len(args) > 0) {
				return hint("`backstop directory forget --help` shows an example", "forget needs addresses, @DOMAIN, or --all alone")
			}
			if all {
				args = []string{directory.Pattern{}.String()}
			}
			for _, what := range args {
				if _, err := directory.ParsePattern(what); err != nil {
					return hint("write user@domain, @domain, or --all", "%w", err)
				}
			}
			running, err := a.dial(state)
			if err != nil {
				return err
			}
			total := 0
			for _, what := range args {
				var answer struct{ Forgotten int }
				if err := running.ask(c.Context(), http.MethodPost, "/directory/forget", url.Values{"what": {what}}, &answer); err != nil {
					return err
				}
				total += answer.Forgotten
			}
			if a.json {
				return a.printJSON(map[string]int{"forgotten": total})
			}
			a.printf("forgotten: %d\n", total)
			return nil
		},
	}
	c.Flags().BoolVar(&all, "all", false, "forget everything")
	stateFlag(c, &state)
	return c
}

// ago is how long before now a moment was, in the one or two units that matter.
func ago(now, t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return span(now.Sub(t)) + " ago"
}

func span(d time.Duration) string {
	switch {
	case d < time.Second:
		return "0s"
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm %ds", d/time.Minute, d%time.Minute/time.Second)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh %dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%dd %dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
}
