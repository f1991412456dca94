package verdict_test

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"backstop/internal/evidence"
	"backstop/internal/mail"
	"backstop/internal/verdict"
)

// anyAnswer draws whatever a downstream may be said to have answered, nonsense included.
func anyAnswer(t *rapid.T, label string) evidence.Answer {
	return evidence.Answer{
		Outcome:     rapid.SampledFrom(allOutcomes).Draw(t, label+" outcome"),
		Step:        evidence.Step(rapid.IntRange(0, int(evidence.StepMessage)).Draw(t, label+" step")),
		Code:        rapid.OneOf(rapid.SampledFrom([]int{0, 220, 250, 251, 354, 421, 450, 451, 452, 500, 501, 503, 535, 550, 551, 552, 553, 554, 599}), rapid.IntRange(-1, 1000)).Draw(t, label+" code"),
		Status:      anyStatus(t, label),
		Text:        rapid.OneOf(rapid.Just(""), rapid.Just("User unknown"), rapid.String()).Draw(t, label+" text"),
		NoSuchUser:  rapid.Bool().Draw(t, label+" no such user"),
		Unsupported: evidence.Extension(rapid.IntRange(0, int(evidence.ExtSize)).Draw(t, label+" lacks")),
	}
}

var allOutcomes = []evidence.Outcome{
	evidence.OutcomeNotAsked, evidence.OutcomeAccepted, evidence.OutcomeRefused, evidence.OutcomeDeferred,
	evidence.OutcomeUnreachable, evidence.OutcomeSilent, evidence.OutcomeUnsupported,
}

func anyStatus(t *rapid.T, label string) mail.Status {
	return mail.Status{
		Class:   uint16(rapid.SampledFrom([]int{0, 2, 4, 5}).Draw(t, label+" class")),
		Subject: uint16(rapid.IntRange(0, 999).Draw(t, label+" subject")),
		Detail:  uint16(rapid.IntRange(0, 999).Draw(t, label+" detail")),
	}
}

// anyPolicy draws what a file may say, seldom, and with replies that disagree with it.
func anyPolicy(t *rapid.T, label string) evidence.Policy {
	if rapid.IntRange(0, 4).Draw(t, label+" policy") < 4 {
		return evidence.Policy{}
	}
	return evidence.Policy{
		Word: evidence.Word(rapid.IntRange(0, evidence.NumWords-1).Draw(t, label+" word")),
		File: "/etc/mail/access", Line: rapid.IntRange(0, 9).Draw(t, label+" line"),
		Reply: rapid.SampledFrom([]mail.Reply{{}, mail.MustReply(550, "5.7.1", "go away"), mail.MustReply(451, "4.7.1", "later")}).Draw(t, label+" reply"),
	}
}

// anyCase draws any case whatsoever, however little sense it makes.
func anyCase(t *rapid.T) evidence.Case {
	no := func(label string) bool { return rapid.IntRange(0, 9).Draw(t, label) == 9 } // seldom, so that later rules get their turn
	c := evidence.Case{
		Stage:        rapid.SampledFrom(often(evidence.StageRcpt, evidence.StageData, evidence.StageConnect, evidence.StageHelo, evidence.StageMail)).Draw(t, "stage"),
		Door:         rapid.OneOf(rapid.Just(evidence.DoorSMTP), rapid.Map(rapid.IntRange(0, evidence.NumDoors-1), func(i int) evidence.Door { return evidence.Door(i) })).Draw(t, "door"),
		Mode:         rapid.SampledFrom([]evidence.Mode{evidence.Enforce, evidence.Watch}).Draw(t, "mode"),
		Client:       evidence.Client{Addr: netip.MustParseAddr("192.0.2.1"), Helo: rapid.String().Draw(t, "helo")},
		Early:        no("early"),
		TooMany:      no("too many"),
		Blocked:      no("blocked"),
		Abuse:        no("abuse"),
		ClientPolicy: anyPolicy(t, "client"), SenderPolicy: anyPolicy(t, "sender"),
		FromGiven:  rapid.Bool().Draw(t, "from given"),
		RcptCount:  rapid.IntRange(0, 3).Draw(t, "recipients"),
		OurDomain:  rapid.SampledFrom(often(evidence.Yes, evidence.Yes, evidence.No, evidence.Unknown)).Draw(t, "our domain"),
		NoDomain:   no("no domain"),
		MustAccept: no("must accept"),
		OtherRoute: rapid.SampledFrom(often(evidence.No, evidence.No, evidence.Yes, evidence.Unknown)).Draw(t, "other route"),
		Directory: evidence.Directory{
			Standing: evidence.Standing(rapid.IntRange(0, evidence.NumStandings-1).Draw(t, "standing")),
			Source:   "list:people",
			Age:      time.Duration(rapid.Int64Range(0, 1e12).Draw(t, "age")),
			Stale:    rapid.Bool().Draw(t, "stale"), Blind: rapid.Bool().Draw(t, "blind"),
			Detail: rapid.String().Draw(t, "detail"),
		},
		Downstream: anyAnswer(t, "downstream"),
		Message: evidence.Message{
			Read: rapid.Bool().Draw(t, "read"), Size: rapid.Int64().Draw(t, "size"), Received: rapid.IntRange(0, 60).Draw(t, "received"),
			OurName: no("our name"), TooBig: no("too big"), LongHead: no("long head"),
		},
		Final: anyAnswer(t, "final"),
	}
	if no("fault") {
		c.Message.Fault = evidence.Fault(rapid.IntRange(0, int(evidence.FaultLongLine)).Draw(t, "which fault"))
	}
	if rapid.Bool().Draw(t, "with sender") {
		c.From.Address = someone("ann@sender.example")
	}
	if rapid.Bool().Draw(t, "with recipient") {
		c.To = someone("bob@example.org")
	}
	anyGuards(t, &c)
	return c
}

