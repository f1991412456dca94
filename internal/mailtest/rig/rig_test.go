package rig

import (
	"io"
	"net"
	"slices"
	"strings"
	"testing"

	"backstop/internal/mailtest"
)

// TestBare plays dialogues against the bare peers: what fails here is the rig's
// or the peer's, not a gateway's.
func TestBare(t *testing.T) {
	PlayAll(t, Dialogues(t, "conversation"), nil, nil)
}

// TestFrontIsCalled plays behind a gateway that does nothing but carry octets.
func TestFrontIsCalled(t *testing.T) {
	some := slices.DeleteFunc(Dialogues(t, "conversation"), func(d *mailtest.Dialogue) bool { return !strings.HasPrefix(d.Name, "body-") })
	fronts := 0
	PlayAll(t, some, Kinds()[:2], func(t testing.TB, p *Peer) string {
		fronts++
		return carry(t, p.Addr)
	})
	if fronts != 2*len(some) {
		t.Errorf("%d fronts were started for %d dialogues at two peers", fronts, len(some))
	}
}

// TestSweepThroughCarrier sweeps a gateway that carries octets: whatever the
// downstream says or does the sender sees, so the invariant holds.
func TestSweepThroughCarrier(t *testing.T) {
	for _, d := range Dialogues(t, "sweep") {
		t.Run(d.Name, func(t *testing.T) {
			Sweep(t, d, mailtest.Script{Users: Users()}, func(t testing.TB, p *Peer) string { return carry(t, p.Addr) })
		})
	}
}

// TestCollections shows that every dialogue can be read, and finds its peers.
func TestCollections(t *testing.T) {
	for _, d := range slices.Concat(Dialogues(t, "downstream"), Dialogues(t, "conversation"), Dialogues(t, "sweep")) {
		if !d.Fits("mock", "behind", "impatient") {
			t.Errorf("%s is played nowhere", d.Name)
		}
	}
}

// TestSmugglingSuiteFindsAVictim shows that the suite would notice a gateway that
// lets tricks through: one that carries octets to a lenient server does.
func TestSmugglingSuiteFindsAVictim(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{Lenient: true})
	found := 0
	for _, trick := range Tricks() {
		m.Forget()
		if s := trick.play(t, carry(t, m.Addr()), whole); s.smuggled(heldNow(m)) {
			found++
		}
	}
	if found < 8 {
		t.Errorf("%d of %d tricks work against a server that falls for all line ends", found, len(Tricks()))
	}
}

// carry is a TCP forwarder.
func carry(t testing.TB, to string) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			a, err := ln.Accept()
			if err != nil {
				return
			}
			b, err := net.Dial("tcp", to)
			if err != nil {
				a.Close()
				continue
			}
			pass := func(to, from net.Conn) {
				io.Copy(to, from)
				to.Close()
				from.Close()
			}
			go pass(a, b)
			go pass(b, a)
		}
	}()
	return ln.Addr().String()
}

func TestSwaks(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{Users: []string{"alice"}})
	out, status := Swaks(t, m.Addr(), "--from", "ann@client.test", "--to", "alice@"+Domain, "--body", "hello")
	if status != 0 || !strings.Contains(out, "250 2.0.0 Kept") {
		t.Errorf("status %d: %s", status, out)
	}
	out, status = Swaks(t, m.Addr(), "--from", "ann@client.test", "--to", "bob@"+Domain)
	if status == 0 || !strings.Contains(out, "550 5.1.1") {
		t.Errorf("status %d: %s", status, out)
	}
}

