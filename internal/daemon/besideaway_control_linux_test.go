package daemon_test

import (
	"slices"
	"strings"
	"testing"

	"backstop/internal/mailtest"
)

// TestBesideAwayNotices shows that what TestBesideAway wants to see would be seen: clients of a server that does all of it wrong.
func TestBesideAwayNotices(t *testing.T) {
	for name, c := range map[string]struct {
		rules []mailtest.Rule
		phase *awayPhase
		want  string
	}{
		"accepts anybody":               {nil, nil, "RCPT unknown: accepted"},
		"accepts anybody's message":     {nil, nil, "a message for " + awayUnknown},
		"refuses who exists":            {[]mailtest.Rule{{On: "RCPT", Reply: "550 5.1.1 no"}}, nil, "RCPT known: a recipient that exists"},
		"refuses a message":             {[]mailtest.Rule{{On: "RCPT", Match: awayStoreRefuse, Reply: "550 5.1.1 no"}, {On: "DOT", Reply: "554 5.0.0 no"}}, nil, "end of message: a recipient that exists"},
		"refuses senders":               {[]mailtest.Rule{{On: "MAIL", Reply: "550 5.0.0 no"}}, nil, "MAIL: a recipient that exists"},
		"refuses everybody":             {[]mailtest.Rule{{On: "CONNECT", Reply: "554 5.0.0 no"}}, nil, "a client is told 554"},
		"decides while nobody is there": {awayKnows, &awayGone, "RCPT unknown while Backstop is away: 550"},
		"accepts while nobody is there": {awayKnows, &awayGone, "RCPT known while Backstop is away: 250"},
		"puts off though all is well":   {[]mailtest.Rule{{On: "RCPT", Reply: "451 4.3.0 later"}}, &awayWell, "RCPT known while Backstop is well: 451"},
	} {
		t.Run(name, func(t *testing.T) {
			m := mailtest.NewMock(t, mailtest.Script{Rules: c.rules})
			l := newAwayLoad(t, m.Addr(), 2)
			l.enter(c.phase)
			var all []string
			eventually(t, c.want, func() bool {
				all = append(all, l.faults()...)
				return slices.ContainsFunc(all, func(w string) bool { return strings.Contains(w, c.want) })
			})
		})
	}
}

// TestBesideAwayFailsOpen is the same with a real MTA: with a line that lets mail pass while Backstop is away, what is accepted is noticed.
func TestBesideAwayFailsOpen(t *testing.T) {
	w := awayWays[0]
	w.spoil = strings.NewReplacer("default_action=tempfail", "default_action=accept")
	s := newAwayScene(t, w, awayBinary(t), awayPort(t, len(awayWays)))
	s.p.kill()
	var all []string
	eventually(t, "somebody is accepted", func() bool {
		all = append(all, s.load.faults()...)
		return slices.ContainsFunc(all, func(w string) bool { return strings.HasPrefix(w, "a message for "+awayUnknown) })
	})
	s.load.stop()
	s.mta.World.Wait(t, "a bounce", func(m *mailtest.Mock) bool { return len(m.Messages()) > 0 })
}
