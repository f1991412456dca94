package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"backstop/internal/config"
	"backstop/internal/daemon"
	"backstop/internal/directory/watch"
	"backstop/internal/keyfile"
	"backstop/internal/listen"
)

// checkReport is what `backstop check --json` prints.
type checkReport struct {
	File     string          `json:"file"`
	OK       bool            `json:"ok"`
	Problems []problemJSON   `json:"problems"`
	Warnings []problemJSON   `json:"warnings"`
	Asked    []daemon.Probed `json:"asked,omitempty"`
}

type problemJSON struct {
	File    string `json:"file"`
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

func (a *app) check() *cobra.Command {
	var ask bool
	c := &cobra.Command{
		Use:   "check",
		Short: "Read the configuration and say what is wrong, all of it",
		Long: "Finds everything that serve would refuse, with line and column, and warns of what is\n" +
			"allowed and probably not meant. Nobody is asked anything, except with --ask: then each\n" +
			"source is asked, for each domain, about somebody who cannot exist and about the\n" +
			"postmaster, and each downstream about its postmaster; with [outbound] the mailboxes of\n" +
			"bounce_to are asked about as well, and the DNS where it matters. No mail is sent.\n\n" +
			"The exit code is 0 when all is in order, and 1 when something is wrong, or with --ask\n" +
			"when somebody who was asked is down, or a source says yes to anybody.",
		Example: "  backstop check --config ./backstop.toml\n  backstop check --ask",
		Args:    wants(0, 0, "no argument"),
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := a.load()
			r, err := report(a.file, cfg, err)
			if err != nil {
				return err
			}
			if ask && r.OK {
				if r.Asked, err = a.probe(c.Context()); err != nil {
					return err
				}
			}
			return a.printReport(r, cfg)
		},
	}
	c.Flags().BoolVar(&ask, "ask", false, "also ask each source and each downstream whether it answers")
	return c
}

// report puts the mistakes of a configuration into their JSON form; an error
// that is no list of mistakes is returned.
func report(file string, cfg *config.Config, err error) (checkReport, error) {
	r := checkReport{File: file, OK: err == nil, Problems: []problemJSON{}, Warnings: []problemJSON{}}
	if err == nil {
		wrong, warned := daemon.CheckFiles(cfg)
		r.Problems, r.Warnings = problems(wrong), problems(slices.Concat(cfg.Warnings, warned))
		wrong, warned = checkKeys(cfg.State)
		r.Problems, r.Warnings = append(r.Problems, problems(wrong)...), append(r.Warnings, problems(warned)...)
		r.OK = len(r.Problems) == 0
		return r, nil
	}
	var list *config.Errors
	if !errors.As(err, &list) {
		return r, err
	}
	r.Problems = problems(list.List)
	return r, nil
}

// checkKeys looks at the file of keys, if there is one and we may read it: serve does not start with a broken one.
func checkKeys(state string) (wrong, warned []config.Problem) {
	if state == "" {
		return nil, nil
	}
	path := filepath.Join(state, keyfile.Name)
	if in, err := os.Open(path); err != nil {
		return nil, nil
	} else {
		in.Close()
	}
	f, err := keyfile.Open(state, keyfile.Options{NoEvents: true})
	if err != nil {
		p := config.Problem{File: path, Message: err.Error(), Hint: adviceOf(err)}
		var placed *watch.Mistake
		if errors.As(err, &placed) {
			p.Line, p.Message = placed.Line, placed.Message
		}
		return []config.Problem{p}, nil
	}
	defer f.Close()
	if f.State().Exposed {
		warned = append(warned, config.Problem{File: path, Message: "others than its owner may read the keys", Hint: "chmod 600 it; if somebody else had it, make a new key and retire the others"})
	}
	return nil, warned
}

// probe asks sources and downstreams.
func (a *app) probe(ctx context.Context) (asked []daemon.Probed, err error) {
	defer progress(a.err, "asking", nil)()
	err = a.offline(ctx, func(d *daemon.Daemon) error {
		asked = d.Probe(ctx)
		return nil
	})
	return asked, err
}

