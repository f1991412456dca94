package session

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"backstop/internal/directory"
	"backstop/internal/evidence"
	"backstop/internal/mail"
	"backstop/internal/seal"
	"backstop/internal/smtp"
	"backstop/internal/verdict"
)

// knows gives example.org users of its own in place of everybody.
func (w *world) knows(users ...string) {
	chain := directory.NewChain("some", directory.Member{Source: some(users), Lives: directory.Lives{ExistsFor: directory.Never}})
	w.org.Chain = chain
}

// some is a source that knows these and nobody else.
type some []string

func (some) Name() string { return "some" }

func (all some) Lookup(_ context.Context, a mail.Address) directory.Answer {
	if slices.Contains(all, a.LocalKey()) {
		return directory.Answer{Standing: evidence.Exists}
	}
	return directory.Answer{Standing: evidence.Missing}
}

// judged plays a letter at a door beside an MTA.
func (w *world) judged(s *Session, l letter) (verdict.Verdict, Changes) {
	w.t.Helper()
	if v := s.Mail(path(w.t, l.from), smtp.MailParams{}); v.Effect != verdict.Accept {
		return v, Changes{}
	}
	var last verdict.Verdict
	for _, to := range l.to {
		last = s.Rcpt(addr(w.t, to), smtp.RcptParams{})
	}
	if len(s.Recipients()) == 0 {
		return last, Changes{}
	}
	return s.Judge(strings.NewReader(l.text))
}

// beside opens a session at the milter; leaves says that the client is one of us.
func (w *world) beside(leaves bool) *Session {
	s := w.from(stranger, evidence.DoorMilter)
	s.Outward(leaves)
	return s
}

func names(fields []Field) string {
	var all []string
	for _, f := range fields {
		all = append(all, f.Name)
	}
	return strings.Join(all, " ")
}

func texts(all []mail.Address) string {
	var s []string
	for _, a := range all {
		s = append(s, a.String())
	}
	return strings.Join(s, " ")
}

// TestBesideRecipients: who exists here is decided as at the gateway, and the MTA's other domains are its own.
func TestBesideRecipients(t *testing.T) {
	for _, leaves := range []bool{false, true} {
		for to, rule := range map[string]verdict.Rule{
			"bob@example.org":                 verdict.Accepted,
			"nobody@example.org":              verdict.RecipientMissing,
			"postmaster@example.org":          verdict.Accepted,
			"someone@other.example":           verdict.Accepted,
			"root":                            verdict.Accepted,
			"a%far.example@example.org":       verdict.RelayDenied,
			"nobody%example.org":              verdict.RelayDenied, // all of which the MTA takes for nobody@example.org
			"example.org!nobody":              verdict.RelayDenied,
			`"nobody@example.org"`:            verdict.RelayDenied,
			`"nobody\@example.org"`:           verdict.RelayDenied,
			"nobody%example.org@localhost":    verdict.RelayDenied,
			"a%b%example.net@other.example":   verdict.Accepted, // a list of theirs may have such addresses
			"a%far.example":                   verdict.Accepted,
			"a%host.example.org":              verdict.Accepted,
			"prvs=1999abcdef=bob@example.org": verdict.Accepted, // a made-up tag, and the sender is not null
		} {
			w := newWorld(t)
			w.knows("bob")
			s := w.beside(leaves)
			if v := s.Mail(path(t, "ann@far.example"), smtp.MailParams{}); v.Effect != verdict.Accept {
				t.Fatal(v.Reply)
			}
			if v := s.Rcpt(addr(t, to), smtp.RcptParams{}); v.Rule != rule {
				t.Errorf("leaves %v: %s: %v (%v)", leaves, to, v.Rule, v.Reply)
			}
			if asked := w.near.Messages(); len(asked) > 0 {
				t.Errorf("%s: the downstream was given something", to)
			}
		}
	}
}

