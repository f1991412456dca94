package config

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"backstop/internal/mail"
)

// Blocklists is which DNS blocklists are asked, and about which of our addresses.
type Blocklists struct {
	Lists []string      // zones, folded
	Watch []netip.Addr  // public addresses; empty: nothing is watched
	Every time.Duration // between two checks
}

// Watches says whether there is anything to watch.
func (b *Blocklists) Watches() bool { return len(b.Watch) > 0 && len(b.Lists) > 0 }

// DefaultBlocklists are the lists that name senders of bounces.
func DefaultBlocklists() []string {
	return []string{"ips.backscatterer.org", "bl.spamcop.net", "backscatter.spameatingmonkey.net"}
}

// maxZone is how long the name of a list may be: 32 nibbles with their dots stand before it, and a name has 253
// characters at most (RFC 1035, 2.3.4; RFC 5782, 2.4).
const maxZone = 253 - 64

func (b *Blocklists) keys(d *decoder) []key {
	return []key{
		{name: "lists", def: `["` + strings.Join(DefaultBlocklists(), `", "`) + `"]`, set: once(&b.Lists, ParseZone),
			doc: "The lists, by their zones, that `backstop listed` asks and that are watched. Add those by which the receivers of your mail go; read on the list's page whether it may be asked by you, and how often."},
		{name: "watch", def: "[]", set: d.marked("blocklists.watch", once(&b.Watch, ParsePublicAddress)),
			doc: "Addresses of yours that are checked while the daemon runs: those from which your mail, and your bounces, leave. One log line at each change, a metric, and a line in `status`. `[]` watches nothing."},
		{name: "every", def: `"1h"`, set: duration(&b.Every, 10*time.Minute, 7*day),
			doc: "How long it is from one check to the next. Lists change over hours, and count who asks them how often."},
	}
}

// checkBlocklists wants a list where there is something to watch.
func (c *Config) checkBlocklists(d *decoder) {
	if len(c.Blocklists.Watch) > 0 && len(c.Blocklists.Lists) == 0 {
		d.fail(d.places["blocklists.watch"], "name lists, or take out lists = [] for the usual ones", "watch: there are no lists that could be asked")
	}
}

// once takes a list of texts in which nothing stands twice.
func once[T comparable](dst *[]T, parse func(string) (T, error)) setter {
	return func(d *decoder, n *node) {
		*dst = nil
		if !d.want(n, kindArray) {
			return
		}
		first := map[T]position{}
		for _, e := range n.elems {
			v, ok := one(d, e, parse)
			if !ok {
				continue
			}
			if at, taken := first[v]; taken {
				d.bad(e, "", "%v is named already%s", v, since(at))
				continue
			}
			first[v] = e.at
			*dst = append(*dst, v)
		}
	}
}

// ParseZone reads the zone of a DNS blocklist, and folds it. The error comes with advice.
func ParseZone(s string) (string, error) {
	const advice = `a list is named by its zone, such as "ips.backscatterer.org"`
	if _, err := netip.ParseAddr(s); err == nil || strings.ContainsAny(s, "/:@") {
		return "", hinted{fmt.Sprintf("%q is not the zone of a list", s), advice}
	}
	zone, err := mail.FoldDomain(s)
	switch {
	case err != nil || !strings.Contains(zone, "."):
		return "", hinted{fmt.Sprintf("%q is not the zone of a list", s), advice}
	case len(zone) > maxZone:
		return "", hinted{fmt.Sprintf("%q is too long for the zone of a list", s), fmt.Sprintf("with an IPv6 address before it a name of %d characters fits", maxZone)}
	}
	return zone, nil
}

// ParsePublicAddress reads one address that a blocklist can have. The error comes with advice.
func ParsePublicAddress(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	if err != nil {
		if _, err := netip.ParsePrefix(s); err == nil {
			return a, hinted{fmt.Sprintf("%q is a network", s), "lists are asked about one address at a time: name those from which mail leaves"}
		}
		return a, hinted{fmt.Sprintf("%q is not an IP address", s), `write the address from which mail leaves, such as "192.0.2.25" or "2001:db8::25"`}
	}
	a = a.Unmap()
	if why := notPublic(a); why != "" {
		return netip.Addr{}, hinted{fmt.Sprintf("%s is %s, and no list can have it", a, why), "name the address under which the internet sees you: behind NAT, that of the router"}
	}
	return a, nil
}

// notPublic says why nobody on the internet has an address; "" for those that can be had, and for those of
// documentation (RFC 5737, RFC 3849).
func notPublic(a netip.Addr) string {
	switch {
	case a.Zone() != "" || a.IsLinkLocalUnicast():
		return "a link-local address"
	case a.IsLoopback(), a.Is4() && a.As4()[0] == 127:
		return "an address of this machine itself"
	case a.IsMulticast():
		return "a multicast address"
	case a.IsUnspecified(), a.Is4() && (a.As4()[0] == 0 || a.As4()[0] >= 240):
		return "no address of a machine"
	case private(netip.PrefixFrom(a, a.BitLen())):
		return "a private address"
	}
	return ""
}

// ParseResolver reads the address of a DNS server as [dns] resolvers has it. The error comes with advice.
func ParseResolver(s string) (netip.AddrPort, error) { return parseResolver(s) }
