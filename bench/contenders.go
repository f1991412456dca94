package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// contender is a server in one role, or the reason why it takes no part.
type contender struct {
	name    string
	addr    string
	meter   meter
	log     string // the file it logs to, "" where it does not
	refusal int    // its code for an unknown recipient, where that is not 550
	load    *load  // its own, where it is not that of the row
	missing error
}

// ours is Backstop as a contender.
func (b *bench) ours() contender {
	c := contender{name: "Backstop", missing: b.gatewayMissing}
	if c.missing == nil {
		c.addr, c.meter, c.log = b.gateway.addr, b.gateway.meter, b.gateway.output
	}
	return c
}

// peer is Postfix as a contender, at one of its addresses.
func (b *bench) peer(name string, addr func(*postfix) string) contender {
	c := contender{name: name, missing: b.postfixMissing}
	if c.missing == nil {
		c.addr, c.meter, c.log = addr(b.postfix), b.postfix.meter, filepath.Join(b.postfix.dir, "maillog")
	}
	return c
}

// gateway is a running `backstop serve`.
type gateway struct {
	*process
	addr  string
	out   string // of [outbound], "" where there is none
	doors places // beside an MTA; the zero value where there are none
}

// places are where the doors beside an MTA listen.
type places struct{ milter, policy, socketmap, table, web string }

// besideConfig opens them. The load comes from this machine and stands for strangers; those at home have addresses of their own.
const besideConfig = `[milter]
listen = "inet:%s"
internal = ["` + homeClient + `/32"]
[policy]
listen = %q
[socketmap]
listen = %q
[tcp_table]
listen = %q
[panel]
listen = %q
[cache]
missing_for = "1h"
`

// guards are what a gateway of the row layers looks at.
type guards struct {
	spf, dmarc, bounces string // as in [[domain]]
	batv                string
	dkim                string                   // the value of the key, "" for none
	dns                 string                   // who is asked, "" for the system's
	outbound            bool                     // there is a door for what leaves
	beside              bool                     // there are doors for an MTA
	prepare             func(state string) error // makes its keys, nil where it makes them itself
}

// noGuards is what all other rows are measured with: no peer of theirs looks at any of it.
var noGuards = guards{spf: "off", dmarc: "off", bounces: "off"}

// keys are the lines of a domain.
func (g guards) keys() string {
	text := fmt.Sprintf("spf = %q\ndmarc = %q\nbounces = %q\n", g.spf, g.dmarc, g.bounces)
	if g.batv != "" {
		text += fmt.Sprintf("batv = %q\n", g.batv)
	}
	if g.dkim != "" {
		text += "dkim = " + g.dkim + "\n"
	}
	return text
}

// sections are those beside the domains; out is where the outbound door listens, and sink who takes what leaves.
func (g guards) sections(out, sink string, at places) string {
	text := ""
	if g.beside {
		text += fmt.Sprintf(besideConfig, at.milter, at.policy, at.socketmap, at.table, at.web)
	}
	if g.dns != "" {
		text += fmt.Sprintf("[dns]\nresolvers = [%q]\n", g.dns)
	}
	if g.outbound {
		text += fmt.Sprintf("[outbound]\nlisten = [%q]\nclients = [\"127.0.0.0/8\"]\nrelay = \"smtp://%s?tls=off\"\n", out, sink)
	}
	return text
}

// The limits on connections are raised, since the whole load comes from one address; everything else but the guards is as it comes.
const gatewayConfig = `hostname = "gateway.bench.example"
state = %q

[smtp]
listen = [%q]
max_connections = 20000
per_client = 20000

%s
[[domain]]
name = "` + listedDomain + `"
relay = "smtp://%s?tls=off"
recipients = [%q]
%s
[[domain]]
name = "` + askedDomain + `"
relay = "smtp://%s?tls=off"
recipients = ["callahead"]
%s`

// startGateway starts Backstop with this list of recipients, its log in a file like that of every other contender.
func (b *bench) startGateway(ctx context.Context, name, list string) (*gateway, error) {
	return b.startGuarded(ctx, name, list, noGuards)
}

// startGuarded starts it with what it is to look at.
func (b *bench) startGuarded(ctx context.Context, name, list string, g guards) (*gateway, error) {
	program, err := filepath.Abs(b.backstop)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(program); err != nil {
		return nil, fmt.Errorf("not built (%w)", err)
	}
	addrs, err := freeAddrs(7)
	if err != nil {
		return nil, err
	}
	at := places{addrs[2], addrs[3], addrs[4], addrs[5], addrs[6]}
	state := filepath.Join(b.dir, name+".state")
	if err := os.Mkdir(state, 0o700); err != nil {
		return nil, err
	}
	if g.prepare != nil {
		if err := g.prepare(state); err != nil {
			return nil, err
		}
	}
	config := filepath.Join(b.dir, name+".toml")
	text := fmt.Sprintf(gatewayConfig, state, addrs[0], g.sections(addrs[1], b.sink, at), b.sink, "list:"+list, g.keys(), b.slow, noGuards.keys())
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	p, err := spawn(b.dir, name, nil, program, "serve", "--config", config)
	if err != nil {
		return nil, err
	}
	b.later(p.stop)
	out := ""
	if g.outbound {
		out = addrs[1]
	}
	return &gateway{process: p, addr: addrs[0], out: out, doors: at}, p.await(ctx, addrs[0], 30*time.Second)
}

