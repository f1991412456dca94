package main

import (
	"net/netip"
	"strings"

	"github.com/spf13/cobra"

	"backstop/internal/guide"
)

func (a *app) setup() *cobra.Command {
	var domain, gateway string
	c := &cobra.Command{
		Use:   "setup exchange|domino",
		Short: "Print what to switch on in the mail server behind, and what to configure here",
		Long: "Prints the steps that make the server tell at RCPT who exists, with the names of this\n" +
			"configuration where there is one, the matching part of the configuration, and how to\n" +
			"test both. Nothing is changed. `setup dns` prints DNS records.",
		Example:   "  backstop setup exchange --gateway 10.0.0.5\n  backstop setup domino --domain example.com",
		Args:      wants(1, 1, "one product: "+strings.Join(guide.Products(), " or ")),
		ValidArgs: guide.Products(),
		RunE: func(c *cobra.Command, args []string) error {
			p, err := a.place(domain, c.Flags().Changed("config"))
			if err != nil {
				return err
			}
			if p.Gateway = gateway; gateway != "" {
				if _, err := netip.ParseAddr(gateway); err != nil {
					return hint("--gateway takes the IP address from which the server behind sees Backstop connect", "%q is no IP address", gateway)
				}
			}
			g, err := guide.For(args[0], p)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(g)
			}
			a.printf("%s", g.Text())
			return nil
		},
	}
	c.AddCommand(a.setupDNS())
	c.Flags().StringVar(&domain, "domain", "", "for this `DOMAIN` alone")
	c.Flags().StringVar(&gateway, "gateway", "", "the IP `ADDRESS` from which the server behind sees Backstop connect")
	return c
}
