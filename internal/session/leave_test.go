package session

import (
	"regexp"
	"strings"
	"testing"

	"backstop/internal/evidence"
	"backstop/internal/mailtest"
	"backstop/internal/record"
	"backstop/internal/seal"
	"backstop/internal/smtp"
	"backstop/internal/tally"
	"backstop/internal/verdict"
)

const away = "From: bob@example.org\r\nTo: ann@far.example\r\nSubject: Out of office\r\nAuto-Submitted: auto-replied\r\nIn-Reply-To: <2@far.example>\r\n\r\nI am away.\r\n"

// TestNotListed: who is not among the clients gets no further than the banner, whatever the mode.
func TestNotListed(t *testing.T) {
	for _, mode := range []evidence.Mode{evidence.Enforce, evidence.Watch} {
		w := newWorld(t)
		w.cfg.Mode = mode
		s := New(w.cfg).Begin(t.Context(), evidence.DoorOutbound, evidence.Client{Addr: stranger})
		if v := s.Connect(false, false); v.Effect != verdict.Refuse || v.Rule != verdict.ClientBlocked {
			t.Errorf("%v: %v by %v", mode, v.Effect, v.Rule)
		}
		s.Close()
		w.cfg.Outbound = nil
		s = New(w.cfg).Begin(t.Context(), evidence.DoorOutbound, evidence.Client{Addr: server})
		if v := s.Connect(false, false); v.Effect != verdict.Refuse {
			t.Errorf("%v, without [outbound]: %v by %v", mode, v.Effect, v.Rule)
		}
		s.Close()
	}
}

// TestLeaving: by what it is proven that the addressee of automatic mail wrote.
func TestLeaving(t *testing.T) {
	pass := seal.Proof{SPF: seal.Pass}
	for _, tc := range []struct {
		name string
		make func(w *world) letter
		want string // the proof; "": none
	}{
		{"nothing", func(*world) letter { return letter{"", []string{"ann@far.example"}, bounceOf("")} }, ""},
		{"origin", func(w *world) letter {
			return letter{"", []string{"ann@far.example"}, bounceOf(w.origin("ann@far.example", pass))}
		}, "origin"},
		{"origin by DMARC", func(w *world) letter {
			return letter{"", []string{"ann@far.example"}, bounceOf(w.origin("ann@far.example", seal.Proof{SPF: seal.Fail, DMARC: seal.Pass, Aligned: true}))}
		}, "origin"},
		{"origin, where nothing passed", func(w *world) letter {
			return letter{"", []string{"ann@far.example"}, bounceOf(w.origin("ann@far.example", seal.Proof{SPF: seal.SoftFail, DMARC: seal.None}))}
		}, ""},
		{"origin by DMARC of another domain", func(w *world) letter {
			return letter{"", []string{"ann@far.example"}, bounceOf(w.origin("ann@far.example", seal.Proof{SPF: seal.Fail, DMARC: seal.Pass}))}
		}, ""},
		{"origin of somebody else", func(w *world) letter {
			return letter{"", []string{"victim@far.example"}, bounceOf(w.origin("ann@far.example", pass))}
		}, ""},
		{"origin, but made for ten days ago", func(w *world) letter {
			text := bounceOf(w.origin("ann@far.example", pass))
			w.now = w.now.AddDate(0, 0, 11)
			return letter{"", []string{"ann@far.example"}, text}
		}, ""},
		{"heard", func(w *world) letter {
			w.cfg.Record.Note(record.Heard, "<2@far.example>", addr(w.t, "ann@far.example"))
			return letter{"bob@example.org", []string{"ann@far.example"}, away}
		}, "heard"},
		{"heard of somebody else", func(w *world) letter {
			w.cfg.Record.Note(record.Heard, "<2@far.example>", addr(w.t, "ann@far.example"))
			return letter{"bob@example.org", []string{"victim@far.example"}, away}
		}, ""},
		{"our own user's letter, sealed", func(w *world) letter {
			return letter{"", []string{"bob@example.org"}, bounceOf(w.sealed("bob@example.org", w.now))}
		}, "seal"},
		{"our own user's letter, tagged", func(w *world) letter {
			return letter{"", []string{w.tag("bob@example.org", w.now)}, bounceOf(letterHead)}
		}, "tag"},
		{"our own user, who wrote nothing", func(*world) letter { return letter{"", []string{"bob@example.org"}, bounceOf(letterHead)} }, ""},
		{"a seal proves nothing for strangers", func(w *world) letter {
			return letter{"", []string{"ann@far.example"}, bounceOf(w.sealed("ann@far.example", w.now))}
		}, ""},
		{"a tag on a stranger's address", func(w *world) letter {
			return letter{"", []string{w.tag("ann@far.example", w.now)}, bounceOf(letterHead)}
		}, ""},
		{"several, all of whom wrote", func(w *world) letter {
			w.cfg.Record.Note(record.Heard, "<2@far.example>", addr(w.t, "ann@far.example"))
			w.cfg.Record.Note(record.Heard, "<2@far.example>", addr(w.t, "eve@far.example"))
			return letter{"bob@example.org", []string{"ann@far.example", "eve@far.example"}, away}
		}, "heard"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			l := tc.make(w)
			v, s := w.leaves(l)
			b := s.c.Bounce
			if !b.Automatic || b.Proof.String() != tc.want || (v.Effect == verdict.Accept) != (tc.want != "") {
				t.Fatalf("%v by %v: %+v", v.Effect, v.Rule, b)
			}
			if tc.want == "" {
				if v.Rule != verdict.BounceUnproven || len(kept(w.far))+len(kept(w.near)) != 0 {
					t.Errorf("%v", v.Rule)
				}
				return
			}
			if m := w.one(w.far); recipients(m) != strings.Join(l.to, " ") {
				t.Errorf("it went to %s", recipients(m))
			}
		})
	}
}

