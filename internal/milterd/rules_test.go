package milterd_test

import (
	"net/netip"
	"strings"
	"testing"

	"backstop/internal/evidence"
	"backstop/internal/mail"
	"backstop/internal/milter"
	"backstop/internal/milterd"
	"backstop/internal/session"
)

// TestRules: what is said to whom, at which event, and the rule in the log.
func TestRules(t *testing.T) {
	reject := evidence.DMARC{Result: evidence.Fail, Domain: "far.example", Policy: evidence.PolicyReject}
	for _, tc := range []struct {
		name     string
		set      func(*world)
		client   milter.Client
		from, to string
		more     string // a second recipient
		text     string // "": it goes no further than the recipients
		at       string
		want     string // "": it goes on
		log      string
	}{
		{name: "exists", from: "ann@far.example", to: "Bob@Example.org", log: "accept accepted"},
		{name: "missing", from: "ann@far.example", to: "Nobody@example.org", at: "rcpt",
			want: "550 5.1.1 <Nobody@example.org>: Recipient address rejected: User unknown", log: "refuse recipient-missing"},
		{name: "cannot tell", from: "ann@far.example", to: "later@example.org", at: "rcpt",
			want: "451 4.1.1 <later@example.org>: Recipient address not verified, try again later", log: "defer recipient-unverified"},
		{name: "not configured", from: "ann@far.example", to: "nobody@hosted.example", log: "accept accepted"},
		{name: "local name", from: "ann@far.example", to: "nobody", log: "accept accepted"},
		{name: "postmaster", set: func(w *world) { w.cfg.Postmaster = addr(w.t, "root@example.org") }, from: "ann@far.example", to: "postmaster", log: "accept accepted"},
		{name: "no sender", from: "a b@far.example", to: "bob@example.org", at: "rcpt",
			want: "501 5.1.7 not a mail address: the closing > is missing"},
		{name: "no sender, to a local name", from: "a b@far.example", to: "example.org"},
		{name: "no sender, to others", from: "a b@far.example", to: "bob@hosted.example"},
		{name: "no sender, watched", set: func(w *world) { w.org.Mode = evidence.Watch }, from: "a b@far.example", to: "bob@example.org"},
		{name: "no recipient", from: "ann@far.example", to: "a b@example.org", at: "rcpt", want: "501 5.1.3 not a mail address: the closing > is missing"},
		{name: "no recipient of ours", from: "ann@far.example", to: "bob@"},
		{name: "null recipient", from: "ann@far.example", to: ""},
		{name: "dots", from: "a..b.@docomo.example", to: "bob@example.org", log: "accept accepted"},
		{name: "a recipient with dots", from: "ann@far.example", to: "a..b@hosted.example", log: "accept accepted"},
		{name: "routed", from: "ann@far.example", to: "bob%far.example@example.org", at: "rcpt",
			want: "554 5.7.1 <bob%far.example@example.org>: Relay access denied: the local part names a way to another domain", log: "refuse relay-denied"},
		{name: "forged", set: func(w *world) { w.org.Forged = true }, from: "bob@example.org", at: "mail",
			want: "550 5.7.1 <bob@example.org>: Sender address rejected: not permitted from your network", log: "refuse sender-forged"},
		{name: "spf", set: func(w *world) { w.org.Guards.SPF, w.auth.spf = evidence.CheckRefuse, evidence.Fail }, from: "ann@far.example", to: "bob@example.org",
			at:   "rcpt",
			want: "550 5.7.23 <ann@far.example>: Sender address rejected: its domain does not send from your address (SPF)", log: "refuse sender-spf"},
		{name: "two recipients of a bounce", to: "bob@example.org", more: "carol@example.org", at: "rcpt",
			want: "452 4.5.3 <carol@example.org>: A message with the null sender has one recipient, send this one separately",
			log:  "accept accepted, defer null-sender-recipients"},
		{name: "bounce", set: func(w *world) { w.org.Guards.Bounces = evidence.JudgeEnforce }, to: "bob@example.org", text: bounceOf(letter), at: "end",
			want: "550 5.7.1 <bob@example.org>: This bounce answers mail we did not send", log: "accept accepted, refuse bounce-not-ours"},
		{name: "dmarc", set: func(w *world) { w.org.Guards.DMARC, w.auth.dmarc = evidence.CheckRefuse, reject }, from: "ann@far.example", to: "bob@example.org",
			text: letter, at: "end",
			want: "550 5.7.1 Message rejected: the domain in its From field asks for that (DMARC)", log: "accept accepted, refuse dmarc"},
		{name: "loop", from: "ann@far.example", to: "bob@example.org", text: strings.Repeat("Received: from a by b\r\n", 51) + letter, at: "end",
			want: "554 5.4.6 The message is going around in a loop", log: "accept accepted, refuse message-loop"},
		{name: "long header", from: "ann@far.example", to: "bob@example.org", text: strings.Repeat("X-Field: "+strings.Repeat("x", 1000)+"\r\n", 300) + letter, at: "end",
			want: "552 5.3.4 The header of the message is too long", log: "accept accepted, refuse message-size"},
		{name: "good", from: "ann@far.example", to: "bob@example.org", text: letter, log: "accept accepted, accept accepted"},
		{name: "client", client: spammer, from: "ann@far.example", at: "mail",
			want: "554 5.7.1 Your address is refused by this server's operator", log: "refuse client-blocked"},
		{name: "unproven", client: server, to: "ann@far.example", text: bounceOf(letter), at: "end",
			want: "550 5.7.1 This is automatic mail to somebody who is not proven to have written", log: "accept accepted, refuse bounce-unproven"},
		{name: "to a colleague", client: server, from: "bob@example.org", to: "nobody@example.org", at: "rcpt",
			want: "550 5.1.1 <nobody@example.org>: Recipient address rejected: User unknown", log: "refuse recipient-missing"},
		{name: "watched", set: func(w *world) { w.org.Mode = evidence.Watch }, from: "ann@far.example", to: "nobody@example.org", log: "accept accepted"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			if tc.set != nil {
				tc.set(w)
			}
			if tc.client.Family == 0 {
				tc.client = stranger
			}
			m := w.open().from(tc.client)
			at, got := "mail", m.mail(tc.from)
			for _, to := range []string{tc.to, tc.more} {
				if got == "" && (to != "" || tc.name == "null recipient") {
					at, got = "rcpt", m.rcpt(to)
				}
			}
			if got == "" && tc.text != "" {
				at, got = "end", m.word(m.message(tc.text), nil)
			}
			if got != tc.want || got != "" && at != tc.at {
				t.Errorf("at %s: %q", at, got)
			}
			if log := w.decided(); log != tc.log {
				t.Errorf("log: %s", log)
			}
		})
	}
}

