package verify

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"backstop/internal/smtp"
)

// verdict is what a judge sets.
func (r *Report) say(result Result, outcome, format string, args ...any) {
	r.Result, r.Outcome, r.Says = result, outcome, fmt.Sprintf(format, args...)
}

func (r *Report) hint(format string, args ...any) {
	r.Hints = append(r.Hints, fmt.Sprintf(format, args...))
}

// case is all that the sentences are made from.
type finding struct {
	*Report
	p *Plan
	t *talk
	c *Counts
}

// judge fills in result, outcome, sentence and hints.
func (r *Report) judge(p *Plan, t *talk, c *Counts) {
	f := finding{r, p, t, c}
	switch {
	case t.nobody.Code != 0:
		f.recipient()
	case t.mail.Code != 0 && t.mail.Class() != 2:
		f.sender()
	default:
		f.broken()
	}
	if r.Result == Works {
		f.others()
	}
	f.greeting()
}

// was says how sure it is that we were asked.
func (f *finding) was(asked bool) bool { return f.Asked != nil && *f.Asked == asked }

// ours: replies of Backstop's end with the transaction's id.
var ours = regexp.MustCompile(` \[[0-9a-hjkmnp-tv-z]{12}\]$`)

func fromUs(a *smtp.Response) bool { return ours.MatchString(a.Text()) }

// whole is a reply on one line.
func whole(a *smtp.Response) string {
	text := a.Text()
	if !a.Status.IsZero() {
		text = a.Status.String() + " " + text
	}
	return clean([]byte(fmt.Sprintf("%d %s", a.Code, text)))
}

// broken is a conversation that ended before a recipient was asked about.
func (f *finding) broken() {
	var connect *connectError
	var refused *smtp.RefusedError
	var step *smtp.StepError
	err := f.t.err
	switch {
	case errors.As(err, &connect) && f.p.Source.IsValid() && errors.Is(err, syscall.EADDRNOTAVAIL):
		f.say(Unknown, "no-such-source", "%s is no address of this machine, so nothing can be sent from there.", f.p.Source)
		f.hint("`ip address` shows those that it has.")
	case errors.As(err, &connect):
		f.say(Unknown, "unreachable", "Nobody answers at %s: %s.", f.Server, reason(connect.error))
		f.hint("Is %s running, and does it listen there?", f.p.MTA)
	case errors.As(err, &refused):
		f.refused(refused)
	case errors.As(err, &step) && step.Timeout():
		f.say(Unknown, "silent", "%s was silent at %s for longer than one waits.", f.Server, word(step.Step))
		if step.Step == smtp.StepBanner {
			f.hint("It may hold its greeting back from strangers, or it is no SMTP server.")
			return
		}
		f.hint("It may be waiting for Backstop, or for a check of its own: its log says for which.")
	case errors.As(err, &step):
		f.say(Unknown, "closed", "%s closed the connection at %s: %s.", f.Server, word(step.Step), reason(step.Err))
		f.hint("The log of %s says why.", f.p.MTA)
	case f.t.mail.Class() == 2:
		f.say(Unknown, "closed", "%s took the sender and did not answer about a recipient.", f.Server)
	default:
		f.say(Unknown, "closed", "The conversation with %s could not be held: %v.", f.Server, err)
	}
}

func word(s smtp.Step) string {
	switch s {
	case smtp.StepBanner:
		return "its greeting"
	case smtp.StepHello:
		return "EHLO"
	}
	return strings.ToUpper(s.String())
}

func (f *finding) refused(e *smtp.RefusedError) {
	a := &e.Response
	switch {
	case a.Class() == 4:
		f.say(Unknown, "busy", "%s takes nothing just now: %s.", f.Server, whole(a))
		f.hint("Try again in some minutes; it may also limit the connections of one machine.")
	case f.was(true):
		f.say(Unknown, "refuses-host", "Backstop was asked, and this machine may not connect: %s.", whole(a))
		f.hint("The log of Backstop names the rule.")
	default:
		f.say(Unknown, "refuses-host", "%s wants nothing from this machine: %s.", f.Server, whole(a))
		f.hint("Its own lists stand before Backstop: try from another machine, or with --source from another address of this one.")
	}
}

var (
	wantsLogin = regexp.MustCompile(`(?i)starttls|authentication|must log ?in`)
	greylist   = regexp.MustCompile(`(?i)gr[ea]y-?list`)
	ownProbe   = regexp.MustCompile(`(?i)unverified|verification|callout`)
	notItsOwn  = regexp.MustCompile(`(?i)relay`)
	// gone is what an MTA says that got no answer: Postfix for a milter, a policy service, a map; Sendmail; the lines for Exim.
	gone = regexp.MustCompile(`(?i)service unavailable - try again later|server configuration (problem|error)|temporary lookup failure|please try again later|^temporary failure`)
)

