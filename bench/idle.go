package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// rowIdle holds connections that have said EHLO and nothing more, and weighs the process that serves them.
func rowIdle(ctx context.Context, b *bench, r result) []result {
	const wanted, limit = 10_000, 200.0
	r.Target = "200 MB"
	own := &figure{Name: "Backstop", Unit: "MB"}
	peer := &figure{Name: "Postfix", Unit: "MB"}
	r.Figures = []*figure{peer, own}
	b.idleOfPostfix(peer, &r, wanted)
	count := wanted
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err == nil && int(files.Max) < wanted+200 {
		count = int(files.Max) - 200
		r.note("only %d connections: the limit of open files here is %d", count, files.Max)
	}
	before, after, err := b.idleOfGateway(ctx, count)
	if err != nil {
		own.Missing = err.Error()
		return []result{r}
	}
	own.Rounds = []float64{megabytes(after)}
	own.finish()
	r.Ours = number(megabytes(after)) + " MB"
	r.note("Backstop alone %s MB; each connection %.1f KB", number(megabytes(before)), float64(after-before)/float64(count)/1024)
	if peer.Spread != nil {
		r.Ratio = fmt.Sprintf("%.4f", own.Spread.Median/peer.Spread.Median)
	}
	if count == wanted {
		r.judge(megabytes(after), limit)
	}
	return []result{r}
}

// idleOfGateway starts a Backstop of its own, so that neither a long list nor an earlier load is weighed.
func (b *bench) idleOfGateway(ctx context.Context, count int) (before, after int64, err error) {
	if b.gatewayMissing != nil {
		return 0, 0, b.gatewayMissing
	}
	list := filepath.Join(b.dir, "few")
	if err := os.WriteFile(list, []byte("user0000000@"+listedDomain+"\n"), 0o644); err != nil {
		return 0, 0, err
	}
	g, err := b.startGateway(ctx, "backstop-idle", list)
	if err != nil {
		return 0, 0, err
	}
	if before, err = memoryOf(g.pid(), "status", "VmRSS"); err != nil {
		return 0, 0, err
	}
	conns, err := hold(ctx, g.addr, count)
	defer release(conns)
	if err != nil {
		return 0, 0, err
	}
	after, err = memoryOf(g.pid(), "status", "VmRSS")
	return before, after, err
}

// idleOfPostfix holds a few connections, each of which occupies a process, and multiplies: its default is 100 processes at most.
func (b *bench) idleOfPostfix(f *figure, r *result, wanted int) {
	const few = 40
	if b.postfixMissing != nil {
		f.Missing = b.postfixMissing.Error()
		return
	}
	conns, err := hold(context.Background(), b.postfix.plain, few)
	defer release(conns)
	if err != nil {
		f.Missing = err.Error()
		return
	}
	pids, err := b.postfix.smtpdProcesses()
	if err != nil || len(pids) == 0 {
		f.Missing = fmt.Sprintf("its processes are not to be found (%v)", err)
		return
	}
	var sum int64
	for _, pid := range pids {
		pss, err := memoryOf(pid, "smaps_rollup", "Pss") // its share of what they have in common, not the whole
		if err != nil {
			f.Missing = err.Error()
			return
		}
		sum += pss
	}
	each := megabytes(sum) / float64(len(pids))
	f.Rounds = []float64{each * float64(wanted)}
	f.finish()
	r.Peer = fmt.Sprintf("%s MB each", number(each))
	r.note("Postfix: %d smtpd processes of %s MB each for %d connections (no more than 100 by default), multiplied", len(pids), number(each), few)
}

// smtpdProcesses returns the process ids of the instance's smtpd, the children of its master.
func (p *postfix) smtpdProcesses() ([]int, error) {
	text, err := os.ReadFile(filepath.Join(p.dir, "queue/pid/master.pid"))
	if err != nil {
		return nil, err
	}
	var master int
	if _, err := fmt.Sscan(string(text), &master); err != nil {
		return nil, err
	}
	entries, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, entry := range entries {
		line, err := os.ReadFile(entry)
		if err != nil || !strings.Contains(string(line), "(smtpd)") {
			continue // ended, or another one
		}
		if stat, err := parseProcStat(line); err == nil && stat.parent == master {
			pids = append(pids, stat.pid)
		}
	}
	return pids, nil
}

// hold opens connections, says EHLO on each, and keeps them open. What it has opened it returns in any case.
func hold(ctx context.Context, addr string, count int) ([]net.Conn, error) {
	const dialers = 32
	var next atomic.Int64
	var mu sync.Mutex
	var conns []net.Conn
	var failure error
	var all sync.WaitGroup
	for range dialers {
		all.Go(func() {
			for next.Add(1) <= int64(count) && ctx.Err() == nil {
				conn, err := greeted(addr)
				mu.Lock()
				if conn != nil {
					conns = append(conns, conn)
				}
				if err != nil && failure == nil {
					failure = fmt.Errorf("after %d connections: %w", len(conns), err)
				}
				stop := failure != nil
				mu.Unlock()
				if stop {
					return
				}
			}
		})
	}
	all.Wait()
	if failure == nil {
		failure = ctx.Err()
	}
	return conns, failure
}

// greeted opens one connection and says EHLO.
func greeted(addr string) (net.Conn, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(time.Now().Add(sessionTimeout)); err != nil {
		return conn, err
	}
	w := worker{conn: conn, in: bufio.NewReaderSize(conn, 512)}
	if err := w.expect("connect", 220); err != nil {
		return conn, err
	}
	if _, err := io.WriteString(conn, "EHLO idle.bench.example\r\n"); err != nil {
		return conn, err
	}
	return conn, w.expect("EHLO", 250)
}

func release(conns []net.Conn) {
	for _, conn := range conns {
		_ = conn.Close()
	}
}

func megabytes(n int64) float64 { return float64(n) / (1 << 20) }