// often lists the first two of its arguments over and over, and the others once.
func often[T any](a, b T, seldom ...T) []T {
	return append([]T{a, b, a, b, a, b}, seldom...)
}

func someone(s string) mail.Address {
	a, err := mail.ParseAddress(s)
	if err != nil {
		panic(err)
	}
	return a
}

// permanent says, for each rule that may say 5xx, what must be known for it.
var permanent = map[verdict.Rule]func(*evidence.Case) bool{
	verdict.ClientBlocked: func(c *evidence.Case) bool {
		return c.NotListed || c.Blocked || c.ClientPolicy.Word == evidence.Refused
	},
	verdict.SenderForged: func(c *evidence.Case) bool {
		return !c.From.IsNull() && (c.SenderPolicy.Word == evidence.Refused || outsider(c))
	},
	verdict.SenderSPF: func(c *evidence.Case) bool {
		return !c.Leaves && c.SPF.Result == evidence.Fail && c.Guards.SPF == evidence.CheckRefuse
	},
	verdict.RecipientTag:    madeUp,
	verdict.BounceNotOurs:   notOurs,
	verdict.BounceUnproven:  func(c *evidence.Case) bool { return c.Leaves && unproven(c) && c.Bounce.BounceTo.IsZero() },
	verdict.DMARC:           wantsRejection,
	verdict.EarlyTalker:     func(c *evidence.Case) bool { return c.Early },
	verdict.RelayDenied:     func(c *evidence.Case) bool { return c.OurDomain == evidence.No || c.Leaves && c.NotListed },
	verdict.RecipientSyntax: func(c *evidence.Case) bool { return c.NoDomain },
	verdict.RecipientMissing: func(c *evidence.Case) bool {
		said := c.Downstream.Outcome == evidence.OutcomeRefused && c.Downstream.Step == evidence.StepRcpt && c.Downstream.NoSuchUser
		return !c.MustAccept && (c.Directory.Standing == evidence.Missing || c.Directory.Standing == evidence.LeftToDownstream && said)
	},
	verdict.DownstreamRecipient: func(c *evidence.Case) bool { return saidNo(c, c.Downstream) },
	verdict.MessageSize:         func(c *evidence.Case) bool { return c.Message.TooBig || c.Message.LongHead },
	verdict.MessageLines:        func(c *evidence.Case) bool { return c.Message.Fault != evidence.NoFault },
	verdict.MessageLoop:         func(c *evidence.Case) bool { return c.Message.OurName || c.Message.Received > 50 },
	verdict.DownstreamMessage:   func(c *evidence.Case) bool { return saidNo(c, c.Final) },
}

// saidNo says that a downstream refused this mail for good, or cannot carry it.
func saidNo(c *evidence.Case, a evidence.Answer) bool {
	about := evidence.StepRcpt
	if c.Leaves {
		about = evidence.StepMail
	}
	refused := a.Outcome == evidence.OutcomeRefused && a.Step >= about && a.Code >= 500 && a.Code <= 599
	return refused || a.Outcome == evidence.OutcomeUnsupported && a.Unsupported != evidence.NoExtension
}

// TestAnyCase holds the promises whatever is known: a 5xx has its rule and its
// evidence, what is unknown is never permanent, a 2xx is the downstream's own.
func TestAnyCase(t *testing.T) {
	decided := map[verdict.Rule]int{}
	rapid.Check(t, func(t *rapid.T) {
		for range 60 { // one check alone meets too few of the deep ones
			checkCase(t, anyCase(t), decided)
		}
	})
	for rule := range verdict.Accepted {
		if rule != verdict.InternalError && decided[rule] == 0 {
			t.Errorf("no case was decided by %v: the cases are too shallow", rule)
		}
	}
}

