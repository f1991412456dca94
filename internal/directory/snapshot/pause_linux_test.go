package snapshot

import (
	"fmt"
	"math/bits"
	"os"
	"runtime"
	"runtime/metrics"
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

func (p *pauses) String() string {
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
	return fmt.Sprintf("p50 %v, p99 %v, p99.99 %v, max %v of %d", at(0.5), at(0.99), at(0.9999), p.max, all)
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
func busy(t *testing.T) (all, ours time.Duration) {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		t.Skip("there is no /proc/stat to tell who else is busy")
	}
	for i, field := range strings.Fields(strings.SplitN(string(stat), "\n", 2)[0]) {
		if n, err := strconv.Atoi(field); err == nil && i != 4 && i != 5 { // idle, and waiting for disks
			all += time.Duration(n) * 10 * time.Millisecond
		}
	}
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return all, time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestPauses prints what a hundred clients wait for while sets are swapped, and while nothing is. It wants a
// machine to itself, so it runs only when it is told how many entries to take.
func TestPauses(t *testing.T) {
	size, err := strconv.Atoi(os.Getenv("SNAPSHOT_TEST_PAUSES"))
	if err != nil {
		t.Skip("SNAPSHOT_TEST_PAUSES is not the number of entries")
	}
	turns := 1
	if os.Getenv("SNAPSHOT_TEST_SATURATED") != "" {
		turns = 2
	}
	path := written(t, users(t, Key{}, size, size))
	var now atomic.Pointer[Set]
	open := func() {
		s, err := Open(path, Key{})
		if err != nil {
			t.Fatal(err)
		}
		now.Store(s)
	}
	open()
	var keys, nos []string
	for i := range 1 << 17 {
		k := user(int(uint64(i) * 0x9E3779B97F4A7C15 >> 16 % uint64(size)))
		keys, nos = append(keys, k), append(nos, "no"+k)
	}
	for _, every := range []time.Duration{10 * time.Millisecond, 0}[:turns] {
		t.Logf("each of a hundred asks every %v", every)
		for _, how := range []struct {
			name string
			do   func()
		}{
			{"nothing is done", func() { <-time.After(2 * time.Second) }},
			{"opened", func() {
				for range 8 {
					open()
					runtime.GC()
				}
			}},
			{"built", func() { now.Store(users(t, Key{}, size, size)); runtime.GC() }},
			{"built, collected", func() {
				end := make(chan struct{})
				go func() { now.Store(users(t, Key{}, size, size)); close(end) }()
				for {
					select {
					case <-end:
						return
					default:
						runtime.GC()
					}
				}
			}},
			{"written", func() {
				for range 3 {
					if err := now.Load().Write(path); err != nil {
						t.Error(err)
					}
				}
			}},
		} {
			c := &crowd{every: every, keys: keys, nos: nos, set: &now, end: make(chan struct{})}
			for i := range 100 {
				c.done.Go(func() { c.client(i) })
			}
			begun := time.Now()
			_, before := stopped(nil)
			all, ours := busy(t)
			how.do()
			took := time.Since(begun)
			allNow, oursNow := busy(t)
			others := (allNow - all - oursNow + ours).Seconds() / took.Seconds()
			close(c.end)
			c.done.Wait()
			longest, _ := stopped(before)
			t.Logf("%-16s %5.2fs look-ups: %v; stopped for %.0f us; others used %.2f processors", how.name, took.Seconds(), &c.look, longest*1e6, others)
			t.Logf("%-16s        late:     %v; wrong: %d", "", &c.late, c.wrong)
		}
	}
}
