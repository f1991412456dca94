package session

import (
	"bytes"
	"strings"
	"testing"

	"backstop/internal/evidence"
	"backstop/internal/journal"
	"backstop/internal/mail"
	"backstop/internal/record"
	"backstop/internal/seal"
	"backstop/internal/smtp"
	"backstop/internal/verdict"
)

// TestOutAndIn: mail between two users of ours that leaves by one door and comes in by the other is in no
// loop; what comes in a second time for the same user is.
func TestOutAndIn(t *testing.T) {
	w := newWorld(t)
	l := letter{"bob@example.org", []string{"carol@example.com"}, letterHead + "\r\nHello.\r\n"}
	for _, step := range []struct {
		out  bool
		rule verdict.Rule
	}{{true, verdict.Accepted}, {false, verdict.Accepted}, {false, verdict.MessageLoop}, {true, verdict.MessageLoop}} {
		play, at := w.arrives, w.near
		if step.out {
			play, at = w.leaves, w.far
		}
		v, _ := play(l)
		if v.Rule != step.rule {
			t.Fatalf("out %v: %v by %v", step.out, v.Effect, v.Rule)
		}
		if v.Effect == verdict.Accept {
			l.text = string(w.one(at).Body)
		}
	}
}

// TestPassedOn: what came in from outside in the name of a user of ours, and is forwarded to the outside, leaves
// without a word of ours for it: no seal, no signature, no record.
func TestPassedOn(t *testing.T) {
	w := newWorld(t)
	v, _ := w.arrives(letter{"bob@example.org", []string{"carol@example.org"}, letterHead + "\r\nPay.\r\n"}) // forged
	if v.Effect != verdict.Accept {
		t.Fatal(v.Reply)
	}
	kept := string(w.one(w.near).Body)
	if !strings.Contains(kept, seal.OriginName+":") {
		t.Fatalf("it came in without an Origin:\n%s", kept)
	}
	if v, _ := w.leaves(letter{"bob@example.org", []string{"ann@far.example"}, kept}); v.Effect != verdict.Accept {
		t.Fatal(v.Reply)
	}
	left := string(w.one(w.far).Body)
	for _, word := range []string{"Backstop-Seal:", "DKIM-Signature:", "Backstop-Origin:"} {
		if strings.Contains(left, word) {
			t.Errorf("it left with %s\n%s", word, left)
		}
	}
	if ok, err := w.cfg.Record.Seen(t.Context(), record.Sent, []string{"<1@example.org>"}, addr(t, "bob@example.org")); ok || err != nil {
		t.Errorf("it is in the record of sent mail: %v %v", ok, err)
	}
	// The same under the address that a forwarder made is to be known when it bounces.
	made, _ := w.rewrites("example.org").Forward(addr(t, "ann@far.example"), w.now)
	if v, _ := w.leaves(letter{made.String(), []string{"eve@other.example"}, kept}); v.Effect != verdict.Accept {
		t.Fatal(v.Reply)
	}
	left = string(w.one(w.far).Body)
	head, _, _ := strings.Cut(left, "\r\n\r\n")
	if f := seal.VerifySeal(w.cfg.Keys(), seal.Values([]byte(head), seal.SealName), made, w.now); f.Standing != seal.Valid || strings.Contains(left, "DKIM-Signature:") {
		t.Errorf("the seal of a forwarder's address is %v:\n%s", f.Standing, left)
	}
}

// TestHeard: an answer may go to whoever was proven, by whichever address he gave.
func TestHeard(t *testing.T) {
	for name, tc := range map[string]struct {
		sender string
		spf    evidence.Result
		dmarc  evidence.DMARC
		who    string
		heard  bool
	}{
		"the sender, by SPF":             {"ann@far.example", evidence.Pass, evidence.DMARC{Result: evidence.None}, "ann@far.example", true},
		"the sender, without his tag":    {"prvs=0786aabbcc=ann@far.example", evidence.Pass, evidence.DMARC{Result: evidence.None}, "ann@far.example", true},
		"the author, by DMARC":           {"list-bounces@far.example", evidence.Fail, evidence.DMARC{Result: evidence.Pass}, "bob@example.org", true},
		"but not the sender of that":     {"victim@far.example", evidence.Fail, evidence.DMARC{Result: evidence.Pass}, "victim@far.example", false},
		"nobody":                         {"ann@far.example", evidence.Fail, evidence.DMARC{Result: evidence.Fail}, "ann@far.example", false},
		"nobody, and the author neither": {"ann@far.example", evidence.Fail, evidence.DMARC{Result: evidence.Fail}, "bob@example.org", false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.org.Guards.SPF, w.org.Guards.DMARC = evidence.CheckMark, evidence.CheckMark
			w.auth.spf, w.auth.dmarc = tc.spf, tc.dmarc
			if v, _ := w.arrives(letter{tc.sender, []string{"carol@example.org"}, letterHead + "\r\nHello.\r\n"}); v.Effect != verdict.Accept {
				t.Fatal(v.Reply)
			}
			if ok, err := w.cfg.Record.Seen(t.Context(), record.Heard, []string{"<1@example.org>"}, addr(t, tc.who)); ok != tc.heard || err != nil {
				t.Errorf("%s is heard: %v %v", tc.who, ok, err)
			}
		})
	}
}

