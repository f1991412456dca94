package scan

import (
	"errors"
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
	putOff             string // what it had said
	retried            bool   // the pause of a greylist has been kept
	relay              *asked
	hub                []asked // the same on port 2525
	hubAsked           bool
	sends              bool
	sent               sent
	notices            []Notice
	cert               *Certificate
	spent              bool // a question was left out, since there had been enough connections
}

// extra are the questions besides those about the domain's recipients on the first port.
func (f *facts) extra() []asked {
	var all []asked
	if f.relay != nil {
		all = append(all, *f.relay)
	}
	return append(all, f.hub...)
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
}

// telling are the answers that are about recipients: whatever else refuses them refuses the postmaster as well.
func (g *group) telling() (list []asked) {
	for _, u := range g.unknown {
		if u.result == accepted || u.result == missing || u.result == denied && g.postmaster.result == accepted {
			list = append(list, u)
		}
	}
	return list
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
// servers do with bounces of mail that they never sent), what was said to the other counts.
func (f *facts) telling(list []asked) []asked {
	null, other := f.groups(list)
	forNull, forOther := null.telling(), other.telling()
	switch {
	case null.refusesAll() && len(forOther) > 0 && !other.refusesAll():
		return forOther
	case other.refusesAll() && len(forNull) > 0 && !null.refusesAll():
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
		switch f.asked[i].result {
		case deferred:
			return deferred
		case unasked:
		default:
			seen = denied
		}
	}
	return seen
}

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
		if a.result == deferred {
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
	case t.taken() && !t.lost:
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
