package rig

import (
	"strings"
	"testing"

	"backstop/internal/mailtest"
)

// OtherDomain is a domain that every Beside receives mail for, too, and that is not Backstop's to know.
const OtherDomain = "example.net"

// The addresses from which a Beside is spoken to. Sendmail, and Exim until 4.97, have no XCLIENT, so the clients
// come from where they claim to come from.
const (
	Inside  = "127.0.0.1" // may send to everybody; the only one that may
	Outside = "127.0.0.3" // a stranger, as is all the rest of 127.0.0.0/8
)

// Pasted is text as somebody else printed it for an administrator, and where he pastes it. Nothing in it is changed.
type Pasted struct {
	Main   string // into Postfix's main.cf, in the place of what was said there of the same parameters
	Master string // into its master.cf, in the place of services of the same name and type

	MC string // into Sendmail's m4 configuration, above the mailers
	CF string // at the end of its sendmail.cf

	EximMain    string // at the head of Exim's configuration, where macros stand
	EximRcpt    string // into its ACL for RCPT: behind what lets Inside send and refuses relaying, above what accepts
	EximData    string // into its ACL for DATA, above what accepts
	EximRouters string // above its first router
}

// Add adds lines to what is pasted into a file, which is named as in the JSON of `backstop setup`.
func (p *Pasted) Add(t testing.TB, file string, lines ...string) {
	t.Helper()
	place := map[string]*string{
		"main.cf": &p.Main, "master.cf": &p.Master, "sendmail.mc": &p.MC, "sendmail.cf": &p.CF,
		"exim: macros": &p.EximMain, "exim: acl_check_rcpt": &p.EximRcpt, "exim: acl_check_data": &p.EximData, "exim: routers": &p.EximRouters,
	}[file]
	if place == nil {
		t.Fatalf("no MTA here has a file %q", file)
	}
	*place += strings.Join(lines, "\n") + "\n"
}

// Beside is a real MTA that Backstop is plugged into. It takes mail for everybody in Domain and in OtherDomain,
// from anywhere, and for all the world from Inside: who exists it is to learn from what was pasted. What it took
// for the domains (<postmaster> is in Domain) goes to the store, which refuses who is not one of Users, and all the
// rest to the world: so whom it took and should not have taken is seen there as a bounce. A bounce that cannot be
// delivered is dropped.
type Beside struct {
	Kind  string
	Addr  string         // host:port
	Store *mailtest.Mock // SMTP
	World *mailtest.Mock // SMTP; gets its own bounces, too
	server
}

// server is what can be done with any real one.
type server interface {
	Stop()             // as a crash does
	Start()            // again after Stop, at the same address
	Log() string       // what it wrote so far
	Settle(testing.TB) // waits until nothing is on its way any more
	Queued() int       // counts what is on its way
	address() string   // where it listens, host:port
}

// BesideKinds are the MTAs that Backstop can stand beside.
func BesideKinds() []string { return []string{"postfix", "sendmail", "exim"} }

// OpenBeside starts one that is gone when the test ends. Where there is none, or no right to start it, the test
// is skipped or fails (mailtest.Need).
func OpenBeside(t testing.TB, kind string, p Pasted) *Beside {
	t.Helper()
	b := &Beside{Kind: kind, Store: mailtest.NewMock(t, mailtest.Script{Users: Users()}), World: mailtest.NewMock(t, mailtest.Script{})}
	switch kind {
	case "postfix":
		b.server = b.postfix(t, p)
	case "sendmail":
		b.server = b.sendmail(t, p)
	case "exim":
		b.server = b.exim(t, p)
	default:
		t.Fatalf("no MTA of the kind %q is known here", kind)
	}
	b.Addr = b.address()
	return b
}

// Dial connects from an address: Inside, Outside, or another of 127.0.0.0/8.
func (b *Beside) Dial(t testing.TB, source string) *mailtest.Talk {
	t.Helper()
	return mailtest.DialFrom(t, b.Addr, source)
}

// Submit gives a message to the sendmail command of a Postfix, as programs on its machine do. It fails for the others.
func (b *Beside) Submit(t testing.TB, from, message string, to ...string) {
	t.Helper()
	p, ok := b.server.(*Postfix)
	if !ok {
		t.Fatalf("%s has no command here by which programs could submit", b.Kind)
	}
	p.Submit(t, from, message, to...)
}

// port is that of host:port.
func port(addr string) string { return addr[strings.LastIndexByte(addr, ':')+1:] }

// Peer is this MTA for dialogues; their clients come from Inside unless a dialogue says otherwise ("from").
func (b *Beside) Peer() *Peer {
	return &Peer{Name: b.Kind, Addr: b.Addr, Held: stored(b.Settle, b.Store), Forget: func() { b.Store.Forget(); b.World.Forget() }, Log: b.Log}
}