// TestOwnServersBounce: a user of ours whose mail a listed server hands to the MX door is known to have written.
func TestOwnServersBounce(t *testing.T) {
	w := newWorld(t)
	s := w.from(server, evidence.DoorSMTP)
	if v := w.sends(s, letter{"bob@example.org", []string{"carol@example.org"}, letterHead + "\r\nHello.\r\n"}); v.Effect != verdict.Accept {
		t.Fatal(v.Reply)
	}
	head, _, _ := strings.Cut(string(w.one(w.near).Body), "\r\n\r\n")
	f, p := seal.VerifyOrigin(w.cfg.Keys(), seal.Values([]byte(head), seal.OriginName), addr(t, "bob@example.org"), w.now)
	if f.Standing != seal.Valid || !p.Proves() {
		t.Errorf("its Origin is %v, %+v", f.Standing, p)
	}
}

// TestUnknownOrigin: that the DNS was away when a message came is held against its sender for good only where
// nothing is lost by it.
func TestUnknownOrigin(t *testing.T) {
	for _, to := range []string{"", "held@example.org"} {
		w := newWorld(t)
		w.org.BounceTo = mail.Address{}
		if to != "" {
			w.org.BounceTo = addr(t, to)
		}
		v, _ := w.leaves(letter{"", []string{"ann@far.example"}, strings.ReplaceAll(bounceOf(w.origin("ann@far.example", seal.Proof{SPF: seal.TempError})), "nobody@far.example", "nobody@example.org")})
		if want := map[string]verdict.Effect{"": verdict.Defer, "held@example.org": verdict.Redirect}[to]; v.Effect != want {
			t.Errorf("bounce_to %q: %v by %v", to, v.Effect, v.Rule)
		}
	}
}

// TestChosenDomain: a stranger who gives an original recipient in another domain of ours does not choose whose rules hold.
func TestChosenDomain(t *testing.T) {
	w := newWorld(t)
	w.com.Mode = evidence.Watch
	w.org.BounceTo, w.com.BounceTo = addr(t, "held@example.org"), addr(t, "held@example.com")
	text := strings.Replace(bounceOf(letterHead), "Final-Recipient: rfc822; nobody@far.example", "Original-Recipient: rfc822; x@example.com\r\nFinal-Recipient: rfc822; nobody@example.org", 1)
	v, s := w.leaves(letter{"", []string{"victim@far.example"}, text})
	if v.Effect != verdict.Redirect || s.c.Bounce.BounceTo.String() != "held@example.org" {
		t.Errorf("%v by %v, to %v", v.Effect, v.Rule, s.c.Bounce.BounceTo)
	}
	if head, _, _ := strings.Cut(string(w.one(w.far).Body), "\r\n\r\n"); !strings.Contains(head, "Backstop-Redirected: unproven; for=victim@far.example\r\n") {
		t.Errorf("its reader is not told for whom it was:\n%s", head)
	}
}

// TestReportsOfOthers: postmaster hears what comes with the null sender, unless it is a bounce that answers nothing of ours.
func TestReportsOfOthers(t *testing.T) {
	for _, tc := range []struct {
		to, text string
		rule     verdict.Rule
	}{
		{"postmaster@example.org", letterHead + "\r\nYour server sends spam.\r\n", verdict.Accepted},
		{"abuse@example.org", letterHead + "\r\nYour server sends spam.\r\n", verdict.Accepted},
		{"carol@example.org", letterHead + "\r\nBuy.\r\n", verdict.BounceNotOurs},
		{"postmaster@example.org", bounceOf(letterHead), verdict.BounceNotOurs},
	} {
		w := newWorld(t)
		w.strict()
		if v, _ := w.arrives(letter{"", []string{tc.to}, tc.text}); v.Rule != tc.rule {
			t.Errorf("%s: %v by %v", tc.to, v.Effect, v.Rule)
		}
	}
}

// TestNotedWhy: what is only noted says why in the log, as what is refused does.
func TestNotedWhy(t *testing.T) {
	w := newWorld(t)
	var log bytes.Buffer
	w.cfg.Journal = journal.New(&log, journal.JSON)
	w.org.Mode, w.org.Forged, w.auth.spf = evidence.Watch, true, evidence.Fail
	s := w.from(stranger, evidence.DoorSMTP)
	s.Mail(mail.ReversePath{Address: addr(t, "bob@example.org")}, smtp.MailParams{})
	w.cfg.Journal.Close()
	if !strings.Contains(log.String(), `"finding":"sender in example.org from outside; SPF fail`) {
		t.Errorf("logged %s", log.String())
	}
}

// TestNoRoomToJudge: a bounce whose proof lies behind what there is memory for waits, and is not refused.
func TestNoRoomToJudge(t *testing.T) {
	for _, full := range []bool{false, true} {
		w := newWorld(t)
		w.strict()
		text := strings.Replace(bounceOf(w.sealed("bob@example.org", w.now)), "It could not be delivered.\r\n", strings.Repeat("It could not be delivered.\r\n", 4000), 1)
		want := verdict.Accept
		if full {
			held.Add(memBudget)
			want = verdict.Defer
		}
		v, _ := w.arrives(letter{"", []string{"bob@example.org"}, text})
		if full {
			held.Add(-memBudget)
		}
		if v.Effect != want {
			t.Errorf("full %v: %v by %v", full, v.Effect, v.Rule)
		}
	}
}
