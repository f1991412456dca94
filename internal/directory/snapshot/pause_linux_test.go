package snapshot

import (
	"flag"
	"fmt"
	"maps"
	"math/bits"
	"os"
	"runtime"
	"runtime/metrics"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// pauses counts how long things took, in steps of an eighth, without allocating.
type pauses struct {
	counts [64 * 8]int64
	max    time.Duration
}

func (p *pauses) add(d time.Duration) {
	p.counts[stepOf(d)]++
	p.max = max(p.max, d)
}

func stepOf(d time.Duration) int {
	n := uint64(max(d, 8))
	top := bits.Len64(n) - 1
	return top*8 + int(n>>(top-3)&7)
}

func (p *pauses) join(o *pauses) {
	for i, n := range o.counts {
		p.counts[i] += n
	}
	p.max = max(p.max, o.max)
}

// report reports the pauses as metrics of the benchmark, in ns.
func (p *pauses) report(b *testing.B, name string) {
	all := int64(0)
	for _, n := range p.counts {
		all += n
	}
	at := func(q float64) time.Duration {
		left := int64(q * float64(all))
		for i, n := range p.counts {
			if left -= n; left < 0 {
				return time.Duration(1<<(i/8) + (i%8)<<(i/8-3))
			}
		}
		return p.max
	}
	for unit, d := range map[string]time.Duration{"p50": at(0.5), "p99": at(0.99), "p99.99": at(0.9999), "max": p.max} {
		b.ReportMetric(float64(d), name+"-"+unit+"-ns")
	}
}

// crowd is a hundred clients that look up, one address that is there and one that is not at a time. With every,
// each of them does so every so often, and what late measures begins when his time has come: one who is
// not let run waits. Without, they ask without a rest, and late is from one question to the next.
type crowd struct {
	every     time.Duration
	keys, nos []string
	set       *atomic.Pointer[Set]
	end       chan struct{}
	done      sync.WaitGroup

	mu         sync.Mutex
	look, late pauses
	wrong      int
}

func (c *crowd) client(first int) {
	var look, late pauses
	wrong := 0
	due := time.Now().Add(c.every * time.Duration(first) / 100)
	timer := time.NewTimer(time.Until(due))
	defer timer.Stop()
	for i := first; ; i = (i + 101) % len(c.keys) {
		if c.every > 0 {
			<-timer.C
		}
		select {
		case <-c.end:
			c.mu.Lock()
			defer c.mu.Unlock()
			c.look.join(&look)
			c.late.join(&late)
			c.wrong += wrong
			return
		default:
		}
		begun := time.Now()
		s := c.set.Load()
		if !s.Has(c.keys[i]) || s.Has(c.nos[i]) {
			wrong++
		}
		done := time.Now()
		look.add(done.Sub(begun))
		late.add(done.Sub(due))
		if c.every == 0 {
			due = done
			runtime.Gosched()
			continue
		}
		due = due.Add(c.every)
		timer.Reset(time.Until(due))
	}
}

// stopped is the longest time that the world was stopped for since before, and the state for the next question.
func stopped(before *metrics.Float64Histogram) (longest float64, now *metrics.Float64Histogram) {
	m := []metrics.Sample{{Name: "/sched/pauses/total/gc:seconds"}}
	metrics.Read(m)
	now = m[0].Value.Float64Histogram()
	for i, n := range now.Counts {
		if before != nil && n > before.Counts[i] {
			longest = now.Buckets[i+1]
		}
	}
	return longest, now
}

// busy is the processor time of everybody on this machine, and of this process.
func busy(b *testing.B) (all, ours time.Duration) {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		b.Fatal(err)
	}
	for i, field := range strings.Fields(strings.SplitN(string(stat), "\n", 2)[0]) {
		if n, err := strconv.Atoi(field); err == nil && i != 4 && i != 5 { // idle, and waiting for disks
			all += time.Duration(n) * 10 * time.Millisecond
		}
	}
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return all, time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// entries is the size for BenchmarkPauses; what docs/design/snapshot.md tells is of 10,000,000, on a machine that has nothing else to do.
var entries = flag.Int("entries", 20_000, "entries of the set in BenchmarkPauses")

// swaps are what may make look-ups wait. Each puts sets in force.
func swaps(b *testing.B, now *atomic.Pointer[Set]) map[string]func() {
	path := written(b, users(b, Key{}, *entries, *entries))
	open := func() {
		s, err := Open(path, Key{})
		if err != nil {
			b.Fatal(err)
		}
		now.Store(s)
	}
	open()
	return map[string]func(){
		"nothing": func() { <-time.After(100 * time.Millisecond) },
		"opened": func() {
			open()
			runtime.GC()
		},
		"built": func() {
			now.Store(users(b, Key{}, *entries, *entries))
			runtime.GC()
		},
		"collected": func() { // all the while it is built
			end := make(chan struct{})
			go func() {
				defer close(end)
				now.Store(users(b, Key{}, *entries, *entries))
			}()
			for {
				select {
				case <-end:
					return
				default:
					runtime.GC()
				}
			}
		},
		"written": func() {
			if err := now.Load().Write(path); err != nil {
				b.Error(err)
			}
		},
	}
}

// BenchmarkPauses reports what a hundred clients wait for while sets are swapped, and while nothing is: "look" is
// a look-up, "late" how late its answer came for one who asks every 10 ms, or without a rest. Beside
// it, how long the world was stopped, and how many processors others used meanwhile.
func BenchmarkPauses(b *testing.B) {
	var now atomic.Pointer[Set]
	does := swaps(b, &now)
	var keys, nos []string
	for i := range 1 << 17 {
		k := user(int(uint64(i) * 0x9E3779B97F4A7C15 >> 16 % uint64(*entries)))
		keys, nos = append(keys, k), append(nos, "no"+k)
	}
	for _, every := range []time.Duration{10 * time.Millisecond, 0} {
		for _, name := range slices.Sorted(maps.Keys(does)) {
			b.Run(fmt.Sprintf("every=%v/%s", every, name), func(b *testing.B) {
				c := &crowd{every: every, keys: keys, nos: nos, set: &now, end: make(chan struct{})}
				c.measure(b, does[name])
			})
		}
	}
}

// measure reports what the crowd waits for while do runs.
func (c *crowd) measure(b *testing.B, do func()) {
	for i := range 100 {
		c.done.Go(func() { c.client(i) })
	}
	begun := time.Now()
	_, before := stopped(nil)
	all, ours := busy(b)
	for b.Loop() {
		do()
	}
	took := time.Since(begun)
	allNow, oursNow := busy(b)
	close(c.end)
	c.done.Wait()
	longest, _ := stopped(before)
	c.look.report(b, "look")
	c.late.report(b, "late")
	b.ReportMetric(longest*1e9, "stopped-ns")
	b.ReportMetric((allNow-all-oursNow+ours).Seconds()/took.Seconds(), "others-processors")
	if c.wrong > 0 {
		b.Errorf("%d answers were wrong", c.wrong)
	}
}