// TestPostfixOptions shows that a Postfix really does what its options say.
func TestPostfixOptions(t *testing.T) {
	p := StartPostfix(t, PostfixOptions{
		Hide:    []string{"chunking"},
		XClient: true, XForward: true,
		Access: map[string]string{"192.0.2.0/24": "REJECT go away"},
		Refuse: map[string]string{"bob@example.com": "450 4.2.0 later"},
	})
	k := mailtest.Dial(t, p.Addr)
	k.Expect(t, "220", "banner")
	r := k.Ask(t, "EHLO x.test")
	if s := r.String(); strings.Contains(s, "CHUNKING") || !strings.Contains(s, "XCLIENT") || !strings.Contains(s, "XFORWARD") {
		t.Errorf("offers %s", s)
	}
	k.Ask(t, "MAIL FROM:<ann@client.test>")
	if r := k.Ask(t, "RCPT TO:<bob@example.com>"); r.Code != 450 {
		t.Errorf("bob: %s", r)
	}
	if r := k.Ask(t, "RCPT TO:<dave@example.com>"); r.Code != 550 {
		t.Errorf("dave: %s", r)
	}
	p.SetUsers("dave")
	if r := k.Ask(t, "RCPT TO:<dave@example.com>"); r.Code != 250 {
		t.Errorf("dave, made since: %s", r)
	}
	k.Ask(t, "RSET")
	if r := k.Ask(t, "XCLIENT ADDR=192.0.2.7 NAME=[UNAVAILABLE]"); r.Code != 220 {
		t.Fatalf("XCLIENT: %s", r)
	}
	k.Ask(t, "EHLO x.test")
	k.Ask(t, "MAIL FROM:<ann@client.test>")
	if r := k.Ask(t, "RCPT TO:<dave@example.com>"); r.Code != 554 || !strings.Contains(r.String(), "go away") {
		t.Errorf("from 192.0.2.7: %s", r)
	}
	p.WaitLog(t, "[192.0.2.7]")
	p.Stop()
	if nc, err := net.Dial("tcp", p.Addr); err == nil {
		nc.Close()
		t.Error("stopped, and still there")
	}
	p.Start()
	mailtest.Dial(t, p.Addr).Expect(t, "220", "banner after a restart")
}

func TestPostfixBehindProxy(t *testing.T) {
	p := StartPostfix(t, PostfixOptions{Proxy: true, Access: map[string]string{"192.0.2.7": "REJECT go away"}})
	k := mailtest.Dial(t, p.Addr)
	k.Send("PROXY TCP4 192.0.2.7 127.0.0.1 4711 25\r\n")
	k.Expect(t, "220", "banner")
	k.Ask(t, "EHLO x.test")
	k.Ask(t, "MAIL FROM:<ann@client.test>")
	if r := k.Ask(t, "RCPT TO:<alice@example.com>"); r.Code != 554 {
		t.Errorf("from 192.0.2.7: %s", r)
	}
}

// TestPostfixSends shows the sending peer: what is refused it bounces, and the
// bounce is seen.
func TestPostfixSends(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{Users: []string{"alice"}})
	p := StartPostfix(t, PostfixOptions{Relay: m.Addr()})
	out, status := Swaks(t, p.Addr, "--from", "ann@client.test", "--to", "alice@example.com,nobody@example.com", "--body", "x")
	if status != 0 {
		t.Fatal(out)
	}
	m.Wait(t, "the message", func(m *mailtest.Mock) bool { return len(m.Messages()) == 1 })
	p.Settle(t)
	got := p.Store.Messages()
	if len(got) != 1 || got[0].From != "" || got[0].To[0].Path != "ann@client.test" || !strings.Contains(string(got[0].Body), "nobody@example.com") {
		t.Errorf("bounces: %+v\n%s", got, p.Log())
	}
}

// TestBackscatter shows the two real servers being what Backstop is there for.
func TestBackscatter(t *testing.T) {
	t.Run("postfix", func(t *testing.T) {
		p := StartPostfix(t, PostfixOptions{AcceptAll: true})
		toNobody(t, p.Addr)
	})
	t.Run("exim", func(t *testing.T) {
		x := StartExim(t, EximOptions{AcceptAll: true})
		toNobody(t, x.Addr)
	})
}

func toNobody(t *testing.T, addr string) {
	k := mailtest.Dial(t, addr)
	k.Expect(t, "220", "banner")
	k.Ask(t, "EHLO x.test")
	k.Ask(t, "MAIL FROM:<victim@elsewhere.test>")
	if r := k.Ask(t, "RCPT TO:<nobody@example.com>"); r.Code != 250 {
		t.Errorf("nobody: %s", r)
	}
}

func TestEximRefusesInGivenWords(t *testing.T) {
	x := StartExim(t, EximOptions{Refuse: "5.1.1 no such person"})
	k := mailtest.Dial(t, x.Addr)
	k.Expect(t, "220", "banner")
	k.Ask(t, "EHLO x.test")
	k.Ask(t, "MAIL FROM:<ann@client.test>")
	if r := k.Ask(t, "RCPT TO:<nobody@example.com>"); r.Code != 550 || r.Text() != "5.1.1 no such person" {
		t.Errorf("nobody: %s", r)
	}
}
