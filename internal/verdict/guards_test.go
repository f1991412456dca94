package verdict_test

import (
	"testing"

	"pgregory.net/rapid"

	"backstop/internal/evidence"
	"backstop/internal/mail"
	"backstop/internal/verdict"
)

// anyGuards draws who may have sent a message, what it proves, and what its domain wants.
func anyGuards(t *rapid.T, c *evidence.Case) {
	c.Leaves = rapid.IntRange(0, 4).Draw(t, "leaves") == 4
	c.NotListed = c.Leaves && rapid.IntRange(0, 9).Draw(t, "not listed") == 9
	if rapid.IntRange(0, 2).Draw(t, "claims") == 2 {
		c.Claim = evidence.Claim{
			Domain: "example.org", Refuse: rapid.Bool().Draw(t, "claims are refused"),
			Exempt: rapid.SampledFrom([]string{"", "", "login", "From:news.example.org"}).Draw(t, "claim exempt"),
		}
		c.Claim.Vouched = c.Claim.Exempt == "login"
	}
	c.Guards = evidence.Guards{
		SPF:     anyOf(t, "wants spf", evidence.CheckRefuse),
		DMARC:   anyOf(t, "wants dmarc", evidence.CheckRefuse),
		Bounces: anyOf(t, "wants bounces", evidence.JudgeEnforce),
		Tags:    anyOf(t, "wants tags", evidence.TagEnforce),
		TagsDue: rapid.Bool().Draw(t, "tags due"),
	}
	c.SPF = evidence.SPF{Result: anyResult(t, "spf"), Helo: rapid.Bool().Draw(t, "of helo"), Domain: rapid.SampledFrom([]string{"", "sender.example"}).Draw(t, "spf domain")}
	if rapid.IntRange(0, 2).Draw(t, "rejected by its domain") == 0 { // the one case in many that dmarc objects to
		c.Guards.DMARC, c.Message = evidence.CheckRefuse, evidence.Message{Read: true}
		c.DMARC = evidence.DMARC{Result: evidence.Fail, Policy: evidence.PolicyReject, Domain: "sender.example"}
	} else {
		c.DMARC = evidence.DMARC{Result: anyResult(t, "dmarc"), Policy: anyOf(t, "published", evidence.PolicyReject), Domain: "sender.example"}
	}
	c.Tag = evidence.Tag{Standing: anyOf(t, "tag", evidence.TagForeign), SRS: rapid.Bool().Draw(t, "srs"), Address: c.To}
	c.Bounce = anyBounce(t, c)
}

func anyOf[T ~uint8](t *rapid.T, label string, last T) T {
	return T(rapid.IntRange(0, int(last)).Draw(t, label))
}

func anyResult(t *rapid.T, label string) evidence.Result {
	return evidence.Result(rapid.IntRange(0, evidence.NumResults-1).Draw(t, label))
}

// anyBounce is handed over only as a session would do it: everything else about it is free.
func anyBounce(t *rapid.T, c *evidence.Case) evidence.Bounce {
	b := evidence.Bounce{
		Asked:      rapid.IntRange(0, 5).Draw(t, "bounce looked at") > 0,
		Automatic:  rapid.IntRange(0, 3).Draw(t, "automatic") > 0,
		Kind:       rapid.SampledFrom([]string{"bounce", "receipt", "ordinary"}).Draw(t, "kind"),
		Clue:       rapid.SampledFrom([]string{"", "report"}).Draw(t, "clue"),
		Exempt:     rapid.SampledFrom([]string{"", "", "", "To:list@"}).Draw(t, "exempt"),
		Untagged:   rapid.Bool().Draw(t, "untagged"),
		CannotTell: rapid.IntRange(0, 4).Draw(t, "cannot tell") == 4,
		Detail:     rapid.SampledFrom([]string{"", "seal: absent"}).Draw(t, "bounce detail"),
	}
	if rapid.IntRange(0, 3).Draw(t, "proven") == 3 {
		b.Proof = anyOf(t, "proof", evidence.ProofHeard)
	}
	if rapid.Bool().Draw(t, "bounce to") {
		b.BounceTo = someone("postmaster@example.org")
	}
	b.Redirected = b.Asked && b.Automatic && b.Proof == evidence.NoProof && !b.CannotTell && !b.BounceTo.IsZero() &&
		c.Leaves && c.Mode == evidence.Enforce && rapid.Bool().Draw(t, "handed over")
	return b
}

