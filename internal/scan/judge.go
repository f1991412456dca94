package scan

import (
	"errors"
	"slices"
	"strings"
	"time"

	"backstop/internal/mail"
	"backstop/internal/smtp"
)

// facts are what was seen. Everything that is said is made of them alone.
type facts struct {
	domain, port, host string
	lookup             string   // how the server was found, where that is worth a word
	mx                 bool     // by an MX record
	before, others     []string // MX hosts that could not be reached, and those not asked
	trouble            []string // why nobody could be reached
	found              bool     // there was a connection
	inside             bool     // the server may take us for one of its own network
	client             string   // from which address we asked
	banner             string
	ehlo               []string
	said               string // all answers behind that of EHLO
	caps               smtp.Capabilities
	greeted            time.Duration // until the banner was there
	broke              error         // of the first conversation that broke; nil: none did
	greyAtBanner       bool          // it let us in at the second attempt only
	asked              []asked
	putOff             string  // what it had said
	retried            bool    // the pause of a greylist has been kept
	relay              *asked  // what was said last of somebody elsewhere; nil: nothing
	wantsTLS           string  // the refusal of MAIL until there is TLS
	hub                []asked // the same on port 2525
	hubAsked           bool
	sends              bool
	sent               sent
	notices            []Notice
	dropped            int // notices of others that were not kept
	visits             int // connections to the return path
	returnPath         string
	cert               *Certificate
	interrupted        bool
	spent              bool // a question was left out, since there had been enough connections
}

// latest are the questions with the last word on each recipient.
func (f *facts) latest() []asked {
	var all []asked
	for _, a := range f.asked {
		if a.retried {
			for i := range all {
				if all[i].to.Key() == a.to.Key() && all[i].null == a.null {
					all[i] = a
				}
			}
			continue
		}
		all = append(all, a)
	}
	return all
}

// group is what was said to one kind of sender.
type group struct {
	unknown    []asked // with an answer
	postmaster asked
	relay      *asked // as in facts
	client     string
}

// telling are the answers that are about recipients. Whatever else refuses them refuses the postmaster as well, or says
// that it is about us: many servers let the postmaster in before they look at a blocklist.
func (g *group) telling() (list []asked) {
	for _, u := range g.unknown {
		if u.result == accepted || u.result == missing || u.result == denied && g.postmaster.result == accepted && !u.aboutUs(g.relay, g.client) {
			list = append(list, u)
		}
	}
	return list
}

// putOff says whether anybody was.
func (g *group) putOff() bool {
	return g.postmaster.result == deferred || slices.ContainsFunc(g.unknown, func(a asked) bool { return a.result == deferred })
}

// refusesAll says that everybody was refused, for good, and the postmaster, too.
func (g *group) refusesAll() bool {
	if p := g.postmaster.result; p != denied && p != barred && p != missing {
		return false
	}
	for i := range g.unknown {
		if r := g.unknown[i].result; !r.refused() && r != barred {
			return false
		}
	}
	return len(g.unknown) > 0
}

// groups are the answers to the null sender, and to the other.
func (f *facts) groups(list []asked) (null, other group) {
	null.relay, null.client, other.relay, other.client = f.relay, f.client, f.relay, f.client
	for _, a := range list {
		g := &other
		if a.null {
			g = &null
		}
		switch {
		case a.result == unasked, a.result == tooMany:
		case a.shape == ShapePostmaster:
			g.postmaster = a
		case a.shape.unknown():
			g.unknown = append(g.unknown, a)
		}
	}
	return null, other
}

// telling are the answers that tell something about unknown recipients. Where one kind of sender is refused as such (as
// servers do with bounces of mail that they never sent), what was said to the other counts, also if that is still to come.
func (f *facts) telling(list []asked) []asked {
	null, other := f.groups(list)
	forNull, forOther := null.telling(), other.telling()
	switch {
	case null.refusesAll() && !other.refusesAll() && (len(forOther) > 0 || other.putOff()):
		return forOther
	case other.refusesAll() && !null.refusesAll() && (len(forNull) > 0 || null.putOff()):
		return forNull
	}
	return append(forNull, forOther...)
}

// count says how often unknown recipients were accepted and refused.
func count(list []asked) (yes, no int) {
	for i := range list {
		switch r := list[i].result; {
		case r == accepted:
			yes++
		case r.refused():
			no++
		}
	}
	return yes, no
}