// TestRedirected: what must not leave goes to the mailbox of the domain whose server wrote it, as it is;
// those who wrote get theirs.
func TestRedirected(t *testing.T) {
	for _, tc := range []struct {
		name string
		l    func(w *world) letter
		want string
	}{
		{"one", func(*world) letter { return letter{"", []string{"victim@far.example"}, bounceOf("")} }, "kept@example.org"},
		{"by its From", func(*world) letter {
			return letter{"", []string{"victim@far.example"}, strings.Replace(bounceOf(""), "MAILER-DAEMON@far.example", "daemon@mail.example.com", 1)}
		}, "kept@example.com"},
		{"by whom it could not be delivered to", func(*world) letter {
			return letter{"", []string{"victim@far.example"}, strings.Replace(bounceOf(""), "nobody@far.example", "nobody@example.com", 1)}
		}, "kept@example.com"},
		{"by its sender", func(*world) letter {
			return letter{"bob@example.com", []string{"victim@far.example"}, strings.Replace(away, "bob@example.org", "bob", 1)}
		}, "kept@example.com"},
		{"one of two", func(w *world) letter {
			w.cfg.Record.Note(record.Heard, "<2@far.example>", addr(w.t, "ann@far.example"))
			return letter{"bob@example.org", []string{"victim@far.example", "ann@far.example"}, away}
		}, "ann@far.example kept@example.org"},
		{"both", func(*world) letter {
			return letter{"bob@example.org", []string{"victim@far.example", "ann@far.example"}, away}
		}, "kept@example.org"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			w.org.BounceTo, w.com.BounceTo = addr(t, "kept@example.org"), addr(t, "kept@example.com")
			w.com.Sign, w.org.Sign = nil, nil
			l := tc.l(w)
			v, _ := w.leaves(l)
			if v.Effect != verdict.Redirect || v.Rule != verdict.BounceUnproven || v.Reply.Code() != 250 {
				t.Fatalf("%v by %v: %q", v.Effect, v.Rule, v.Reply)
			}
			m := w.one(w.far)
			if recipients(m) != tc.want || m.From != l.from || !strings.HasSuffix(string(m.Body), l.text) {
				t.Errorf("from <%s> to %s:\n%s", m.From, recipients(m), m.Body)
			}
		})
	}
}

