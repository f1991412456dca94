package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"backstop/internal/daemon"
	"backstop/internal/evidence"
	"backstop/internal/guide"
	"backstop/internal/verify"
)

// verifyReport is what `backstop setup PRODUCT --verify --json` prints.
type verifyReport struct {
	Product string `json:"product"`
	Domain  string `json:"domain"`
	verify.Report
}

// verify asks the server whether the lines of g work, and sets the exit code.
func (a *app) verify(ctx context.Context, g *guide.Guide, p *guide.Place, f *setupFlags) error {
	if !slices.Contains(guide.Beside(), g.Product) {
		return hint("ask it with `backstop check --ask`", "%s stands behind Backstop: --verify is for %s", g.Product, strings.Join(guide.Beside(), ", "))
	}
	if p.Config == nil && p.Domain == "" {
		return hint("name one with --domain, or the configuration with --config", "there is no configuration here, so no domain to ask about")
	}
	server, err := serverAddress(f.server)
	if err != nil {
		return err
	}
	v := verify.Plan{
		Server: server, Doors: g.Asks, Unix: g.Unix, MTA: g.Name, Domain: p.Domain, Options: p.Options,
		Nobody: "x" + strings.ToLower(rand.Text()[:24]), // looks like a machine's, and 120 random bits are nobody's
		Watch:  watched(p),
		Count:  func(ctx context.Context) (verify.Counts, error) { return a.counts(ctx, f.state, g.Asks) },
	}
	if v.Domain == "" {
		v.Domain = g.Domains[0]
	}
	if f.source != "" {
		if v.Source, err = netip.ParseAddr(f.source); err != nil {
			return hint("--source takes one of the IP addresses of this machine", "%q is no IP address", f.source)
		}
	}
	stop := progress(a.err, "asking "+server, nil)
	r := verify.Run(ctx, v)
	stop()
	if err := ctx.Err(); err != nil {
		return err
	}
	a.code = map[verify.Result]int{verify.Works: 0, verify.Fails: 1, verify.Unknown: 2}[r.Result]
	if a.json {
		return a.printJSON(verifyReport{g.Product, v.Domain, r})
	}
	a.printVerified(g, &r)
	return nil
}

// serverAddress reads HOST[:PORT]; an IPv6 address may stand without brackets where there is no port.
func serverAddress(s string) (string, error) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		host, port = strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"), "25"
	}
	_, wrong := strconv.ParseUint(port, 10, 16)
	if _, notIP := netip.ParseAddr(host); notIP != nil && strings.ContainsAny(host, ": /") || host == "" || wrong != nil || port == "0" {
		return "", hint("write mx.example.com, 192.0.2.25:2525 or [2001:db8::25]:25", "--verify: %q is not HOST or HOST:PORT", s)
	}
	return net.JoinHostPort(host, port), nil
}

// watched says whether the domain that is asked about only watches.
func watched(p *guide.Place) bool {
	if p.Config == nil {
		return false
	}
	for i := range p.Config.Domains {
		d := &p.Config.Domains[i]
		if p.Domain == "" || d.Name == p.Domain || slices.Contains(d.Aliases, p.Domain) {
			return d.ModeOr(p.Config.Mode) == evidence.Watch
		}
	}
	return false
}

// counted is the section of the configuration for a door as the daemon counts it; "": it is none at which an MTA
// or a client of the gateway asks. The maps have one counter; doors says which of them is meant.
func counted(by string, doors []string) string {
	switch {
	case by == "socketmap" && slices.Contains(doors, "tcp_table") && !slices.Contains(doors, "socketmap"):
		return "tcp_table"
	case by == "smtp", by == "milter", by == "policy", by == "socketmap":
		return by
	case by == "http":
		return "panel"
	}
	return ""
}

// counts asks the running daemon how often its doors were asked.
func (a *app) counts(ctx context.Context, state string, doors []string) (verify.Counts, error) {
	running, err := a.dial(state)
	if err != nil {
		return verify.Counts{}, fmt.Errorf("%s", oneLine(err.Error()))
	}
	var st daemon.Status
	if err := running.ask(ctx, http.MethodGet, "/status", nil, &st); err != nil {
		return verify.Counts{}, err
	}
	c := verify.Counts{Asked: map[string]uint64{}}
	for by, n := range st.Doors {
		if door := counted(by, doors); door != "" {
			c.Asked[door] = n
		}
	}
	for _, d := range doors {
		if !slices.ContainsFunc(st.Listeners, func(l daemon.ListenerStatus) bool { return l.Door == d }) {
			c.Closed = append(c.Closed, d)
		}
	}
	for _, s := range st.Sources {
		switch s.State {
		case "blind":
			c.Blind = append(c.Blind, s.Name)
		case "down":
			c.Trouble = append(c.Trouble, s.Name+" is down: "+s.Detail)
		}
	}
	return c, nil
}

func (a *app) printVerified(g *guide.Guide, r *verify.Report) {
	a.printf("%s at %s, asked about %s, whom nobody can be; no mail is sent\n\n", g.Name, r.Server, r.Nobody)
	for _, s := range r.Steps {
		for line := range strings.Lines(s.Sent) {
			a.printf("  -> %s\n", strings.TrimRight(line, "\n"))
		}
		reply := slices.Collect(strings.Lines(s.Reply))
		if n := len(reply); n > 2 && strings.HasPrefix(s.Sent, "EHLO ") { // what it can do is not asked here
			reply = []string{reply[0], fmt.Sprintf("… (%d lines)", n-2), reply[n-1]}
		}
		for _, line := range reply {
			a.printf("  <- %s\n", strings.TrimRight(line, "\n"))
		}
	}
	if len(r.Steps) > 0 {
		a.printf("\n")
	}
	a.printf("%s\n", r.Says)
	for _, h := range r.Hints {
		a.printf("  - %s\n", h)
	}
	if r.Asked == nil {
		a.printf("\nThe running daemon could not be asked (%s), so this is judged by the replies alone.\n", r.Daemon)
	}
}
