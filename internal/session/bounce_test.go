package session

import (
	"strings"
	"testing"
	"time"

	"backstop/internal/evidence"
	"backstop/internal/keyring"
	"backstop/internal/record"
	"backstop/internal/seal"
	"backstop/internal/verdict"
)

// strict has example.org refuse what nothing proves.
func (w *world) strict() { w.org.Guards.Bounces = evidence.JudgeEnforce }

// TestBounceProven: each layer proves a bounce by itself, and what is altered, too old, of somebody else or
// made up proves nothing.
func TestBounceProven(t *testing.T) {
	ago := func(w *world, days int) time.Time { return w.now.AddDate(0, 0, -days) }
	for _, tc := range []struct {
		name string
		make func(w *world) (to, header string)
		want string // "": refused
	}{
		{"nothing", func(*world) (string, string) { return "bob@example.org", letterHead }, ""},
		{"nothing returned", func(*world) (string, string) { return "bob@example.org", "" }, ""},

		{"tag", func(w *world) (string, string) { return w.tag("bob@example.org", w.now), letterHead }, "tag"},
		{"tag of another alias", func(w *world) (string, string) {
			return strings.Replace(w.tag("bob@example.org", w.now), "example.org", "example.net", 1), letterHead
		}, ""},
		{"tag, expired", func(w *world) (string, string) { return w.tag("bob@example.org", ago(w, 9)), letterHead }, ""},
		{"tag, expired, and a seal", func(w *world) (string, string) {
			return w.tag("bob@example.org", ago(w, 9)), w.sealed("bob@example.org", ago(w, 9))
		}, "seal"},

		{"SRS", func(w *world) (string, string) {
			a, _ := w.rewrites().Forward(addr(w.t, "ann@far.example"), w.now)
			return a.String(), letterHead
		}, "srs"},

		{"seal", func(w *world) (string, string) { return "bob@example.org", w.sealed("bob@example.org", ago(w, 9)) }, "seal"},
		{"seal, other letters", func(w *world) (string, string) { return "Bob@Example.ORG", w.sealed("bob@example.org", w.now) }, "seal"},
		{"seal that came in before", func(w *world) (string, string) {
			return "bob@example.org", strings.Replace(w.sealed("bob@example.org", w.now), seal.SealName, foreignSeal, 1)
		}, "seal"},
		{"seal, expired", func(w *world) (string, string) { return "bob@example.org", w.sealed("bob@example.org", ago(w, 11)) }, ""},
		{"seal of another sender", func(w *world) (string, string) { return "bob@example.org", w.sealed("carol@example.org", w.now) }, ""},
		{"seal, altered", func(w *world) (string, string) {
			head := w.sealed("bob@example.org", w.now)
			i := strings.Index(head, "h=") + 2
			return "bob@example.org", head[:i] + "00000000" + head[i+8:]
		}, ""},
		{"seal of a key that is retired", func(w *world) (string, string) {
			head := w.sealed("bob@example.org", w.now)
			keys := w.cfg.Keys().Keys()
			for i := range keys {
				keys[i].Retired = w.now
			}
			ring, err := keyring.New(keys...)
			must(w.t, err)
			w.cfg.Keys = func() keyring.Ring { return ring }
			return "bob@example.org", head
		}, ""},
		{"an origin is no seal", func(w *world) (string, string) {
			return "bob@example.org", strings.Replace(w.origin("bob@example.org", seal.Proof{SPF: seal.Pass}), seal.OriginName, seal.SealName, 1)
		}, ""},

		{"dkim", func(w *world) (string, string) { return "bob@example.org", w.signed(letterHead) }, "dkim"},
		{"dkim, sent as an alias", func(w *world) (string, string) { return "bob@example.net", w.signed(letterHead) }, ""},
		{"dkim of another user's letter", func(w *world) (string, string) { return "carol@example.org", w.signed(letterHead) }, ""},
		{"dkim, with a From added", func(w *world) (string, string) {
			return "carol@example.org", "From: carol@example.org\r\n" + w.signed(letterHead)
		}, ""},
		{"dkim, altered", func(w *world) (string, string) {
			return "bob@example.org", strings.Replace(w.signed(letterHead), "A letter", "Another", 1)
		}, ""},
		{"dkim of a key that is not ours any more", func(w *world) (string, string) {
			head := w.signed(letterHead)
			w.signs()
			return "bob@example.org", head
		}, ""},
		{"dkim, where nothing is signed", func(w *world) (string, string) {
			head := w.signed(letterHead)
			w.org.Sign, w.org.PublicKey = nil, nil
			return "bob@example.org", head
		}, ""},

		{"message-id", func(w *world) (string, string) {
			w.cfg.Record.Note(record.Sent, "<1@example.org>", addr(w.t, "bob@example.org"))
			return "bob@example.org", letterHead
		}, "message-id"},
		{"message-id of what came in", func(w *world) (string, string) {
			w.cfg.Record.Note(record.Heard, "<1@example.org>", addr(w.t, "bob@example.org"))
			return "bob@example.org", letterHead
		}, ""},
		{"message-id of another user", func(w *world) (string, string) {
			w.cfg.Record.Note(record.Sent, "<1@example.org>", addr(w.t, "carol@example.org"))
			return "bob@example.org", letterHead
		}, ""},
		{"message-id, and no record", func(w *world) (string, string) {
			w.cfg.Record = nil
			return "bob@example.org", letterHead
		}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			w.strict()
			to, header := tc.make(w)
			v, s := w.arrives(letter{"", []string{to}, bounceOf(header)})
			if tc.want == "" {
				if v.Effect != verdict.Refuse || v.Rule != verdict.BounceNotOurs || len(kept(w.near)) != 0 {
					t.Fatalf("%v by %v: %+v", v.Effect, v.Rule, s.c.Bounce)
				}
				if !strings.HasPrefix(v.Reply.String(), "550 5.7.1 <"+to+">: This bounce answers mail we did not send") {
					t.Errorf("%q", v.Reply)
				}
				return
			}
			if v.Effect != verdict.Accept || s.c.Bounce.Proof.String() != tc.want {
				t.Fatalf("%v by %v: %+v", v.Effect, v.Rule, s.c.Bounce)
			}
			if m := w.one(w.near); !strings.Contains(string(m.Body), "Backstop-Bounce: proven by="+tc.want+"\r\n") {
				t.Errorf("%s", m.Body)
			}
		})
	}
}

