package main

import (
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"backstop/internal/config"
	"backstop/internal/guide"
	"backstop/internal/listen"
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
			"[policy], [socketmap], [tcp_table], [panel]), the milter alone where there is one, or for the\n" +
			"best one and its section where it has none. exchange and domino stand behind it: printed are\n" +
			"the steps that make them tell at RCPT who exists. Nothing is changed anywhere. `setup dns` prints DNS records.\n\n" +
			"With --verify nothing is printed to paste: the server is asked, as a stranger would, about\n" +
			"somebody who cannot exist and about the postmaster, without sending mail, and the running\n" +
			"daemon at which door it was asked. What was found, and what to look at, is said in words. The\n" +
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
	c.Flags().StringVar(&f.door, "door", "", "plug in by this `DOOR` alone, and with --verify look at it alone: milter, policy, socketmap, tcp_table or panel")
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
	p, err := a.besidePlace(product, f)
	if err != nil {
		return err
	}
	p.Door = f.door
	if f.told {
		p.Options = " --config " + shellWord(a.file)
	}
	p.Local = ownAddresses()
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

// besidePlace is place for one product. A configuration that is wrong for want of a door beside an MTA alone is what
// `setup` is there to complete, so it is taken as it will be with one.
func (a *app) besidePlace(product string, f *setupFlags) (guide.Place, error) {
	p, err := a.place(f.domain, f.told)
	if err == nil || !slices.Contains(guide.Beside(), product) {
		return p, err
	}
	cfg := doorless(a.file)
	if cfg == nil {
		return p, err
	}
	p.Config, p.Doorless = cfg, true
	return p, nil
}

// doorless reads a configuration that is right but for the want of a door beside an MTA; nil: there is more that is wrong.
// A door is put below its text in memory, and taken away again when all has been checked.
func doorless(file string) *config.Config {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	for _, door := range []string{"policy", "tcp_table"} { // the second where the file has the section of the first, with nothing in it
		cfg, err := config.Parse(file, append(slices.Clone(text), "\n["+door+"]\nlisten = \"systemd:setup\"\n"...))
		if err == nil {
			cfg.Policy.Listen, cfg.TCPTable.Listen = listen.Spec{}, listen.Spec{}
			return cfg
		}
	}
	return nil
}

// ownAddresses are those of this machine.
func ownAddresses() (own []netip.Addr) {
	all, _ := net.InterfaceAddrs() // without them a circle is not foreseen
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			own = append(own, p.Addr().Unmap().WithZone(""))
		}
	}
	return own
}

// shellWord is a file's name as the shell takes it.
func shellWord(name string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+,:@%", r) || r > 0x7f
	}
	if name != "" && !strings.ContainsFunc(name, func(r rune) bool { return !plain(r) }) {
		return name
	}
	return "'" + strings.ReplaceAll(name, "'", `'\''`) + "'"
}
