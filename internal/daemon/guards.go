package daemon

import (
	"crypto"
	"net/netip"
	"slices"
	"strings"

	"backstop/internal/config"
	"backstop/internal/directory/access"
	"backstop/internal/dkim"
	"backstop/internal/evidence"
	"backstop/internal/listen"
	"backstop/internal/mail"
	"backstop/internal/relay"
	"backstop/internal/route"
	"backstop/internal/session"
	"backstop/internal/smtp"
	"backstop/internal/srs"
)

// domain makes what a session knows of a domain of ours.
func (d *Daemon) domain(s, old *setup, c *config.Domain) (*session.Domain, error) {
	r := s.cfg.Routes.Find(c.Name)
	chain, err := d.chain(s, old, c)
	if err != nil {
		return nil, err
	}
	senders, err := d.senders(s, old, c)
	if err != nil {
		return nil, err
	}
	out := &session.Domain{
		Route: r, Chain: chain, Mode: r.ModeOr(s.cfg.Mode),
		Guards: c.Guards, TagsSince: s.tags.tagsSince(c.Name), Forged: c.Forged, Senders: senders,
		Exempt: session.Exempt{From: c.Exempt.From, To: c.Exempt.To}, BounceTo: c.BounceTo,
	}
	if !r.Relay.IsZero() {
		out.Relay = d.relay(s, old, relayOf(r.Relay))
	}
	out.Sign, out.PublicKey = dkimKeys(c)
	return out, nil
}

// dkimKeys are the keys that sign for a domain, and all by which its signatures are known.
func dkimKeys(c *config.Domain) ([]dkim.Key, func(string) crypto.PublicKey) {
	if len(c.DKIM) == 0 {
		return nil, nil
	}
	var sign []dkim.Key
	public := map[string]crypto.PublicKey{}
	for _, k := range c.DKIM {
		public[k.Selector] = k.Key.Public()
		if k.Sign {
			sign = append(sign, dkim.Key{Domain: c.Name, Selector: k.Selector, Private: k.Key})
		}
	}
	return sign, func(selector string) crypto.PublicKey {
		return public[strings.ToLower(selector)]
	}
}

// senders says who outside may claim a domain, and by which entry.
func (d *Daemon) senders(s, old *setup, c *config.Domain) (func(netip.Addr, mail.Address) (string, bool), error) {
	var files []*access.Source
	for _, file := range c.Senders.Files {
		f, err := d.mapFile(s, old, &config.Source{Kind: config.SourceAccess, File: file}, nil)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	networks, froms := c.Senders.Networks, c.Senders.From
	if len(networks)+len(froms)+len(files) == 0 {
		return nil, nil
	}
	return func(client netip.Addr, from mail.Address) (entry string, vouched bool) {
		client = client.Unmap().WithZone("")
		for _, p := range networks {
			if p.Contains(client) {
				return p.String(), true
			}
		}
		for _, f := range froms {
			if f == from.Key() || !strings.Contains(f, "@") && below(from.Domain(), f) {
				return "From:" + f, false
			}
		}
		for _, f := range files {
			if f.Client(client, "").Word == evidence.Allowed {
				return f.Name(), true
			}
			if f.Sender(from).Word == evidence.Allowed {
				return f.Name(), false
			}
		}
		return "", false
	}, nil
}

// below says whether a name is a domain, or lies below it.
func below(name, domain string) bool {
	return name == domain || strings.HasSuffix(name, "."+domain)
}

// trust fills in what an engine needs to know who sent a message.
func (d *Daemon) trust(s, old *setup, e *session.Config) error {
	cfg := s.cfg
	if err := d.resolve(s, old); err != nil {
		return err
	}
	e.Auth, e.Record, e.Tally = s.auth, d.record, d.tally
	e.Keys = d.ring
	e.Redirected = func(to mail.Address, a evidence.Answer, taken bool) { d.redirects.note(to, a, taken, d.o.Now()) }
	if len(cfg.SRS.Secrets) > 0 {
		r, err := srs.New(srs.Options{Secrets: cfg.SRS.Secrets})
		if err != nil {
			return err
		}
		e.SRS, e.SRSDomains, e.SRSReverse = r, cfg.SRS.Domains, cfg.SRS.Reverse && cfg.Outbound != nil
	}
	e.Beside = len(cfg.SMTP.Listen) == 0
	e.Milter, e.Internal = cfg.Milter.Listen != (listen.Spec{}), allowed(cfg.Milter.Internal)
	if out := cfg.Outbound; out != nil {
		want := relayOf(out.Relay)
		if out.Username != "" {
			want.auth = smtp.Auth{Username: out.Username, Password: out.Password.Reveal()}
		}
		e.Outbound = &session.Outbound{Relay: d.relay(s, old, want), Route: out.Relay, Allowed: allowed(out.Clients)}
	}
	return nil
}

func allowed(networks []netip.Prefix) func(netip.Addr) bool {
	return func(a netip.Addr) bool {
		a = a.Unmap().WithZone("")
		return slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(a) })
	}
}

// wantedRelay is a downstream as it is asked for.
type wantedRelay struct {
	route route.Relay
	auth  smtp.Auth // the zero value: nobody logs in
}

func relayOf(r route.Relay) wantedRelay { return wantedRelay{route: r} }

// login is what a relay is given of it.
func (w wantedRelay) login(o *relay.Options) {
	if w.auth.Username != "" {
		a := w.auth
		o.Auth = &a
	}
}
