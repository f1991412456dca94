package access

import (
	"net/netip"
	"strconv"
	"strings"

	"backstop/internal/directory"
	"backstop/internal/evidence"
	"backstop/internal/mail"
)

// Rule is a line of an access file about senders or clients.
type Rule struct {
	Line int
	// Key is an address, user@ or a domain of a sender; a name or an address of a client.
	// Folded, without the tag.
	Key string
	// Network is the client's address or network, where Key is one.
	Network netip.Prefix
	Verb    Verb
	Reply   mail.Reply // of Refuse
}

// ignoredTags are for parts of Sendmail that have nothing to do with recipients.
var ignoredTags = []string{
	"spam", "greetpause", "clientrate", "clientconn", "srv_features", "clt_features", "tls_srv", "tls_clt", "tls_rcpt",
	"try_tls", "authinfo", "certissuer", "certsubject", "qgrp",
}

// accessLine reads one line of an access file.
func (r *reader) accessLine(n int, line string) {
	r.line = n
	key, value, ok := r.split(line)
	if !ok {
		return
	}
	written, rest, tagged := strings.Cut(key, ":")
	tag := strings.ToLower(written)
	if tagged {
		for _, t := range ignoredTags {
			if tag == t { // the value is not shown: AuthInfo has passwords
				if !r.ignored[t] {
					r.warn("lines with %s: are not used here", tag)
				}
				r.ignored[t] = true
				return
			}
		}
	}
	a, err := parseValue(value)
	if err != nil {
		r.wrong("%q: %v", key, err)
		return
	}
	switch {
	case !tagged || tag == "ipv6":
		r.untaggedKey(key, a)
	case tag == "to":
		r.recipient(tagTo, rest, a)
	case tag == "from":
		if name, ok := r.key(rest); ok {
			r.senders = append(r.senders, Rule{Line: n, Key: name, Verb: a.verb, Reply: a.reply})
		}
	case tag == "connect":
		r.client(rest, a)
	default:
		r.wrong("the tag %q is not known; the tags are To:, From: and Connect:", written+":")
	}
}

func (r *reader) untaggedKey(key string, a action) {
	if _, ip := network(key); ip {
		r.client(key, a)
		return
	}
	r.recipient(tagNone, key, a)
}

func (r *reader) client(key string, a action) {
	rule := Rule{Line: r.line, Key: strings.ToLower(key), Verb: a.verb, Reply: a.reply}
	net, ok := network(key)
	if ok {
		rule.Network = net
	} else if rule.Key, ok = r.domain(key); !ok {
		return
	}
	r.clients = append(r.clients, rule)
}

// recipient adds a line about recipients.
func (r *reader) recipient(tag byte, key string, a action) {
	name, ok := r.key(key)
	if !ok {
		return
	}
	at := strings.LastIndexByte(name, '@')
	switch {
	case at < 0 && (a.verb == OK || a.verb == Relay):
		r.warn("%s accepts everybody at %s and below, which makes backscatter: name the users, or a source behind this one", a.verb, name)
	case a.verb == Discard:
		r.warn("DISCARD would take the mail and throw it away; here it is refused, so that its sender hears of it")
	}
	r.users = r.users || at == len(name)-1 && at > 0
	r.plus = r.plus || strings.IndexByte(name, '+') >= 0
	r.put(tag, name, a)
}

// key folds user@domain, user@ or a domain.
func (r *reader) key(text string) (name string, ok bool) {
	switch {
	case text == "":
		r.wrong("the key is missing")
		return "", false
	case text[0] == '.':
		r.wrong("%q has a leading dot, which Sendmail looks up only under FEATURE(lookupdotdomain); a domain without the dot covers what is below it", text)
		return "", false
	case text[0] == '@':
		r.wrong("%q is never looked up; a whole domain is written without the @", text)
		return "", false
	case strings.HasSuffix(text, "@"):
		name, ok = r.address(text[:len(text)-1])
		return name + "@", ok
	case strings.IndexByte(text, '@') > 0:
		return r.address(text)
	}
	return r.domain(text)
}

// network reads an address or its beginning, cut at an octet ("192.0.2") or, after
// IPv6:, at a group ("IPv6:2001:db8"), with or without brackets.
func network(key string) (netip.Prefix, bool) {
	s := strings.TrimSuffix(strings.TrimPrefix(key, "["), "]")
	if v6, ok := cutFold(s, "IPv6:"); ok {
		if a, err := netip.ParseAddr(v6); err == nil && a.Is6() && a.Zone() == "" {
			return netip.PrefixFrom(a, 128), true
		}
		groups := strings.Count(v6, ":") + 1
		a, err := netip.ParseAddr(v6 + "::")
		if err != nil || a.Zone() != "" || strings.Contains(v6, "::") {
			return netip.Prefix{}, false
		}
		return netip.PrefixFrom(a, 16*groups), true
	}
	parts := strings.Split(s, ".")
	if len(parts) > 4 {
		return netip.Prefix{}, false
	}
	var octets [4]byte
	for i, p := range parts {
		v, err := strconv.ParseUint(p, 10, 8)
		if err != nil {
			return netip.Prefix{}, false
		}
		octets[i] = byte(v)
	}
	return netip.PrefixFrom(netip.AddrFrom4(octets), 8*len(parts)), true
}

// access looks a recipient up as Sendmail's SearchList does (cf/m4/proto.m4: F, U, D).
func (c *content) access(key string) directory.Ruling {
	at := strings.LastIndexByte(key, '@')
	if at <= 0 {
		return directory.Ruling{}
	}
	local, domain := key[:at], key[at+1:]
	if a := c.address(local, domain); a != nil {
		return ruling(a, true)
	}
	if c.users {
		if a := c.address(local, ""); a != nil {
			return ruling(a, true)
		}
	}
	for {
		if a := c.either(domain, "", ""); a != nil {
			return ruling(a, false)
		}
		_, parent, ok := strings.Cut(domain, ".")
		if !ok {
			return directory.Ruling{}
		}
		domain = parent
	}
}

// address tries local@domain, and for user+detail user+*@domain and user@domain.
func (c *content) address(local, domain string) *action {
	if a := c.either(local, "@", domain); a != nil {
		return a
	}
	plus := detail(local)
	if plus < 0 {
		return nil
	}
	if c.plus {
		if a := c.either(local[:plus], "+*@", domain); a != nil {
			return a
		}
	}
	return c.either(local[:plus], "@", domain)
}

// detail is where the +detail of a local part begins, or -1. The user is never empty.
func detail(local string) int {
	if local == "" || local[0] == '"' {
		return -1
	}
	if i := strings.IndexByte(local[1:], '+'); i >= 0 {
		return i + 1
	}
	return -1
}

// either tries a key with the tag To:, and without a tag.
func (c *content) either(a, b, d string) *action {
	if c.tagged {
		if found, ok := c.get(tagTo, a, b, d); ok {
			return found
		}
	}
	if c.untagged {
		if found, ok := c.get(tagNone, a, b, d); ok {
			return found
		}
	}
	return nil
}

// ruling is what an action means for a recipient; exact: its line names him.
func ruling(a *action, exact bool) directory.Ruling {
	u := directory.Ruling{Exact: exact, Detail: a.verb.String()}
	switch a.verb {
	case OK, Relay:
		u.Standing = evidence.Exists
		u.Blind = !exact
	case Reject, Discard:
		u.Standing = evidence.Missing
	case Refuse:
		u.Reply, u.Detail = a.reply, a.said
		u.Standing = evidence.Missing
		if a.reply.Temporary() {
			u.Standing = evidence.Unavailable
		}
	}
	return u
}
