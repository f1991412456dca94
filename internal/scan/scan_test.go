package scan

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"backstop/internal/mail"
	"backstop/internal/mailtest"
	"backstop/internal/resolver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// hurry lets no time pass but that for a bounce, which ends when it is there.
func hurry(ctx context.Context, why Pause, _ time.Duration) error {
	if why == PauseBounce {
		<-ctx.Done()
	}
	return ctx.Err()
}

// plan is one for a server on this machine.
func plan(t testing.TB, addr string) Plan {
	t.Helper()
	target, err := ParseTarget("smtp://"+addr, "example.com", "")
	if err != nil {
		t.Fatal(err)
	}
	return Plan{Target: target, Helo: "scan.test", Sleep: hurry, Networks: func() []netip.Prefix { return nil }}
}

// outside is a connection to a server that is not of our network.
type outside struct{ net.Conn }

func (outside) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 25), Port: 25} }

func dialOutside(ctx context.Context, network, addr string) (net.Conn, error) {
	nc, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return outside{nc}, nil
}

// rule is a rule for a mock.
func rule(on, match, reply string) mailtest.Rule {
	r := mailtest.Rule{On: on, Reply: reply}
	if match != "" {
		r.Match = regexp.MustCompile(match)
	}
	return r
}

const (
	foreign    = `example\.(org|net)>`
	refuseThem = "554 5.7.1 Relay access denied"
)

