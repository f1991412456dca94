package scan

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"backstop/internal/bounce"
	"backstop/internal/mail"
	"backstop/internal/smtp"
)

// sent is what became of the one message.
type sent struct {
	to       mail.Address
	from     string
	session  int
	took     time.Duration // the last answer
	tried    bool
	rcpt     smtp.Response // the answer to RCPT, or to MAIL where that was refused
	answer   smtp.Response // to DATA or to the message; Code 0: not reached, or lost
	atData   bool          // the answer is that to DATA
	lost     bool          // no answer came after the dot
	deferred bool          // it was put off, and tried again after the pause
	bounce   *Notice
	waited   time.Duration
}

// taken says whether the server has, or may have, taken the message.
func (t *sent) taken() bool { return t.tried && (t.lost || t.answer.Class() == 2) }

// send sends the message to an unknown recipient that was accepted, and waits for what comes back.
func (s *scanner) send(ctx context.Context, post *postbox) {
	to, ok := s.f.acceptedUnknown()
	if !ok {
		return
	}
	t := &s.f.sent
	t.to = to
	post.expect(to)
	s.deliver(ctx, post)
	if t.tried && !t.taken() && t.put() { // put off: a greylist knows the triple, and the return path is new to it
		s.progress("it put the message off: waiting " + s.Retry.String())
		if s.wait(ctx, PauseRetry, s.Retry) {
			t.deferred = true
			s.deliver(ctx, post)
		}
	}
	if t.taken() {
		s.await(ctx, post)
	}
}

// put says whether the last word was a 4xx.
func (t *sent) put() bool {
	if t.answer.Code != 0 {
		return t.answer.Class() == 4
	}
	return t.rcpt.Class() == 4
}

// unclear says that the words of a refusal may be about the message or about us, and not about the recipient.
func (t *sent) unclear() bool {
	return t.answer.Status.Subject == 7 || has(strings.ToLower(t.answer.Text()), "spam", "content", "virus", "blocked", "policy")
}

// deliver is one attempt.
func (s *scanner) deliver(ctx context.Context, post *postbox) {
	v := s.open(ctx, s.at)
	if v == nil {
		return
	}
	t := &s.f.sent
	t.tried, t.rcpt, t.answer, t.lost = v.err == nil, smtp.Response{}, smtp.Response{}, false
	defer func() { s.ended(ctx, v, true) }()
	t.from, t.session = s.ReturnPath.String(), s.sessions
	defer func() { t.took = v.rec.took() }()
	a := asked{to: t.to, shape: ShapeLetters, session: s.sessions}
	v.ask(ctx, &a, mail.ReversePath{Address: s.ReturnPath})
	if t.rcpt = *a.answer(); a.result != accepted {
		return
	}
	t.atData = true
	t.answer = v.one(ctx, "DATA", func(b *smtp.Batch) { b.Data() })
	if t.answer.Class() != 3 {
		return
	}
	t.atData, t.answer = false, smtp.Response{}
	v.rec.bulk = true
	began := time.Now()
	s.progress("sending one message to " + t.to.String())
	answer, err := v.c.SendData(ctx, nil, strings.NewReader(message(post.token, s.ReturnPath, t.to, v.helo, s.f.domain, time.Now())))
	v.rec.bulk = false
	v.rec.note("(the message)", sayResponse(&answer), began)
	if t.answer = answer; err != nil {
		v.err = err
		var broke *smtp.StepError
		t.lost = errors.As(err, &broke) && broke.Sent
	}
	v.over = v.over || answer.Code == 421
}

// message is what is sent. It carries nothing by which servers know automatic or bulk mail (Auto-Submitted, Precedence,
// List-…) and asks for no particular notices, since it is to be treated as anybody's mail is; and it says in every
// part that people see what it is.
func message(token string, from, to mail.Address, helo, domain string, now time.Time) string {
	id := strings.Trim(helo, "[]")
	if strings.ContainsAny(id, ":") {
		id = "scan.invalid"
	}
	lines := []string{
		"From: Backstop scan <" + from.String() + ">",
		"To: <" + to.String() + ">",
		"Subject: Test by Backstop scan: does mail for nobody bounce? [" + token + "]",
		"Date: " + now.Format("Mon, 2 Jan 2006 15:04:05 -0700"),
		"Message-ID: <" + token + "@" + id + ">",
		headerToken + ": " + token,
		"MIME-Version: 1.0",
		"Content-Type: text/plain; charset=us-ascii",
		"",
		"This is a test, and the only message of it. Nobody has to answer.",
		"",
		"Somebody who looks after mail for " + domain + ", and can be reached at",
		from.String() + ", examines with `backstop scan --send` what this",
		"server does with mail for an address that was made up a minute ago and",
		"that nobody can have. If it ends in somebody's mailbox, the domain has a",
		"catch-all address. If it is sent back, the server writes bounces to whoever",
		"is named as the sender of mail, who need not have sent it: backscatter.",
		"",
		"Test " + token,
		"",
	}
	return strings.Join(lines, "\r\n")
}

// headerToken is the field by which the message is known again.
const headerToken = "X-Backstop-Scan"

// await waits for the bounce, and notes what else came.
func (s *scanner) await(ctx context.Context, post *postbox) {
	s.progress("waiting up to " + s.Wait.String() + " for a bounce")
	began := time.Now()
	ctx, done := context.WithCancel(ctx)
	defer done()
	up := make(chan struct{})
	go func() {
		defer close(up)
		s.Sleep(ctx, PauseBounce, s.Wait) // its error is that it was ended
	}()
	select {
	case <-post.bounced:
	case <-up:
	}
	done()
	<-up
	s.f.sent.waited = time.Since(began)
	s.collect(post, began)
	s.steps = append(s.steps, Step{Step: "wait", Sent: s.Wait.String(), MS: millis(s.f.sent.waited)})
	for _, n := range s.f.notices {
		s.steps = append(s.steps, Step{Step: "bounce", Sent: "", Reply: n.say()})
	}
}

// collect takes what came to the return path.
func (s *scanner) collect(post *postbox, began time.Time) {
	post.mu.Lock()
	defer post.mu.Unlock()
	s.f.dropped, s.f.visits = post.dropped, post.visits
	for _, n := range post.kept {
		n.after = max(0, n.at.Sub(began))
		s.f.notices = append(s.f.notices, n)
		if n.bounced() && s.f.sent.bounce == nil {
			s.f.sent.bounce = &n
		}
	}
}

// bounced says whether this is the bounce. Of delays and successes it is not; what comes from the null sender and
// returns our message is one, in whatever words.
func (n *Notice) bounced() bool {
	switch n.Kind {
	case bounce.Bounce.String():
		return n.Ours && (n.Action == bounce.Failed.String() || n.Action == bounce.ActionUnknown.String())
	case bounce.Ordinary.String():
		return n.Ours && n.null
	}
	return false
}

// maxNotices bounds what is kept of what comes: so many that are ours, and so many others.
const maxNotices = 20

// say is the notice in one line.
func (n *Notice) say() string {
	text := fmt.Sprintf("%s from %s", n.Kind, n.Client)
	if n.Helo != "" {
		text += " (" + n.Helo + ")"
	}
	if n.Action != "" && n.Action != bounce.ActionUnknown.String() {
		text += ", " + n.Action
	}
	if n.Subject != "" {
		text += ": " + n.Subject
	}
	if n.Diagnostic != "" {
		text += ": " + n.Diagnostic
	}
	return text
}
