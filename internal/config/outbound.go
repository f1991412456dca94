package config

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"backstop/internal/evidence"
	"backstop/internal/listen"
	"backstop/internal/route"
)

// DNS is who is asked for names.
type DNS struct {
	Resolvers []netip.AddrPort // empty: those of the system
}

// Outbound is the door for mail that leaves our own servers.
type Outbound struct {
	Listen   []listen.Spec
	Clients  []netip.Prefix // nobody else may use it
	Relay    route.Relay    // our own MTA, or a smarthost; never LMTP
	Username string         // for AUTH there (RFC 4954); "": none
	Password Secret
}

// outboundDraft is an [outbound] with the places of what is looked at together.
type outboundDraft struct {
	Outbound
	at                                    position
	listenAt                              []position // of each of Listen
	relayAt, nameAt, passwordAt, secretAt *node
}

func dnsKeys(c *DNS) []key {
	return []key{{name: "resolvers", def: "[]", set: list(&c.Resolvers, parseResolver),
		doc: "DNS servers to ask, in this order: `\"192.0.2.53\"`, or with a port `\"127.0.0.1:5353\"`. `[]` asks those of `/etc/resolv.conf`. Name a resolver on this machine where the system's is slow or answers less than the truth: SPF, DKIM and DMARC rest on it."}}
}

func (o *outboundDraft) keys() []key {
	return []key{
		{name: "listen", required: true, example: `["127.0.0.1:2526"]`, set: o.takeListen,
			doc: "Where your own servers hand in what they send: `HOST:PORT` or `systemd:NAME`, and not one of the listeners of `[smtp]`."},
		{name: "clients", required: true, example: `["10.0.0.0/24"]`, set: takeClients(&o.Clients),
			doc: "Networks of your own servers. Nobody else may use this door; a network that is everybody, or nearly, is refused, for it would be an open relay."},
		{name: "relay", required: true, example: `"smtp://127.0.0.1:10025"`, set: kept(&o.relayAt, text(&o.Relay, parseRelay)),
			doc: "The MTA of yours that queues and delivers, or a smarthost: `smtp://HOST[:PORT]`, with the options that a domain's relay has."},
		{name: "username", unset: "none", set: kept(&o.nameAt, text(&o.Username, someText)),
			doc: "The name for AUTH, where the smarthost wants one. It is said through TLS with a certificate that checks only, or on this machine; where there is none, mail waits."},
		{name: "password", unset: "none", set: kept(&o.passwordAt, secret(&o.Password)), doc: "Its password."},
		{name: "password_file", unset: "none", set: kept(&o.secretAt, secretFile(&o.Password)), doc: "The file that holds the password, and nothing else."},
	}
}

// kept remembers the node of a key, for checks that look at several.
func kept(at **node, set setter) setter {
	return func(d *decoder, n *node) {
		*at = n
		set(d, n)
	}
}

func takeOutbound(dst **Outbound) setter {
	return func(d *decoder, n *node) {
		o := &outboundDraft{at: n.at}
		d.table(n, "[outbound]", o.keys())
		if n.kind == kindTable {
			d.outbound, *dst = o, &o.Outbound
		}
	}
}

func (o *outboundDraft) takeListen(d *decoder, n *node) {
	if !d.want(n, kindArray) {
		return
	}
	if len(n.elems) == 0 {
		d.bad(n, "name one, or take the section out", "there is no listener, so nobody could hand mail in")
	}
	for _, e := range n.elems {
		s, ok := d.socket(e)
		if ok && s.Network == "unix" {
			d.bad(e, `write HOST:PORT, such as "127.0.0.1:2526"`, "who comes by %s has no address, so clients would let nobody in", s)
			continue
		}
		if ok {
			o.Listen, o.listenAt = append(o.Listen, s), append(o.listenAt, e.at)
		}
	}
}

// takeClients takes the networks that may send to anybody, none of which may be the whole world.
func takeClients(dst *[]netip.Prefix) setter {
	take := list(dst, parsePrefix)
	return func(d *decoder, n *node) {
		take(d, n)
		if n.kind == kindArray && len(n.elems) == 0 {
			d.bad(n, "name the networks of your own servers", "nobody could use this door")
		}
		for _, e := range n.elems {
			p, err := parsePrefix(e.text)
			switch {
			case err != nil || e.kind != kindText:
			case p.Bits() == 0:
				d.bad(e, "name your own servers alone", "%q is everybody, and this would be an open relay", e.text)
			case tooWide(p):
				d.bad(e, "name your own servers alone", "%q is a large part of the internet, and this would be an open relay", e.text)
			case wide(p):
				d.warn(e.at, "name your own servers alone", "clients: everybody in %q can send to anybody through this door, and that is more of the internet than most sites have", e.text)
			}
		}
	}
}

// tooWide says whether a network is larger than anybody's own: beyond a /8 of IPv4, or a /16 of IPv6
// outside the private ranges (RFC 4193, RFC 4291, 2.5.6).
func tooWide(p netip.Prefix) bool {
	if p.Addr().Is4() {
		return p.Bits() < 8
	}
	return p.Bits() < 16 && !private(p)
}

// wide says whether a network has more than 65536 public addresses (of IPv6: networks of /48, as sites have one).
func wide(p netip.Prefix) bool {
	if p.Addr().Is4() {
		return p.Bits() < 16 && !private(p)
	}
	return p.Bits() < 32 && !private(p)
}

