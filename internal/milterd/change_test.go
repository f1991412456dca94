package milterd_test

import (
	"crypto"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"backstop/internal/dkim"
	"backstop/internal/evidence"
	"backstop/internal/milter"
	"backstop/internal/verdict"
)

// like compares changes with patterns, one a line.
func like(t *testing.T, a milter.Answer, patterns ...string) {
	t.Helper()
	got := changes(a)
	if a.Action != milter.Continue || len(got) != len(patterns) {
		t.Errorf("%v %q, changes:\n%s", a.Action, a.Text, strings.Join(got, "\n"))
		return
	}
	for i, p := range patterns {
		if !regexp.MustCompile(`^(?s)` + p + `$`).MatchString(got[i]) {
			t.Errorf("change %d is %q, and not like %q", i, got[i], p)
		}
	}
}

// leaving has example.org tag and sign.
func (w *world) leaving() *world {
	w.org.Guards.Tags = evidence.TagSign
	w.org.Sign = []dkim.Key{w.key}
	w.org.PublicKey = func(string) crypto.PublicKey { return w.key.Private.Public() }
	return w
}

// TestLeaves: what leaves is tagged, sealed and signed, and its recipients stay as they are. Folds are LF, as mail servers want them.
func TestLeaves(t *testing.T) {
	w := newWorld(t).leaving().open()
	m := w.from(server)
	seal, sign := `i 0 Backstop-Seal: v=1; k=1; t=\d+;\s+h=[0-9a-f]+`, `i 0 DKIM-Signature: v=1; a=ed25519-sha256; [^\r]*d=example.org;[^\r]*`
	for range 2 {
		a := m.sends("Bob@example.org", "ann@far.example", letter)
		like(t, a, `e <prvs=1\d{3}[0-9a-f]{6}=Bob@example.org>`, seal, sign)
		if !strings.Contains(changes(a)[2], "\n\t") && !strings.Contains(changes(a)[2], "\n ") {
			t.Errorf("not folded: %q", changes(a)[2])
		}
	}
	// What only we may write is taken out first, the last first; a client's copy of our seal with it.
	forged := "Backstop-Seal: v=1\r\nBackstop-Bounce: proven\r\nbackstop-bounce: exempt\r\n"
	like(t, m.sends("bob@example.org", "ann@far.example", forged+letter), `e <prvs=.*`,
		`m 2 backstop-bounce`, `m 1 Backstop-Seal`, `m 1 Backstop-Bounce`, seal, sign)
	// Of another domain nothing is vouched for.
	like(t, m.sends("ann@far.example", "joe@far.example", strings.ReplaceAll(letter, "example.org", "far.example")))
	if got := w.decided(); strings.Count(got, "accept accepted") != 8 {
		t.Errorf("log: %s", got)
	}
}

// TestLeadingBlank: where the blank behind the colon is the mail server's own matter, ours is not sent beside it.
func TestLeadingBlank(t *testing.T) {
	w := newWorld(t).leaving().open()
	for steps, blank := range map[milter.StepMask]string{0: " ", milter.HeaderLeadSpace: ""} {
		m := w.dial(milter.Offer{Steps: (milter.HeaderLeadSpace<<1 - 1) &^ steps})
		m.greets(server)
		a := m.sends("bob@example.org", "ann@far.example", letter)
		like(t, a, `e .*`, `i 0 Backstop-Seal:`+blank+`v=1; .*`, `i 0 DKIM-Signature:`+blank+`v=1; .*`)
	}
}

// TestComesIn: what was found of the sender goes on top, what others wrote of that is taken out, and who is written to
// with a tag gets the message without it. He is found by what the mail server called him.
func TestComesIn(t *testing.T) {
	w := newWorld(t).leaving()
	w.org.Guards.SPF, w.org.Guards.DMARC, w.auth.spf = evidence.CheckMark, evidence.CheckMark, evidence.Pass
	w.auth.dmarc, w.org.Guards.Bounces = evidence.DMARC{Result: evidence.None, Domain: "far.example"}, evidence.JudgeWatch
	m := w.open().from(stranger)
	origin, results := `i 0 Backstop-Origin: v=1; k=1; t=\d+;\s+spf=pass; .*`, `i 0 Authentication-Results: mx.example.org;\n spf=pass [^\r]*`
	text := "Authentication-Results: other.example; spf=pass\r\nAuthentication-Results: mx.example.org;\r\n\tspf=pass\r\nBackstop-Origin: v=1\r\n" +
		"authentication-results : MX.example.org; dmarc=pass\r\n" + letter
	like(t, m.sends("ann@far.example", "bob@example.org", text),
		`m 3 authentication-results`, `m 2 Authentication-Results`, `m 1 Backstop-Origin`, origin, results)

	to := w.tagged("bob@example.org")
	a := m.sends("", "@one.example,@two.example:"+to, bounceOf(letter))
	like(t, a, `- <@one.example,@two.example:`+regexp.QuoteMeta(to)+`>`, `\+ <bob@example.org>`, `i 0 Backstop-Bounce: proven by=tag`,
		`i 0 Authentication-Results: .*`)

	// A seal of somebody else's keeps its form under another name.
	foreign := "Backstop-Seal: v=1; k=7; t=1778068800; h=0123456789abcdef0123456789abcdef\r\n"
	like(t, m.sends("ann@far.example", "bob@example.org", foreign+letter),
		`m 1 Backstop-Seal`, `i 0 Backstop-Foreign-Seal: v=1; k=7; .*`, origin, results)
}