// outsider claims a domain of ours, and its SPF record was had and does not know him.
func outsider(c *evidence.Case) bool {
	known := c.SPF.Result != evidence.NotChecked && c.SPF.Result != evidence.TempError && c.SPF.Result != evidence.Pass
	return !c.Leaves && c.Claim.Domain != "" && c.Claim.Refuse && c.Claim.Exempt == "" && known && c.SenderPolicy.Word != evidence.Allowed
}

// madeUp is a tag that nobody can have been given.
func madeUp(c *evidence.Case) bool {
	if c.Leaves {
		return false
	}
	if c.Tag.SRS {
		return c.Tag.Standing == evidence.TagForged || c.Tag.Standing == evidence.TagExpired
	}
	return c.Tag.Standing == evidence.TagForged && c.From.IsNull() && c.FromGiven && c.Guards.Tags == evidence.TagEnforce && c.Guards.TagsDue
}

// unproven is automatic mail that was looked at, and of which it is known that nothing proves it.
func unproven(c *evidence.Case) bool {
	b := &c.Bounce
	return b.Asked && b.Automatic && b.Proof == evidence.NoProof && !b.CannotTell
}

func notOurs(c *evidence.Case) bool {
	enforced := c.Guards.Bounces == evidence.JudgeEnforce || c.Guards.Tags == evidence.TagEnforce && c.Guards.TagsDue && c.Bounce.Untagged
	return !c.Leaves && unproven(c) && c.Bounce.Exempt == "" && enforced
}

func wantsRejection(c *evidence.Case) bool {
	return !c.Leaves && c.DMARC.Result == evidence.Fail && c.DMARC.Policy == evidence.PolicyReject && c.Guards.DMARC == evidence.CheckRefuse
}

// decided draws a case and says what becomes of it, in either mode; nothing but what change says is held.
func decided(t *rapid.T, change func(*evidence.Case)) (evidence.Case, verdict.Verdict) {
	c := anyCase(t)
	change(&c)
	return c, verdict.Rules{MaxReceived: 50}.Decide(c)
}

// guarding are the rules that ask who sent a message and what it answers.
var guarding = map[verdict.Rule]bool{
	verdict.SenderSPF: true, verdict.RecipientTag: true, verdict.BounceNotOurs: true, verdict.BounceUnproven: true, verdict.DMARC: true,
}

func eachMany(t *testing.T, f func(*rapid.T)) {
	t.Helper()
	rapid.Check(t, func(t *rapid.T) {
		for range 10 {
			f(t)
		}
	})
}

// TestUnknownIsNeverPermanent: where nobody could find out, none of these rules says no for good.
func TestUnknownIsNeverPermanent(t *testing.T) {
	eachMany(t, func(t *rapid.T) {
		c, v := decided(t, func(c *evidence.Case) {
			c.SPF.Result, c.DMARC.Result, c.Bounce.CannotTell, c.Bounce.Redirected = evidence.TempError, evidence.TempError, true, false
			c.Tag.Standing, c.SenderPolicy = evidence.TagUnknownKey, evidence.Policy{}
		})
		if v.Reply.Permanent() && (guarding[v.Rule] || v.Rule == verdict.SenderForged) {
			t.Fatalf("%v says %q of %+v", v.Rule, v.Reply, c)
		}
	})
}

// TestWhatLeavesIsOurs: nobody doubts our own servers by SPF, DMARC, tags or claims, nor asks.
func TestWhatLeavesIsOurs(t *testing.T) {
	eachMany(t, func(t *rapid.T) {
		c, v := decided(t, func(c *evidence.Case) { c.Leaves, c.NotListed, c.SenderPolicy = true, false, evidence.Policy{} })
		watched, _ := v.Watched()
		for _, r := range []verdict.Rule{verdict.SenderForged, verdict.SenderSPF, verdict.RecipientTag, verdict.BounceNotOurs, verdict.DMARC, verdict.RelayDenied} {
			if r == v.Rule || r == watched && watched != 0 {
				t.Fatalf("%v objects to %+v", r, c)
			}
		}
		if v.Ask == evidence.AskSPF || v.Ask == evidence.AskDMARC {
			t.Fatalf("%v is asked", v.Ask)
		}
	})
}