// scripted are servers that behave oddly, and what they are.
var scripted = []struct {
	name    string
	users   []string
	rules   []mailtest.Rule
	class   Class
	retry   Class
	health  Health
	says    string // somewhere in the advice
	outside bool
	never   string // nowhere in it
}{
	{name: "refuses", users: []string{"postmaster"}, class: RefusesAtRcpt, says: "while the sender is still there"},
	{name: "accepts", class: AcceptsUnknown, health: Sick, says: "`--send` finds out"},
	{name: "open relay", outside: true, class: OpenRelay, health: Sick, says: "No mail was sent through it"},
	{name: "relays for its own network", class: AcceptsUnknown, health: Sick, says: "usual for an address of its own network"},
	{name: "no postmaster", users: []string{}, class: RefusesAtRcpt, says: "It refuses the postmaster, too"},
	{name: "refuses with policy words", rules: []mailtest.Rule{rule("RCPT", "postmaster", "250 2.1.5 Ok"), rule("RCPT", "", "550 5.7.1 Unable to relay")}, class: RefusesAtRcpt, says: "550 5.7.1 Unable to relay"},
	{name: "probe blocked at RCPT", rules: []mailtest.Rule{rule("RCPT", "", "554 5.7.1 Your address is listed by a blocklist")}, class: RefusesProbe, health: Unclear, says: "answers everybody alike"},
	{name: "on a blocklist, but for the postmaster", rules: []mailtest.Rule{rule("RCPT", "postmaster", "250 Accepted"), rule("RCPT", "", "554 5.7.1 Service unavailable; Client host [203.0.113.9] blocked using zen.blocklist.example")}, class: RefusesProbe, health: Unclear, says: "It refuses us, and not the recipients"},
	{name: "on a blocklist without a status, and foreign mail refused as such", rules: []mailtest.Rule{rule("RCPT", "postmaster", "250 Accepted"), rule("RCPT", foreign, refuseThem), rule("RCPT", "", "550 203.0.113.9 is listed at zen.blocklist.example")}, class: RefusesProbe, health: Unclear, says: "no place on blocklists"},
	{name: "sender verification, but for the postmaster", rules: []mailtest.Rule{rule("RCPT", "postmaster", "250 Accepted"), rule("RCPT", foreign, refuseThem), rule("RCPT", "", "550 Sender verify failed")}, class: RefusesProbe, health: Unclear, says: "with a --from"},
	{name: "the same words for everybody but the postmaster", rules: []mailtest.Rule{rule("RCPT", "postmaster", "250 Accepted"), rule("RCPT", "", "554 5.7.1 Go away")}, class: RefusesProbe, health: Unclear, says: "554 5.7.1 Go away"},
	{name: "other words for somebody elsewhere", rules: []mailtest.Rule{rule("RCPT", "postmaster", "250 Accepted"), rule("RCPT", foreign, refuseThem), rule("RCPT", "", "554 5.7.1 Go away")}, class: RefusesAtRcpt, says: "554 5.7.1 Go away"},
	{name: "a relay behind greylisting", outside: true, users: []string{"postmaster"}, rules: []mailtest.Rule{{On: "RCPT", Match: regexp.MustCompile(foreign), Reply: "450 4.2.0 Greylisted", Times: 1}, rule("RCPT", foreign, "250 2.1.5 Ok"), {On: "RCPT", Reply: "450 4.2.0 Greylisted", Times: 4}}, class: OpenRelay, health: Sick, says: "No mail was sent through it"},
	{name: "a relay that greylists others alone", outside: true, users: []string{"postmaster"}, rules: []mailtest.Rule{{On: "RCPT", Match: regexp.MustCompile(foreign), Reply: "450 4.2.0 Greylisted", Times: 1}, rule("RCPT", foreign, "250 2.1.5 Ok")}, class: OpenRelay, health: Sick, says: "No mail was sent through it"},
	{name: "puts others off for good", outside: true, users: []string{"postmaster"}, rules: []mailtest.Rule{rule("RCPT", foreign, "450 4.2.0 later")}, class: Greylists, retry: RefusesAtRcpt, says: "is not known: it answered 450 4.2.0 later, also on the retry"},
	{name: "defers relaying", outside: true, users: []string{"postmaster"}, rules: []mailtest.Rule{rule("RCPT", foreign, "454 4.7.1 Relay access denied")}, class: RefusesAtRcpt, says: "while the sender is still there"},
	{name: "defers everybody of a domain that is not its own", rules: []mailtest.Rule{rule("RCPT", "", "454 4.7.1 Relay access denied")}, class: RefusesProbe, health: Unclear, says: "is this the server for that domain?"},
	{name: "goodbye at somebody elsewhere", users: []string{"postmaster"}, rules: []mailtest.Rule{{On: "RCPT", Match: regexp.MustCompile(foreign), Reply: "421 4.7.0 enough", Hangup: true}}, class: RefusesAtRcpt, says: "is not known: it answered 421"},
	{name: "TLS or nothing, and has none", rules: []mailtest.Rule{rule("MAIL", "", "530 5.7.0 Must issue a STARTTLS command first")}, class: RefusesProbe, health: Unclear, says: "It takes no mail without TLS"},
	{name: "wants a login", rules: []mailtest.Rule{rule("MAIL", "", "530 5.7.0 Authentication required")}, class: RefusesProbe, health: Unclear, says: "It wants a login first"},
	{name: "put off at the banner for good", rules: []mailtest.Rule{rule("CONNECT", "", "421 4.7.0 Too many connections")}, class: RefusesProbe, health: Unclear, says: "Try again later"},
	{name: "not its domain", rules: []mailtest.Rule{rule("RCPT", "", "554 5.7.1 Relay access denied")}, class: RefusesProbe, health: Unclear, says: "is this the server for that domain?"},
	{name: "refused at the banner", rules: []mailtest.Rule{rule("CONNECT", "", "554 5.7.1 No SMTP service for you")}, class: RefusesProbe, health: Unclear, says: "at the banner it says 554", never: "This is about"},
	{name: "put off at the banner", users: []string{"postmaster"}, rules: []mailtest.Rule{{On: "CONNECT", Reply: "421 4.3.2 come again", Times: 1}}, class: Greylists, retry: RefusesAtRcpt, says: "come again"},
	{name: "refused at EHLO", rules: []mailtest.Rule{rule("EHLO", "", "550 5.7.1 bad name"), rule("HELO", "", "550 5.7.1 bad name")}, class: RefusesProbe, health: Unclear, says: "at EHLO it says 550"},
	{name: "refused at MAIL", rules: []mailtest.Rule{rule("MAIL", "", "550 5.7.1 blocked")}, class: RefusesProbe, health: Unclear, says: "answers everybody alike"},
	{name: "HELO only", users: []string{"postmaster"}, rules: []mailtest.Rule{rule("EHLO", "", "502 5.5.1 what?")}, class: RefusesAtRcpt},
	{name: "refuses the null sender", users: []string{"postmaster"}, rules: []mailtest.Rule{rule("MAIL", "<>", "550 5.7.1 no null sender")}, class: RefusesAtRcpt, says: "It refuses the null sender"},
	{name: "accepts, and refuses the null sender", rules: []mailtest.Rule{rule("MAIL", "<>", "550 5.7.1 no null sender"), rule("RCPT", foreign, refuseThem)}, class: AcceptsUnknown, health: Sick, says: "It refuses the null sender"},
	{name: "refuses our sender", users: []string{"postmaster"}, rules: []mailtest.Rule{rule("MAIL", "<p", "553 5.1.8 Domain of sender address does not exist")}, class: RefusesAtRcpt, says: "--from with an address"},
	{name: "greylists for good", rules: []mailtest.Rule{rule("RCPT", "", "450 4.2.0 Greylisted")}, class: Greylists, health: Unclear, says: "On the retry it still did"},
	{name: "defers the unknown for good", rules: []mailtest.Rule{rule("RCPT", "postmaster", "250 Ok"), rule("RCPT", "", "450 4.1.1 User unknown")}, class: Greylists, health: Unclear, says: "soft_bounce"},
	{name: "greylists at MAIL", users: []string{"postmaster"}, rules: []mailtest.Rule{{On: "MAIL", Reply: "451 4.7.1 Greylisted", Times: 4}}, class: Greylists, retry: RefusesAtRcpt, says: "On the retry it was decided"},
	{name: "greylists and accepts", rules: []mailtest.Rule{{On: "RCPT", Reply: "451 4.7.1 Greylisted", Times: 4}}, class: Greylists, retry: AcceptsUnknown, health: Sick, says: "accepts recipients who cannot exist"},
	{name: "one recipient", users: []string{"postmaster"}, rules: []mailtest.Rule{rule("RCPT", `\+`, "452 4.5.3 One recipient at a time")}, class: RefusesAtRcpt, says: "does not take a second recipient"},
	{name: "says goodbye in the middle", users: []string{"postmaster"}, rules: []mailtest.Rule{{On: "RCPT", Match: regexp.MustCompile("postmaster"), Reply: "421 4.7.0 enough", Hangup: true}}, class: RefusesAtRcpt, says: "It ends sessions early"},
	{name: "closes after a refusal", users: []string{"postmaster"}, rules: []mailtest.Rule{{On: "RCPT", Match: regexp.MustCompile("<([^p]|p[^o]|po[^s])"), Reply: "550 5.1.1 User unknown", Hangup: true}}, class: RefusesAtRcpt, says: "Not every conversation came to its end"},
	{name: "takes tags for anybody", users: []string{"postmaster"}, rules: []mailtest.Rule{rule("RCPT", `\+`, "250 2.1.5 Ok")}, class: AcceptsUnknown, health: Sick, says: "tags seem to be taken for anybody"},
	{name: "accepts from the null sender", users: []string{"postmaster"}, rules: []mailtest.Rule{rule("RCPT", `<(x|[a-z]+-)`, "250 2.1.5 Ok"), rule("RCPT", foreign, refuseThem)}, class: AcceptsUnknown, health: Sick, says: "goes by the sender"},
}

