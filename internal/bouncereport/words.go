package bouncereport

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"backstop/internal/bounce"
	"backstop/internal/tally"
)

// mostSaid is how many servers and senders are spoken of; the tables have all.
const mostSaid = 5

// kindWords are the kinds in sentences: one of them, and several. They are those of the tables, so that the one is
// found in the other.
var kindWords = map[string][2]string{
	bounce.Ordinary.String():    {"ordinary message", "ordinary messages"},
	bounce.Bounce.String():      {"bounce", "bounces"},
	bounce.Receipt.String():     {"receipt", "receipts"},
	bounce.AutoReply.String():   {"auto-reply", "auto-replies"},
	bounce.Feedback.String():    {"feedback report", "feedback reports"},
	bounce.Challenge.String():   {"challenge", "challenges"},
	bounce.VirusNotice.String(): {"virus-notice", "virus-notices"},
}

// several is a number with its noun.
func several(n uint64, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}

func messages(n uint64) string { return several(n, "message", "messages") }

// kindsInWords lists how many of each kind, the most frequent first.
func kindsInWords(kinds map[string]uint64) string {
	names := slices.SortedFunc(maps.Keys(kinds), func(a, b string) int {
		return cmp.Or(cmp.Compare(kinds[b], kinds[a]), cmp.Compare(a, b))
	})
	var parts []string
	for _, k := range names {
		w, ok := kindWords[k]
		if !ok {
			w = [2]string{"other message", "other messages"}
		}
		parts = append(parts, several(kinds[k], w[0], w[1]))
	}
	if n := len(parts); n > 1 {
		return strings.Join(parts[:n-1], ", ") + " and " + parts[n-1]
	}
	return strings.Join(parts, "")
}

func (r *Report) time() string { return several(uint64(r.Days), "day", "days") }

// wordsIn says what enforcing would have meant. missed is what came in unproven and looks legitimate, by kind.
func (r *Report) wordsIn(missed map[string]uint64) []string {
	if len(r.In.Rows) == 0 {
		return []string{"no bounce and no other automatic mail came in within " + r.time()}
	}
	var sum InRow
	for i := range r.In.Rows {
		row := &r.In.Rows[i]
		sum.Proven += row.Proven
		sum.Exempt += row.Exempt
		sum.Refused += row.Refused
		sum.Stopped += row.Stopped
		sum.Unknown += row.Unknown
	}
	var words []string
	if said := r.verdictIn(&sum, missed); said != "" {
		words = append(words, said)
	}
	if who := r.likelySenders(); who != "" {
		words = append(words, "these look legitimate, by the domain in their From: "+who+"; name in bounces_exempt whom you know")
	}
	return append(words, otherWords(sum.Stopped, sum.Unknown)...)
}

// verdictIn is the first sentence; "" where the others say all.
func (r *Report) verdictIn(sum *InRow, missed map[string]uint64) string {
	said := ""
	switch would := r.In.WouldRefuse; {
	case would == 0 && sum.Refused > 0:
		return fmt.Sprintf("%s refused in %s, and nothing passed unproven", several(sum.Refused, "message was", "messages were"), r.time())
	case would == 0 && sum.Stopped+sum.Unknown == 0:
		return "everything was proven or exempt: enforcing would have refused nothing in " + r.time()
	case would == 0 && sum.Proven+sum.Exempt > 0:
		return fmt.Sprintf("%s proven or exempt in %s", several(sum.Proven+sum.Exempt, "message was", "messages were"), r.time())
	case would == 0:
		return ""
	case sum.Refused > 0:
		said = fmt.Sprintf("%s refused in %s, and enforcing everywhere and all the time would have refused %d more", several(sum.Refused, "message was", "messages were"), r.time(), would)
	default:
		said = fmt.Sprintf("enforcing would have refused %s in %s", messages(would), r.time())
	}
	if len(missed) > 0 {
		said += "; among them: " + kindsInWords(missed) + ", which people may miss"
	}
	return said
}

// otherWords are about what was neither proven nor let pass nor refused for want of a proof. What could not be
// judged says something about the gateway.
func otherWords(stopped, unknown uint64) []string {
	var words []string
	if stopped > 0 {
		words = append(words, messages(stopped)+" without a proof met another rule, or a server that refused")
	}
	if unknown > 0 {
		words = append(words, messages(unknown)+" could not be judged, because the record of seen mail could not be read: the log says why")
	}
	return words
}

// likelySenders names the domains of which some unproven mail looks legitimate.
func (r *Report) likelySenders() string {
	var who []string
	more := 0
	for _, s := range r.In.Senders {
		switch {
		case !s.Likely || s.Sender == tally.Others:
		case len(who) == mostSaid:
			more++
		default:
			who = append(who, fmt.Sprintf("%s (%s)", s.Sender, kindsInWords(s.Kinds)))
		}
	}
	if more > 0 {
		who = append(who, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(who, ", ")
}

// wordsOut says which servers write to people who never wrote, and what to do about each.
func (r *Report) wordsOut() []string {
	if len(r.Out.Rows) == 0 {
		return []string{"no server of yours sent automatic mail through Backstop within " + r.time()}
	}
	var words []string
	var stopped, unknown, proven uint64
	more := 0
	for i := range r.Out.Rows {
		row := &r.Out.Rows[i]
		stopped += row.Stopped
		unknown += row.Unknown
		proven += row.Proven
		switch {
		case row.astray() == 0:
		case len(words) == mostSaid:
			more++
		default:
			words = append(words, row.words())
		}
	}
	switch {
	case more > 0:
		words = append(words, several(uint64(more), "more server", "more servers")+" did so: see the table")
	case len(words) == 0 && proven > 0:
		words = append(words, "all that left was written to people who had written")
	}
	return append(words, otherWords(stopped, unknown)...)
}

func (r *OutRow) words() string {
	who := r.Server
	if who == tally.Others {
		who = "other servers"
	}
	if r.Domain != "" {
		who += " (" + r.Domain + ")"
	}
	return fmt.Sprintf("%s sent %s to people who never wrote, as far as anything proves%s: %s", who, kindsInWords(r.Kinds), r.fate(), r.advice())
}

// advice says why a server does so, for each kind that it sent, and what to do.
func (r *OutRow) advice() string {
	kinds := func(of ...bounce.Kind) (n uint64) {
		for _, k := range of {
			n += r.Kinds[k.String()]
		}
		return n
	}
	bounces := kinds(bounce.Bounce)
	replies := kinds(bounce.AutoReply, bounce.Challenge, bounce.VirusNotice)
	var all []string
	if bounces > 0 {
		all = append(all, "it accepts unknown users (make it refuse them at RCPT, or let Backstop ask it), or its users forward to where mail is refused")
	}
	if replies > 0 {
		all = append(all, "its programs answer forged mail (switch such answers off there, at least to mail from outside)")
	}
	if r.astray() > bounces+replies {
		all = append(all, "it sends other mail with the null sender, which is for bounces alone (users who forward everything do so with what came in that way)")
	}
	return strings.Join(all, "; ")
}

// fate is what became of it.
func (r *OutRow) fate() string {
	var parts []string
	for _, p := range []struct {
		n    uint64
		word string
	}{{r.Unproven, "left"}, {r.Redirected, "went to bounce_to"}, {r.Refused, "refused"}} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.word))
		}
	}
	return " (" + strings.Join(parts, ", ") + ")"
}
