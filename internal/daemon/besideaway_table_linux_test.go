package daemon_test

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

var updateAway = flag.Bool("update-away", false, "write docs/beside-away.md as the MTAs answer now")

// awayCells are what an MTA answers in one situation.
type awayCells struct {
	Fresh  string // a connection that begins in it
	Open   string // one that was open before, between two messages
	Begun  string // one with a recipient accepted before
	Middle string // one in the middle of a message
	After  string // the open one, when Backstop is back
}

// awayTable is what all of them answer.
type awayTable struct {
	mu   sync.Mutex
	rows map[string]map[string]awayCells // by situation and way
}

func (a *awayTable) add(situation, way string, c awayCells) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.rows == nil {
		a.rows = map[string]map[string]awayCells{}
	}
	if a.rows[situation] == nil {
		a.rows[situation] = map[string]awayCells{}
	}
	a.rows[situation][way] = c
}

// awayReply is one in a cell: its code and status, and the rest.
var awayReply = regexp.MustCompile("`([245][0-9][0-9](?: [245][.0-9]+)?) ?([^`]*)`")

// String is the table in Markdown, without rows that were not played. The words of replies stand below it, once.
func (a *awayTable) String() string {
	var b strings.Builder
	words := map[string]map[string]bool{} // by way
	short := func(way, cell string) string {
		for _, m := range awayReply.FindAllStringSubmatch(cell, -1) {
			words[way][m[1]+" "+m[2]] = true
		}
		return awayReply.ReplaceAllString(cell, "`$1`")
	}
	for i := range awaySituations {
		s := &awaySituations[i]
		fmt.Fprintf(&b, "## %s\n\n%s\n\n", s.name, s.says)
		b.WriteString("| | new connection | open connection | one recipient accepted | in the message | the open one, afterwards |\n| --- | --- | --- | --- | --- | --- |\n")
		for _, w := range awayWays {
			if words[w.name] == nil {
				words[w.name] = map[string]bool{}
			}
			if c, ok := a.rows[s.name][w.name]; ok {
				fmt.Fprintf(&b, "| %s |", w.name)
				for _, cell := range []string{c.Fresh, c.Open, c.Begun, c.Middle, c.After} {
					fmt.Fprintf(&b, " %s |", short(w.name, cell))
				}
				b.WriteByte('\n')
			} else if s.not[w.name] != "" {
				fmt.Fprintf(&b, "| %s | %s | | | | |\n", w.name, s.not[w.name])
			}
		}
		b.WriteByte('\n')
	}
	b.WriteString("## The words\n\n| | what the client reads |\n| --- | --- |\n")
	for _, w := range awayWays {
		fmt.Fprintf(&b, "| %s | `%s` |\n", w.name, strings.Join(slices.Sorted(maps.Keys(words[w.name])), "`<br>`"))
	}
	return b.String()
}

const awayFile, awayMark = "../../docs/beside-away.md", "-update-away -->\n\n"

// check holds the table against the documentation, if it was played to its end.
func (a *awayTable) check(t *testing.T) {
	t.Helper()
	t.Logf("\n%s", a)
	for i := range awaySituations {
		if len(a.rows[awaySituations[i].name])+len(awaySituations[i].not) < len(awayWays) {
			t.Logf("the table is not whole, so %s was not looked at", awayFile)
			return
		}
	}
	b, err := os.ReadFile(awayFile)
	if err != nil {
		t.Fatal(err)
	}
	head, told, ok := strings.Cut(string(b), awayMark)
	if !ok {
		t.Fatalf("%s has no line that ends in %q", awayFile, awayMark)
	}
	if *updateAway {
		if err := os.WriteFile(awayFile, []byte(head+awayMark+strings.TrimRight(a.String(), "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	now := strings.Split(strings.TrimRight(a.String(), "\n"), "\n")
	was := strings.Split(strings.TrimRight(told, "\n"), "\n")
	for i := range max(len(now), len(was)) {
		if i >= len(now) || i >= len(was) || now[i] != was[i] {
			t.Fatalf("%s does not tell what the MTAs answer now: go test ./internal/daemon -run TestBesideAway$ -update-away\nthere:\n%s\nnow:\n%s", awayFile,
				strings.Join(was[min(i, len(was)):min(i+1, len(was))], ""), strings.Join(now[min(i, len(now)):min(i+1, len(now))], ""))
		}
	}
}

// Words of the table.
const (
	awayAlways   = "as always"
	awayAccepted = "accepted"
)

func awayCode(words string) string { return "`" + words + "`" }

// awayRefusal is how an unknown recipient is refused, in the words of each MTA.
const awayRefusal = "550 5.1.1 "

// awayAnswers is a cell for a known and an unknown recipient.
func awayAnswers(known, unknown string) string {
	switch {
	case known == "250" && strings.HasPrefix(unknown, awayRefusal):
		return awayAlways
	case known == unknown:
		return "RCPT: " + awayCode(known)
	}
	return "RCPT known: " + awayCode(known) + ", unknown: " + awayCode(unknown)
}

// awayEnd is a cell for the end of a message.
func awayEnd(words string) string {
	if words == "250" {
		return awayAccepted
	}
	return "after the dot: " + awayCode(words)
}