// TestNotListed: who may not use the outbound door is refused as he comes, in watch mode too.
func TestNotListed(t *testing.T) {
	eachMany(t, func(t *rapid.T) {
		_, v := decided(t, func(c *evidence.Case) {
			c.Stage, c.NotListed = evidence.StageConnect, true
		})
		if v.Effect != verdict.Refuse || v.Rule != verdict.ClientBlocked {
			t.Fatalf("%v by %v: %q", v.Effect, v.Rule, v.Reply)
		}
	})
}

// TestTagsNotDue: as long as tags are not due, nothing is refused for its tag or for want of one.
func TestTagsNotDue(t *testing.T) {
	eachMany(t, func(t *rapid.T) {
		c, v := decided(t, func(c *evidence.Case) {
			c.Guards.TagsDue, c.Tag.SRS = false, false
			if c.Guards.Bounces == evidence.JudgeEnforce {
				c.Guards.Bounces = evidence.JudgeWatch
			}
		})
		if v.Rule == verdict.RecipientTag || v.Rule == verdict.BounceNotOurs {
			t.Fatalf("%v: %q of %+v", v.Rule, v.Reply, c)
		}
	})
}

// TestGuardsOff: a domain that wants nothing of all this pays for nothing, and is told nothing.
func TestGuardsOff(t *testing.T) {
	eachMany(t, func(t *rapid.T) {
		c, v := decided(t, func(c *evidence.Case) {
			c.Guards, c.Leaves, c.NotListed, c.Bounce.Redirected, c.Tag.SRS = evidence.Guards{}, false, false, false, false
			c.Claim.Refuse = false
		})
		switch v.Ask {
		case evidence.AskSPF, evidence.AskBounce, evidence.AskDMARC, evidence.AskRedirect:
			t.Fatalf("%v is asked of %+v", v.Ask, c)
		}
		if watched, ok := v.Watched(); guarding[v.Rule] || ok && guarding[watched] {
			t.Fatalf("%v, noted %v: %+v", v.Rule, watched, c)
		}
	})
}

// TestMarkNeverRefuses: what is to be written into the header refuses nothing, and the rules do not wait for it.
func TestMarkNeverRefuses(t *testing.T) {
	eachMany(t, func(t *rapid.T) {
		_, v := decided(t, func(c *evidence.Case) {
			c.Guards.SPF, c.Guards.DMARC, c.Claim = evidence.CheckMark, evidence.CheckMark, evidence.Claim{}
		})
		if v.Rule == verdict.SenderSPF || v.Rule == verdict.DMARC || v.Ask == evidence.AskSPF || v.Ask == evidence.AskDMARC {
			t.Fatalf("%+v", v)
		}
	})
}

// TestWatchNeverRedirects: in watch mode automatic mail goes where it was sent to.
func TestWatchNeverRedirects(t *testing.T) {
	eachMany(t, func(t *rapid.T) {
		_, v := decided(t, func(c *evidence.Case) { c.Mode, c.Bounce.Redirected = evidence.Watch, false })
		if v.Effect == verdict.Redirect || v.Ask == evidence.AskRedirect || v.Rule == verdict.BounceUnproven {
			t.Fatalf("%+v", v)
		}
	})
}

// TestUnwantedMailboxDefers: whatever the mailbox of bounce_to was answered, but for a yes, the sender keeps the message.
func TestUnwantedMailboxDefers(t *testing.T) {
	eachMany(t, func(t *rapid.T) {
		c, v := decided(t, func(c *evidence.Case) {
			c.Stage, c.Mode, c.Leaves, c.Message = evidence.StageData, evidence.Enforce, true, evidence.Message{}
			c.Abuse = false
			c.Bounce = evidence.Bounce{Asked: true, Automatic: true, BounceTo: someone("postmaster@example.org"), Redirected: true}
			c.Downstream.Outcome = rapid.SampledFrom(allOutcomes[2:]).Draw(t, "mailbox")
		})
		if v.Effect != verdict.Defer || v.Rule != verdict.BounceUnproven || !v.Reply.Temporary() {
			t.Fatalf("%v by %v: %q after %+v", v.Effect, v.Rule, v.Reply, c.Downstream)
		}
	})
}

// TestProofPasses: what proves itself passes these rules, however strict the domain is.
func TestProofPasses(t *testing.T) {
	eachMany(t, func(t *rapid.T) {
		_, v := decided(t, func(c *evidence.Case) {
			c.Stage, c.Bounce.Redirected = evidence.StageData, false
			c.Bounce.Proof = evidence.Proof(rapid.IntRange(1, int(evidence.ProofHeard)).Draw(t, "which proof"))
		})
		watched, ok := v.Watched()
		for _, r := range []verdict.Rule{verdict.BounceNotOurs, verdict.BounceUnproven} {
			if v.Rule == r || ok && watched == r {
				t.Fatalf("%+v", v)
			}
		}
	})
}