// private says whether nobody on the internet is in a network (RFC 1918, RFC 6598, RFC 1122, 3.2.1.3, RFC 3927,
// RFC 4193, RFC 4291, 2.5.6).
func private(p netip.Prefix) bool {
	for _, own := range []string{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "fc00::/7", "fe80::/10"} {
		if net := netip.MustParsePrefix(own); p.Bits() >= net.Bits() && net.Contains(p.Addr()) {
			return true
		}
	}
	return false
}

// checkOutbound looks at [outbound] as a whole, and beside the other listeners.
func (c *Config) checkOutbound(d *decoder) {
	o := d.outbound
	if o == nil {
		return
	}
	for i, s := range o.Listen {
		for _, other := range c.SMTP.Listen {
			if overlap(s, other) {
				d.fail(o.listenAt[i], "give each a port of its own: what comes from outside must not come in here", "listen: %s is [smtp]'s %s", s, other)
				break
			}
		}
		if overlap(s, c.Panel.Listen) {
			d.fail(o.listenAt[i], "give each a port of its own", "listen: %s is [panel]'s %s", s, c.Panel.Listen)
		}
	}
	switch r := o.Relay; {
	case r.IsZero():
	case r.LMTP():
		d.fail(o.relayAt.at, "write smtp://HOST:PORT: LMTP is spoken by mailboxes, and this mail goes to anybody", "relay: %s cannot send mail out", r)
	case c.isOwn(r):
		d.fail(o.relayAt.at, "name the MTA that delivers", "relay: %s is this gateway itself, so mail would go in circles", r)
	}
	c.checkState(d, o.at, "[outbound]")
	o.checkLogin(d)
	c.checkKept(d, o.at, "[outbound]")
}

// checkState warns of keys that nobody keeps.
func (c *Config) checkState(d *decoder, at position, section string) {
	if c.State == "" {
		d.warn(at, "name a folder with state =", "%s makes tags and seals with keys that are lost at each restart, for there is no state folder", section)
	}
}

// checkKept finds the domains whose servers' automatic mail is refused at once, without a place for it. It is one warning
// for all of them: who begins has written none of these keys.
func (c *Config) checkKept(d *decoder, at position, section string) {
	var names []string
	for _, t := range d.domains {
		mode := c.Mode
		if t.ModeSet {
			mode = t.Mode
		}
		if t.Name != "" && mode == evidence.Enforce && !t.written("bounce_to") {
			names = append(names, t.Name)
		}
	}
	const few = 3
	if n := len(names); n > few {
		names = append(names[:few:few], fmt.Sprintf("%d more", n-few))
	}
	if len(names) > 0 {
		d.warn(at, `write bounce_to = "MAILBOX", or mode = "watch" for the first ten days`, "%s: automatic replies and bounces that prove nothing are refused from the first minute, for there is no bounce_to (%s)", section, strings.Join(names, ", "))
	}
}

// checkLogin sees to it that a name has its password, and that nobody reads it on the way: on opportunistic TLS too it is
// said to a certificate that checks only, or not at all.
func (o *outboundDraft) checkLogin(d *decoder) {
	if o.passwordAt != nil && o.secretAt != nil {
		d.fail(o.secretAt.at, "keep one of the two", "password_file: there is a password as well")
	}
	password := o.passwordAt
	if password == nil {
		password = o.secretAt
	}
	switch {
	case o.nameAt != nil && password == nil:
		d.fail(o.nameAt.at, `write password_file = "FILE"`, "[outbound] has a username and no password")
	case o.nameAt == nil && password != nil:
		d.fail(password.at, `write username = "NAME"`, "[outbound] has a password and no username")
	case o.nameAt == nil || o.Relay.Scheme != route.SMTP || o.Relay.IsZero() || loopback(net.JoinHostPort(o.Relay.Host, "")):
	case o.Relay.TLS == route.TLSOff:
		d.fail(o.relayAt.at, "write ?tls=require", "relay: the password would go to %s in the clear", o.Relay.Host)
	}
	if c := o.Relay.Client; o.nameAt != nil && (c == route.HandoverXCLIENT || c == route.HandoverPROXY) {
		d.warn(o.relayAt.at, "take client="+c.String()+" out", "relay: client=%v is for a server that trusts this one, and one that wants a login hardly does: it may refuse every connection", c)
	}
}

// isOwn says whether a relay is a listener of this gateway.
func (c *Config) isOwn(r route.Relay) bool {
	listeners := c.SMTP.Listen
	if c.Outbound != nil {
		listeners = slices.Concat(listeners, c.Outbound.Listen)
	}
	for _, l := range listeners {
		if r.Scheme != route.LMTPUnix && sameSocket(l, r) {
			return true
		}
	}
	return false
}

// overlap says whether two listeners are the same, or one has the other's port on all addresses.
func overlap(a, b listen.Spec) bool {
	hostA, portA, errA := net.SplitHostPort(a.Address)
	hostB, portB, errB := net.SplitHostPort(b.Address)
	switch {
	case a.Network == "systemd" || b.Network == "systemd" || errA != nil || errB != nil:
		return a.Network == b.Network && a.Address == b.Address
	case portA != portB || portA == "0":
		return false
	case hostA == hostB:
		return true
	}
	return (everyAddress(hostA) || everyAddress(hostB)) && (a.Network == b.Network || a.Network == "tcp" || b.Network == "tcp")
}

func everyAddress(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "" || err == nil && a.IsUnspecified()
}
