package verify

import (
	"regexp"
	"slices"
	"strings"

	"backstop/internal/smtp"
)

// sections are doors as the configuration has them: "[milter] and [policy]".
func sections(doors []string) string {
	var b strings.Builder
	for i, d := range doors {
		switch {
		case i > 0 && i == len(doors)-1:
			b.WriteString(" and ")
		case i > 0:
			b.WriteString(", ")
		}
		b.WriteString("[" + d + "]")
	}
	return b.String()
}

// where goes on after "Backstop was not asked".
func (f *finding) where() string {
	if len(f.Elsewhere) == 0 {
		return ""
	}
	return " at " + sections(f.Doors) + ", only at " + sections(f.Elsewhere)
}

func isMap(door string) bool { return door == "socketmap" || door == "tcp_table" }

// ourWords is a refusal of the unknown recipient by Backstop, at whichever door, or by another Backstop.
func (f *finding) ourWords(a *smtp.Response) {
	switch {
	case f.Asked == nil:
		f.say(Works, "refuses", "It works: an unknown recipient is refused at RCPT, in the words of Backstop.")
	case *f.Asked:
		f.say(Works, "refuses", "It works: an unknown recipient is refused at RCPT, in the words of Backstop, which was asked at %s.", sections(f.AskedAt))
		if len(f.Elsewhere) > 0 {
			f.hint("It was asked at %s too, and may have refused there.", sections(f.Elsewhere))
		}
	case slices.Equal(f.Elsewhere, []string{"smtp"}):
		f.say(Fails, "gateway", "It is Backstop itself, as a gateway, that answers at %s, and not %s.", f.Server, f.p.MTA)
		f.hint("Name the address and port of %s; with [smtp] listen = [] Backstop leaves port 25 to it.", f.p.MTA)
	case len(f.Elsewhere) > 0:
		f.say(Fails, "other-door", "An unknown recipient is refused at RCPT by Backstop, but it was not asked%s.", f.where())
		f.whyNotAsked()
	default:
		f.say(Unknown, "other-daemon", "An unknown recipient is refused in the words of a Backstop, but the one here was not asked: %s.", whole(a))
		f.hint("Another one answers there. Run this on its machine, or name its configuration with --config.")
	}
}

// ownWords is a refusal of the unknown recipient that is not Backstop's reply. By a map it never is.
func (f *finding) ownWords(a *smtp.Response) {
	switch {
	case f.p.MTA == "Postfix" && slices.ContainsFunc(f.AskedAt, isMap):
		f.say(Works, "refuses", "It works: Backstop's map was asked, and %s refused an unknown recipient at RCPT in its own words.", f.p.MTA)
		f.otherDomains()
	case f.Asked == nil && f.p.MTA == "Postfix" && slices.ContainsFunc(f.Doors, isMap):
		f.say(Works, "refuses", "It works, as far as replies tell: an unknown recipient is refused at RCPT.")
		f.hint("%s says the same for every list, so it cannot be seen here that the list is Backstop's.", f.p.MTA)
		f.otherDomains()
	case f.was(true):
		f.say(Works, "own-list-first", "It works, beside a list of %s's own: that refused the unknown recipient (%s), and Backstop was asked at %s.", f.p.MTA, whole(a), sections(f.AskedAt))
		f.listStays()
	case f.Asked == nil:
		f.say(Unknown, "own-list", "An unknown recipient is refused, but in the words of %s itself: %s.", f.p.MTA, whole(a))
		f.hint("Its own list comes before Backstop for this domain (%s), so replies alone do not tell: run this where the daemon runs, or try another with --domain.", ownLists[f.p.MTA])
		f.listStays()
	case f.t.postmaster.Class() != 2 && !slices.ContainsFunc(f.Doors, isMap):
		f.say(Unknown, "own-list", "%s itself refused the unknown recipient, and did not take the postmaster, so there was nobody to ask Backstop about: %s.", f.p.MTA, whole(a))
		f.hint("postmaster@%s must exist (RFC 5321, 4.5.1): add him to its list (%s), or try another with --domain.", f.p.Domain, ownLists[f.p.MTA])
	default:
		f.say(Fails, "own-list", "An unknown recipient is refused, but by %s itself, and Backstop was not asked%s: %s.", f.p.MTA, f.where(), whole(a))
		f.whyNotAsked()
		f.hint("The list is one of its own (%s). It may stay; try another with --domain to see Backstop refuse.", ownLists[f.p.MTA])
	}
}

// otherDomains is what a map in relay_recipient_maps does besides.
func (f *finding) otherDomains() {
	f.hint("In relay_recipient_maps it refuses all users of every other domain in relay_domains for good, unless a table behind it has them.")
}

// listStays: to take a list out is right only when Backstop knows as much.
func (f *finding) listStays() {
	f.hint("The list (%s) may stay. Take it out only when Backstop's own sources know all users (`backstop lookup %s%s` must say missing): or unknown ones are accepted, and that is backscatter.", ownLists[f.p.MTA], f.Nobody, f.p.Options)
}

// What Postfix says where one kind of door gave no answer.
var (
	goneMilter = regexp.MustCompile(`(?i)service unavailable - try again later`)
	gonePolicy = regexp.MustCompile(`(?i)server configuration (problem|error)`)
	goneMap    = regexp.MustCompile(`(?i)temporary lookup failure`)
)

// tried says whether the door of which the MTA says that it gave no answer was asked all the same.
func (f *finding) tried(a *smtp.Response) bool {
	text := a.Text()
	switch {
	case f.p.MTA != "Postfix":
		return f.was(true)
	case goneMilter.MatchString(text):
		return slices.Contains(f.AskedAt, "milter")
	case gonePolicy.MatchString(text):
		return slices.Contains(f.AskedAt, "policy")
	case goneMap.MatchString(text):
		return slices.ContainsFunc(f.AskedAt, isMap)
	}
	return f.was(true)
}

// away is an MTA that gets no answer.
func (f *finding) away(a *smtp.Response) {
	f.say(Fails, "away", "%s gets no answer from Backstop: %s.", f.p.MTA, whole(a))
	if f.Asked == nil {
		f.hint("Is `backstop serve` running? (%s)", f.Daemon)
	} else if len(f.c.Closed) == 0 {
		f.hint("The daemon is running and was not asked%s: compare the address in the pasted lines with `backstop status%s`.", f.where(), f.p.Options)
	}
	f.closed()
	if len(f.p.Unix) > 0 {
		f.hint("The unix socket of %s must be open to the user of %s, and lie inside its chroot.", sections(f.p.Unix), f.p.MTA)
	}
	f.hint("The log of %s has the error.", f.p.MTA)
}

// greets finds the product in a greeting, behind the name of the host.
var greets = regexp.MustCompile(`ESMTP.*\b(Postfix|Sendmail|Exim)\b`)

// greeting tells where another product answers than the one that was named.
func (f *finding) greeting() {
	if len(f.t.steps) == 0 || f.t.steps[0].Sent != "" {
		return
	}
	found := greets.FindStringSubmatch(f.t.steps[0].Reply)
	if found == nil || found[1] == f.p.MTA {
		return
	}
	if f.Result == Works {
		f.say(Unknown, "other-product", "%s", f.Says)
	}
	f.Says += " But " + f.Server + " greets as " + found[1] + ", and not as " + f.p.MTA + "."
	f.Hints = append([]string{"Is it the right server? For this one it is `backstop setup " + strings.ToLower(found[1]) + " --verify …`."}, f.Hints...)
}