// TestMailboxRefused: whatever is wrong with the mailbox, the server that wrote keeps its mail; nobody gets it, and
// it is not counted as handed over.
func TestMailboxRefused(t *testing.T) {
	mailbox := regexp.MustCompile("kept@")
	for _, rule := range []mailtest.Rule{{Reply: "550 5.1.1 nobody here"}, {Reply: "452 4.2.2 full"}, {Hangup: true}} {
		w := newWorld(t)
		w.org.BounceTo = addr(t, "kept@example.org")
		w.cfg.Tally = tally.New(tally.Config{Now: w.clock})
		rule.On, rule.Match = "RCPT", mailbox
		w.far.On(rule)
		v, _ := w.leaves(letter{"", []string{"victim@far.example"}, bounceOf("")})
		if v.Effect != verdict.Defer || v.Rule != verdict.BounceUnproven || len(kept(w.far)) != 0 {
			t.Errorf("%q: %v by %v: %q", rule.Reply, v.Effect, v.Rule, v.Reply)
		}
		lines, err := w.cfg.Tally.Report(t.Context(), w.now)
		if err != nil || len(lines) != 0 {
			t.Errorf("counted: %+v %v", lines, err)
		}
		must(t, w.cfg.Tally.Close())
	}
}

// TestLeavesWatched: in watch mode automatic mail leaves as it is, and what would have become of it is noted.
func TestLeavesWatched(t *testing.T) {
	for _, mailbox := range []string{"", "kept@example.org"} {
		w := newWorld(t)
		w.org.Mode = evidence.Watch
		w.org.BounceTo = path(t, mailbox).Address
		v, _ := w.leaves(letter{"", []string{"victim@far.example"}, bounceOf("")})
		if noted, ok := v.Watched(); v.Effect != verdict.Accept || !ok || noted != verdict.BounceUnproven {
			t.Errorf("%q: %v by %v, noted %v", mailbox, v.Effect, v.Rule, noted)
		}
		if m := w.one(w.far); recipients(m) != "victim@far.example" {
			t.Errorf("it went to %s", recipients(m))
		}
	}
}

// TestLeavesRecordAway: with a record that cannot be read, automatic mail waits where it is.
func TestLeavesRecordAway(t *testing.T) {
	w := newWorld(t)
	w.org.BounceTo = addr(t, "kept@example.org")
	w.remembers(broken{})
	if v, _ := w.leaves(letter{"bob@example.org", []string{"ann@far.example"}, away}); v.Effect != verdict.Defer || v.Rule != verdict.BounceUnproven {
		t.Errorf("%v by %v", v.Effect, v.Rule)
	}
	if v, _ := w.leaves(letter{"", []string{"ann@far.example"}, bounceOf(w.origin("ann@far.example", seal.Proof{SPF: seal.Pass}))}); v.Effect != verdict.Accept {
		t.Errorf("with an origin: %v by %v", v.Effect, v.Rule)
	}
}

// TestLettersLeave: what a person wrote goes anywhere, and nobody asks who our own servers are.
func TestLettersLeave(t *testing.T) {
	w := newWorld(t)
	w.org.Forged, w.org.Guards = true, evidence.Guards{SPF: evidence.CheckRefuse, DMARC: evidence.CheckRefuse, Bounces: evidence.JudgeEnforce}
	w.auth.spf = evidence.Fail
	s := w.from(server, evidence.DoorOutbound)
	v := w.sends(s, letter{"bob@example.org", []string{"ann@far.example", "x@elsewhere.example", "carol@example.com"}, letterHead + "\r\nHello.\r\n"})
	if v.Effect != verdict.Accept || len(w.auth.asked) != 0 {
		t.Fatalf("%v by %v: asked %v", v.Effect, v.Rule, w.auth.asked)
	}
	if m := w.one(w.far); recipients(m) != "ann@far.example x@elsewhere.example carol@example.com" {
		t.Errorf("it went to %s", recipients(m))
	}
	if v := s.Mail(path(t, "ann@far.example"), smtp.MailParams{}); v.Effect != verdict.Accept {
		t.Errorf("somebody else's sender: %v by %v", v.Effect, v.Rule)
	}
}

