package rig

import (
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"backstop/internal/listen"
	"backstop/internal/mail"
	"backstop/internal/mailtest"
	"backstop/internal/milter"
	"backstop/internal/postfix"
)

// Mode is what a Scanned does with mail for people who do not exist.
type Mode string

const (
	RefuseRcpt Mode = "refuse-rcpt" // at RCPT
	RefuseData Mode = "refuse-data" // behind the message
	BounceLate Mode = "bounce"      // takes it, and writes to the sender
	CatchAll   Mode = "catch-all"   // takes it, and keeps it
	Greylist   Mode = "greylist"    // puts strangers off at first, then refuses at RCPT
)

// Modes are those that a kind of server can be in.
func Modes(kind string) []Mode {
	all := []Mode{RefuseRcpt, RefuseData, BounceLate, CatchAll, Greylist}
	if kind == "opensmtpd" { // it has no way to ask somebody about a triple, but for a program in the place of a filter
		return all[:4]
	}
	return all
}

// Scanned is a real server in one of the modes, for what looks at servers from outside.
type Scanned struct {
	Addr  string
	Store *mailtest.Mock // gets what was accepted and is kept

	log func() string
}

// Log returns what it wrote of its work so far.
func (s *Scanned) Log() string { return s.log() }

// scannedUsers exist at each of them.
func scannedUsers() []string { return []string{"alice", "bob", "postmaster"} }

// StartScanned starts a server of one of the kinds of Bouncers, which receives mail for Domain, in a mode; relay is the host:port
// that gets its bounces. Where there is none, or no right to start it, the test is skipped or fails (mailtest.Need).
func StartScanned(t testing.TB, kind string, mode Mode, relay string) *Scanned {
	t.Helper()
	if mode == BounceLate || mode == CatchAll && kind != "exim" { // whose bouncer asks a list of users, and not its store
		b := StartBouncer(t, BouncerOptions{Kind: kind, Users: scannedUsers(), Relay: relay})
		if mode == CatchAll {
			b.Store.Change(func(s *mailtest.Script) { s.Users = nil })
		}
		return &Scanned{Addr: b.Addr, Store: b.Store, log: b.Log}
	}
	switch kind {
	case "postfix":
		return scannedPostfix(t, mode)
	case "exim":
		return scannedExim(t, mode)
	case "sendmail":
		return scannedSendmail(t, mode, relay)
	case "opensmtpd":
		return scannedOpenSMTPD(t, mode)
	}
	t.Fatalf("no server of the kind %q is known here", kind)
	return nil
}

func scannedPostfix(t testing.TB, mode Mode) *Scanned {
	o := PostfixOptions{Users: scannedUsers()}
	switch mode {
	case RefuseData:
		o.AcceptAll = true
		o.Main = map[string]string{"smtpd_end_of_data_restrictions": "check_recipient_access inline:{ " + knownInline() + " }, check_recipient_access static:{550 5.1.1 User unknown}"}
	case Greylist:
		o.Main = map[string]string{"smtpd_recipient_restrictions": "check_policy_service inet:" + newGreylist().policy(t)}
	}
	p := StartPostfix(t, o)
	return &Scanned{Addr: p.Addr, Store: p.Store, log: p.Log}
}

// knownInline are the users as a table in the configuration.
func knownInline() string {
	var entries []string
	for _, u := range scannedUsers() {
		entries = append(entries, u+"@"+Domain+"=OK")
	}
	return strings.Join(entries, ", ")
}

// greylist remembers who was put off.
type greylist struct {
	mu   sync.Mutex
	seen map[string]bool
}

func newGreylist() *greylist { return &greylist{seen: map[string]bool{}} }

// new says whether the triple comes for the first time.
func (g *greylist) new(triple ...string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	key := strings.ToLower(strings.Join(triple, " "))
	old := g.seen[key]
	g.seen[key] = true
	return !old
}

// serve runs a service on a free port until the test ends, and returns where.
func serve(t testing.TB, begin func(net.Conn) listen.Served) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	loop := listen.NewLoop(begin)
	done := make(chan error, 1)
	go func() { done <- loop.Serve(l) }()
	t.Cleanup(func() {
		loop.Shutdown(t.Context()) // which has ended: at once
		if err := <-done; !errors.Is(err, listen.ErrLoopClosed) {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// policy serves the greylist as Postfix's policy delegation.
func (g *greylist) policy(t testing.TB) string {
	return serve(t, func(nc net.Conn) listen.Served {
		return postfix.NewPolicyConn(nc, &postfix.Config{}, policyGreylist{g})
	})
}

type policyGreylist struct{ *greylist }

func (g policyGreylist) Policy(r *postfix.Request) (string, bool) {
	if g.new(r.Get("client_address"), r.Get("sender"), r.Get("recipient")) {
		return "DEFER 4.2.0 Greylisted, come again", true
	}
	return "DUNNO", true
}

func (policyGreylist) Close() {}

// milter serves it as a milter that also knows who exists, for Sendmail asks the milters last.
func (g *greylist) milter(t testing.TB) string {
	cfg := &milter.Config{NewHandler: func(*milter.Conn) milter.Handler { return &milterGreylist{greylist: g} }}
	return serve(t, func(nc net.Conn) listen.Served { return milter.NewConn(nc, cfg) })
}

type milterGreylist struct {
	*greylist
	from string
}

var (
	comeAgain   = milter.Response{Action: milter.Reply, Reply: mail.MustReply(451, "4.7.1", "Greylisted, come again")}
	userUnknown = milter.Response{Action: milter.Reply, Reply: mail.MustReply(550, "5.1.1", "User unknown")}
)

func (g *milterGreylist) Mail(from string, _ []string) (none milter.Response) {
	g.from = from
	return none
}

func (g *milterGreylist) Rcpt(to string, _ []string) (none milter.Response) {
	local, _, _ := strings.Cut(to, "@")
	switch {
	case g.new(g.from, to):
		return comeAgain
	case !slices.Contains(scannedUsers(), local):
		return userUnknown
	}
	return none
}

func (*milterGreylist) Connect(milter.Client) (none milter.Response) { return none }
func (*milterGreylist) Helo(string) (none milter.Response)           { return none }
func (*milterGreylist) Data() (none milter.Response)                 { return none }
func (*milterGreylist) Unknown(string) (none milter.Response)        { return none }
func (*milterGreylist) Message(*milter.Message) (none milter.Response) {
	return none
}
func (*milterGreylist) Abort() {}
func (*milterGreylist) Close() {}
