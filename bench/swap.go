package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// pauseLimit is the longest that nobody may be kept from his answer.
const pauseLimit = 10 * time.Millisecond

// rowSwap changes a list under clients that look addresses up.
func rowSwap(ctx context.Context, b *bench, r result) []result {
	n := 10_000_000
	if b.quick {
		n = 1_000_000
	}
	b.progress("%s recipients: %d swaps", count(n), swaps)
	found, err := b.swapped(ctx, n)
	return swapLines(r, n, found, err)
}

// swapped runs the process that does it, with two texts that differ in one recipient.
func (b *bench) swapped(ctx context.Context, n int) (*swapped, error) {
	dir := filepath.Join(b.dir, fmt.Sprintf("swap-%d", n))
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if err := swapTexts(dir, n); err != nil {
		return nil, err
	}
	said, err := output(ctx, b.self, "swap", dir, strconv.Itoa(n), strconv.Itoa(swaps))
	if err != nil {
		return nil, err
	}
	found := new(swapped)
	return found, json.Unmarshal([]byte(said), found)
}

// swapTexts writes the two texts that take turns.
func swapTexts(dir string, n int) error {
	for generation := range 2 {
		file, err := os.Create(swapText(dir, generation))
		if err != nil {
			return err
		}
		err = writeRecipients(file, n)
		_, last := file.WriteString(swapMark(generation) + "\n")
		if err := errors.Join(err, last, file.Close()); err != nil {
			return err
		}
	}
	return nil
}

// swapText is the file of the texts with even or odd numbers.
func swapText(dir string, generation int) string {
	return filepath.Join(dir, fmt.Sprintf("text-%d", generation%2))
}

// swapMark is the recipient that only one of the texts has.
func swapMark(generation int) string {
	return fmt.Sprintf("mark%d@%s", generation%2, listedDomain)
}

// swapLines makes two lines of the table: the time of the look-ups themselves, and how long the clients were kept from running.
func swapLines(r result, n int, found *swapped, err error) []result {
	about := fmt.Sprintf("%s recipients swapped %d times under %d clients: ", count(n), swaps, swapClients)
	lines := []result{
		{Row: r.Row, About: about + "the longest look-up"},
		{Row: r.Row, About: about + "the longest a client was kept from running"},
	}
	for i := range lines {
		line := &lines[i]
		line.Target = "10 ms"
		quiet, swapping := &figure{Name: "without a swap"}, &figure{Name: "while swapped"}
		line.Figures = []*figure{quiet, swapping}
		if err != nil {
			quiet.Missing, swapping.Missing = err.Error(), err.Error()
			continue
		}
		of := func(p *phase) (*latency, float64) {
			if i == 0 {
				return &p.Lookup, float64(p.Lookup.N) / p.Seconds
			}
			return &p.Kept, 0
		}
		quiet.Latency, quiet.PerSecond = of(&found.Quiet)
		swapping.Latency, swapping.PerSecond = of(&found.Swapping)
		line.Peer, line.Ours = "quiet "+short(quiet.Latency.Max), short(swapping.Latency.Max)
		if quiet.Latency.Max > 0 {
			line.Ratio = number(float64(swapping.Latency.Max) / float64(quiet.Latency.Max))
		}
		line.judge(float64(swapping.Latency.Max), float64(pauseLimit))
		if found.Quiet.Wrong+found.Swapping.Wrong+len(found.Errors) > 0 {
			line.Reached = "no"
		}
		found.explain(i, line)
	}
	return lines
}

// explain adds what must be known to read a line.
func (found *swapped) explain(i int, line *result) {
	if i == 0 {
		took := spreadOf(found.SwapMS)
		line.note("wrong answers: %d while swapped, %d without; errors: %d", found.Swapping.Wrong, found.Quiet.Wrong, len(found.Errors))
		for _, e := range found.Errors {
			line.note("error: %s", e)
		}
		line.note("a swap, from the new file until its names were known: %s ms (%s to %s); all of them with what is kept on the disk took %s s, the time without %s s",
			number(took.Median), number(took.Min), number(took.Max), number(found.Swapping.Seconds), number(found.Quiet.Seconds))
		line.note("look-ups above %v: %d while swapped, %d without", pauseLimit, found.Swapping.LongLookups, found.Quiet.LongLookups)
		line.note("a look-up that was interrupted, for another's turn or by the kernel, has the interruption in its time")
		return
	}
	line.note("each client looks a known and an unknown address up every %v, and was kept from it from the moment it was due; a timer rings up to 1 ms late", swapEvery)
	for _, p := range []struct {
		name string
		*phase
	}{{"without a swap", &found.Quiet}, {"while swapped", &found.Swapping}} {
		line.note("%s: %d of %d above %v; the collector ran %d times and stopped everything for %s at most; the process had %.0f %% of a processor, and its threads waited %.0f ms for one, in all",
			p.name, p.LongKept, p.Kept.N, pauseLimit, p.Collections, short(p.LongestStop), 100*p.CPU/p.Seconds, p.WaitedMS)
	}
}

// short prints a duration in the unit in which it has one to three digits before the point.
func short(d time.Duration) string {
	switch {
	case d < time.Microsecond:
		return fmt.Sprintf("%d ns", d)
	case d < time.Millisecond:
		return number(float64(d)/float64(time.Microsecond)) + " us"
	}
	return milliseconds(d)
}
