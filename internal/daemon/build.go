package daemon

import (
	"crypto/tls"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"time"

	"backstop/internal/auth"
	"backstop/internal/config"
	"backstop/internal/directory"
	"backstop/internal/directory/access"
	"backstop/internal/directory/callahead"
	"backstop/internal/directory/list"
	"backstop/internal/directory/synced"
	"backstop/internal/relay"
	"backstop/internal/resolver"
	"backstop/internal/route"
	"backstop/internal/session"
	"backstop/internal/smtp"
	"backstop/internal/verdict"
)

// setup is everything that one configuration makes, in the order in which mail flows.
type setup struct {
	cfg     *config.Config
	lists   map[listKey]*list.List
	maps    map[mapKey]*access.Source
	asked   map[config.Callahead]*callahead.Source
	plugs   map[string]*plug // by the name of the section
	relays  map[relayKey]*relay.Downstream
	domains map[*route.Domain]*session.Domain
	dns     *resolver.Resolver
	auth    *auth.Checker
	tags    tagging
	engine  *session.Engine
}

// listKey: the same file means other addresses to a domain with other aliases.
type listKey struct{ file, domain string }

// mapKey is listKey for a file of Sendmail's or Postfix's.
type mapKey struct {
	kind access.Kind
	listKey
}

// relayKey: two downstreams are one when URL and options are.
type relayKey struct {
	want wantedRelay
	o    config.Relay
	name string // ours, as said in EHLO
}

// build makes a setup, taking from old what stays the same. It changes nothing outside: whether the setup comes into force is not known yet.
func (d *Daemon) build(cfg *config.Config, old *setup) (*setup, error) {
	s := &setup{
		cfg: cfg, lists: map[listKey]*list.List{}, maps: map[mapKey]*access.Source{}, asked: map[config.Callahead]*callahead.Source{}, plugs: map[string]*plug{},
		relays: map[relayKey]*relay.Downstream{}, domains: map[*route.Domain]*session.Domain{}, tags: d.tagging(cfg),
	}
	for i := range cfg.Domains {
		c := &cfg.Domains[i]
		domain, err := d.domain(s, old, c)
		if err != nil {
			s.closeNew(old)
			return nil, err
		}
		s.domains[domain.Route] = domain
	}
	policies, err := d.policies(s, old, cfg)
	if err != nil {
		s.closeNew(old)
		return nil, err
	}
	engine := session.Config{
		Hostname: cfg.Hostname, Mode: cfg.Mode,
		Rules:          verdict.Rules{ShowDownstream: cfg.ReplyText == config.ReplyDownstream, MaxReceived: cfg.SMTP.MaxReceived},
		Table:          cfg.Routes,
		MaxMessageSize: cfg.SMTP.MaxMessageSize, Domains: s.domains, Directory: d.directory, Postmaster: cfg.Postmaster,
		Blocked: within(func() *config.SMTP { return &cfg.SMTP }, blockedNetworks), Policies: policies,
		Journal: d.journal, Metrics: d.metrics, Logger: d.log, Now: d.o.Now,
	}
	if !d.o.Offline {
		engine.Spool = cfg.State
	}
	if err := d.trust(s, old, &engine); err != nil {
		s.closeNew(old)
		return nil, err
	}
	s.engine = session.New(engine)
	return s, nil
}

