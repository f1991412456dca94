package verify

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"backstop/internal/mailtest"
	"backstop/internal/smtp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// nobody is whom each plan asks about.
const nobody = "x7q"

// id is one of Backstop's behind a reply.
const id = " [fqdbb4b9mqff]"

// What servers answer about somebody unknown.
const (
	byUs      = "550 5.1.1 <x7q@example.com>: Recipient address rejected: User unknown" + id
	byPostfix = "550 5.1.1 <x7q@example.com>: Recipient address rejected: User unknown in relay recipient table"
)

// about is a rule for RCPT of one of the two.
func about(who, reply string) mailtest.Rule {
	return mailtest.Rule{On: "RCPT", Match: regexp.MustCompile("<" + who + "@"), Reply: reply}
}

// daemon is a daemon that was asked, or not.
type daemon struct {
	calls  int
	moves  bool     // one of its doors was asked
	at     []string // these were; nil and moves: the last of those that the server may ask
	counts Counts
	err    error
}

func (d *daemon) count(context.Context) (Counts, error) {
	d.calls++
	moved := d.counts
	moved.Asked = map[string]uint64{"milter": 1, "policy": 2}
	if d.calls > 1 {
		for _, door := range d.at {
			moved.Asked[door]++
		}
	}
	return moved, d.err
}

var (
	asked    = &daemon{moves: true}
	notAsked = &daemon{}
	away     = &daemon{err: errors.New("no daemon is running with its state in /var/lib/backstop")}
)

