package access

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"backstop/internal/directory"
	"backstop/internal/evidence"
	"backstop/internal/mailtest"
	"backstop/internal/mailtest/rig"
)

// siteAccess is a file as a site has it, with every form of key and value.
const siteAccess = `# recipients
To:ann@example.com	RELAY
bob@example.com		OK
To:carl@example.com	REJECT
To:dave@example.com	DISCARD
To:eve@example.com	550 no eve here
To:fred@example.com	ERROR:550 Fred left
To:gina@example.com	ERROR:5.1.1:"550 User unknown"
To:hal@example.com	error:5.1.6:550 Hal moved to another company
To:ian@example.com	ERROR:4.2.1:"450 come later"
To:jan+*@example.com	RELAY
To:kim+x@example.com	REJECT
kim@example.com		RELAY
To:lee@example.com	SKIP
mia@			REJECT
To:ned@			RELAY
oda+*@			"551 Oda is not local"
To:Upper@Example.COM	relay
To:pat@example.com	550 5.7.1 not you
To:quin@example.com	451 4.7.1 later
To:rob@sub.example.com	RELAY
To:example.com		ERROR:5.1.1:"550 User unknown"
sub.example.com		SKIP
deep.sub.example.com	RELAY
To:other.test		RELAY
both.test		REJECT
To:both.test		OK
test			554 nobody below test
Connect:192.0.2		RELAY
192.0.2.7		REJECT
From:spammer.example	REJECT
From:friend.example	OK
`

var (
	accessLocals  = []string{"ann", "bob", "carl", "dave", "eve", "fred", "gina", "hal", "ian", "jan", "kim", "lee", "mia", "ned", "oda", "upper", "pat", "quin", "rob", "nobody"}
	accessDetails = []string{"", "+x", "+y+z"}
	accessDomains = []string{"example.com", "sub.example.com", "deep.sub.example.com", "other.test", "both.test", "third.test", "example.org"}
	accessValues  = []string{"RELAY", "OK", "REJECT", "DISCARD", "SKIP", "550 no", "ERROR:5.1.1:550 User unknown", `ERROR:4.3.2:"450 not now"`, "451 4.2.0 wait"}
)

// generatedAccess makes a file of keys that meet each other.
func generatedAccess(rng *rand.Rand) string {
	pick := func(list []string) string { return list[rng.IntN(len(list))] }
	lines := map[string]string{}
	for range 60 {
		local, domain := pick(accessLocals)+pick([]string{"", "", "+x", "+*", "+y+z"}), pick(accessDomains)
		key := pick([]string{local + "@" + domain, local + "@" + domain, local + "@", domain, "test", "com"})
		lines[pick([]string{"To:", "to:", ""})+key] = pick(accessValues)
	}
	var b strings.Builder
	seen := map[string]bool{}
	for _, k := range slices.Sorted(maps.Keys(lines)) {
		v := lines[k]
		if folded := strings.ToLower(k); !seen[folded] { // makemap refuses the second
			seen[folded] = true
			fmt.Fprintf(&b, "%s\t%s\n", k, v)
		}
	}
	return b.String()
}

// addresses is each local part with each detail in each domain.
func addresses() []string {
	var all []string
	for _, d := range accessDomains {
		for _, l := range accessLocals {
			for _, x := range accessDetails {
				all = append(all, l+x+"@"+d)
			}
		}
	}
	return all
}

