package daemon_test

import (
	"bytes"
	"cmp"
	"crypto/ed25519"
	"fmt"
	"net"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"backstop/internal/dkim"
	"backstop/internal/mailtest"
	"backstop/internal/mailtest/rig"
)

// TestBackscatter is the experiment for which all this was built.
//
// Behind the gateway stands a server of the worst kind: it says yes to every recipient of example.com, finds out
// later that there is no such user, and writes a bounce to whoever the envelope named. A thousand letters come in whose
// senders are forged, for users who do not exist; among them fifty whose senders are who they say. On its own, the
// server would now write a thousand letters to people who never wrote to anybody here. It does write them. They leave
// through the outbound door.
//
// Not one of them may reach its forged sender. Each of the fifty must get his, since he made a mistake in an
// address, and wants to know. And nothing is lost: what may not leave lies in the operator's mailbox, and a report tells
// him which server of his it is that says yes to everybody.
func TestBackscatter(t *testing.T) {
	for _, kind := range []string{"postfix", "exim"} {
		t.Run(kind, func(t *testing.T) {
			e := newExperiment(t, rig.BouncerOptions{Kind: kind}, held)
			e.withoutUs(t)
			e.run(t)
			e.judge(t)
			e.report(t)
		})
	}
}

const (
	forged = 1000
	honest = 50
	// held is where the operator keeps what must not leave.
	held = "bounces@example.com"
)

// experiment is a world with a server in it that bounces.
type experiment struct {
	world   *mailtest.Mock // everybody else's server
	server  *rig.Bouncer   // behind the gateway
	leaving *onward        // where that server sends what leaves
	gate    *gateway
	keys    map[string]ed25519.PrivateKey // by domain
	letters map[string]letter             // by number
}

// letter is one that comes in.
type letter struct {
	nr     string // as in its X-Nr
	to     string // "": somebody who does not exist
	from   string // of the envelope
	client string // the address it comes from
	body   string
	honest bool
}

// zone is what the domains of this world publish. Two of them sign; their keys are added.
const zone = `
partner.example       TXT "v=spf1 ip4:198.51.100.7 -all"
strict.example        TXT "v=spf1 ip4:192.0.2.1 -all"
soft.example          TXT "v=spf1 ip4:192.0.2.1 ~all"
_dmarc.signed.example TXT "v=DMARC1; p=reject"
_dmarc.rogue.example  TXT "v=DMARC1; p=reject"
plain.example         A   192.0.2.1
`

func newExperiment(t *testing.T, o rig.BouncerOptions, bounceTo string) *experiment {
	e := &experiment{world: mailtest.NewMock(t, mailtest.Script{}), leaving: newOnward(t), keys: map[string]ed25519.PrivateKey{}, letters: map[string]letter{}}
	names := mailtest.StartDNS(t, zone)
	for _, domain := range []string{"signed.example", "rogue.example"} {
		_, key, err := ed25519.GenerateKey(nil)
		if err != nil {
			t.Fatal(err)
		}
		e.keys[domain] = key
		name, record, err := dkim.Key{Domain: domain, Selector: "s1", Private: key}.Record()
		if err != nil {
			t.Fatal(err)
		}
		names.Add(name + " TXT \"" + record + "\"")
	}
	o.Relay = e.leaving.addr
	e.server = rig.StartBouncer(t, o)
	e.gate = start(t, fmt.Sprintf(`state = %q
[smtp]
listen = ["127.0.0.1:0"]
xclient = ["127.0.0.1"]
[dns]
resolvers = [%q]
[outbound]
listen = ["127.0.0.1:0"]
clients = ["127.0.0.0/8"]
relay = "smtp://%s"
[[domain]]
name = "example.com"
relay = "smtp://%s"
recipients = ["anybody"]
bounce_to = "%s"
`, t.TempDir(), names.Addr(), e.world.Addr(), e.server.Addr, bounceTo))
	e.leaving.lead(e.gate.Addrs()["outbound"][0].String())
	return e
}

