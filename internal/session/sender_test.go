package session

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"backstop/internal/batv"
	"backstop/internal/evidence"
	"backstop/internal/keyring"
	"backstop/internal/mail"
	"backstop/internal/mailtest"
	"backstop/internal/smtp"
	"backstop/internal/verdict"
)

// TestClaim: who is in a domain of ours, below it or under an alias of it, and why he may be.
func TestClaim(t *testing.T) {
	for _, tc := range []struct {
		name, from string
		client     netip.Addr
		login      string
		want       evidence.Claim
	}{
		{"a stranger of his own domain", "ann@far.example", stranger, "", evidence.Claim{}},
		{"a stranger of ours", "bob@example.org", stranger, "", evidence.Claim{Domain: "example.org", Refuse: true}},
		{"below it", "news@a.b.example.org", stranger, "", evidence.Claim{Domain: "example.org", Refuse: true}},
		{"its alias", "bob@example.net", stranger, "", evidence.Claim{Domain: "example.org", Refuse: true}},
		{"in capitals", "Bob@EXAMPLE.Org", stranger, "", evidence.Claim{Domain: "example.org", Refuse: true}},
		{"only its end", "bob@anexample.org", stranger, "", evidence.Claim{}},
		{"above it", "bob@org", stranger, "", evidence.Claim{}},
		{"one that anybody may claim", "bob@example.com", stranger, "", evidence.Claim{Domain: "example.com"}},
		{"who logged in", "bob@example.org", stranger, "bob", evidence.Claim{Domain: "example.org", Refuse: true, Exempt: "login", Vouched: true}},
		{"a server of ours", "bob@example.org", server, "", evidence.Claim{Domain: "example.org", Refuse: true, Exempt: "[outbound] clients", Vouched: true}},
		{"a server of ours that passes on", "ann@far.example", server, "", evidence.Claim{Exempt: "[outbound] clients", Vouched: true}},
		{"a server of ours that bounces", "", server, "", evidence.Claim{Exempt: "[outbound] clients", Vouched: true}},
		{"among senders", "bob@example.org", branch, "", evidence.Claim{Domain: "example.org", Refuse: true, Exempt: "203.0.113.0/24", Vouched: true}},
		{"among the senders of another", "bob@example.com", branch, "", evidence.Claim{Domain: "example.com"}},
		{"the null sender", "", stranger, "", evidence.Claim{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			w.org.Forged = true
			s := w.from(tc.client, evidence.DoorSMTP)
			s.c.Client.Login = tc.login
			v := s.Mail(path(t, tc.from), smtp.MailParams{})
			if s.c.Claim != tc.want {
				t.Errorf("%+v, wanted %+v", s.c.Claim, tc.want)
			}
			refused := tc.want.Refuse && tc.want.Exempt == ""
			if (v.Effect == verdict.Refuse) != refused || (len(w.auth.asked) > 0) != refused {
				t.Errorf("%v by %v, asked %v", v.Effect, v.Rule, w.auth.asked)
			}
		})
	}
}

// TestClaimAsks: SPF is asked once a transaction, and not for the next one.
func TestClaimAsks(t *testing.T) {
	w := newWorld(t)
	w.org.Forged, w.auth.spf = true, evidence.Pass
	w.org.Guards.SPF, w.org.Guards.DMARC = evidence.CheckRefuse, evidence.CheckRefuse
	w.auth.dmarc = evidence.DMARC{Result: evidence.Pass}
	s := w.from(stranger, evidence.DoorSMTP)
	for range 2 {
		if v := w.sends(s, letter{"bob@example.org", []string{"ann@example.org", "carol@example.org"}, "Subject: x\r\n\r\nHello.\r\n"}); v.Effect != verdict.Accept {
			t.Fatalf("%v by %v: %q", v.Effect, v.Rule, v.Reply)
		}
	}
	want := "spf 192.0.2.1 client.example bob@example.org, dkim, dmarc"
	if got := strings.Join(w.auth.asked, ", "); got != want+", "+want {
		t.Errorf("asked: %s", got)
	}
	w.auth.spf = evidence.TempError
	if v := s.Mail(path(t, "bob@example.org"), smtp.MailParams{}); v.Effect != verdict.Defer || v.Rule != verdict.SenderForged {
		t.Errorf("%v by %v", v.Effect, v.Rule)
	}
	w.cfg.Auth = nil // as with explain --no-ask
	if v, _ := w.arrives(letter{from: "bob@example.org"}); v.Effect != verdict.Defer || v.Rule != verdict.SenderForged {
		t.Errorf("nobody can be asked: %v by %v", v.Effect, v.Rule)
	}
}

