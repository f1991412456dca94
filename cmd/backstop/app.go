package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"backstop/internal/config"
	"backstop/internal/daemon"
)

// defaultConfig is the file that is read when --config does not name one.
const defaultConfig = "/etc/backstop/backstop.toml"

// app is what the subcommands share: where to read and write, and the flags that all have.
type app struct {
	in       io.Reader
	out, err io.Writer

	file string // --config
	json bool   // --json
	code int    // exit code of a command that found what it looked for
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "backstop",
		Short: "An SMTP gateway that makes backscatter impossible",
		Long: "Backstop stands in front of a mail server, or beside one: as a gateway on port 25,\n" +
			"or as a milter, policy service or map that Postfix, Sendmail and Exim ask. Every\n" +
			"recipient is decided inside the sender's own SMTP conversation, and mail is handed\n" +
			"through or left to the server: Backstop never owns a message, so it cannot bounce one.",
		Example: "  backstop demo\n" +
			"  backstop serve --listen :2525 --relay example.com=10.0.0.5:25\n" +
			"  backstop setup postfix\n" +
			"  backstop check --config ./backstop.toml\n" +
			"  backstop explain --client 192.0.2.7 --from ann@example.org --to bob@example.com",
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.PersistentFlags().StringVar(&a.file, "config", defaultConfig, "the configuration `FILE`")
	root.PersistentFlags().BoolVar(&a.json, "json", false, "print JSON instead of text")
	root.SetFlagErrorFunc(flagError)
	root.AddCommand(
		a.serve(), a.demo(), a.check(), a.explain(), a.lookup(), a.directory(), a.batv(), a.keys(), a.setup(), a.status(), a.bounces(), a.audit(), a.listed(), a.scan(), a.version(), a.completion(), a.man(),
	)
	root.CompletionOptions.DisableDefaultCmd = true // completion.go has one with examples
	group(root)
	return root
}

// group makes a command that only holds others: alone it shows its help, with an
// unknown subcommand it fails in one line.
func group(c *cobra.Command) {
	c.SuggestionsMinimumDistance = 2
	c.Args = cobra.ArbitraryArgs
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return c.Help()
		}
		return unknownCommand(c, args[0])
	}
}

// load reads the configuration that --config names.
func (a *app) load() (*config.Config, error) { return config.Load(a.file) }

// offline builds the daemon of the configuration without starting it, to decide
// and not to serve, and gives it to f.
func (a *app) offline(ctx context.Context, f func(*daemon.Daemon) error) error {
	cfg, err := a.load()
	if err != nil {
		return err
	}
	d, err := daemon.New(cfg, daemon.Options{Offline: true})
	if err != nil {
		return err
	}
	for _, what := range d.Unread() {
		a.complainOne("warning: "+what, "run it as root, or as the daemon's user")
	}
	return errors.Join(f(d), d.Stop(context.WithoutCancel(ctx)))
}

// printJSON writes v as one line.
func (a *app) printJSON(v any) error {
	e := json.NewEncoder(a.out)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// printf writes to the standard output. Its error is the reader's own going away.
func (a *app) printf(format string, args ...any) { fmt.Fprintf(a.out, format, args...) }

// table makes an empty table in the house's one style: no frame, two spaces between columns.
func (a *app) table(head ...any) table.Writer {
	t := table.NewWriter()
	s := table.StyleDefault
	s.Options = table.OptionsNoBordersAndSeparators
	s.Box.PaddingLeft, s.Box.PaddingRight = "", "  "
	s.Format.Header = 0
	t.SetStyle(s)
	if len(head) > 0 {
		t.AppendHeader(head)
	}
	return t
}

// printTable writes t without the spaces that pad its last column.
func (a *app) printTable(t table.Writer) {
	if t.Length() == 0 {
		return
	}
	for line := range strings.Lines(t.Render() + "\n") {
		a.printf("%s\n", strings.TrimRight(line, " \n"))
	}
}