// TestScripted: each of them is what it is.
func TestScripted(t *testing.T) {
	for _, c := range scripted {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m := mailtest.NewMock(t, mailtest.Script{Users: c.users, Rules: c.rules})
			p := plan(t, m.Addr())
			if c.outside {
				p.Dial = dialOutside
			}
			r := Run(t.Context(), p)
			m.WaitIdle(t)
			if r.Class != c.class || r.OnRetry != c.retry || r.Health != c.health || !strings.Contains(strings.Join(r.Advice, "\n"), c.says) || c.never != "" && strings.Contains(strings.Join(r.Advice, "\n"), c.never) {
				t.Errorf("%s, %s, %d\n%s", r.Class, r.OnRetry, r.Health, show(r))
			}
			polite(t, m)
		})
	}
}

// polite checks what a scan promises.
func polite(t *testing.T, m *mailtest.Mock) {
	t.Helper()
	if n := len(m.Wires()); n > MaxConnections {
		t.Errorf("%d connections", n)
	}
	if n := len(m.Messages()); n > 0 {
		t.Errorf("%d messages", n)
	}
	if f := m.Faults(); len(f) > 0 {
		t.Errorf("faults: %q", f)
	}
	if slices.ContainsFunc(m.Commands(), func(s string) bool { return strings.HasPrefix(s, "DATA") }) {
		t.Error("DATA")
	}
}

