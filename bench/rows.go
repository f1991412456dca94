package main

import (
	"context"
	"fmt"
	"time"
)

// row is one measurement. It is handed its line of the table with name and description, and may return several.
type row struct {
	name  string
	about string
	run   func(context.Context, *bench, result) []result
}

// rows in the order of the table in docs: what a refusal costs first, as that is what a flood consists of.
var rows = []row{
	{"refuse", "CPU of a session with 5 refused recipients, each logged", rowRefuse},
	{"pipelined", "the same with MAIL and RCPTs pipelined", rowPipelined},
	{"message", "CPU of a session that passes one 4 KB message through", rowMessage},
	{"layers", "CPU that each layer adds to a 4 KB message", rowLayers},
	{"first", "first answer for a recipient never seen, beyond the downstream's own time", rowFirst},
	{"flat", "the same session with few and many recipients known", rowFlat},
	{"list", "recipients in memory", rowList},
	{"maps", "the same recipients as a list and as Postfix maps", rowMaps},
	{"swap", "look-ups while the list is swapped", rowSwap},
	{"idle", "10,000 idle connections", rowIdle},
	{"flood", "p99 of good mail during a flood of unknown recipients", rowFlood},
	{"beside", "Postfix and Sendmail with and without Backstop beside them", rowBeside},
	{"doors", "our CPU for an answer at each of the doors beside an MTA", rowDoors},
	{"crowd", "1,000 connections at once at each of milter, policy and socketmap, all of them working", rowCrowd},
	{"audit", "a mail log of 1 GB read", rowAudit},
	{"soak", "memory after a time of full load on milter, policy and socketmap", rowSoak},
}

func rowNames() []string {
	names := make([]string, len(rows))
	for i, r := range rows {
		names[i] = r.name
	}
	return names
}

const messageSize = 4096

func rowRefuse(ctx context.Context, b *bench, r result) []result {
	return b.compare(ctx, r, comparison{
		target: "a tenth", limit: 1.0 / 10,
		load: load{unknown: 5},
		peer: b.peer("Postfix", func(p *postfix) string { return p.plain }),
		also: []contender{b.exim, b.floor},
	})
}

func rowPipelined(ctx context.Context, b *bench, r result) []result {
	return b.compare(ctx, r, comparison{
		target: "a fifteenth", limit: 1.0 / 15,
		load: load{unknown: 5, pipelined: true},
		peer: b.peer("Postfix", func(p *postfix) string { return p.plain }),
		also: []contender{b.floor},
	})
}

func rowMessage(ctx context.Context, b *bench, r result) []result {
	return b.compare(ctx, r, comparison{
		target: "a fifth", limit: 1.0 / 5,
		load: load{message: exampleMessage(messageSize), listed: b.listed},
		peer: b.peer("Postfix, before-queue proxy", func(p *postfix) string { return p.proxy }),
		also: []contender{b.peer("Postfix, with its queue", func(p *postfix) string { return p.plain }), b.exim},
	}, "spf, dmarc and bounces are off, as none of the others looks at them; what they add says the row layers")
}

// comparison is a row about CPU time.
type comparison struct {
	target string
	limit  float64 // of ours/peer
	load   load
	peer   contender
	also   []contender
}

// compare lets the peer, Backstop and the others take turns and judges the ratio of the first two.
func (b *bench) compare(ctx context.Context, r result, c comparison, notes ...string) []result {
	r.Notes = append(r.Notes, notes...)
	r.Target = c.target
	ours := b.ours()
	r.Figures = b.turns(ctx, c.load, append([]contender{c.peer, ours}, c.also...))
	peer, own := r.Figures[0], r.Figures[1]
	if peer.Spread != nil {
		r.Peer = number(peer.Spread.Median) + " us"
	}
	if own.Spread != nil {
		r.Ours = number(own.Spread.Median) + " us"
	}
	if ratios := pairRatios(own.Rounds, peer.Rounds); len(ratios) > 0 {
		s := spreadOf(ratios)
		r.Ratio = fmt.Sprintf("%.3f (%.3f-%.3f)", s.Median, s.Min, s.Max)
		r.judge(s.Median, c.limit)
	}
	if own.Spread != nil && b.profile {
		c.load.addr = ours.addr
		r.Notes = append(r.Notes, b.profileOf(ctx, b.gateway.pid(), func(ctx context.Context, d time.Duration) error {
			_, err := c.load.run(ctx, b.clients, d)
			return err
		})...)
	}
	return []result{r}
}

