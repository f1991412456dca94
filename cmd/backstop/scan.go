package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"

	"backstop/internal/mail"
	"backstop/internal/resolver"
	"backstop/internal/scan"
)

// scanFlags are what `backstop scan` is told.
type scanFlags struct {
	domain, port, from, helo, resolver string
	retry, pause, timeout              time.Duration
	send                               bool
	returnPath, listen                 string
	wait                               time.Duration
}

func (a *app) scan() *cobra.Command {
	f := &scanFlags{}
	c := &cobra.Command{
		Use:   "scan TARGET",
		Short: "Examine a mail server from outside: does it make backscatter?",
		Long: "Asks a mail server about addresses that nobody can have, and says what it does with\n" +
			"them: refuse them while the sender is still there, which is healthy, or take them\n" +
			"and bounce, keep or refuse the mail later. It says what to change on that server.\n\n" +
			"TARGET is a domain, whose MX hosts are looked up, or smtp://HOST[:PORT] with\n" +
			"--domain. It connects ten times at most, with a pause between, and sends no mail.\n\n" +
			"With --send it sends one short, clearly labelled message to one such address from\n" +
			"--return-path, and waits on --listen for the bounce: mail for the return path has\n" +
			"to come to this machine. That tells a catch-all from a source of backscatter.\n\n" +
			"The exit code is 0 for healthy, 1 for not, 2 for what could not be told, 3 for an\n" +
			"error of the command itself.",
		Example: "  backstop scan example.com\n" +
			"  backstop scan smtp://mx.example.com --domain example.com --json\n" +
			"  backstop scan example.com --send --return-path scan@me.example.org --listen :25",
		Args: wants(1, 1, "a domain, or smtp://HOST[:PORT] with --domain"),
		RunE: func(c *cobra.Command, args []string) error { return a.runScan(c.Context(), args[0], f) },
	}
	c.Flags().StringVar(&f.domain, "domain", "", "with smtp://HOST: the `DOMAIN` whose recipients are asked for")
	c.Flags().StringVar(&f.port, "port", "", "connect to this `PORT` (default 25)")
	c.Flags().StringVar(&f.from, "from", "", "the sender `ADDRESS` of the probes that have one; the others have the null sender (default the return path, or postmaster at the name of --helo)")
	c.Flags().StringVar(&f.helo, "helo", "", "say `NAME` in EHLO (default this host's name, or its address where the name has no dot)")
	c.Flags().StringVar(&f.resolver, "resolver", "", "ask the name server at `ADDRESS[:PORT]` (default the system's)")
	c.Flags().DurationVar(&f.retry, "retry-after", 5*time.Minute+10*time.Second, "ask again after `TIME` where the server says to come again")
	c.Flags().DurationVar(&f.pause, "pause", time.Second, "`TIME` between two connections")
	c.Flags().DurationVar(&f.timeout, "timeout", 2*time.Minute, "`TIME` for each answer")
	c.Flags().BoolVar(&f.send, "send", false, "send one message to an unknown recipient that was accepted")
	c.Flags().StringVar(&f.returnPath, "return-path", "", "with --send: the `ADDRESS` to which a bounce goes")
	c.Flags().StringVar(&f.listen, "listen", "", "with --send: where mail for that address arrives, `HOST:PORT`")
	c.Flags().DurationVar(&f.wait, "wait", time.Minute, "with --send: wait for the bounce for `TIME`")
	return c
}

func (a *app) runScan(ctx context.Context, target string, f *scanFlags) error {
	p, err := f.plan(target)
	if err != nil {
		return err
	}
	dns, err := f.dns()
	if err != nil {
		return err
	}
	defer dns.Close()
	p.Resolver = dns
	if p.Target.Host != "" && f.resolver == "" {
		p.Resolver = hosts{dns}
	}
	if p.Send {
		if p.Listener, err = net.Listen("tcp", f.listen); err != nil {
			return hint("choose another HOST:PORT, or run it as root for ports below 1024", "--listen: %w", err)
		}
		if err := bounceable(ctx, dns, p.ReturnPath.Domain()); err != nil {
			p.Listener.Close()
			return err
		}
	}
	var doing atomic.Pointer[string]
	p.Progress = func(what string) { doing.Store(&what) }
	p.Progress("looking for the server")
	stop := progressLine(a.err, func(seconds int) string { return fmt.Sprintf("%s, %d s", *doing.Load(), seconds) })
	r := scan.Run(ctx, p)
	stop()
	a.code = int(r.Health)
	if a.json {
		return a.printJSON(r)
	}
	a.printScan(&r)
	return nil
}

