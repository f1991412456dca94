package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"

	"backstop/internal/daemon"
	"backstop/internal/session"
)

// explainFlags are the transaction to explain, as it was written.
type explainFlags struct {
	client, helo, from, message, at string
	to                              []string
	noAsk, outbound                 bool
}

func (a *app) explain() *cobra.Command {
	var f explainFlags
	c := &cobra.Command{
		Use:   "explain --client IP --from ADDR --to ADDR | explain -",
		Short: "Decide one transaction without sending mail, and say why",
		Long: "Prints every rule that was weighed, what it found, and the SMTP reply.\n\n" +
			"With - it reads lines `client IP`, `helo NAME`, `from ADDR` and `to ADDR` from the\n" +
			"standard input, and answers each `to` line with what was given before it.\n\n" +
			"The exit code is 0 for accept, 1 for refuse, 2 for defer, 3 for an error. Of several\n" +
			"recipients or lines the worst counts: refused before deferred before accepted.",
		Example: "  backstop explain --client 192.0.2.7 --from ann@example.org --to bob@example.com\n" +
			"  backstop explain --client 192.0.2.7 --from '<>' --to bob@example.com --no-ask --json\n" +
			"  printf 'client 192.0.2.7\\nfrom ann@example.org\\nto bob@example.com\\n' | backstop explain -",
		Args: explainArgs,
		RunE: func(c *cobra.Command, args []string) error {
			req, err := f.request(len(args) > 0, c)
			if err != nil {
				return err
			}
			if err := a.hasOutbound(f.outbound); err != nil {
				return err
			}
			return a.offline(c.Context(), func(d *daemon.Daemon) error {
				if len(args) > 0 {
					return a.explainLines(c.Context(), d, req, c.Flags().Changed("from"))
				}
				res, err := a.decide(c.Context(), d, req)
				if err != nil {
					return err
				}
				return a.printExplained(res)
			})
		},
	}
	c.Flags().StringVar(&f.client, "client", "", "the client's `IP` address")
	c.Flags().StringVar(&f.helo, "helo", "", "the `NAME` that the client gives in HELO")
	c.Flags().StringVar(&f.from, "from", "", "the envelope sender `ADDR`; '<>' is the null sender")
	c.Flags().StringArrayVar(&f.to, "to", nil, "a recipient `ADDR`; may be repeated")
	c.Flags().StringVar(&f.message, "message", "", "the message, headers and body, in a `FILE`")
	c.Flags().BoolVar(&f.noAsk, "no-ask", false, "consult no other server: only lists and what is remembered")
	c.Flags().BoolVar(&f.outbound, "outbound", false, "decide as mail that leaves by [outbound] or [milter]")
	c.Flags().StringVar(&f.at, "at", "", "decide as at this `TIME` (RFC 3339)")
	return c
}

// hasOutbound says whether the door that is asked about exists.
func (a *app) hasOutbound(asked bool) error {
	if !asked {
		return nil
	}
	cfg, err := a.load()
	if err == nil && !cfg.Sends() {
		err = hint("leave --outbound out, or write a section: docs/outbound.md, docs/beside.md", "%s has neither [outbound] nor [milter], so nothing leaves by it", a.file)
	}
	return err
}

func explainArgs(c *cobra.Command, args []string) error {
	if len(args) == 1 && args[0] == "-" || len(args) == 0 {
		return nil
	}
	return hint("use --client, --from and --to, or - to read lines", "explain does not understand %q", args[0])
}

// request checks the flags; lines says that client, from and to come from the standard input.
func (f *explainFlags) request(lines bool, c *cobra.Command) (req daemon.ExplainRequest, err error) {
	req.Helo, req.NoAsk, req.Outbound = f.helo, f.noAsk, f.outbound
	if req.At, err = parseAt(f.at); err != nil {
		return req, err
	}
	if f.client != "" {
		if req.Client, err = parseClient(f.client); err != nil {
			return req, err
		}
	}
	if req.From, err = parseSender(f.from); err != nil {
		return req, err
	}
	for _, t := range f.to {
		to, err := parseRecipient(t)
		if err != nil {
			return req, err
		}
		req.To = append(req.To, to)
	}
	if f.message != "" {
		if req.Message, err = os.ReadFile(f.message); err != nil {
			return req, hint("--message names a file with the message as it would be sent, headers first", "cannot read the message: %w", err)
		}
	}
	if lines {
		return req, nil
	}
	for _, name := range []string{"client", "from", "to"} {
		if !c.Flags().Changed(name) {
			return req, hint("`backstop explain --help` shows an example", "explain needs --%s", name)
		}
	}
	return req, nil
}