// printReport prints r, of cfg where there is one, and sets the exit code.
func (a *app) printReport(r checkReport, cfg *config.Config) error {
	if !r.OK {
		a.code = 1
	}
	for _, p := range r.Asked {
		if p.State == "down" || p.State == "blind" {
			a.code = 1
		}
	}
	if a.json {
		return a.printJSON(r)
	}
	for _, p := range r.Problems {
		a.complainOne(config.Problem(p).String(), p.Hint)
	}
	for _, w := range r.Warnings {
		a.complainOne("warning: "+config.Problem(w).String(), w.Hint)
	}
	if !r.OK {
		return nil
	}
	a.printf("%s: in order. %s\n", r.File, summary(cfg))
	if len(r.Asked) > 0 {
		a.printf("\n")
	}
	t := a.table()
	for _, p := range r.Asked {
		t.AppendRow(table.Row{p.Kind, p.Name, p.State, fmt.Sprintf("%.1f ms", p.MS), p.Detail})
	}
	a.printTable(t)
	a.printAdvice(r.Asked)
	return nil
}

// printAdvice says what the states that should not be come to for mail, and what to do.
func (a *app) printAdvice(asked []daemon.Probed) {
	seen := map[string]bool{}
	for _, p := range asked {
		seen[p.Kind+" "+p.State] = true
	}
	for _, l := range []struct{ state, text string }{
		{"source blind", "it says yes to anybody, so nobody is refused on its word and it may send backscatter:\nmake it refuse unknown recipients at RCPT, or name another source"},
		{"source down", "it did not say whether a recipient exists: as long as that lasts, nobody is refused as unknown on its word"},
		{"downstream down", "no mail can be handed to it: as long as that lasts, its senders are told 451"},
		{"bounce_to down", "what is kept from leaving goes to that mailbox, and would be deferred, or lost: name one that exists"},
		{"dns down", "senders cannot be checked: as long as that lasts, nobody is refused for SPF or DMARC, and who claims a domain\nwith forged = \"refuse\" is told 451"},
	} {
		if seen[l.state] {
			a.printf("\n%s: %s\n", l.state, l.text)
		}
	}
}

func problems(list []config.Problem) []problemJSON {
	out := make([]problemJSON, len(list))
	for i, p := range list {
		out[i] = problemJSON(p)
	}
	return out
}

// summary is what a configuration sets up, in one sentence.
func summary(cfg *config.Config) string {
	listeners := make([]string, len(cfg.SMTP.Listen))
	for i, l := range cfg.SMTP.Listen {
		listeners[i] = l.String()
	}
	names := make([]string, len(cfg.Domains))
	for i, d := range cfg.Domains {
		names[i] = d.Name
	}
	for _, b := range []struct {
		spec listen.Spec
		name string
	}{{cfg.Milter.Listen, "milter"}, {cfg.Policy.Listen, "policy service"}, {cfg.Socketmap.Listen, "socketmap"}, {cfg.TCPTable.Listen, "tcp_table"}, {cfg.Panel.Listen, "panel"}} {
		if b.spec != (listen.Spec{}) {
			listeners = append(listeners, fmt.Sprintf("%s as %s", b.spec, b.name))
		}
	}
	out := ""
	if o := cfg.Outbound; o != nil {
		doors := make([]string, len(o.Listen))
		for i, l := range o.Listen {
			doors[i] = l.String()
		}
		out = fmt.Sprintf(", and on %s for what your own servers send", orNone(doors))
	}
	return fmt.Sprintf("Listens on %s for %s%s; mode %s.", orNone(listeners), orNone(names), out, cfg.Mode)
}

// orNone lists names, the first few by name.
func orNone(names []string) string {
	const few = 5
	switch {
	case len(names) == 0:
		return "nothing"
	case len(names) > few:
		return fmt.Sprintf("%s and %d more", strings.Join(names[:few], ", "), len(names)-few)
	}
	return strings.Join(names, ", ")
}
