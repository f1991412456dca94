package config

import (
	"fmt"
	"net/netip"
	"strings"

	"backstop/internal/evidence"
	"backstop/internal/mail"
)

// Senders is who outside may send as a domain of ours although that is refused to others.
type Senders struct {
	Networks []netip.Prefix
	From     []string // folded: domains, which cover those below them, and addresses as mail.Address.Key has them
	Files    []string // access files, of which the lines about senders and clients count
}

// Exempt is which automatic mail need not prove what it answers.
type Exempt struct {
	From []string // folded domains of senders; those below them are covered
	To   []string // recipients as mail.Address.Key has them; a bare local part is LocalKey and "@"
}

// guardPlaces are the places of the keys that are looked at together.
type guardPlaces struct {
	at           map[string]position // of whole keys
	fromAt, toAt []position          // of each of Senders.From and Exempt.To
	dkimAt       []position          // of each of DKIM
}

// placed remembers where a key of this domain stands.
func (t *domainDraft) placed(name string, set setter) setter {
	return func(d *decoder, n *node) {
		if t.at == nil {
			t.at = map[string]position{}
		}
		t.at[name] = n.at
		set(d, n)
	}
}

// written says whether the file, and not a default, gives the key.
func (t *domainDraft) written(name string) bool { return t.at[name].file != "" }

// guardKeys are the rows of [[domain]] about who may send as it and which bounces come in.
func (t *domainDraft) guardKeys() []key {
	g := &t.Guards
	forged := func(d *decoder, n *node) {
		var v uint8
		choice(&v, "allow", "refuse")(d, n)
		t.Forged = v == 1
	}
	return []key{
		{name: "forged", def: `"allow"`, set: t.placed("forged", forged),
			doc: "Mail from outside whose envelope sender claims to be of this domain: `refuse` it (rule `sender-forged`), or `allow`. Refuse it when everything that sends as this domain either is named in `senders`, comes through a network for which SPF passes, or does not come in here at all."},
		{name: "senders", def: "[]", set: t.placed("senders", t.takeSenders),
			doc: "Who outside may send as this domain with `forged = \"refuse\"`: a network; `From:DOMAIN`, which is a domain and what is below it, or `From:user@domain`; or `access:FILE`, whose lines about senders and clients count. Name web shops, newsletter services and branch offices, best by their networks: as a `From:` entry anybody outside may write."},
		{name: "spf", def: `"mark"`, set: t.placed("spf", choice(&g.SPF, "off", "mark", "refuse")),
			doc: "What follows when the sender's domain says that the client may not send for it (RFC 7208): `refuse` where it says *fail* (rule `sender-spf`), `mark` in the header, or `off`. Refusing also hits mail that somebody forwards to you without rewriting the sender."},
		{name: "dmarc", def: `"mark"`, set: t.placed("dmarc", choice(&g.DMARC, "off", "mark", "refuse")),
			doc: "What follows when the header From does not hold up (RFC 7489): `refuse` where its domain publishes `p=reject` (rule `dmarc`), `mark` in the header, or `off`. Refusing also hits mailing lists that change messages."},
		{name: "bounces", def: `"watch"`, set: t.placed("bounces", choice(&g.Bounces, "off", "watch", "enforce")),
			doc: "Bounces and other automatic mail that comes in: `watch` judges whether it answers mail that you sent, marks it and lets it in; `enforce` refuses what does not prove it (rule `bounce-not-ours`); `off` does not look. Enforce when all your mail has gone through `[outbound]` or the milter for ten days, and the report of `watch` shows nothing that you want."},
		{name: "bounces_exempt", def: "[]", set: t.placed("bounces_exempt", t.takeExempt),
			doc: "Automatic mail that is let in unproven: `From:DOMAIN` for senders there and below, `To:user` or `To:user@domain` for a recipient of this domain. For ticket systems and lists that the report of `watch` shows."},
		{name: "batv", def: `"off"`, set: t.placed("batv", choice(&g.Tags, "off", "sign", "watch", "enforce")),
			doc: "Tags on the envelope senders of what leaves, by which a bounce is known: `sign` writes them, `watch` also counts bounces without one, `enforce` also refuses those (rule `bounce-not-ours`) and made-up tags (rule `recipient-tag`), as soon as tags have been written for as long as one lives. `off` where receivers of yours go by the envelope sender, such as some lists."},
		{name: "bounce_to", def: `""`, set: t.placed("bounce_to", text(&t.BounceTo, orNone(parseMailbox))),
			doc: "A mailbox of yours that gets the bounces which must not leave, because their addressee is not proven to have written. With `\"\"` they are refused, and stay in the queue or the log of the server that made them."},
		{name: "dkim", unset: "nothing is signed", set: t.placed("dkim", t.takeDKIM),
			parts: []variant{{"dkim = [{ … }]", "Keys for DKIM signatures of this domain (RFC 6376), each written as an inline table: `dkim = [{ selector = \"s1\", key = \"/etc/backstop/dkim/s1.pem\" }]`. To change a key, add the new one with `sign = false`, publish its record, let them swap `sign`, and take the old one out ten days later.", (&dkimDraft{}).keys()}},
			doc:   "Keys with which mail that leaves is signed, and by which returned headers are known; see below."},
	}
}

