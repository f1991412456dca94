package daemon_test

import (
	"regexp"
	"slices"
	"strings"
)

// difference is one that is allowed. It makes of what must be said by the gateway what must be said in another way.
type difference struct {
	ways  []string // names
	at    string   // how the command begins, a regular expression
	plays []string // nil: in all of them
	when  string   // a regular expression for the outcome
	then  string   // what becomes of it: $1 as in regexp, and words in braces as fill has them
	says  string   // for docs/beside.md: what is said
	why   string   // and why it may differ
}

func (d *difference) holds(w way) bool { return slices.Contains(d.ways, w.name) }

func (d *difference) about(p *play, turn *turn) bool {
	return regexp.MustCompile("^(?:"+d.at+")").MatchString(turn.say) && (d.plays == nil || slices.Contains(d.plays, p.name))
}

// of is the outcome with this difference.
func (d *difference) of(want string, turn *turn, about transaction) string {
	when := regexp.MustCompile("^" + about.fill(d.when, turn, regexp.QuoteMeta) + "$")
	return when.ReplaceAllString(want, about.fill(d.then, turn, func(s string) string { return strings.ReplaceAll(s, "$", "$$") }))
}

// transaction is what a turn may depend on.
type transaction struct {
	connect, mail string // outcomes that the gateway has
}

func (a *transaction) follow(turn *turn) {
	switch {
	case turn.say == connect:
		*a = transaction{connect: turn.want}
	case strings.HasPrefix(turn.say, "MAIL"):
		a.mail = turn.want
	}
}

var inBrackets = regexp.MustCompile(`<.*>`)

// fill writes what is known into a pattern: the address of the command, as it stands there and without its quotes, and
// what the gateway says to MAIL and to the connection.
func (a *transaction) fill(pattern string, turn *turn, escape func(string) string) string {
	mail, mailLog, _ := strings.Cut(a.mail, " | ")
	first, firstLog, _ := strings.Cut(a.connect, " | ")
	to := inBrackets.FindString(turn.say)
	for name, value := range map[string]string{
		"{to}": to, "{bare}": strings.ReplaceAll(to, `"`, ""), "{mail}": mail, "{mail log}": mailLog, "{connect}": first, "{connect log}": firstLog,
	} {
		pattern = strings.ReplaceAll(pattern, name, escape(value))
	}
	return pattern
}
