package session

import (
	"bytes"
	"context"
	"net/netip"
	"time"

	"backstop/internal/directory"
	"backstop/internal/evidence"
	"backstop/internal/mail"
	"backstop/internal/smtp"
	"backstop/internal/verdict"
)

// Question is one transaction to decide without delivering it.
type Question struct {
	Client   netip.Addr
	Helo     string
	From     mail.ReversePath
	To       []mail.Address
	Message  []byte    // nil: the message is not judged
	NoAsk    bool      // consult no other server
	Outbound bool      // as mail that leaves by the outbound door, or through the milter
	At       time.Time // zero: now
}

// Explanation is a verdict with everything that was weighed.
type Explanation struct {
	Verdict    string               `json:"verdict"` // accept, refuse, defer, redirect
	Stage      string               `json:"stage"`
	Rule       string               `json:"rule"`
	Reply      string               `json:"reply"`
	Watched    string               `json:"watched,omitempty"` // watch mode: the rule that would have objected
	Recipients []RecipientExplained `json:"recipients"`
	Trail      []StepExplained      `json:"trail"`
}

// RecipientExplained is the verdict on one recipient.
type RecipientExplained struct {
	To      string `json:"to"`
	Verdict string `json:"verdict"`
	Rule    string `json:"rule"`
	Reply   string `json:"reply"`
	Watched string `json:"watched,omitempty"`
}

// StepExplained is one rule that was weighed.
type StepExplained struct {
	Rule    string  `json:"rule"`
	Finding string  `json:"finding"`
	Effect  string  `json:"effect"`
	MS      float64 `json:"ms"`
}

// explainer gathers an explanation.
type explainer struct {
	s     *Session
	x     Explanation
	now   func() time.Time // of the engine: the question's moment stands still
	began time.Time
}

// Explain decides a transaction stage by stage, as a door would, and says why.
func (e *Engine) Explain(ctx context.Context, q Question) Explanation {
	quiet := *e // nothing of this is a decision: it is neither written down nor counted
	quiet.Journal, quiet.Metrics, quiet.Tally = nil, nil, nil
	if q.NoAsk {
		quiet.Auth = nil
	}
	if !q.At.IsZero() {
		quiet.Now = func() time.Time { return q.At }
	}
	door := evidence.DoorExplain
	if e.Beside {
		door = evidence.DoorMilter
	}
	s := quiet.Begin(ctx, door, evidence.Client{Addr: q.Client, Helo: q.Helo, Protocol: "ESMTP"})
	defer s.Close()
	if e.Beside && e.Milter && e.listed(q.Client) {
		q.Outbound = true // as the milter would take it
	}
	if s.c.Leaves = q.Outbound; q.Outbound {
		s.c.NotListed = !e.listed(q.Client)
	}
	x := &explainer{s: s, now: e.Now, x: Explanation{Recipients: []RecipientExplained{}, Trail: []StepExplained{}}}
	x.begin()
	if !x.stage(s.Connect(false, false)) {
		return x.x
	}
	helo := q.Helo
	if helo == "" {
		helo = "[" + q.Client.String() + "]"
	}
	x.begin()
	if !x.stage(s.Helo(helo, "ESMTP", false)) {
		return x.x
	}
	x.begin()
	if !x.stage(s.Mail(q.From, smtp.MailParams{UTF8: true})) {
		return x.x
	}
	if !x.recipients(&q) || q.Message == nil {
		return x.x
	}
	x.begin()
	x.stage(s.judge(q.Message))
	return x.x
}

func (x *explainer) begin() { x.began = x.now() }

// stage notes a stage's verdict and says whether the transaction goes on.
func (x *explainer) stage(v verdict.Verdict) bool {
	x.note(v)
	return v.Effect == verdict.Accept
}

