package main

import (
	"fmt"
	"net/http"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"backstop/internal/daemon"
)

func (a *app) status() *cobra.Command {
	var state string
	c := &cobra.Command{
		Use:   "status",
		Short: "Ask the running daemon how it is",
		Long: "Prints listeners, downstreams and sources (up, slow, blind, down), what was decided,\n" +
			"and what is wrong now. The exit code is 0 when all is well, and 1 when something is\n" +
			"wrong or no daemon is running.",
		Example: "  backstop status\n  backstop status --json --state /var/lib/backstop",
		Args:    wants(0, 0, "no argument"),
		RunE: func(c *cobra.Command, _ []string) error {
			running, err := a.dial(state)
			if err != nil {
				return err
			}
			var st daemon.Status
			if err := running.ask(c.Context(), http.MethodGet, "/status", nil, &st); err != nil {
				return err
			}
			if len(st.Wrong) > 0 {
				a.code = 1
			}
			if a.json {
				return a.printJSON(st)
			}
			a.printStatus(st, time.Now())
			return nil
		},
	}
	stateFlag(c, &state)
	return c
}

// blocklistWords are the standings of a status in words.
var blocklistWords = map[string]string{"listed": "LISTED", "clean": "not listed", "not-covered": "no such addresses there", "unknown": "cannot tell"}

func (a *app) printStatus(st daemon.Status, now time.Time) {
	a.printf("%s, mode %s, process %d, up %s\n\n", st.Hostname, st.Mode, st.PID, span(now.Sub(st.Started)))
	t := a.table()
	for _, l := range st.Listeners {
		t.AppendRow(table.Row{"listener", l.Address, l.Door})
	}
	peers := func(kind string, list []daemon.PeerStatus) {
		for _, p := range list {
			what := p.State
			if !p.Since.IsZero() {
				what += " for " + span(now.Sub(p.Since))
			}
			t.AppendRow(table.Row{kind, p.Name, what, p.Detail})
		}
	}
	peers("downstream", st.Downstreams)
	peers("source", st.Sources)
	peers("dns", st.DNS)
	if k := st.Keys; k != nil && k.Keys > 0 {
		t.AppendRow(table.Row{"keys", k.Keys, "key " + k.Signs + " signs", k.Detail})
	}
	for _, d := range st.Tags {
		what := ""
		if d.Batv == "enforce" && d.Since.IsZero() {
			what = "refuses nothing: nothing is tagged here, or since when is not known"
		} else if d.Batv == "enforce" && now.Before(d.Due) {
			what = "refuses nothing before " + d.Due.UTC().Format(time.RFC3339) + ": tags that are under way need their time"
		}
		t.AppendRow(table.Row{"batv", d.Domain, d.Batv, what})
	}
	for _, l := range st.Blocklists {
		what := blocklistWords[l.Standing]
		if !l.Since.IsZero() {
			what += ", known for " + span(now.Sub(l.Since))
		}
		if l.Standing == "unknown" && l.Detail == "" {
			what += " yet" // nobody was asked
		}
		t.AppendRow(table.Row{"blocklist", l.List, l.Address + ": " + what, l.Detail})
	}
	t.AppendRow(table.Row{"sessions", st.Sessions, "open"})
	t.AppendRow(table.Row{"remembered", fmt.Sprintf("%d exist, %d missing", st.Cache.Exists, st.Cache.Missing)})
	for _, d := range st.Decisions {
		t.AppendRow(table.Row{"decided", fmt.Sprintf("%s, %s", d.Verdict, d.Rule), d.Count})
	}
	a.printTable(t)
	if len(st.Wrong) == 0 {
		a.printf("\nall is well\n")
		return
	}
	a.printf("\nwrong now:\n")
	for _, w := range st.Wrong {
		a.printf("  %s\n", w)
	}
}
