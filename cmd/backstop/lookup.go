package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"backstop/internal/daemon"
	"backstop/internal/evidence"
	"backstop/internal/mail"
)

func (a *app) lookup() *cobra.Command {
	var atText string
	var noAsk bool
	c := &cobra.Command{
		Use:   "lookup ADDRESS…",
		Short: "Say who says that a recipient exists",
		Long: "Asks each source of the recipient's domain in its order, and prints its answer and\n" +
			"how old that is.\n\n" +
			"The exit code is 0 for exists, 1 for missing, 2 for unavailable, 3 for an error; of\n" +
			"several addresses, that of the worst.",
		Example: "  backstop lookup bob@example.com\n  backstop lookup --json bob@example.com postmaster@example.com",
		Args:    wants(1, -1, "an address"),
		RunE: func(c *cobra.Command, args []string) error {
			at, err := parseAt(atText)
			if err != nil {
				return err
			}
			addrs := make([]mail.Address, len(args))
			for i, arg := range args {
				if addrs[i], err = parseRecipient(arg); err != nil {
					return err
				}
			}
			return a.offline(c.Context(), func(d *daemon.Daemon) error {
				for _, addr := range addrs {
					if err := a.lookupOne(c.Context(), d, addr, daemon.LookupOptions{At: at, NoAsk: noAsk}); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	c.Flags().StringVar(&atText, "at", "", "ask as at this `TIME` (RFC 3339)")
	c.Flags().BoolVar(&noAsk, "no-ask", false, "consult no other server: only lists and what is remembered")
	return c
}

func (a *app) lookupOne(ctx context.Context, d *daemon.Daemon, addr mail.Address, o daemon.LookupOptions) error {
	stop := progress(a.err, "asking about "+addr.String(), nil)
	res, err := d.Lookup(ctx, addr, o)
	stop()
	if err != nil {
		return err
	}
	return a.printLookup(res)
}

func (a *app) printLookup(res daemon.LookupResult) error {
	codes := map[string]int{"exists": 0, "missing": 1}
	code, known := codes[res.Standing]
	if !known {
		code = 2
	}
	a.code = max(a.code, code)
	if a.json {
		return a.printJSON(res)
	}
	a.printf("%s: %s", res.Address, res.Standing)
	if res.Source != "" {
		a.printf(", says %s", res.Source)
	}
	a.printf("\n")
	t := a.table()
	for _, s := range res.Trail {
		t.AppendRow(table.Row{"  " + s.Source, saidBy(s) + otherAddress(res.Address, s.Address), ageOf(s), fmt.Sprintf("%.1f ms", s.MS), s.Detail})
	}
	a.printTable(t)
	return nil
}

// saidBy is a source's word. A source that was asked and is left at "not asked" does
// not name the address, and leaves it to the next one.
func saidBy(s daemon.LookupStep) string {
	if s.Standing == evidence.NotAsked.String() {
		return "does not name it"
	}
	return s.Standing
}

// otherAddress names the address that was asked where it is not the given one:
// without its subaddress, or under the name that an alias stands for.
func otherAddress(given, asked string) string {
	if asked == "" || strings.EqualFold(given, asked) {
		return ""
	}
	return ": " + asked
}

// ageOf says how old a source's answer is and what weakens it.
func ageOf(s daemon.LookupStep) string {
	var words []string
	if s.AgeS >= 1 {
		words = append(words, span(time.Duration(s.AgeS*float64(time.Second)))+" old")
	}
	for word, holds := range map[string]bool{"remembered": s.Cached, "stale": s.Stale, "blind": s.Blind} {
		if holds {
			words = append(words, word)
		}
	}
	slices.Sort(words)
	return strings.Join(words, ", ")
}
