package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"backstop/internal/daemon"
)

func (a *app) directorySync() *cobra.Command {
	var state string
	var confirm bool
	c := &cobra.Command{
		Use:   "sync [SOURCE]…",
		Short: "Refresh the sources that answer from a copy or a file, now",
		Long: "Has the running daemon pull what has changed, for sources with mode = \"sync\", and\n" +
			"read the files of lists and maps, where they have changed; of no SOURCE, all of them.\n" +
			"A SOURCE is called as `backstop status` calls it: corp, list:FILE.\n\n" +
			"A pull by which a domain would lose more than a fifth of its recipients is held\n" +
			"back, and the copy before it stays: look at the directory first, and if it is right,\n" +
			"repeat with --confirm.\n\n" +
			"The exit code is 0 when every source was refreshed, and 1 otherwise.",
		Example: "  backstop directory sync\n  backstop directory sync corp --confirm",
		RunE: func(c *cobra.Command, args []string) error {
			if confirm && len(args) == 0 {
				return hint("write `backstop directory sync SOURCE --confirm`", "--confirm is for a source by its name, so that nothing is confirmed unseen")
			}
			running, err := a.dial(state)
			if err != nil {
				return err
			}
			query := url.Values{"source": args}
			if confirm {
				query.Set("confirm", "1")
			}
			stop := progress(a.err, "pulled", func() (done, total int) { return running.taken(c.Context()), 0 })
			results, err := running.sync(c.Context(), query)
			stop()
			if err != nil {
				return err
			}
			return a.printSync(results)
		},
	}
	c.Flags().BoolVar(&confirm, "confirm", false, "take over a pull that is held back")
	stateFlag(c, &state)
	return c
}

// sync asks for what may take as long as a directory is large.
func (c *control) sync(ctx context.Context, query url.Values) ([]daemon.SyncResult, error) {
	patient := *c
	patient.client.Timeout = 0
	var results []daemon.SyncResult
	err := patient.ask(ctx, http.MethodPost, "/directory/sync", query, &results)
	return results, err
}

// taken is how many recipients the pulls under way have heard of.
func (c *control) taken(ctx context.Context) (n int) {
	var st daemon.Status
	if c.ask(ctx, http.MethodGet, "/status", nil, &st) == nil { // else the pull itself will tell
		for _, s := range st.Sources {
			n += s.Taken
		}
	}
	return n
}

func (a *app) printSync(results []daemon.SyncResult) error {
	for _, r := range results {
		if r.Error != "" || len(r.Held) > 0 {
			a.code = 1
		}
	}
	if a.json {
		return a.printJSON(results)
	}
	if len(results) == 0 {
		a.printf("no source answers from a copy or a file\n")
	}
	for _, r := range results {
		a.printf("%s: %s\n", r.Source, syncText(&r))
		for _, l := range r.Held {
			if l.Domain == "" {
				a.printf("  nobody at all was found\n")
				continue
			}
			a.printf("  %s\n", lossText(&l))
		}
		if len(r.Held) > 0 {
			a.printf("  if that is right: backstop directory sync %s --confirm\n", r.Source)
		}
	}
	return nil
}

func lossText(l *daemon.Loss) string {
	text := fmt.Sprintf("%s loses %d of %d", l.Domain, l.Lost, l.Before)
	if fresh := l.After - (l.Before - l.Lost); fresh > 0 {
		text += fmt.Sprintf(", and has %d new ones", fresh)
	}
	return text
}

func syncText(r *daemon.SyncResult) string {
	took := time.Duration(r.Seconds * float64(time.Second)).Round(time.Millisecond)
	var b strings.Builder
	switch {
	case r.Error != "":
		return "not refreshed: " + r.Error
	case len(r.Held) > 0 && r.Before == 0:
		b.WriteString("held back, because too many would be lost; there is no copy, so every answer is 451")
	case len(r.Held) > 0:
		fmt.Fprintf(&b, "held back, because too many would be lost; the copy with %s stays", recipients(r.Before))
	case !r.Changed:
		fmt.Fprintf(&b, "nothing has changed, %s", recipients(r.Entries))
	default:
		fmt.Fprintf(&b, "%s, %d before", recipients(r.Entries), r.Before)
	}
	if r.Bad > 0 {
		fmt.Fprintf(&b, "; %d %s no address, and passed over", r.Bad, plural(r.Bad, "value is", "values are"))
	}
	fmt.Fprintf(&b, " (%s)", took)
	return b.String()
}

func recipients(n int) string { return fmt.Sprintf("%d %s", n, plural(n, "recipient", "recipients")) }
