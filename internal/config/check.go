package config

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"backstop/internal/listen"
	"backstop/internal/mail"
	"backstop/internal/route"
)

// finish fills in what depends on several keys, and checks them against each other.
func (c *Config) finish(d *decoder) {
	if c.Hostname == "" {
		c.Hostname = ownName()
	}
	c.checkLives(d, "cache.", &c.Cache.Lives)
	for _, s := range d.ordered {
		c.checkAsked(d, s)
	}
	c.checkDoors(d)
	for _, t := range d.domains {
		c.resolve(d, t)
		c.checkGuards(d, t)
		c.Domains = append(c.Domains, t.Domain)
		c.checkRelay(d, t)
	}
	for _, s := range d.ordered {
		if !s.used {
			d.warn(s.at, "name it among the recipients of a domain, or take it out", "[source.%s] is not used", s.name)
		}
	}
	c.checkPostmaster(d)
	c.checkListeners(d)
	c.checkOutbound(d)
	c.checkSRS(d)
	c.checkBlocklists(d)
	if _, written := d.places["domain"]; !written && !d.top.misspelt("domain") {
		d.problems = append(d.problems, Problem{d.name, 0, 0, "there is no [[domain]], so no mail would be accepted", "a domain is [[domain]] with name = \"example.com\" and relay = \"smtp://HOST\""})
	}
}

// ownName is the name of this host, or localhost where it has none that can be said in SMTP.
func ownName() string {
	if h, err := os.Hostname(); err == nil {
		if name, err := mail.FoldDomain(h); err == nil {
			return name
		}
	}
	return "localhost"
}

func (c *Config) checkLives(d *decoder, where string, l *Lives) {
	if l.Refresh == 0 {
		l.Refresh = l.ExistsFor / 4
	}
	// One of the two was written, or the defaults would be in order.
	check := func(wrong bool, shorter, longer string, a, b time.Duration) {
		if !wrong {
			return
		}
		for _, name := range []string{shorter, longer} {
			if at, written := d.places[where+name]; written && at.file != "" {
				d.fail(at, "", "%s (%s) is longer than %s (%s)", shorter, formatDuration(a), longer, formatDuration(b))
				return
			}
		}
	}
	check(l.Refresh > l.ExistsFor, "refresh", "exists_for", l.Refresh, l.ExistsFor)
	check(l.MissingFor > l.MissingMax, "missing_for", "missing_max", l.MissingFor, l.MissingMax)
	check(l.ExistsFor > l.MaxStale, "exists_for", "max_stale", l.ExistsFor, l.MaxStale)
}

// resolve turns what recipients names into sources that need no further looking up.
func (c *Config) resolve(d *decoder, t *domainDraft) {
	for i := range t.refs {
		ref := &t.refs[i]
		options := Callahead{}
		if ref.named != "" {
			s := d.sources[ref.named]
			if s == nil {
				if !d.top.misspelt("source") {
					d.unknownSource(ref)
				}
				continue
			}
			s.used = true
			at := ref.at
			*ref = sourceRef{Source: s.Source, named: ref.named, at: at}
			options = s.Callahead
		}
		switch ref.Kind {
		case SourceAnybody:
			if c.delivers() {
				d.warn(ref.at, "this is what makes backscatter: unknown users are passed on to the relay", "%s accepts anybody", t.Name)
			} else {
				d.warn(ref.at, "let the MTA refuse unknown users at RCPT by tables of its own, or name its list of users here; if it takes them and bounces, that is backscatter", "unknown users of %s are left to the MTA", t.Name)
			}
			if i+1 < len(t.refs) {
				d.warn(t.refs[i+1].at, "put it before \"anybody\"", "%q is never asked", t.refs[i+1].Name)
			}
		case SourceCallahead:
			if !ref.Callahead.Target.IsZero() {
				options.Target = ref.Callahead.Target
			}
			ref.Callahead = c.callahead(d, options, t, ref)
		}
		t.Sources = append(t.Sources, ref.Source)
		if a := ref.asked(); i+1 < len(t.refs) && a != nil && !a.Next {
			d.warn(t.refs[i+1].at, "write when_missing = \"next\" into [source."+ref.Name+"], if each of them knows some of the users", "%q is asked only while %s cannot be, for its no is definite", t.refs[i+1].Name, ref.Name)
		}
	}
}