// withoutUs is how it was before: the server alone, and ten letters whose senders are forged. Ten people hear of letters
// that they never wrote.
func (e *experiment) withoutUs(t *testing.T) {
	e.leaving.lead(e.world.Addr())
	for i := range 10 {
		l := e.forge(i)
		if err := l.deliver(e.server.Addr, false); err != nil {
			t.Fatal(err)
		}
	}
	e.arrive(t, 10)
	for _, m := range e.world.Messages() {
		if l := e.letters[number(m)]; m.From != "" || l.from != m.To[0].Path {
			t.Errorf("not the bounce that was reckoned with: %v", m)
		}
	}
	e.world.Forget()
	clear(e.letters)
}

// run lets all letters in, through the gateway, twenty at a time, and waits until the server has written its bounces.
func (e *experiment) run(t *testing.T) {
	e.leaving.lead(e.gate.Addrs()["outbound"][0].String())
	var all []letter
	for i := range forged {
		all = append(all, e.forge(i))
		if i%(forged/honest) == 0 {
			all = append(all, e.write(i/(forged/honest)))
		}
	}
	queue := make(chan letter)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			for l := range queue {
				if err := l.deliver(e.gate.addr, true); err != nil {
					t.Errorf("%s, from <%s>: %v", l.nr, l.from, err)
				}
			}
		})
	}
	for _, l := range all {
		queue <- l
	}
	close(queue)
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	e.arrive(t, len(all))
}

// arrive waits until the world has so many messages. Each score of them may take as long as tests wait.
func (e *experiment) arrive(t *testing.T, n int) {
	t.Helper()
	for i := min(20, n); ; i = min(i+20, n) {
		e.world.Wait(t, fmt.Sprintf("%d messages of %d", i, n), func(m *mailtest.Mock) bool { return len(m.Messages()) >= i })
		if i == n {
			return
		}
	}
}

// judge looks at all that left.
func (e *experiment) judge(t *testing.T) {
	got, kept := map[string]int{}, 0
	for _, m := range e.world.Messages() {
		l, known := e.letters[number(m)]
		switch to := m.To[0].Path; {
		case !known || m.From != "" || len(m.To) != 1:
			t.Errorf("this left, and is no bounce of a letter that came in: %v", m)
		case l.honest && to != l.from:
			t.Errorf("%s wrote, and his bounce went to %s", l.from, to)
		case !l.honest && to == l.from:
			t.Errorf("backscatter: %s never wrote %s", to, l.nr)
		case !l.honest && to != held:
			t.Errorf("the bounce of %s went to %s", l.nr, to)
		case !l.honest:
			kept++
		}
		got[number(m)]++
	}
	for nr := range e.letters {
		if got[nr] != 1 {
			t.Errorf("letter %s has %d bounces", nr, got[nr])
		}
	}
	t.Logf("%d letters came in; %d bounces wanted to leave; %d of %d honest senders got theirs, %d of forged senders were held, none of them left",
		len(e.letters), len(e.world.Messages()), len(e.world.Messages())-kept, honest, kept)
}

// report is what the operator is told: one server, by its address, and how many.
func (e *experiment) report(t *testing.T) {
	r, err := e.gate.Bounces(t.Context(), 2, "example.com")
	if err != nil || len(r.Out.Rows) != 1 {
		t.Fatalf("%v: %+v", err, r.Out)
	}
	if row := r.Out.Rows[0]; row.Server != "127.0.0.1" || row.Proven != honest || row.By["origin"] != honest ||
		row.Redirected != forged || row.Unproven+row.Refused+row.Unknown != 0 {
		t.Errorf("%+v", row)
	}
	if !strings.Contains(strings.Join(r.Out.Words, "\n"), "127.0.0.1") {
		t.Errorf("the words do not name the server: %q", r.Out.Words)
	}
}

