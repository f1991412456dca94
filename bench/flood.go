package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"sync/atomic"
	"time"
)

// floodMain is the process that floods: sessions of unknown recipients, as many as the server takes, until its standard input
// ends. It puts up with every answer, since a server that sheds load during a flood does what it should.
func floodMain(args []string) error {
	flags := flag.NewFlagSet("flood", flag.ContinueOnError)
	addr := flags.String("addr", "", "whom to flood")
	clients := flags.Int("clients", 32, "sessions at the same time")
	if err := flags.Parse(args); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	fmt.Println("flooding", *addr)
	var played, broken atomic.Int64
	var all sync.WaitGroup
	begun := time.Now()
	for range *clients {
		all.Go(func() {
			for w := newWorker(load{addr: *addr, unknown: 5}); ctx.Err() == nil; {
				if err := w.session(); err != nil {
					broken.Add(1)
					pause(ctx, 10*time.Millisecond)
					continue
				}
				played.Add(1)
			}
		})
	}
	all.Wait()
	fmt.Fprintf(os.Stderr, "%d sessions, %d cut short, %.2f s\n", played.Load(), broken.Load(), time.Since(begun).Seconds())
	return nil
}

// pause waits, but not beyond the end of the run.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// floodTest is a server at which good mail arrives steadily, quietly and during a flood.
type floodTest struct {
	contender
	flooded string // address that the flood goes to, of the same server
	quiet   *figure
	flood   *figure
	ratios  []float64
}

// rowFlood sends good mail at a steady rate, in turns with and without a flood beside it.
func rowFlood(ctx context.Context, b *bench, r result) []result {
	r.Target = "twice quiet"
	tests := []*floodTest{
		{contender: b.peer("Postfix, before-queue proxy", func(p *postfix) string { return p.proxy })},
		{contender: b.ours()},
	}
	if b.postfixMissing == nil {
		tests[0].flooded = b.postfix.plain
	}
	tests[1].flooded = tests[1].addr
	for _, t := range tests {
		t.quiet, t.flood = &figure{Name: t.name + ", quiet p99", Unit: "ms"}, &figure{Name: t.name + ", flooded p99", Unit: "ms"}
		if t.missing != nil {
			t.quiet.Missing, t.flood.Missing = t.missing.Error(), t.missing.Error()
		}
		r.Figures = append(r.Figures, t.quiet, t.flood)
	}
	for round := range b.rounds {
		for _, t := range tests {
			if t.flood.Missing != "" || ctx.Err() != nil {
				continue
			}
			if said, err := b.floodRound(ctx, t); err != nil {
				t.quiet.Missing, t.flood.Missing = err.Error(), err.Error()
			} else if round == b.rounds-1 {
				r.note("flood against %s: %s", t.name, said)
			}
		}
	}
	for _, t := range tests {
		t.quiet.finish()
		t.flood.finish()
		if t.quiet.Spread != nil && t.flood.Spread != nil {
			t.ratios = pairRatios(t.flood.Rounds, t.quiet.Rounds)
		}
	}
	r.Peer, _ = tests[0].summary()
	r.Ours, r.Ratio = tests[1].summary()
	if len(tests[1].ratios) > 0 {
		r.judge(tests[1].pooled(), 2)
	}
	r.note("good mail: %d messages of 4 KB a second, each in a session of its own; the flooding process gets only what nobody else wants of the processors", goodRate)
	return []result{r}
}

// goodRate is how many good messages arrive in a second: far from what either server can do, so that the quiet figure is a quiet one.
const goodRate = 150

// summary returns both p99 and their ratio.
func (t *floodTest) summary() (figures, ratio string) {
	if len(t.ratios) == 0 {
		return "", ""
	}
	s := spreadOf(t.ratios)
	return fmt.Sprintf("%s -> %s", milliseconds(t.quiet.Latency.P99), milliseconds(t.flood.Latency.P99)),
		fmt.Sprintf("%.2f (%.2f-%.2f)", t.pooled(), s.Min, s.Max)
}

// pooled returns the ratio of the p99 of all sessions of all rounds. In one round the p99 is one of the three slowest sessions, and
// the ratio of two such is mostly chance.
func (t *floodTest) pooled() float64 {
	return float64(t.flood.Latency.P99) / float64(t.quiet.Latency.P99)
}

// floodRound measures once without and once with the flood, and returns what the flood achieved.
func (b *bench) floodRound(ctx context.Context, t *floodTest) (string, error) {
	good := load{addr: t.addr, message: exampleMessage(messageSize), listed: b.listed}
	length := max(2*b.round, 2*time.Second) // a p99 wants more sessions than a sum of CPU time
	if err := t.quiet.steady(ctx, good, length); err != nil {
		return "", err
	}
	argv := append(background(), b.self, "flood", "-addr", t.flooded)
	p, err := spawn(b.dir, "flood", func(string) {}, argv...)
	if err != nil {
		return "", err
	}
	pause(ctx, 200*time.Millisecond) // let it rise
	err = t.flood.steady(ctx, good, length)
	_ = p.input.Close()
	select {
	case <-p.ended:
	case <-time.After(5 * time.Second):
		err = errors.Join(err, errors.New("the flood did not end"))
	}
	p.stop()
	return lastLine(p.output), err
}

// background returns the command that lets another use only what nobody else wants of the processors, as near as this machine
// has it. A flood comes from elsewhere in life: here it may fill the machine, but not take the processor from the server.
func background() []string {
	if chrt, err := exec.LookPath("chrt"); err == nil {
		return []string{chrt, "--idle", "0"}
	}
	if nice, err := exec.LookPath("nice"); err == nil {
		return []string{nice, "-n", "19"}
	}
	return nil
}

// steady adds one round of good mail.
func (f *figure) steady(ctx context.Context, good load, d time.Duration) error {
	s, err := good.paced(ctx, 32, goodRate, d)
	if err != nil {
		return errors.New(firstLine(err))
	}
	f.Rounds = append(f.Rounds, inMilliseconds(latencyOf(s.latencies).P99))
	f.samples, f.took = append(f.samples, s.latencies...), f.took+d
	return nil
}