func TestOutcomes(t *testing.T) {
	greylisted := "450 4.2.0 <x7q@example.com>: Recipient address rejected: Greylisted, see http://postgrey.example/"
	for _, c := range []struct {
		name    string
		rules   []mailtest.Rule
		doors   string // "milter" unless it says otherwise
		mta     string // "Postfix"
		watch   bool
		daemon  daemon
		result  Result
		outcome string
		says    string
		hints   string // a part of them
	}{
		{name: "it works", rules: []mailtest.Rule{about(nobody, byUs)}, daemon: *asked, result: Works, outcome: "refuses", says: "in the words of Backstop"},
		{name: "it works, without a daemon to ask", rules: []mailtest.Rule{about(nobody, byUs)}, daemon: *away, result: Works, outcome: "refuses", says: "It works"},
		{name: "Sendmail's way to write it", mta: "Sendmail", rules: []mailtest.Rule{about(nobody, "550 5.1.1 <x7q@example.com>... <x7q@example.com>: Recipient address rejected: User unknown"+id)},
			daemon: *asked, result: Works, outcome: "refuses", says: "It works"},
		{name: "Exim's", mta: "Exim", doors: "panel", rules: []mailtest.Rule{about(nobody, "550-5.1.1 <x7q@example.com>: Recipient address rejected:\n550 5.1.1 User unknown"+id)},
			daemon: *asked, result: Works, outcome: "refuses", says: "It works"},
		{name: "by the map", doors: "policy socketmap", rules: []mailtest.Rule{about(nobody, byPostfix)}, daemon: *asked, result: Works, outcome: "refuses", says: "Backstop's map was asked"},
		{name: "by a map, whose is not known", doors: "socketmap", rules: []mailtest.Rule{about(nobody, byPostfix)}, daemon: *away, result: Works, outcome: "refuses", says: "as far as replies tell", hints: "it cannot be seen here"},
		{name: "by another map", doors: "socketmap", rules: []mailtest.Rule{about(nobody, byPostfix)}, daemon: *notAsked, result: Fails, outcome: "own-list", says: "Backstop was not asked", hints: "not in Postfix's configuration"},
		{name: "by its own list", rules: []mailtest.Rule{about(nobody, byPostfix)}, daemon: *notAsked, result: Fails, outcome: "own-list", says: "by Postfix itself", hints: "try another with --domain"},
		{name: "by its own list, as it seems", rules: []mailtest.Rule{about(nobody, byPostfix)}, daemon: *away, result: Unknown, outcome: "own-list", says: "in the words of Postfix itself"},

		{name: "by its own list, Backstop asked about the postmaster", rules: []mailtest.Rule{about(nobody, byPostfix)}, daemon: *asked, result: Works, outcome: "own-list-first",
			says: "It works, beside a list of Postfix's own", hints: "may stay. Take it out only when"},
		{name: "by its own list, without a postmaster", rules: []mailtest.Rule{{On: "RCPT", Reply: byPostfix}}, daemon: *notAsked, result: Unknown, outcome: "own-list",
			says: "there was nobody to ask Backstop about", hints: "postmaster@example.com must exist"},

		{name: "one of several doors", doors: "milter policy socketmap", rules: []mailtest.Rule{about(nobody, byUs)}, daemon: daemon{moves: true, at: []string{"milter", "policy"}}, result: Works, outcome: "refuses",
			says: "asked at [milter] and [policy]."},
		{name: "a map, and a milter that is not plugged in", doors: "milter socketmap", rules: []mailtest.Rule{about(nobody, byPostfix)}, daemon: daemon{moves: true, at: []string{"socketmap"}}, result: Works, outcome: "refuses",
			says: "Backstop's map was asked", hints: "every other domain in relay_domains"},
		{name: "the named door, and another", rules: []mailtest.Rule{about(nobody, byUs)}, daemon: daemon{moves: true, at: []string{"milter", "policy"}}, result: Works, outcome: "refuses", says: "asked at [milter].", hints: "It was asked at [policy] too"},
		{name: "another door than the named one", rules: []mailtest.Rule{about(nobody, byUs)}, daemon: daemon{at: []string{"policy"}}, result: Fails, outcome: "other-door", says: "it was not asked at [milter], only at [policy].", hints: "not in Postfix's configuration"},
		{name: "another door, and it accepts", doors: "policy", daemon: daemon{at: []string{"milter"}}, result: Fails, outcome: "accepts", says: "not asked at [policy], only at [milter]", hints: "mynetworks"},
		{name: "another door, and a list", doors: "policy", rules: []mailtest.Rule{about(nobody, byPostfix)}, daemon: daemon{at: []string{"socketmap"}}, result: Fails, outcome: "own-list", says: "not asked at [policy], only at [socketmap]"},
		{name: "one of its own, several doors", doors: "milter policy", daemon: *notAsked, result: Fails, outcome: "accepts", says: "Backstop was not asked", hints: "mynetworks"},
		{name: "the gateway itself", rules: []mailtest.Rule{about(nobody, byUs)}, daemon: daemon{at: []string{"smtp"}}, result: Fails, outcome: "gateway", says: "It is Backstop itself", hints: "listen = []"},
		{name: "another Backstop", rules: []mailtest.Rule{about(nobody, byUs)}, daemon: *notAsked, result: Unknown, outcome: "other-daemon", says: "the one here was not asked", hints: "Run this on its machine"},
		{name: "another product", mta: "Sendmail", rules: []mailtest.Rule{{On: "CONNECT", Reply: "220 Sendmail.example ESMTP Postfix (Debian)"}, about(nobody, byUs)}, daemon: *asked, result: Unknown, outcome: "other-product",
			says: "greets as Postfix, and not as Sendmail.", hints: "`backstop setup postfix --verify"},
		{name: "another product, not plugged in", mta: "Exim", doors: "panel", rules: []mailtest.Rule{{On: "CONNECT", Reply: "220 mx.example ESMTP Sendmail 8.17.1"}}, daemon: *notAsked, result: Fails, outcome: "accepts", says: "greets as Sendmail, and not as Exim."},
		{name: "the product that was named", rules: []mailtest.Rule{{On: "CONNECT", Reply: "220 Exim.example ESMTP Postfix"}, about(nobody, byUs)}, daemon: *asked, result: Works, outcome: "refuses", says: "asked at [milter]."},
		{name: "the milter is away, the policy service is not", doors: "milter policy", rules: []mailtest.Rule{{On: "MAIL", Reply: "451 4.7.1 Service unavailable - try again later"}}, daemon: *asked, result: Fails, outcome: "away", says: "gets no answer"},
		{name: "the policy service is away, the milter is not", doors: "policy milter", rules: []mailtest.Rule{{On: "RCPT", Reply: "451 4.3.5 <x>: Recipient address rejected: Server configuration problem"}}, daemon: *asked, result: Fails, outcome: "away", says: "gets no answer"},

		{name: "accepted", daemon: *notAsked, result: Fails, outcome: "accepts", says: "Backstop was not asked", hints: "not in Postfix's configuration"},
		{name: "accepted, as one of its own", doors: "policy", daemon: *notAsked, result: Fails, outcome: "accepts", says: "Backstop was not asked", hints: "mynetworks"},
		{name: "accepted, the door is not open", daemon: daemon{counts: Counts{Closed: []string{"milter"}}}, result: Fails, outcome: "accepts", says: "Backstop was not asked", hints: "has no [milter]"},
		{name: "accepted, Exim", mta: "Exim", doors: "panel", daemon: *notAsked, result: Fails, outcome: "accepts", says: "Backstop was not asked", hints: "not in Exim's configuration"},
		{name: "accepted, asked", daemon: daemon{moves: true, counts: Counts{Blind: []string{"callahead:smtp://store"}}}, result: Fails, outcome: "accepts", says: "although Backstop was asked",
			hints: "Source callahead:smtp://store says yes to anybody"},
		{name: "accepted by a blind source", doors: "policy", daemon: daemon{moves: true, counts: Counts{Blind: []string{"callahead:smtp://store"}}}, result: Fails, outcome: "accepts",
			says: "although Backstop was asked", hints: "Source callahead:smtp://store says yes to anybody"},
		{name: "accepted, nobody knows why", daemon: *away, result: Fails, outcome: "accepts", says: "An unknown recipient is accepted.", hints: "backstop lookup x7q@example.com"},
		{name: "watched", watch: true, daemon: *asked, result: Works, outcome: "watching", says: "In watch mode it refuses nothing"},
		{name: "watched, not asked", watch: true, daemon: *notAsked, result: Fails, outcome: "accepts", says: "Backstop was not asked"},
		{name: "watched, nobody knows", watch: true, daemon: *away, result: Unknown, outcome: "accepts", says: "whether Backstop was asked cannot be seen"},

		{name: "the milter is away", rules: []mailtest.Rule{{On: "MAIL", Reply: "451 4.7.1 Service unavailable - try again later"}}, daemon: *away, result: Fails, outcome: "away",
			says: "Postfix gets no answer from Backstop", hints: "no daemon is running"},
		{name: "it looks elsewhere", rules: []mailtest.Rule{{On: "MAIL", Reply: "451 4.7.1 Service unavailable - try again later"}}, daemon: *notAsked, result: Fails, outcome: "away",
			says: "gets no answer", hints: "compare the address"},
		{name: "the door is not open yet", rules: []mailtest.Rule{{On: "MAIL", Reply: "451 4.7.1 Service unavailable - try again later"}}, daemon: daemon{counts: Counts{Closed: []string{"milter"}}},
			result: Fails, outcome: "away", says: "gets no answer", hints: "The running daemon has no [milter]"},
		{name: "the policy service is away", doors: "policy", rules: []mailtest.Rule{{On: "RCPT", Reply: "451 4.3.5 <x>: Recipient address rejected: Server configuration problem"}}, daemon: *away,
			result: Fails, outcome: "away", says: "gets no answer"},
		{name: "Sendmail's milter is away", mta: "Sendmail", rules: []mailtest.Rule{{On: "MAIL", Reply: "451 4.3.2 Please try again later"}}, daemon: *away, result: Fails, outcome: "away", says: "Sendmail gets no answer"},
		{name: "Exim's lines get nothing", mta: "Exim", doors: "panel", rules: []mailtest.Rule{about(nobody, "451 4.3.0 Temporary failure")}, daemon: *away, result: Fails, outcome: "away", says: "Exim gets no answer"},
		{name: "a source is down", rules: []mailtest.Rule{about(nobody, "451 4.1.1 <x7q@example.com>: Recipient address not verified, try again later"+id)},
			daemon: daemon{moves: true, counts: Counts{Trouble: []string{"corp is down: connection refused"}}}, result: Fails, outcome: "cannot-verify", says: "cannot say just now", hints: "Source corp is down"},
		{name: "a source is down, by a map", doors: "socketmap", rules: []mailtest.Rule{about(nobody, "451 4.3.0 <x7q@example.com>: Temporary lookup failure")},
			daemon: daemon{moves: true, counts: Counts{Blind: []string{"store"}}}, result: Fails, outcome: "cannot-verify", says: "cannot say just now", hints: "when_blind"},
		{name: "harvest", rules: []mailtest.Rule{about(nobody, "450 4.7.1 <x7q@example.com>: Too many unknown recipients"+id)}, daemon: *asked, result: Unknown, outcome: "defers", says: "another reason"},
		{name: "it is called a harvester and hung up on", rules: []mailtest.Rule{{On: "RCPT", Reply: "421 4.7.0 Too many unknown recipients" + id, Hangup: true}}, daemon: *asked, result: Unknown, outcome: "defers", says: "another reason"},
		{name: "greylisted", rules: []mailtest.Rule{about(nobody, greylisted)}, daemon: *notAsked, result: Unknown, outcome: "greylists", says: "greylists this machine", hints: "five minutes"},
		{name: "its own probe", rules: []mailtest.Rule{about(nobody, "450 4.1.1 <x7q@example.com>: Recipient address rejected: unverified address: Address verification in progress")}, daemon: *notAsked,
			result: Fails, outcome: "own-probe", says: "by itself", hints: "reject_unverified_recipient"},
		{name: "it puts off", rules: []mailtest.Rule{about(nobody, "452 4.3.1 Insufficient system storage")}, daemon: *notAsked, result: Unknown, outcome: "defers", says: "452 4.3.1 Insufficient"},

		{name: "not its domain", rules: []mailtest.Rule{about(nobody, "554 5.7.1 <x7q@example.com>: Relay access denied")}, daemon: *notAsked, result: Fails, outcome: "not-its-domain", says: "example.com is no domain", hints: "relay_domains"},
		{name: "another rule of ours", rules: []mailtest.Rule{about(nobody, "550 5.7.23 <>: SPF"+id)}, daemon: *asked, result: Unknown, outcome: "refuses-otherwise", says: "another reason than the recipient"},
		{name: "another rule of theirs", rules: []mailtest.Rule{about(nobody, "554 5.7.1 Service unavailable; Client host [127.0.0.1] blocked using dnsbl")}, daemon: *notAsked, result: Unknown, outcome: "refuses-otherwise", says: "127.0.0.1:"},
		{name: "no answer to RCPT", rules: []mailtest.Rule{about(nobody, "354 go on")}, daemon: *notAsked, result: Unknown, outcome: "not-understood", says: "354 go on"},
		{name: "no bounces", rules: []mailtest.Rule{{On: "MAIL", Reply: "550 5.7.1 no null senders here"}}, daemon: *notAsked, result: Unknown, outcome: "refuses-sender", says: "null sender"},
		{name: "stopped at MAIL by us", rules: []mailtest.Rule{{On: "MAIL", Reply: "554 5.7.1 blocked" + id}}, daemon: *asked, result: Unknown, outcome: "refuses-sender", says: "Backstop is asked"},
		{name: "submission", rules: []mailtest.Rule{{On: "MAIL", Reply: "530 5.7.0 Must issue a STARTTLS command first"}}, daemon: *notAsked, result: Unknown, outcome: "wants-login", says: "login or TLS", hints: "25"},

		{name: "no thanks", rules: []mailtest.Rule{{On: "CONNECT", Reply: "554 5.7.1 go away"}}, daemon: *notAsked, result: Unknown, outcome: "refuses-host", says: "wants nothing from this machine: 554 5.7.1 go away", hints: "--source"},
		{name: "no thanks, from us", rules: []mailtest.Rule{{On: "CONNECT", Reply: "554 postfix.test ESMTP not accepting connections"}}, daemon: *asked, result: Unknown, outcome: "refuses-host", says: "Backstop was asked"},
		{name: "busy", rules: []mailtest.Rule{{On: "CONNECT", Reply: "421 4.3.2 too busy"}}, daemon: *notAsked, result: Unknown, outcome: "busy", says: "421 4.3.2 too busy"},
		{name: "hung up on", rules: []mailtest.Rule{{On: "EHLO", Hangup: true}}, daemon: *notAsked, result: Unknown, outcome: "closed", says: "closed the connection at EHLO: without a word"},
		{name: "hung up on at RCPT", rules: []mailtest.Rule{{On: "RCPT", Hangup: true}}, daemon: *notAsked, result: Unknown, outcome: "closed", says: "at RCPT"},
		{name: "not SMTP", rules: []mailtest.Rule{{On: "CONNECT", Reply: "SSH-2.0-OpenSSH"}}, daemon: *notAsked, result: Unknown, outcome: "closed", says: "is not SMTP"},

		{name: "everybody is refused", rules: []mailtest.Rule{about(nobody, byUs), about("postmaster", "550 5.1.1 <postmaster@example.com>: User unknown")}, daemon: *asked, result: Fails, outcome: "refuses-postmaster", says: "and so is postmaster@example.com"},
		{name: "the postmaster is put off", rules: []mailtest.Rule{about(nobody, byUs), about("postmaster", "451 4.1.1 <postmaster@example.com>: Recipient address not verified, try again later"+id)},
			daemon: daemon{moves: true, counts: Counts{Trouble: []string{"corp is down: x"}}}, result: Fails, outcome: "defers-postmaster", says: "postmaster@example.com is put off", hints: "corp is down"},
		{name: "hung up on before the postmaster", rules: []mailtest.Rule{about(nobody, byUs), {On: "RSET", Hangup: true}}, daemon: *asked, result: Works, outcome: "refuses", says: "It works", hints: "postmaster could not be asked"},
		{name: "hung up on with 421", rules: []mailtest.Rule{about(nobody, byUs), about("postmaster", "421 4.7.0 enough")}, daemon: *asked, result: Works, outcome: "refuses", says: "It works", hints: "421 4.7.0 enough"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := mailtest.NewMock(t, mailtest.Script{Rules: c.rules})
			p := Plan{Server: m.Addr(), Domain: "example.com", Nobody: nobody, Doors: []string{"milter"}, MTA: "Postfix", Watch: c.watch, Count: c.daemon.count, Wait: mailtest.Patience}
			if c.doors != "" {
				p.Doors = strings.Fields(c.doors)
			}
			if c.mta != "" {
				p.MTA = c.mta
			}
			if c.daemon.moves && c.daemon.at == nil {
				c.daemon.at = p.Doors[len(p.Doors)-1:]
			}
			r := Run(t.Context(), p)
			if r.Result != c.result || r.Outcome != c.outcome || !strings.Contains(r.Says, c.says) || !strings.Contains(strings.Join(r.Hints, "\n"), c.hints) {
				t.Errorf("%s, %s: %s\n%s\nwant %s, %s: %s\n%s", r.Result, r.Outcome, r.Says, strings.Join(r.Hints, "\n"), c.result, c.outcome, c.says, c.hints)
			}
			if (r.Asked == nil) != (c.daemon.err != nil) || r.Asked != nil && *r.Asked != c.daemon.moves {
				t.Errorf("asked: %v", r.Asked)
			}
			if m.Asked("DATA") > 0 || len(m.Messages()) > 0 || len(m.Faults()) > 0 {
				t.Errorf("a mail was sent, or the protocol broken: %q", m.Faults())
			}
			if _, err := json.Marshal(r); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestConversation: the commands are these, each recipient has a transaction of his own, and all of it is in the report.
func TestConversation(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{Rules: []mailtest.Rule{about(nobody, byUs)}})
	r := Run(t.Context(), Plan{Server: m.Addr(), Domain: "example.com", Nobody: nobody, Doors: []string{"milter"}, MTA: "Postfix", Source: netip.MustParseAddr("127.0.0.9")})
	want := []string{"EHLO [127.0.0.9]", "MAIL FROM:<>", "RCPT TO:<x7q@example.com>", "RSET", "MAIL FROM:<>", "RCPT TO:<postmaster@example.com>", "RSET", "QUIT"}
	m.WaitIdle(t)
	if got := m.Commands(); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%q", got)
	}
	if len(r.Steps) != len(want)+1 || r.Steps[0].Sent != "" || !strings.HasPrefix(r.Steps[0].Reply, "220 ") || r.Steps[3].Reply != byUs {
		t.Fatalf("%+v", r.Steps)
	}
	for i, w := range want {
		if r.Steps[i+1].Sent != w || r.Steps[i+1].Reply == "" {
			t.Errorf("%+v, want %s", r.Steps[i+1], w)
		}
	}
	if r.Hints == nil || r.Asked != nil || r.Daemon != "there is no daemon to be asked" || r.Nobody != "x7q@example.com" {
		t.Errorf("%+v", r)
	}
}

// TestUnreachable: nobody there, a name that does not exist, and a server that says nothing.
func TestUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := l.Addr().String()
	l.Close()
	plan := Plan{Server: gone, Domain: "example.com", Nobody: nobody, MTA: "Postfix"}
	if r := Run(t.Context(), plan); r.Outcome != "unreachable" || r.Result != Unknown || !strings.Contains(r.Says, "connection refused") || len(r.Steps) != 0 {
		t.Errorf("%+v", r)
	}
	plan.Source = netip.MustParseAddr("192.0.2.3")
	if r := Run(t.Context(), plan); r.Outcome != "no-such-source" || !strings.Contains(r.Says, "192.0.2.3 is no address of this machine") {
		t.Errorf("%+v", r)
	}
	plan.Source = netip.Addr{}
	silent := mailtest.NewMock(t, mailtest.Script{Rules: []mailtest.Rule{{On: "CONNECT", Silent: true}}})
	plan.Server, plan.Wait = silent.Addr(), 10*time.Millisecond
	if r := Run(t.Context(), plan); r.Outcome != "silent" || !strings.Contains(r.Says, "its greeting") {
		t.Errorf("%+v", r)
	}
	late := &talk{mail: smtp.Response{Code: 250}, err: &smtp.StepError{Step: smtp.StepRcpt, Err: os.ErrDeadlineExceeded}}
	var r Report
	if r.judge(&plan, late, &Counts{}); r.Outcome != "silent" || !strings.Contains(r.Says, "RCPT") {
		t.Errorf("%+v", r)
	}
	silent.Set(mailtest.Script{})
	plan.Wait = 0
	plan.Domain = "a b"
	if r := Run(t.Context(), plan); r.Result != Unknown || r.Outcome != "closed" {
		t.Errorf("%+v", r)
	}
}

