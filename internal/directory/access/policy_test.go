package access

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"

	"backstop/internal/evidence"
	"backstop/internal/mail"
	"backstop/internal/mailtest/rig"
)

// sitePolicy is a file as a site has it, about senders and clients.
const sitePolicy = `# who may send
From:spammer.test	REJECT
From:good.spammer.test	OK
From:ann@spammer.test	RELAY
From:example.com	ERROR:5.7.1:"550 You are not one of us"
From:news.example.com	OK
From:late.test		451 come later
From:gone.test		550 no mail from here
From:sink.test		DISCARD
From:skipped.test	SKIP
From:jan+*@plus.test	REJECT
From:kim+x@plus.test	OK
From:kim@plus.test	550 5.7.0 Kim is not wanted
From:root@		REJECT
From:[203.0.113.9]	REJECT
From:[IPv6:2001:db8]	550 no literals
lee@plus.test		REJECT
plus.test		ERROR:5.1.1:"550 User unknown"
both.test		REJECT
From:both.test		OK
mia@			"552 Mia sends too much"
Connect:192.0.2		RELAY
Connect:192.0.2.66	REJECT
Connect:198.51.100	ERROR:4.7.1:"450 slowly"
Connect:198.51.100.20	SKIP
203.0.113		550 your network is not wanted
203.0.113.9		OK
Connect:[203.0.113.77]	DISCARD
[198.51.100.21]		OK
Connect:10		DISCARD
Connect:dial.test	REJECT
Connect:mx.dial.test	OK
Connect:skip.dial.test	SKIP
Connect:IPv6:2001:db8	REJECT
Connect:IPv6:2001:db8:0:0:0:0:0:7	OK
IPv6:2001:db8:5		554 5.7.1 not the fifth
Connect:[IPv6:2001:db8:6]	RELAY
`

var (
	policyLocals  = []string{"ann", "jan", "kim", "lee", "mia", "root", "nobody"}
	policyDomains = []string{
		"spammer.test", "good.spammer.test", "deep.good.spammer.test", "example.com", "news.example.com", "late.test", "gone.test",
		"sink.test", "skipped.test", "sub.skipped.test", "plus.test", "both.test", "x.both.test", "unknown.test", "[203.0.113.9]", "[203.0.113.8]", "[203.0.113.77]",
	}
	policyNames = []string{"", "peer.dial.test", "mx.dial.test", "in.mx.dial.test", "skip.dial.test", "dial.test", "host.both.test", "peer.example"}
	policyAddrs = []string{
		"192.0.2.1", "192.0.2.66", "198.51.100.5", "198.51.100.20", "198.51.100.21", "203.0.113.8", "203.0.113.9", "203.0.113.77", "10.9.8.7", "11.1.1.1",
		"2001:db8::7", "2001:db8::8", "2001:db8:5::1", "2001:db8:6::1", "2001:db9::1",
	}
)

// generatedPolicy makes a file of keys that meet each other.
func generatedPolicy(rng *rand.Rand) string {
	pick := func(list ...string) string { return list[rng.IntN(len(list))] }
	lines := map[string]string{}
	for range 40 {
		domain := pick(policyDomains[:14]...)
		user := pick(policyLocals...) + pick("", "", "+x", "+*") + "@"
		lines[pick("From:", "From:", "")+pick(user+domain, user, domain, domain, "test")] = pick(accessValues...)
	}
	for range 30 {
		a := netip.MustParseAddr(pick(policyAddrs...))
		key := sendmailAddr(a)
		for range rng.IntN(3) {
			key = key[:strings.LastIndexAny(key, ".:")]
		}
		if rng.IntN(5) == 0 {
			key = "[" + key + "]"
		}
		lines[pick("Connect:", "Connect:", "")+key] = pick(accessValues...)
		lines["Connect:"+pick(policyNames[1:]...)] = pick(accessValues...)
	}
	var b strings.Builder
	seen := map[string]bool{}
	for _, k := range slices.Sorted(maps.Keys(lines)) {
		if folded := strings.ToLower(k); !seen[folded] {
			seen[folded] = true
			fmt.Fprintf(&b, "%s\t%s\n", k, lines[k])
		}
	}
	return b.String()
}

func policyFiles() []string {
	files := []string{sitePolicy}
	rng := rand.New(rand.NewPCG(3, 4))
	for range 4 {
		files = append(files, generatedPolicy(rng))
	}
	return files
}