// rowFirst asks for recipients that nobody can know yet, one session after another: directly at the slow downstream, through
// Backstop, and through Postfix with reject_unverified_recipient.
func rowFirst(ctx context.Context, b *bench, r result) []result {
	r.Target = "1 ms"
	probes := 60
	if b.quick {
		probes = 20
	}
	direct := &figure{Name: "the downstream itself", Unit: "ms"}
	own := &figure{Name: "Backstop", Unit: "ms beyond it"}
	if b.gatewayMissing != nil {
		own.Missing = b.gatewayMissing.Error()
	}
	var answers []time.Duration
	for i := range probes {
		base, err := probe(b.slow, i)
		if err != nil {
			direct.Missing = err.Error()
			break
		}
		direct.Rounds = append(direct.Rounds, inMilliseconds(base))
		if own.Missing != "" || ctx.Err() != nil {
			continue
		}
		took, err := probe(b.gateway.addr, i)
		if err != nil {
			own.Missing, answers = err.Error(), nil
			continue
		}
		answers = append(answers, took)
	}
	direct.finish()
	for _, took := range answers {
		own.Rounds = append(own.Rounds, inMilliseconds(took)-direct.Spread.Median)
	}
	own.finish()
	peer := b.firstOfPostfix(ctx, direct)
	r.Figures = []*figure{peer, own, direct}
	if peer.Spread != nil {
		r.Peer = number(peer.Spread.Median) + " ms"
	}
	if own.Spread != nil {
		r.Ours = number(own.Spread.Median) + " ms"
		r.judge(own.Spread.Median, 1)
		r.note("the very first, with a connection yet to be opened: %s ms", number(own.Rounds[0]))
	}
	if peer.Spread != nil && own.Spread != nil {
		r.Ratio = fmt.Sprintf("%.5f", own.Spread.Median/peer.Spread.Median)
	}
	return []result{r}
}

// firstOfPostfix takes few samples, side by side, as each lasts seconds.
func (b *bench) firstOfPostfix(ctx context.Context, direct *figure) *figure {
	f := &figure{Name: "Postfix, reject_unverified_recipient", Unit: "ms beyond it"}
	if b.postfixMissing != nil || direct.Spread == nil {
		f.Missing = fmt.Sprint(b.postfixMissing)
		return f
	}
	const samples = 4
	type answer struct {
		took time.Duration
		err  error
	}
	answers := make(chan answer, samples)
	for i := range samples {
		go func() {
			took, err := probe(b.postfix.verify, 1000+i)
			answers <- answer{took, err}
		}()
	}
	for range samples {
		select {
		case <-ctx.Done():
			f.Missing = ctx.Err().Error()
			return f
		case a := <-answers:
			if a.err != nil {
				f.Missing = a.err.Error()
				return f
			}
			f.Rounds = append(f.Rounds, inMilliseconds(a.took)-direct.Spread.Median)
		}
	}
	f.finish()
	return f
}

// probe returns the time from RCPT to its answer, for a recipient of the asked domain: the even ones exist, the odd ones do not.
func probe(addr string, i int) (time.Duration, error) {
	w := newWorker(load{addr: addr})
	if err := w.connect(); err != nil {
		return 0, err
	}
	defer w.conn.Close()
	if err := w.ask("EHLO load.bench.example\r\n", 250); err != nil {
		return 0, err
	}
	if err := w.ask("MAIL FROM:<sender@elsewhere.example>\r\n", 250); err != nil {
		return 0, err
	}
	local, code := "user", 250
	if i%2 == 1 {
		local, code = "nobody", 550
	}
	command := fmt.Appendf(nil, "RCPT TO:<%s.first.%d.%d@%s>\r\n", local, w.id, i, askedDomain)
	begun := time.Now()
	if err := w.send("RCPT", command, code); err != nil {
		return 0, err
	}
	took := time.Since(begun)
	return took, w.ask("QUIT\r\n", 221)
}

func inMilliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
