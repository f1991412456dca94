package main

import (
	"net/netip"
	"strings"

	"github.com/spf13/cobra"

	"backstop/internal/guide"
)

// setupFlags are what `setup` is told besides the product.
type setupFlags struct {
	domain, gateway, door string
	server, source, state string // of --verify
	verifyGiven, told     bool
}

func (a *app) setup() *cobra.Command {
	var f setupFlags
	c := &cobra.Command{
		Use:   "setup postfix|sendmail|exim|exchange|domino",
		Short: "Print the lines that plug Backstop into a mail server, or test whether they work",
		Long: "postfix, sendmail and exim stand beside Backstop and ask it during the session: printed\n" +
			"are the lines to paste there, for the doors that this configuration has ([milter],\n" +
			"[policy], [socketmap], [tcp_table], [panel]), or for the best one and its section where it\n" +
			"has none. exchange and domino stand behind it: printed are the steps that make them tell at\n" +
			"RCPT who exists. Nothing is changed anywhere. `setup dns` prints DNS records.\n\n" +
			"With --verify nothing is printed to paste: the server is asked, as a stranger would, about\n" +
			"somebody who cannot exist and about the postmaster, without sending mail, and the running\n" +
			"daemon whether it was asked. What was found, and what to look at, is said in words. The\n" +
			"exit code is then 0 when it works, 1 when it does not, and 2 when that cannot be told.",
		Example: "  backstop setup postfix\n  backstop setup postfix --door policy\n  backstop setup postfix --verify mx.example.com\n" +
			"  backstop setup sendmail --verify 192.0.2.25:25 --source 192.0.2.26 --domain example.com\n" +
			"  backstop setup exim --json\n  backstop setup exchange --gateway 10.0.0.5\n  backstop setup domino --domain example.com",
		Args:      wants(1, 1, "one product: "+products()),
		ValidArgs: guide.Products(),
		RunE: func(c *cobra.Command, args []string) error {
			f.told = c.Flags().Changed("config")
			f.verifyGiven = c.Flags().Changed("verify")
			return a.runSetup(c, args[0], &f)
		},
	}
	c.AddCommand(a.setupDNS())
	c.Flags().StringVar(&f.domain, "domain", "", "for this `DOMAIN` alone")
	c.Flags().StringVar(&f.gateway, "gateway", "", "the IP `ADDRESS` of Backstop as the server sees it, where that is another machine")
	c.Flags().StringVar(&f.door, "door", "", "plug in by this `DOOR` alone: milter, policy, socketmap, tcp_table or panel")
	c.Flags().StringVar(&f.server, "verify", "", "ask the server at `HOST[:PORT]` whether it works (port 25)")
	c.Flags().StringVar(&f.source, "source", "", "with --verify, connect from this `ADDRESS` of this machine")
	stateFlag(c, &f.state)
	return c
}

// products are all of them, in a sentence.
func products() string {
	all := guide.Products()
	return strings.Join(all[:len(all)-1], ", ") + " or " + all[len(all)-1]
}

func (a *app) runSetup(c *cobra.Command, product string, f *setupFlags) error {
	p, err := a.place(f.domain, f.told)
	if err != nil {
		return err
	}
	p.Door = f.door
	if p.Gateway = f.gateway; p.Gateway != "" {
		if _, err := netip.ParseAddr(p.Gateway); err != nil {
			return hint("--gateway takes the IP address at which the server sees Backstop", "%q is no IP address", p.Gateway)
		}
	}
	g, err := guide.For(product, p)
	if err != nil {
		return err
	}
	if f.verifyGiven {
		return a.verify(c.Context(), &g, &p, f)
	}
	if a.json {
		return a.printJSON(g)
	}
	a.printf("%s", g.Text())
	return nil
}