// TestWhatMustProve: by sender, kind and what the domain wants.
func TestWhatMustProve(t *testing.T) {
	reply := "From: ann@far.example\r\nSubject: Out of office\r\nAuto-Submitted: auto-replied\r\n\r\nI am away.\r\n"
	plain := "From: ann@far.example\r\nSubject: Hello\r\n\r\nHello.\r\n"
	enforce, watch, off := evidence.JudgeEnforce, evidence.JudgeWatch, evidence.JudgeOff
	for _, tc := range []struct {
		name, from, text string
		judge            evidence.Judging
		want             verdict.Rule
		mark             string
	}{
		{"a letter", "ann@far.example", plain, enforce, verdict.Accepted, ""},
		{"a letter with the null sender", "", plain, enforce, verdict.BounceNotOurs, ""},
		{"a bounce with a sender", "mailer-daemon@far.example", bounceOf(letterHead), enforce, verdict.BounceNotOurs, ""},
		{"a bounce with a sender, watched", "mailer-daemon@far.example", bounceOf(letterHead), watch, verdict.Accepted, "unproven"},
		{"a reply with a sender", "ann@far.example", reply, enforce, verdict.Accepted, ""},
		{"a reply with the null sender", "", reply, enforce, verdict.BounceNotOurs, ""},
		{"the same, watched", "", reply, watch, verdict.Accepted, "unproven"},
		{"nobody looks", "", bounceOf(letterHead), off, verdict.Accepted, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			w.org.Guards.Bounces = tc.judge
			v, s := w.arrives(letter{tc.from, []string{"bob@example.org"}, tc.text})
			if v.Rule != tc.want {
				t.Fatalf("%v: %q, %+v", v.Rule, v.Reply, s.c.Bounce)
			}
			if tc.want != verdict.Accepted {
				return
			}
			_, mark, _ := strings.Cut(string(w.one(w.near).Body), "Backstop-Bounce: ")
			if mark, _, _ = strings.Cut(mark, "\r\n"); mark != tc.mark {
				t.Errorf("marked %q", mark)
			}
			if noted, ok := v.Watched(); ok != (tc.mark != "") || ok && noted != verdict.BounceNotOurs {
				t.Errorf("noted %v", noted)
			}
		})
	}
}

