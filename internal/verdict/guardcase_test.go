package verdict_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"backstop/internal/evidence"
	"backstop/internal/mail"
	"backstop/internal/verdict"
)

// parseGuard reads what is known of who sent a message and of what it answers:
//
//	claim: example.org (anybody may; or: by login)          after mail
//	spf: fail of sender.example (helo): detail              after mail
//	wants: spf refuse, dmarc refuse, bounces enforce, tags enforce, tags due    after rcpt or data
//	tag: forged for bob@example.org (srs)                   after rcpt
//	found: bounce by report (automatic, untagged, cannot tell, exempt by From:lists.example, proven by seal, handed over): detail   after data
//	bounce to: postmaster@example.org                       after data
//	dmarc: fail of sender.example, reject: detail           after data
func parseGuard(t *testing.T, c *evidence.Case, line string) bool {
	t.Helper()
	word, rest, _ := strings.Cut(line, ": ")
	arg, notes := cutNotes(rest)
	switch word {
	case "claim":
		c.Claim = evidence.Claim{Domain: arg, Refuse: !notes["anybody may"], Exempt: after(notes, "by ")}
		c.Claim.Vouched = c.Claim.Exempt != "" && !strings.HasPrefix(c.Claim.Exempt, "From:")
	case "spf":
		arg, detail, _ := strings.Cut(rest, ": ")
		arg, notes = cutNotes(arg)
		result, domain, _ := strings.Cut(arg, " of ")
		c.SPF = evidence.SPF{Result: resultNamed(t, result), Domain: domain, Helo: notes["helo"], Detail: detail}
	case "wants":
		for want := range strings.SplitSeq(rest, ", ") {
			parseWant(t, &c.Guards, want)
		}
	case "tag":
		standing, to, _ := strings.Cut(arg, " for ")
		c.Tag = evidence.Tag{Standing: named[evidence.TagStanding](t, standing, 7), SRS: notes["srs"], Address: maybe(t, to)}
	case "found":
		parseFound(t, &c.Bounce, rest)
	case "bounce to":
		c.Bounce.BounceTo = maybe(t, arg)
	case "dmarc":
		arg, detail, _ := strings.Cut(rest, ": ")
		arg, policy, _ := strings.Cut(arg, ", ")
		result, domain, _ := strings.Cut(arg, " of ")
		c.DMARC = evidence.DMARC{Result: resultNamed(t, result), Domain: domain, Detail: detail}
		if policy != "" {
			c.DMARC.Policy = named[evidence.PublishedPolicy](t, policy, 4)
		}
	default:
		return false
	}
	return true
}

func parseFound(t *testing.T, b *evidence.Bounce, s string) {
	t.Helper()
	head, rest, _ := strings.Cut(s, " (")
	inside, detail, _ := strings.Cut(rest, ")")
	_, notes := cutNotes("(" + inside + ")")
	b.Asked, b.Detail = true, strings.TrimPrefix(detail, ": ")
	b.Kind, b.Clue, _ = strings.Cut(head, " by ")
	b.Automatic, b.Untagged, b.CannotTell, b.Redirected = notes["automatic"], notes["untagged"], notes["cannot tell"], notes["handed over"]
	b.Exempt = after(notes, "exempt by ")
	if proof := after(notes, "proven by "); proof != "" {
		b.Proof = named[evidence.Proof](t, proof, 8)
	}
}

func parseWant(t *testing.T, g *evidence.Guards, want string) {
	t.Helper()
	word, value, _ := strings.Cut(want, " ")
	switch {
	case want == "tags due":
		g.TagsDue = true
	case word == "spf":
		g.SPF = named[evidence.Check](t, value, 3)
	case word == "dmarc":
		g.DMARC = named[evidence.Check](t, value, 3)
	case word == "bounces":
		g.Bounces = named[evidence.Judging](t, value, 3)
	case word == "tags":
		g.Tags = named[evidence.Tagging](t, value, 4)
	default:
		t.Fatalf("no domain wants %q", want)
	}
}

// named finds the value that has this name, among the first n.
func named[T interface {
	~uint8
	fmt.Stringer
}](t *testing.T, name string, n int) T {
	t.Helper()
	for i := range n {
		if T(i).String() == name {
			return T(i)
		}
	}
	t.Fatalf("nothing is called %q", name)
	return 0
}

