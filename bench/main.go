package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	if err := dispatch(os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// dispatch runs the runner, or one of the helper processes that the runner starts of itself.
func dispatch(args []string) error {
	if len(args) > 0 {
		switch args[0] {
		case "sink":
			return sinkMain(args[1:])
		case "flood":
			return floodMain(args[1:])
		case "list":
			return listMain(args[1:])
		case "swap":
			return swapMain(args[1:])
		case "answerer":
			return answererMain(args[1:])
		case "dns":
			return dnsMain(args[1:])
		}
	}
	opts, err := parseFlags(args)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// Who reads the table may have gone (| head): that is an error of the write, and no reason to leave the servers behind.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	return runAll(ctx, opts)
}

// options is what the command line says.
type options struct {
	quick    bool
	only     []string
	rounds   int
	round    time.Duration
	clients  int
	listed   int
	json     string
	backstop string
	cache    string
	profile  bool
	patience time.Duration
	soak     time.Duration
}

func parseFlags(args []string) (options, error) {
	var o options
	var only string
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.BoolVar(&o.quick, "quick", false, "fewer and shorter rounds, 1 M recipients at most")
	flags.StringVar(&only, "only", "", "rows to run, with commas: "+strings.Join(rowNames(), ","))
	flags.IntVar(&o.rounds, "rounds", 0, "rounds for each contender (default 5, quick 3)")
	flags.DurationVar(&o.round, "time", 0, "length of a round (default 2s, quick 600ms)")
	flags.IntVar(&o.clients, "clients", 8, "sessions at the same time")
	flags.IntVar(&o.listed, "listed", 1_000_000, "recipients that exist")
	flags.StringVar(&o.json, "json", "", "write the figures to this file, or - for standard output instead of the table")
	flags.StringVar(&o.backstop, "backstop", "bin/backstop", "the program under test")
	flags.StringVar(&o.cache, "cache", ".deps/bench", "where lists and maps are kept for the next run")
	flags.BoolVar(&o.profile, "profile", true, "name the three largest items of our profile, where perf(1) works")
	flags.DurationVar(&o.patience, "patience", 3*time.Minute, "row maps: how long a map may take to be built (cdb of 10 M: up to half an hour)")
	flags.DurationVar(&o.soak, "soak", 20*time.Second, "row soak: how long (whether memory is flat is judged from 4m on)")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("what is %q?", flags.Arg(0))
	}
	if only != "" {
		o.only = strings.Split(only, ",")
	}
	for _, name := range o.only {
		if !slices.Contains(rowNames(), name) {
			return o, fmt.Errorf("no row is named %q; there are %s", name, strings.Join(rowNames(), ", "))
		}
	}
	o.rounds, o.round = defaults(o)
	if o.rounds < 1 || o.round <= 0 || o.clients < 1 || o.listed < 1 || o.listed > 10_000_000 || o.patience <= 0 || o.soak <= 0 {
		return o, errors.New("-rounds, -time, -clients, -patience, -soak and -listed must be positive, and -listed at most 10000000")
	}
	return o, nil
}

func defaults(o options) (int, time.Duration) {
	rounds, round := o.rounds, o.round
	if rounds == 0 {
		rounds = 5
		if o.quick {
			rounds = 3
		}
	}
	if round == 0 {
		round = 2 * time.Second
		if o.quick {
			round = 600 * time.Millisecond
		}
	}
	return rounds, round
}

// bench is one run: what was started for it, and why something could not be.
type bench struct {
	options
	self string // this program, for the helper processes
	dir  string // temporary, gone at the end
	list string // file of the recipients that exist, one a line

	sink, slow     string // addresses of the downstreams: one at once, one that takes its time over RCPT
	postfix        *postfix
	postfixMissing error
	gateway        *gateway
	gatewayMissing error
	floor          contender
	exim           contender

	cleanups []func()
}