// TestReplyProven: an automatic reply names what it answers in its own header.
func TestReplyProven(t *testing.T) {
	for _, field := range []string{"In-Reply-To: <1@example.org>\r\n", "References: <0@far.example>\r\n <1@example.org>\r\n"} {
		w := newWorld(t)
		w.strict()
		w.cfg.Record.Note(record.Sent, "<1@example.org>", addr(t, "bob@example.org"))
		_, s := w.arrives(letter{"", []string{"bob@example.org"}, "From: ann@far.example\r\nAuto-Submitted: auto-replied\r\n" + field + "\r\nAway.\r\n"})
		if s.c.Bounce.Proof != evidence.ProofMessageID {
			t.Errorf("%s: %+v", field, s.c.Bounce)
		}
	}
}

// TestSeveralRecipients: a bounce is proven for all of them, or not at all. With the null sender they come only in watch mode.
func TestSeveralRecipients(t *testing.T) {
	w := newWorld(t)
	w.strict()
	text := bounceOf(w.sealed("bob@example.org", w.now))
	for _, tc := range []struct {
		from  string
		mode  evidence.Mode
		to    []string
		proof evidence.Proof
		want  verdict.Effect
	}{
		{"daemon@far.example", evidence.Enforce, []string{"bob@example.org"}, evidence.ProofSeal, verdict.Accept},
		{"daemon@far.example", evidence.Enforce, []string{"bob@example.org", "carol@example.org"}, evidence.NoProof, verdict.Refuse},
		{"daemon@far.example", evidence.Enforce, []string{"carol@example.org", "bob@example.org"}, evidence.NoProof, verdict.Refuse},
		{"daemon@far.example", evidence.Enforce, []string{w.tag("carol@example.org", w.now), "bob@example.org"}, evidence.ProofTag, verdict.Accept},
		{"", evidence.Watch, []string{"bob@example.org", "carol@example.org"}, evidence.NoProof, verdict.Accept},
		{"", evidence.Enforce, []string{"bob@example.org", "carol@example.org"}, evidence.ProofSeal, verdict.Accept}, // the second was put off
	} {
		w.org.Mode = tc.mode
		v, s := w.arrives(letter{tc.from, tc.to, text})
		if s.c.Bounce.Proof != tc.proof || v.Effect != tc.want {
			t.Errorf("<%s> to %v: %v by %v, %+v", tc.from, tc.to, v.Effect, v.Rule, s.c.Bounce)
		}
	}
}