// TestBesideOtherDomains: a message to a domain of the MTA's own is not judged by our wishes, nor ours by none.
func TestBesideOtherDomains(t *testing.T) {
	w := newWorld(t)
	s := w.beside(false)
	v, c := w.judged(s, letter{"", []string{"x@other.example"}, bounceOf(letterHead)})
	if v.Effect != verdict.Accept || len(c.Fields) > 0 {
		t.Errorf("%v, %v", v.Rule, c)
	}
	for strict, rule := range map[bool]verdict.Rule{false: verdict.Accepted, true: verdict.OtherRoute} {
		w := newWorld(t)
		if strict {
			w.org.Guards.DMARC = evidence.CheckRefuse
		}
		for _, to := range [][]string{{"bob@example.org", "x@other.example"}, {"x@other.example", "bob@example.org"}} {
			s := w.beside(false)
			s.Mail(path(t, "ann@far.example"), smtp.MailParams{})
			s.Rcpt(addr(t, to[0]), smtp.RcptParams{})
			if v := s.Rcpt(addr(t, to[1]), smtp.RcptParams{}); v.Rule != rule {
				t.Errorf("strict %v: %s beside %s: %v", strict, to[1], to[0], v.Rule)
			}
			s = w.from(stranger, evidence.DoorPolicy) // which never sees the message
			s.Mail(path(t, "ann@far.example"), smtp.MailParams{})
			s.Rcpt(addr(t, to[0]), smtp.RcptParams{})
			if v := s.Rcpt(addr(t, to[1]), smtp.RcptParams{}); v.Rule != verdict.Accepted {
				t.Errorf("policy, strict %v: %s beside %s: %v", strict, to[1], to[0], v.Rule)
			}
		}
	}
}

// TestBesideInbound: what the gateway writes into a message an MTA is told to write.
func TestBesideInbound(t *testing.T) {
	w := newWorld(t)
	w.org.Guards = evidence.Guards{SPF: evidence.CheckMark, DMARC: evidence.CheckMark, Bounces: evidence.JudgeWatch}
	w.auth.spf, w.auth.dmarc = evidence.Pass, evidence.DMARC{Result: evidence.Pass, Domain: "far.example"}
	s := w.beside(false)
	v, c := w.judged(s, letter{"ann@far.example", []string{"bob@example.org"},
		"Received: one\r\nAuthentication-Results: mx.example.org; spf=fail\r\nBackstop-Origin: v=1; forged\r\nFrom: ann@far.example\r\nauthentication-results: MX.example.ORG; dkim=none\r\n\r\nHello.\r\n"})
	if v.Effect != verdict.Accept || v.Reply.Code() != 250 {
		t.Fatal(v)
	}
	if got := names(c.Fields); got != "Authentication-Results Backstop-Origin" {
		t.Errorf("written: %s", got)
	}
	if want := []FieldEdit{{"Authentication-Results", 1}, {"Backstop-Origin", 1}, {"authentication-results", 2}}; !slices.Equal(c.Edits, want) {
		t.Errorf("taken out: %v", c.Edits)
	}
	if c.Tagged || len(c.Add)+len(c.Delete) > 0 {
		t.Errorf("the envelope changes: %+v", c)
	}
	if f := c.Fields[0]; !strings.HasPrefix(f.Value, " mx.example.org;") || strings.HasSuffix(f.Value, "\n") {
		t.Errorf("%q", f)
	}
}

// TestBesideOutbound: tag, seal and signature, and the store is handed the bare address of a bounce to it.
func TestBesideOutbound(t *testing.T) {
	w := newWorld(t)
	w.org.Guards.Tags, w.org.Guards.Bounces = evidence.TagEnforce, evidence.JudgeEnforce
	v, c := w.judged(w.beside(true), letter{"bob@example.org", []string{"ann@far.example"}, letterHead + "\r\nHello.\r\n"})
	if v.Effect != verdict.Accept || !c.Tagged || !strings.HasPrefix(c.From.Address.Local(), "prvs=") {
		t.Fatalf("%v, %+v", v, c)
	}
	if got := names(c.Fields); got != "DKIM-Signature Backstop-Seal" {
		t.Fatalf("written: %s", got)
	}
	sealed := c.Fields[1]
	head := sealed.Name + ":" + sealed.Value + "\r\n" + letterHead
	tagged := c.From.Address.String()

	w.cfg.Outbound = nil // as beside an MTA
	v, c = w.judged(w.beside(false), letter{"", []string{tagged}, bounceOf(letterHead)})
	if v.Effect != verdict.Accept || texts(c.Delete) != tagged || texts(c.Add) != "bob@example.org" {
		t.Errorf("by its tag: %v, %+v", v, c)
	}
	v, c = w.judged(w.beside(false), letter{"", []string{"bob@example.org"}, bounceOf(head)})
	if v.Effect != verdict.Accept || len(c.Delete)+len(c.Add) > 0 || c.Fields[len(c.Fields)-1].Name != bounceName {
		t.Errorf("by its seal: %v, %+v", v, c)
	}
	v, _ = w.judged(w.beside(false), letter{"", []string{"bob@example.org"}, bounceOf("Subject: a lie\r\n")})
	if v.Rule != verdict.BounceNotOurs {
		t.Errorf("a fake: %v", v)
	}
}