// TestRefusalOfConnection: it is said at each MAIL of the client, by the reply that is in the log, and to
// the next client of the same connection no more.
func TestRefusalOfConnection(t *testing.T) {
	w := newWorld(t).open()
	m := w.from(spammer)
	log := w.log()
	if len(log) != 1 || log[0].Stage != "connect" || log[0].Client != "203.0.113.66" {
		t.Fatalf("log: %+v", log)
	}
	for range 2 {
		if a, err := m.Mail("ann@far.example"); err != nil || a.Text != log[0].Reply+" ["+log[0].ID+"]" {
			t.Errorf("%q, %v: the log has %q", a.Text, err, log[0].Reply)
		}
	}
	if log := w.log(); len(log) != 0 {
		t.Errorf("it is written down again: %+v", log)
	}
	must(t, m.QuitNC())
	m.greets(stranger)
	if got := m.mail("ann@far.example"); got != "" {
		t.Errorf("the next client: %q", got)
	}
}

// TestRewritten: what the mail server makes of an address counts, where it makes one of ours of one that is not.
func TestRewritten(t *testing.T) {
	for given, made := range map[string]string{
		"nobody%example.org": "nobody@example.org", "example.org!nobody": "nobody@example.org", "nobody": "nobody@example.org",
		`"nobody@example.org"`: "nobody@example.org", "nobody%example.org@localhost": "nobody@example.org",
	} {
		w := newWorld(t)
		w.org.Forged = true
		m := w.open().from(stranger)
		m.mail("ann@far.example")
		m.Macros(milter.StageRcpt, "{rcpt_addr}", made)
		if got := m.rcpt(given); got != "550 5.1.1 <nobody@example.org>: Recipient address rejected: User unknown" {
			t.Errorf("recipient %s: %q", given, got)
		}
		m.Abort()
		m.Macros(milter.StageMail, "{mail_addr}", made)
		if got := m.mail(given); !strings.HasPrefix(got, "550 5.7.1 <nobody@example.org>: Sender address rejected") {
			t.Errorf("sender %s: %q", given, got)
		}
	}
	w := newWorld(t)
	w.org.Guards.Tags = evidence.TagEnforce
	m := w.open().from(stranger)
	m.mail("")
	m.Macros(milter.StageRcpt, "{rcpt_addr}", w.tagged("bob@example.org"))
	given := strings.Replace(w.tagged("bob@example.org"), "@", "%", 1)
	if got := m.rcpt(given); got != "" {
		t.Fatal(got)
	}
	if got := strings.Join(changes(m.message(letter)), "\n"); !strings.Contains(got, "- <"+given+">") || !strings.Contains(got, "+ <bob@example.org>") {
		t.Errorf("the recipient is not found again:\n%s", got)
	}
}