// TestRefusedRecipientDecidesNothing: whoever was asked about last, the accepted recipients decide about the message.
func TestRefusedRecipientDecidesNothing(t *testing.T) {
	for _, last := range []string{"x@elsewhere.example", "bob@example.com", "SRS", "postmaster"} {
		w := newWorld(t)
		w.strict()
		if last == "SRS" {
			a, _ := w.rewrites().Forward(addr(t, "ann@far.example"), w.now)
			last = a.String()
		}
		v, s := w.arrives(letter{"", []string{"bob@example.org", last}, bounceOf(letterHead)})
		if v.Rule != verdict.BounceNotOurs || len(s.Recipients()) != 1 {
			t.Errorf("%s: %v by %v for %v", last, v.Effect, v.Rule, s.Recipients())
		}
		if !strings.Contains(v.Reply.String(), "<bob@example.org>") {
			t.Errorf("%s: %q", last, v.Reply)
		}
	}
}

// TestTagsWanted: with batv = "enforce" a bounce without a tag is refused once tags are due, unless there is no room for one.
func TestTagsWanted(t *testing.T) {
	long := strings.Repeat("x", 50) + "@example.org"
	for _, tc := range []struct {
		name, to, head string
		tags           evidence.Tagging
		days           int // since when
		want           verdict.Rule
	}{
		{"due", "bob@example.org", letterHead, evidence.TagEnforce, 9, verdict.BounceNotOurs},
		{"not due", "bob@example.org", letterHead, evidence.TagEnforce, 7, verdict.Accepted},
		{"watched", "bob@example.org", letterHead, evidence.TagWatch, 9, verdict.Accepted},
		{"signed only", "bob@example.org", letterHead, evidence.TagSign, 9, verdict.Accepted},
		{"no room for a tag", long, letterHead, evidence.TagEnforce, 9, verdict.Accepted},
		{"no tag, but a seal", "bob@example.org", "seal", evidence.TagEnforce, 9, verdict.Accepted},
		{"tagged", "tag", letterHead, evidence.TagEnforce, 9, verdict.Accepted},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			w.org.Guards.Tags, w.org.TagsSince = tc.tags, w.now.AddDate(0, 0, -tc.days)
			if tc.head == "seal" {
				tc.head = w.sealed("bob@example.org", w.now)
			}
			if tc.to == "tag" {
				tc.to = w.tag("bob@example.org", w.now)
			}
			v, s := w.arrives(letter{"", []string{tc.to}, bounceOf(tc.head)})
			if v.Rule != tc.want {
				t.Errorf("%v: %+v", v.Rule, s.c.Bounce)
			}
		})
	}
	w := newWorld(t) // since when is not known
	w.org.Guards.Tags = evidence.TagEnforce
	if v, _ := w.arrives(letter{"", []string{"bob@example.org"}, bounceOf(letterHead)}); v.Rule != verdict.Accepted {
		t.Errorf("since nobody knows when: %v", v.Rule)
	}
}

// TestExempt: whom the operator excuses.
func TestExempt(t *testing.T) {
	from := func(domain string) string { return strings.Replace(bounceOf(letterHead), "far.example", domain, 1) }
	for _, tc := range []struct {
		name, sender string
		to           []string
		text, by     string
	}{
		{"nobody", "", []string{"bob@example.org"}, bounceOf(letterHead), ""},
		{"its From", "", []string{"bob@example.org"}, from("tickets.example"), "From:tickets.example"},
		{"below it", "", []string{"bob@example.org"}, from("a.tickets.example"), "From:tickets.example"},
		{"only its end", "", []string{"bob@example.org"}, from("mytickets.example"), ""},
		{"its sender", "robot@tickets.example", []string{"bob@example.org"}, bounceOf(letterHead), "From:tickets.example"},
		{"its recipient", "", []string{"list@example.org"}, bounceOf(letterHead), "To:list@example.org"},
		{"its recipient, with a tag of others", "", []string{"prvs=list=0786000000@example.org"}, bounceOf(letterHead), "To:list@example.org"},
		{"under the alias", "", []string{"list@example.net"}, bounceOf(letterHead), "To:list@example.net"},
		{"its address", "", []string{"desk@example.org"}, bounceOf(letterHead), "To:desk@example.org"},
		{"one of two recipients", "robot@far.example", []string{"list@example.org", "bob@example.org"}, bounceOf(letterHead), ""},
		{"both", "robot@far.example", []string{"list@example.org", "desk@example.org"}, bounceOf(letterHead), "To:list@example.org"},
		{"where what is kept goes", "", []string{"kept@example.org"}, bounceOf(letterHead), "bounce_to"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			w.strict()
			w.org.Exempt = Exempt{From: []string{"tickets.example"}, To: []string{"list@", "desk@example.org"}}
			w.org.BounceTo = addr(t, "kept@example.org")
			v, s := w.arrives(letter{tc.sender, tc.to, tc.text})
			if s.c.Bounce.Exempt != tc.by || (v.Effect == verdict.Accept) != (tc.by != "") {
				t.Errorf("%v by %v, exempt by %q", v.Effect, v.Rule, s.c.Bounce.Exempt)
			}
		})
	}
}