func policySenders(t *testing.T) []mail.Address {
	t.Helper()
	var all []mail.Address
	for _, d := range policyDomains {
		for _, l := range policyLocals {
			for _, x := range []string{"", "+x", "+y+z"} {
				all = append(all, someone(t, l+x+"@"+d))
			}
		}
	}
	return all
}

func someone(t *testing.T, text string) mail.Address {
	t.Helper()
	a, err := mail.ParseAddress(text)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// sendmailAddr is how Sendmail writes an address: IPv6 with its tag, and no "::".
func sendmailAddr(a netip.Addr) string {
	if a.Is4() {
		return a.String()
	}
	groups := make([]string, 8)
	octets := a.As16()
	for i := range groups {
		groups[i] = fmt.Sprintf("%x", uint16(octets[2*i])<<8|uint16(octets[2*i+1]))
	}
	return "IPv6:" + strings.Join(groups, ":")
}

// sendmailName is the name that Sendmail gives a client.
func sendmailName(name string, a netip.Addr) string {
	if name == "" {
		return "[" + sendmailAddr(a) + "]"
	}
	return name
}

var policyReturns = regexp.MustCompile(`(?m)^(?:check_mail|check_relay|check_rcpt) +returns: (.*)$`)

// samePolicy compares what we say with the last result in Sendmail's. Differences, all
// of them on purpose: REJECT answers in our words, DISCARD refuses, a text without a status gets
// X.7.1, and SKIP for a user ends the search (in Sendmail, "SKIP" would be the error's text).
func samePolicy(t *testing.T, who string, got evidence.Policy, block string) {
	t.Helper()
	m := policyReturns.FindStringSubmatch(block)
	if m == nil {
		t.Fatalf("no verdict in:\n%s", block)
	}
	e := rcptError.FindStringSubmatch(m[1])
	want := evidence.NothingSaid
	switch {
	case m[1] == "$# discard $: discard":
		if want = evidence.Refused; got.Detail != Discard.String() {
			t.Errorf("%s: %+v, Sendmail discards it", who, got)
		}
	case m[1] == "$# OK", m[1] == "$# RELAY", m[1] == "RELAY":
		want = evidence.Allowed
	case m[1] == "OK" && got.Detail == OK.String(): // at a connection the same as nothing
		want = evidence.Allowed
	case e == nil, packed(e[2]) == "skip":
	case strings.Contains(e[2], "Access denied"):
		if want = evidence.Refused; got.Detail != Reject.String() {
			t.Errorf("%s: %+v, Sendmail rejects it", who, got)
		}
	default:
		reply := wire(t, e[1], e[2], ".7.1")
		if want = evidence.Refused; reply[0] == '4' {
			want = evidence.Deferred
		}
		if packed(got.Reply.String()) != reply {
			t.Errorf("%s: %q, Sendmail says %q", who, got.Reply, reply)
		}
	}
	if got.Word != want {
		t.Errorf("%s: %+v, Sendmail says %q", who, got, m[1])
	}
}

// besideSendmail asks Sendmail and us the same in each of the files; ask asks us the
// question of that number, and says about whom.
func besideSendmail(t *testing.T, what string, questions []string, ask func(s *Source, i int) (who string, p evidence.Policy)) {
	t.Helper()
	found := map[evidence.Word]int{}
	asked := 0
	for _, text := range policyFiles() {
		s := open(t, Access, text, Options{NoEvents: true})
		m := rig.NewSendmail(t, rig.SendmailOptions{Access: text})
		for i, block := range m.Ask(questions...) {
			who, got := ask(s, i)
			samePolicy(t, who, got, block)
			lineOf(t, text, who, got)
			found[got.Word]++
			asked++
		}
	}
	t.Logf("%d %s, each as Sendmail's: %v", asked, what, found)
	for w := range evidence.NumWords {
		if found[evidence.Word(w)] == 0 {
			t.Errorf("of no %s it came out: %v", what, evidence.Word(w))
		}
	}
}

// TestSendersBesideSendmail holds what we say of senders against Sendmail's check_mail.
func TestSendersBesideSendmail(t *testing.T) {
	all := append([]mail.Address{{}}, policySenders(t)...) // the null sender and others
	questions := make([]string, len(all))
	for i, a := range all {
		questions[i] = "check_mail <" + a.String() + ">"
	}
	besideSendmail(t, "senders", questions, func(s *Source, i int) (string, evidence.Policy) {
		return all[i].String(), s.Sender(all[i])
	})
}

// TestClientsBesideSendmail holds what we say of clients against Sendmail's check_relay.
func TestClientsBesideSendmail(t *testing.T) {
	var questions []string
	for _, addr := range policyAddrs {
		for _, name := range policyNames {
			a := netip.MustParseAddr(addr)
			questions = append(questions, fmt.Sprintf("Translate,check_relay %s $| %s", sendmailName(name, a), sendmailAddr(a)))
		}
	}
	besideSendmail(t, "clients", questions, func(s *Source, i int) (string, evidence.Policy) {
		addr, name := policyAddrs[i/len(policyNames)], policyNames[i%len(policyNames)]
		return name + " " + addr, s.Client(netip.MustParseAddr(addr), name)
	})
}

// lineOf holds that the line named has the value that decided.
func lineOf(t *testing.T, text, who string, p evidence.Policy) {
	t.Helper()
	if p.Word == evidence.NothingSaid || p.Line == 0 && p.Word == evidence.Allowed {
		return
	}
	lines := strings.Split(text, "\n")
	if p.Line < 1 || p.Line > len(lines) {
		t.Fatalf("%s: no line %d in the file", who, p.Line)
	}
	_, value, _ := strings.Cut(lines[p.Line-1], "\t")
	a, err := parseValue(strings.TrimSpace(value), security)
	if err != nil || a.verb.String() != p.Detail || a.reply != p.Reply {
		t.Errorf("%s: %+v, and line %d is %q", who, p, p.Line, lines[p.Line-1])
	}
}

// TestPairsBesideSendmail asks a Sendmail that judges at RCPT, as Debian's does, about pairs
// of sender and client. RELAY or OK for the client exempts no sender there either. One
// difference, on purpose: a line that lets the sender in saves his client there, and here
// the client is refused when it connects, before its sender is known.
func TestPairsBesideSendmail(t *testing.T) {
	s := open(t, Access, sitePolicy, Options{NoEvents: true})
	m := rig.NewSendmail(t, rig.SendmailOptions{Access: sitePolicy, Local: []string{"local.test"}, Delay: true})
	froms := []string{
		"ann@spammer.test", "x@spammer.test", "x@good.spammer.test", "x@example.com", "x@news.example.com", "x@late.test", "x@sink.test",
		"x@skipped.test", "kim+x@plus.test", "kim+y@plus.test", "x@plus.test", "x@both.test", "mia@unknown.test", "x@unknown.test",
	}
	type pair struct {
		from mail.Address
		addr netip.Addr
		name string
	}
	var pairs []pair
	var questions []string
	for _, from := range froms {
		for _, addr := range policyAddrs {
			for _, name := range []string{"", "peer.dial.test", "peer.example"} {
				p := pair{someone(t, from), netip.MustParseAddr(addr), name}
				pairs = append(pairs, p)
				questions = append(questions, fmt.Sprintf(".D{client_addr}%s\n.D{client_name}%s\n.Df%s\ncheck_rcpt ann@local.test",
					sendmailAddr(p.addr), sendmailName(name, p.addr), from))
			}
		}
	}
	saved, relayed := 0, 0
	for i, block := range m.Ask(questions...) {
		p := pairs[i]
		client, sender := s.Client(p.addr, p.name), s.Sender(p.from)
		who := fmt.Sprint(p.from, " from ", p.name, " ", p.addr)
		if client.Word == evidence.Allowed && sender.Word >= evidence.Refused {
			relayed++
		}
		switch {
		case sender.Word != evidence.NothingSaid: // Sendmail judges the sender first
			if sender.Word == evidence.Allowed && client.Word >= evidence.Refused {
				saved++
			}
			samePolicy(t, who, sender, block)
		case client.Word >= evidence.Refused:
			samePolicy(t, who, client, block)
		default:
			samePolicy(t, who, evidence.Policy{}, block)
		}
	}
	t.Logf("%d pairs; %d that Sendmail lets in for their sender are refused here for their client; %d of a client let in are refused for their sender by both",
		len(pairs), saved, relayed)
	if saved == 0 || relayed == 0 {
		t.Error("the pairs show nothing")
	}
}

// What the look-ups beside Sendmail do not show.
func TestPolicies(t *testing.T) {
	s := open(t, Access, "From:Spammer.Example\tREJECT\n"+
		"From:m\u00fcnchen.example\t550 nein\n"+
		"Connect:192.0.2\tREJECT\n"+
		"Connect:Mail.Example.net\tRELAY\n"+
		"IPv6:2001:db8:1::5\tERROR:5.7.25:no such peer\n"+
		"info@\tREJECT\n"+
		"example.com\t550 Who is that?\n"+
		"ann@example.com\tOK\n"+
		"bob@example.com\tREJECT\n", Options{NoEvents: true})
	for _, tt := range []struct{ from, want string }{
		{"a@SPAMMER.example", "refused 1 REJECT "},
		{"a@xn--mnchen-3ya.example", "refused 2 its own reply 550 5.7.1 nein"},
		{"ANN+x@example.com", "allowed 0 OK "}, // of those who exist no line is kept
		{"bob@example.com", "refused 9 REJECT "},
		{"eve@sub.example.com", "refused 7 its own reply 550 5.7.1 Who is that?"},
		{"info@example.org", "refused 6 REJECT "},
		{"192.0.2.1@example.org", "nothing said 0  "},
	} {
		if got := inWords(s.Sender(someone(t, tt.from))); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.from, got, tt.want)
		}
	}
	if r := s.Rule("eve@example.com").Reply.String(); r != "550 5.1.1 Who is that?" {
		t.Errorf("the same line says %q of a recipient", r)
	}
	alone, _, err := mail.ParsePath("<info>", false)
	if err != nil {
		t.Fatal(err)
	}
	if got := inWords(s.Sender(alone)); got != "refused 6 REJECT " {
		t.Errorf("a sender without a domain: %s", got)
	}
	for _, tt := range []struct{ addr, name, want string }{
		{"192.0.2.9", "", "refused 3 REJECT "},
		{"::ffff:192.0.2.9", "unknown.example", "refused 3 REJECT "},
		{"192.0.2.9", "MAIL.example.net.", "allowed 4 RELAY "}, // the name goes first
		{"192.0.2.9", "no name at all", "refused 3 REJECT "},
		{"2001:db8:1::5", "", "refused 5 its own reply 550 5.7.25 no such peer"},
		{"fe80::1%eth0", "", "nothing said 0  "},
	} {
		if got := inWords(s.Client(netip.MustParseAddr(tt.addr), tt.name)); got != tt.want {
			t.Errorf("%s %s: %s, want %s", tt.addr, tt.name, got, tt.want)
		}
	}
	if got := s.Client(netip.Addr{}, ""); got != (evidence.Policy{}) {
		t.Errorf("no address: %+v", got)
	}
}

