package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"backstop/internal/blocklist"
	"backstop/internal/config"
	"backstop/internal/resolver"
)

// mostListed is how many addresses one run asks about: lists count who asks them how often.
const mostListed = 256

type listedFlags struct {
	lists, resolvers []string
}

// listedAddress is what is printed of one address.
type listedAddress struct {
	Address  string       `json:"address"`
	Standing string       `json:"standing"` // clean, listed, or unknown
	Lists    []listedList `json:"lists"`
}

// listedList is what one list says of it.
type listedList struct {
	List     string   `json:"list"`
	Standing string   `json:"standing"`          // clean, listed, not-covered, or unknown
	Codes    []string `json:"codes,omitempty"`   // listed: the list's answers
	Meaning  []string `json:"meaning,omitempty"` // listed: of the codes, each once
	Text     []string `json:"text,omitempty"`    // listed: what the list says of the address
	Off      string   `json:"off,omitempty"`     // listed: how it comes off
	URL      string   `json:"url,omitempty"`     // listed: the list's page
	Detail   string   `json:"detail,omitempty"`  // not-covered, unknown: why
	MS       float64  `json:"ms"`
}

func (a *app) listed() *cobra.Command {
	var f listedFlags
	c := &cobra.Command{
		Use:   "listed [IP…]",
		Short: "Ask the DNS blocklists that list senders of backscatter",
		Long: "Asks each list about each address, and prints what it says, what that means, and how the\n" +
			"address comes off. A list is believed only if its test entries show that it answers: where\n" +
			"it refuses, or a resolver answers in its place, the result is \"cannot tell\" and never\n" +
			"\"not listed\".\n\n" +
			"Without an address it asks about those of [blocklists] watch in the configuration, or about\n" +
			"the public addresses of this machine. No configuration is needed.\n\n" +
			"The exit code is 0 when no list has an address, 1 when one has, otherwise 2 when one could\n" +
			"not be asked (or none lists such addresses, or it was interrupted), 3 for an error.",
		Example: "  backstop listed 192.0.2.25\n  backstop listed --resolver 127.0.0.1 --list bl.example.org 192.0.2.25 2001:db8::25\n  backstop listed --json",
		RunE: func(c *cobra.Command, args []string) error {
			return a.runListed(c.Context(), f, args, c.Flags().Changed("config"))
		},
	}
	c.Flags().StringArrayVar(&f.lists, "list", nil, "ask the list of this `ZONE` instead of the usual ones; may be given several times")
	c.Flags().StringArrayVar(&f.resolvers, "resolver", nil, "ask this DNS server (`IP[:PORT]`) instead of those of the configuration or the system")
	return c
}

func (a *app) runListed(ctx context.Context, f listedFlags, args []string, named bool) error {
	what, err := a.listedWhat(ctx, f, args, named)
	if err != nil {
		return err
	}
	r, err := resolver.New(resolver.Config{Servers: what.resolvers})
	if err != nil {
		return err
	}
	defer r.Close()
	var done atomic.Int64
	total := len(what.zones) * len(what.addrs)
	stop := progress(a.err, "asked of the lists", func() (int, int) { return int(done.Load()), total })
	defer stop()
	checker := blocklist.Checker{Resolver: r, Told: func(blocklist.Result) { done.Add(1) }}
	results := checker.Check(ctx, what.zones, what.addrs)
	stop()
	if ctx.Err() != nil {
		return a.listedCut(what, results)
	}
	if err := a.printAllListed(what, results); err != nil {
		return err
	}
	if !a.json {
		a.adviseListed(what, results)
	}
	return nil
}

func (a *app) printAllListed(what listedQuestion, results []blocklist.Result) error {
	for i := range what.addrs {
		if i > 0 && !a.json {
			a.printf("\n")
		}
		if err := a.printListed(results[i*len(what.zones) : (i+1)*len(what.zones)]); err != nil {
			return err
		}
	}
	return nil
}

// listedCut prints what was found out before the run was interrupted: the addresses of which some list has told.
func (a *app) listedCut(what listedQuestion, results []blocklist.Result) error {
	var told []blocklist.Result
	var addrs []netip.Addr
	for i, addr := range what.addrs {
		of := results[i*len(what.zones) : (i+1)*len(what.zones)]
		if !slices.ContainsFunc(of, func(r blocklist.Result) bool { return r.Standing != blocklist.Unknown }) {
			continue
		}
		for _, r := range of {
			if r.Standing == blocklist.Unknown {
				r.Why = "interrupted"
			}
			told = append(told, r)
		}
		addrs = append(addrs, addr)
	}
	a.code = worse(a.code, 2)
	asked := len(what.addrs)
	what.addrs = addrs
	if err := a.printAllListed(what, told); err != nil {
		return err
	}
	a.complainOne(fmt.Sprintf("interrupted: of %d of %d addresses something was found out", len(addrs), asked), "")
	return nil
}