// explainLines answers the lines of the standard input. from says that a sender
// came as a flag: nobody's silence stands for the null sender, which is judged as one.
func (a *app) explainLines(ctx context.Context, d *daemon.Daemon, req daemon.ExplainRequest, from bool) error {
	in := bufio.NewScanner(a.in)
	for n := 1; in.Scan(); n++ {
		word, arg, _ := strings.Cut(strings.TrimSpace(in.Text()), " ")
		var err error
		switch arg = strings.TrimSpace(arg); word {
		case "client":
			req.Client, err = parseClient(arg)
		case "helo":
			req.Helo = arg
		case "from":
			req.From, err = parseSender(arg)
			from = true
		case "to":
			if !from {
				err = hint("write a line `from ADDR` before it; `from <>` is the null sender", "no sender is known for this recipient")
				break
			}
			err = a.explainOne(ctx, d, req, arg)
		case "":
		default:
			if !strings.HasPrefix(word, "#") {
				err = hint("a line is `client IP`, `helo NAME`, `from ADDR` or `to ADDR`", "%q is not understood", word)
			}
		}
		if err != nil {
			return at(fmt.Sprintf("standard input:%d", n), err)
		}
	}
	return in.Err()
}

func (a *app) explainOne(ctx context.Context, d *daemon.Daemon, req daemon.ExplainRequest, arg string) error {
	if !req.Client.IsValid() {
		return hint("write a line `client IP` before it", "no client is known for this recipient")
	}
	to, err := parseRecipient(arg)
	if err != nil {
		return err
	}
	req.To = append(req.To[:0:0], to)
	res, err := a.decide(ctx, d, req)
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(res)
	}
	a.printf("%s: %s %s %s\n", to, res.Verdict, res.Rule, res.Reply)
	return nil
}

// decide asks for one verdict and notes its exit code.
func (a *app) decide(ctx context.Context, d *daemon.Daemon, req daemon.ExplainRequest) (daemon.ExplainResult, error) {
	defer progress(a.err, "asking", nil)()
	res, err := d.Explain(ctx, req)
	if err == nil {
		a.code = worse(a.code, exitOf(res.Verdict))
	}
	return res, err
}

// exitOf is the exit code for a verdict.
func exitOf(verdict string) int {
	switch verdict {
	case "accept", "redirect":
		return 0
	case "refuse":
		return 1
	}
	return 2
}

// worse is the exit code of the worse of two verdicts: refused, deferred, accepted.
func worse(a, b int) int {
	if a == 1 || b == 1 {
		return 1
	}
	return max(a, b)
}

// notedMark is how the finding of a rule ends that objects and is not obeyed.
const notedMark = "(watch: would object)"

// leastFinding is the narrowest column into which findings are broken; on smaller terminals they are left to it.
const leastFinding = 24

func (a *app) printExplained(res daemon.ExplainResult) error {
	if a.json {
		return a.printJSON(res)
	}
	t, noted := a.trailTable(res.Trail, terminalWidth(a.out))
	a.printTable(t)
	a.printf("\n")
	if len(res.Recipients) > 1 {
		for _, r := range res.Recipients {
			a.printf("%s: %s, rule %s\n%s\n", r.To, r.Verdict, r.Rule, r.Reply)
		}
		a.printf("\nall in all: ")
	}
	a.printf("%s at %s, rule %s\n", res.Verdict, res.Stage, res.Rule)
	if len(noted) > 0 {
		a.printf("only noted (watch): %s would have objected\n", strings.Join(noted, ", "))
	}
	a.printf("%s\n", res.Reply)
	return nil
}

// trailTable is the table of what was weighed, with its findings broken to fit into width (0: any), and the rules that
// were only noted.
func (a *app) trailTable(trail []session.StepExplained, width int) (t table.Writer, noted []string) {
	t = a.table("rule", "finding", "effect", "ms")
	widest := 0
	for _, s := range trail {
		t.AppendRow(table.Row{s.Rule, s.Finding, s.Effect, fmt.Sprintf("%.1f", s.MS)})
		widest = max(widest, len(s.Rule))
		if strings.HasSuffix(s.Finding, notedMark) && !slices.Contains(noted, s.Rule) {
			noted = append(noted, s.Rule)
		}
	}
	if most := width - widest - len("    redirect  10000.0"); most >= leastFinding {
		t.SetColumnConfigs([]table.ColumnConfig{{Number: 2, WidthMax: most, WidthMaxEnforcer: text.WrapSoft}})
	}
	return t, noted
}