func inWords(p evidence.Policy) string {
	return fmt.Sprintf("%v %d %s %v", p.Word, p.Line, p.Detail, p.Reply)
}

// A file of recipients alone, and one of another kind, say nothing of a sender or a client.
func TestNoPolicies(t *testing.T) {
	for kind, text := range map[Kind]string{Access: "To:ann@example.com RELAY\n", Virtusertable: siteVirtual, Postmap: siteMap} {
		s := open(t, kind, text, Options{NoEvents: true})
		if p := s.Sender(someone(t, "ann@example.com")); p != (evidence.Policy{}) {
			t.Errorf("%v: %+v", kind, p)
		}
		if p := s.Client(netip.MustParseAddr("192.0.2.1"), "host.example.com"); p != (evidence.Policy{}) {
			t.Errorf("%v: %+v", kind, p)
		}
	}
}

func TestPoliciesAllocateNothing(t *testing.T) {
	s := open(t, Access, sitePolicy, Options{NoEvents: true})
	addrs := []netip.Addr{netip.MustParseAddr("203.0.113.8"), netip.MustParseAddr("2001:db8:ffff::1"), netip.MustParseAddr("11.1.1.1")}
	froms := []mail.Address{someone(t, "x+y@deep.sub.example.com"), someone(t, "kim+y@plus.test"), someone(t, "a@[203.0.113.9]"), someone(t, "a@b.c.d.example")}
	if n := testing.AllocsPerRun(100, func() {
		for _, a := range addrs {
			s.Client(a, "")
			s.Client(a, "in.mx.dial.test")
		}
		for _, f := range froms {
			s.Sender(f)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
