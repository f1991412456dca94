package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	wire "backstop/internal/postfix"
)

const (
	soakEach = 32   // connections at each door
	soakFlat = 0.05 // by how much memory may grow behind the first minute, as part of it
)

// soakLog is how long the log may become before it is cut, as logrotate does it (copytruncate), in octets.
const soakLog = 64 << 20

// moment is what was seen at one time.
type moment struct {
	at time.Duration // since the start
	vitals
	answers int64
}

// rowSoak keeps all doors busy with everything that they can be asked, and looks whether memory grows.
func rowSoak(ctx context.Context, b *bench, r result) []result {
	r.About = fmt.Sprintf("memory after %v of full load on milter, policy and socketmap", b.soak)
	r.Target = fmt.Sprintf("%.0f %% more", 100*soakFlat)
	own := &figure{Name: "Backstop, resident", Unit: "MB"}
	r.Figures = []*figure{own}
	moments, err := b.soaked(ctx, &r)
	if err != nil {
		own.Missing = firstLine(err)
	}
	if len(moments) == 0 {
		return []result{r}
	}
	soakLine(&r, moments, err == nil)
	return []result{r}
}

// soaked returns what was seen until the end, or until the first wrong answer.
func (b *bench) soaked(ctx context.Context, r *result) ([]moment, error) {
	m, err := b.prepareLayers()
	if err != nil {
		return nil, err
	}
	list, err := recipientList(b.dir, listedHere)
	if err != nil {
		return nil, err
	}
	g, err := b.startDoors(ctx, "backstop-soak", list, guards{spf: "mark", dmarc: "mark", bounces: "enforce", batv: "sign", dkim: m.ed25519, dns: m.dns,
		prepare: func(state string) error { return os.CopyFS(state, os.DirFS(m.sealed)) }})
	if g != nil {
		defer g.stop()
	}
	if err != nil {
		return nil, err
	}
	if err := fillCache(g); err != nil {
		return nil, err
	}
	crowd := soakers(g, &m)
	for _, w := range crowd {
		w.pool, err = openPool(soakEach, w.dial)
		defer func() { w.pool.close() }()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", w.name, err)
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	worked := make(chan error, 1)
	go func() {
		defer cancel() // nobody watches who has stopped
		worked <- work(ctx, crowd, b.soak)
	}()
	moments, watchErr := b.watch(ctx, g, crowd)
	if watchErr != nil {
		cancel()
	}
	err = errors.Join(watchErr, <-worked)
	for _, w := range crowd {
		r.note("%s: %d connections, %d right answers", w.name, soakEach, w.answers.Load())
	}
	return moments, err
}

// soakers ask everything that a door can be asked, and hang up now and then.
func soakers(g *gateway, m *material) []*wired {
	in := parcelsOf(m.plain, "spf=pass", "dmarc=pass")
	bounces := parcelsOf(m.bounces, "Backstop-Bounce: proven by=seal")
	out := parcelsOf(outgoing(true), "e <prvs=", "Backstop-Seal:", "DKIM-Signature:")
	arriving := []play{refusedPlay, messagePlay(in), brokenPlay(in), messagePlay(bounces)}
	turn := 0
	return []*wired{
		{name: "milter", dial: func() (asker, error) { // every fourth is one of ours
			turn++
			if turn%4 == 0 {
				return renew(10, func() (asker, error) { return dialMilter(g.doors.milter, homeClient, listedHere, messagePlay(out)) })()
			}
			return renew(20, func() (asker, error) { return dialMilter(g.doors.milter, strangeClient, listedHere, arriving...) })()
		}},
		{name: "policy", dial: renew(500, func() (asker, error) { return dialPolicy(g.doors.policy, allRecipients, listedHere) })},
		{name: "socketmap", dial: renew(500, func() (asker, error) { return dialMaps(g.doors.socketmap, listedHere) })},
	}
}

// mapsAsker asks for recipients, and every fifth time for the tag of a sender and what it stands for.
type mapsAsker struct {
	mapAsker
	client *wire.SocketmapClient
	turns  int
}

func dialMaps(addr string, listed int) (asker, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	client := wire.NewSocketmapClient(conn)
	ask := func(key string) (wire.MapAnswer, error) { return client.Lookup("recipients", key) }
	return &mapsAsker{mapAsker{conn, newWhom(allRecipients, listed), "socketmap", ask}, client, 0}, nil
}

func (a *mapsAsker) ask() error {
	if a.turns++; a.turns%5 != 0 {
		return a.mapAsker.ask()
	}
	sender := string(a.someone(nil))
	signed, err := a.client.Lookup("sign", sender)
	if err != nil {
		return fmt.Errorf("sign, %s: %w", sender, err)
	}
	if signed.Status != wire.OK || !strings.HasPrefix(signed.Text, "prvs=") {
		return fmt.Errorf("sign, %s was answered %v %q", sender, signed.Status, signed.Text)
	}
	back, err := a.client.Lookup("untag", signed.Text)
	if err != nil {
		return fmt.Errorf("untag, %s: %w", signed.Text, err)
	}
	if back.Status != wire.OK || back.Text != sender {
		return fmt.Errorf("untag, %s was answered %v %q", signed.Text, back.Status, back.Text)
	}
	return nil
}

// watch looks at the process until ctx ends, every 10 seconds, or ten times in all where there is less time.
func (b *bench) watch(ctx context.Context, g *gateway, crowd []*wired) ([]moment, error) {
	begun := time.Now()
	every := time.NewTicker(min(10*time.Second, b.soak/10))
	defer every.Stop()
	var moments []moment
	for {
		select {
		case <-ctx.Done():
			return moments, nil
		case <-every.C:
		}
		v, err := vitalsOf(g)
		if err != nil {
			return moments, fmt.Errorf("%w%s", err, g.lastWords())
		}
		now := moment{at: time.Since(begun), vitals: v}
		for _, w := range crowd {
			now.answers += w.answers.Load()
		}
		if len(moments)%6 == 5 {
			b.progress("%v: %s MB resident, %s MB of heap, %.0f goroutines, %d answers", now.at.Round(time.Second), number(v.rss), number(v.heap), v.goroutines, now.answers)
		}
		moments = append(moments, now)
		if sizeOf(g.output) > soakLog {
			if err := os.Truncate(g.output, 0); err != nil {
				return moments, err
			}
		}
	}
}

// soakLine says what was seen in each minute, and judges whether memory grew behind the first.
func soakLine(r *result, moments []moment, whole bool) {
	own := r.Figures[0]
	for _, m := range moments {
		own.Rounds = append(own.Rounds, m.rss)
	}
	if whole {
		own.finish()
	}
	minutes := map[int][]moment{}
	for _, m := range moments {
		// What is due at the end of a minute belongs to it, though the ticker was late.
		minute := int((m.at - 5*time.Second) / time.Minute)
		minutes[minute] = append(minutes[minute], m)
	}
	for minute := range len(minutes) {
		in := minutes[minute]
		if len(in) == 0 {
			continue
		}
		r.note("minute %d: resident %s MB; heap %s MB; goroutines %s; %d answers so far", minute+1, span(in, func(m moment) float64 { return m.rss }),
			span(in, func(m moment) float64 { return m.heap }), span(in, func(m moment) float64 { return m.goroutines }), in[len(in)-1].answers)
	}
	settled := slices.DeleteFunc(slices.Clone(moments), func(m moment) bool { return m.at < time.Minute+5*time.Second })
	r.Ours = number(moments[len(moments)-1].rss) + " MB"
	const enough = 12 // two minutes, every 10 seconds
	if len(settled) < enough {
		r.note("too short to judge: -soak 10m is for that")
		return
	}
	slope, level := slopeOf(settled, func(m moment) float64 { return m.rss })
	heap, _ := slopeOf(settled, func(m moment) float64 { return m.heap })
	grown := slope * (settled[len(settled)-1].at - settled[0].at).Minutes() / level
	r.note("behind the first minute resident memory changes by %+.3f MB a minute (%+.1f %% over the whole), the heap by %+.3f MB a minute", slope, 100*grown, heap)
	if whole {
		r.judge(grown, soakFlat)
	}
}

// span is smallest, middle and largest of a figure.
func span(all []moment, of func(moment) float64) string {
	values := make([]float64, len(all))
	for i, m := range all {
		values[i] = of(m)
	}
	s := spreadOf(values)
	return fmt.Sprintf("%s/%s/%s", number(s.Min), number(s.Median), number(s.Max))
}

// slopeOf fits a line by least squares: by how much a figure changes in a minute, and its mean.
func slopeOf(all []moment, of func(moment) float64) (slope, mean float64) {
	var at float64
	for _, m := range all {
		at += m.at.Minutes() / float64(len(all))
		mean += of(m) / float64(len(all))
	}
	var above, below float64
	for _, m := range all {
		x := m.at.Minutes() - at
		above += x * (of(m) - mean)
		below += x * x
	}
	if below == 0 {
		return 0, mean
	}
	return above / below, mean
}
