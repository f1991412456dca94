package verdict_test

import (
	"testing"

	"backstop/internal/evidence"
	"backstop/internal/mail"
	"backstop/internal/verdict"
)

// TestRefusedOnItsWayOut: a no of the outbound relay to MAIL is for good only where it is about the sender's
// address; one about us, or that does not say, would bounce every user's mail.
func TestRefusedOnItsWayOut(t *testing.T) {
	for _, tc := range []struct {
		code   int
		status mail.Status
		effect verdict.Effect
	}{
		{553, mail.Status{Class: 5, Subject: 1, Detail: 7}, verdict.Refuse},
		{550, mail.Status{Class: 5, Subject: 1, Detail: 8}, verdict.Refuse},
		{553, mail.Status{}, verdict.Refuse},
		{550, mail.Status{Class: 5, Subject: 7, Detail: 1}, verdict.Defer},
		{550, mail.Status{}, verdict.Defer},
		{530, mail.Status{Class: 5, Subject: 7}, verdict.Defer},
	} {
		for _, leaves := range []bool{true, false} {
			c := evidence.Case{
				Stage: evidence.StageRcpt, Door: evidence.DoorSMTP, OurDomain: evidence.Yes, Leaves: leaves, OtherRoute: evidence.No,
				From: mail.ReversePath{Address: someone("ann@example.org")}, FromGiven: true, To: someone("carl@far.example"),
				Directory:  evidence.Directory{Standing: evidence.Exists},
				Downstream: evidence.Answer{Outcome: evidence.OutcomeRefused, Step: evidence.StepMail, Code: tc.code, Status: tc.status},
			}
			want := tc.effect
			if !leaves {
				want = verdict.Defer
			}
			if v := (verdict.Rules{}).Decide(c); v.Effect != want {
				t.Errorf("%d %v, leaves %v: %v", tc.code, tc.status, leaves, v.Reply)
			}
		}
	}
}

// TestRedirectedIsNotLost: what was handed to bounce_to and is refused there after the dot waits where it is.
func TestRedirectedIsNotLost(t *testing.T) {
	c := evidence.Case{
		Stage: evidence.StageData, Door: evidence.DoorOutbound, Leaves: true, FromGiven: true, Message: evidence.Message{Read: true},
		Bounce: evidence.Bounce{Asked: true, Automatic: true, BounceTo: someone("held@example.org"), Redirected: true},
		Final:  evidence.Answer{Outcome: evidence.OutcomeRefused, Step: evidence.StepMessage, Code: 554, Status: mail.Status{Class: 5, Subject: 6}},
	}
	if v := (verdict.Rules{}).Decide(c); v.Effect != verdict.Defer {
		t.Errorf("%v by %v", v.Effect, v.Rule)
	}
}

// TestProvenPassesDMARC: a bounce that answers mail of ours comes from servers that sign none of theirs.
func TestProvenPassesDMARC(t *testing.T) {
	for proof, want := range map[evidence.Proof]verdict.Rule{evidence.ProofSeal: verdict.Accepted, evidence.NoProof: verdict.DMARC} {
		c := evidence.Case{
			Stage: evidence.StageData, Door: evidence.DoorExplain, FromGiven: true, Message: evidence.Message{Read: true},
			Guards: evidence.Guards{DMARC: evidence.CheckRefuse, Bounces: evidence.JudgeWatch},
			Bounce: evidence.Bounce{Asked: true, Automatic: true, Proof: proof},
			DMARC:  evidence.DMARC{Result: evidence.Fail, Policy: evidence.PolicyReject},
		}
		if v := (verdict.Rules{}).Decide(c); v.Rule != want {
			t.Errorf("%q: %v by %v", proof, v.Effect, v.Rule)
		}
	}
}