// sender is a server that refused MAIL.
func (f *finding) sender() {
	a := &f.t.mail
	switch {
	case a.Code == 530 || a.Class() == 5 && wantsLogin.MatchString(a.Text()):
		f.say(Unknown, "wants-login", "%s wants a login or TLS first: %s.", f.Server, whole(a))
		f.hint("Ask the port at which mail from strangers comes in, which is 25.")
	case fromUs(a):
		f.say(Unknown, "refuses-sender", "Backstop is asked, and stopped this machine or the null sender before any recipient: %s.", whole(a))
		f.hint("The log of Backstop names the rule, behind the id in brackets.")
	case a.Class() == 4:
		f.deferred(a)
	default:
		f.say(Unknown, "refuses-sender", "%s refuses mail with the null sender from this machine: %s.", f.Server, whole(a))
		f.hint("Bounces have it, so nobody should refuse it; try from another machine.")
	}
}

// recipient is the answer about the address that nobody can have.
func (f *finding) recipient() {
	a := &f.t.nobody
	switch {
	case a.Class() == 2:
		f.accepted()
	case a.Class() == 4:
		f.deferred(a)
	case a.Class() != 5:
		f.say(Unknown, "not-understood", "%s answered what is no answer to RCPT: %s.", f.Server, whole(a))
	case fromUs(a) && smtp.ClassifyRcpt(a) == smtp.RcptMissing:
		f.ourWords(a)
	case fromUs(a):
		f.say(Unknown, "refuses-otherwise", "Backstop is asked, and refused for another reason than the recipient: %s.", whole(a))
		f.hint("The log of Backstop names the rule, behind the id in brackets.")
	case notItsOwn.MatchString(a.Text()) && smtp.ClassifyRcpt(a) != smtp.RcptMissing:
		f.say(Fails, "not-its-domain", "%s is no domain of this server, so Backstop is not asked: %s.", f.p.Domain, whole(a))
		f.hint("%s must take mail for it first: %s.", f.p.MTA, takes[f.p.MTA])
	case smtp.ClassifyRcpt(a) == smtp.RcptMissing:
		f.ownWords(a)
	default:
		f.say(Unknown, "refuses-otherwise", "%s refused for another reason than the recipient: %s.", f.Server, whole(a))
		f.hint("It may have stopped this machine itself, before Backstop was asked: its log says why.")
	}
}

// takes is how each server learns whose mail it takes.
var takes = map[string]string{
	"Postfix":  "relay_domains, virtual_mailbox_domains or mydestination",
	"Sendmail": "relay-domains, local-host-names, or To:… RELAY in access",
	"Exim":     "relay_to_domains or local_domains",
}

// ownLists are where each has a list of its own.
var ownLists = map[string]string{
	"Postfix":  "relay_recipient_maps, virtual_mailbox_maps, local_recipient_maps",
	"Sendmail": "the access map, aliases, the accounts of the machine",
	"Exim":     "verify = recipient with the routers of its local domains",
}

// closed tells which doors the running daemon lacks.
func (f *finding) closed() {
	for _, d := range f.c.Closed {
		f.hint("The running daemon has no [%s]: has it been restarted since that was added?", d)
	}
}

// deferred is a temporary answer to MAIL or RCPT.
func (f *finding) deferred(a *smtp.Response) {
	switch {
	case fromUs(a) && smtpStatus(a) == "4.1.1" || gone.MatchString(a.Text()) && f.tried(a):
		f.say(Fails, "cannot-verify", "%s asks Backstop, which cannot say just now whether a recipient exists: %s.", f.p.MTA, whole(a))
		for _, t := range f.c.Trouble {
			f.hint("Source %s.", t)
		}
		for _, b := range f.c.Blind {
			f.hint("Source %s says yes to anybody, and when_blind = \"defer\" makes that a 451.", b)
		}
		f.hint("`backstop lookup %s%s` shows each source's answer.", f.Nobody, f.p.Options)
	case fromUs(a):
		f.say(Unknown, "defers", "Backstop is asked, and put this off for another reason than the recipient: %s.", whole(a))
		f.hint("The log of Backstop names the rule, behind the id in brackets.")
	case greylist.MatchString(a.Text()):
		f.say(Unknown, "greylists", "%s greylists this machine, and decides when it comes again: %s.", f.Server, whole(a))
		f.hint("Ask again in five minutes from the same address, or exempt it there.")
	case ownProbe.MatchString(a.Text()):
		f.say(Fails, "own-probe", "%s asks about recipients by itself, before Backstop: %s.", f.p.MTA, whole(a))
		f.hint("Take reject_unverified_recipient, or the callout, out: Backstop does that now.")
	case gone.MatchString(a.Text()):
		f.away(a)
	default:
		f.say(Unknown, "defers", "%s put this off: %s.", f.Server, whole(a))
		f.hint("Its log says why. Try again in some minutes.")
	}
}