// plan reads the flags.
func (f *scanFlags) plan(target string) (p scan.Plan, err error) {
	p = scan.Plan{Helo: f.helo, Timeout: f.timeout, Pause: f.pause, Retry: f.retry, Wait: f.wait, Send: f.send}
	if p.Target, err = scan.ParseTarget(target, f.domain, f.port); err != nil {
		return p, err
	}
	for _, d := range []struct {
		name string
		is   time.Duration
	}{{"retry-after", f.retry}, {"pause", f.pause}, {"timeout", f.timeout}, {"wait", f.wait}} {
		if d.is < 0 || d.is == 0 && d.name == "timeout" {
			return p, hint("write --"+d.name+" 90s, or 2m", "--%s %s is no time that can pass", d.name, d.is)
		}
	}
	if strings.ContainsFunc(p.Helo, func(c rune) bool { return c <= ' ' || c > '~' }) || len(p.Helo) > 255 {
		return p, hint("write the name of this host, as the DNS has it", "--helo %q is no name", p.Helo)
	}
	if p.Helo == "" {
		if name, err := os.Hostname(); err == nil && strings.Contains(strings.Trim(name, "."), ".") {
			p.Helo = strings.Trim(name, ".")
		}
	}
	if err := f.sending(&p); err != nil {
		return p, err
	}
	p.From = p.ReturnPath
	if f.from != "" {
		p.From, err = sender("from", f.from)
	}
	return p, err
}

// sending reads the flags that belong to --send.
func (f *scanFlags) sending(p *scan.Plan) (err error) {
	switch {
	case !f.send && (f.returnPath != "" || f.listen != ""):
		return hint("add --send, or leave them out", "--return-path and --listen go with --send")
	case !f.send:
		return nil
	case f.wait == 0:
		return hint("write --wait 60s", "--wait 0s would take any server for one that does not bounce")
	case f.returnPath == "" || f.listen == "":
		return hint("write --send --return-path scan@me.example.org --listen :25, where mail for that address comes to this machine", "--send needs --return-path and --listen, so that it can see a bounce")
	}
	p.ReturnPath, err = sender("return-path", f.returnPath)
	return err
}

// sender reads an address that mail can be sent from.
func sender(flag, s string) (mail.Address, error) {
	addr, err := mail.ParseAddress(s)
	if err == nil && (addr.Domain() == "" || addr.NeedsUTF8()) {
		err = errors.New("it needs a domain, and ASCII")
	}
	if err != nil {
		return mail.Address{}, hint("write --"+flag+" scan@me.example.org", "--%s %q: %w", flag, s, err)
	}
	return addr, nil
}

// bounceable says whether a bounce can go to a domain at all: one that cannot be seen would be taken for none. What the
// DNS could not tell is no reason to send nothing.
func bounceable(ctx context.Context, dns scan.Resolver, domain string) error {
	var no *net.DNSError
	list, err := dns.LookupMX(ctx, domain)
	switch {
	case err == nil && len(list) == 1 && list[0].Host == ".":
		return hint("name an address whose mail comes to this machine", "--return-path: %s takes no mail (RFC 7505)", domain)
	case err == nil && len(list) > 0, err != nil && !(errors.As(err, &no) && no.IsNotFound):
		return nil
	}
	if _, err = dns.LookupIPAddr(ctx, domain); errors.As(err, &no) && no.IsNotFound {
		return hint("name an address whose mail comes to this machine, by an MX or address record", "--return-path: %s has neither an MX record nor an address, so no bounce can get there", domain)
	}
	return nil
}