func show(r Report) string {
	b, _ := json.MarshalIndent(r.Advice, "", " ")
	var talk strings.Builder
	for _, s := range r.Steps {
		talk.WriteString(s.Step + ": " + s.Sent + " -> " + s.Reply + "\n")
	}
	return string(r.Class) + ", " + string(r.OnRetry) + ", " + r.Host + "\n" + string(b) + "\n" + talk.String()
}

// TestShapes: the addresses are all different, cannot be guessed, and are asked for in changing order.
func TestShapes(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{Users: []string{"postmaster"}})
	r := Run(t.Context(), plan(t, m.Addr()))
	m.WaitIdle(t)
	var locals []string
	shapes := map[Shape]bool{}
	for _, row := range r.Rows {
		local, _, _ := strings.Cut(row.Asked, "@")
		if row.Shape == ShapePostmaster {
			continue
		}
		if slices.Contains(locals, local) || len(local) < 19 || len(local) > mail.MaxLocalPart {
			t.Errorf("%q", local)
		}
		locals, shapes[row.Shape] = append(locals, local), true
	}
	if len(shapes) != 6 {
		t.Errorf("shapes: %v", shapes)
	}
	if r.Rows[0].Shape != ShapeLetters || r.Rows[0].Sender != "<>" || r.Rows[2].Shape != ShapePostmaster || r.Rows[2].Sender != "postmaster@scan.test" {
		t.Errorf("order: %+v", r.Rows)
	}
}

// TestSend: what becomes of the message, by a mock that is told what to do with it.
func TestSend(t *testing.T) {
	for _, c := range []struct {
		name   string
		rules  []mailtest.Rule
		bounce string // what comes to the return path, "" for nothing; %s is the message's Message-ID
		from   string // the sender of that
		class  Class
		says   string
	}{
		{name: "nothing comes", class: CatchAll, says: "no bounce came"},
		{name: "a bounce", bounce: dsn("failed", "5.1.1"), class: AcceptsThenBounces, says: "a source of backscatter"},
		{name: "a notice of a delay", bounce: dsn("delayed", "4.4.1"), class: CatchAll, says: "it may still bounce"},
		{name: "an automatic reply", from: "bob@example.com", bounce: "From: bob@example.com\r\nSubject: Away: x\r\nAuto-Submitted: auto-replied\r\nIn-Reply-To: %s\r\n\r\nI am away.\r\n", class: CatchAll, says: "somebody's automatic reply"},
		{name: "a bounce of something else", bounce: strings.ReplaceAll(dsn("failed", "5.1.1"), "%s", "<other@x.test>"), class: CatchAll, says: "something else came"},
		{name: "odd words from the null sender", bounce: "From: x@example.com\r\nSubject: hm\r\n\r\nWe could do nothing with %s.\r\n", class: AcceptsThenBounces, says: "a source of backscatter"},
		{name: "refused after the dot", rules: []mailtest.Rule{rule("DOT", "", "550 5.1.1 User unknown")}, class: RefusesAfterData, says: "after the dot (550 5.1.1 User unknown)"},
		{name: "refused for its content", rules: []mailtest.Rule{rule("DOT", "", "550 5.7.1 Looks like spam")}, class: RefusesAfterData, says: "may be about the message"},
		{name: "refused at DATA", rules: []mailtest.Rule{rule("DATA", "", "554 5.1.1 no such user")}, class: RefusesAfterData, says: "at DATA"},
		{name: "put off, then taken", rules: []mailtest.Rule{{On: "DOT", Reply: "451 4.7.1 Greylisted", Times: 1}}, class: CatchAll, says: "no bounce came"},
		{name: "the return path is put off at first", rules: []mailtest.Rule{{On: "MAIL", Match: regexp.MustCompile("back@"), Reply: "451 4.7.1 Greylisted", Times: 1}}, class: CatchAll, says: "no bounce came"},
		{name: "put off for good", rules: []mailtest.Rule{rule("DOT", "", "451 4.7.1 Greylisted")}, class: AcceptsUnknown, says: "was put off"},
		{name: "sender refused", rules: []mailtest.Rule{rule("MAIL", "back@", "550 5.7.1 not you")}, class: AcceptsUnknown, says: "could not be sent"},
		{name: "lost after the dot", rules: []mailtest.Rule{{On: "DOT", Hangup: true}}, class: AcceptsUnknown, says: "broke before its answer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			rules := append(c.rules, rule("RCPT", foreign, refuseThem))
			m := mailtest.NewMock(t, mailtest.Script{Rules: rules})
			p := sending(t, m.Addr())
			p.From, _ = mail.ParseAddress("probe@scan.test")
			p.Sleep = func(ctx context.Context, why Pause, _ time.Duration) error {
				if why == PauseBounce && c.bounce != "" {
					id := regexp.MustCompile(`(?i)Message-ID: (<.*>)`).FindSubmatch(m.Messages()[0].Body)[1]
					bring(t, p.Listener.Addr().String(), c.from, strings.ReplaceAll(c.bounce, "%s", string(id)))
				}
				return ctx.Err()
			}
			r := Run(t.Context(), p)
			if r.Class != c.class || !strings.Contains(strings.Join(r.Advice, "\n"), c.says) {
				t.Error(show(r))
			}
			if n := len(m.Messages()); n > 2 || n > 1 && c.name != "put off, then taken" && c.name != "put off for good" {
				t.Errorf("%d messages", n)
			}
		})
	}
}

