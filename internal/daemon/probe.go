package daemon

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"time"

	"backstop/internal/config"
	"backstop/internal/directory"
	"backstop/internal/evidence"
	"backstop/internal/mail"
	"backstop/internal/relay"
	"backstop/internal/session"
)

// Probed is what one source or downstream answered to a question of ours.
type Probed struct {
	Kind   string  `json:"kind"` // source, downstream, dns, or bounce_to
	Name   string  `json:"name"`
	State  string  `json:"state"` // up, blind, down
	Detail string  `json:"detail,omitempty"`
	MS     float64 `json:"ms"`

	odd bool // in order, as far as can be told, and worth a look
}

// Probe asks each domain's sources about somebody who cannot exist and, where they know nobody
// of that name, whether they know the postmaster; what copies are pulled from for one recipient, whoever it is; and each
// downstream, up to RCPT and no further, about the postmaster that it must have
// (RFC 5321, 4.5.1), the one of [outbound] too, and that one about the mailboxes of bounce_to; and the DNS, where senders are checked. No mail is sent.
func (d *Daemon) Probe(ctx context.Context) []Probed {
	s := d.current.Load()
	found := &probes{index: map[string]int{}}
	for i := range s.cfg.Domains {
		dom := s.domains[s.cfg.Routes.Find(s.cfg.Domains[i].Name)]
		for _, p := range d.probeSources(ctx, s, dom) {
			found.add(p)
		}
		for _, src := range s.cfg.Domains[i].Sources {
			if p := s.plugs[src.Name]; p != nil && p.copied != nil && !found.has("source", src.Name) {
				found.add(p.probe(ctx))
			}
		}
		if dom.Relay != nil && !found.down("downstream", dom.Relay.Name()) { // one that is away is away for all domains
			found.add(s.probeDownstream(ctx, dom.Relay, dom.Route.Name))
		}
	}
	if out := s.engine.Outbound; out != nil && len(s.cfg.Domains) > 0 {
		found.add(s.probeDownstream(ctx, out.Relay, s.cfg.Domains[0].Name))
	}
	for _, to := range mailboxes(s.cfg) {
		found.add(d.probeMailbox(ctx, s, to))
	}
	if needsDNS(s.cfg) {
		found.add(s.probeDNS(ctx))
	}
	return found.all
}

// needsDNS says whether anybody is refused by what the DNS says, bounces leave by it, or it was configured: where
// senders are marked only, a host without it is in order.
func needsDNS(cfg *config.Config) bool {
	return len(cfg.DNS.Resolvers) > 0 || cfg.Sends() || slices.ContainsFunc(cfg.Domains, func(c config.Domain) bool {
		return c.Forged || c.Guards.SPF == evidence.CheckRefuse || c.Guards.DMARC == evidence.CheckRefuse
	})
}

// probeDNS asks for what the first domain publishes about its senders; that there is nothing is an answer too.
func (s *setup) probeDNS(ctx context.Context) Probed {
	start := time.Now()
	name := s.cfg.Domains[0].Name
	_, err := s.dns.LookupTXT(ctx, name)
	p := Probed{Kind: "dns", Name: "TXT " + name, State: stateUp, MS: millis(time.Since(start))}
	var e *net.DNSError
	if err != nil && !(errors.As(err, &e) && e.IsNotFound) {
		p.State, p.Detail = stateDown, err.Error()
	}
	return p
}

// probes are the worst that each source and downstream answered, in the order in which they were
// met: one that is in order for one domain may be blind, or denied, for another.
type probes struct {
	all   []Probed
	index map[string]int
}

func (f *probes) add(p Probed) {
	i, met := f.index[p.Kind+p.Name]
	switch {
	case !met:
		f.index[p.Kind+p.Name] = len(f.all)
		f.all = append(f.all, p)
	case p.rank() > f.all[i].rank():
		f.all[i] = p
	}
}

func (f *probes) has(kind, name string) bool {
	_, met := f.index[kind+name]
	return met
}

func (f *probes) down(kind, name string) bool {
	i, met := f.index[kind+name]
	return met && f.all[i].State == stateDown
}

// rank is larger for what is worse.
func (p *Probed) rank() int {
	switch {
	case p.State == stateDown:
		return 3
	case p.State == stateBlind:
		return 2
	case p.odd:
		return 1
	}
	return 0
}