// TestClaimAnsweredOnce: a claim that was refused is not the answer to the next line as well.
func TestClaimAnsweredOnce(t *testing.T) {
	w := newWorld(t)
	w.org.Forged = true
	s := w.from(stranger, evidence.DoorSMTP)
	if v := s.Mail(path(t, "bob@example.org"), smtp.MailParams{}); v.Rule != verdict.SenderForged {
		t.Fatalf("%v", v.Rule)
	}
	if v := s.Violation(evidence.FaultBareLF, false); v.Rule != verdict.MessageLines {
		t.Errorf("a bad line: %v", v.Rule)
	}
	if s.c.Claim.Domain == "" || !s.c.Claim.Refuse {
		t.Errorf("and what was known is lost: %+v", s.c.Claim)
	}
}

// TestModeOfClaim: the domain that is claimed decides whether a claim is refused or noted.
func TestModeOfClaim(t *testing.T) {
	for _, tc := range []struct{ top, domain evidence.Mode }{{evidence.Watch, evidence.Enforce}, {evidence.Enforce, evidence.Watch}} {
		w := newWorld(t)
		w.org.Forged, w.org.Mode, w.cfg.Mode = true, tc.domain, tc.top
		v, _ := w.arrives(letter{from: "bob@example.org"})
		if refused := v.Effect == verdict.Refuse; refused != (tc.domain == evidence.Enforce) {
			t.Errorf("top %v, domain %v: %v", tc.top, tc.domain, v.Effect)
		}
	}
}

// TestOwnServersAreNotDoubted: they pass on what others wrote, for which SPF and DMARC fail.
func TestOwnServersAreNotDoubted(t *testing.T) {
	for _, from := range []string{"ann@far.example", "", "bob@example.org"} {
		w := newWorld(t)
		w.org.Forged, w.org.Guards = true, evidence.Guards{SPF: evidence.CheckRefuse, DMARC: evidence.CheckRefuse}
		w.auth.spf, w.auth.dmarc = evidence.Fail, evidence.DMARC{Result: evidence.Fail, Policy: evidence.PolicyReject}
		l := letter{from, []string{"bob@example.org"}, "From: ann@far.example\r\n\r\nHello.\r\n"}
		if v := w.sends(w.from(server, evidence.DoorSMTP), l); v.Effect != verdict.Accept {
			t.Errorf("%q: %v by %v", from, v.Effect, v.Rule)
		}
		if v, _ := w.arrives(l); v.Effect != verdict.Refuse {
			t.Errorf("%q of a stranger: %v by %v", from, v.Effect, v.Rule)
		}
	}
}

// TestSPFIsRefusedForItsDomain: one recipient's domain refuses, the other does not; then they do not share a message.
func TestSPFIsRefusedForItsDomain(t *testing.T) {
	w := newWorld(t)
	w.auth.spf, w.org.Guards.SPF = evidence.Fail, evidence.CheckRefuse
	s := w.from(stranger, evidence.DoorSMTP)
	s.Mail(path(t, "ann@far.example"), smtp.MailParams{})
	for to, want := range map[string]verdict.Rule{"bob@example.org": verdict.SenderSPF, "bob@example.com": verdict.Accepted} {
		if v := s.Rcpt(addr(t, to), smtp.RcptParams{}); v.Rule != want {
			t.Errorf("%s: %v: %q", to, v.Rule, v.Reply)
		}
	}
}