// TestGivenUp: the operator presses control-C.
func TestGivenUp(t *testing.T) {
	hold := make(chan struct{})
	m := mailtest.NewMock(t, mailtest.Script{Rules: []mailtest.Rule{{On: "MAIL", Wait: hold}}})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan Report)
	go func() {
		done <- Run(ctx, Plan{Server: m.Addr(), Domain: "example.com", Nobody: nobody, MTA: "Postfix"})
	}()
	m.Wait(t, "MAIL", func(m *mailtest.Mock) bool { return m.Asked("MAIL") > 0 })
	cancel()
	if r := <-done; r.Result != Unknown {
		t.Errorf("%+v", r)
	}
	close(hold)
}

// TestTerminal: what a server says cannot move the cursor, and is not kept without end.
func TestTerminal(t *testing.T) {
	if got := clean([]byte("220 a\x1b[2Jb\x00\xff\u0085\r\n250 c\r\n")); got != "220 a?[2Jb???\n250 c" {
		t.Errorf("%q", got)
	}
	r := &recorder{}
	if n := len(r.keep(make([]byte, 3*maxRecord))) + len(r.keep(make([]byte, 10))); n != maxRecord {
		t.Error(n)
	}
	for addr, want := range map[net.Addr]string{
		&net.TCPAddr{IP: net.ParseIP("2001:db8::1")}: "[IPv6:2001:db8::1]", &net.TCPAddr{IP: net.ParseIP("192.0.2.1")}: "[192.0.2.1]", &net.UnixAddr{}: "[127.0.0.1]",
	} {
		if got := literal(addr); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// TestHintsFit: commands have the options that were used, and of sockets is spoken where there are some.
func TestHintsFit(t *testing.T) {
	gone := mailtest.Rule{On: "MAIL", Reply: "451 4.7.1 Service unavailable - try again later"}
	for _, unix := range [][]string{nil, {"milter"}} {
		m := mailtest.NewMock(t, mailtest.Script{Rules: []mailtest.Rule{gone}})
		d := *notAsked
		r := Run(t.Context(), Plan{Server: m.Addr(), Domain: "example.com", Nobody: nobody, Doors: []string{"milter"}, Unix: unix, MTA: "Postfix", Options: " --config my.toml", Count: d.count})
		hints := strings.Join(r.Hints, "\n")
		if strings.Contains(hints, "unix socket of [milter]") != (unix != nil) || !strings.Contains(hints, "`backstop status --config my.toml`") {
			t.Errorf("%s", hints)
		}
	}
}
