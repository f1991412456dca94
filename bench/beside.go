package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"
)

// answerLimit is what one answer of a policy service or a map may cost us, in microseconds of CPU.
const answerLimit = 20.0

// plugged is an MTA with Backstop at one of its doors, beside one that needs nobody.
type plugged struct {
	contender
	door  string  // as our metrics name it; "" for the MTA alone
	limit float64 // of our CPU for each recipient; 0: none
	floor meter   // of a server that is asked instead of us; nil for us

	own  *figure // our CPU for each refused recipient, or each message
	mta  *figure // the MTA's for each session
	rate *figure // sessions a second
}

// besideTest is one load at all of them. The first is the MTA alone.
type besideTest struct {
	mta     string
	about   string
	load    load
	plugged []*plugged
	web     string // where our metrics are
	own     meter
}

// The ways in which Postfix is asked to receive mail: by its own map of recipients, or by one of our doors.
const (
	alone = iota
	withPolicy
	withSocketmap
	withMilter
	withFloor // a policy service that refuses all without a look
)

// besideCF are the listeners of the Postfix that has Backstop beside it, with the lines that `backstop setup postfix` prints.
const besideCF = `{{0}} inet n - n - - smtpd
{{1}} inet n - n - - smtpd
  -o relay_recipient_maps=
  -o { smtpd_recipient_restrictions = permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination, check_policy_service inet:{{policy}} }
{{2}} inet n - n - - smtpd
  -o relay_recipient_maps=socketmap:inet:{{socketmap}}:recipients
{{3}} inet n - n - - smtpd
  -o relay_recipient_maps=
  -o { smtpd_milters = { inet:{{milter}}, default_action=tempfail } }
{{4}} inet n - n - - smtpd
  -o relay_recipient_maps=
  -o { smtpd_recipient_restrictions = permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination, check_policy_service inet:{{floor}} }
`

// rowBeside lets Postfix refuse and take mail by its own map, and with each of our doors instead.
func rowBeside(ctx context.Context, b *bench, r result) []result {
	p, g, err := b.startBeside(ctx)
	if g != nil {
		defer g.stop()
	}
	if err != nil {
		r.Target = "-"
		r.note("not measured: %v", err)
		return []result{r}
	}
	defer p.stop()
	tests := []*besideTest{
		{mta: "Postfix", about: "5 refused recipients", load: load{unknown: 5}, plugged: p.plugged(alone, withPolicy, withSocketmap, withMilter, withFloor)},
		{mta: "Postfix", about: "one 4 KB message", load: b.messages(), plugged: p.plugged(alone, withPolicy, withMilter)},
	}
	sendmail, sendmailMissing := b.startSendmail(ctx, g.doors.milter)
	if sendmail != nil {
		defer sendmail.stop()
	}
	if sendmailMissing == nil {
		tests = append(tests, &besideTest{mta: "Sendmail", about: "5 refused recipients", load: load{unknown: 5}, plugged: sendmail.plugged()},
			&besideTest{mta: "Sendmail", about: "one 4 KB message", load: b.messages(), plugged: sendmail.plugged()})
	}
	var results []result
	for _, t := range tests {
		t.web, t.own = g.doors.web, g.meter
		b.besideRounds(ctx, t)
		results = append(results, b.besideLines(ctx, r, t, g.pid())...)
	}
	results[0].note("the peer of our CPU is a policy service that refuses all without a look: a process that has little to do pays for each time that it is woken")
	results[0].note("Postfix alone has the same recipients in a map of its own; all others have none, and ask Backstop, which logs each answer")
	if sendmailMissing != nil {
		results[0].note("Sendmail: not measured: %v", sendmailMissing)
	}
	results[0].Notes = append(results[0].Notes, unlogged(g)...)
	return results
}

// messages is the load of messages that are accepted.
func (b *bench) messages() load { return load{message: exampleMessage(messageSize), listed: b.listed} }

// unlogged says how many lines of the log were left out, because nobody took them in time. Then it cost less than it should.
func unlogged(g *gateway) []string {
	page, err := scrape(g.doors.web)
	switch n := page["backstop_log_lines_dropped_total"]; {
	case err != nil:
		return []string{err.Error()}
	case n > 0:
		return []string{fmt.Sprintf("%.0f lines of the log were left out", n)}
	}
	return nil
}

