package access

import (
	"net/netip"
	"strconv"
	"strings"

	"backstop/internal/evidence"
	"backstop/internal/mail"
)

// sender adds a line about senders.
func (r *reader) sender(key string, a action) {
	if key == "<>" {
		r.warn("the null sender is never looked up, since every server must take bounces (RFC 5321, 4.5.5)")
		return
	}
	switch net, bracketed, ok := network(key); {
	case ok && bracketed:
		r.network(tagFrom, net, true, a)
		return
	case ok:
		r.warn("%s is no sender's domain, and no sender is found by it; a client's network is written Connect:%s", key, key)
		return
	}
	name, ok := r.asWritten(r.key, key)
	if !ok {
		return
	}
	r.forms(name)
	r.keep(tagFrom, name, a)
}

// client adds a line about clients.
func (r *reader) client(key string, a action) {
	if net, bracketed, ok := network(key); ok {
		r.network(tagConnect, net, bracketed, a)
		return
	}
	name, ok := r.asWritten(r.domain, key)
	if !ok {
		return
	}
	r.warnOnce("client name", "a client's name is not looked up in the DNS here, so that %s counts only for clients whose name a trusted front tells (xclient); a network always counts", name)
	r.keep(tagConnect, name, a)
}

// asWritten folds a key of a sender or client, among whom an alias of a domain is a name
// of its own.
func (r *reader) asWritten(fold func(string) (string, bool), text string) (name string, ok bool) {
	canonical := r.canonical
	r.canonical = same
	name, ok = fold(text)
	r.canonical = canonical
	return name, ok
}

// network adds a line about a client's network, or in brackets about senders who give
// an address for a domain.
func (r *reader) network(t tag, net netip.Prefix, bracketed bool, a action) {
	r.networks = true
	r.brackets = r.brackets || bracketed
	var buf [maxNetworkKey]byte
	r.keep(t, string(appendNetwork(buf[:0], net.Addr(), net.Bits(), bracketed)), a)
}

// keep is put for a line whose number is wanted.
func (r *reader) keep(t tag, key string, a action) {
	if h, fresh := r.put(t, key, a); fresh {
		r.keys.Note(h, uint32(r.line))
	}
}

// network reads an address or its beginning, cut at an octet ("192.0.2") or, after
// IPv6:, at a group ("IPv6:2001:db8"), with or without brackets. Bits behind the prefix are zero.
func network(key string) (net netip.Prefix, bracketed, ok bool) {
	s := key
	if strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") {
		s, bracketed = s[1:len(s)-1], true
	}
	if v6, ok := cutFold(s, "IPv6:"); ok {
		if a, err := netip.ParseAddr(v6); err == nil && a.Is6() && a.Zone() == "" {
			return netip.PrefixFrom(a, 128), bracketed, true
		}
		groups := strings.Count(v6, ":") + 1
		a, err := netip.ParseAddr(v6 + "::")
		if err != nil || a.Zone() != "" || strings.Contains(v6, "::") {
			return netip.Prefix{}, false, false
		}
		return netip.PrefixFrom(a, 16*groups), bracketed, true
	}
	parts := strings.Split(s, ".")
	if len(parts) > 4 {
		return netip.Prefix{}, false, false
	}
	var octets [4]byte
	for i, p := range parts {
		v, err := strconv.ParseUint(p, 10, 8)
		if err != nil {
			return netip.Prefix{}, false, false
		}
		octets[i] = byte(v)
	}
	return netip.PrefixFrom(netip.AddrFrom4(octets), 8*len(parts)), bracketed, true
}

// The key of a network is one of these octets, and those of the prefix. No name
// begins so.
const (
	keyIPv4 = 1 + iota
	keyIPv6
	keyBracketed = 0x10
)

const maxNetworkKey = 1 + 16

func appendNetwork(key []byte, a netip.Addr, bits int, bracketed bool) []byte {
	kind := byte(keyIPv6)
	if a.Is4() {
		kind = keyIPv4
	}
	if bracketed {
		kind |= keyBracketed
	}
	key = append(key, kind)
	if a.Is4() {
		octets := a.As4()
		return append(key, octets[:bits/8]...)
	}
	octets := a.As16()
	return append(key, octets[:bits/8]...)
}