func checkCase(t *rapid.T, c evidence.Case, decided map[verdict.Rule]int) {
	rules := verdict.Rules{ShowDownstream: rapid.Bool().Draw(t, "show"), MaxReceived: 50}
	v := rules.Decide(c)
	if again := rules.Decide(c); again != v {
		t.Fatalf("%+v and then %+v", v, again)
	}
	if v.Ask != evidence.AskNothing {
		checkQuestion(t, c, v)
		return
	}
	decided[v.Rule]++
	checkVerdict(t, c, v)
	checkTrail(t, c, v)
	checkModes(t, rules, c)
}

// checkQuestion: a question comes alone, and only for what was not asked yet.
func checkQuestion(t *rapid.T, c evidence.Case, v verdict.Verdict) {
	if v != (verdict.Verdict{Ask: v.Ask}) {
		t.Fatalf("a question and more: %+v", v)
	}
	open := map[evidence.Question]bool{
		evidence.AskDirectory:           c.Directory.Standing == evidence.NotAsked,
		evidence.AskDownstreamRecipient: c.Downstream.Outcome == evidence.OutcomeNotAsked,
		evidence.AskDownstreamMessage:   c.Final.Outcome == evidence.OutcomeNotAsked,
		evidence.AskSPF:                 c.SPF.Result == evidence.NotChecked && !c.Leaves,
		evidence.AskBounce:              !c.Bounce.Asked,
		evidence.AskDMARC:               c.DMARC.Result == evidence.NotChecked && c.Guards.DMARC == evidence.CheckRefuse && !c.Leaves,
		// Only what was looked at, must not leave and has somewhere to go; and never in watch mode.
		evidence.AskRedirect: c.Leaves && unproven(&c) && !c.Bounce.Redirected && !c.Bounce.BounceTo.IsZero() && c.Mode == evidence.Enforce,
	}
	if !open[v.Ask] {
		t.Fatalf("%v was asked already", v.Ask)
	}
}

func checkVerdict(t *rapid.T, c evidence.Case, v verdict.Verdict) {
	switch v.Effect {
	case verdict.Refuse:
		if !v.Reply.Permanent() {
			t.Fatalf("refused with %q", v.Reply)
		}
		proof, may := permanent[v.Rule]
		if !may || !proof(&c) {
			t.Fatalf("%v says %q, and nothing shows it", v.Rule, v.Reply)
		}
	case verdict.Defer:
		if !v.Reply.Temporary() {
			t.Fatalf("deferred with %q", v.Reply)
		}
	case verdict.Accept:
		if v.Rule != verdict.Accepted || !v.Reply.IsZero() && v.Reply.Class() != 2 {
			t.Fatalf("%v accepts with %q", v.Rule, v.Reply)
		}
		left := c.Door.Beside() && (c.OurDomain == evidence.No || c.NoDomain) // to the MTA
		if c.Stage == evidence.StageRcpt && (c.OurDomain != evidence.Yes && !c.Leaves && !left || c.OtherRoute == evidence.Yes) {
			t.Fatal("accepted a recipient that does not belong here")
		}
		checkTaken(t, &c)
	case verdict.Redirect:
		if v.Rule != verdict.BounceUnproven || !c.Leaves || !c.Bounce.Redirected || c.Bounce.BounceTo.IsZero() || v.Reply.Class() != 2 {
			t.Fatalf("%v hands over with %q", v.Rule, v.Reply)
		}
		checkTaken(t, &c)
	default:
		t.Fatalf("the effect is %v", v.Effect)
	}
}

// checkTaken: a yes is the downstream's.
func checkTaken(t *rapid.T, c *evidence.Case) {
	yes := map[evidence.Stage]bool{
		evidence.StageRcpt: c.Downstream.Outcome == evidence.OutcomeAccepted && c.Downstream.Step == evidence.StepRcpt,
		evidence.StageData: c.Final.Outcome == evidence.OutcomeAccepted && c.Final.Step == evidence.StepMessage,
	}
	if said, matters := yes[c.Stage]; matters && c.Door.Delivers() && !said {
		t.Fatal("accepted what the downstream did not accept")
	}
}

