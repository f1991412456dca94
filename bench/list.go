package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"backstop/internal/directory/list"
	"backstop/internal/evidence"
)

// listed is what a process that opened one list found out.
type listed struct {
	BytesEach float64 // of live heap
	OpenMS    float64 // to read the file, which is in the page cache
	LookupNS  float64 // half of the addresses are listed
	Allocs    float64 // for each look-up
	PeakMB    float64 // resident at most, while the list was read
}

// rowList opens lists in processes of their own, so that each begins with an empty heap.
func rowList(ctx context.Context, b *bench, r result) []result {
	sizes := []int{1_000_000, 10_000_000}
	if b.quick {
		sizes = sizes[:1]
	}
	var lines []result
	for _, n := range sizes {
		lines = append(lines, b.weighList(ctx, n)...)
		for i := len(lines) - 3; i < len(lines); i++ {
			lines[i].Row = r.Row
		}
	}
	return lines
}

// weighList returns three lines of the table about a list of n recipients.
func (b *bench) weighList(ctx context.Context, n int) []result {
	size := fmt.Sprintf("%d M recipients in memory", n/1_000_000)
	memory := result{About: size + ": bytes each", Target: "20"}
	open := result{About: size + ": opened in", Target: "1 s"}
	lookup := result{About: size + ": one look-up", Target: "1 us, no allocation"}
	bytes := &figure{Name: "Backstop, list", Unit: "bytes"}
	seconds := &figure{Name: "Backstop, list", Unit: "s"}
	nanoseconds := &figure{Name: "Backstop, list", Unit: "ns"}
	memory.Figures, open.Figures, lookup.Figures = []*figure{bytes}, []*figure{seconds}, []*figure{nanoseconds}
	if b.postfixMissing == nil {
		each := float64(sizeOf(b.postfix.mapFile)) / float64(b.listed)
		memory.Peer = fmt.Sprintf("%.0f on disk", each)
		memory.note("Postfix: %s map of %d recipients, %.1f bytes each on disk", b.postfix.mapType, b.listed, each)
	}
	var last listed
	err := func() error {
		path, err := recipientList(b.dir, n)
		if err != nil {
			return err
		}
		defer os.Remove(path) // hundreds of megabytes
		for range min(b.rounds, 3) {
			said, err := output(ctx, b.self, "list", path, strconv.Itoa(n))
			if err != nil {
				return err
			}
			if err := json.Unmarshal([]byte(said), &last); err != nil {
				return err
			}
			bytes.Rounds = append(bytes.Rounds, last.BytesEach)
			seconds.Rounds = append(seconds.Rounds, last.OpenMS/1000)
			nanoseconds.Rounds = append(nanoseconds.Rounds, last.LookupNS)
		}
		return nil
	}()
	if err != nil {
		bytes.Missing, seconds.Missing, nanoseconds.Missing = err.Error(), err.Error(), err.Error()
		return []result{memory, open, lookup}
	}
	for _, f := range []*figure{bytes, seconds, nanoseconds} {
		f.finish()
	}
	memory.Ours = fmt.Sprintf("%.1f", bytes.Spread.Median)
	memory.judge(math.Round(10*bytes.Spread.Median)/10, 20) // as printed: the few bytes of the set itself are not an entry's
	memory.note("resident at most while reading: %.0f MB", last.PeakMB)
	open.Ours = number(seconds.Spread.Median) + " s"
	open.judge(seconds.Spread.Median, 1)
	lookup.Ours = fmt.Sprintf("%.0f ns, %.2f allocations", nanoseconds.Spread.Median, last.Allocs)
	lookup.judge(nanoseconds.Spread.Median, 1000)
	if last.Allocs >= 0.01 {
		lookup.Reached = "no"
	}
	return []result{memory, open, lookup}
}

// listMain is the process: it opens the list, weighs it, asks it, and prints what it found out.
func listMain(args []string) error {
	if len(args) != 2 {
		return errors.New("list wants a file and the number of its recipients")
	}
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	var found listed
	before := liveHeap()
	begun := time.Now()
	l, err := list.Open(filepath.Clean(args[0]), list.Options{})
	if err != nil {
		return err
	}
	defer l.Close()
	found.OpenMS = inMilliseconds(time.Since(begun))
	found.BytesEach = float64(liveHeap()-before) / float64(n)
	peak, err := memoryOf(os.Getpid(), "status", "VmHWM")
	if err != nil {
		return err
	}
	found.PeakMB = megabytes(peak)
	if err := found.ask(l, n); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(found)
}

// ask looks addresses up in random order, every other one listed, and compares each answer with the true one.
func (found *listed) ask(l *list.List, n int) error {
	const keys, turns = 1 << 19, 4
	known, unknown := make([]string, keys), make([]string, keys)
	for i := range keys {
		local := string(appendUser(nil, rand.IntN(n)))
		known[i] = local + "@" + listedDomain // folded already
		unknown[i] = "no" + known[i]
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	begun := time.Now()
	wrong := 0
	for range turns {
		for i := range keys {
			if l.Known(known[i]) != evidence.Exists {
				wrong++
			}
			if l.Known(unknown[i]) == evidence.Exists {
				wrong++
			}
		}
	}
	took := time.Since(begun)
	runtime.ReadMemStats(&after)
	if wrong > 0 {
		return fmt.Errorf("%d of %d answers were wrong", wrong, 2*keys*turns)
	}
	found.LookupNS = float64(took) / (2 * keys * turns)
	found.Allocs = float64(after.Mallocs-before.Mallocs) / (2 * keys * turns)
	return nil
}

// liveHeap returns the bytes in use after a collection.
func liveHeap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