// shown is a key for people.
func shown(key string) string {
	if key == "" || key[0] >= ' ' {
		return key
	}
	octets := key[1:]
	if key[0]&^keyBracketed == keyIPv4 {
		var a [4]byte
		copy(a[:], octets)
		return netip.PrefixFrom(netip.AddrFrom4(a), 8*len(octets)).String()
	}
	var a [16]byte
	copy(a[:], octets)
	return netip.PrefixFrom(netip.AddrFrom16(a), 8*len(octets)).String()
}

// Sender says what an access file says of a sender, as Sendmail's check_mail looks him up:
// tagged From: and untagged, the full address (user+*@ and user@ its domain where
// there is a +detail), user@, the domain and its parents. Of the null sender no file
// says anything. It allocates nothing.
func (s *Source) Sender(from mail.Address) evidence.Policy {
	if s.kind != Access || from.IsZero() {
		return evidence.Policy{}
	}
	c := s.file.Get()
	if !c.seen[tagFrom] && !c.seen[tagNone] {
		return evidence.Policy{}
	}
	domain := from.Domain()
	switch {
	case domain == "" && !c.users:
		return evidence.Policy{}
	case domain == "":
		return c.policy(c.address(tagFrom, from.LocalKey(), ""))
	}
	h := c.search(tagFrom, from.Key())
	if h.action == nil && domain[0] == '[' && c.brackets {
		domain, _ = cutFold(domain[1:len(domain)-1], "IPv6:")
		addr, _ := netip.ParseAddr(domain) // it was one when the path was read
		return c.within(tagFrom, addr, true)
	}
	return c.policy(h)
}

// Client says what an access file says of a client, as Sendmail's check_relay looks him
// up: tagged Connect: and untagged, the name and its parents where one is known, or
// else the address in brackets; then the address and its networks, from the longest. It
// allocates nothing but for a name in capitals.
func (s *Source) Client(addr netip.Addr, name string) evidence.Policy {
	if s.kind != Access {
		return evidence.Policy{}
	}
	c := s.file.Get()
	if name != "" && (c.seen[tagConnect] || c.seen[tagNone]) {
		if folded, err := mail.FoldDomain(name); err == nil {
			if p := c.policy(c.domain(tagConnect, folded)); p.Word != evidence.NothingSaid {
				return p
			}
		}
	}
	if !c.networks {
		return evidence.Policy{}
	}
	addr = addr.Unmap().WithZone("")
	if name == "" && c.brackets {
		if p := c.within(tagConnect, addr, true); p.Word != evidence.NothingSaid {
			return p
		}
	}
	return c.within(tagConnect, addr, false)
}

// within tries the networks that an address is in, from the longest, with a tag and without.
func (c *content) within(t tag, addr netip.Addr, bracketed bool) evidence.Policy {
	if !addr.IsValid() {
		return evidence.Policy{}
	}
	step := 16 // IPv6 is cut at its groups, and IPv4 at its octets
	if addr.Is4() {
		step = 8
	}
	var buf [1 + maxNetworkKey]byte
	for bits := addr.BitLen(); bits > 0; bits -= step {
		for _, t := range [...]tag{t, tagNone} {
			if !c.seen[t] {
				continue
			}
			key := appendNetwork(append(buf[:0], byte(t)), addr, bits, bracketed)
			if n, line, found := c.keys.GetNote(key); found {
				return c.says(n, line)
			}
		}
	}
	return evidence.Policy{}
}

// policy is what the line means for a sender or client.
func (c *content) policy(h hit) evidence.Policy {
	if h.action == nil {
		return evidence.Policy{}
	}
	var buf [400]byte
	n, line, _ := c.keys.GetNote(append(append(append(append(buf[:0], byte(h.tag)), h.a...), h.b...), h.d...))
	return c.says(n, line)
}

// says is policy for an action and the line at which it stands.
func (c *content) says(n uint16, line uint32) evidence.Policy {
	a := &c.actions[n]
	p := evidence.Policy{Word: evidence.Refused, File: c.path, Line: int(line), Detail: a.verb.String()}
	switch a.verb {
	case Skip:
		return evidence.Policy{}
	case OK, Relay:
		p.Word = evidence.Allowed
	case Refuse:
		p.Reply = a.reply
		if !a.party.IsZero() {
			p.Reply = a.party
		}
		if p.Reply.Temporary() {
			p.Word = evidence.Deferred
		}
	}
	return p
}