// TestBesidePassedOn: what came in from outside and goes on gets no tag in the name of our user.
func TestBesidePassedOn(t *testing.T) {
	w := newWorld(t)
	w.org.Guards.Tags = evidence.TagSign
	head := w.origin("ann@far.example", seal.Proof{})
	v, c := w.judged(w.beside(true), letter{"bob@example.org", []string{"ann@far.example"}, head + "\r\nHello.\r\n"})
	if v.Effect != verdict.Accept || c.Tagged || names(c.Fields) != "" || len(c.Edits) != 1 {
		t.Errorf("%v, %+v", v, c)
	}
}

// ourBounce is one that a server of ours wrote, about a recipient of ours.
func ourBounce() string {
	return strings.Replace(bounceOf("From: victim@far.example\r\n"), "nobody@far.example", "gone@example.org", 1)
}

// TestBesideRedirect: automatic mail to strangers goes to the mailbox for it, or is refused.
func TestBesideRedirect(t *testing.T) {
	for _, to := range []string{"", "kept@example.org"} {
		w := newWorld(t)
		if to != "" {
			w.org.BounceTo = addr(t, to)
		}
		v, c := w.judged(w.beside(true), letter{"", []string{"victim@far.example"}, ourBounce()})
		switch {
		case to == "" && v.Rule == verdict.BounceUnproven && v.Effect == verdict.Refuse:
		case to != "" && v.Effect == verdict.Redirect && texts(c.Delete) == "victim@far.example" && texts(c.Add) == to && strings.HasPrefix(names(c.Fields), redirectedName):
		default:
			t.Errorf("%q: %v, %+v", to, v, c)
		}
	}
}

// TestBesideForeign: automatic mail of domains that only the MTA knows is not judged by the wishes of others.
func TestBesideForeign(t *testing.T) {
	reply := func(from string) string {
		return "From: " + from + "\r\nAuto-Submitted: auto-replied\r\nSubject: away\r\n\r\nI am away.\r\n"
	}
	for name, c := range map[string]struct {
		text string
		rule verdict.Rule
	}{
		"a reply of a domain of the MTA's":  {reply("joe@hosted.example"), verdict.Accepted},
		"a reply of ours":                   {reply("bob@example.org"), verdict.BounceUnproven},
		"a reply below ours":                {reply("bob@host.example.org"), verdict.BounceUnproven},
		"a reply of nobody":                 {"Auto-Submitted: auto-replied\r\n\r\nHello.\r\n", verdict.BounceUnproven},
		"a bounce for their user":           {strings.Replace(bounceOf("Subject: x\r\n"), "nobody@far.example", "gone@hosted.example", 1), verdict.Accepted},
		"a bounce for ours":                 {strings.Replace(bounceOf("Subject: x\r\n"), "nobody@far.example", "gone@example.org", 1), verdict.BounceUnproven},
		"a bounce of what we looked at":     {strings.Replace(bounceOf("Backstop-Origin: v=1; k=9\r\n"+letterHead), "nobody@far.example", "gone@hosted.example", 1), verdict.BounceUnproven},
		"a bounce that names nobody":        {"From: MAILER-DAEMON@store.internal\r\nSubject: failure notice\r\n\r\nHi. This is the qmail-send program at store.internal.\r\nI'm afraid I wasn't able to deliver your message.\r\n\r\n--- Below this line is a copy of the message.\r\n\r\nSubject: x\r\n\r\nx\r\n", verdict.BounceUnproven},
		"a bounce of one forwarded by ours": {strings.Replace(bounceOf("Subject: x\r\n"), "Final-Recipient", "Original-Recipient: rfc822; bob@example.org\r\nFinal-Recipient", 1), verdict.BounceUnproven},
	} {
		w := newWorld(t)
		if v, ch := w.judged(w.beside(true), letter{"", []string{"victim@far.example"}, c.text}); v.Rule != c.rule || len(ch.Delete) > 0 {
			t.Errorf("%s: %v, %+v", name, v, ch)
		}
	}
	for _, to := range []string{"victim%far.example", "far.example!victim", `"victim@far.example"`} {
		w := newWorld(t)
		if v, _ := w.judged(w.beside(true), letter{"", []string{to}, ourBounce()}); v.Rule != verdict.BounceUnproven {
			t.Errorf("to %s: %v", to, v)
		}
	}
	w := newWorld(t) // at the door that is for our own domains alone all is judged
	if v, _ := w.leaves(letter{"", []string{"victim@far.example"}, reply("joe@hosted.example")}); v.Rule != verdict.BounceUnproven {
		t.Errorf("outbound: %v", v)
	}
}

