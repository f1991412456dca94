package access

import (
	"strings"

	"backstop/internal/directory"
	"backstop/internal/directory/book"
	"backstop/internal/evidence"
)

// accessLine reads one line of an access file.
func (r *reader) accessLine(n int, line string) {
	r.line = n
	key, value, ok := r.split(line)
	if !ok {
		return
	}
	written, rest, tagged := strings.Cut(key, ":")
	tag := strings.ToLower(written)
	if tagged && book.OtherTag(tag) { // the value is not shown: AuthInfo has passwords
		r.warnOnce(tag, "lines with %s: are not used here", written)
		return
	}
	about := addressing
	if tag == "from" || tag == "connect" {
		about = security
	}
	a, err := parseValue(value, about)
	if err != nil {
		r.wrong("%q: %v", key, err)
		return
	}
	switch {
	case !tagged || tag == "ipv6" || tag == "[ipv6":
		r.untagged(key, value, a)
	case tag == "to":
		r.recipient(tagTo, rest, a)
	case tag == "from":
		r.sender(rest, a)
	case tag == "connect":
		r.client(rest, a)
	default:
		r.wrong("the tag %q is not known; the tags are To:, From: and Connect:", written+":")
	}
}

// untagged adds a line about recipients, senders and clients alike.
func (r *reader) untagged(key, value string, a action) {
	if a.verb == Refuse {
		if p, err := parseValue(value, security); err == nil && p.reply != a.reply {
			a.party = p.reply
		}
	}
	if net, bracketed, ok := network(key); ok {
		r.network(tagNone, net, bracketed, a)
		return
	}
	r.recipient(tagNone, key, a)
}

// recipient adds a line about recipients.
func (r *reader) recipient(t tag, key string, a action) {
	name, ok := r.key(key)
	if !ok {
		return
	}
	at := strings.LastIndexByte(name, '@')
	yes := a.verb == OK || a.verb == Relay
	switch {
	case at < 0 && yes:
		r.warn("%s accepts everybody at %s and below, which makes backscatter: name the users, or a source behind this one", a.verb, name)
	case a.verb == Discard:
		r.warn("DISCARD would take the mail and throw it away; here it is refused, so that its sender hears of it")
	}
	if t == tagNone && at < 0 && a.party.IsZero() && a.reply.Status().Subject == uint16(addressing) {
		r.warn("without a tag this line refuses senders and clients of %s as well, in the same words; for recipients alone write To:%s", name, name)
	}
	r.forms(name)
	h, fresh := r.put(t, name, a)
	if fresh && t == tagNone && !(yes && at >= 0) { // it may have to be named when a sender is refused
		r.keys.Note(h, uint32(r.line))
	}
}

// forms notes which kinds of key there are.
func (r *reader) forms(name string) {
	at := strings.LastIndexByte(name, '@')
	r.users = r.users || at == len(name)-1 && at > 0
	r.plus = r.plus || strings.IndexByte(name, '+') >= 0
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
		r.star(name, "@", "")
		return name + "@", ok
	case strings.IndexByte(text, '@') > 0:
		name, ok = r.address(text)
		at := strings.LastIndexByte(name, '@')
		r.star(name[:max(at, 0)], name[max(at, 0):], name[at+1:])
		return name, ok
	}
	return r.domain(text)
}

// star warns of a "*" in a local part, given with what follows, that is meant for a wildcard: there is none but
// in user+*. whole is how the whole domain is written, or "".
func (r *reader) star(local, rest, whole string) {
	user, wild := strings.CutSuffix(local, "+*")
	if strings.IndexByte(user, '*') < 0 && (!wild || user != "") {
		return
	}
	advice := ""
	if local == "*" && whole != "" {
		advice = "; the whole domain is written " + whole
	}
	r.warn("the * is no wildcard, so %s%s matches nobody else%s", local, rest, advice)
}

// access looks a recipient up as Sendmail's SearchList does (cf/m4/proto.m4: F, U, D).
func (c *content) access(key string) directory.Ruling {
	h := c.search(tagTo, key)
	if h.action == nil {
		return directory.Ruling{}
	}
	return ruling(h.action, h.exact)
}

// hit is the line that a search ended at; the zero value is none.
type hit struct {
	action  *action
	tag     tag
	a, b, d string // its key
	exact   bool   // it names the user
}

// search looks for an address with a tag and without.
func (c *content) search(t tag, key string) hit {
	at := strings.LastIndexByte(key, '@')
	if at <= 0 {
		return hit{}
	}
	local, domain := key[:at], key[at+1:]
	if h := c.address(t, local, domain); h.action != nil {
		return h
	}
	if c.users {
		if h := c.address(t, local, ""); h.action != nil {
			return h
		}
	}
	return c.domain(t, domain)
}

// domain tries a domain and its parents.
func (c *content) domain(t tag, domain string) hit {
	for domain != "" {
		if h := c.either(t, domain, "", ""); h.action != nil {
			return h
		}
		_, domain, _ = strings.Cut(domain, ".")
	}
	return hit{}
}

// address tries local@domain, and for user+detail user+*@domain and user@domain.
func (c *content) address(t tag, local, domain string) hit {
	h := c.either(t, local, "@", domain)
	plus := detail(local)
	if h.action == nil && plus >= 0 && c.plus {
		h = c.either(t, local[:plus], "+*@", domain)
	}
	if h.action == nil && plus >= 0 {
		h = c.either(t, local[:plus], "@", domain)
	}
	h.exact = h.action != nil
	return h
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

// either tries a key with a tag, and without one.
func (c *content) either(t tag, a, b, d string) hit {
	for _, t := range [...]tag{t, tagNone} {
		if !c.seen[t] {
			continue
		}
		if found, ok := c.get(t, a, b, d); ok {
			return hit{action: found, tag: t, a: a, b: b, d: d}
		}
	}
	return hit{}
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