// chain makes the recipient sources of one domain.
func (d *Daemon) chain(s, old *setup, c *config.Domain) (*directory.Chain, error) {
	members := make([]directory.Member, 0, len(c.Sources))
	for i := range c.Sources {
		src := &c.Sources[i]
		m := directory.Member{Lives: livesOf(s.cfg, src)}
		switch src.Kind {
		case config.SourceList:
			l, err := d.list(s, old, src.File, c)
			if err != nil {
				return nil, err
			}
			m.Source = l
		case config.SourceCallahead:
			m.Source = d.callahead(s, old, src)
			m.Relay = src.Callahead.Target == c.Relay
		case config.SourceAnybody:
			m.Source = directory.Anybody{}
		case config.SourceAccess, config.SourceVirtusertable, config.SourcePostmap:
			f, err := d.mapFile(s, old, src, c)
			if err != nil {
				return nil, err
			}
			m.Source = f
		case config.SourceLDAP, config.SourceSQL, config.SourceHTTP:
			p, err := d.plug(s, old, src)
			if err != nil {
				return nil, err
			}
			m.Source, m.Question, m.Next = p.source(), questionOf(src), askedOf(src).Next
		default:
			return nil, fmt.Errorf("domain %s: source %s is of a kind that this version does not know", c.Name, src.Name)
		}
		members = append(members, m)
	}
	return directory.NewChain(c.Name, members...), nil
}

// list opens a list, or takes the one that is open.
func (d *Daemon) list(s, old *setup, file string, c *config.Domain) (*list.List, error) {
	key := listKey{file, fmt.Sprint(c.Name, c.Aliases)}
	if l := s.lists[key]; l != nil {
		return l, nil
	}
	if old != nil && old.lists[key] != nil {
		s.lists[key] = old.lists[key]
		return s.lists[key], nil
	}
	aliases := make(map[string]string, len(c.Aliases))
	for _, a := range c.Aliases {
		aliases[a] = c.Name
	}
	l, err := list.Open(file, list.Options{Logger: d.log, Now: d.o.Now, NoEvents: d.o.Offline, Aliases: aliases, Keep: d.listFolder(s.cfg)})
	if err != nil {
		return nil, &config.Errors{List: fileProblems(file, err)}
	}
	s.lists[key] = l
	return l, nil
}

// mapKinds are the files of Sendmail and Postfix.
var mapKinds = map[config.SourceKind]access.Kind{
	config.SourceAccess: access.Access, config.SourceVirtusertable: access.Virtusertable, config.SourcePostmap: access.Postmap,
}

// mapFile is list for the other files. Read without aliases, a file is one and the
// same for all; aliased may be nil.
func (d *Daemon) mapFile(s, old *setup, src *config.Source, aliased *config.Domain) (*access.Source, error) {
	key := mapKey{mapKinds[src.Kind], listKey{file: src.File}}
	if aliased != nil && len(aliased.Aliases) > 0 {
		key.domain = fmt.Sprint(aliased.Name, aliased.Aliases)
	}
	if m := s.maps[key]; m != nil {
		return m, nil
	}
	if old != nil && old.maps[key] != nil {
		s.maps[key] = old.maps[key]
		return s.maps[key], nil
	}
	m, err := access.Open(key.kind, src.File, access.Options{Logger: d.log, Now: d.o.Now, NoEvents: d.o.Offline, Canonical: canonical(aliased)})
	if err != nil {
		return nil, &config.Errors{List: fileProblems(src.File, err)}
	}
	s.maps[key] = m
	return m, nil
}

// canonical turns the domain's aliases into its name; nil where there are none.
func canonical(c *config.Domain) func(string) string {
	if c == nil || len(c.Aliases) == 0 {
		return nil
	}
	name, aliases := c.Name, c.Aliases
	return func(domain string) string {
		if slices.Contains(aliases, domain) {
			return name
		}
		return domain
	}
}

// listFolder is where compiled lists are kept; "" for nowhere. Offline the folder may be another's, who runs.
func (d *Daemon) listFolder(cfg *config.Config) string {
	if cfg.State == "" || d.o.Offline {
		return ""
	}
	return filepath.Join(cfg.State, "lists")
}

// prune deletes what was kept of lists and copies that are no longer used.
func (d *Daemon) prune(s *setup) {
	if d.listFolder(s.cfg) == "" {
		return
	}
	said := func(what, folder string, err error) {
		if err != nil {
			d.log.Warn("what was kept of "+what+" that are no longer used could not be deleted", "folder", folder, "error", err.Error())
		}
	}
	used := make([]*list.List, 0, len(s.lists))
	for _, l := range s.lists {
		used = append(used, l)
	}
	folder := d.listFolder(s.cfg)
	said("lists", folder, list.Prune(folder, used...))
	var copies []*synced.Source
	for _, p := range s.plugs {
		if p.copied != nil {
			copies = append(copies, p.copied)
		}
	}
	folder = copyFolder(s.cfg)
	said("copied sources", folder, synced.Prune(folder, copies...))
}