// note takes a verdict for the whole's, and adds its trail. A rule that is
// weighed at every stage is shown where it objects, and once otherwise.
func (x *explainer) note(v verdict.Verdict) {
	ms := float64(x.now().Sub(x.began).Microseconds()) / 1000
	x.x.Verdict, x.x.Stage, x.x.Rule = v.Effect.String(), x.s.c.Stage.String(), v.Rule.String()
	x.x.Reply = v.Reply.String()
	if r, ok := v.Watched(); ok && x.x.Watched == "" {
		x.x.Watched = r.String()
	}
	steps := v.Steps(x.s.c)
	costly := costliest(steps)
	for i, st := range steps {
		if st.Rule == verdict.Accepted.String() && x.s.c.Stage < evidence.StageRcpt {
			continue // accepted at an early stage means only: go on
		}
		if st.Effect == verdict.Next.String() && x.seen(st) {
			continue
		}
		out := StepExplained{Rule: st.Rule, Finding: st.Finding, Effect: st.Effect}
		if i == costly {
			out.MS = ms
		}
		x.x.Trail = append(x.x.Trail, out)
	}
}

// costliest is the step that took the stage's time: the one that asked somebody.
func costliest(steps []verdict.Step) int {
	for i, st := range steps {
		if st.Rule == verdict.RecipientMissing.String() {
			return i
		}
	}
	return 0
}

func (x *explainer) seen(st verdict.Step) bool {
	for _, t := range x.x.Trail {
		if t.Rule == st.Rule && t.Finding == st.Finding {
			return true
		}
	}
	return false
}

// recipients decides each recipient. The whole is what becomes of the worst, and
// the message is judged when one at least is accepted.
func (x *explainer) recipients(q *Question) bool {
	accepted := false
	var worst Explanation
	for _, to := range q.To {
		x.begin()
		v := x.s.explainRcpt(to, q)
		x.note(v)
		r := RecipientExplained{To: to.String(), Verdict: v.Effect.String(), Rule: v.Rule.String(), Reply: v.Reply.String()}
		if w, ok := v.Watched(); ok {
			r.Watched = w.String()
		}
		x.x.Recipients = append(x.x.Recipients, r)
		accepted = accepted || v.Effect == verdict.Accept
		if severity(x.x.Verdict) >= severity(worst.Verdict) {
			worst = x.x
		}
	}
	recipients, trail := x.x.Recipients, x.x.Trail
	x.x = worst
	x.x.Recipients, x.x.Trail = recipients, trail
	return accepted
}

func severity(effect string) int {
	switch effect {
	case "":
		return -1
	case verdict.Accept.String(), verdict.Redirect.String():
		return 0
	case verdict.Defer.String():
		return 1
	}
	return 2
}

// explainRcpt is Rcpt for a door that delivers nothing, at the question's moment.
func (s *Session) explainRcpt(to mail.Address, q *Question) verdict.Verdict {
	r := s.beginRcpt(to)
	if s.c.Guards.SPF == evidence.CheckMark && !s.c.Claim.Vouched { // asked at the message, if one comes
		s.askSPF()
	}
	v := s.gather(func(want evidence.Question) {
		switch want {
		case evidence.AskDirectory:
			s.askDirectory(&r, directory.Query{NoAsk: q.NoAsk, At: q.At})
		default:
			s.fetchSender(want)
		}
	})
	s.took(to, r.d, smtp.RcptParams{}, v)
	return s.finish(v)
}

// judge decides a message that is at hand in whole. Its lines are those of a
// file, so they are not held to CR LF.
func (s *Session) judge(message []byte) verdict.Verdict {
	s.c.Stage = evidence.StageData
	s.settle()
	message = bytes.ReplaceAll(bytes.ReplaceAll(message, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
	m := &holding{mem: message, whole: true}
	end, _ := m.header()
	s.c.Message = evidence.Message{Read: true, Size: m.size(), LongHead: end > maxHeader}
	s.c.Message.TooBig = s.e.MaxMessageSize > 0 && s.c.Message.Size > s.e.MaxMessageSize
	s.inspect(message[:end])
	v := s.finish(s.gather(func(q evidence.Question) {
		switch q {
		case evidence.AskRedirect:
			s.c.Bounce.Redirected = true
		default:
			s.askMessage(q, m)
		}
	}))
	if !s.c.Leaves && !s.c.Claim.Vouched {
		s.authenticate(m) // what is only marked is told as well
	}
	s.notice = notice{}
	return v
}