// sofar is what the first round comes to: deferred, if nobody was decided on and somebody was put off;
// unasked, if nothing was answered.
func (f *facts) sofar() result {
	if yes, no := count(f.telling(f.asked)); yes+no > 0 {
		return accepted
	}
	seen := unasked
	for i := range f.asked {
		switch a := &f.asked[i]; {
		case a.shape == ShapeForeign, a.result == unasked:
		case a.result == deferred && !has(strings.ToLower(a.answer().Text()), relayDenied...):
			return deferred
		default: // or it is not the domain's server, and says so by 454 (Postfix: defer_unauth_destination)
			seen = denied
		}
	}
	return seen
}

// relayPutOff says that the question whether it relays got no answer yet, and may get one later: a goodbye is none.
func (f *facts) relayPutOff() bool {
	return f.relay != nil && f.relay.result == deferred && f.relay.answer().Code != 421 && !f.relayRefused()
}

// relayRefused says that a stranger's mail for others is not taken.
func (f *facts) relayRefused() bool {
	return f.relay != nil && (f.relay.result.refused() || f.relay.result == deferred && has(strings.ToLower(f.relay.answer().Text()), relayDenied...))
}

// add keeps a question.
func (f *facts) add(a asked) {
	f.asked = append(f.asked, a)
	if a.shape == ShapeForeign && (f.relay == nil || a.result != unasked) {
		f.relay = &a
	}
}

// maySend says that it is known not to relay, or that it may take us for one of its own: through a relay nothing is ever
// sent.
func (f *facts) maySend() bool { return f.inside || f.relayRefused() }

// openRelay says that a stranger's mail for others is taken.
func (f *facts) openRelay() bool {
	return f.relay != nil && f.relay.result == accepted && !f.inside
}

// judge is the verdict.
func (f *facts) judge() (class, onRetry Class, h Health) {
	if f.openRelay() {
		return OpenRelay, "", Sick
	}
	class, h = f.decided()
	if f.interrupted && h == Healthy {
		h = Unclear // not everything was asked
	}
	if f.interrupted && class == RefusesProbe && f.stillDeferred() {
		return Greylists, "", Unclear
	}
	grey := f.greyAtBanner || f.retried
	switch {
	case !grey || class == Unreachable:
		return class, "", h
	case class == RefusesProbe && f.stillDeferred():
		return Greylists, "", Unclear
	case class == RefusesProbe:
		return class, "", h
	}
	return Greylists, class, h
}

// stillDeferred says that the retry was put off as well, or did not come about.
func (f *facts) stillDeferred() bool {
	for _, a := range f.latest() {
		if a.result == deferred && a.shape != ShapeForeign {
			return true
		}
	}
	return false
}

// decided is the verdict without greylisting.
func (f *facts) decided() (Class, Health) {
	yes, no := count(f.telling(f.latest()))
	switch {
	case yes > 0:
		return f.accepting()
	case no > 0:
		return RefusesAtRcpt, Healthy
	case !f.found:
		return Unreachable, Unclear
	}
	var refused *smtp.RefusedError
	var broke *smtp.StepError
	switch {
	case errors.As(f.broke, &refused):
		return RefusesProbe, Unclear
	case errors.As(f.broke, &broke) && broke.Step == smtp.StepBanner:
		return Unreachable, Unclear
	}
	return RefusesProbe, Unclear
}

// accepting is the verdict on a server that takes mail for people who do not exist.
func (f *facts) accepting() (Class, Health) {
	t := &f.sent
	switch {
	case t.bounce != nil:
		return AcceptsThenBounces, Sick
	case t.taken() && !t.lost && !f.interrupted:
		return CatchAll, Sick
	case t.answer.Class() == 5 && t.unclear():
		return RefusesAfterData, Unclear
	case t.answer.Class() == 5:
		return RefusesAfterData, Sick
	}
	return AcceptsUnknown, Sick
}

// acceptedUnknown is an unknown recipient that was accepted; one that an ordinary sender may write to first.
func (f *facts) acceptedUnknown() (to mail.Address, ok bool) {
	for _, a := range f.telling(f.latest()) {
		if a.result == accepted && (!ok || !a.null) {
			to, ok = a.to, true
			if !a.null {
				break
			}
		}
	}
	return to, ok
}
