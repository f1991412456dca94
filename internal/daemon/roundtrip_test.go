package daemon_test

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"backstop/internal/mailtest"
	"backstop/internal/mailtest/rig"
)

// TestRoundTrip sends letters of alice's through the outbound door to a real server elsewhere, which takes them for
// somebody it does not have, and lets its bounces come back through the smtp door: proven by each layer alone, and
// refused where what proves them was altered, is too old, or belongs to somebody else.
func TestRoundTrip(t *testing.T) {
	for _, kind := range rig.Bouncers() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel() // OpenSMTPD likes to wait a while
			for name, way := range map[string]func(*trip, *testing.T){
				"tag": (*trip).byTag, "seal": (*trip).bySeal, "dkim": (*trip).byDKIM, "message-id": (*trip).byMessageID,
				"altered": (*trip).altered, "watch": (*trip).watched,
			} {
				t.Run(name, func(t *testing.T) { way(newTrip(t, kind), t) })
			}
		})
	}
}

// trip is a server elsewhere, and what stands behind our gateways.
type trip struct {
	far     *rig.Bouncer
	back    *onward        // where the server elsewhere sends its bounces
	near    *mailtest.Mock // the mailboxes of our users
	wire    *mailtest.Mock // stands in the way of a bounce that is wanted by hand
	names   string         // a DNS server that knows no name
	letters int
}

func newTrip(t *testing.T, kind string) *trip {
	tr := &trip{back: newOnward(t), near: mailtest.NewMock(t, mailtest.Script{Users: []string{"alice", "bob", "postmaster"}}), wire: mailtest.NewMock(t, mailtest.Script{})}
	tr.far = rig.StartBouncer(t, rig.BouncerOptions{Kind: kind, Domain: "example.net", Relay: tr.back.addr})
	tr.names = mailtest.StartDNS(t, "").Addr().String()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log of %s:\n%s", kind, tr.far.Log())
		}
	})
	return tr
}

// gateway starts one of ours with a state of its own: it has keys that no other has.
func (tr *trip) gateway(t *testing.T, domain string, now func() time.Time) *gateway {
	t.Helper()
	return tr.between(t, tr.far.Addr, domain, now)
}

// between starts one whose mail leaves for far.
func (tr *trip) between(t *testing.T, far, domain string, now func() time.Time) *gateway {
	t.Helper()
	return startAt(t, fmt.Sprintf(`state = %q
[smtp]
listen = ["127.0.0.1:0"]
[dns]
resolvers = [%q]
[outbound]
listen = ["127.0.0.1:0"]
clients = ["127.0.0.0/8"]
relay = "smtp://%s"
[[domain]]
name = "example.com"
relay = "smtp://%s"
%s
`, t.TempDir(), tr.names, far, tr.near.Addr(), domain), now)
}

// write sends a letter through the outbound door, to nobody.
func (tr *trip) write(t *testing.T, g *gateway, from string) {
	t.Helper()
	tr.letters++
	k := open(t, g.Addrs()["outbound"][0].String())
	defer k.Close()
	send(t, k, from, "nobody@example.net", fmt.Sprintf("From: <%s>\r\nTo: nobody@example.net\r\nDate: Sun, 22 Nov 2026 09:00:00 +0000\r\n"+
		"Message-ID: <letter-%d@example.com>\r\nSubject: A letter\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\nHello\r\n", from, tr.letters), "250")
}

// bounced is a bounce as a real server wrote it.
type bounced struct {
	to  string
	raw string
}

// catch sends a letter and stands in the way of its bounce.
func (tr *trip) catch(t *testing.T, g *gateway, from string) bounced {
	t.Helper()
	tr.wire.Forget()
	tr.back.lead(tr.wire.Addr())
	tr.write(t, g, from)
	m := one(t, tr.wire)
	if m.From != "" || len(m.To) != 1 {
		t.Fatalf("no bounce: %v", m)
	}
	return bounced{m.To[0].Path, string(m.Body)}
}

// comes hands a bounce in at the smtp door; final is what must be said in the end.
func (b bounced) comes(t *testing.T, g *gateway, final string) {
	t.Helper()
	k := open(t, g.addr)
	defer k.Close()
	send(t, k, "", b.to, strings.ReplaceAll("\r\n"+b.raw, "\r\n.", "\r\n..")[2:], final)
}

// without is the bounce less all fields of that name, in what it returns too.
func (b bounced) without(field string) bounced {
	b.raw = regexp.MustCompile(`(?mi)^`+field+`:.*\r\n(?:[ \t].*\r\n)*`).ReplaceAllString(b.raw, "")
	return b
}

