package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"backstop/internal/directory/list"
	"backstop/internal/evidence"
)

const (
	swaps       = 10
	swapClients = 100
	swapEvery   = 2 * time.Millisecond // a client asks for two addresses: 100,000 look-ups a second of all
)

// swapped is what the process found out.
type swapped struct {
	Swapping, Quiet phase
	SwapMS          []float64 // each swap, from the moment at which the new file stood there until its names were known
	Errors          []string
}

// phase is some time under the same load.
type phase struct {
	Seconds     float64
	CPU         float64       // seconds of processor time of the whole process
	Lookup      latency       // each look-up's own time
	Kept        latency       // from the moment at which a client was due until it ran
	LongLookups int           // look-ups above the limit
	LongKept    int           // turns that began later than the limit
	Wrong       int           // answers
	Collections int           // by the garbage collector
	LongestStop time.Duration // of all goroutines, in one of them
	WaitedMS    float64       // threads, for a processor
}

// swapMain is the process: its folder holds the two texts. It opens a list, changes it as many times as it is told, and
// prints what the clients noticed.
func swapMain(args []string) error {
	if len(args) != 3 {
		return errors.New("swap wants a folder with two texts, the number of their recipients, and how many swaps")
	}
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	times, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	found, err := swapList(args[0], n, times)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(found)
}

// swapper is a list whose text is exchanged under its clients.
type swapper struct {
	dir     string
	path    string // of the text that is in force
	list    *list.List
	changed chan list.State
	kept    chan error
	known   []string
	unknown []string
}

// longestQuiet bounds the time without a swap, in case the swaps took long because one was not noticed.
const longestQuiet = time.Minute

// swapList opens the list and measures: first with the swaps, then for as long without.
func swapList(dir string, n, times int) (*swapped, error) {
	s := &swapper{dir: dir, path: filepath.Join(dir, "list"), changed: make(chan list.State, 1), kept: make(chan error, 1)}
	if err := s.put(0); err != nil {
		return nil, err
	}
	var err error
	s.list, err = list.Open(s.path, list.Options{
		Keep:    filepath.Join(dir, "kept"),
		Changed: func(state list.State) { s.changed <- state },
		Kept:    func(err error) { s.kept <- err },
		Now:     func() time.Time { return time.Now().Add(time.Hour) }, // or a text that is new would not be kept
	})
	if err != nil {
		return nil, err
	}
	defer s.list.Close()
	if err := <-s.kept; err != nil {
		return nil, err
	}
	s.pickKeys(n)
	found := new(swapped)
	found.Swapping = s.underLoad(func() int {
		wrong := 0
		for generation := 1; generation <= times; generation++ {
			took, bad, err := s.swap(generation)
			wrong += bad
			if err != nil {
				found.Errors = append(found.Errors, err.Error())
				break
			}
			found.SwapMS = append(found.SwapMS, inMilliseconds(took))
		}
		return wrong
	})
	found.Quiet = s.underLoad(func() int {
		time.Sleep(min(time.Duration(found.Swapping.Seconds*float64(time.Second)), longestQuiet))
		return 0
	})
	return found, nil
}

// put moves a text into the place of the list, at once and without a copy: its writer is not what is measured.
func (s *swapper) put(generation int) error {
	next := s.path + ".next"
	if err := os.Link(swapText(s.dir, generation), next); err != nil {
		return err
	}
	return os.Rename(next, s.path)
}

// pickKeys chooses the addresses that are asked for; none of them is ever listed or not by turns.
func (s *swapper) pickKeys(n int) {
	const keys = 1 << 18
	s.known, s.unknown = make([]string, keys), make([]string, keys)
	for i := range keys {
		s.known[i] = listedUser(rand.IntN(n))
		s.unknown[i] = "no" + s.known[i]
	}
}

// patienceOfSwap is how long a swap may take before it counts as one that was not noticed: the slow look at the file,
// for want of an event, included.
const patienceOfSwap = 3 * time.Minute