// dns is the resolver to ask.
func (f *scanFlags) dns() (*resolver.Resolver, error) {
	var c resolver.Config
	if f.resolver != "" {
		addr, err := netip.ParseAddrPort(f.resolver)
		if err != nil {
			ip, err := netip.ParseAddr(strings.Trim(f.resolver, "[]"))
			if err != nil {
				return nil, hint("write --resolver 192.0.2.53, or 192.0.2.53:5353", "--resolver %q is no IP address", f.resolver)
			}
			addr = netip.AddrPortFrom(ip, 53)
		}
		c.Servers = []netip.AddrPort{addr}
	}
	return resolver.New(c)
}

// hosts finds the addresses of a server that was named as every program of this machine does, by /etc/hosts, too.
type hosts struct{ *resolver.Resolver }

func (hosts) LookupIPAddr(ctx context.Context, host string) ([]net.IPAddr, error) {
	return net.DefaultResolver.LookupIPAddr(ctx, host)
}

// printScan prints the questions as a table, and what they come to.
func (a *app) printScan(r *scan.Report) {
	if r.Host == "" {
		a.printf("%s, asked for %s\n", r.Target, r.Domain)
	} else {
		a.printf("%s, asked for %s", r.Host, r.Domain)
		if ours := ourSender(r); ours != "" {
			a.printf(" by <> and <%s>", ours)
		}
		if r.Product != "" {
			a.printf("; looks like %s", r.Product)
		}
		a.printf("\n")
	}
	if r.Banner != "" {
		a.printf("%s\n", cut(oneLine(r.Banner), 100))
	}
	if len(r.Rows) > 0 {
		a.printf("\n")
		a.printAsked(r.Rows)
	}
	if c := r.TLS; c != nil && c.Subject+strings.Join(c.Names, "") != "" {
		fits := "which is its host"
		if !c.Fits {
			fits = "which is not its host"
		}
		a.printf("\nSTARTTLS: %s; %s for %s, %s; by %s; %s to %s\n", c.Version, c.Subject, strings.Join(c.Names, ", "), fits, c.Issuer, c.NotBefore.Format(time.DateOnly), c.NotAfter.Format(time.DateOnly))
	}
	verdict := [...]string{"healthy", "not healthy", "could not tell"}[r.Health]
	a.printf("\n%s", r.Class)
	if r.OnRetry != "" {
		a.printf(", then %s", r.OnRetry)
	}
	a.printf(": %s\n\n", verdict)
	for _, s := range r.Advice {
		a.printWrapped("  - ", s)
	}
}

// ourSender is the sender of the probes that have one.
func ourSender(r *scan.Report) string {
	for _, row := range r.Rows {
		if row.Sender != "<>" {
			return row.Sender
		}
	}
	return ""
}

// printAsked prints the questions. The first column is the connection.
func (a *app) printAsked(rows []scan.Row) {
	const others = 40 // what the other columns take of a line
	width := 80
	if w := terminalWidth(a.out); w > 0 {
		width = max(w-others, 30)
	}
	t := a.table("", "recipient", "from", "answer", "ms")
	t.SetColumnConfigs([]table.ColumnConfig{{Number: 5, Align: text.AlignRight}})
	for _, row := range rows {
		session, from := any(row.Session), "ours"
		if row.Session == 0 { // it came to us
			session, from = "", ""
		} else if row.Sender == "<>" {
			from = "<>"
		}
		t.AppendRow(table.Row{session, string(row.Shape), from, cut(shorter(row.Answer, row.Asked), width), row.Took.Milliseconds()})
	}
	a.printTable(t)
}

// printWrapped prints a sentence or two behind a mark, broken for a terminal.
func (a *app) printWrapped(mark, s string) {
	width := terminalWidth(a.out)
	if width == 0 || width > 100 {
		width = 100
	}
	for i, line := range strings.Split(text.WrapSoft(s, max(width-len(mark), 30)), "\n") {
		if i > 0 {
			mark = strings.Repeat(" ", len(mark))
		}
		a.printf("%s%s\n", mark, strings.TrimRight(line, " "))
	}
}

// cut shortens a stranger's words for a table.
func cut(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}

// shorter is an answer without the address that the row is about.
func shorter(answer, address string) string {
	if address == "" {
		return answer
	}
	return strings.ReplaceAll(answer, address, "…")
}