// TestLoginFromAnywhere: what is held against a network is not held against who logs in from there.
func TestLoginFromAnywhere(t *testing.T) {
	w := newWorld(t)
	w.org.Guards.Tags = evidence.TagSign
	m := w.open().from(spammer)
	m.Macros(milter.StageMail, "{auth_type}", "PLAIN", "{auth_authen}", "bob")
	if got := strings.Join(changes(m.sends("bob@example.org", "ann@far.example", letter)), "\n"); !strings.Contains(got, "e <prvs=") {
		t.Errorf("changed is\n%s", got)
	}
	if log := w.log(); log[len(log)-1].Helo != "client.example" {
		t.Errorf("the name that was told before the login is lost: %+v", log)
	}
	if got := m.mail("bob@example.org"); !strings.HasPrefix(got, "554 5.7.1") {
		t.Errorf("without a login: %q", got)
	}
}

// TestTooMany: no mail server takes so many recipients, so that one that does is broken.
func TestTooMany(t *testing.T) {
	w := newWorld(t).open()
	m := w.from(stranger)
	m.mail("ann@far.example")
	for i := range milterd.MaxRcpts {
		if got := m.rcpt("bob@hosted.example"); got != "" {
			t.Fatalf("recipient %d: %q", i, got)
		}
	}
	if got := m.rcpt("carol@hosted.example"); got != "452 4.5.3 Too many recipients, send the rest in another transaction" {
		t.Errorf("one more: %q", got)
	}
	m.Abort()
	m.mail("ann@far.example")
	if got := m.rcpt("carol@hosted.example"); got != "" {
		t.Errorf("the next transaction: %q", got)
	}
}

// TestOwnHost: what the mail server shows as its own host's is ours, whatever networks are.
func TestOwnHost(t *testing.T) {
	w := newWorld(t)
	w.cfg.Internal = func(netip.Addr) bool { return false }
	w.org.Forged = true
	w.open()
	for port, want := range map[uint16]string{0: "", 4000: "550 5.7.1 <bob@example.org>: Sender address rejected: not permitted from your network"} {
		if got := w.from(milter.Client{Name: "localhost", Family: '4', Addr: loopback, Port: port}).mail("bob@example.org"); got != want {
			t.Errorf("port %d: %q", port, got)
		}
	}
}

// TestShortcut: a message of which nothing is ours is not sent here, but its sender and recipients had their say.
func TestShortcut(t *testing.T) {
	w := newWorld(t)
	w.org.Forged = true
	m := w.open().from(stranger)
	if got := m.mail("bob@example.org"); !strings.HasPrefix(got, "550 5.7.1") {
		t.Errorf("forged: %q", got)
	}
	if got := m.word(m.sends("ann@far.example", "carol@hosted.example", letter), nil); got != "accept" {
		t.Errorf("to a domain that nobody here knows: %q", got)
	}
	if a := m.sends("ann@far.example", "bob@example.org", letter); a.Action != milter.Continue || len(a.Changes) == 0 {
		t.Errorf("to one of ours behind it: %+v", a)
	}
	for _, to := range []string{"carol@hosted.example", "bob@example.org"} {
		if m.mail("ann@far.example") != "" || m.rcpt(to) != "" || m.rcpt("dave@hosted.example") != "" {
			t.Fatal("refused")
		}
		want := ""
		if to == "carol@hosted.example" {
			want = "accept"
		}
		if got := m.word(m.Data()); got != want {
			t.Errorf("%s and another: %q", to, got)
		}
		must(t, m.Abort())
	}
	m = w.from(server)
	if a := m.sends("bob@example.org", "ann@far.example", letter); a.Action != milter.Continue || len(a.Changes) == 0 {
		t.Errorf("what leaves: %+v", a)
	}
}

