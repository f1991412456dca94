package daemon_test

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"backstop/internal/dkim"
	"backstop/internal/mailtest"
	"backstop/internal/mailtest/rig"

	msgauth "github.com/emersion/go-msgauth/dkim"
)

// passage is an MTA with Backstop as its milter: mail of ours leaves through it, and what others write to us comes in.
type passage struct {
	gate  *gateway
	mta   *rig.Beside
	clock *clock
	key   string // the file of the key with which example.com signs
}

// newPassage opens one. domain are more lines of the [[domain]], and more stands in main.cf or sendmail.mc behind
// what setup prints.
func newPassage(t *testing.T, w way, domain string, more ...string) *passage {
	t.Helper()
	p := &passage{clock: newClock(), key: ed25519Key(t)}
	text := fmt.Sprintf(`state = %q
[smtp]
[dns]
resolvers = [%q]
[milter]
listen = "inet:127.0.0.1:0"
internal = ["127.0.0.1/32"]
[socketmap]
listen = "127.0.0.1:0"
[panel]
listen = "127.0.0.1:0"
[[domain]]
name = "example.com"
relay = "smtp://127.0.0.1:9"
recipients = ["list:%s"]
dkim = [{ selector = "s1", key = %q }]
%s
`, t.TempDir(), mailtest.StartDNS(t, passageZone).Addr(), listOf(t, rig.Users()...), p.key, domain)
	p.gate = startAt(t, text, p.clock.Now)
	lines := pasted(t, p.gate, text, w)
	for _, line := range more {
		if line == breaksLines {
			lines.MC = longLines.ReplaceAllString(lines.MC, "")
			continue
		}
		if !strings.Contains(lines.Main, line+"\n") {
			lines.Add(t, map[string]string{"postfix": "main.cf", "sendmail": "sendmail.mc"}[w.kind], line)
		}
	}
	p.mta = rig.OpenBeside(t, w.kind, lines)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log of %s:\n%.20000s", w.kind, p.mta.Log())
		}
	})
	return p
}

// breaksLines leaves out of Sendmail's lines those that let long ones be: Sendmail as it is.
const breaksLines = "long lines are broken"

var longLines = regexp.MustCompile(`(?m)^define\(.*_MAILER_LL.*dnl\n?`)

// passageZone: of these two domains one is who he says when he comes from Outside.
const passageZone = `
partner.example TXT "v=spf1 ip4:127.0.0.3 -all"
plain.example   A   192.0.2.1
`

var milterWays = []way{{postfixMilter, "milter", "postfix", "milter"}, {sendmailMilter, "milter", "sendmail", "milter"}}

// hand gives a message to a server, from an address of this machine.
func hand(t testing.TB, addr, source, from, to, text, final string) {
	t.Helper()
	k := mailtest.DialFrom(t, addr, source)
	defer k.Close()
	k.Expect(t, "220", "banner")
	say(t, k, "EHLO mailer.example", "250")
	send(t, k, from, to, strings.ReplaceAll("\r\n"+text, "\r\n.", "\r\n..")[2:], final)
}

// TestBesideRoundTrip sends letters of alice's through an MTA with our milter to a real server elsewhere, which takes them for
// somebody it does not have, and lets its bounces come back the same way: proven by each layer alone, and refused where
// what proves them was altered, is too old, or belongs to somebody else.
func TestBesideRoundTrip(t *testing.T) {
	for _, w := range milterWays {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			p := newPassage(t, w, "bounces = \"enforce\"\nbatv = \"sign\"")
			for _, kind := range []string{"postfix", "exim", "sendmail"} {
				t.Run(kind, func(t *testing.T) {
					wire := mailtest.NewMock(t, mailtest.Script{})
					far := rig.StartBouncer(t, rig.BouncerOptions{Kind: kind, Domain: "far.example", Relay: wire.Addr()})
					b := p.bounce(t, far, wire)
					p.genuine(t, b)
					p.fake(t, b)
				})
			}
			t.Run("too old", func(t *testing.T) { p.tooOld(t, p.bounce(t, nil, nil)) })
		})
	}
}

// written is what alice writes.
const written = "From: Alice <alice@example.com>\r\nTo: nobody@far.example\r\nDate: Sun, 22 Nov 2026 09:00:00 +0000\r\nMessage-ID: <letter-1@example.com>\r\n" +
	"Subject: A letter\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\nHello\r\n"

// bounce sends the letter and returns its bounce, as the server elsewhere wrote it; where there is none, as one would.
func (p *passage) bounce(t *testing.T, far *rig.Bouncer, wire *mailtest.Mock) bounced {
	t.Helper()
	p.mta.World.Forget()
	hand(t, p.mta.Addr, rig.Inside, "alice@example.com", "nobody@far.example", written, "250")
	m := one(t, p.mta.World)
	if !regexp.MustCompile(`^prvs=\d{4}[0-9a-f]{6}=alice@example\.com$`).MatchString(m.From) || len(m.To) != 1 || m.To[0].Path != "nobody@far.example" {
		t.Fatalf("left: %v", m)
	}
	text := string(m.Body)
	if !strings.HasSuffix(text, "\r\n"+written) || strings.Count(text, "\r\nBackstop-Seal: v=1;") != 1 || p.signatures(t, text) != 1 {
		t.Errorf("left:\n%s", text)
	}
	if far == nil {
		head, _, _ := strings.Cut(text, "\r\n\r\n")
		return bounced{m.From, strings.Replace(bounceOfMail("nobody@far.example", "alice@example.com"),
			"From: alice@example.com\r\nMessage-ID: <never@example.com>\r\nSubject: never sent\r\n", head+"\r\n", 1)}
	}
	hand(t, far.Addr, rig.Inside, m.From, m.To[0].Path, text, "250")
	r := one(t, wire)
	if r.From != "" || len(r.To) != 1 || r.To[0].Path != m.From {
		t.Fatalf("no bounce: %v", r)
	}
	return bounced{m.From, string(r.Body)}
}

