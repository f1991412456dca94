package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"

	"github.com/spf13/cobra"

	"backstop/internal/config"
	"backstop/internal/guide"
	"backstop/internal/mail"
	"backstop/internal/resolver"
)

// recordTime bounds the question about one record.
const recordTime = 10 * time.Second

func (a *app) setupDNS() *cobra.Command {
	var domain string
	var ask bool
	c := &cobra.Command{
		Use:   "dns",
		Short: "Print the DNS records for the domains: DKIM keys, and examples of SPF and DMARC",
		Long: "Prints the records of the DKIM keys that the configuration names, and examples of SPF and\n" +
			"DMARC records, as a part of a zone file. The examples are comments: adapt them first.\n" +
			"With --ask the DNS is asked what it has already. Nothing is changed.\n\n" +
			"The exit code is 0, and with --ask 1 when a record is missing or wrong, otherwise 2 when\n" +
			"the DNS could not be asked about one.",
		Example: "  backstop setup dns\n  backstop setup dns --domain example.com --ask",
		Args:    wants(0, 0, "no argument"),
		RunE: func(c *cobra.Command, _ []string) error {
			p, err := a.place(domain, c.Flags().Changed("config"))
			if err != nil {
				return err
			}
			z, err := guide.DNS(p)
			if err != nil {
				return err
			}
			if ask {
				if err := a.askRecords(c.Context(), &z, p.Config); err != nil {
					return err
				}
			}
			if a.json {
				return a.printJSON(z)
			}
			a.printf("%s", z.Text())
			return nil
		},
	}
	c.Flags().StringVar(&domain, "domain", "", "for this `DOMAIN` alone")
	c.Flags().BoolVar(&ask, "ask", false, "ask the DNS what it has already")
	return c
}

// place reads --domain, and the configuration if there is one; one that was named must be there.
func (a *app) place(domain string, named bool) (p guide.Place, err error) {
	if domain != "" {
		if p.Domain, err = mail.FoldDomain(domain); err != nil {
			return p, hint("--domain takes a name such as example.com", "%w", err)
		}
	}
	if _, err := os.Stat(a.file); !errors.Is(err, fs.ErrNotExist) || named {
		p.Config, err = a.load()
		return p, err
	}
	return p, nil
}

// askRecords asks the DNS for each of the records. cfg may be nil: then the system's servers are asked.
func (a *app) askRecords(ctx context.Context, z *guide.Zone, cfg *config.Config) error {
	var o resolver.Config
	if cfg != nil {
		o.Servers = cfg.DNS.Resolvers
	}
	r, err := resolver.New(o)
	if err != nil {
		return err
	}
	defer r.Close()
	stop := progress(a.err, "asking the DNS", nil)
	defer stop()
	for i := range z.Records {
		one, cancel := context.WithTimeout(ctx, recordTime)
		z.Records[i].Compare(r.LookupTXT(one, z.Records[i].Name))
		cancel()
		switch z.Records[i].Now {
		case "missing", "differs", "several":
			a.code = worse(a.code, 1)
		case "unknown":
			a.code = worse(a.code, 2)
		}
	}
	return ctx.Err()
}