// TestJudgedApart: recipients share a transaction where their domains judge messages alike, and only there.
func TestJudgedApart(t *testing.T) {
	since := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for name, tc := range map[string]struct {
		change func(org, com *Domain)
		apart  bool
	}{
		"nothing wanted":  {func(_, _ *Domain) {}, false},
		"mode":            {func(org, _ *Domain) { org.Mode = evidence.Watch }, true},
		"bounces":         {func(org, _ *Domain) { org.Guards.Bounces = evidence.JudgeEnforce }, true},
		"dmarc":           {func(_, com *Domain) { com.Guards.DMARC = evidence.CheckMark }, true},
		"exempt":          {func(_, com *Domain) { com.Exempt.From = []string{"far.example"} }, true},
		"exempt the same": {func(org, com *Domain) { org.Exempt.To, com.Exempt.To = []string{"list@"}, []string{"list@"} }, false},
		"forged":          {func(org, _ *Domain) { org.Forged = true }, false}, // was decided at MAIL
		"both tag": {func(org, com *Domain) {
			org.Guards.Tags, com.Guards.Tags = evidence.TagEnforce, evidence.TagEnforce
			org.TagsSince, com.TagsSince = since, since.Add(time.Hour)
		}, false},
		"one tags of late": {func(org, com *Domain) {
			org.Guards.Tags, com.Guards.Tags = evidence.TagEnforce, evidence.TagEnforce
			org.TagsSince, com.TagsSince = since, time.Date(2026, 5, 5, 0, 0, 0, 0, time.UTC)
		}, true},
	} {
		w := newWorld(t)
		tc.change(w.org, w.com)
		s := w.from(stranger, evidence.DoorSMTP)
		s.Mail(path(t, "ann@far.example"), smtp.MailParams{})
		if v := s.Rcpt(addr(t, "bob@example.org"), smtp.RcptParams{}); v.Effect != verdict.Accept {
			t.Fatalf("%s: %q", name, v.Reply)
		}
		v := s.Rcpt(addr(t, "bob@example.com"), smtp.RcptParams{})
		if apart := v.Rule == verdict.OtherRoute && v.Reply.Code() == 452; apart != tc.apart {
			t.Errorf("%s: %v %q", name, v.Rule, v.Reply)
		}
	}
}

// tag is an address with the tag of a moment.
func (w *world) tag(a string, at time.Time) string {
	w.t.Helper()
	out, did := batv.Sign(w.cfg.Keys(), addr(w.t, a), at)
	if did != batv.Signed {
		w.t.Fatalf("%s: %v", a, did)
	}
	return out.String()
}

