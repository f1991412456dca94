package daemon_test

import (
	"flag"
	"fmt"
	"os"
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

// String is the table in Markdown, without rows that were not played.
func (a *awayTable) String() string {
	var b strings.Builder
	for i := range awaySituations {
		s := &awaySituations[i]
		fmt.Fprintf(&b, "## %s\n\n%s\n\n", s.name, s.says)
		b.WriteString("| MTA, door | new connection | open connection | a recipient was accepted before | in the middle of a message | the open connection, afterwards |\n| --- | --- | --- | --- | --- | --- |\n")
		for _, w := range awayWays {
			if c, ok := a.rows[s.name][w.name]; ok {
				fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", w.name, c.Fresh, c.Open, c.Begun, c.Middle, c.After)
			} else if s.not[w.name] != "" {
				fmt.Fprintf(&b, "| %s | %s | | | | |\n", w.name, s.not[w.name])
			}
		}
		b.WriteByte('\n')
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
	if told != strings.TrimRight(a.String(), "\n")+"\n" {
		t.Errorf("%s does not tell what the MTAs answer now: go test ./internal/daemon -run TestBesideAway -update-away", awayFile)
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