// besideLines are the lines of a test, and what our CPU goes to where recipients are refused.
func (b *bench) besideLines(ctx context.Context, r result, t *besideTest, pid int) []result {
	lines := t.lines(r)
	if !b.profile || t.load.unknown == 0 {
		return lines
	}
	for i, w := range t.plugged[1:] {
		if w.missing != nil || w.door == "" || ctx.Err() != nil {
			continue
		}
		l := t.load
		l.addr = w.addr
		own := &lines[linesEach*i]
		own.Notes = append(own.Notes, b.profileOf(ctx, pid, func(ctx context.Context, d time.Duration) error {
			_, err := l.run(ctx, b.clients, d)
			return err
		})...)
	}
	return lines
}

// besidePostfix is an instance with a listener for each way.
type besidePostfix struct {
	*postfix
	addrs []string
	floor meter
}

// startBeside starts a Backstop with all its doors, and a Postfix that asks at them.
func (b *bench) startBeside(ctx context.Context) (*besidePostfix, *gateway, error) {
	if b.postfixMissing != nil {
		return nil, nil, b.postfixMissing
	}
	g, err := b.startDoors(ctx, "backstop-beside", b.list, noGuards)
	if err != nil {
		return nil, g, err
	}
	p, err := newPostfix(ctx, filepath.Join(b.dir, "postfix-beside"), b.list)
	if err != nil {
		return nil, g, err
	}
	floor, floorAddr, err := b.startAnswerer()
	if err != nil {
		return nil, g, err
	}
	addrs, err := freeAddrs(5)
	if err != nil {
		return nil, g, err
	}
	fill := strings.NewReplacer("{{0}}", addrs[alone], "{{1}}", addrs[withPolicy], "{{2}}", addrs[withSocketmap], "{{3}}", addrs[withMilter], "{{4}}", addrs[withFloor], "{{floor}}", floorAddr,
		"{{policy}}", g.doors.policy, "{{socketmap}}", g.doors.socketmap, "{{milter}}", g.doors.milter)
	if err := p.configure(fill.Replace(besideCF), b.sink, b.slow); err != nil {
		return nil, g, err
	}
	return &besidePostfix{p, addrs, floor.meter}, g, p.start(ctx, addrs...)
}

// plugged are these ways as contenders.
func (p *besidePostfix) plugged(ways ...int) []*plugged {
	var all []*plugged
	for _, way := range ways {
		w := []*plugged{
			alone:         {contender: contender{name: "Postfix, its own map"}},
			withPolicy:    {contender: contender{name: "Postfix and policy"}, door: "policy", limit: answerLimit},
			withSocketmap: {contender: contender{name: "Postfix and socketmap"}, door: "socketmap", limit: answerLimit},
			withMilter:    {contender: contender{name: "Postfix and milter"}, door: "milter"},
			withFloor:     {contender: contender{name: "Postfix and a policy service that does nothing"}, floor: p.floor},
		}[way]
		all = append(all, w.at("Postfix", p.addrs[way], p.meter))
	}
	return all
}

// plugged are its two listeners as contenders.
func (s *sendmail) plugged() []*plugged {
	plain, filtered := &plugged{contender: contender{name: "Sendmail, by a pattern"}}, &plugged{contender: contender{name: "Sendmail and milter"}, door: "milter"}
	return []*plugged{plain.at("Sendmail", s.plain, s.meter), filtered.at("Sendmail", s.filtered, s.meter)}
}

// at says where an MTA listens and how it is metered.
func (w *plugged) at(mta, addr string, m meter) *plugged {
	w.addr, w.meter = addr, m
	w.own = &figure{Name: w.name + ": Backstop", Unit: "us", Meter: m.String()}
	if w.floor != nil {
		w.own.Name = w.name + ": that service"
	}
	w.mta = &figure{Name: w.name + ": " + mta, Unit: "us", Meter: m.String()}
	w.rate = &figure{Name: w.name + ": sessions", Unit: "a second"}
	return w
}

// besideRounds lets all of them take turns.
func (b *bench) besideRounds(ctx context.Context, t *besideTest) {
	for _, w := range t.plugged {
		if err := b.besideTurn(ctx, t, w, b.round/4); err != nil {
			w.fail(err)
		}
		w.own.Rounds, w.mta.Rounds, w.rate.Rounds = nil, nil, nil
	}
	for round := range b.rounds {
		for k := range t.plugged {
			i := k
			if round%2 == 1 {
				i = len(t.plugged) - 1 - k
			}
			w := t.plugged[i]
			if w.missing != nil || ctx.Err() != nil {
				continue
			}
			if err := b.besideTurn(ctx, t, w, b.round); err != nil {
				w.fail(err)
			}
		}
	}
	for _, w := range t.plugged {
		for _, f := range []*figure{w.own, w.mta, w.rate} {
			f.finish()
		}
	}
}

