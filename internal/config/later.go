package config

import (
	"net/netip"
	"strings"

	"backstop/internal/listen"
	"backstop/internal/mail"
	"backstop/internal/route"
)

// The tables here are of features that this version does not have. Their values are
// checked and then forgotten, because using them is an error: with the feature
// comes a struct, and the table moves to it.

func outboundKeys() []key {
	return []key{
		{name: "listen", set: sockets(new([]listen.Spec))},
		{name: "clients", set: networks(new([]netip.Prefix), "")},
		{name: "relay", set: text(new(route.Relay), parseRelay)},
		{name: "username", set: text(new(string), someText)},
		{name: "password", set: secret(new(Secret))},
		{name: "password_file", set: secretFile(new(Secret))},
	}
}

func milterKeys() []key {
	return []key{
		{name: "listen", set: text(new(listen.Spec), func(s string) (listen.Spec, error) { return listen.Parse(strings.TrimPrefix(s, "inet:")) })},
		{name: "internal", set: networks(new([]netip.Prefix), "")},
	}
}

// listenerKeys are those of a section that does nothing but listen.
func listenerKeys() []key {
	return []key{{name: "listen", set: socket(new(listen.Spec))}}
}

func dnsKeys() []key {
	take := list(new([]netip.AddrPort), parseResolver)
	return []key{{name: "resolvers", def: "[]", unset: "the system's",
		doc: "DNS servers to ask. This version asks the system's; anything but the empty list is refused.",
		set: func(d *decoder, n *node) {
			before := len(d.problems)
			take(d, n)
			if len(n.elems) > 0 && len(d.problems) == before {
				d.notYet(n.at, "dns.resolvers")
			}
		}}}
}

// harmless takes a choice of which only some values can be kept already.
func harmless(allowed string, names ...string) setter {
	var v uint8
	take := choice(&v, names...)
	return func(d *decoder, n *node) {
		before := len(d.problems)
		take(d, n)
		if len(d.problems) == before && !strings.Contains(" "+allowed+" ", " "+n.text+" ") {
			d.notYet(n.at, d.key+" = \""+n.text+"\"")
		}
	}
}

// parseOutsider reads one of senders: a network, or From:DOMAIN.
func parseOutsider(s string) (string, error) {
	if domain, ok := strings.CutPrefix(s, "From:"); ok {
		_, err := mail.FoldDomain(domain)
		return s, err
	}
	_, err := parsePrefix(s)
	return s, err
}

// guardKeys are the rows of [[domain]] about who may send as it and which bounces come in.
func guardKeys() []key {
	senders := list(new([]string), parseOutsider)
	return []key{
		{name: "senders", def: "[]", doc: "Who outside may send as this domain. Only with `forged`, so not yet.",
			set: func(d *decoder, n *node) {
				before := len(d.problems)
				senders(d, n)
				if len(n.elems) > 0 && len(d.problems) == before {
					d.notYet(n.at, "senders")
				}
			}},
		{name: "forged", def: `"allow"`, set: harmless("allow", "allow", "refuse"),
			doc: "Mail from outside that claims to be from this domain. `refuse` is not part of this version yet."},
		{name: "spf", def: `"mark"`, set: harmless("mark off", "mark", "off", "refuse"), doc: "`refuse` is not part of this version yet, and nothing is marked yet."},
		{name: "dmarc", def: `"mark"`, set: harmless("mark off", "mark", "off", "refuse"), doc: "`refuse` is not part of this version yet, and nothing is marked yet."},
		{name: "bounces", def: `"watch"`, set: harmless("watch off", "watch", "off", "enforce"), doc: "`enforce` is not part of this version yet, and nothing is judged yet."},
		{name: "batv", def: `"off"`, set: harmless("off", "off", "sign", "watch", "enforce"), doc: "Only `off` is part of this version."},
		{name: "bounce_to", def: `""`, doc: "Only `\"\"` is part of this version.",
			set: func(d *decoder, n *node) {
				if a, ok := one(d, n, orNone(parseMailbox)); ok && !a.IsZero() {
					d.notYet(n.at, "bounce_to")
				}
			}},
	}
}