// startFloor starts smtp-sink, which refuses every recipient and otherwise does nothing: no server can be cheaper.
func (b *bench) startFloor(ctx context.Context) contender {
	c := contender{name: "smtp-sink (floor)", refusal: 500}
	program, err := exec.LookPath("smtp-sink")
	if err != nil {
		c.missing = err
		return c
	}
	addrs, err := freeAddrs(1)
	if err != nil {
		c.missing = err
		return c
	}
	argv := []string{program, "-f", "rcpt"}
	if os.Geteuid() == 0 {
		argv = append(argv, "-u", "nobody") // it insists
	}
	p, err := spawn(b.dir, "smtp-sink", nil, append(argv, addrs[0], "1024")...)
	if err != nil {
		c.missing = err
		return c
	}
	b.later(p.stop)
	c.addr, c.meter, c.missing = addrs[0], p.meter, p.await(ctx, addrs[0], 10*time.Second)
	return c
}

// figure is what one contender came to in one row.
type figure struct {
	Name      string    `json:"name"`
	Unit      string    `json:"unit"`
	Missing   string    `json:"missing,omitempty"`
	Rounds    []float64 `json:"rounds,omitempty"`
	Spread    *spread   `json:"spread,omitempty"`
	Latency   *latency  `json:"latency,omitempty"`
	PerSecond float64   `json:"per_second,omitempty"`
	Meter     string    `json:"meter,omitempty"`
	LogBytes  float64   `json:"log_bytes,omitempty"` // for each session

	samples []time.Duration
	took    time.Duration
}

// finish summarises the rounds.
func (f *figure) finish() {
	if len(f.Rounds) > 0 {
		s := spreadOf(f.Rounds)
		f.Spread = &s
	}
	if len(f.samples) > 0 {
		l := latencyOf(f.samples)
		f.Latency, f.PerSecond = &l, float64(l.N)/f.took.Seconds()
	}
}

// turns lets the contenders take turns under the same load and returns the CPU time of each for a session, in microseconds.
// Every other time the order is turned round, so that none always follows the same neighbour.
func (b *bench) turns(ctx context.Context, l load, contenders []contender) []*figure {
	figures := make([]*figure, len(contenders))
	for i, c := range contenders {
		figures[i] = &figure{Name: c.name, Unit: "us"}
		if c.missing != nil {
			figures[i].Missing = c.missing.Error()
			continue
		}
		figures[i].Meter = c.meter.String()
		if _, _, err := b.turn(ctx, l, c, b.round/4); err != nil { // caches, processes and pools are filled
			figures[i].Missing = err.Error()
		}
	}
	logged := make([]int64, len(contenders))
	for i, c := range contenders {
		logged[i] = sizeOf(c.log)
	}
	for round := range b.rounds {
		for k := range contenders {
			i := k
			if round%2 == 1 {
				i = len(contenders) - 1 - k
			}
			f := figures[i]
			if f.Missing != "" || ctx.Err() != nil {
				continue
			}
			cpu, s, err := b.turn(ctx, l, contenders[i], b.round)
			if err != nil {
				f.Missing, f.Rounds, f.samples = err.Error(), nil, nil
				continue
			}
			f.Rounds = append(f.Rounds, float64(cpu)/float64(s.sessions)/float64(time.Microsecond))
			f.samples = append(f.samples, s.latencies...)
			f.took += b.round
		}
	}
	for i, f := range figures {
		f.finish()
		if f.Latency != nil {
			f.LogBytes = float64(sizeOf(contenders[i].log)-logged[i]) / float64(f.Latency.N)
		}
	}
	return figures
}

// sizeOf returns the length of a file in bytes; one that is not there has none.
func sizeOf(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// turn puts one contender under load and returns the CPU time that it spent on it, until it had done all that was asked.
func (b *bench) turn(ctx context.Context, l load, c contender, d time.Duration) (time.Duration, sample, error) {
	if c.load != nil {
		l = *c.load
	}
	l.addr, l.refusal = c.addr, c.refusal
	arrived, err := sinkCount(b.sink)
	if err != nil {
		return 0, sample{}, err
	}
	before, err := settle(ctx, c.meter)
	if err != nil {
		return 0, sample{}, err
	}
	s, err := l.run(ctx, b.clients, d)
	if err != nil {
		return 0, s, fmt.Errorf("%s: %s", c.name, firstLine(err))
	}
	if s.sessions == 0 {
		return 0, s, fmt.Errorf("%s: no session ended in time", c.name)
	}
	if l.unknown == 0 {
		if err := b.arrival(ctx, arrived+s.sessions); err != nil {
			return 0, s, fmt.Errorf("%s: %w", c.name, err)
		}
	}
	after, err := settle(ctx, c.meter)
	return after - before, s, err
}

// arrival waits until the downstream has got as many messages as were accepted, and complains of a lost or doubled one.
func (b *bench) arrival(ctx context.Context, want int) error {
	deadline := time.Now().Add(time.Minute)
	for {
		got, err := sinkCount(b.sink)
		switch {
		case err != nil:
			return err
		case got == want:
			return nil
		case got > want:
			return fmt.Errorf("%d messages too many arrived", got-want)
		case time.Now().After(deadline):
			return fmt.Errorf("%d messages were accepted and did not arrive", want-got)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// firstLine shortens the joined errors of many clients, which mostly say the same, to the first that tells of the server.
func firstLine(err error) string {
	var joined interface{ Unwrap() []error }
	if errors.As(err, &joined) && len(joined.Unwrap()) > 0 {
		err = joined.Unwrap()[0]
	}
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}
