package policyd_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"backstop/internal/directory"
	"backstop/internal/directory/list"
	"backstop/internal/journal"
	"backstop/internal/metrics"
	"backstop/internal/policyd"
	"backstop/internal/postfix"
	"backstop/internal/verdict"
)

// busy is the world as a daemon has it: a hundred thousand users in a list, decisions written down and counted.
// With known false the list is a source that must be asked, so that answers come from the cache.
func busy(b *testing.B, known bool) *world {
	w := newWorld(b)
	chain := directory.NewChain("people", directory.Member{Source: people{}})
	if known {
		var text bytes.Buffer
		for i := range 100_000 {
			fmt.Fprintf(&text, "user%d\n", i)
		}
		file := filepath.Join(b.TempDir(), "list")
		must(b, os.WriteFile(file, text.Bytes(), 0o600))
		l, err := list.Open(file, list.Options{})
		must(b, err)
		b.Cleanup(l.Close)
		chain = directory.NewChain("list", directory.Member{Source: l})
	}
	for _, d := range w.cfg.Domains {
		d.Chain = chain
	}
	j := journal.New(io.Discard, journal.JSON)
	b.Cleanup(func() { j.Close() })
	w.cfg.Journal = j
	w.cfg.Metrics = metrics.New(verdict.EffectNames(), verdict.RuleNames())
	w.org.Guards.SPF = 0 // or the DNS would be measured
	return w
}

// mill is a connection in memory from which b.N requests come, one a read, and whose answers go nowhere: what is left is
// our own work without the system calls.
type mill struct {
	b        *testing.B
	requests [][]byte
	n        int
}

func (c *mill) Read(p []byte) (int, error) {
	if !c.b.Loop() {
		return 0, io.EOF
	}
	c.n++
	return copy(p, c.requests[c.n%len(c.requests)]), nil
}
func (*mill) Write(p []byte) (int, error)      { return len(p), nil }
func (*mill) Close() error                     { return nil }
func (*mill) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (*mill) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (*mill) SetDeadline(time.Time) error      { return nil }
func (*mill) SetReadDeadline(time.Time) error  { return nil }
func (*mill) SetWriteDeadline(time.Time) error { return nil }

// one is a listener with one connection.
type one struct {
	c    chan net.Conn
	over chan struct{}
}

func (l one) Accept() (net.Conn, error) {
	select {
	case c := <-l.c:
		return c, nil
	case <-l.over:
		return nil, net.ErrClosed
	}
}
func (l one) Close() error { close(l.over); return nil }
func (one) Addr() net.Addr { return &net.TCPAddr{} }

// grind serves requests from memory.
func (w *world) grind(b *testing.B, p policyd.Protocol, requests [][]byte) {
	d := policyd.New(w.config(p))
	l := one{make(chan net.Conn, 1), make(chan struct{})}
	c := &closing{mill: &mill{b: b, requests: requests}, done: make(chan struct{})}
	b.ReportAllocs()
	l.c <- c
	go d.Serve(l)
	<-c.done
	must(b, d.Shutdown(b.Context()))
}

type closing struct {
	*mill
	done chan struct{}
}

func (c *closing) Close() error {
	select {
	case <-c.done:
	default:
		close(c.done)
	}
	return nil
}

// recorded are the octets that a client sends.
type recorded struct {
	mill
	b bytes.Buffer
}

func (r *recorded) Write(p []byte) (int, error) { return r.b.Write(p) }

func policyRequests(b *testing.B, n int, changes func(i int) string) [][]byte {
	var all [][]byte
	for i := range n {
		r := &recorded{}
		must(b, postfix.NewPolicyClient(r).Send(request(changes(i))...))
		all = append(all, r.b.Bytes())
	}
	return all
}

func socketmapRequests(b *testing.B, n int, key func(i int) string) [][]byte {
	var all [][]byte
	for i := range n {
		r := &recorded{}
		must(b, postfix.NewSocketmapClient(r).Send("recipients", key(i)))
		all = append(all, r.b.Bytes())
	}
	return all
}

// mixed are recipients of whom every other one is missing.
func mixed(known bool) func(i int) string {
	return func(i int) string {
		switch {
		case i%2 == 1:
			return fmt.Sprintf("nobody%d@example.org", i%1000)
		case known:
			return fmt.Sprintf("user%d@example.org", i)
		}
		return fmt.Sprintf("bob%d@example.org", i%1000)
	}
}

// sources are where the benchmarks' answers come from.
var sources = map[string]bool{"list": true, "cache": false}

// BenchmarkPolicy is a recipient by policy request, without the system calls: a message of five recipients each, or each
// with a message of its own.
func BenchmarkPolicy(b *testing.B) {
	for name, known := range sources {
		for _, each := range []int{5, 1} {
			b.Run(fmt.Sprintf("%s/%d-a-message", name, each), func(b *testing.B) {
				w := busy(b, known)
				to := mixed(known)
				w.grind(b, policyd.Policy, policyRequests(b, 10_000, func(i int) string {
					return fmt.Sprintf("instance=1.%d recipient=%s", i/each, to(i))
				}))
			})
		}
	}
}

// BenchmarkSocketmap is a recipient by look-up, without the system calls.
func BenchmarkSocketmap(b *testing.B) {
	for name, known := range sources {
		b.Run(name, func(b *testing.B) {
			busy(b, known).grind(b, policyd.Socketmap, socketmapRequests(b, 10_000, mixed(known)))
		})
	}
}

// BenchmarkLoopback is both ends and the kernel between them, one question at a time. Of cpu-us/op, which counts
// the whole process, about half is the client's.
func BenchmarkLoopback(b *testing.B) {
	to := mixed(true)
	b.Run("policy", func(b *testing.B) {
		w := busy(b, true)
		w.opens(policyd.Policy)
		w.toAndFro(b, policyRequests(b, 10_000, func(i int) string {
			return fmt.Sprintf("instance=1.%d recipient=%s", i/5, to(i))
		}))
	})
	b.Run("socketmap", func(b *testing.B) {
		w := busy(b, true)
		w.opens(policyd.Socketmap)
		w.toAndFro(b, socketmapRequests(b, 10_000, to))
	})
}

// toAndFro sends each request when the one before it is answered. Answers are short, so that each comes in one read.
func (w *world) toAndFro(b *testing.B, requests [][]byte) {
	nc, answer := w.dial(), make([]byte, 4096)
	before := cpuTime(b)
	n := 0
	for ; b.Loop(); n++ {
		if _, err := nc.Write(requests[n%len(requests)]); err != nil {
			b.Fatal(err)
		}
		if _, err := nc.Read(answer); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64((cpuTime(b)-before).Nanoseconds())/1000/float64(n), "cpu-us/op")
}

// cpuTime is what the process has used so far.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	must(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
