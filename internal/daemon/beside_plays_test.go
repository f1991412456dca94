package daemon_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"backstop/internal/mailtest/rig"
)

// play is one dialogue, as the gateway holds it.
type play struct {
	name     string
	domain   string        // lines of its [[domain]]
	global   string        // lines above all sections
	from     string        // the client's address; "": a stranger's
	not      []string      // the ways in which it cannot be played
	outbound bool          // it is held at the gateway's door for what leaves
	later    time.Duration // how much later it is by then
	text     string        // C: what the client says, S: what the gateway says, L: its lines in the log
}

func (p *play) client() string {
	if p.from == "" {
		return rig.Outside
	}
	return p.from
}

func (p *play) goes(w way) bool { return !slices.Contains(p.not, w.name) }

// turn is one command with its reply.
type turn struct {
	say  string
	want string // an outcome
}

// What a client does that is no command.
const (
	connect = "(connect)"
	login   = "(log in)"
)

// turns reads the text. Where it does not begin with the connection, all is well up to EHLO.
func (p *play) turns(t testing.TB) []turn {
	t.Helper()
	text := strings.TrimSpace(p.text)
	if !strings.HasPrefix(text, "C: "+connect) {
		text = "C: " + connect + "\nS: 220\nC: EHLO client.test\nS: 250\n" + text
	}
	var all []turn
	var log []string
	end := func() {
		if len(all) > 0 {
			last := &all[len(all)-1]
			last.want = outcome(last.want, log)
		}
		log = nil
	}
	for line := range strings.Lines(text) {
		word, rest, ok := strings.Cut(strings.TrimSpace(line), ": ")
		switch {
		case strings.TrimSpace(line) == "":
		case ok && word == "C":
			end()
			all = append(all, turn{say: rest})
		case ok && word == "S" && len(all) > 0:
			all[len(all)-1].want = rest
		case ok && word == "L" && len(all) > 0:
			log = append(log, rest)
		default:
			t.Fatalf("%s: %q is no line of a dialogue", p.name, line)
		}
	}
	end()
	return all
}