func smtpStatus(a *smtp.Response) string {
	if a.Status.IsZero() {
		return ""
	}
	return a.Status.String()
}

// accepted is a server that took a recipient whom nobody can have.
func (f *finding) accepted() {
	switch {
	case f.p.Watch && f.was(true):
		f.say(Works, "watching", "It works: Backstop was asked at %s. In watch mode it refuses nothing, so the unknown recipient was accepted; mode = \"enforce\" changes that.", sections(f.AskedAt))
	case f.p.Watch && f.Asked == nil:
		f.say(Unknown, "accepts", "An unknown recipient is accepted, as is right in watch mode; whether Backstop was asked cannot be seen without the daemon.")
	case f.was(true):
		f.say(Fails, "accepts", "An unknown recipient is accepted, although Backstop was asked at %s.", sections(f.AskedAt))
		f.whyLetIn()
	case f.was(false):
		f.say(Fails, "accepts", "An unknown recipient is accepted, and Backstop was not asked%s.", f.where())
		f.whyNotAsked()
	default:
		f.say(Fails, "accepts", "An unknown recipient is accepted.")
		f.whyNotAsked()
		f.whyLetIn()
	}
}

func (f *finding) whyNotAsked() {
	f.closed()
	f.hint("The lines are not in %s's configuration, or it was not reloaded, or a later line takes them back (postconf -n, or -o in master.cf).", f.p.MTA)
	if f.p.MTA != "Postfix" {
		f.Hints[len(f.Hints)-1] = "The lines are not in " + f.p.MTA + "'s configuration, or it was not built anew and restarted."
	}
	if slices.Contains(f.Doors, "policy") || slices.Contains(f.Doors, "panel") { // the others hear of everybody
		f.hint("%s", f.oneOfTheirs())
	}
}

// oneOfTheirs is why a client passes before a policy service or an ACL asks.
func (f *finding) oneOfTheirs() string {
	return "This machine may be one of " + f.p.MTA + "'s own (mynetworks, a relay host), who passes before Backstop is asked: ask its public address, from another machine, or with --source."
}

func (f *finding) whyLetIn() {
	if slices.Contains(f.Doors, "policy") || slices.Contains(f.Doors, "panel") {
		f.hint("It may have been asked about other mail. %s", f.oneOfTheirs())
	}
	for _, b := range f.c.Blind {
		f.hint("Source %s says yes to anybody.", b)
	}
	f.hint("`backstop lookup %s%s` shows whether a source says that it exists.", f.Nobody, f.p.Options)
}

// others looks at what came behind a good answer.
func (f *finding) others() {
	a := &f.t.postmaster
	switch {
	case a.Class() == 2:
		return
	case a.Class() == 5:
		f.say(Fails, "refuses-postmaster", "Unknown recipients are refused, and so is postmaster@%s, who must exist (RFC 5321, 4.5.1): %s.", f.p.Domain, whole(a))
		f.hint("Is everybody refused? `backstop lookup postmaster@%s%s` shows who says so.", f.p.Domain, f.p.Options)
	case a.Class() == 4 && a.Code != 421:
		f.say(Fails, "defers-postmaster", "Unknown recipients are refused, but postmaster@%s is put off: %s.", f.p.Domain, whole(a))
		for _, t := range f.c.Trouble {
			f.hint("Source %s.", t)
		}
		f.hint("`backstop lookup postmaster@%s%s` shows each source's answer.", f.p.Domain, f.p.Options)
	default:
		f.hint("The postmaster could not be asked about any more%s.", f.lost())
	}
}

func (f *finding) lost() string {
	switch {
	case f.t.err != nil:
		return ": " + clean([]byte(f.t.err.Error()))
	case f.t.postmaster.Code != 0:
		return ": " + whole(&f.t.postmaster)
	case f.t.again.Code != 0:
		return ": " + whole(&f.t.again)
	}
	return ""
}