// listedQuestion is what is to be asked, of whom.
type listedQuestion struct {
	zones     []string
	addrs     []netip.Addr
	resolvers []netip.AddrPort // empty: those of the system
	own       bool             // they were named with --resolver
}

// another is what to ask through where these could not tell.
func (q listedQuestion) another() string {
	if q.own {
		return "another resolver"
	}
	return "a resolver"
}

// listedWhat takes what flags and arguments give, and the rest from the configuration, if there is one.
func (a *app) listedWhat(ctx context.Context, f listedFlags, args []string, named bool) (q listedQuestion, err error) {
	if q.zones, err = each(f.lists, config.ParseZone); err == nil {
		q.addrs, err = each(args, config.ParsePublicAddress)
	}
	wrong := err
	if q.resolvers, err = each(f.resolvers, config.ParseResolver); err == nil && wrong != nil {
		err = addressesOf(ctx, args, q.resolvers, wrong)
	}
	if err != nil {
		return q, err
	}
	q.own = len(q.resolvers) > 0
	if len(q.zones) == 0 || len(q.resolvers) == 0 || len(q.addrs) == 0 {
		if err := a.listedConfig(&q, named); err != nil {
			return q, err
		}
	}
	if len(q.addrs) == 0 {
		if own, err := net.InterfaceAddrs(); err == nil {
			q.addrs = publicOf(own)
		}
	}
	switch {
	case len(q.addrs) == 0:
		return q, hint("`backstop listed IP`; behind NAT it is the address of the router", "this machine has no public address: say which one to ask about")
	case len(q.addrs) > mostListed:
		return q, hint("lists count who asks them how often: take a part of them", "%d addresses at once are too many, %d are the most", len(q.addrs), mostListed)
	}
	return q, nil
}

// addressesOf is the error for whoever gave a name in place of an address: it says which ones the name has. For anything else it is err.
func addressesOf(ctx context.Context, args []string, servers []netip.AddrPort, err error) error {
	at := slices.IndexFunc(args, func(s string) bool {
		_, no := config.ParsePublicAddress(s)
		return no != nil
	})
	if at < 0 {
		return err // it is not about an address
	}
	name := args[at]
	if _, no := config.ParseZone(name); no != nil || !strings.ContainsFunc(name, unicode.IsLetter) {
		return err
	}
	r, no := resolver.New(resolver.Config{Servers: servers})
	if no != nil {
		return err
	}
	defer r.Close()
	has, _ := r.LookupIPAddr(ctx, name) // half of them is better than none
	var addrs []string
	for _, ip := range has {
		addrs = append(addrs, ip.String())
	}
	if len(addrs) == 0 {
		return err
	}
	return hint("if your mail leaves from there: `backstop listed "+strings.Join(addrs, " ")+"`", "%q is a name: lists are asked about IP addresses", name)
}