// takeSenders reads networks, From: and access: entries.
func (t *domainDraft) takeSenders(d *decoder, n *node) {
	if !d.want(n, kindArray) {
		return
	}
	for _, e := range n.elems {
		if !d.want(e, kindText) {
			continue
		}
		if from, ok := cutWord(e.text, "From:"); ok {
			if key, ok := one(d, &node{kind: kindText, at: e.at, text: from}, parseFrom); ok {
				t.Senders.From, t.fromAt = append(t.Senders.From, key), append(t.fromAt, e.at)
			}
			continue
		}
		if path, ok := strings.CutPrefix(e.text, "access:"); ok {
			var s Source
			if d.takeFile(e, path, &s, accessFile) {
				t.Senders.Files = append(t.Senders.Files, s.File)
			}
			continue
		}
		if p, ok := one(d, e, parseSenderNetwork); ok {
			t.Senders.Networks = append(t.Senders.Networks, p)
			if p.Bits() == 0 {
				d.warn(e.at, `write forged = "allow" if that is meant`, "senders: %q is everybody, so nobody is refused", e.text)
			}
		}
	}
}

// cutWord cuts a word that stands before the value, whatever its case, as access files have it.
func cutWord(s, word string) (string, bool) {
	if len(s) < len(word) || !strings.EqualFold(s[:len(word)], word) {
		return s, false
	}
	return s[len(word):], true
}

// parseFrom reads a domain or an address, folded.
func parseFrom(s string) (string, error) {
	if strings.Contains(s, "@") {
		a, err := parseMailbox(s)
		if err != nil && strings.HasPrefix(s, "@") {
			return "", hinted{fmt.Sprintf("%q is no sender", s), "write From:" + s[1:] + " for a whole domain"}
		}
		return a.Key(), err
	}
	return mail.FoldDomain(s)
}

func parseSenderNetwork(s string) (netip.Prefix, error) {
	p, err := parsePrefix(s)
	if err != nil && strings.IndexByte("0123456789", (s + " ")[0]) < 0 {
		return p, hinted{fmt.Sprintf("%q is not known", s), `write a network, "From:DOMAIN", "From:user@domain" or "access:FILE"`}
	}
	return p, err
}

// takeExempt reads From: and To: entries.
func (t *domainDraft) takeExempt(d *decoder, n *node) {
	if !d.want(n, kindArray) {
		return
	}
	for _, e := range n.elems {
		if !d.want(e, kindText) {
			continue
		}
		from, isFrom := cutWord(e.text, "From:")
		to, isTo := cutWord(e.text, "To:")
		switch {
		case isFrom && strings.Contains(from, "@"):
			_, domain, _ := strings.Cut(from, "@")
			d.bad(e, "write From:"+domain, "%q names an address, and automatic mail is excused by the domain of its sender", e.text)
		case isFrom:
			if domain, ok := one(d, &node{kind: kindText, at: e.at, text: from}, mail.FoldDomain); ok {
				t.Exempt.From = append(t.Exempt.From, domain)
			}
		case isTo:
			if key, ok := one(d, &node{kind: kindText, at: e.at, text: to}, parseExempted); ok {
				t.Exempt.To, t.toAt = append(t.Exempt.To, key), append(t.toAt, e.at)
			}
		default:
			d.bad(e, `write "From:DOMAIN" for senders, "To:user" or "To:user@domain" for a recipient`, "%q is not known", e.text)
		}
	}
}