// stray is the bounce as it were for a letter that nobody sent.
func (b bounced) stray() bounced {
	b.raw = regexp.MustCompile(`letter-\d+@`).ReplaceAllString(b.raw, "stray@")
	return b
}

// seal is the value of the seal in it.
func (b bounced) seal(t *testing.T) string {
	t.Helper()
	m := regexp.MustCompile(`(?m)^Backstop-Seal: (.*)\r$`).FindStringSubmatch(b.raw)
	if m == nil {
		t.Fatalf("no seal is returned:\n%s", b.raw)
	}
	return m[1]
}

// sealed is the bounce with another seal in the place of its own.
func (b bounced) sealed(t *testing.T, value string) bounced {
	b.raw = strings.ReplaceAll(b.raw, b.seal(t), value)
	return b
}

// arrived waits for the next message in a mailbox of ours, which must be the bounce, marked so, for this user.
func (tr *trip) arrived(t *testing.T, to, mark string) {
	t.Helper()
	m := one(t, tr.near)
	tr.near.Forget()
	head, _, _ := strings.Cut(string(m.Body), "\r\n\r\n")
	if m.From != "" || len(m.To) != 1 || m.To[0].Path != to || !strings.Contains(head, "Backstop-Bounce: "+mark+"\r\n") {
		t.Errorf("from <%s> to %v, wanted for %s, %s:\n%s", m.From, m.To, to, mark, head)
	}
}

// refused hands in a bounce that must not come in.
func (b bounced) refused(t *testing.T, g *gateway) {
	t.Helper()
	b.comes(t, g, "550 5.7.1 <"+b.to+">: This bounce answers mail we did not send")
}

// byTag: the tag of the recipient, whatever the bounce returns.
func (tr *trip) byTag(t *testing.T) {
	c := newClock()
	g := tr.gateway(t, "bounces = \"enforce\"\nbatv = \"sign\"", c.Now)
	tr.back.lead(g.addr)
	tr.write(t, g, "alice@example.com")
	tr.arrived(t, "alice@example.com", "proven by=tag")

	alone := tr.catch(t, g, "alice@example.com").without("Backstop-Seal").stray()
	if !strings.HasPrefix(alone.to, "prvs=") {
		t.Fatalf("the bounce goes to %s, untagged", alone.to)
	}
	alone.comes(t, g, "250")
	tr.arrived(t, "alice@example.com", "proven by=tag")

	for i := len("prvs="); i < len("prvs=KDDDSSSSSS"); i++ { // each of its digits
		b := alone
		b.to = b.to[:i] + changed(b.to[i]) + b.to[i+1:]
		b.refused(t, g)
	}
	bobs := alone
	bobs.to = strings.Replace(bobs.to, "alice", "bob", 1)
	bobs.refused(t, g)
	plain := alone
	plain.to = "alice@example.com"
	plain.refused(t, g)
	c.forward(8 * 24 * time.Hour)
	alone.refused(t, g)
	tr.nothing(t)
}

// bySeal: our seal in the header that comes back.
func (tr *trip) bySeal(t *testing.T) {
	g := tr.gateway(t, "bounces = \"enforce\"", nil)
	tr.back.lead(g.addr)
	tr.write(t, g, "alice@example.com")
	tr.arrived(t, "alice@example.com", "proven by=seal")

	alone := tr.catch(t, g, "alice@example.com").stray()
	alone.comes(t, g, "250")
	tr.arrived(t, "alice@example.com", "proven by=seal")
	alone.without("Backstop-Seal").refused(t, g)
	tr.nothing(t)
}

// byDKIM: another gateway of ours has neither our keys of seals nor the record of what we sent. All that it has in
// common with the one that sent is the key of the domain's signatures.
func (tr *trip) byDKIM(t *testing.T) {
	key := "dkim = [{ selector = \"s1\", key = \"" + ed25519Key(t) + "\" }]"
	g := tr.gateway(t, "bounces = \"enforce\"\n"+key, nil)
	other := tr.gateway(t, "bounces = \"enforce\"\n"+key, nil)
	tr.back.lead(other.addr)
	tr.write(t, g, "alice@example.com")
	tr.arrived(t, "alice@example.com", "proven by=dkim")

	b := tr.catch(t, g, "alice@example.com")
	keyless := tr.gateway(t, "bounces = \"enforce\"", nil)
	b.refused(t, keyless)
	b.without("DKIM-Signature").refused(t, other)
	subject := b
	subject.raw = strings.ReplaceAll(b.raw, "Subject: A letter", "Subject: Another")
	subject.refused(t, other)
	b.to = "bob@example.com"
	b.refused(t, other)
	tr.nothing(t)
}