// TestBesideOwnUsers: the MTA's own bounce for a user of ours does not leave, so it need not be proven; beside it a stranger is.
func TestBesideOwnUsers(t *testing.T) {
	for to, want := range map[string]string{"bob@example.org": "", "bob@example.org victim@far.example": "victim@far.example", "root": ""} {
		w := newWorld(t)
		w.org.BounceTo = addr(t, "kept@example.org")
		s := w.beside(true)
		v, c := w.judged(s, letter{"mailer@example.org", strings.Fields(to), "Auto-Submitted: auto-replied\r\n" + ourBounce()})
		if texts(c.Delete) != want || (want == "") != (v.Effect == verdict.Accept) {
			t.Errorf("%s: %v, %+v", to, v, c)
		}
	}
}

// TestKeepRecipients: what must go elsewhere and cannot waits, and nobody is told that it went.
func TestKeepRecipients(t *testing.T) {
	w := newWorld(t)
	w.org.BounceTo = addr(t, "kept@example.org")
	told := false
	w.cfg.Redirected = func(_ mail.Address, _ evidence.Answer, taken bool) { told = told || taken }
	s := w.beside(true)
	s.Mail(path(t, ""), smtp.MailParams{})
	s.Rcpt(addr(t, "victim@far.example"), smtp.RcptParams{})
	s.KeepRecipients()
	if v, c := s.Judge(strings.NewReader(ourBounce())); v.Effect != verdict.Defer || len(c.Add) > 0 || told {
		t.Errorf("%v, %+v, %v", v, c, told)
	}
}

// TestBesideForged: networks of our own and whoever logged in are no outsiders.
func TestBesideForged(t *testing.T) {
	for name, change := range map[string]func(*world, *Session){
		"":       func(*world, *Session) {},
		"login":  func(_ *world, s *Session) { s.Login("bob") },
		"leaves": func(_ *world, s *Session) { s.Outward(true) },
	} {
		w := newWorld(t)
		w.org.Forged = true
		s := w.beside(false)
		change(w, s)
		if v := s.Mail(path(t, "bob@example.org"), smtp.MailParams{}); (v.Rule == verdict.SenderForged) != (name == "") {
			t.Errorf("%q: %v", name, v.Rule)
		}
	}
	w := newWorld(t)
	w.org.Forged = true
	w.cfg.Internal = func(a netip.Addr) bool { return a == stranger }
	for door, rule := range map[evidence.Door]verdict.Rule{evidence.DoorPolicy: verdict.Accepted, evidence.DoorSMTP: verdict.SenderForged} {
		if v := w.from(stranger, door).Mail(path(t, "bob@example.org"), smtp.MailParams{}); v.Rule != rule {
			t.Errorf("[milter] internal at %v: %v", door, v.Rule)
		}
	}
}

// TestExplainBeside: where no door of ours delivers, a domain of the MTA's own is its own there too.
func TestExplainBeside(t *testing.T) {
	for beside, rule := range map[bool]string{true: "accepted", false: "relay-denied"} {
		w := newWorld(t)
		w.cfg.Beside = beside
		w.cfg.Milter, w.cfg.Internal = true, func(a netip.Addr) bool { return a == server }
		if x := New(w.cfg).Explain(t.Context(), Question{Client: server, From: path(t, "bob@example.org"), To: []mail.Address{addr(t, "x@far.example")}}); beside && x.Rule != "accepted" {
			t.Errorf("one of us: %+v", x)
		}
		x := New(w.cfg).Explain(t.Context(), Question{Client: stranger, From: path(t, "ann@far.example"), To: []mail.Address{addr(t, "x@other.example")}})
		if x.Rule != rule {
			t.Errorf("beside %v: %+v", beside, x)
		}
	}
}

