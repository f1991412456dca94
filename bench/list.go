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
	"runtime/debug"
	"slices"
	"strconv"
	"syscall"
	"time"

	"backstop/internal/directory/list"
	"backstop/internal/evidence"
)

// listed is what a process that opened one list found out. Files are in the page cache.
type listed struct {
	BytesEach float64 // resident, more than before
	OpenMS    float64 // to open it
	FirstMS   float64 // to open it and look one address up
	KeptMS    float64 // until it was on the disk in its compiled form; the first process only
	KeptCPU   float64 // processor time up to then, in milliseconds
	FileEach  float64 // octets of that form
	LookupNS  float64 // half of the addresses are listed
	LookupCPU float64 // processor time, in nanoseconds
	P50NS     float64 // of single look-ups, with the time that the clock takes
	P99NS     float64
	Allocs    float64 // for each look-up
	PeakMB    float64 // resident at most
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
	open := result{About: size + ": opened at a restart in", Target: "1 s"}
	lookup := result{About: size + ": one look-up", Target: "1 us, no allocation"}
	bytes := &figure{Name: "Backstop, list", Unit: "bytes"}
	seconds := &figure{Name: "Backstop, list", Unit: "s"}
	nanoseconds := &figure{Name: "Backstop, list", Unit: "ns"}
	memory.Figures, open.Figures, lookup.Figures = []*figure{bytes}, []*figure{seconds}, []*figure{nanoseconds}
	b.besideMap(&memory)
	var first, last listed
	err := func() error {
		path, err := recipientList(b.dir, n)
		if err != nil {
			return err
		}
		defer os.Remove(path) // hundreds of megabytes
		keep := filepath.Join(b.dir, fmt.Sprintf("kept-%d", n))
		defer os.RemoveAll(keep)
		for round := range min(b.rounds, 3) + 1 {
			said, err := output(ctx, b.self, "list", path, strconv.Itoa(n), keep)
			if err != nil {
				return err
			}
			if err := json.Unmarshal([]byte(said), &last); err != nil {
				return err
			}
			if round == 0 { // the one that reads the text
				first = last
				continue
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
	memory.note("resident at most: %.0f MB, when the text is read for the first time %.0f MB; the file has %.1f octets each", last.PeakMB, first.PeakMB, first.FileEach)
	open.Ours = number(seconds.Spread.Median) + " s"
	open.judge(seconds.Spread.Median, 1)
	open.note("the first time, from the text: %.2f s, and %.2f s more in the background until the compiled form is on the disk", first.OpenMS/1000, (first.KeptMS-first.OpenMS)/1000)
	lookup.Ours = fmt.Sprintf("%.0f ns, %.2f allocations", nanoseconds.Spread.Median, last.Allocs)
	lookup.judge(nanoseconds.Spread.Median, 1000)
	lookup.note("single look-ups: p50 %.0f ns, p99 %.0f ns, the clock's own time included", last.P50NS, last.P99NS)
	if last.Allocs >= 0.01 {
		lookup.Reached = "no"
	}
	return []result{memory, open, lookup}
}

// besideMap adds what Postfix's map takes.
func (b *bench) besideMap(memory *result) {
	if b.postfixMissing != nil {
		return
	}
	each := float64(sizeOf(b.postfix.mapFile)) / float64(b.listed)
	memory.Peer = fmt.Sprintf("%.0f on disk", each)
	memory.note("Postfix: %s map of %d recipients, %.1f bytes each on disk", b.postfix.mapType, b.listed, each)
}

// listMain is the process: it opens the list, weighs it, asks it, and prints what it found out.
func listMain(args []string) error {
	if len(args) != 3 {
		return errors.New("list wants a file, the number of its recipients, and a folder for its compiled form")
	}
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	found, err := weigh(filepath.Clean(args[0]), n, args[2])
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(found)
}

// weigh opens a list of n recipients, from the folder keep where it has been compiled before and into it otherwise.
func weigh(path string, n int, keep string) (*listed, error) {
	kept := make(chan error, 1)
	opts := list.Options{
		Keep: keep,
		Kept: func(err error) { kept <- err },
		// A text that was written a moment ago is not kept, and the bench has just written it.
		Now: func() time.Time { return time.Now().Add(time.Hour) },
	}
	_, err := os.Stat(keep)
	toKeep := errors.Is(err, os.ErrNotExist)
	found := new(listed)
	before, err := resident()
	if err != nil {
		return nil, err
	}
	begun, spent := time.Now(), ownCPU()
	l, err := list.Open(path, opts)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	found.OpenMS = inMilliseconds(time.Since(begun))
	if l.Known(listedUser(0)) != evidence.Exists {
		return nil, errors.New("the first answer was wrong")
	}
	found.FirstMS = inMilliseconds(time.Since(begun))
	if toKeep {
		if err := <-kept; err != nil {
			return nil, err
		}
		found.KeptMS, found.KeptCPU = inMilliseconds(time.Since(begun)), inMilliseconds(ownCPU()-spent)
	}
	after, err := resident()
	if err != nil {
		return nil, err
	}
	found.BytesEach = float64(after-before) / float64(n)
	peak, err := memoryOf(os.Getpid(), "status", "VmHWM")
	if err != nil {
		return nil, err
	}
	found.PeakMB = megabytes(peak)
	if found.FileEach, err = folderSize(keep); err != nil {
		return nil, err
	}
	found.FileEach /= float64(n)
	return found, found.ask(l, n)
}

// listedUser is the address of the n-th recipient that exists, folded.
func listedUser(n int) string { return string(appendUser(nil, n)) + "@" + listedDomain }

// ownCPU is the processor time, user and system, of this process so far.
func ownCPU() time.Duration {
	var used syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &used) // cannot fail for oneself (getrusage(2))
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// folderSize is the size in octets of what is in the folder.
func folderSize(folder string) (float64, error) {
	files, err := os.ReadDir(folder)
	sum := 0.0
	for _, f := range files {
		info, err := f.Info()
		if err != nil {
			return 0, err
		}
		sum += float64(info.Size())
	}
	return sum, err
}

// ask looks addresses up in random order, every other one listed, and compares each answer with the true one.
func (found *listed) ask(l *list.List, n int) error {
	const keys, turns = 1 << 19, 4
	known, unknown := make([]string, keys), make([]string, keys)
	for i := range keys {
		known[i] = listedUser(rand.IntN(n))
		unknown[i] = "no" + known[i]
	}
	found.single(l, known, unknown)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	begun, spent := time.Now(), ownCPU()
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
	took, spent := time.Since(begun), ownCPU()-spent
	runtime.ReadMemStats(&after)
	if wrong > 0 {
		return fmt.Errorf("%d of %d answers were wrong", wrong, 2*keys*turns)
	}
	found.LookupNS = float64(took) / (2 * keys * turns)
	found.LookupCPU = float64(spent) / (2 * keys * turns)
	found.Allocs = float64(after.Mallocs-before.Mallocs) / (2 * keys * turns)
	return nil
}

// single times look-ups one by one.
func (found *listed) single(l *list.List, known, unknown []string) {
	took := make([]time.Duration, 0, len(known))
	for i := range len(known) / 2 {
		for _, k := range []string{known[i], unknown[i]} {
			begun := time.Now()
			l.Known(k)
			took = append(took, time.Since(begun))
		}
	}
	slices.Sort(took)
	found.P50NS, found.P99NS = float64(took[len(took)/2]), float64(took[len(took)*99/100])
}

// resident returns the bytes of this process's own memory that are in use after a collection.
func resident() (int64, error) {
	debug.FreeOSMemory()
	return memoryOf(os.Getpid(), "status", "RssAnon")
}