// callahead fills in the options that were not given.
func (c *Config) callahead(d *decoder, o Callahead, t *domainDraft, ref *sourceRef) Callahead {
	if ref.named == "" {
		target := o.Target
		d.defaults(o.keys(d, ""))
		o.Target = target
	}
	if o.Target.IsZero() {
		o.Target = t.Relay
	}
	if o.Target.IsZero() && !t.relayed && !c.delivers() && !d.lost {
		d.fail(t.section, `write relay = "smtp://HOST:PORT", or recipients = ["callahead:smtp://HOST:PORT"]`, "recipients: callahead asks the relay who exists, and %s has none", t.Name)
	}
	if ref.named == "" {
		ref.Name = "callahead:" + o.Target.String()
	}
	if o.Helo == "" {
		o.Helo = c.Hostname
	}
	own := o.Lives
	o.Lives = c.Cache.Lives
	if own.ExistsFor != 0 {
		o.Lives.ExistsFor, o.Lives.Refresh = own.ExistsFor, own.ExistsFor/4
	}
	if own.MissingFor != 0 {
		o.Lives.MissingFor, o.Lives.MissingMax = own.MissingFor, max(own.MissingFor, c.Cache.MissingMax)
	}
	if own.MaxStale != 0 {
		o.Lives.MaxStale = own.MaxStale
	}
	if ref.named != "" {
		c.checkLives(d, "source."+ref.named+".", &o.Lives)
	}
	return o
}

// defaults sets the defaults of a table that no section of the file stands for.
func (d *decoder) defaults(keys []key) {
	d.table(&node{}, "", keys)
}

func (d *decoder) unknownSource(ref *sourceRef) {
	names := []string{"callahead", "anybody"}
	for _, s := range d.ordered {
		names = append(names, s.name)
	}
	hint := didYouMean(ref.named, names)
	if nearest(ref.named, names) == "" {
		hint = "write a section [source." + ref.named + "], or callahead, list:FILE or anybody here"
	}
	if strings.Contains(ref.named, "/") {
		hint = "a file is written list:" + ref.named
	}
	d.fail(ref.at, hint, "recipients: there is no [source.%s]", ref.named)
}

func (c *Config) checkPostmaster(d *decoder) {
	if c.Postmaster.IsZero() {
		if len(c.Domains) > 0 && c.Domains[0].Name != "" {
			c.Postmaster, _ = mail.ParseAddress("postmaster@" + c.Domains[0].Name)
		}
		return
	}
	if _, ours := d.names[c.Postmaster.Domain()]; !ours {
		d.warn(d.places["postmaster"], "mail for <postmaster> will be refused; name a mailbox in one of your domains", "postmaster: %s is not one of the domains here", c.Postmaster.Domain())
	}
}

func (c *Config) checkListeners(d *decoder) {
	if l := c.Panel.Listen; l.Network != "" && l.Network != "unix" && l.Network != "systemd" && !loopback(l.Address) {
		d.warn(d.places["panel.listen"], "there is no password yet: listen on 127.0.0.1, or keep strangers out by other means", "listen: everybody who reaches %s can read the metrics", l)
	}
}

func loopback(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		return false
	}
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}

// checkRelay wants a relay where mail is delivered, and finds one that is this gateway itself.
func (c *Config) checkRelay(d *decoder, t *domainDraft) {
	if !t.relayed {
		if c.delivers() && !d.lost {
			d.fail(t.section, c.noRelayHint(), "[[domain]] has no relay")
		}
		return
	}
	if c.isOwn(t.Relay) {
		d.fail(t.relayAt, "name the server that has the mailboxes", "relay: %s is this gateway itself, so mail would go in circles", t.Relay)
	}
}

// delivers says that mail is handed on from here; beside an MTA it is not.
func (c *Config) delivers() bool { return len(c.SMTP.Listen) > 0 }

// noRelayHint says what to write, also where it is an MTA that delivers.
func (c *Config) noRelayHint() string {
	beside := `name its door, such as [milter] with listen = "inet:127.0.0.1:8891"`
	if c.Panel.Listen != (listen.Spec{}) {
		beside += "; where it asks at [panel], as Exim does, write [smtp] with listen = []"
	}
	return `write relay = "smtp://HOST:PORT"; or, where an MTA on this machine delivers, ` + beside
}

func sameSocket(l listen.Spec, r route.Relay) bool {
	host, port, err := net.SplitHostPort(l.Address)
	if err != nil || port != fmt.Sprint(r.Port) {
		return false
	}
	a, err := netip.ParseAddr(host)
	if host == r.Host || err == nil && a.String() == r.Host {
		return true
	}
	if host != "" && (err != nil || !a.IsUnspecified()) {
		return false
	}
	to, err := netip.ParseAddr(r.Host)
	return r.Host == "localhost" || err == nil && to.IsLoopback() && (l.Network == "tcp" || to.Is4() == a.Is4())
}