// TestNeverThroughARelay: with --send, too.
func TestNeverThroughARelay(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{})
	p := sending(t, m.Addr())
	p.Dial = dialOutside
	if r := Run(t.Context(), p); r.Class != OpenRelay {
		t.Error(show(r))
	}
	m.WaitIdle(t)
	polite(t, m)
}

// sending is a plan with --send.
func sending(t testing.TB, addr string) Plan {
	p := plan(t, addr)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.Send, p.Listener, p.Wait = true, l, time.Minute
	p.ReturnPath, _ = mail.ParseAddress("back@scan.test")
	return p
}

func dsn(action, status string) string {
	return "From: MAILER-DAEMON@example.com\r\nTo: back@scan.test\r\nSubject: Undelivered Mail\r\nMIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n" +
		"--b\r\nContent-Type: text/plain\r\n\r\nSorry.\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.example.com\r\n\r\nFinal-Recipient: rfc822; u@example.com\r\nAction: " + action + "\r\nStatus: " + status +
		"\r\nDiagnostic-Code: smtp; 550 no such user here\r\n\r\n--b\r\nContent-Type: text/rfc822-headers\r\n\r\nMessage-ID: %s\r\n\r\n--b--\r\n"
}

// bring brings a message to the return path.
func bring(t testing.TB, addr, from, message string) {
	t.Helper()
	k := mailtest.Dial(t, addr)
	defer k.Close()
	k.Expect(t, "220", "banner")
	for _, say := range []string{"EHLO inner.example.com", "MAIL FROM:<" + from + ">", "RCPT TO:<back@scan.test>"} {
		if r := k.Ask(t, say); r.Code != 250 {
			t.Errorf("%s: %s", say, r)
		}
	}
	if r := k.Ask(t, "RCPT TO:<other@scan.test>"); r.Code != 550 {
		t.Errorf("another recipient: %s", r)
	}
	k.Ask(t, "DATA")
	if r := k.Ask(t, message+"."); r.Code != 250 {
		t.Errorf("message: %s", r)
	}
}

