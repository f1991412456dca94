package config

import (
	"crypto"
	"crypto/rsa"
	"errors"
	"fmt"
	"strings"

	"backstop/internal/dkim"
	"backstop/internal/mail"
)

// DKIMKey is one key of a domain, loaded, and where it came from.
type DKIMKey struct {
	Selector string // folded
	File     string
	Sign     bool          // it signs; the others only prove what they signed
	Key      crypto.Signer `json:"-"`
}

// Format keeps every verb of fmt from showing the key.
func (k DKIMKey) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "{%s %s %t}", k.Selector, k.File, k.Sign)
}

// advisedRSA: signers should use 2048 bits at least (RFC 8301, 3.2).
const advisedRSA = 2048

// dkimDraft is one of `dkim = [{ … }]`.
type dkimDraft struct {
	DKIMKey
	selectorAt *node
}

func (k *dkimDraft) keys() []key {
	return []key{
		{name: "selector", required: true, example: `"s1"`, set: kept(&k.selectorAt, text(&k.Selector, parseSelector)),
			doc: "The key's name: its record is published at `SELECTOR._domainkey.DOMAIN`."},
		{name: "key", required: true, example: `"/etc/backstop/dkim/s1.pem"`, set: k.takeKey,
			doc: "PEM file of the private key: RSA of 1024 to 4096 bits, better 2048 at least, or Ed25519, which some receivers do not verify yet: have an RSA key beside it."},
		{name: "sign", def: "true", set: boolean(&k.Sign),
			doc: "Whether it signs. `false` is for a key whose record is not published yet, and for one that is going: bounces of what it signed are still known."},
	}
}

// parseSelector reads a selector, which is made like a domain (RFC 6376, 3.1).
func parseSelector(s string) (string, error) {
	hint := `a selector is a name such as "s1" or "2026a": letters, digits and hyphens`
	if name, _, ok := strings.Cut(strings.ToLower(s), "._domainkey"); ok {
		return "", hinted{fmt.Sprintf("%q is not a selector but the name of its record", s), fmt.Sprintf("write %q", name)}
	}
	folded, err := mail.FoldDomain(s)
	if err != nil || folded[0] == '[' || strings.HasPrefix(folded, "-") || strings.HasSuffix(folded, "-") || strings.ContainsFunc(s, func(r rune) bool { return r > '~' }) {
		return "", hinted{fmt.Sprintf("%q is not a selector", s), hint}
	}
	return folded, nil
}

// takeKey reads the private key, so that a wrong one is found now and not by the first mail.
func (k *dkimDraft) takeKey(d *decoder, n *node) {
	path, ok := one(d, n, someText)
	if !ok {
		return
	}
	data, ok := d.readSecret(n, path, "make one with: openssl genrsa -out "+path+" 2048 (the daemon's user must be able to read it)")
	if !ok {
		return
	}
	signer, err := dkim.ParsePrivate(data)
	if err != nil {
		hint := ""
		var h interface{ Hint() string }
		if errors.As(err, &h) {
			hint = h.Hint()
		}
		d.bad(n, hint, "%s: %v", path, err)
		return
	}
	k.File, k.Key = d.path(path), signer
	if public, ok := signer.Public().(*rsa.PublicKey); ok && public.N.BitLen() < advisedRSA {
		d.warn(n.at, "make one of 2048, under a new selector", "key: the RSA key in %s has %d bits, and what signs should have 2048 at least (RFC 8301, 3.2)", path, public.N.BitLen())
	}
}

// takeDKIM takes the keys of a domain.
func (t *domainDraft) takeDKIM(d *decoder, n *node) {
	const form = `write dkim = [{ selector = "s1", key = "FILE" }]: there may be several keys`
	if n.kind != kindArray {
		d.bad(n, form, "a list of keys is wanted, this is %s", n.kind)
		return
	}
	first := map[string]position{}
	for _, e := range n.elems {
		if e.kind != kindTable {
			d.bad(e, form, "a key is written in braces, and this is %s", e.kind)
			continue
		}
		k := &dkimDraft{}
		d.table(e, "dkim", k.keys())
		if k.Selector != "" {
			if at, taken := first[k.Selector]; taken {
				d.fail(k.selectorAt.at, "a new key gets a selector of its own, so that both can be published", "selector: %q has a key already%s", k.Selector, since(at))
				continue
			}
			first[k.Selector] = k.selectorAt.at
		}
		if k.Selector != "" && k.Key != nil {
			t.DKIM, t.dkimAt = append(t.DKIM, k.DKIMKey), append(t.dkimAt, k.selectorAt.at)
		}
	}
}

// checkDKIM looks at the keys beside the name of the domain and beside [outbound].
func (t *domainDraft) checkDKIM(d *decoder, outbound bool) {
	signs, rsas := false, false
	for i, k := range t.DKIM {
		signs = signs || k.Sign
		if _, is := k.Key.Public().(*rsa.PublicKey); is && k.Sign {
			rsas = true
		}
		if t.Name == "" {
			continue
		}
		if _, _, err := (dkim.Key{Domain: t.Name, Selector: k.Selector, Private: k.Key}).Record(); err != nil {
			d.fail(t.dkimAt[i], "", "selector: %q cannot be published for %s: %v", k.Selector, t.Name, err)
		}
	}
	if signs && !outbound {
		d.warn(t.at["dkim"], "let your servers send through [outbound] or [milter]", "dkim: nothing is signed without [outbound] or [milter]")
	}
	if signs && outbound && !rsas {
		d.warn(t.at["dkim"], "have an RSA key of 2048 bits beside it, under another selector", "dkim: only Ed25519 signs, which some receivers do not verify (RFC 8463)")
	}
}
