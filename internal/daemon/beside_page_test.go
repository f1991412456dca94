package daemon_test

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"backstop/internal/verdict"
)

var updateBeside = flag.Bool("update-beside", false, "write the tables of docs/beside.md from the dialogues and differences of TestBeside")

// gatewayAlone are the rules that no dialogue has, and why.
var gatewayAlone = []struct{ rule, why string }{
	{"too-many-connections", "how many connections a client may have is the MTA's to say"},
	{"early-talker", "the greeting is the MTA's"},
	{"command-abuse", "the MTA counts errors and commands"},
	{"downstream-recipient", "nothing is delivered, so no server behind is asked to take anything"},
	{"downstream-message", "as above"},
	{"downstream-silent", "as above"},
	{"internal-error", "the same at all doors, and no dialogue can bring it about"},
}

const (
	besideFile = "../../docs/beside.md"
	besideMark = "-update-beside -->\n\n"
)

// TestBesidePage holds the page that operators read against the tables that TestBeside plays.
func TestBesidePage(t *testing.T) {
	b, err := os.ReadFile(besideFile)
	if err != nil {
		t.Fatal(err)
	}
	head, told, ok := strings.Cut(string(b), besideMark)
	if !ok {
		t.Fatalf("%s has no line that ends in %q", besideFile, besideMark)
	}
	want := besideTables(t)
	if *updateBeside {
		if err := os.WriteFile(besideFile, []byte(head+besideMark+want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if told != want {
		t.Errorf("%s is not what the tests hold: go test ./internal/daemon -run TestBesidePage -update-beside", besideFile)
	}
}

// TestBesideHasAllRules: a rule is in a dialogue, or there is a reason why it is not.
func TestBesideHasAllRules(t *testing.T) {
	var all strings.Builder
	for i := range plays {
		for _, turn := range plays[i].turns(t) {
			all.WriteString(turn.want + "\n")
		}
	}
	for _, rule := range verdict.RuleNames() {
		played := regexp.MustCompile(` ` + rule + `\b`).MatchString(all.String())
		alone := slices.ContainsFunc(gatewayAlone, func(g struct{ rule, why string }) bool { return g.rule == rule })
		if played == alone {
			t.Errorf("%s: in a dialogue: %v, excused: %v", rule, played, alone)
		}
	}
}

func besideTables(t *testing.T) string {
	var b strings.Builder
	b.WriteString("## What is said\n\n| dialogue | `[[domain]]` | said by the gateway | rule |\n| --- | --- | --- | --- |\n")
	for i := range plays {
		p := &plays[i]
		said, rules := p.told(t)
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", p.name, p.settings(), said, rules)
	}
	b.WriteString("\n## What differs\n\n")
	for _, w := range allWays[1:] {
		fmt.Fprintf(&b, "### %s\n\n| differs | because |\n| --- | --- |\n", w.name)
		for i := range differences {
			if d := &differences[i]; d.holds(w) {
				fmt.Fprintf(&b, "| %s | %s |\n", d.says, d.why)
			}
		}
		for i := range plays {
			if p := &plays[i]; !p.goes(w) {
				fmt.Fprintf(&b, "| %s: not tried | this server of ours lets nobody log in |\n", p.name)
			}
		}
		b.WriteByte('\n')
	}
	b.WriteString("## What becomes of a message\n\n| message | Postfix alone | Sendmail alone |\n| --- | --- | --- |\n")
	for _, s := range shapes {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", s.name, mended(s.alone, "postfix"), mended(s.alone, "sendmail"))
	}
	b.WriteString("\n## Rules of the gateway alone\n\n| rule | because |\n| --- | --- |\n")
	for _, g := range gatewayAlone {
		fmt.Fprintf(&b, "| `%s` | %s |\n", g.rule, g.why)
	}
	return b.String()
}

// mended is what an MTA by itself does to a message.
func mended(alone map[string]string, kind string) string {
	var all []string
	for _, leg := range []string{"", " in", " out"} {
		if what := alone[kind+leg]; what != "" {
			all = append(all, strings.TrimPrefix(leg+": "+what, ": "))
		}
	}
	if all == nil {
		return "keeps it"
	}
	return strings.TrimSpace(strings.Join(all, ";"))
}

// settings are the lines of the play's configuration that matter to a reader.
func (p *play) settings() string {
	var all []string
	for line := range strings.Lines(p.global + "\n" + p.domain) {
		if line = strings.TrimSpace(line); line != "" {
			all = append(all, "`"+strings.NewReplacer("{", "", "}", "").Replace(line)+"`")
		}
	}
	return strings.Join(all, ", ")
}

// told is what the gateway says against the dialogue or notes of it, and the rules; of one in which all is well, that it is accepted.
func (p *play) told(t *testing.T) (string, string) {
	var said, rules []string
	for _, turn := range p.turns(t) {
		reply, log, _ := strings.Cut(turn.want, " | ")
		verb, _, _ := strings.Cut(turn.say, " ")
		name := map[string]string{connect: "connection", ".": "message"}[verb]
		if name == "" {
			name = verb
		}
		words := strings.Fields(log)
		switch {
		case reply == closed || reply == "503" || len(words) < 3 && !strings.HasPrefix(reply, "5"):
			continue
		case len(words) == 3 && words[2] == "accepted":
			continue
		case len(words) == 5 && words[3] == "watched":
			said, rules = added(said, name+": accepted, noted"), added(rules, "`"+words[4]+"`")
			continue
		case len(words) >= 3:
			rules = added(rules, "`"+words[2]+"`")
		}
		if len(words) == 3 && words[1] == "redirect" {
			said = added(said, name+": accepted for that mailbox")
			continue
		}
		if len(reply) > 90 {
			reply = longLocal.ReplaceAllString(reply, "xxx…")
		}
		said = added(said, name+": `"+strings.ReplaceAll(reply, "|", `\|`)+"`")
	}
	if len(said) == 0 {
		return "accepted", "`accepted`"
	}
	return strings.Join(said, "<br>"), strings.Join(rules, ", ")
}

var longLocal = regexp.MustCompile(`x{20,}`)

// added appends what is not there yet.
func added(all []string, s string) []string {
	if slices.Contains(all, s) {
		return all
	}
	return append(all, s)
}