// TestUntag: who is looked up, and what the server behind is told.
func TestUntag(t *testing.T) {
	w := newWorld(t)
	w.keys("secret one") // number 1
	srsOurs, _ := w.rewrites("example.org").Forward(addr(t, "ann@far.example"), w.now)
	late, _ := w.cfg.SRS.Forward(addr(t, "ann@far.example"), w.now.AddDate(0, 0, -40))
	retired, err := keyring.New(append(w.cfg.Keys().Keys(), keyring.Key{ID: 4, Secret: keyring.Secret("gone"), Retired: w.now.Add(-time.Hour)})...)
	must(t, err)
	w.cfg.Keys = func() keyring.Ring { return retired }
	good, old := w.tag("Bob@example.org", w.now), w.tag("bob@example.org", w.now.AddDate(0, 0, -9))
	bad := strings.Replace(good, "=Bob", "=carol", 1)
	for _, tc := range []struct{ name, to, look, hand, standing string }{
		{"no tag", "bob@example.org", "bob@example.org", "bob@example.org", "none"},
		{"an equals sign", "a=b@example.org", "a=b@example.org", "a=b@example.org", "none"},
		{"ours", good, "Bob@example.org", "Bob@example.org", "valid"},
		{"ours, folded on the way", strings.ToLower(good), "bob@example.org", "bob@example.org", "valid"},
		{"ours, expired", old, "bob@example.org", "bob@example.org", "expired"},
		{"ours, of somebody else", bad, "carol@example.org", "carol@example.org", "forged"},
		{"of a key that is retired", "prvs=4786000000=bob@example.org", "bob@example.org", "bob@example.org", "of an unknown key"},
		{"of a key that we never had", "prvs=7786000000=bob@example.org", "bob@example.org", "prvs=7786000000=bob@example.org", "of an unknown key"},
		{"Cisco's", "prvs=bob=0786000000@example.org", "bob@example.org", "prvs=bob=0786000000@example.org", "foreign"},
		{"Barracuda's", "btv1==0786000000==bob@example.org", "bob@example.org", "btv1==0786000000==bob@example.org", "foreign"},
		{"SRS", srsOurs.String(), srsOurs.String(), srsOurs.String(), "valid"},
		{"SRS, too old", late.String(), late.String(), late.String(), "expired"},
		{"SRS of others", "SRS0=abcd=ab=far.example=ann@example.org", "SRS0=abcd=ab=far.example=ann@example.org", "SRS0=abcd=ab=far.example=ann@example.org", "forged"},
		{"SRS, but nothing behind it", "SRS0=abcd@example.org", "SRS0=abcd@example.org", "SRS0=abcd@example.org", "forged"},
		{"SRS where none of ours stand", "SRS0=abcd=ab=far.example=ann@example.com", "SRS0=abcd=ab=far.example=ann@example.com", "SRS0=abcd=ab=far.example=ann@example.com", "none"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := w.from(stranger, evidence.DoorSMTP)
			look, hand := s.untag(addr(t, tc.to))
			if look.String() != tc.look || hand.String() != tc.hand || s.c.Tag.Standing.String() != tc.standing {
				t.Errorf("looked up is %s, handed on %s, the tag is %v", look, hand, s.c.Tag.Standing)
			}
		})
	}
	w.cfg.Keys = nil
	s := w.from(stranger, evidence.DoorSMTP)
	if look, hand := s.untag(addr(t, good)); look.String() != "Bob@example.org" || hand.String() != good {
		t.Errorf("without keys: looked up is %s, handed on %s", look, hand)
	}
	w.cfg.SRS = nil
	if look, _ := w.from(stranger, evidence.DoorSMTP).untag(srsOurs); look != srsOurs {
		t.Errorf("without [srs]: %s", look)
	}
}

// TestTaggedRecipient: as the source and the server behind see it, with a sender and without.
func TestTaggedRecipient(t *testing.T) {
	w := newWorld(t)
	w.org.Guards.Tags, w.org.TagsSince = evidence.TagEnforce, w.now.AddDate(0, -1, 0)
	good := w.tag("bob@example.net", w.now)
	bad := strings.Replace(good, "=bob", "=carol", 1)
	for _, tc := range []struct {
		from, to string
		want     verdict.Rule
	}{
		{"", good, verdict.Accepted}, {"ann@far.example", good, verdict.Accepted},
		{"", bad, verdict.RecipientTag}, {"ann@far.example", bad, verdict.Accepted},
	} {
		w.people.asked = nil
		s := w.from(stranger, evidence.DoorSMTP)
		s.Mail(path(t, tc.from), smtp.MailParams{})
		if v := s.Rcpt(addr(t, tc.to), smtp.RcptParams{}); v.Rule != tc.want {
			t.Errorf("<%s> to %s: %v: %q", tc.from, tc.to, v.Rule, v.Reply)
		}
		if name, _, _ := strings.Cut(tc.to[strings.LastIndexByte(tc.to, '=')+1:], "@"); tc.want == verdict.Accepted && strings.Join(w.people.asked, " ") != name+"@example.org" {
			t.Errorf("looked up: %v", w.people.asked)
		}
	}
	if w.near.Asked("RCPT TO:<bob@example.net>") != 2 || w.near.Asked("RCPT TO:<prvs") != 0 {
		t.Errorf("the server behind was told %v", w.near.Commands())
	}
	// Before tags are due the server whose place we took may have made them.
	w.org.TagsSince = w.now.Add(-time.Hour)
	s := w.from(stranger, evidence.DoorSMTP)
	s.Mail(mail.ReversePath{}, smtp.MailParams{})
	v := s.Rcpt(addr(t, bad), smtp.RcptParams{})
	if noted, ok := v.Watched(); v.Effect != verdict.Accept || !ok || noted != verdict.RecipientTag {
		t.Errorf("not due: %v by %v, noted %v", v.Effect, v.Rule, noted)
	}
}