func resultNamed(t *testing.T, name string) evidence.Result {
	t.Helper()
	return named[evidence.Result](t, name, evidence.NumResults)
}

// after is what stands behind prefix in one of the notes.
func after(notes map[string]bool, prefix string) string {
	for note := range notes {
		if rest, ok := strings.CutPrefix(note, prefix); ok {
			return rest
		}
	}
	return ""
}

func maybe(t *testing.T, s string) mail.Address {
	t.Helper()
	if s == "" {
		return mail.Address{}
	}
	a, err := mail.ParseAddress(s)
	fatal(t, err)
	return a
}

// variant is a case with one thing altered.
type variant struct {
	label string
	c     evidence.Case
}

// variants are the cases of a table: "every SPF result", "every DMARC result", "every tag", "every wish about bounces".
func variants(of string, c evidence.Case) (all []variant) {
	add := func(label string, change func(*evidence.Case)) {
		v := variant{label, c}
		change(&v.c)
		all = append(all, v)
	}
	switch of {
	case "SPF result":
		for r := range evidence.Result(evidence.NumResults) {
			add(r.String(), func(c *evidence.Case) { c.SPF.Result = r })
		}
	case "DMARC result":
		for r := range evidence.Result(evidence.NumResults) {
			for p := range evidence.PolicyReject + 1 {
				if p == evidence.PolicyReject || r == evidence.Fail { // no other result is told from one without a policy
					add(r.String()+", p="+p.String(), func(c *evidence.Case) { c.DMARC.Result, c.DMARC.Policy = r, p })
				}
			}
		}
	case "tag":
		for s := range evidence.TagForeign + 1 {
			add(s.String(), func(c *evidence.Case) { c.Tag.Standing = s })
		}
	case "wish about bounces":
		for j := range evidence.JudgeEnforce + 1 {
			for g := range evidence.TagEnforce + 1 {
				add("bounces "+j.String()+", tags "+g.String(), func(c *evidence.Case) { c.Guards.Bounces, c.Guards.Tags = j, g })
			}
		}
	case "wish about tags":
		for g := range evidence.TagEnforce + 1 {
			add("tags "+g.String(), func(c *evidence.Case) { c.Guards.Tags = g })
			add("tags "+g.String()+", due", func(c *evidence.Case) { c.Guards.Tags, c.Guards.TagsDue = g, true })
		}
	}
	return all
}

// tabulateVariants decides each of them; neighbours with the same result share a line.
func tabulateVariants(rules verdict.Rules, all []variant) string {
	var b strings.Builder
	var labels []string
	for i, v := range all {
		labels = append(labels, v.label)
		row := variantRow(rules, v.c)
		if i+1 < len(all) && variantRow(rules, all[i+1].c) == row {
			continue
		}
		fmt.Fprintf(&b, "%s\n  %s\n", strings.Join(labels, "; "), row)
		labels = nil
	}
	return b.String()
}

func variantRow(rules verdict.Rules, c evidence.Case) string {
	row := func(mode evidence.Mode) string {
		c.Mode = mode
		v := rules.Decide(c)
		if v.Ask != evidence.AskNothing {
			return "ask first: " + v.Ask.String()
		}
		s := v.Effect.String() + " by " + v.Rule.String()
		if v.Effect == verdict.Refuse || v.Effect == verdict.Defer {
			s += ": " + v.Reply.String()
		}
		if r, ok := v.Watched(); ok {
			s += " (noted: " + r.String() + ")"
		}
		return s
	}
	enforced, watched := row(evidence.Enforce), row(evidence.Watch)
	if enforced != watched {
		return enforced + " | watch: " + watched
	}
	return enforced
}

// TestTablesAreKnown: a table that is misspelt would be empty, and test nothing.
func TestTablesAreKnown(t *testing.T) {
	for _, of := range []string{"SPF result", "DMARC result", "tag", "wish about bounces", "wish about tags"} {
		all := variants(of, evidence.Case{})
		if len(all) < 7 || slices.ContainsFunc(all, func(v variant) bool { return v.label == "" }) {
			t.Errorf("%s: %d variants", of, len(all))
		}
	}
}