// besideTurn puts one under load, and looks that the decisions were made where they should be.
func (b *bench) besideTurn(ctx context.Context, t *besideTest, w *plugged, d time.Duration) error {
	asked, err := scrape(t.web)
	if err != nil {
		return err
	}
	own := t.own
	if w.floor != nil {
		own = w.floor
	}
	before, err := settle(ctx, own)
	if err != nil {
		return err
	}
	mta, s, err := b.turn(ctx, t.load, w.contender, d)
	if err != nil {
		return err
	}
	after, err := settle(ctx, own)
	if err != nil {
		return err
	}
	now, err := scrape(t.web)
	if err != nil {
		return err
	}
	if err := w.decided(asked, now, s.sessions, s.sessions*t.load.unknown); err != nil {
		return err
	}
	each := func(d time.Duration) float64 { return float64(d) / float64(s.sessions) / float64(time.Microsecond) }
	w.own.Rounds = append(w.own.Rounds, each(after-before)/float64(max(t.load.unknown, 1)))
	w.mta.Rounds = append(w.mta.Rounds, each(mta))
	w.rate.Rounds = append(w.rate.Rounds, float64(s.sessions)/s.took.Seconds())
	return nil
}

// decided complains where recipients were refused by anybody but this door, or messages passed it by.
func (w *plugged) decided(before, now scraped, sessions, refusals int) error {
	grown := func(labels ...string) int {
		const name = "backstop_decisions_total"
		return int(now.sum(name, labels...) - before.sum(name, labels...))
	}
	if w.door == "" {
		sessions, refusals = 0, 0
	}
	here := `door="` + w.door + `"`
	switch refused := grown(`verdict="refuse"`, here); {
	case refused != refusals:
		return fmt.Errorf("%s: this door was to refuse %d recipients, and refused %d", w.name, refusals, refused)
	case grown() != grown(here), grown(here) < sessions:
		return fmt.Errorf("%s: of %d sessions this door decided %d times, and all together %d times", w.name, sessions, grown(here), grown())
	}
	return nil
}

func (w *plugged) fail(err error) {
	w.missing = err
	for _, f := range []*figure{w.own, w.mta, w.rate} {
		f.Missing, f.Rounds = err.Error(), nil
	}
}

// linesEach is how many lines there are of each door.
const linesEach = 3

// lines are those of a load: for each door our CPU, that of Postfix, and the sessions a second.
func (t *besideTest) lines(r result) []result {
	var results []result
	line := func(w *plugged, what string) result {
		return result{Row: r.Row, About: w.name + ", " + t.about + ": " + what, Target: "-"}
	}
	first, floor := t.plugged[alone], &figure{}
	for _, w := range t.plugged {
		if w.floor != nil {
			floor = w.own
		}
	}
	for _, w := range t.plugged[1:] {
		own := line(w, "our CPU"+t.unit())
		if w.floor != nil {
			own = line(w, "its CPU"+t.unit())
		}
		if w.limit > 0 && t.load.unknown > 0 {
			own = compared(own, floor, w.own, " us")
			own.Target = number(w.limit) + " us"
			if w.own.Spread != nil {
				own.judge(w.own.Spread.Median, w.limit)
			}
		} else {
			own = compared(own, &figure{}, w.own, " us")
			own.Figures = own.Figures[1:]
		}
		results = append(results, own, compared(line(w, t.mta+"'s CPU"), first.mta, w.mta, " us"),
			compared(line(w, "sessions a second"), first.rate, w.rate, ""))
	}
	return results
}

// unit is what our CPU is counted for.
func (t *besideTest) unit() string {
	if t.load.unknown > 0 {
		return " for a recipient"
	}
	return ""
}

// compared fills a line with two figures and their ratio, round by round.
func compared(r result, first, second *figure, unit string) result {
	r.Figures = []*figure{first, second}
	if first.Spread != nil {
		r.Peer = number(first.Spread.Median) + unit
	}
	if second.Spread != nil {
		r.Ours = number(second.Spread.Median) + unit
	}
	if ratios := pairRatios(second.Rounds, first.Rounds); len(ratios) > 0 {
		s := spreadOf(ratios)
		r.Ratio = fmt.Sprintf("%.3f (%.3f-%.3f)", s.Median, s.Min, s.Max)
	}
	return r
}