// TestRedirect: a bounce that must not leave goes to the mailbox for such, in place of those who are not proven to have written.
func TestRedirect(t *testing.T) {
	w := newWorld(t).open()
	w.org.BounceTo = addr(t, "kept@example.org")
	m := w.from(server)
	like(t, m.sends("", "Ann@far.example", bounceOf("From: bob@example.org\r\n")),
		`- <Ann@far.example>`, `\+ <kept@example.org>`, `i 0 Backstop-Redirected: unproven; for=ann@far.example`)
	if got := w.decided(); got != "accept accepted, redirect bounce-unproven" {
		t.Errorf("log: %s", got)
	}
	like(t, m.sends("", "ann@far.example", bounceOf(w.origin("ann@far.example")+"From: bob@example.org\r\n")))
	if got := w.decided(); got != "accept accepted, accept accepted" {
		t.Errorf("log: %s", got)
	}
}

// TestNotGranted: mail goes on without what an older mail server does not let its milters do, and the operator is told so once
// a minute; what must not go to its recipients is put off.
func TestNotGranted(t *testing.T) {
	w := newWorld(t).leaving().open()
	w.org.BounceTo = addr(t, "kept@example.org")
	all := milter.SetMacros<<1 - 1
	send := func(without milter.ActionMask) (milter.Answer, milter.Answer) {
		m := w.dial(milter.Offer{Actions: all &^ without})
		m.greets(server)
		return m.sends("bob@example.org", "ann@far.example", "Backstop-Bounce: x\r\n"+letter), m.sends("", "ann@far.example", bounceOf("From: bob@example.org\r\n"))
	}
	warned := func() string {
		var all []string
		for _, l := range w.log() {
			if l.Action != "" {
				all = append(all, l.Action)
			}
		}
		return strings.Join(all, ", ")
	}
	for _, tc := range []struct {
		without   milter.ActionMask
		kinds     string // of the changes to a letter, and to a bounce
		redirects string
		warned    string
	}{
		{0, "emi", "-+i", ""},
		{milter.ChangeFrom, "mi", "-+i", "change the sender"},
		{milter.ChangeHeader, "ei", "-+i", "change the header"},
		{milter.AddHeader, "em", "-+", "add to the header"},
		{milter.DeleteRcpt, "emi", "", "delete a recipient"},
		{milter.AddRcpt, "emi", "", "add a recipient"},
		{all &^ milter.AddHeader, "i", "", ""}, // the minute is not over
	} {
		letter, bounce := send(tc.without)
		if got := kinds(letter); letter.Action != milter.Continue || got != tc.kinds {
			t.Errorf("without %#x: %v %s", tc.without, letter.Action, got)
		}
		if got := kinds(bounce); got != tc.redirects {
			t.Errorf("without %#x: a bounce has %s", tc.without, got)
		}
		if tc.redirects == "" && (bounce.Code() != 451 || !strings.HasPrefix(bounce.Text, "451 4.3.5 The mailbox that this site keeps for such mail")) {
			t.Errorf("without %#x: a bounce gets %q", tc.without, bounce.Text)
		}
		if got := warned(); got != tc.warned {
			t.Errorf("without %#x: warned of %q", tc.without, got)
		}
	}
	w.later(time.Minute)
	send(all &^ milter.AddHeader)
	if got := warned(); got != "change the sender, change the header, delete a recipient" {
		t.Errorf("a minute later: %q", got)
	}
}

func kinds(a milter.Answer) string {
	var b []byte
	for _, c := range a.Changes {
		b = append(b, c.Kind)
	}
	return string(slices.Compact(b))
}

// TestOwnBounces: what Postfix writes itself is not refused to it, for it would try again for ever and keep the mail
// that it answers.
func TestOwnBounces(t *testing.T) {
	w := newWorld(t).open()
	pickup := milter.Client{Name: "localhost", Family: '4', Addr: loopback}
	m := w.from(pickup)
	if got := m.word(m.sends("", "ann@far.example", bounceOf("From: bob@example.org\r\n")), nil); got != "discard" {
		t.Errorf("unproven: %q", got)
	}
	if got := m.word(m.sends("", "nobody@example.org", bounceOf("From: bob@example.org\r\n")), nil); got != "discard" {
		t.Errorf("to nobody: %q", got)
	}
	bob := w.tagged("bob@example.org")
	if m.mail("") != "" || m.rcpt("nobody@example.org") != "" || m.rcpt(bob) != "" {
		t.Error("refused")
	}
	like(t, m.message(bounceOf(letter)), `- <nobody@example.org>`, `- <`+bob+`>`, `\+ <bob@example.org>`)
	if got := m.word(m.sends("", "later@example.org", bounceOf("From: bob@example.org\r\n")), nil); !strings.HasPrefix(got, "451 4.1.1") {
		t.Errorf("cannot tell: %q", got)
	}
	if got := m.word(m.sends("bob@example.org", "nobody@example.org", letter), nil); !strings.HasPrefix(got, "550 5.1.1") {
		t.Errorf("with a sender, who hears it: %q", got)
	}
	if got := w.decided(); !strings.Contains(got, verdict.BounceUnproven.String()) {
		t.Errorf("log: %s", got)
	}
	// The same over SMTP, from the same host, has somebody to hear it.
	m = w.from(milter.Client{Name: "localhost", Family: '4', Addr: loopback, Port: 4000})
	if got := m.word(m.sends("", "ann@far.example", bounceOf("From: bob@example.org\r\n")), nil); !strings.HasPrefix(got, "550 5.7.1") {
		t.Errorf("over SMTP: %q", got)
	}
}