func (d *Daemon) callahead(s, old *setup, src *config.Source) *callahead.Source {
	key := src.Callahead
	if c := s.asked[key]; c != nil {
		return c
	}
	if old != nil && old.asked[key] != nil {
		s.asked[key] = old.asked[key]
		return s.asked[key]
	}
	c := newCallahead(d, src, s.cfg)
	s.asked[key] = c
	return c
}

func (d *Daemon) relay(s, old *setup, want wantedRelay) *relay.Downstream {
	key := relayKey{want, s.cfg.Relay, s.cfg.Hostname}
	if ds := s.relays[key]; ds != nil {
		return ds
	}
	if old != nil && old.relays[key] != nil {
		s.relays[key] = old.relays[key]
		return s.relays[key]
	}
	o := &s.cfg.Relay
	took := d.metrics.Downstream(want.route.String())
	options := relay.Options{
		LocalName: s.cfg.Hostname, Timeouts: timeouts(o.Timeouts), MaxConns: o.Connections, MaxIdle: o.Idle,
		IdleTime: o.IdleTime, TLSConfig: &tls.Config{RootCAs: o.Roots}, Logger: d.log,
		Observe: func(t time.Duration) { took.Relayed(t) },
	}
	want.login(&options)
	ds := relay.New(want.route, options)
	s.relays[key] = ds
	return ds
}

func timeouts(t config.RelayTimeouts) smtp.Timeouts {
	return smtp.Timeouts{Connect: t.Connect, Banner: t.Banner, Hello: t.Hello, Mail: t.Mail, Rcpt: t.Rcpt, Data: t.Data, Block: t.Block, Final: t.Final}
}

// closeNew closes what this setup has and other (which may be nil) has not.
func (s *setup) closeNew(other *setup) {
	s.closeButPlugs(other)
	for k, p := range s.plugs {
		if other == nil || other.plugs[k] != p {
			p.close()
		}
	}
}

// closeButPlugs is closeNew without the plugs.
func (s *setup) closeButPlugs(other *setup) {
	for k, l := range s.lists {
		if other == nil || other.lists[k] != l {
			l.Close()
		}
	}
	for k, m := range s.maps {
		if other == nil || other.maps[k] != m {
			m.Close()
		}
	}
	for k, c := range s.asked {
		if other == nil || other.asked[k] != c {
			c.Close()
		}
	}
	for k, r := range s.relays {
		if other == nil || other.relays[k] != r {
			r.Close()
		}
	}
	if s.dns != nil && (other == nil || other.dns != s.dns) {
		s.dns.Close()
	}
}

// binary says whether BINARYMIME can be kept whatever the recipient: every
// downstream has said that it takes it.
func (s *setup) binary() bool {
	for _, r := range s.relays {
		if caps, seen := r.Capabilities(); !seen || !caps.BinaryMIME || !caps.Chunking {
			return false
		}
	}
	return len(s.relays) > 0
}

// within makes a test for a list of networks that a reload may change.
func within(now func() *config.SMTP, list func(*config.SMTP) []netip.Prefix) func(netip.Addr) bool {
	return func(a netip.Addr) bool {
		a = a.Unmap().WithZone("")
		for _, p := range list(now()) {
			if p.Contains(a) {
				return true
			}
		}
		return false
	}
}

func proxyNetworks(c *config.SMTP) []netip.Prefix   { return c.ProxyProtocol }
func xclientNetworks(c *config.SMTP) []netip.Prefix { return c.XClient }
func bareNetworks(c *config.SMTP) []netip.Prefix    { return c.AllowBareNewline }
func blockedNetworks(c *config.SMTP) []netip.Prefix { return c.Blocked }