// forge makes a letter whose sender never wrote it, in one of five ways.
func (e *experiment) forge(i int) letter {
	l := letter{nr: fmt.Sprintf("forged-%d", i), client: fmt.Sprintf("203.0.113.%d", i%250+1)}
	head := ""
	switch i % 5 {
	case 0: // a domain that publishes nothing; and the forger would like to have been here already
		l.from = fmt.Sprintf("victim-%d@plain.example", i)
		head = "Backstop-Origin: v=1; k=1; t=1795348800; spf=pass; dkim=pass;\r\n dmarc=pass; aligned=yes; h=0123456789abcdef0123456789abcdef\r\n"
	case 1: // SPF says no, and is only marked here
		l.from = fmt.Sprintf("victim-%d@strict.example", i)
	case 2: // SPF says perhaps not
		l.from = fmt.Sprintf("victim-%d@soft.example", i)
	case 3: // DMARC passes: for the forger's own domain, while the envelope names somebody else
		l.from = fmt.Sprintf("victim-%d@plain.example", i)
		l.body = e.sign("rogue.example", l, "From: Rogue <news@rogue.example>\r\n")
	case 4: // the very addresses of people who do write, from somewhere else
		l.from = fmt.Sprintf("user-%d@partner.example", i/5*2%honest)
	}
	if l.body == "" {
		l.body = l.text(head + "From: <" + l.from + ">\r\n")
	}
	e.letters[l.nr] = l
	return l
}

// write makes a letter of somebody who is who he says: his domain's SPF record names the client, or its signature is on
// the letter, and DMARC says so.
func (e *experiment) write(i int) letter {
	l := letter{nr: fmt.Sprintf("honest-%d", i), honest: true, client: "198.51.100.7"}
	if i%2 == 0 {
		l.from = fmt.Sprintf("user-%d@partner.example", i)
		l.body = l.text("From: <" + l.from + ">\r\n")
	} else {
		l.from = fmt.Sprintf("user-%d@signed.example", i)
		l.body = e.sign("signed.example", l, "From: <"+l.from+">\r\n")
	}
	e.letters[l.nr] = l
	return l
}

func (l letter) text(head string) string {
	return head + "To: <nobody@example.com>\r\nDate: Sun, 22 Nov 2026 09:00:00 +0000\r\nMessage-ID: <" + l.nr + "@mailer.example>\r\n" +
		"X-Nr: " + l.nr + "\r\nSubject: A letter\r\n\r\nHello\r\n"
}

// sign makes the letter with the signature of a domain.
func (e *experiment) sign(domain string, l letter, head string) string {
	text := l.text(head)
	header, body, _ := strings.Cut(text, "\r\n\r\n")
	s := dkim.NewSigning([]byte(header+"\r\n"), []dkim.Key{{Domain: domain, Selector: "s1", Private: e.keys[domain]}}, time.Now())
	s.Write([]byte(body))
	fields, err := s.Fields()
	if err != nil {
		panic(err)
	}
	return string(fields) + text
}

var numbered = regexp.MustCompile(`(?m)^X-Nr: (\S+)\r$`)

// number is which letter a bounce is about.
func number(m mailtest.Message) string {
	f := numbered.FindSubmatch(m.Body)
	if f == nil {
		return ""
	}
	return string(bytes.Clone(f[1]))
}

// deliver brings the letter. To the gateway it says which client it comes from.
func (l letter) deliver(addr string, gateway bool) error {
	nc, err := net.DialTimeout("tcp", addr, mailtest.Patience)
	if err != nil {
		return err
	}
	k := mailtest.NewTalk(nc)
	defer k.Close()
	lines := []string{"", "EHLO mailer.example"}
	if gateway {
		lines = append(lines, "XCLIENT ADDR="+l.client, "EHLO mailer.example")
	}
	lines = append(lines, "MAIL FROM:<"+l.from+">", "RCPT TO:<"+cmp.Or(l.to, "nobody-"+l.nr)+"@example.com>", "DATA", l.body+".")
	for _, line := range lines {
		if line != "" {
			if err := k.Send(line + "\r\n"); err != nil {
				return err
			}
		}
		r, err := k.Reply()
		if err != nil {
			return fmt.Errorf("%.80s: %w", line, err)
		}
		if r.Code/100 != 2 && r.Code != 354 {
			return fmt.Errorf("%.80s: %s", line, r)
		}
	}
	return nil
}
