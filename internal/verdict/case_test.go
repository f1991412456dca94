package verdict_test

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"backstop/internal/evidence"
	"backstop/internal/mail"
	"backstop/internal/verdict"
)

var update = flag.Bool("update", false, "write what the rules say now into the .case files")

// TestCases plays testdata/*.case: what is known, then "----", then what both modes make of it.
func TestCases(t *testing.T) {
	files, err := filepath.Glob("testdata/*.case")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	decided := map[string]bool{}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".case"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var out strings.Builder
			for i, one := range strings.Split(strings.TrimSuffix(string(data), "\n"), "\n\n") {
				in, want, _ := strings.Cut(one+"\n", "----\n")
				got := play(t, in, decided)
				if !*update && got != want {
					t.Errorf("%s:\n%s----\ngot:\n%swant:\n%s", file, in, got, want)
				}
				if i > 0 {
					out.WriteByte('\n')
				}
				out.WriteString(in + "----\n" + got)
			}
			if *update {
				if err := os.WriteFile(file, []byte(out.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
	for _, name := range verdict.RuleNames() {
		if name != verdict.InternalError.String() && !decided[name] {
			t.Errorf("no case is decided by %s", name)
		}
	}
}

// play decides one case in both modes, and says what came of it.
func play(t *testing.T, in string, decided map[string]bool) string {
	t.Helper()
	c, rules, table := parseCase(t, in)
	if table != nil {
		return table(rules, c)
	}
	c.Mode = evidence.Enforce
	enforced := show(rules, c, decided)
	c.Mode = evidence.Watch
	watched := show(rules, c, decided)
	if enforced == watched {
		return "enforce and watch: " + enforced
	}
	return "enforce: " + enforced + "watch: " + watched
}

func show(rules verdict.Rules, c evidence.Case, decided map[string]bool) string {
	v := rules.Decide(c)
	if v.Ask != evidence.AskNothing {
		return "ask first: " + v.Ask.String() + "\n"
	}
	decided[v.Rule.String()] = true
	reply := v.Reply.String()
	if v.Reply.IsZero() {
		reply = "in the door's own words"
	}
	if v.Downstream {
		reply += "  (the downstream's)"
	}
	var b strings.Builder
	b.WriteString(reply + "\n")
	for _, s := range v.Steps(c) {
		fmt.Fprintf(&b, " %-22s  %-8s %s\n", s.Rule, s.Effect, s.Finding)
	}
	return b.String()
}

// parseCase reads what is known: a line for each command, and indented what others said of it.
//
//	door explain (leaves)
//	client 192.0.2.10 (early, blocked, too many, abuse, not listed)
//	helo mx.sender.example
//	mail <ann@sender.example>
//	rcpt bob@example.org (not ours, nobody looked, no domain, other route, must accept, second)
//	  policy: refused by /etc/mail/access:7: 550 5.7.1 go away (after client or mail)
//	  directory: exists (list:people, 2s ago, stale, blind): detail
//	  downstream: refused at rcpt: 550 5.1.1 no such user (missing)
//	data (12345 octets, 3 received, through here before, too big, long head, bare CR, bare LF, NUL, long line)
//	  final: accepted at message: 250 2.0.0 queued
//	show downstream
//	every downstream answer | every final answer | another table of variants
//
// and the lines of parseGuard.
func parseCase(t *testing.T, in string) (evidence.Case, verdict.Rules, func(verdict.Rules, evidence.Case) string) {
	t.Helper()
	c := evidence.Case{Door: evidence.DoorSMTP}
	rules := verdict.Rules{MaxReceived: 50}
	var table func(verdict.Rules, evidence.Case) string
	for _, line := range strings.Split(in, "\n") {
		line = strings.TrimSpace(line)
		if parseGuard(t, &c, line) {
			continue
		}
		word, rest, _ := strings.Cut(line, " ")
		arg, notes := cutNotes(rest)
		switch word {
		case "", "#":
		case "door":
			c.Door = doorNamed(t, arg)
			c.Leaves = c.Door == evidence.DoorOutbound || notes["leaves"]
		case "client":
			c.Client.Addr = netip.MustParseAddr(arg)
			c.Early, c.Blocked, c.TooMany, c.Abuse = notes["early"], notes["blocked"], notes["too many"], notes["abuse"]
			c.NotListed = notes["not listed"]
		case "helo":
			c.Stage, c.Client.Helo = evidence.StageHelo, arg
		case "mail":
			c.Stage, c.FromGiven = evidence.StageMail, true
			from, _, err := mail.ParsePath(arg, true)
			fatal(t, err)
			c.From = mail.ReversePath{Address: from}
		case "policy:":
			p := &c.ClientPolicy
			if c.Stage == evidence.StageMail {
				p = &c.SenderPolicy
			}
			parsePolicy(t, p, rest)
		case "rcpt":
			parseRcpt(t, &c, arg, notes)
		case "directory:":
			parseDirectory(t, &c.Directory, rest)
		case "downstream:":
			c.Downstream = parseAnswer(t, rest)
		case "data":
			c.Stage = evidence.StageData
			parseMessage(&c.Message, notes)
		case "final:":
			c.Final = parseAnswer(t, rest)
		case "show":
			rules.ShowDownstream = true
		case "every":
			table = tableNamed(t, rest)
		default:
			t.Fatalf("a case does not know %q", line)
		}
	}
	return c, rules, table
}

func tableNamed(t *testing.T, name string) func(verdict.Rules, evidence.Case) string {
	t.Helper()
	var set func(*evidence.Case, evidence.Answer)
	switch {
	case strings.HasPrefix(name, "final"):
		set = func(c *evidence.Case, a evidence.Answer) { c.Final = a }
	case strings.HasPrefix(name, "downstream"):
		set = func(c *evidence.Case, a evidence.Answer) { c.Downstream = a }
	case len(variants(name, evidence.Case{})) > 0:
		return func(r verdict.Rules, c evidence.Case) string { return tabulateVariants(r, variants(name, c)) }
	default:
		t.Fatalf("no table is called %q", name)
	}
	return func(r verdict.Rules, c evidence.Case) string { return tabulate(t, r, c, set) }
}

// cutNotes takes "(one, two)" off the end of a line.
func cutNotes(s string) (string, map[string]bool) {
	notes := map[string]bool{}
	head, tail, ok := strings.Cut(s, "(")
	if !ok {
		return strings.TrimSpace(s), notes
	}
	for note := range strings.SplitSeq(strings.TrimSuffix(strings.TrimSpace(tail), ")"), ",") {
		notes[strings.TrimSpace(note)] = true
	}
	return strings.TrimSpace(head), notes
}

func doorNamed(t *testing.T, name string) evidence.Door {
	t.Helper()
	for d := range evidence.NumDoors {
		if evidence.Door(d).String() == name {
			return evidence.Door(d)
		}
	}
	t.Fatalf("no door is called %q", name)
	return 0
}

func parseRcpt(t *testing.T, c *evidence.Case, arg string, notes map[string]bool) {
	t.Helper()
	to, err := mail.ParseAddress(strings.Trim(arg, "<>"))
	fatal(t, err)
	c.Stage, c.To, c.NoDomain = evidence.StageRcpt, to, notes["no domain"]
	c.OurDomain, c.OtherRoute = evidence.Yes, evidence.No
	switch {
	case notes["not ours"], notes["no domain"]:
		c.OurDomain = evidence.No
	case notes["nobody looked"]:
		c.OurDomain = evidence.Unknown
	}
	if notes["other route"] {
		c.OtherRoute = evidence.Yes
	}
	if notes["second"] {
		c.RcptCount = 1
	}
	c.MustAccept = notes["must accept"]
}

// parsePolicy reads "refused by FILE:LINE: REJECT"; after the line may stand a reply.
func parsePolicy(t *testing.T, p *evidence.Policy, s string) {
	t.Helper()
	word, rest, _ := strings.Cut(s, " by ")
	place, value, _ := strings.Cut(rest, ": ")
	for i := range evidence.NumWords {
		if evidence.Word(i).String() == word {
			p.Word = evidence.Word(i)
		}
	}
	if p.Word == evidence.NothingSaid {
		t.Fatalf("no file says %q", word)
	}
	file, line, ok := strings.Cut(place, ":")
	p.File, p.Detail = file, value
	var err error
	if ok {
		p.Line, err = strconv.Atoi(line)
		fatal(t, err)
	}
	code, text, _ := strings.Cut(value, " ")
	if n, err := strconv.Atoi(code); err == nil {
		status, text, _ := strings.Cut(text, " ")
		st, err := mail.ParseStatus(status)
		fatal(t, err)
		p.Reply, err = mail.NewReply(n, st, text)
		fatal(t, err)
	}
}

func parseDirectory(t *testing.T, d *evidence.Directory, s string) {
	t.Helper()
	head, tail, _ := strings.Cut(s, "(")
	for i := range evidence.NumStandings {
		if evidence.Standing(i).String() == strings.TrimSpace(head) {
			d.Standing = evidence.Standing(i)
		}
	}
	if d.Standing == evidence.NotAsked {
		t.Fatalf("no standing is called %q", head)
	}
	notes, detail, _ := strings.Cut(tail, ")")
	d.Detail = strings.TrimPrefix(detail, ": ")
	for i, note := range strings.Split(notes, ", ") {
		age, isAge := strings.CutSuffix(note, " ago")
		switch {
		case i == 0:
			d.Source = note
		case note == "stale":
			d.Stale = true
		case note == "blind":
			d.Blind = true
		case isAge:
			var err error
			d.Age, err = time.ParseDuration(age)
			fatal(t, err)
		default:
			t.Fatalf("a directory does not know %q", note)
		}
	}
}

var outcomes = map[string]evidence.Outcome{
	"accepted": evidence.OutcomeAccepted, "refused": evidence.OutcomeRefused, "deferred": evidence.OutcomeDeferred,
	"unreachable": evidence.OutcomeUnreachable, "silent": evidence.OutcomeSilent, "unsupported": evidence.OutcomeUnsupported,
}

var extensions = map[string]evidence.Extension{
	"8BITMIME": evidence.Ext8BitMIME, "SMTPUTF8": evidence.ExtSMTPUTF8, "BINARYMIME": evidence.ExtBinaryMIME, "SIZE": evidence.ExtSize,
}

// parseAnswer reads "refused at rcpt: 550 5.1.1 no such user (missing)".
func parseAnswer(t *testing.T, s string) evidence.Answer {
	t.Helper()
	a := evidence.Answer{Host: "store.test"}
	s, a.NoSuchUser = strings.CutSuffix(s, " (missing)")
	head, text, _ := strings.Cut(s, ": ")
	outcome, step, _ := strings.Cut(head, " at ")
	a.Outcome = outcomes[outcome]
	for st := evidence.StepNone; st <= evidence.StepMessage; st++ {
		if st.String() == step {
			a.Step = st
		}
	}
	if a.Outcome == evidence.OutcomeNotAsked || a.Step == evidence.StepNone {
		t.Fatalf("no answer of a downstream: %q", s)
	}
	a.Unsupported = extensions[text]
	word, rest, _ := strings.Cut(text, " ")
	if code, err := strconv.Atoi(word); err == nil {
		a.Code, text = code, rest
		word, rest, _ = strings.Cut(text, " ")
		if a.Status, err = mail.ParseStatus(word); err == nil {
			text = rest
		}
	}
	a.Text = text
	return a
}

func parseMessage(m *evidence.Message, notes map[string]bool) {
	m.Read = true
	m.TooBig, m.OurName, m.LongHead = notes["too big"], notes["through here before"], notes["long head"]
	for name, f := range map[string]evidence.Fault{
		"bare CR": evidence.FaultBareCR, "bare LF": evidence.FaultBareLF, "NUL": evidence.FaultNUL, "long line": evidence.FaultLongLine,
	} {
		if notes[name] {
			m.Fault = f
		}
	}
	for note := range notes {
		if n, ok := strings.CutSuffix(note, " octets"); ok {
			m.Size, _ = strconv.ParseInt(n, 10, 64)
		}
		if n, ok := strings.CutSuffix(note, " received"); ok {
			m.Received, _ = strconv.Atoi(n)
		}
	}
}

func fatal(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// answers are what a downstream may say at a step, the step left open.
var answers = []string{
	"accepted: 250 2.0.0 Ok",
	"refused: 500 5.5.2 what", "refused: 501 5.1.3 syntax", "refused: 502 5.5.1 what", "refused: 503 5.5.1 order", "refused: 504 5.5.4 what",
	"refused: 521 no mail here", "refused: 524 5.2.4 no", "refused: 530 5.7.0 log in", "refused: 535 5.7.8 wrong password",
	"refused: 550 no", "refused: 550 5.1.1 no (missing)", "refused: 550 5.7.1 policy", "refused: 550 4.7.1 it disagrees with itself",
	"refused: 552 5.2.2 full", "refused: 554 5.0.0 no", "refused: 599 odd", "refused: 600 no code", "refused: 250 no refusal", "refused: no code at all",
	"deferred: 421 4.3.2 going down", "deferred: 450 later", "deferred: 450 4.2.0 greylisted", "deferred: 451 5.7.1 it disagrees with itself",
	"deferred: 452 4.5.3 too many", "deferred: 550 5.1.1 no deferral (missing)", "deferred: no code at all",
	"unreachable: connection refused", "silent: no answer",
	"unsupported: 8BITMIME", "unsupported: SMTPUTF8", "unsupported: BINARYMIME", "unsupported: SIZE", "unsupported: nobody said what",
}

// tabulate decides the case with every answer at every step; steps with the same result share a line.
func tabulate(t *testing.T, rules verdict.Rules, c evidence.Case, set func(*evidence.Case, evidence.Answer)) string {
	t.Helper()
	var b strings.Builder
	for _, text := range answers {
		outcome, rest, _ := strings.Cut(text, ": ")
		b.WriteString(text + "\n")
		var from, to evidence.Step
		last := ""
		line := func() {
			if last == "" {
				return
			}
			steps := from.String()
			if from != to {
				steps += " to " + to.String()
			}
			fmt.Fprintf(&b, " %-18s %s\n", steps, last)
		}
		for step := evidence.StepConnect; step <= evidence.StepMessage; step++ {
			a := parseAnswer(t, outcome+" at "+step.String()+": "+rest)
			one := c
			set(&one, a)
			now := tableRow(rules, one)
			if now != last {
				line()
				from, last = step, now
			}
			to = step
		}
		line()
	}
	return b.String()
}

// tableRow is a verdict on a line, and how watch mode differs.
func tableRow(rules verdict.Rules, c evidence.Case) string {
	row := func(mode evidence.Mode) string {
		c.Mode = mode
		v := rules.Decide(c)
		if v.Ask != evidence.AskNothing {
			return "ask first: " + v.Ask.String()
		}
		return fmt.Sprintf("%-22s %s", v.Rule, v.Reply)
	}
	enforced, watched := row(evidence.Enforce), row(evidence.Watch)
	if enforced != watched {
		return enforced + " | watch: " + watched
	}
	return enforced
}