// TestBesideForgedWays: a sender that the MTA makes one of ours is claimed, however it is written.
func TestBesideForgedWays(t *testing.T) {
	for from, rule := range map[string]verdict.Rule{
		"ceo%example.org": verdict.SenderForged, "example.org!ceo": verdict.SenderForged, "ceo": verdict.SenderForged, `"ceo@example.org"`: verdict.SenderForged,
		"ceo%example.org@localhost": verdict.SenderForged, "ceo%host.example.org": verdict.SenderForged, "ceo%far.example": verdict.Accepted, "ceo%example.org@lists.example": verdict.Accepted, "ann@far.example": verdict.Accepted, "a%b@far.example": verdict.Accepted,
	} {
		w := newWorld(t)
		w.org.Forged = true
		for _, leaves := range []bool{false, true} {
			if v := w.beside(leaves).Mail(path(t, from), smtp.MailParams{}); (v.Rule == rule) == (leaves && rule != verdict.Accepted) {
				t.Errorf("%s, leaves %v: %v", from, leaves, v.Rule)
			}
		}
	}
}

// TestBesideNullSender: how many recipients of the MTA's own a bounce has is its own business.
func TestBesideNullSender(t *testing.T) {
	w := newWorld(t)
	s := w.beside(false)
	s.Mail(path(t, ""), smtp.MailParams{})
	for _, c := range []struct {
		to   string
		rule verdict.Rule
	}{{"x@other.example", verdict.Accepted}, {"y@other.example", verdict.Accepted}, {"bob@example.org", verdict.NullSenderRecipients}} {
		if v := s.Rcpt(addr(t, c.to), smtp.RcptParams{}); v.Rule != c.rule {
			t.Errorf("%s: %v", c.to, v.Rule)
		}
	}
}

// TestFieldNumbers: fields are told apart as an MTA does, or the number would hit another.
func TestFieldNumbers(t *testing.T) {
	w := newWorld(t)
	_, c := w.judged(w.beside(false), letter{"ann@far.example", []string{"bob@example.org"},
		"Authent\u0130cation-Results: mx.example.org; x\r\nAuthentication\x01-Results: mx.example.org; y\r\nAUTHENTICATION-Results: mx.example.org; dmarc=pass\r\n\r\nHello.\r\n"})
	if want := []FieldEdit{{"AUTHENTICATION-Results", 1}}; !slices.Equal(c.Edits, want) {
		t.Errorf("%v", c.Edits)
	}
}

// TestCircular: a call-ahead that comes back by the MTA beside us is told so at once; all others are answered.
func TestCircular(t *testing.T) {
	for _, c := range []struct {
		door       evidence.Door
		helo, from string
		rule       verdict.Rule
	}{
		{evidence.DoorMilter, "MX.example.org", "", verdict.RecipientUnverified},
		{evidence.DoorPolicy, "mx.example.org", "", verdict.RecipientUnverified},
		{evidence.DoorMilter, "mx.example.org", "ann@far.example", verdict.Accepted},
		{evidence.DoorMilter, "client.example", "", verdict.Accepted},
		{evidence.DoorSMTP, "mx.example.org", "", verdict.Accepted},
	} {
		w := newWorld(t)
		s := w.from(stranger, c.door)
		s.Helo(c.helo, "ESMTP", false)
		s.Mail(path(t, c.from), smtp.MailParams{})
		if v := s.Rcpt(addr(t, "bob@example.org"), smtp.RcptParams{}); v.Rule != c.rule {
			t.Errorf("%+v: %v", c, v.Rule)
		}
	}
}

// TestRecount: a door that hears late how many recipients a bounce has.
func TestRecount(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		from string
		n    int
		rule verdict.Rule
	}{{"", 2, verdict.NullSenderRecipients}, {"", 1, verdict.Accepted}, {"", 0, verdict.Accepted}, {"ann@far.example", 5, verdict.Accepted}} {
		s := w.from(stranger, evidence.DoorPolicy)
		s.Mail(path(t, c.from), smtp.MailParams{})
		if v := s.Recount(c.n); v.Rule != c.rule {
			t.Errorf("%q to %d: %v", c.from, c.n, v.Rule)
		}
	}
	if v := w.from(stranger, evidence.DoorPolicy).Recount(3); v.Rule != verdict.Accepted {
		t.Errorf("without a sender: %v", v.Rule)
	}
}