// TestTurnedBack: a bounce to an address of our forwarder goes to whom it was made for, by [outbound]; nothing else does.
func TestTurnedBack(t *testing.T) {
	for _, tc := range []struct {
		name, from, sender string
		reverse            bool
		days               int
		sealed             bool   // the bounce returns what we wrote when the message was forwarded
		near, far          string // who gets it
		rule               verdict.Rule
	}{
		{"a bounce", "", "ann@far.example", true, 0, true, "", "ann@far.example", verdict.Accepted},
		{"a guess: the address alone proves nothing", "", "ann@far.example", true, 0, false, "", "", verdict.BounceNotOurs},
		{"a bounce, for a forwarder behind", "", "ann@far.example", false, 0, false, "SRS", "", verdict.Accepted},
		{"a letter: the address is no way through us", "eve@far.example", "ann@far.example", true, 0, true, "SRS", "", verdict.Accepted},
		{"made for one of us", "", "bob@example.com", true, 0, false, "SRS", "", verdict.Accepted},
		{"too old", "", "ann@far.example", true, 40, true, "", "", verdict.RecipientTag},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			w.strict()
			made, _ := w.rewrites("example.org").Forward(addr(t, tc.sender), w.now.AddDate(0, 0, -tc.days))
			w.cfg.SRSReverse = tc.reverse
			head := letterHead
			if tc.sealed {
				head = w.sealed(made.String(), w.now)
			}
			w.org.Mode = evidence.Watch // an open relay is none of its business
			if tc.rule == verdict.RecipientTag {
				w.org.Mode = evidence.Enforce
			}
			v, _ := w.arrives(letter{tc.from, []string{made.String()}, bounceOf(head)})
			if v.Rule != tc.rule {
				t.Fatalf("%v by %v: %q", v.Effect, v.Rule, v.Reply)
			}
			for _, side := range []struct {
				got  []mailtest.Message
				want string
			}{{kept(w.near), tc.near}, {kept(w.far), tc.far}} {
				want := strings.Replace(side.want, "SRS", made.String(), 1)
				if len(side.got) != min(len(want), 1) || want != "" && recipients(side.got[0]) != want {
					t.Errorf("%v, wanted %q", side.got, want)
				}
			}
		})
	}
}

// TestTaggedSender: what leaves is tagged once, where its domain wants it.
func TestTaggedSender(t *testing.T) {
	w := newWorld(t)
	w.org.Guards.Tags = evidence.TagSign
	today := w.tag("Bob@example.org", w.now)
	for from, want := range map[string]string{
		"Bob@example.org": today, today: today, "bob@example.com": "bob@example.com", "news@sub.example.org": "news@sub.example.org",
		"ann@far.example": "ann@far.example", "SRS0=abcd=ab=far.example=ann@example.org": "SRS0=abcd=ab=far.example=ann@example.org",
	} {
		if v, _ := w.leaves(letter{from, []string{"ann@far.example"}, letterHead + "\r\nHello.\r\n"}); v.Effect != verdict.Accept {
			t.Fatalf("%s: %v by %v: %q", from, v.Effect, v.Rule, v.Reply)
		}
		if m := w.one(w.far); m.From != want {
			t.Errorf("%s leaves as %s", from, m.From)
		}
	}
	if v, _ := w.arrives(letter{"Bob@example.org", []string{"ann@example.org"}, letterHead + "\r\nHello.\r\n"}); v.Effect != verdict.Accept {
		t.Fatal(v.Reply)
	}
	if m := w.one(w.near); m.From != "Bob@example.org" {
		t.Errorf("what comes in is tagged: %s", m.From)
	}
}
