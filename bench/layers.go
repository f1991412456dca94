package main

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"backstop/internal/dkim"
	"backstop/internal/keyfile"
	"backstop/internal/keyring"
)

// layer is one thing that is looked at or written, beside the same without it.
type layer struct {
	about   string
	name    string // of the gateway; layers with the same name share one
	guards  guards
	out     bool // through the outbound door
	letters []letter
	base    int      // which layer it is compared with; its own index: with none
	shows   []string // must be in what arrives, or it was not looked at; none: nothing of ours may be in it
}

// The layers by their place in the table, for those that others build upon.
const (
	inBare = iota
	inSPF
	inDMARC
	inFresh
	inSigned
	inOrigin
	inWatch
	bounceBare
	bounceSealed
	outBare
	outTagged
	outRSA
	outEd25519
)

// listedHere is how many recipients exist: what their number costs says the row flat.
const listedHere = 1000

// rowLayers passes messages through gateways that look at ever more of them, and says what each step adds.
func rowLayers(ctx context.Context, b *bench, r result) []result {
	fail := func(err error) []result {
		r.Target = "-"
		r.note("not measured: %v", err)
		return []result{r}
	}
	if b.gatewayMissing != nil {
		return fail(b.gatewayMissing)
	}
	m, err := b.prepareLayers()
	if err != nil {
		return fail(err)
	}
	layers := m.layers()
	list, err := recipientList(b.dir, listedHere)
	if err != nil {
		return fail(err)
	}
	gateways := map[string]*gateway{}
	missing := map[string]error{}
	contenders := make([]contender, len(layers))
	for i, l := range layers {
		if gateways[l.name] == nil && missing[l.name] == nil {
			g, err := b.startGuarded(ctx, l.name, list, l.guards)
			if g != nil {
				defer g.stop()
			}
			gateways[l.name], missing[l.name] = g, err
		}
		contenders[i] = b.asLayer(l, gateways[l.name], missing[l.name])
	}
	return layerLines(r, layers, b.turns(ctx, load{}, contenders))
}

// asLayer is a gateway in the role of a layer, if one message through it shows that it plays that role.
func (b *bench) asLayer(l layer, g *gateway, missing error) contender {
	c := contender{name: l.about, missing: missing}
	if missing != nil {
		return c
	}
	c.addr, c.meter, c.load = g.addr, g.meter, newMail(l.letters)
	if l.out {
		c.addr = g.out
	}
	arrived, err := sinkShows(b.sink, func() error { return newWorker(load{addr: c.addr, letters: l.letters, next: c.load.next}).session() })
	if err != nil {
		c.missing = err
		return c
	}
	for _, s := range l.shows {
		if !strings.Contains(arrived, s) {
			c.missing = fmt.Errorf("no %q is in what arrived", s)
		}
	}
	for _, s := range []string{"Authentication-Results: gateway", "Backstop-Origin: ", "Backstop-Bounce: ", "FROM:<prvs="} {
		if len(l.shows) == 0 && strings.Contains(arrived, s) {
			c.missing = fmt.Errorf("%q is in what arrived", s)
		}
	}
	return c
}

// layerLines makes a line of each layer: what the one below costs, what it costs, and the difference round by round.
func layerLines(r result, layers []layer, figures []*figure) []result {
	results := make([]result, len(layers))
	for i, l := range layers {
		f, under := figures[i], figures[l.base]
		results[i] = result{Row: r.Row, About: l.about, Target: "-", Figures: []*figure{f}}
		if f.Spread == nil {
			continue
		}
		results[i].Ours = number(f.Spread.Median) + " us"
		if l.base == i || under.Spread == nil {
			continue
		}
		results[i].Peer = number(under.Spread.Median) + " us"
		if ratios := pairRatios(f.Rounds, under.Rounds); len(ratios) > 0 {
			s := spreadOf(ratios)
			results[i].Ratio = fmt.Sprintf("%.3f (%.3f-%.3f)", s.Median, s.Min, s.Max)
		}
		added := spreadOf(pairDifferences(f.Rounds, under.Rounds))
		results[i].note("it adds %+.1f us (%+.1f to %+.1f) to: %s", added.Median, added.Min, added.Max, layers[l.base].about)
	}
	results[0].note("the peer of each line is the layer below it; keys and records of %s are in the cache", knownDomain)
	return results
}

// pairDifferences takes the n-th of the others from the n-th of ours.
func pairDifferences(ours, others []float64) []float64 {
	var all []float64
	for i := range min(len(ours), len(others)) {
		all = append(all, ours[i]-others[i])
	}
	return all
}

// material is what the layers are played with.
type material struct {
	plain, fresh, signed, bounces []letter // that come in
	dns                           string   // who answers for the senders
	sealed                        string   // folder of the keys that sealed what the bounces return
	rsa, ed25519                  string   // values of `dkim` for what leaves
}

// prepareLayers makes keys and messages, and starts the DNS.
func (b *bench) prepareLayers() (m material, err error) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return m, err
	}
	_, small, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return m, err
	}
	key := dkim.Key{Domain: knownDomain, Selector: "s1", Private: private}
	if m.dns, err = b.startDNS(key); err != nil {
		return m, err
	}
	if m.rsa, err = b.keyFile("rsa", private); err != nil {
		return m, err
	}
	if m.ed25519, err = b.keyFile("ed25519", small); err != nil {
		return m, err
	}
	m.sealed = filepath.Join(b.dir, "sealed.keys")
	ring, err := keysIn(m.sealed)
	if err != nil {
		return m, err
	}
	if m.bounces, err = returned(ring, time.Now()); err != nil {
		return m, err
	}
	m.plain, m.fresh = inbound(), strangers()
	m.signed, err = signed(m.plain, key, time.Now())
	return m, err
}