// TestKeptComesIn: the mailbox of bounce_to may be in another domain than the one that keeps its mail there.
func TestKeptComesIn(t *testing.T) {
	w := newWorld(t)
	w.strict()
	w.com.BounceTo = addr(t, "postmaster@example.org")
	for to, want := range map[string]verdict.Effect{"Postmaster@example.org": verdict.Accept, "bob@example.org": verdict.Refuse} {
		if v, _ := w.arrives(letter{"", []string{to}, bounceOf("")}); v.Effect != want {
			t.Errorf("%s: %v by %v", to, v.Effect, v.Rule)
		}
	}
}

// TestRecordAway: a record that cannot be read defers what nothing else proves, in watch mode lets it in, and is not asked where a seal proves it.
func TestRecordAway(t *testing.T) {
	w := newWorld(t)
	w.strict()
	w.remembers(broken{})
	if v, _ := w.arrives(letter{"", []string{"bob@example.org"}, bounceOf(letterHead)}); v.Effect != verdict.Defer || v.Rule != verdict.BounceNotOurs {
		t.Errorf("%v by %v", v.Effect, v.Rule)
	}
	if v, s := w.arrives(letter{"", []string{"bob@example.org"}, bounceOf(w.sealed("bob@example.org", w.now))}); v.Effect != verdict.Accept || s.c.Bounce.CannotTell {
		t.Errorf("sealed: %v, %+v", v.Effect, s.c.Bounce)
	}
	// Where the bounce names no message, the record has nothing to say, and no part in it.
	if v, _ := w.arrives(letter{"", []string{"bob@example.org"}, bounceOf("")}); v.Effect != verdict.Refuse {
		t.Errorf("without a Message-ID: %v", v.Effect)
	}
	w.org.Guards.Bounces = evidence.JudgeWatch
	if v, _ := w.arrives(letter{"", []string{"bob@example.org"}, bounceOf(letterHead)}); v.Effect != verdict.Accept {
		t.Errorf("watched: %v by %v", v.Effect, v.Rule)
	}
}

// TestLongBounce: the returned header stands behind more text than is held at first.
func TestLongBounce(t *testing.T) {
	w := newWorld(t)
	w.strict()
	long := strings.Replace(bounceOf(w.sealed("bob@example.org", w.now)), "It could not be delivered.\r\n", strings.Repeat("It could not be delivered.\r\n", 8000), 1)
	if len(long) < 3*headSize {
		t.Fatal("it is not long")
	}
	v, s := w.arrives(letter{"", []string{"bob@example.org"}, long})
	if v.Effect != verdict.Accept || s.c.Bounce.Proof != evidence.ProofSeal {
		t.Fatalf("%v by %v: %+v", v.Effect, v.Rule, s.c.Bounce)
	}
	if m := w.one(w.near); !strings.HasSuffix(string(m.Body), long) {
		t.Errorf("%d octets of %d arrived", len(m.Body), len(long))
	}
	if n := held.Load(); n != 0 {
		t.Errorf("%d octets of memory are not given back", n)
	}
}