// parseExempted reads a recipient, or the local part of one.
func parseExempted(s string) (string, error) {
	a, err := mail.ParseAddress(s)
	switch {
	case err != nil && strings.HasPrefix(s, "@"):
		return "", hinted{fmt.Sprintf("%q is a whole domain", s), `write bounces = "watch" for a domain that takes all bounces`}
	case err != nil:
		return "", fmt.Errorf("%q: %w", s, err)
	case a.Domain() == "":
		return a.LocalKey() + "@", nil
	}
	return a.Key(), nil
}

// checkGuards looks at the keys of one domain beside each other, and beside the doors by which mail leaves.
func (c *Config) checkGuards(d *decoder, t *domainDraft) {
	t.checkSenders(d)
	t.checkExempt(d)
	t.checkDKIM(d, c.Sends())
	if to := t.BounceTo; !to.IsZero() {
		at := t.at["bounce_to"]
		if _, ours := d.names[to.Domain()]; !ours {
			d.warn(at, "name a mailbox in one of your domains", "bounce_to: %s is not one of the domains here", to.Domain())
		}
		if !c.Sends() {
			d.warn(at, "let your servers send through [outbound] or [milter], or take it out", "bounce_to: it has no effect without [outbound] or [milter], for it takes the bounces that must not leave there")
		}
	}
	if c.Sends() {
		if t.Guards.SPF == evidence.CheckOff && t.Guards.DMARC == evidence.CheckOff {
			d.warn(t.at["dmarc"], `write spf = "mark" or dmarc = "mark", which refuse nothing`, `dmarc: with spf and dmarc both "off" no sender is ever proven, so every bounce and automatic reply to mail for %s is kept from leaving`, t.Name)
		}
		return
	}
	const hint = "let your servers send through [outbound] or [milter]"
	if t.Guards.Tags != evidence.TagOff && !c.Tags() {
		d.warn(t.at["batv"], hint, "batv: nothing is tagged without [outbound] or [milter], so only tags that another signer makes, with a key that is imported here, prove a bounce")
	}
	if t.Guards.Bounces == evidence.JudgeEnforce {
		d.warn(t.at["bounces"], hint, "bounces: nothing is sealed without [outbound] or [milter], so only tags that another signer makes, with a key that is imported here, prove a bounce, and all others are refused")
	}
}

func (t *domainDraft) checkSenders(d *decoder) {
	if !t.Forged && t.written("senders") && len(t.Senders.Networks)+len(t.Senders.From)+len(t.Senders.Files) > 0 {
		d.warn(t.at["senders"], `write forged = "refuse", or take it out`, `senders: it has no effect with forged = "allow"`)
		return
	}
	for i, from := range t.Senders.From {
		domain := from[strings.LastIndexByte(from, '@')+1:]
		switch {
		case !t.covers(domain):
			d.warn(t.fromAt[i], "name "+t.Name+"'s own addresses, subdomains or aliases", "senders: %s is no sender of %s, so this changes nothing", from, t.Name)
		case from != domain:
			d.warn(t.fromAt[i], "name the network from which it comes, where it has one", "senders: anybody outside may write as %s", from)
		case t.has(domain):
			d.warn(t.fromAt[i], `name a subdomain, an address or a network, or write forged = "allow"`, "senders: this lets everybody send as %s", domain)
		}
	}
}

func (t *domainDraft) checkExempt(d *decoder) {
	if t.Guards.Bounces == evidence.JudgeOff && t.written("bounces_exempt") && len(t.Exempt.From)+len(t.Exempt.To) > 0 {
		d.warn(t.at["bounces_exempt"], "take it out", `bounces_exempt: it has no effect with bounces = "off"`)
	}
	for i, to := range t.Exempt.To {
		domain := to[strings.LastIndexByte(to, '@')+1:]
		if domain == "" || t.Name == "" || t.has(domain) {
			continue
		}
		hint := "a recipient is excused in the [[domain]] that he belongs to"
		if owner, ours := d.names[domain]; ours {
			hint = "write it into the [[domain]] " + owner.domain.Name
		}
		d.fail(t.toAt[i], hint, "bounces_exempt: %s is no recipient of %s", to, t.Name)
	}
}

// has says whether a domain is this one, or an alias of it.
func (t *domainDraft) has(domain string) bool {
	for _, name := range append([]string{t.Name}, t.Aliases...) {
		if domain == name {
			return true
		}
	}
	return false
}

// covers says whether a domain is this one, an alias of it, or below one of them.
func (t *domainDraft) covers(domain string) bool {
	for _, name := range append([]string{t.Name}, t.Aliases...) {
		if domain == name || strings.HasSuffix(domain, "."+name) {
			return true
		}
	}
	return false
}