// TestRecountOthers: a bounce to several recipients of the MTA's own is its own business, at its start too.
func TestRecountOthers(t *testing.T) {
	for second, rule := range map[string]verdict.Rule{"y@other.example": verdict.Accepted, "bob@example.org": verdict.NullSenderRecipients} {
		w := newWorld(t)
		s := w.from(stranger, evidence.DoorPolicy)
		s.Mail(path(t, ""), smtp.MailParams{})
		s.Rcpt(addr(t, "x@other.example"), smtp.RcptParams{})
		if v := s.Rcpt(addr(t, second), smtp.RcptParams{}); v.Rule != rule {
			t.Errorf("%s: %v", second, v.Rule)
		}
		if v := s.Recount(2); v.Rule != verdict.Accepted && second == "y@other.example" {
			t.Errorf("%s, at DATA: %v", second, v.Rule)
		}
	}
}

// TestMixedIsMarked: a message to a domain of the MTA's and to one of ours is marked as ours are, whoever comes first.
func TestMixedIsMarked(t *testing.T) {
	for _, to := range [][]string{{"x@other.example", "bob@example.org"}, {"bob@example.org", "x@other.example"}} {
		w := newWorld(t)
		w.org.Guards = evidence.Guards{SPF: evidence.CheckMark, DMARC: evidence.CheckMark}
		w.auth.spf, w.auth.dmarc = evidence.Pass, evidence.DMARC{Result: evidence.Pass, Domain: "far.example"}
		_, c := w.judged(w.beside(false), letter{"ann@far.example", to, "From: ann@far.example\r\n\r\nHello.\r\n"})
		if got := names(c.Fields); got != "Authentication-Results Backstop-Origin" {
			t.Errorf("%v: %s", to, got)
		}
	}
}

// TestSignUntag: the maps that an MTA asks for tags.
func TestSignUntag(t *testing.T) {
	w := newWorld(t)
	e := New(w.cfg)
	if a, ok := e.Sign(addr(t, "bob@example.org")); ok {
		t.Errorf("no tags are wanted, and there is %v", a)
	}
	w.org.Guards.Tags = evidence.TagSign
	tagged, ok := e.Sign(addr(t, "bob@example.org"))
	if !ok || !strings.HasPrefix(tagged.Local(), "prvs=") {
		t.Fatalf("%v", tagged)
	}
	if a, ok := e.Sign(tagged); ok {
		t.Errorf("tagged twice: %v", a)
	}
	if a, ok := e.Sign(addr(t, "ann@far.example")); ok {
		t.Errorf("tagged a stranger: %v", a)
	}
	if a, ok := e.Untag(tagged); !ok || a.String() != "bob@example.org" {
		t.Errorf("untagged: %v", a)
	}
	for _, s := range []string{"bob@example.org", "a=b@example.org", "prvs=1234abcdef=ann@far.example"} {
		if a, ok := e.Untag(addr(t, s)); ok {
			t.Errorf("%s: untagged to %v", s, a)
		}
	}
}

// TestKnown: the same answer as to RCPT, and nobody hears of it.
func TestKnown(t *testing.T) {
	w := newWorld(t)
	w.knows("bob")
	e := New(w.cfg)
	for to, want := range map[string]evidence.Standing{
		"bob@example.org": evidence.Exists, "no@example.org": evidence.Missing, "postmaster@example.org": evidence.Exists, "ann@far.example": evidence.Missing,
	} {
		if got := e.Known(t.Context(), addr(t, to)); got != want {
			t.Errorf("%s: %v", to, got)
		}
	}
}

// TestBesideLost: a message that is not finished changes nothing and is remembered nowhere.
func TestBesideLost(t *testing.T) {
	w := newWorld(t)
	s := w.beside(true)
	s.Mail(path(t, "bob@example.org"), smtp.MailParams{})
	s.Rcpt(addr(t, "ann@far.example"), smtp.RcptParams{})
	v, c := s.Judge(io.MultiReader(strings.NewReader(letterHead), iotest.ErrReader(errors.New("gone"))))
	if v.Effect != verdict.Defer || len(c.Fields) > 0 || c.Tagged {
		t.Errorf("%v, %+v", v, c)
	}
}