func checkTrail(t *rapid.T, c evidence.Case, v verdict.Verdict) {
	steps := v.Steps(c)
	names := verdict.RuleNames()
	last := -1
	for i, s := range steps {
		at := slices.Index(names, s.Rule)
		if at <= last || s.Finding == "" {
			t.Fatalf("step %d of the trail is %+v", i, s)
		}
		if decides := s.Rule == v.Rule.String(); decides != (s.Effect == v.Effect.String()) || !decides && s.Effect != verdict.Next.String() {
			t.Fatalf("step %d of %d: %+v, and %v decides", i+1, len(steps), s, v.Rule)
		}
		last = at
	}
	if len(steps) == 0 || v.Effect != verdict.Redirect && steps[len(steps)-1].Rule != v.Rule.String() {
		t.Fatalf("the trail %+v does not end with %v %v", steps, v.Rule, v.Effect)
	}
}

// checkModes: watch mode names the rule by which enforce mode decides, and what
// it refuses all the same is not our own rules' doing. Enforce mode notes only what a domain wants noted.
func checkModes(t *rapid.T, rules verdict.Rules, c evidence.Case) {
	c.Mode = evidence.Enforce
	enforced := rules.Decide(c)
	noted, some := enforced.Watched()
	if some && noted != verdict.RecipientTag && noted != verdict.BounceNotOurs {
		t.Fatalf("enforce mode noted %v", noted)
	}
	c.Mode = evidence.Watch
	watched := rules.Decide(c)
	rule, ok := watched.Watched()
	switch {
	case watched.Ask != evidence.AskNothing, enforced.Ask == evidence.AskRedirect:
	case some && ok && rule == noted: // both note it, and go on from there alike but for what watch mode softens later
	case ok && (enforced.Rule != rule || enforced.Effect == verdict.Accept):
		t.Fatalf("watch names %v, enforce decides by %v", rule, enforced.Rule)
	case !ok && enforced != watched:
		t.Fatalf("watch says %+v, enforce %+v, and nothing was watched", watched, enforced)
	}
}

// TestNothingKnown: the zero case, at every stage and door, is neither accepted nor refused for good where it matters.
func TestNothingKnown(t *testing.T) {
	for stage := range evidence.NumStages {
		for door := range evidence.NumDoors {
			c := evidence.Case{Stage: evidence.Stage(stage), Door: evidence.Door(door)}
			v := verdict.Rules{}.Decide(c)
			if v.Reply.Permanent() {
				t.Errorf("%v at %v: %q", c.Stage, c.Door, v.Reply)
			}
			if c.Stage == evidence.StageRcpt && v.Effect == verdict.Accept || c.Stage == evidence.StageData && c.Door.Delivers() && v.Effect == verdict.Accept {
				t.Errorf("%v at %v: accepted", c.Stage, c.Door)
			}
		}
	}
}

func TestInternal(t *testing.T) {
	v := verdict.Internal()
	if v.Effect != verdict.Defer || v.Rule != verdict.InternalError || !v.Reply.Temporary() {
		t.Fatalf("a fault of ours is answered %+v", v)
	}
}

func TestNames(t *testing.T) {
	seen := map[string]bool{}
	for _, name := range append(slices.Clone(verdict.RuleNames()), verdict.EffectNames()...) {
		if name == "" || seen[name] {
			t.Errorf("the name %q", name)
		}
		seen[name] = true
	}
}

func TestRefusalAllocatesNothing(t *testing.T) {
	refused := evidence.Answer{Outcome: evidence.OutcomeRefused, Step: evidence.StepRcpt, Code: 550, Status: mail.Status{Class: 5, Subject: 1, Detail: 1}, NoSuchUser: true}
	base := evidence.Case{Stage: evidence.StageRcpt, Door: evidence.DoorSMTP, OurDomain: evidence.Yes, To: someone("bob@example.org")}
	for name, change := range map[string]func(*evidence.Case){
		"missing":            func(c *evidence.Case) { c.Directory.Standing = evidence.Missing },
		"not ours":           func(c *evidence.Case) { c.OurDomain = evidence.No },
		"unavailable":        func(c *evidence.Case) { c.Directory.Standing = evidence.Unavailable },
		"left to downstream": func(c *evidence.Case) { c.Directory.Standing, c.Downstream = evidence.LeftToDownstream, refused },
		"downstream":         func(c *evidence.Case) { c.Directory.Standing, c.Downstream = evidence.Exists, refused },
		"blocked":            func(c *evidence.Case) { c.Stage, c.Blocked = evidence.StageConnect, true },
		"question":           func(*evidence.Case) {},
	} {
		c := base
		change(&c)
		var v verdict.Verdict
		if n := testing.AllocsPerRun(100, func() { v = verdict.Rules{MaxReceived: 50}.Decide(c) }); n != 0 {
			t.Errorf("%s: deciding allocates %v times", name, n)
		}
		if name != "question" && v.Effect == verdict.Accept {
			t.Errorf("%s: accepted", name)
		}
	}
}