// layers are the rows of the table.
func (m *material) layers() []layer {
	spf := guards{spf: "mark", dmarc: "off", bounces: "off", dns: m.dns}
	marks, watch, leaving := spf, noGuards, noGuards
	marks.dmarc, watch.bounces = "mark", "watch"
	origin := marks
	origin.outbound, leaving.outbound, leaving.batv = true, true, "sign"
	withRSA, withEd := leaving, leaving
	withRSA.dkim, withEd.dkim = m.rsa, m.ed25519
	judging := guards{spf: "off", dmarc: "off", bounces: "enforce", outbound: true, prepare: func(state string) error {
		return os.CopyFS(state, os.DirFS(m.sealed))
	}}
	ours, others := outgoing(true), outgoing(false)
	return []layer{
		inBare:       {"in: bare (spf, dmarc and bounces off)", "bare", noGuards, false, m.plain, inBare, nil},
		inSPF:        {"in: SPF, marked", "spf", spf, false, m.plain, inBare, []string{"spf=pass"}},
		inDMARC:      {"in: and DMARC, of an unsigned message", "dmarc", marks, false, m.plain, inSPF, []string{"spf=pass", "dmarc=pass"}},
		inFresh:      {"in: the same, of domains that are not in the cache", "dmarc", marks, false, m.fresh, inDMARC, []string{"spf=pass", "dmarc=pass"}},
		inSigned:     {"in: SPF and DMARC, with one rsa-2048 signature", "dmarc", marks, false, m.signed, inDMARC, []string{"spf=pass", "dkim=pass", "dmarc=pass"}},
		inOrigin:     {"in: and Backstop-Origin, and its Message-ID remembered", "origin", origin, false, m.signed, inSigned, []string{"dkim=pass", "Backstop-Origin: "}},
		inWatch:      {"in: ordinary mail with bounces = watch", "watch", watch, false, m.plain, inBare, nil},
		bounceBare:   {"in: a bounce, bare", "bare", noGuards, false, m.bounces, bounceBare, nil},
		bounceSealed: {"in: a bounce proven by its seal, bounces = enforce", "judging", judging, false, m.bounces, bounceBare, []string{"Backstop-Bounce: proven by=seal"}},
		outBare:      {"out: bare (of a sender that is not ours)", "leaving", leaving, true, others, outBare, nil},
		outTagged:    {"out: tagged, sealed, and its Message-ID remembered", "leaving", leaving, true, ours, outBare, []string{"FROM:<prvs=", "Backstop-Seal: "}},
		outRSA:       {"out: and signed by rsa-2048", "leaving-rsa", withRSA, true, ours, outTagged, []string{"Backstop-Seal: ", "a=rsa-sha256"}},
		outEd25519:   {"out: or signed by ed25519", "leaving-ed25519", withEd, true, ours, outTagged, []string{"Backstop-Seal: ", "a=ed25519-sha256"}},
	}
}

// startDNS serves what the senders' domains publish, and returns its address.
func (b *bench) startDNS(key dkim.Key) (addr string, err error) {
	zone, err := zoneOf(key)
	if err != nil {
		return "", err
	}
	file := filepath.Join(b.dir, "zone")
	if err := os.WriteFile(file, []byte(zone), 0o644); err != nil {
		return "", err
	}
	p, err := spawn(b.dir, "dns", func(line string) { addr = line }, b.self, "dns", "-zone", file)
	if err != nil {
		return "", err
	}
	b.later(p.stop)
	return addr, nil
}

// zoneOf is what the domains publish. What those of strangers do need not be kept.
func zoneOf(key dkim.Key) (string, error) {
	name, txt, err := key.Record()
	if err != nil {
		return "", err
	}
	var zone strings.Builder
	for domain, ttl := range map[string]int{knownDomain: 3600, freshDomain: 0} {
		fmt.Fprintf(&zone, "%s. %d IN TXT \"v=spf1 ip4:127.0.0.0/8 -all\"\n_dmarc.%s. %d IN TXT \"v=DMARC1; p=reject\"\n", domain, ttl, domain, ttl)
	}
	fmt.Fprintf(&zone, "%s. 3600 IN TXT", name)
	for ; len(txt) > 0; txt = txt[min(len(txt), 255):] { // a string of a record holds no more (RFC 1035, 3.3)
		fmt.Fprintf(&zone, " %q", txt[:min(len(txt), 255)])
	}
	zone.WriteByte('\n')
	return zone.String(), nil
}

// keysIn makes a folder of keys, and returns them.
func keysIn(folder string) (keyring.Ring, error) {
	if err := os.Mkdir(folder, 0o700); err != nil {
		return keyring.Ring{}, err
	}
	f, err := keyfile.Open(folder, keyfile.Options{NoEvents: true})
	if err != nil {
		return keyring.Ring{}, err
	}
	defer f.Close()
	if _, err := f.Ensure(time.Now()); err != nil {
		return keyring.Ring{}, err
	}
	return f.Ring(), nil
}

// keyFile writes a private key, and returns the value of `dkim` that names it.
func (b *bench) keyFile(selector string, key crypto.Signer) (string, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", err
	}
	path := filepath.Join(b.dir, selector+".pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	return fmt.Sprintf("[{ selector = %q, key = %q }]", selector, path), os.WriteFile(path, text, 0o600)
}
