package config

import (
	"fmt"
	"strings"

	"backstop/internal/mail"
)

// domainDraft is a [[domain]] before the sections that it may name are known.
type domainDraft struct {
	Domain
	section position
	relayAt position
	relayed bool // a relay is written
	refs    []sourceRef
	guardPlaces
}

// claim is who has a domain name, and where he says so.
type claim struct {
	domain *domainDraft
	at     position
}

func (t *domainDraft) keys() []key {
	keys := []key{
		{name: "name", required: true, example: `"example.com"`, set: func(d *decoder, n *node) {
			if name, ok := one(d, n, mail.FoldDomain); ok && d.claim(t, n, name) {
				t.Name = name
			}
		}, doc: "The domain. Subdomains are domains of their own."},
		{name: "aliases", def: "[]", set: t.takeAliases, doc: "Other names with the same users. The directory is asked under `name`; the downstream gets the address as the sender wrote it."},
		{name: "relay", unset: "none; required where `[smtp]` listens", set: func(d *decoder, n *node) { t.relayAt, t.relayed = n.at, true; text(&t.Relay, parseRelay)(d, n) },
			doc: "The downstream: `smtp://HOST[:PORT]`, `lmtp://HOST:PORT` or `lmtp+unix:///PATH`. `?tls=off`, `opportunistic` (default) or `require`; `&client=xclient`, `xforward` or `proxy` hands on the true client to a downstream that trusts us. Beside an MTA, which delivers itself, it is needed only where `callahead` asks it."},
		{name: "recipients", def: `["callahead"]`, set: t.takeRecipients,
			doc: "Who says which users exist, asked in this order; the first definite answer holds. `callahead` (the relay itself), `callahead:smtp://HOST:PORT`, `list:FILE` (an address or a local part a line, `#` comments), `access:FILE` and `virtusertable:FILE` (Sendmail's texts), `postmap:FILE` (Postfix's), `anybody`, or the name of a `[source.NAME]`."},
		{name: "subaddress", def: `""`, set: text(&t.Subaddress, parseSeparator),
			doc: "The separator after which an address is only a tag: with `\"+\"`, user+tag is user where user+tag itself is not known. For lists and other servers; a relay that is the source itself is asked for the whole address."},
		{name: "mode", unset: "that of the top", set: func(d *decoder, n *node) {
			t.ModeSet = true
			choice(&t.Mode, "enforce", "watch")(d, n)
		}, doc: "`enforce` or `watch` for this domain alone: bring domains in one by one."},
	}
	return append(keys, t.guardKeys()...)
}

func parseSeparator(s string) (string, error) {
	if len(s) > 8 || strings.Trim(s, "!#$%&'*+-/=?^_`{|}~") != "" {
		return "", hinted{fmt.Sprintf("%q cannot part a user from his tag", s), `the separator is a sign such as "+" or "-"`}
	}
	return s, nil
}

// claim takes a name for t, unless it is somebody's already.
func (d *decoder) claim(t *domainDraft, n *node, name string) bool {
	if c, taken := d.names[name]; taken {
		d.bad(n, "", "%s is a domain already%s", name, since(c.at))
		return false
	}
	d.names[name] = claim{t, n.at}
	return true
}

func (t *domainDraft) takeAliases(d *decoder, n *node) {
	if !d.want(n, kindArray) {
		return
	}
	for _, e := range n.elems {
		if name, ok := one(d, e, mail.FoldDomain); ok && d.claim(t, e, name) {
			t.Aliases = append(t.Aliases, name)
		}
	}
}

func (t *domainDraft) takeRecipients(d *decoder, n *node) {
	if !d.want(n, kindArray) {
		return
	}
	if len(n.elems) == 0 {
		d.bad(n, `leave it out for ["callahead"], or write ["anybody"] to accept all`, "nobody would say who exists")
	}
	for _, e := range n.elems {
		if ref, ok := d.takeRecipient(e); ok {
			t.refs = append(t.refs, ref)
			t.Recipients = append(t.Recipients, e.text)
		}
	}
}

// takeDomains takes all [[domain]].
func takeDomains(d *decoder, n *node) {
	d.mark("domain", n)
	if n.kind != kindArray {
		d.fail(n.at, "write [[domain]]: there may be several", "domain: a list of sections is wanted, this is %s", n.kind)
		return
	}
	for _, e := range n.elems {
		t := &domainDraft{section: e.at}
		d.table(e, "[[domain]]", t.keys())
		d.domains = append(d.domains, t)
	}
}