// TestQuestionsEnd: whoever answers each question about a sender or a message hears none twice.
func TestQuestionsEnd(t *testing.T) {
	eachMany(t, func(t *rapid.T) {
		c := anyCase(t)
		c.SPF, c.DMARC, c.Bounce = evidence.SPF{}, evidence.DMARC{}, evidence.Bounce{}
		asked := map[evidence.Question]bool{}
		for {
			v := verdict.Rules{}.Decide(c)
			if v.Ask == evidence.AskNothing {
				return
			}
			if asked[v.Ask] {
				t.Fatalf("%v is asked again", v.Ask)
			}
			asked[v.Ask] = true
			answer(t, &c, v.Ask)
		}
	})
}

// answer answers a question as a session does: with anything, but with something.
func answer(t *rapid.T, c *evidence.Case, q evidence.Question) {
	switch q {
	case evidence.AskDirectory:
		c.Directory.Standing = evidence.Standing(rapid.IntRange(1, evidence.NumStandings-1).Draw(t, "standing"))
	case evidence.AskDownstreamRecipient:
		c.Downstream = anyAnswer(t, "downstream")
		c.Downstream.Outcome = rapid.SampledFrom(allOutcomes[1:]).Draw(t, "downstream outcome")
	case evidence.AskDownstreamMessage:
		c.Final = anyAnswer(t, "final")
		c.Final.Outcome = rapid.SampledFrom(allOutcomes[1:]).Draw(t, "final outcome")
	case evidence.AskSPF:
		c.SPF.Result = evidence.Result(rapid.IntRange(1, evidence.NumResults-1).Draw(t, "spf answer"))
	case evidence.AskDMARC:
		c.DMARC.Result = evidence.Result(rapid.IntRange(1, evidence.NumResults-1).Draw(t, "dmarc answer"))
	case evidence.AskBounce:
		c.Bounce = anyBounce(t, c)
		c.Bounce.Asked, c.Bounce.Redirected = true, false
	case evidence.AskRedirect:
		c.Bounce.Redirected = true
		c.Downstream = anyAnswer(t, "mailbox")
	default:
		t.Fatalf("a question that nobody knows: %v", q)
	}
}

// TestWishesAllocateNothing: refusing by these rules costs no memory either.
func TestWishesAllocateNothing(t *testing.T) {
	from := mail.ReversePath{Address: someone("ann@example.org")}
	for name, c := range map[string]evidence.Case{
		"claim": {Stage: evidence.StageMail, From: from, Claim: evidence.Claim{Domain: "example.org", Refuse: true}, SPF: evidence.SPF{Result: evidence.None}},
		"spf":   {Stage: evidence.StageRcpt, From: from, FromGiven: true, OurDomain: evidence.Yes, Guards: evidence.Guards{SPF: evidence.CheckRefuse}, SPF: evidence.SPF{Result: evidence.Fail}},
		"tag": {Stage: evidence.StageRcpt, FromGiven: true, OurDomain: evidence.Yes, To: from.Address,
			Guards: evidence.Guards{Tags: evidence.TagEnforce, TagsDue: true}, Tag: evidence.Tag{Standing: evidence.TagForged}},
		"bounce": {Stage: evidence.StageData, Guards: evidence.Guards{Bounces: evidence.JudgeEnforce}, Bounce: evidence.Bounce{Asked: true, Automatic: true}, To: from.Address},
		"dmarc":  {Stage: evidence.StageData, Guards: evidence.Guards{DMARC: evidence.CheckRefuse}, DMARC: evidence.DMARC{Result: evidence.Fail, Policy: evidence.PolicyReject}},
		"leaves": {Stage: evidence.StageData, Leaves: true, Bounce: evidence.Bounce{Asked: true, Automatic: true}},
	} {
		var v verdict.Verdict
		if n := testing.AllocsPerRun(100, func() { v = verdict.Rules{MaxReceived: 50}.Decide(c) }); n != 0 || v.Effect != verdict.Refuse {
			t.Errorf("%s: %v allocations, %v by %v", name, n, v.Effect, v.Rule)
		}
	}
}
