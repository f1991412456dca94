package rig

import (
	"slices"
	"testing"

	"backstop/internal/mailtest"
)

// Peer is one running downstream.
type Peer struct {
	Name   string         // "mock", "gosmtp", "postfix", "exim": also its tag in dialogues
	Addr   string         // host:port
	Mock   *mailtest.Mock // set if it is the mock
	Held   func(t testing.TB, atLeast int) []mailtest.Message
	Forget func()        // drops what is held
	Log    func() string // what it has to say when something went wrong
}

// Kind is a downstream that can be started.
type Kind struct {
	Name string
	Open func(t testing.TB) *Peer
}

// Kinds returns all downstreams, quickest first.
func Kinds() []Kind {
	return []Kind{{"mock", OpenMock}, {"gosmtp", OpenGoSMTP}, {"postfix", OpenPostfix}, {"exim", OpenExim}}
}

// OpenMock starts a mock that knows Users.
func OpenMock(t testing.TB) *Peer {
	t.Helper()
	m := mailtest.NewMock(t, mailtest.Script{Users: Users()})
	return &Peer{Name: "mock", Addr: m.Addr(), Mock: m, Forget: m.Forget, Log: func() string { return "" }}
}

// OpenGoSMTP starts a go-smtp server.
func OpenGoSMTP(t testing.TB) *Peer {
	t.Helper()
	g := StartGoSMTP(t, nil)
	held := func(testing.TB, int) []mailtest.Message { return g.Messages() } // on record before its 250
	return &Peer{Name: "gosmtp", Addr: g.Addr, Held: held, Forget: g.Forget, Log: func() string { return "" }}
}

// OpenPostfix starts a Postfix.
func OpenPostfix(t testing.TB) *Peer {
	t.Helper()
	return StartPostfix(t, PostfixOptions{}).Peer()
}

// OpenExim starts an Exim.
func OpenExim(t testing.TB) *Peer {
	t.Helper()
	return StartExim(t, EximOptions{}).Peer()
}

// Peer is this Postfix, however it was set up, as a downstream for dialogues.
func (p *Postfix) Peer() *Peer {
	return &Peer{Name: "postfix", Addr: p.Addr, Held: stored(p.Settle, p.Store), Forget: p.Store.Forget, Log: p.Log}
}

// Peer is this Exim, however it was set up, as a downstream for dialogues.
func (x *Exim) Peer() *Peer {
	return &Peer{Name: "exim", Addr: x.Addr, Held: stored(x.Settle, x.Store), Forget: x.Store.Forget, Log: x.Log}
}

// stored is what a server that hands on to a store holds, when it has come to rest.
func stored(settle func(testing.TB), store *mailtest.Mock) func(testing.TB, int) []mailtest.Message {
	return func(t testing.TB, _ int) []mailtest.Message {
		t.Helper()
		settle(t)
		return slices.DeleteFunc(store.Messages(), func(m mailtest.Message) bool { return !m.Kept })
	}
}

// Front starts a gateway in front of a peer for one test and returns the address
// (host:port) at which senders reach it. It stops the gateway by t.Cleanup.
type Front func(t testing.TB, p *Peer) string

// PlayAll plays each dialogue that fits against each kind of downstream, in
// subtests KIND/DIALOGUE; nil kinds are all. Without a front the downstream is
// spoken to directly, and dialogues see the tags KIND and "bare"; with one, KIND
// and "behind", and every dialogue gets a front of its own, so that nothing learnt
// in one is known in the next. Further tags say what else the front is known by.
func PlayAll(t *testing.T, dialogues []*mailtest.Dialogue, kinds []Kind, front Front, tags ...string) {
	if kinds == nil {
		kinds = Kinds()
	}
	for _, k := range kinds {
		t.Run(k.Name, func(t *testing.T) {
			p := k.Open(t)
			for _, d := range dialogues {
				if !d.Fits(append([]string{p.Name, place(front)}, tags...)...) {
					continue
				}
				t.Run(d.Name, func(t *testing.T) { p.Play(t, d, front) })
			}
		})
	}
}

func place(front Front) string {
	if front == nil {
		return "bare"
	}
	return "behind"
}

// Play plays one dialogue against this peer, bare or behind a front. What the
// peer held before is forgotten.
func (p *Peer) Play(t testing.TB, d *mailtest.Dialogue, front Front) {
	t.Helper()
	if p.Held != nil {
		p.Held(t, 0) // nothing of the last dialogue may arrive late
	}
	p.Forget()
	stage := mailtest.Stage{Addr: p.Addr, Mock: p.Mock, Held: p.Held, Clean: front != nil}
	if front != nil {
		stage.Addr = front(t, p)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the log of %s:\n%s", p.Name, p.Log())
		}
	})
	d.Play(t, stage)
}

// Sweep plays the dialogue in front of a mock that dies at every octet of its
// conversation with the gateway (mailtest.Sweep), a fresh gateway each time: front
// is called with a test of its own for each turn, whose cleanups run before the next.
func Sweep(t *testing.T, d *mailtest.Dialogue, s mailtest.Script, front Front) {
	p := OpenMock(t)
	mailtest.Sweep(t, d, p.Mock, s, func(t testing.TB) mailtest.Stage {
		return mailtest.Stage{Addr: front(t, p), Mock: p.Mock}
	})
}