func (d *Daemon) probeSources(ctx context.Context, s *setup, dom *session.Domain) []Probed {
	nobody, err := mail.ParseAddress("nobody-" + mail.NewID().String() + "@" + dom.Route.Name)
	if err != nil {
		return []Probed{{Kind: "source", Name: dom.Route.Name, State: stateDown, Detail: err.Error()}}
	}
	_, steps := d.directory.Trace(ctx, dom.Chain, directory.Query{Address: nobody})
	var all []Probed
	for _, f := range steps {
		if p := s.plugs[f.Source]; p != nil && p.copied != nil {
			continue // the copy may be another's, who runs, or nobody's
		}
		p := Probed{Kind: "source", Name: f.Source, State: stateUp, Detail: f.Detail, MS: millis(f.Took)}
		switch {
		case f.Source == directory.Anybody{}.Name():
			p.Detail = "everybody exists, as configured"
		case f.Standing == evidence.Exists || f.Blind: // with when_blind = "defer" it is unavailable, and blind
			p.State, p.Detail = stateBlind, "it says that "+nobody.String()+" exists, as it would of anybody"
		case f.Standing == evidence.Unavailable:
			p.State = stateDown
		case f.Standing == evidence.Missing && p.Detail == "":
			p.Detail = d.knowsPostmaster(ctx, dom)
			p.odd = p.Detail != ""
		}
		all = append(all, p)
	}
	return all
}

// probe pulls until the first recipient comes.
func (p *plug) probe(ctx context.Context) Probed {
	out := Probed{Kind: "source", Name: p.cfg.Name, State: stateUp, Detail: "it can be pulled"}
	start := time.Now()
	_, err := p.asked.(directory.Puller).Full(ctx, firstOnly{})
	out.MS = millis(time.Since(start))
	switch {
	case errors.Is(err, errFirst):
	case err != nil:
		out.State, out.Detail = stateDown, err.Error()
	default:
		out.State, out.Detail = stateDown, "it has no address at all, so the first pull would be held back"
	}
	return out
}

// firstOnly ends a pull with the first recipient who has an address.
type firstOnly struct{}

var errFirst = errors.New("one recipient is enough")

func (firstOnly) Take(_ string, addresses ...string) error {
	for _, text := range addresses {
		if a, err := mail.ParseAddress(strings.TrimSpace(text)); err == nil && a.Domain() != "" {
			return errFirst
		}
	}
	return nil
}
func (firstOnly) Has(string) bool    { return false }
func (firstOnly) Still(string) error { return errFirst }

// knowsPostmaster says something where nobody at all may be known: a wrong filter, or a wrong path at
// a web server, answers like a directory that does not have the address.
func (d *Daemon) knowsPostmaster(ctx context.Context, dom *session.Domain) string {
	who, err := mail.ParseAddress("postmaster@" + dom.Route.Name)
	if err != nil {
		return err.Error()
	}
	found := d.directory.Lookup(ctx, dom.Chain, directory.Query{Address: who, Subaddress: dom.Route.Subaddress})
	if found.Standing != evidence.Missing {
		return ""
	}
	return "it answers, and does not even know " + who.String() + ": try `backstop lookup` with an address that exists"
}

// probeDownstream takes a refusal of the postmaster for an answer too: who
// refuses a recipient can be talked to.
func (s *setup) probeDownstream(ctx context.Context, d *relay.Downstream, domain string) Probed {
	p := Probed{Kind: "downstream", Name: d.Name(), State: stateDown}
	to, err := mail.ParseAddress("postmaster@" + domain)
	if err != nil {
		p.Detail = err.Error()
		return p
	}
	start := time.Now()
	a := s.askRcpt(ctx, d, to)
	p.MS, p.Detail = millis(time.Since(start)), answerText(&a)
	switch {
	case a.Outcome == evidence.OutcomeAccepted:
		p.State = stateUp
	case a.Step == evidence.StepRcpt && a.Code != 0:
		p.State, p.Detail, p.odd = stateUp, "it answers, and does not take "+to.String()+": "+p.Detail, true
	case a.Step != evidence.StepNone:
		p.Detail = "at " + a.Step.String() + ": " + p.Detail
	}
	return p
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// seconds has three decimals at most: more would only be noise.
func seconds(d time.Duration) float64 { return float64(d.Milliseconds()) / 1000 }