// TestThereAndBack: what one session wrote into the header, another takes for proof: the letter that leaves
// and its bounce, the letter that comes in and its answer.
func TestThereAndBack(t *testing.T) {
	w := newWorld(t)
	w.strict()
	w.org.Guards.SPF, w.auth.spf = evidence.CheckMark, evidence.Pass
	for _, layer := range []evidence.Proof{evidence.ProofSeal, evidence.ProofDKIM, evidence.ProofMessageID} {
		if v, _ := w.leaves(letter{"bob@example.org", []string{"ann@far.example"}, letterHead + "\r\nHello.\r\n"}); v.Effect != verdict.Accept {
			t.Fatal(v.Reply)
		}
		head, _, _ := strings.Cut(string(w.one(w.far).Body), "\r\n\r\n")
		if layer != evidence.ProofSeal {
			head = strings.Replace(head, seal.SealName, "X-Gone", 1)
		}
		if layer == evidence.ProofMessageID {
			head = strings.Replace(head, "DKIM-Signature", "X-Gone", 1)
		}
		if _, s := w.arrives(letter{"", []string{"bob@example.org"}, bounceOf(head + "\r\n")}); s.c.Bounce.Proof != layer {
			t.Errorf("%v: %+v in\n%s", layer, s.c.Bounce, head)
		}
	}
	w.near.Forget()
	if v, _ := w.arrives(letter{"ann@far.example", []string{"bob@example.org"}, "From: ann@far.example\r\nMessage-ID: <7@far.example>\r\n\r\nHello.\r\n"}); v.Effect != verdict.Accept {
		t.Fatal(v.Reply)
	}
	head, _, _ := strings.Cut(string(w.one(w.near).Body), "\r\n\r\n")
	if _, s := w.leaves(letter{"", []string{"ann@far.example"}, bounceOf(head + "\r\n")}); s.c.Bounce.Proof != evidence.ProofOrigin {
		t.Errorf("%+v in\n%s", s.c.Bounce, head)
	}
	if _, s := w.leaves(letter{"bob@example.org", []string{"ann@far.example"}, strings.Replace(away, "<2@", "<7@", 1)}); s.c.Bounce.Proof != evidence.ProofHeard {
		t.Errorf("%+v", s.c.Bounce)
	}
	// Of who was not proven to have written neither is believed.
	w.auth.spf = evidence.SoftFail
	if v, _ := w.arrives(letter{"victim@far.example", []string{"bob@example.org"}, "From: ann@far.example\r\nMessage-ID: <8@far.example>\r\n\r\nHello.\r\n"}); v.Effect != verdict.Accept {
		t.Fatal(v.Reply)
	}
	head, _, _ = strings.Cut(string(w.one(w.near).Body), "\r\n\r\n")
	if v, s := w.leaves(letter{"", []string{"victim@far.example"}, bounceOf(head + "\r\n")}); v.Effect != verdict.Refuse {
		t.Errorf("%v: %+v in\n%s", v.Effect, s.c.Bounce, head)
	}
}

// TestCounted: what became of automatic mail, by direction, domain and proof.
func TestCounted(t *testing.T) {
	w := newWorld(t)
	w.strict()
	w.cfg.Tally = tally.New(tally.Config{Now: w.clock})
	t.Cleanup(func() { w.cfg.Tally.Close() })
	w.arrives(letter{"", []string{"bob@example.org"}, bounceOf(letterHead)})
	w.arrives(letter{"", []string{"bob@example.org"}, bounceOf(w.sealed("bob@example.org", w.now))})
	w.arrives(letter{"ann@far.example", []string{"bob@example.org"}, letterHead + "\r\nHello.\r\n"})
	w.leaves(letter{"", []string{"victim@far.example"}, bounceOf("")})
	w.org.BounceTo = addr(t, "kept@example.org")
	w.leaves(letter{"", []string{"victim@far.example"}, bounceOf("")})
	lines, err := w.cfg.Tally.Report(t.Context(), w.now)
	must(t, err)
	var got []string
	for _, l := range lines {
		got = append(got, strings.Join([]string{l.Direction, l.Domain, l.Verdict, l.Kind, l.By, l.Sender}, " "))
	}
	want := "in example.org proven bounce seal , in example.org refused bounce  far.example, out example.org redirected bounce  , out example.org refused bounce  "
	if strings.Join(got, ", ") != want {
		t.Errorf("counted:\n%q\nwanted:\n%q", strings.Join(got, ", "), want)
	}
}