// rcptDelay is what the slow downstream takes to answer RCPT.
const rcptDelay = 20 * time.Millisecond

func runAll(ctx context.Context, o options) error {
	begun := time.Now()
	b := &bench{options: o}
	defer b.close()
	busy, err := busyMachine(time.Second)
	if err != nil {
		return err
	}
	if err := b.prepare(ctx); err != nil {
		return err
	}
	report := newReport(b, busy)
	for _, row := range rows {
		if len(o.only) > 0 && !slices.Contains(o.only, row.name) {
			continue
		}
		b.progress("%s", row.about)
		report.Results = append(report.Results, row.run(ctx, b, result{Row: row.name, About: row.about})...)
		if ctx.Err() != nil {
			return errors.New("interrupted")
		}
	}
	report.Seconds = time.Since(begun).Seconds()
	return report.deliver(o.json)
}

// prepare starts everything that several rows use.
func (b *bench) prepare(ctx context.Context) error {
	var err error
	if b.self, err = os.Executable(); err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp("", "backstop-bench-"); err != nil {
		return err
	}
	b.later(func() { _ = os.RemoveAll(b.dir) })
	// Postfix works under a user of its own and has to find its way in.
	if err := os.Chmod(b.dir, 0o755); err != nil {
		return err
	}
	if b.cache, err = filepath.Abs(b.cache); err != nil {
		return err
	}
	if b.list, err = recipientList(b.cache, b.listed); err != nil {
		return err
	}
	if b.sink, err = b.startSink("sink", 0); err != nil {
		return err
	}
	if b.slow, err = b.startSink("slow-sink", rcptDelay); err != nil {
		return err
	}
	b.progress("starting Postfix (with a map of %d recipients, which takes a while the first time)", b.listed)
	if b.postfix, b.postfixMissing = startPostfix(ctx, b.dir, b.list, b.sink, b.slow); b.postfixMissing == nil {
		b.later(b.postfix.stop)
	}
	b.progress("starting the others")
	b.gateway, b.gatewayMissing = b.startGateway(ctx, "backstop", b.list)
	b.floor = b.startFloor(ctx)
	b.exim = b.startExim(ctx)
	return ctx.Err()
}

// startSink starts a downstream of ours and returns its address.
func (b *bench) startSink(name string, delay time.Duration) (addr string, err error) {
	p, err := spawn(b.dir, name, func(line string) { addr = line }, b.self, "sink", "-rcpt-delay", delay.String())
	if err != nil {
		return "", err
	}
	b.later(p.stop)
	return addr, nil
}

// later has something undone at the end of the run, last things first.
func (b *bench) later(undo func()) { b.cleanups = append(b.cleanups, undo) }

func (b *bench) close() {
	for _, undo := range slices.Backward(b.cleanups) {
		undo()
	}
}

// progress says on standard error what is being done, as the whole takes minutes.
func (b *bench) progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...)
}

// recipientList returns a file with the recipients that exist, made once and kept.
func recipientList(dir string, n int) (string, error) {
	path := filepath.Join(dir, fmt.Sprintf("recipients-%d", n))
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	file, err := os.CreateTemp(dir, "recipients-")
	if err != nil {
		return "", err
	}
	defer os.Remove(file.Name()) // in vain when all went well: it has another name then
	if err := errors.Join(writeRecipients(file, n), file.Chmod(0o644), file.Close()); err != nil {
		return "", err
	}
	return path, os.Rename(file.Name(), path)
}

// writeRecipients writes the addresses of the first n recipients, one a line.
func writeRecipients(w io.Writer, n int) error {
	var chunk []byte
	for i := range n {
		chunk = append(appendUser(chunk, i), "@"+listedDomain+"\n"...)
		if len(chunk) > 1<<20 || i == n-1 {
			if _, err := w.Write(chunk); err != nil {
				return err
			}
			chunk = chunk[:0]
		}
	}
	return nil
}
