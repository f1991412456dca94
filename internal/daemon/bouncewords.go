package daemon

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"backstop/internal/tally"
)

// mostSaid is how many servers and senders are spoken of; the tables have all.
const mostSaid = 5

// kindWords are the kinds of internal/bounce, for people: one of them, and several.
var kindWords = map[string][2]string{
	"ordinary": {"letter", "letters"}, "bounce": {"bounce", "bounces"}, "receipt": {"receipt", "receipts"},
	"auto-reply": {"automatic reply", "automatic replies"}, "feedback": {"feedback report", "feedback reports"},
	"challenge": {"challenge", "challenges"}, "virus-notice": {"virus notice", "virus notices"},
}

// several is a number with its noun.
func several(n uint64, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}

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

func (r *BounceReport) time() string { return several(uint64(r.Days), "day", "days") }

// wordsIn says what enforcing would have meant.
func (r *BounceReport) wordsIn() []string {
	if len(r.In.Rows) == 0 {
		return []string{"no bounce and no other automatic mail came in within " + r.time()}
	}
	likely := map[string]uint64{}
	var refused, unknown uint64
	for i := range r.In.Rows {
		row := &r.In.Rows[i]
		refused += row.Refused
		unknown += row.Unknown
		if row.Unproven > 0 && slices.Contains(likelyKinds, row.Kind) {
			likely[row.Kind] += row.Unproven
		}
	}
	said := fmt.Sprintf("enforcing would have refused %s in %s", several(r.In.WouldRefuse, "message", "messages"), r.time())
	switch {
	case r.In.WouldRefuse == 0 && refused == 0:
		said = "everything was proven or exempt: enforcing would have refused nothing in " + r.time()
	case r.In.WouldRefuse == 0:
		said = fmt.Sprintf("%s refused in %s, and nothing passed unproven", several(refused, "message was", "messages were"), r.time())
	case len(likely) > 0:
		said += "; among them are " + kindsInWords(likely) + ", which people may miss"
	}
	words := []string{said}
	if who := r.likelySenders(); who != "" {
		words = append(words, "these look legitimate, by the domain in their From: "+who+"; name in bounces_exempt whom you know")
	}
	return append(words, unknownWords(unknown)...)
}

// unknownWords: what could not be judged says something about the gateway.
func unknownWords(n uint64) []string {
	if n == 0 {
		return nil
	}
	return []string{several(n, "message", "messages") + " could not be judged, because the record of seen mail could not be read: the log says why"}
}

// likelySenders names the domains of which some unproven mail looks legitimate.
func (r *BounceReport) likelySenders() string {
	var who []string
	more := 0
	for _, s := range r.In.Senders {
		switch {
		case !s.Likely || s.Sender == "" || s.Sender == tally.Others:
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
func (r *BounceReport) wordsOut() []string {
	if len(r.Out.Rows) == 0 {
		return []string{"no server of yours sent automatic mail through Backstop within " + r.time()}
	}
	var words []string
	var unknown, proven uint64
	more := 0
	for i := range r.Out.Rows {
		row := &r.Out.Rows[i]
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
	return append(words, unknownWords(unknown)...)
}

func (r *BounceOutRow) words() string {
	who := r.Server
	if who == tally.Others {
		who = "other servers"
	}
	if r.Domain != "" {
		who += " (" + r.Domain + ")"
	}
	said := fmt.Sprintf("%s sent %s to people who never wrote, as far as anything proves%s: ", who, kindsInWords(r.Kinds), r.fate())
	if r.Kinds["bounce"] > 0 {
		return said + "it accepts unknown users. Make it refuse them at RCPT, or let Backstop ask it"
	}
	return said + "switch such answers off there, at least to mail from outside"
}

// fate is what became of it.
func (r *BounceOutRow) fate() string {
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