func open(t testing.TB, kind Kind, text string, o Options) *Source {
	t.Helper()
	s, err := Open(kind, mailtest.WriteFile(t, t.TempDir(), "file", text), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// TestAccessBesideSendmail holds our look-ups against Sendmail's own: the search that
// both do of To:, and what comes of it at RCPT, in a Sendmail for whom the domains are
// local. Differences, all of them on purpose:
//
//   - REJECT is 550 5.1.1 here and 5.2.1 there, DISCARD a refusal here;
//   - a text without a status gets one here (5.1.1, 4.1.1), and none in Sendmail's rules.
func TestAccessBesideSendmail(t *testing.T) {
	files := []string{siteAccess}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 4 {
		files = append(files, generatedAccess(rng))
	}
	found := map[evidence.Standing]int{}
	asked := 0
	for _, text := range files {
		s := open(t, Access, text, Options{NoEvents: true})
		m := rig.NewSendmail(t, rig.SendmailOptions{Access: text, Local: accessDomains})
		var questions []string
		all := addresses()
		for _, a := range all {
			user, domain, _ := strings.Cut(a, "@")
			questions = append(questions, fmt.Sprintf("Translate,SearchList <+ To> $| <F:%s> <U:%s@> <D:%s> <>", a, user, domain), "check_rcpt "+a)
		}
		answers := m.Ask(questions...)
		for i, a := range all {
			got := s.Rule(a)
			asked++
			found[got.Standing]++
			search, verdict := answers[2*i], answers[2*i+1]
			if want := searched(t, search); want != bare3(got) {
				t.Errorf("%s: found %+v, Sendmail's search found %+v\n%s", a, bare3(got), want, text)
			}
			checkVerdict(t, a, got, verdict)
		}
	}
	t.Logf("%d addresses, the search and the verdict of each as Sendmail's: %v", asked, found)
	for _, s := range []evidence.Standing{evidence.NotAsked, evidence.Exists, evidence.Missing, evidence.Unavailable} {
		if found[s] == 0 {
			t.Errorf("no address came out as %v", s)
		}
	}
}

// result is what two searches have in common.
type result struct {
	standing evidence.Standing
	reply    string // without white space
}

func bare3(r directory.Ruling) result { return result{r.Standing, packed(r.Reply.String())} }

func packed(s string) string {
	return strings.ToLower(strings.NewReplacer(" ", "", "\t", "", `"`, "").Replace(s))
}

var searchReturns = regexp.MustCompile(`(?m)^SearchList +returns: < (.*) >$`)

// searched reads what Sendmail's SearchList found, and says what that value means to us.
func searched(t *testing.T, block string) result {
	t.Helper()
	all := searchReturns.FindAllStringSubmatch(block, -1)
	if all == nil {
		t.Fatalf("no result in:\n%s", block)
	}
	value := all[len(all)-1][1]
	if value == "?" {
		return result{}
	}
	for _, v := range slices.Concat(accessValues, siteValues()) {
		if packed(v) == packed(value) {
			a, err := parseValue(v, addressing)
			if err != nil {
				t.Fatal(err)
			}
			return bare3(ruling(&a, true))
		}
	}
	t.Fatalf("Sendmail found %q, which is no value of the file", value)
	return result{}
}

func siteValues() (values []string) {
	for line := range strings.Lines(siteAccess) {
		if _, value, ok := strings.Cut(strings.TrimSpace(line), "\t"); ok {
			values = append(values, strings.TrimSpace(value))
		}
	}
	return values
}

var (
	rcptReturns = regexp.MustCompile(`(?m)^check_rcpt +returns: (.*)$`)
	rcptError   = regexp.MustCompile(`^\$# error (?:\$@ (.*?) )?\$: (.*)$`)
)

// checkVerdict compares with what Sendmail would say at RCPT.
func checkVerdict(t *testing.T, addr string, got directory.Ruling, block string) {
	t.Helper()
	m := rcptReturns.FindStringSubmatch(block)
	if m == nil {
		t.Fatalf("no verdict in:\n%s", block)
	}
	refused := got.Standing == evidence.Missing || got.Standing == evidence.Unavailable
	e := rcptError.FindStringSubmatch(m[1])
	switch {
	case m[1] == "RELAY":
		if refused {
			t.Errorf("%s: refused with %v, Sendmail takes it", addr, got.Reply)
		}
	case m[1] == "$# discard $: discard":
		if got.Standing != evidence.Missing || got.Detail != Discard.String() {
			t.Errorf("%s: %+v, Sendmail discards it", addr, got)
		}
	case e == nil:
		t.Errorf("%s: Sendmail says %q", addr, m[1])
	case strings.Contains(e[2], "Mailbox disabled for this recipient"):
		if got.Standing != evidence.Missing || got.Detail != Reject.String() {
			t.Errorf("%s: %+v, Sendmail rejects it", addr, got)
		}
	default:
		if want := wire(t, e[1], e[2], ".1.1"); !refused || packed(got.Reply.String()) != want {
			t.Errorf("%s: %v %q, Sendmail says %q", addr, got.Standing, got.Reply, want)
		}
	}
}

// wire puts code, status and text of Sendmail's error in our order, and adds the
// status where there is none.
func wire(t *testing.T, status, text, usual string) string {
	t.Helper()
	status, text = packed(status), packed(text)
	code, rest := text[:3], text[3:]
	if status == "" {
		if m := regexp.MustCompile(`^[245]\.\d+\.\d+`).FindString(rest); m == "" {
			status = code[:1] + usual
		}
	}
	return code + status + rest
}

// TestAccessBesideRelaying holds against a Sendmail that only relays, with RELAY for
// single addresses (relaytofulladdress): who is RELAY there is RELAY here and the other way
// round, but for user@ lines, which it looks up after the domain.
func TestAccessBesideRelaying(t *testing.T) {
	text := strings.Replace(siteAccess, "Connect:192.0.2\t", "Connect:203.0.113\t", 1) // or everything from the client is relayed
	s := open(t, Access, text, Options{NoEvents: true})
	m := rig.NewSendmail(t, rig.SendmailOptions{Access: text})
	all := addresses()
	questions := make([]string, len(all))
	for i, a := range all {
		questions[i] = "check_rcpt " + a
	}
	late := 0
	for i, block := range m.Ask(questions...) {
		said := rcptReturns.FindStringSubmatch(block)
		if said == nil {
			t.Fatalf("no verdict in:\n%s", block)
		}
		got := s.Rule(all[i])
		if relayed := got.Detail == Relay.String(); relayed != (said[1] == "RELAY") {
			if user, _, _ := strings.Cut(all[i], "@"); !slices.Contains([]string{"mia", "ned", "oda"}, strings.SplitN(user, "+", 2)[0]) {
				t.Errorf("%s: %+v, Sendmail says %q", all[i], got, said[1])
			}
			late++
		}
	}
	t.Logf("%d addresses; %d differ by a user@ line", len(all), late)
}

const siteVirtual = `# virtual users
ann@example.com		ann
bob@example.com		robert@other.test
old@example.com		ann@example.com
gone@example.com	x@example.com
x@example.com		error:nouser 550 No such user
y@example.com		error:5.7.0:550 not you
z@example.com		error:4.2.1:450 come later
p+*@example.com		p
p+special@example.com	error:5.7.0:550 not this one
q++@example.com		q-%2
q@example.com		q
self@example.com	self@example.com
@example.com		error:5.1.1:550 User unknown
@alias.test		%1@example.com
@keep.test		%1%3@example.com
@catch.test		everybody
++@plus.test		plus-%2
one@third.test		one
`

// TestVirtualBesideSendmail holds against what becomes of an address in Sendmail: an
// error, another address, or nothing.
func TestVirtualBesideSendmail(t *testing.T) {
	domains := []string{"example.com", "alias.test", "keep.test", "catch.test", "plus.test", "third.test", "example.org"}
	locals := []string{"ann", "bob", "old", "gone", "x", "y", "z", "p", "q", "one", "nobody", "Ann"}
	details := []string{"", "+x", "+special", "+a+b"}
	s := open(t, Virtusertable, siteVirtual, Options{NoEvents: true})
	m := rig.NewSendmail(t, rig.SendmailOptions{Virtusertable: siteVirtual, Local: domains})
	var all, questions []string
	for _, d := range domains {
		for _, l := range locals {
			for _, x := range details {
				all = append(all, l+x+"@"+d)
				questions = append(questions, "3,0 "+l+x+"@"+d)
			}
		}
	}
	returns := regexp.MustCompile(`(?m)^parse +returns: (.*)$`)
	found := map[evidence.Standing]int{}
	for i, block := range m.Ask(questions...) {
		got := s.Rule(strings.ToLower(all[i]))
		found[got.Standing]++
		said := returns.FindStringSubmatch(block)
		if said == nil {
			t.Fatalf("no result in:\n%s", block)
		}
		e := rcptError.FindStringSubmatch(said[1])
		rewritten := strings.Contains(block, "\nRecurse")
		switch got.Standing {
		case evidence.Exists:
			if e != nil || !rewritten {
				t.Errorf("%s: %+v, Sendmail makes %q of it", all[i], got, said[1])
			}
		case evidence.NotAsked:
			if e != nil || rewritten {
				t.Errorf("%s: nothing found, Sendmail makes %q of it", all[i], said[1])
			}
		default:
			if e == nil {
				t.Errorf("%s: %v, Sendmail makes %q of it", all[i], got.Reply, said[1])
			} else if want := wire(t, strings.Replace(e[1], "nouser", "5.1.1", 1), e[2], ".1.1"); packed(got.Reply.String()) != want {
				t.Errorf("%s: %q, Sendmail says %q", all[i], got.Reply, want)
			}
		}
	}
	t.Logf("%d addresses, each as Sendmail's: %v", len(all), found)
}
