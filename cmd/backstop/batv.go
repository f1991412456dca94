package main

import (
	"time"

	"github.com/spf13/cobra"

	"backstop/internal/batv"
	"backstop/internal/keyfile"
	"backstop/internal/keyring"
	"backstop/internal/mail"
)

func (a *app) batv() *cobra.Command {
	c := &cobra.Command{
		Use:   "batv",
		Short: "Tags of envelope senders by hand: sign, verify",
		Long: "Makes and judges tags (BATV, prvs=…) with the keys of the state folder, as the daemon does.\n" +
			"Whether a domain's mail is tagged does not matter here.",
		Example: "  backstop batv sign ann@example.com\n  backstop batv verify prvs=1785a0b1c2=ann@example.com",
	}
	c.AddCommand(a.batvSign(), a.batvVerify())
	group(c)
	return c
}

// batvFlags are those of both commands.
type batvFlags struct{ state, at string }

func (f *batvFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.at, "at", "", "as at this `TIME` (RFC 3339)")
	stateFlag(c, &f.state)
}

// withRing gives all keys to do, and the moment: a key that was retired since counts where the moment is before that.
func (a *app) withRing(f batvFlags, do func(ring keyring.Ring, at time.Time) error) error {
	at, err := parseAt(f.at)
	if err != nil {
		return err
	}
	if at.IsZero() {
		at = time.Now()
	}
	return a.withKeys(f.state, func(file *keyfile.File) error { return do(file.All(), at) })
}

// signedAddress is what batv sign --json prints of an address.
type signedAddress struct {
	Address string      `json:"address"`
	Result  string      `json:"result"` // signed, or why not
	Tagged  string      `json:"tagged,omitempty"`
	Key     *keyring.ID `json:"key,omitempty"`
	Expires *time.Time  `json:"expires,omitempty"`
}

func (a *app) batvSign() *cobra.Command {
	var f batvFlags
	c := &cobra.Command{
		Use:   "sign ADDRESS…",
		Short: "Print addresses with a tag, as the daemon sends them out",
		Long: "Prints each address with its tag of the day. What takes no tag is printed as it is, with the\n" +
			"reason on the standard error; the exit code is then 1.",
		Example: "  backstop batv sign ann@example.com\n  backstop batv sign --at 2026-11-22T12:00:00Z ann@example.com",
		Args:    wants(1, -1, "an address"),
		RunE: func(_ *cobra.Command, args []string) error {
			senders := make([]mail.ReversePath, len(args))
			for i, arg := range args {
				var err error
				if senders[i], err = parseSender(arg); err != nil {
					return err
				}
			}
			return a.withRing(f, func(ring keyring.Ring, at time.Time) error {
				for _, s := range senders {
					if err := a.printSigned(ring, s.Address, at); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	f.add(c)
	return c
}

func (a *app) printSigned(ring keyring.Ring, sender mail.Address, at time.Time) error {
	to, result := batv.Sign(ring, sender, at)
	out := signedAddress{Address: sender.String(), Result: result.String()}
	if result == batv.Signed {
		found := batv.Verify(ring, to, at)
		out.Tagged, out.Key, out.Expires = to.String(), &found.Key, &found.Expires
	} else {
		a.code = 1
	}
	if a.json {
		return a.printJSON(out)
	}
	if result != batv.Signed {
		advice := map[batv.Signing]string{
			batv.TooLong: "a local part beyond 48 octets has no room for a tag",
			batv.NoKey:   "`backstop keys list` shows the keys; `backstop keys new` makes one",
		}[result]
		a.complainOne("<"+sender.String()+"> is left as it is: "+result.String(), advice)
		if sender.IsZero() {
			a.printf("<>\n")
			return nil
		}
	}
	a.printf("%s\n", to)
	return nil
}

// judgedAddress is what batv verify --json prints of an address.
type judgedAddress struct {
	Address  string      `json:"address"`
	Standing string      `json:"standing"`
	Scheme   string      `json:"scheme,omitempty"`
	For      string      `json:"for"` // the address without its tag
	Key      *keyring.ID `json:"key,omitempty"`
	Expires  *time.Time  `json:"expires,omitempty"`
}

func (a *app) batvVerify() *cobra.Command {
	var f batvFlags
	c := &cobra.Command{
		Use:   "verify ADDRESS…",
		Short: "Judge the tags of addresses",
		Long: "Prints what the tag of each address proves, whom it is for, its key, and when it expires. The\n" +
			"exit code is 0 when all are valid.",
		Example: "  backstop batv verify prvs=1785a0b1c2=ann@example.com\n  backstop batv verify --json --at 2026-11-22T12:00:00Z prvs=1785a0b1c2=ann@example.com",
		Args:    wants(1, -1, "an address"),
		RunE: func(_ *cobra.Command, args []string) error {
			addrs := make([]mail.Address, len(args))
			for i, arg := range args {
				var err error
				if addrs[i], err = parseRecipient(arg); err != nil {
					return err
				}
			}
			return a.withRing(f, func(ring keyring.Ring, at time.Time) error {
				for _, addr := range addrs {
					if err := a.printJudged(addr, batv.Verify(ring, addr, at)); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	f.add(c)
	return c
}

func (a *app) printJudged(addr mail.Address, f batv.Finding) error {
	if f.Standing != batv.Valid {
		a.code = 1
	}
	if a.json {
		out := judgedAddress{Address: addr.String(), Standing: f.Standing.String(), Scheme: f.Scheme.String(), For: f.Address.String(), Expires: moment(f.Expires)}
		if f.Scheme == batv.Prvs {
			out.Key = &f.Key
		}
		return a.printJSON(out)
	}
	switch who := "for " + f.Address.String(); f.Standing {
	case batv.Valid:
		a.printf("%s: valid, %s, key %v, until %s\n", addr, who, f.Key, instant(f.Expires))
	case batv.Expired:
		a.printf("%s: expired at %s, %s, key %v\n", addr, instant(f.Expires), who, f.Key)
	case batv.Forged:
		a.printf("%s: forged, %s: it is not what key %v makes of this address\n", addr, who, f.Key)
	case batv.UnknownKey:
		a.printf("%s: unknown key, %s: there is no key %v, or it is retired\n", addr, who, f.Key)
	case batv.Foreign:
		a.printf("%s: foreign, %s: a tag of the form %v, which others make\n", addr, who, f.Scheme)
	default:
		a.printf("%s: %s\n", addr, f.Standing)
	}
	return nil
}
