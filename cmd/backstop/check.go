package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"backstop/internal/config"
)

// checkReport is what `backstop check --json` prints.
type checkReport struct {
	File     string        `json:"file"`
	OK       bool          `json:"ok"`
	Problems []problemJSON `json:"problems"`
	Warnings []problemJSON `json:"warnings"`
}

type problemJSON struct {
	File    string `json:"file"`
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

func (a *app) check() *cobra.Command {
	c := &cobra.Command{
		Use:   "check",
		Short: "Read the configuration and say what is wrong, all of it",
		Long: "Finds everything that serve would refuse, with line and column, and warns of what is\n" +
			"allowed and probably not meant.",
		Example: "  backstop check --config ./backstop.toml",
		Args:    wants(0, 0, "no argument"),
		RunE: func(*cobra.Command, []string) error {
			cfg, err := a.load()
			if a.json {
				return a.checkJSON(cfg, err)
			}
			if err != nil {
				return err
			}
			a.printWarnings(cfg)
			a.printf("%s: in order. %s\n", a.file, summary(cfg))
			return nil
		},
	}
	return c
}

func (a *app) checkJSON(cfg *config.Config, err error) error {
	r := checkReport{File: a.file, OK: err == nil, Problems: []problemJSON{}, Warnings: []problemJSON{}}
	var list *config.Errors
	switch {
	case errors.As(err, &list):
		r.Problems = problems(list.List)
	case err != nil:
		return err
	default:
		r.Warnings = problems(cfg.Warnings)
	}
	if !r.OK {
		a.code = 1
	}
	return a.printJSON(r)
}

func problems(list []config.Problem) []problemJSON {
	out := make([]problemJSON, len(list))
	for i, p := range list {
		out[i] = problemJSON(p)
	}
	return out
}

// printWarnings says on the standard error what is allowed and probably not meant.
func (a *app) printWarnings(cfg *config.Config) {
	for _, w := range cfg.Warnings {
		fmt.Fprintf(a.err, "backstop: warning: %s\n", oneLine(w.String()))
		if w.Hint != "" {
			fmt.Fprintf(a.err, "backstop: hint: %s\n", oneLine(w.Hint))
		}
	}
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
	return fmt.Sprintf("Listens on %s for %s; mode %s.", orNone(listeners), orNone(names), cfg.Mode)
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