// record is what example.com publishes of the key.
func (p *passage) record(t *testing.T) string {
	t.Helper()
	file, err := os.ReadFile(p.key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := dkim.ParsePrivate(file)
	if err != nil {
		t.Fatal(err)
	}
	_, text, err := dkim.Key{Domain: "example.com", Selector: "s1", Private: private}.Record()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// signatures counts those in a message that go-msgauth passes.
func (p *passage) signatures(t *testing.T, text string) (good int) {
	t.Helper()
	if !strings.Contains(text, "\r\n\r\n") { // go-msgauth wants the empty line
		text += "\r\n"
	}
	found, err := msgauth.VerifyWithOptions(strings.NewReader(text), &msgauth.VerifyOptions{LookupTXT: func(string) ([]string, error) {
		return []string{p.record(t)}, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range found {
		if v.Err == nil && v.Domain == "example.com" {
			good++
		}
	}
	return good
}

// bare is the bounce as it comes to who has no tag.
func (b bounced) bare() bounced { b.to = "alice@example.com"; return b }

// returns is the bounce as it comes in from outside; by is what proves it, "" that nothing does.
func (p *passage) returns(t *testing.T, b bounced, by string) {
	t.Helper()
	p.mta.Store.Forget()
	if by == "" {
		hand(t, p.mta.Addr, rig.Outside, "", b.to, b.raw, "550 5.7.1 <"+b.to+">: This bounce answers mail we did not send")
		return
	}
	hand(t, p.mta.Addr, rig.Outside, "", b.to, b.raw, "250")
	m := one(t, p.mta.Store)
	head, _, _ := strings.Cut(string(m.Body), "\r\n\r\n")
	if m.From != "" || len(m.To) != 1 || m.To[0].Path != "alice@example.com" || !strings.Contains(head, "Backstop-Bounce: proven by="+by+"\r\n") {
		t.Errorf("from <%s> to %v, wanted for alice, proven by %s:\n%s", m.From, m.To, by, head)
	}
	if !strings.HasSuffix(string(m.Body), "\r\n"+b.raw) {
		t.Errorf("it came in as\n%s\nand was\n%s", m.Body, b.raw)
	}
}

// genuine: each layer alone.
func (p *passage) genuine(t *testing.T, b bounced) {
	p.returns(t, b, "tag")
	p.returns(t, b.without("Backstop-Seal").without("DKIM-Signature").stray(), "tag")
	p.returns(t, b.bare().without("DKIM-Signature").stray(), "seal")
	p.returns(t, b.bare().without("Backstop-Seal"), "dkim")
	p.returns(t, b.bare().without("Backstop-Seal").without("DKIM-Signature"), "message-id")
}

// fake: what proves nothing, or something else.
func (p *passage) fake(t *testing.T, b bounced) {
	nothing := b.without("Backstop-Seal").without("DKIM-Signature").stray()
	p.returns(t, nothing.bare(), "")
	for _, i := range []int{len("prvs=1"), len("prvs=1234"), len("prvs=123456789")} {
		f := nothing
		f.to = f.to[:i] + changed(f.to[i]) + f.to[i+1:]
		p.returns(t, f, "")
	}
	bobs := nothing
	bobs.to = strings.Replace(bobs.to, "alice", "bob", 1)
	p.returns(t, bobs, "")
	sealed := b.bare().without("DKIM-Signature").stray()
	value := sealed.seal(t)
	for _, part := range []string{"k=", "t=", "h="} {
		i := strings.Index(value, part) + len(part)
		p.returns(t, sealed.sealed(t, value[:i]+changed(value[i])+value[i+1:]), "")
	}
	sealed.to = "bob@example.com"
	p.returns(t, sealed, "")
	if n := len(p.mta.Store.Messages()); n > 0 {
		t.Errorf("%d messages are stored", n)
	}
	p.gate.logged(t, `"msg":"refuse"`, `"door":"milter"`, `"stage":"data"`, `"rule":"bounce-not-ours"`, `"to":"alice@example.com"`)
}

// tooOld: tags hold for a week, seals for ten days.
func (p *passage) tooOld(t *testing.T, b bounced) {
	tag := b.without("Backstop-Seal").without("DKIM-Signature").stray()
	p.returns(t, tag, "tag")
	p.clock.forward(8 * 24 * time.Hour)
	p.returns(t, tag, "")
	seal := b.bare().without("DKIM-Signature").stray()
	p.returns(t, seal, "seal")
	p.clock.forward(3 * 24 * time.Hour)
	p.returns(t, seal, "")
	p.returns(t, b, "")
}