// byMessageID: the record of what left.
func (tr *trip) byMessageID(t *testing.T) {
	c := newClock()
	g := tr.gateway(t, "bounces = \"enforce\"", c.Now)
	alone := tr.catch(t, g, "alice@example.com").without("Backstop-Seal")
	alone.comes(t, g, "250")
	tr.arrived(t, "alice@example.com", "proven by=message-id")
	alone.stray().refused(t, g)
	bobs := alone
	bobs.to = "bob@example.com"
	bobs.refused(t, g)
	c.forward(11 * 24 * time.Hour)
	alone.refused(t, g)
	tr.nothing(t)
}

// altered: the seal is another's, too old, or not what we wrote, to the last character.
func (tr *trip) altered(t *testing.T) {
	c := newClock()
	g := tr.gateway(t, "bounces = \"enforce\"", c.Now)
	alices, bobs := tr.catch(t, g, "alice@example.com").stray(), tr.catch(t, g, "bob@example.com").stray()
	value := alices.seal(t)
	for i := range len(value) {
		if value[i] == ' ' {
			continue // white space does not matter
		}
		alices.sealed(t, value[:i]+changed(value[i])+value[i+1:]).refused(t, g)
	}
	alices.sealed(t, bobs.seal(t)).refused(t, g)
	copied := alices
	copied.to = "bob@example.com"
	copied.refused(t, g)
	c.forward(9 * 24 * time.Hour)
	alices.comes(t, g, "250")
	tr.arrived(t, "alice@example.com", "proven by=seal")
	c.forward(25 * time.Hour)
	alices.refused(t, g)
	g.logged(t, `"msg":"refuse"`, `"stage":"data"`, `"rule":"bounce-not-ours"`, `"to":"alice@example.com"`)
	tr.nothing(t)
}

// watched: what would be refused comes in, and says so.
func (tr *trip) watched(t *testing.T) {
	g := tr.gateway(t, "bounces = \"watch\"", nil)
	b := tr.catch(t, g, "alice@example.com").stray()
	b.comes(t, g, "250")
	tr.arrived(t, "alice@example.com", "proven by=seal")
	b.without("Backstop-Seal").comes(t, g, "250")
	tr.arrived(t, "alice@example.com", "unproven")
	b.sealed(t, "v=1; k=1; t=1; h=00").comes(t, g, "250")
	tr.arrived(t, "alice@example.com", "unproven")
}

// nothing more is in our mailboxes than was waited for.
func (tr *trip) nothing(t *testing.T) {
	t.Helper()
	for _, m := range tr.near.Messages() {
		if m.Kept {
			t.Errorf("this came in: %.2000s", m.Body)
		}
	}
	tr.near.Forget()
}

// changed is another character of the same kind, and not the same one in the other case.
func changed(c byte) string {
	switch {
	case c == '9':
		return "0"
	case c == 'f' || c == 'z':
		return "a"
	case c >= '0' && c < '9', c >= 'a' && c < 'z':
		return string(c + 1)
	}
	return "."
}

// ed25519Key writes a key for signatures into a file.
func ed25519Key(t *testing.T) string {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "s1.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// onward leads connections to a goal that is known later: of two servers that send to each other, one must be told the
// other's port before there is one.
type onward struct {
	addr string
	mu   sync.Mutex
	idle *sync.Cond // nothing is carried
	goal string
	open int
}

func newOnward(t *testing.T) *onward {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := &onward{addr: ln.Addr().String()}
	o.idle = sync.NewCond(&o.mu)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { o.carry(nc) })
		}
	})
	t.Cleanup(func() { ln.Close(); wg.Wait() })
	return o
}

// lead sends connections there from now on, when those have ended that go elsewhere.
func (o *onward) lead(goal string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.open > 0 {
		o.idle.Wait()
	}
	o.goal = goal
}

func (o *onward) carry(from net.Conn) {
	o.mu.Lock()
	goal := o.goal
	o.open++
	o.mu.Unlock()
	defer func() {
		from.Close()
		o.mu.Lock()
		o.open--
		o.mu.Unlock()
		o.idle.Broadcast()
	}()
	to, err := dialNet(goal)
	if err != nil {
		return
	}
	defer to.Close()
	var wg sync.WaitGroup
	defer wg.Wait()
	pass := func(to, from net.Conn) { // Exim sends QUIT with the last dot and ends its side there and then
		io.Copy(to, from)
		to.(*net.TCPConn).CloseWrite()
	}
	wg.Go(func() { pass(to, from) })
	pass(from, to)
}