// TestMX: the hosts are tried in their order, and null MX, no MX and a DNS that is away are told.
func TestMX(t *testing.T) {
	good := mailtest.NewMock(t, mailtest.Script{Users: []string{"postmaster"}})
	_, port, _ := net.SplitHostPort(good.Addr())
	dns := mailtest.StartDNS(t, `
example.com      MX 10 dead.example.com
example.com      MX 20 good.example.com
example.com      MX 30 backup.example.com
dead.example.com A 127.0.0.77
good.example.com A 127.0.0.1
plain.example    A 127.0.0.1
null.example     MX 0 .
away.example     MX 10 nowhere.example
`)
	dns.Fail("servfail.example", mailtest.DNSServFail)
	res, err := resolver.New(resolver.Config{Servers: []netip.AddrPort{dns.Addr()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(res.Close)
	for domain, c := range map[string]struct {
		class Class
		host  string
		says  string
	}{
		"example.com":      {RefusesAtRcpt, "good.example.com:" + port, "before it dead.example.com did not answer; not asked: backup.example.com"},
		"plain.example":    {RefusesAtRcpt, "plain.example:" + port, "has no MX record"},
		"null.example":     {Unreachable, "", "the null MX (RFC 7505)"},
		"away.example":     {Unreachable, "", "nowhere.example has no address"},
		"servfail.example": {Unreachable, "", "The DNS could not say"},
		"nothing.example":  {Unreachable, "", "nothing.example has no address"},
	} {
		target, err := ParseTarget(domain, "", port)
		if err != nil {
			t.Fatal(err)
		}
		r := Run(t.Context(), Plan{Target: target, Resolver: res, Helo: "scan.test", Sleep: hurry})
		if r.Class != c.class || r.Host != c.host || !strings.Contains(strings.Join(r.Advice, "\n"), c.says) {
			t.Errorf("%s: %s", domain, show(r))
		}
	}
}

// TestExchange: the hub's port is asked, too.
func TestExchange(t *testing.T) {
	edge := mailtest.NewMock(t, mailtest.Script{Banner: "220 ex.example.com Microsoft ESMTP MAIL Service ready", Rules: []mailtest.Rule{rule("RCPT", foreign, refuseThem)}})
	hub := mailtest.NewMock(t, mailtest.Script{Users: []string{"postmaster"}})
	p := plan(t, edge.Addr())
	p.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if strings.HasSuffix(addr, ":2525") {
			addr = hub.Addr()
		}
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}
	r := Run(t.Context(), p)
	if text := strings.Join(r.Advice, "\n"); r.Class != AcceptsUnknown || r.Product != "Microsoft Exchange" || !strings.Contains(text, "callahead:smtp://127.0.0.1:2525") || !strings.Contains(text, "RecipientValidationEnabled") || !strings.Contains(text, "backstop setup exchange") {
		t.Error(show(r))
	}
	hub.Down()
	if r := Run(t.Context(), p); !strings.Contains(strings.Join(r.Advice, "\n"), "from here that port cannot be reached") {
		t.Error(show(r))
	}
}

// TestOurselves: a Backstop that has our name is asked under another.
func TestOurselves(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{Banner: "220 scan.test ESMTP Backstop", Users: []string{"postmaster"}})
	if r := Run(t.Context(), plan(t, m.Addr())); r.Class != RefusesAtRcpt || r.Product != "Backstop" || m.Asked("EHLO [127.0.0.1]") == 0 {
		t.Error(show(r))
	}
}

// TestTLS: the certificate is read and judged, and a STARTTLS that fails does no harm.
func TestTLS(t *testing.T) {
	ca := mailtest.NewAuthority(t)
	for _, c := range []struct {
		name, host string
		rules      []mailtest.Rule
		fits       bool
		says       string
	}{
		{name: "fits", host: "127.0.0.1", fits: true, says: "no authority that this machine trusts"},
		{name: "of another", host: "other.example.com", says: "no authority"},
		{name: "fails", says: "STARTTLS does not work"},
		{name: "refused", host: "127.0.0.1", rules: []mailtest.Rule{rule("STARTTLS", "", "454 4.7.0 TLS not available")}, says: "refused when it is asked for"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := &tls.Config{}
			if c.host != "" {
				cfg.Certificates = []tls.Certificate{ca.Issue(t, c.host)}
			}
			m := mailtest.NewMock(t, mailtest.Script{Users: []string{"postmaster"}, Rules: c.rules, TLS: cfg})
			r := Run(t.Context(), plan(t, m.Addr()))
			if r.Class != RefusesAtRcpt || r.TLS == nil || r.TLS.Fits != c.fits || !strings.Contains(strings.Join(r.Advice, "\n"), c.says) {
				t.Error(show(r))
			}
		})
	}
}