// TestSkip: of a long message no more is read than the judgement needs, where nobody looks at its body.
func TestSkip(t *testing.T) {
	w := newWorld(t).open()
	m := w.from(stranger)
	if m.mail("ann@far.example") != "" || m.rcpt("bob@example.org") != "" || m.word(m.Data()) != "" {
		t.Fatal("refused")
	}
	m.Header("From", " ann@far.example")
	m.EOH()
	part := []byte(strings.Repeat("A line of the body, and nobody asks what it says.\r\n", 1000))
	parts := 0
	for ; parts < 100; parts++ {
		a, err := m.Body(part)
		must(t, err)
		if a.Skip {
			break
		}
	}
	if parts > 2 {
		t.Errorf("%d parts of the body were read", parts)
	}
	if a, err := m.EndOfBody(); err != nil || a.Action != milter.Continue || len(a.Changes) == 0 {
		t.Errorf("%+v, %v", a, err)
	}
}

// TestWhoIsInside: mail of our networks, of the mail server's own host and of whoever logged in leaves; everybody else's comes in.
func TestWhoIsInside(t *testing.T) {
	for _, tc := range []struct {
		name   string
		client milter.Client
		macros []string
		leaves bool
	}{
		{"stranger", stranger, nil, false},
		{"network", server, nil, true},
		{"IPv4 in IPv6", milter.Client{Name: "x", Family: '6', Addr: netip.AddrFrom16(server.Addr.As16())}, nil, true},
		{"loopback", milter.Client{Name: "localhost", Family: '4', Addr: loopback, Port: 4000}, nil, true},
		{"pickup", milter.Client{Name: "localhost", Family: '4', Addr: loopback}, nil, true},
		{"unix socket", milter.Client{Name: "anything", Family: 'L', Path: "/run/x"}, nil, true},
		{"standard input", milter.Client{Name: "localhost", Family: 'U'}, nil, true},
		{"unknown", milter.Client{Name: "unknown", Family: 'U'}, nil, false},
		{"login", stranger, []string{"{auth_type}", "PLAIN", "{auth_authen}", "bob"}, true},
		{"login by certificate", stranger, []string{"{auth_type}", "EXTERNAL"}, true},
		{"anonymous", stranger, []string{"{auth_type}", "anonymous", "{auth_authen}", "bob"}, false},
		{"said by himself", stranger, []string{"{auth_author}", "bob@example.org", "{mail_addr}", "bob@example.org"}, false},
		{"empty", stranger, []string{"{auth_type}", "", "{auth_authen}", ""}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			w.org.Guards.Tags, w.org.Guards.SPF, w.auth.spf = evidence.TagSign, evidence.CheckMark, evidence.None
			m := w.open().from(tc.client)
			m.Macros(milter.StageMail, tc.macros...)
			a := m.sends("bob@example.org", "carol@example.org", letter)
			if a.Action != milter.Continue {
				t.Fatalf("%q", a.Text)
			}
			all := strings.Join(changes(a), "\n")
			if tagged := strings.Contains(all, "e <prvs="); tagged != tc.leaves {
				t.Errorf("leaves %v, but changed is\n%s", tc.leaves, all)
			}
			// The next transaction of the same client is without macros, so nobody logged in.
			if tc.macros == nil {
				return
			}
			a = m.sends("bob@example.org", "carol@example.org", letter)
			if strings.Contains(strings.Join(changes(a), "\n"), "e <prvs=") {
				t.Error("the login of one transaction holds for the next")
			}
		})
	}
}

// TestNames: who has no name in the DNS is not asked about by what the mail server says instead.
func TestNames(t *testing.T) {
	w := newWorld(t)
	asked := make(chan string, 20)
	w.cfg.Policies = names{asked}
	w.open()
	for _, tc := range []struct {
		client milter.Client
		want   string
	}{
		{stranger, "client.far.example"}, {spammer, ""},
		{milter.Client{Name: "unknown", Family: '4', Addr: stranger.Addr}, ""},
		{milter.Client{Name: "192.0.2.1", Family: '4', Addr: stranger.Addr}, ""},
		{milter.Client{Name: "localhost", Family: 'U'}, ""}, {milter.Client{Name: "host", Family: 'L'}, ""},
	} {
		w.from(tc.client)
		if got := <-asked; got != tc.want {
			t.Errorf("%+v: %q", tc.client, got)
		}
	}
}

var loopback = netip.MustParseAddr("127.0.0.1")

// names are policies that tell which names they were asked for.
type names struct{ asked chan string }

func (n names) Client(_ netip.Addr, name string) evidence.Policy {
	n.asked <- name
	return evidence.Policy{}
}
func (names) Sender(mail.Address) evidence.Policy { return evidence.Policy{} }

var _ session.Policies = names{}