// swap exchanges the text, waits until it is in force and on the disk, and asks for the recipients in which the texts differ.
func (s *swapper) swap(generation int) (took time.Duration, wrong int, err error) {
	begun := time.Now()
	if err := s.put(generation); err != nil {
		return 0, 0, err
	}
	deadline := time.After(patienceOfSwap)
	select {
	case state := <-s.changed:
		if state.Err != nil {
			return 0, 0, state.Err
		}
	case <-deadline:
		return 0, 0, fmt.Errorf("swap %d was not noticed", generation)
	}
	took = time.Since(begun)
	if s.list.Known(swapMark(generation)) != evidence.Exists {
		wrong++
	}
	if s.list.Known(swapMark(generation+1)) == evidence.Exists {
		wrong++
	}
	select {
	case err = <-s.kept:
	case <-deadline:
		err = fmt.Errorf("swap %d was not kept on the disk", generation)
	}
	return took, wrong, err
}

// underLoad lets the clients look up while something is done, which returns how many wrong answers it got itself.
func (s *swapper) underLoad(something func() int) phase {
	var collected, now debug.GCStats
	debug.ReadGCStats(&collected)
	waited, spent := waitedForProcessor(), ownCPU()
	var stop atomic.Bool
	var all sync.WaitGroup
	clients := make([]swapClient, swapClients)
	begun := time.Now()
	for i := range clients {
		all.Go(func() { clients[i].run(s, begun.Add(swapEvery*time.Duration(i)/swapClients), &stop) })
	}
	p := phase{Wrong: something()}
	stop.Store(true)
	all.Wait()
	p.Seconds = time.Since(begun).Seconds()
	p.CPU = (ownCPU() - spent).Seconds()
	p.WaitedMS = inMilliseconds(waitedForProcessor() - waited)
	debug.ReadGCStats(&now)
	p.Collections = int(now.NumGC - collected.NumGC)
	for _, pause := range now.Pause[:min(p.Collections, len(now.Pause))] { // the latest is the first
		p.LongestStop = max(p.LongestStop, pause)
	}
	var lookups, kept histogram
	for i := range clients {
		c := &clients[i]
		lookups.merge(&c.lookups)
		kept.merge(&c.kept)
		p.Wrong += c.wrong
		p.LongLookups += c.lookups.above
		p.LongKept += c.kept.above
	}
	p.Lookup, p.Kept = lookups.latency(), kept.latency()
	return p
}

// swapClient is one who looks up.
type swapClient struct {
	lookups, kept histogram
	wrong         int
}

// run looks a known and an unknown address up each time it is due, once at least. Who was kept from it for several turns makes them
// up, each late by its own measure: otherwise one long pause would count once, and hide in the percentiles.
func (c *swapClient) run(s *swapper, due time.Time, stop *atomic.Bool) {
	for i := rand.IntN(len(s.known)); ; i++ {
		time.Sleep(time.Until(due))
		begun := time.Now()
		c.kept.add(begun.Sub(due))
		k := i % len(s.known)
		if s.list.Known(s.known[k]) != evidence.Exists {
			c.wrong++
		}
		middle := time.Now()
		if s.list.Known(s.unknown[k]) == evidence.Exists {
			c.wrong++
		}
		c.lookups.add(middle.Sub(begun))
		c.lookups.add(time.Since(middle))
		if stop.Load() {
			return
		}
		due = due.Add(swapEvery)
	}
}

// waitedForProcessor is how long the threads of this process were ready to run and had to wait for a processor, as far as the
// kernel tells (/proc/PID/task/TID/schedstat, the second number); a thread that has ended is forgotten.
func waitedForProcessor() time.Duration {
	files, _ := filepath.Glob("/proc/self/task/*/schedstat") // the pattern is good
	var sum time.Duration
	for _, f := range files {
		text, err := os.ReadFile(f)
		if fields := strings.Fields(string(text)); err == nil && len(fields) > 1 {
			ns, _ := strconv.ParseInt(fields[1], 10, 64)
			sum += time.Duration(ns)
		}
	}
	return sum
}
