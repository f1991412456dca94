package verdict_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"backstop/internal/verdict"
)

// TestDocumented: the operator's table has every rule, in the order in which they are weighed.
func TestDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/rules.md")
	fatal(t, err)
	var rows []string
	table, _, _ := strings.Cut(string(text), "\n## ")
	for line := range strings.SplitSeq(table, "\n") {
		if cells := strings.Split(line, "|"); len(cells) > 4 && strings.HasPrefix(strings.TrimSpace(cells[2]), "`") {
			rows = append(rows, strings.TrimSpace(cells[1])+" "+strings.Trim(cells[2], " `"))
		}
	}
	var want []string
	for i, name := range verdict.RuleNames() {
		number := fmt.Sprint(i + 1)
		if i >= int(verdict.InternalError) {
			number = "–"
		}
		want = append(want, number+" "+name)
	}
	if got, want := strings.Join(rows, "\n"), strings.Join(want, "\n"); got != want {
		t.Errorf("docs/rules.md has\n%s\nand not\n%s", got, want)
	}
}