// each parses all of the texts; what comes twice is taken once.
func each[T comparable](list []string, parse func(string) (T, error)) (out []T, err error) {
	for _, s := range list {
		v, err := parse(s)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	return out, nil
}

// listedConfig fills in what was not given. A configuration that was not named need not be there, nor in order.
func (a *app) listedConfig(q *listedQuestion, named bool) error {
	lists := config.DefaultBlocklists()
	_, err := os.Stat(a.file)
	absent := errors.Is(err, fs.ErrNotExist)
	if named || !absent {
		cfg, err := a.load()
		switch {
		case absent:
			return hint("name another with --config, or do without: `backstop listed IP` needs none", "%s: cannot read the configuration: no such file or directory", a.file)
		case err != nil && named:
			return err
		case err != nil:
			a.complainOne("warning: "+a.file+" cannot be used, so the usual lists are asked through the system's DNS servers", "`backstop check` says what is wrong")
		default:
			if len(cfg.Blocklists.Lists) > 0 {
				lists = cfg.Blocklists.Lists
			}
			if len(q.addrs) == 0 {
				q.addrs = cfg.Blocklists.Watch
			}
			if len(q.resolvers) == 0 {
				q.resolvers = cfg.DNS.Resolvers
			}
		}
	}
	if len(q.zones) == 0 {
		q.zones = lists
	}
	return nil
}

// publicOf are those of a machine's addresses that a list can have.
func publicOf(own []net.Addr) (out []netip.Addr) {
	for _, n := range own {
		p, err := netip.ParsePrefix(n.String())
		if err != nil {
			continue
		}
		if a, err := config.ParsePublicAddress(p.Addr().String()); err == nil && !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	return out
}

// printListed prints what the lists say of one address.
func (a *app) printListed(results []blocklist.Result) error {
	overall := blocklist.Overall(results)
	a.code = worse(a.code, map[blocklist.Standing]int{blocklist.Clean: 0, blocklist.Listed: 1, blocklist.Unknown: 2}[overall])
	if a.json {
		return a.printJSON(listedJSON(overall, results))
	}
	on := 0
	t := a.table()
	var more []string
	for _, r := range results {
		list := blocklist.Known(r.Zone)
		row := table.Row{"  " + r.Zone, listedWord(r.Standing), "", r.Why}
		if r.Standing == blocklist.Listed {
			on++
			row[2], row[3] = strings.Join(codesOf(r), " "), strings.Join(meaningsOf(list, r), "; ")
			more = append(more, listedMore(list, r)...)
		}
		t.AppendRow(row)
	}
	a.printf("%s: %s\n", results[0].Address, listedHead(overall, on, len(results)))
	a.printTable(t)
	for _, line := range more {
		a.printf("%s\n", line)
	}
	return nil
}

func listedHead(overall blocklist.Standing, on, of int) string {
	lists := "lists"
	if of == 1 {
		lists = "list"
	}
	switch overall {
	case blocklist.Listed:
		return fmt.Sprintf("listed, on %d of %d %s", on, of, lists)
	case blocklist.Clean:
		return "not listed"
	}
	return "cannot tell"
}

func listedWord(s blocklist.Standing) string {
	return map[blocklist.Standing]string{blocklist.Clean: "not listed", blocklist.Listed: "LISTED", blocklist.NotCovered: "not covered", blocklist.Unknown: "cannot tell"}[s]
}

// listedMore is what is told below the table of a list that has the address.
func listedMore(list blocklist.List, r blocklist.Result) []string {
	lines := []string{"", "  " + list.Name + ":"}
	for _, t := range r.Text {
		lines = append(lines, "    it says         "+t)
	}
	off := "as its own page says"
	if list.Off != "" {
		off = list.Off
	}
	lines = append(lines, "    it comes off    "+off)
	if url := list.URL(r.Address); url != "" {
		lines = append(lines, "    see             "+url)
	}
	return lines
}

func codesOf(r blocklist.Result) (out []string) {
	for _, c := range r.Codes {
		out = append(out, c.String())
	}
	return out
}

// meaningsOf says what the answers mean, each meaning once.
func meaningsOf(list blocklist.List, r blocklist.Result) (out []string) {
	for _, c := range r.Codes {
		if m := list.Meaning(c); !slices.Contains(out, m) {
			out = append(out, m)
		}
	}
	return out
}

// adviseListed says what to do next.
func (a *app) adviseListed(what listedQuestion, results []blocklist.Result) {
	has := func(s blocklist.Standing) bool {
		return slices.ContainsFunc(results, func(r blocklist.Result) bool { return r.Standing == s })
	}
	if has(blocklist.Listed) {
		a.printf("\nStop the cause before you ask to be taken off, or it begins anew: `backstop scan DOMAIN` says whether\nyour server bounces, and `backstop audit` whom its logs show that it bounced to.\n")
	}
	other := slices.ContainsFunc(results, func(r blocklist.Result) bool { return r.Standing != blocklist.Unknown })
	switch {
	case !other && len(what.zones) > 1: // that all of them are away, or refuse, at once is not likely
		a.printf("\nNo list could be asked, so it is most likely the DNS server (%s):\nit is down, or finds nothing on the Internet, or is a public one, which lists refuse. Ask through\n%s of your own, with --resolver IP.\n", serversOf(what), what.another())
	case has(blocklist.Unknown):
		a.printf("\n\"cannot tell\" is not \"not listed\": ask through %s of your own, with --resolver IP. Lists refuse\nthe public ones, and those that ask too much.\n", what.another())
	}
	if !has(blocklist.Unknown) && a.code == 2 {
		a.printf("\nNone of these lists has such addresses: name one that has, with --list ZONE.\n")
	}
}

// serversOf names the DNS servers that were asked.
func serversOf(what listedQuestion) string {
	if len(what.resolvers) == 0 {
		return "of /etc/resolv.conf"
	}
	var names []string
	for _, r := range what.resolvers {
		names = append(names, r.String())
	}
	return strings.Join(names, ", ")
}

func listedJSON(overall blocklist.Standing, results []blocklist.Result) listedAddress {
	out := listedAddress{Address: results[0].Address.String(), Standing: overall.String()}
	for _, r := range results {
		one := listedList{List: r.Zone, Standing: r.Standing.String(), Text: r.Text, Detail: r.Why, MS: float64(r.Took.Microseconds()) / float64(time.Millisecond/time.Microsecond)}
		if r.Standing == blocklist.Listed {
			list := blocklist.Known(r.Zone)
			one.Off, one.URL = list.Off, list.URL(r.Address)
			one.Codes, one.Meaning = codesOf(r), meaningsOf(list, r)
		}
		out.Lists = append(out.Lists, one)
	}
	return out
}
