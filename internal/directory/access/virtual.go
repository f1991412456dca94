package access

import (
	"strings"

	"backstop/internal/directory"
	"backstop/internal/directory/table"
	"backstop/internal/evidence"
)

// maxHops is how often an address is rewritten before it counts as a circle.
const maxHops = 10

// link is a line of a virtusertable that names another address.
type link struct {
	from   table.Hash
	line   int
	target string // key
}

// virtualLine reads one line of a virtusertable.
func (r *reader) virtualLine(n int, line string) {
	r.line = n
	key, value, ok := r.split(line)
	if !ok {
		return
	}
	a, ok := r.virtualValue(value)
	if !ok {
		return
	}
	at := strings.LastIndexByte(key, '@')
	if at < 0 || at == len(key)-1 {
		r.wrong("%q is never looked up; a key is user@domain or @domain", key)
		return
	}
	domain, ok := r.domain(key[at+1:])
	if !ok {
		return
	}
	name := ""
	switch local := key[:at]; local {
	case "", "+*", "++":
		name = local + "@" + domain
		r.plus = r.plus || local != ""
		if a.verb == rewrite {
			r.catchAlls = append(r.catchAlls, link{line: n, target: a.target})
		}
	default:
		if name, ok = r.address(key); !ok {
			return
		}
		r.star(local, "@"+domain, "@"+domain)
		r.plus = r.plus || strings.IndexByte(local, '+') >= 0
	}
	r.domains[domain] = struct{}{}
	whole := name[0] == '@' || name[0] == '+'
	target := a.target
	if a.verb == rewrite && !whole && !strings.Contains(target, "%") {
		a.target = "" // a million lines are one action
	}
	h, fresh := r.put(tagNone, name, a)
	if fresh && a.verb == rewrite && a.target == "" && strings.Contains(target, "@") {
		r.virtual = append(r.virtual, link{h, n, target})
	}
}

func (r *reader) virtualValue(s string) (action, bool) {
	if rest, ok := cutFold(s, "error:"); ok {
		a, err := parseVirtualError(rest)
		if err != nil {
			r.wrong("%v", err)
		}
		return a, err == nil
	}
	if strings.ContainsAny(s, " \t,") {
		r.wrong("%q is not one address; a line for several people belongs into the aliases", s)
		return action{}, false
	}
	at := strings.LastIndexByte(s, '@')
	if at < 0 {
		return action{verb: rewrite, target: s}, true
	}
	domain, ok := r.domain(s[at+1:])
	return action{verb: rewrite, target: strings.ToLower(s[:at]) + "@" + domain}, ok
}

// resolve follows the lines that name other addresses of the same file: who is
// renamed to somebody refused is refused. Then it warns of the catch-alls.
func (r *reader) resolve() {
	next := make(map[table.Hash]link, 64)
	for _, l := range r.virtual {
		if r.has(l.target) {
			next[l.from] = l
		}
	}
	for changed := true; changed; { // a refusal found is the next one's
		changed = false
		for _, l := range next {
			last, hops := r.follow(next, l)
			if hops == maxHops {
				r.line = l.line
				r.wrong("the address goes round in a circle")
				return
			}
			u := r.content.virtual(last)
			if n, known := r.index[action{verb: Refuse, reply: u.Reply, said: u.Detail}]; known {
				r.keys.Change(l.from, n)
				delete(next, l.from)
				changed = true
			}
		}
	}
	for _, l := range r.catchAlls {
		if !strings.Contains(l.target, "@") || !r.has(l.target) {
			r.line = l.line
			r.warn("this line accepts everybody in its domain, known or not: a catch-all")
		}
	}
}

// has says whether the file has lines for the domain of an address.
func (r *reader) has(target string) bool {
	_, ours := r.domains[target[strings.LastIndexByte(target, '@')+1:]]
	return ours
}

// follow goes from line to line, and says where it ends.
func (r *reader) follow(next map[table.Hash]link, l link) (last string, hops int) {
	for ; hops < maxHops; hops++ {
		h := r.keys.HashBytes([]byte(string(rune(tagNone)) + l.target))
		further, ok := next[h]
		if !ok || h == l.from { // an address that points at itself is a mailbox
			break
		}
		l = further
	}
	return l.target, hops
}

// virtual looks a recipient up as Sendmail's ParseLocal does, which begins again with
// what the address became.
func (c *content) virtual(key string) directory.Ruling {
	u := directory.Ruling{}
	for range maxHops {
		a, exact, next := c.hop(key)
		if a == nil {
			return u
		}
		if a.verb == Refuse {
			return ruling(a, exact)
		}
		u = directory.Ruling{Standing: evidence.Exists, Exact: exact, Blind: !exact, Detail: "a virtual user"}
		if !exact {
			u.Detail = "a catch-all"
		}
		if a.target == "" || next == key || strings.IndexByte(next, '@') < 0 {
			return u
		}
		key = next
	}
	return directory.Ruling{Standing: evidence.Unavailable, Detail: "the virtual user goes round in a circle"}
}

// hop finds the line of an address, and what it becomes. exact: the line names the user.
func (c *content) hop(key string) (a *action, exact bool, next string) {
	at := strings.LastIndexByte(key, '@')
	if at <= 0 {
		return nil, false, ""
	}
	local, domain := key[:at], key[at+1:]
	if a, ok := c.get(tagNone, key, "", ""); ok {
		return a, true, expand(a.target, local, "")
	}
	user, more := local, ""
	if plus := detail(local); plus >= 0 {
		user, more = local[:plus], local[plus+1:]
		if a, ok := c.plussed(user, more, domain); ok {
			return a, true, expand(a.target, user, more)
		}
		if a, ok := c.get(tagNone, user, "@", domain); ok {
			return a, true, expand(a.target, user, more)
		}
		if a, ok := c.plussed("", more, domain); ok {
			return a, false, expand(a.target, user, more)
		}
	}
	if a, ok := c.get(tagNone, "", "@", domain); ok {
		return a, false, expand(a.target, user, more)
	}
	return nil, false, ""
}

func (c *content) plussed(user, more, domain string) (a *action, ok bool) {
	if !c.plus {
		return nil, false
	}
	if more != "" {
		if a, ok = c.get(tagNone, user, "++@", domain); ok {
			return a, true
		}
	}
	return c.get(tagNone, user, "+*@", domain)
}

// expand puts user and detail into a target: %1, %2, and %3 for the detail with its plus.
func expand(target, user, more string) string {
	if strings.IndexByte(target, '%') < 0 {
		return target
	}
	plus := ""
	if more != "" {
		plus = "+" + more
	}
	return strings.NewReplacer("%1", user, "%2", more, "%3", plus, "%%", "%").Replace(target)
}
