package tally

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errDisk = errors.New("database or disk is full")

// shelf is a store in memory.
type shelf struct {
	mu   sync.Mutex
	sums map[Entry]uint64
	adds int
	err  error
	hang bool // until the context ends
}

func newShelf() *shelf { return &shelf{sums: map[Entry]uint64{}} }

// ready takes the lock, but hangs or fails where the store does.
func (s *shelf) ready(ctx context.Context) error {
	s.mu.Lock()
	if s.hang {
		s.mu.Unlock()
		<-ctx.Done()
		return ctx.Err()
	}
	if s.err != nil {
		defer s.mu.Unlock()
		return s.err
	}
	return nil
}

func (s *shelf) AddTally(ctx context.Context, lines []Line) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	s.adds++
	for _, l := range lines {
		s.sums[l.Entry] += l.Count
	}
	return nil
}

func (s *shelf) LoadTally(ctx context.Context, since Day, f func(Line) error) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	for e, n := range s.sums {
		if e.Day < since {
			continue
		}
		if err := f(Line{e, n}); err != nil {
			return err
		}
	}
	return nil
}

func (s *shelf) ExpireTally(ctx context.Context, before Day) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	for e := range s.sums {
		if e.Day < before {
			delete(s.sums, e)
		}
	}
	return nil
}

func (s *shelf) set(hang bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hang, s.err = hang, err
}

func (s *shelf) size() (lines, adds int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sums), s.adds
}

var (
	server = netip.MustParseAddr("10.0.0.7")
	leak   = Entry{Direction: Out, Domain: "example.com", Server: server, Verdict: Redirected, Kind: "bounce"}
	fake   = Entry{Direction: In, Domain: "example.com", Verdict: Unproven, Kind: "bounce", Sender: "isp.example.net"}
)

func closed(t *testing.T, y *Tally) {
	t.Helper()
	if err := y.Close(); err != nil {
		t.Error(err)
	}
}

func report(t *testing.T, y *Tally) string {
	t.Helper()
	lines, err := y.Report(t.Context(), time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, l := range lines {
		fmt.Fprintln(&b, l.Day, l.Direction, l.Domain, l.Server, l.Verdict, l.Kind, l.By, l.Sender, l.Count)
	}
	return b.String()
}

func total(t *testing.T, y *Tally) (lines int, sum uint64) {
	t.Helper()
	all, err := y.Report(t.Context(), time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range all {
		sum += l.Count
	}
	return len(all), sum
}

func TestCountAndReport(t *testing.T) {
	for _, where := range []string{"store", "memory"} {
		t.Run(where, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // it is 2000-01-01
				c := Config{}
				if where == "store" {
					c.Store = newShelf()
				}
				y := New(c)
				defer closed(t, y)
				for range 3 {
					y.Count(leak)
				}
				e := leak
				e.Sender = "not.kept.example" // a Sender of outbound mail is not
				e.Server = netip.MustParseAddr("::ffff:10.0.0.7")
				y.Count(e)
				e = fake
				e.Server, e.Sender, e.Domain = server, "ISP.example.NET", "Example.com"
				y.Count(e)
				time.Sleep(2 * WriteDelay)
				synctest.Wait()
				e.Verdict, e.By = Proven, "seal"
				y.Count(e)
				e.Verdict, e.By, e.Sender = Refused, "", "no domain\x1b[2J"
				y.Count(e)
				time.Sleep(24 * time.Hour)
				y.Count(leak)
				want := `2000-01-01 in example.com invalid IP proven bounce seal  1
2000-01-01 in example.com invalid IP refused bounce  others 1
2000-01-01 in example.com invalid IP unproven bounce  isp.example.net 1
2000-01-01 out example.com 10.0.0.7 redirected bounce   4
2000-01-02 out example.com 10.0.0.7 redirected bounce   1
`
				if got := report(t, y); got != want {
					t.Errorf("got\n%swant\n%s", got, want)
				}
				if lines, err := y.Report(t.Context(), time.Now()); err != nil || len(lines) != 1 {
					t.Errorf("since today: %v, %v", lines, err)
				}
			})
		})
	}
}

func TestKeptDays(t *testing.T) {
	for _, where := range []string{"store", "memory"} {
		t.Run(where, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := Config{}
				if where == "store" {
					c.Store = newShelf()
				}
				y := New(c)
				defer closed(t, y)
				for range 2 * KeepDays {
					y.Count(leak)
					time.Sleep(24 * time.Hour)
				}
				y.Count(leak)
				time.Sleep(sweepEvery)
				synctest.Wait()
				if lines, _ := total(t, y); lines != KeepDays+1 {
					t.Errorf("%d days, want today and %d", lines, KeepDays)
				}
			})
		})
	}
}

func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShelf()
		y := New(Config{Store: s})
		y.Count(leak)
		closed(t, y)
		y.Count(leak) // too late
		if n := y.State().Lost; n != 1 {
			t.Errorf("%d lost", n)
		}
		y = New(Config{Store: s})
		y.Count(leak)
		time.Sleep(WriteDelay)
		synctest.Wait()
		y.Count(leak) // and the machine stops here
		after := New(Config{Store: s})
		if lines, sum := total(t, after); lines != 1 || sum != 2 {
			t.Errorf("%d lines, %d counted; want 1 and 2", lines, sum)
		}
		closed(t, after)
		closed(t, y)
	})
}

// TestFloodBecomesOthers: the bounds hold, also over restarts, and nothing is left uncounted.
func TestFloodBecomesOthers(t *testing.T) {
	s := newShelf()
	now := func() time.Time { return time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC) }
	const restarts, each = 4, 2000
	for r := range restarts {
		y := New(Config{Store: s, Now: now})
		for i := range each {
			n := r*each + i
			y.Count(Entry{Direction: In, Domain: fmt.Sprintf("d%d.example.com", n%1000), Verdict: Unproven, Kind: "bounce", Sender: fmt.Sprintf("s%d.example.net", n)})
			y.Count(Entry{Direction: Out, Domain: "example.com", Verdict: Refused, Kind: "bounce", Server: netip.AddrFrom4([4]byte{10, 1, byte(n >> 8), byte(n)})})
			y.Count(Entry{Direction: Out, Domain: "example.com", Verdict: Refused, Kind: fmt.Sprint("kind ", n), Server: server})
		}
		closed(t, y)
	}
	y := New(Config{Store: s, Now: now})
	defer closed(t, y)
	all, err := y.Report(t.Context(), now())
	if err != nil {
		t.Fatal(err)
	}
	var sum uint64
	senders, servers, domains := map[string]bool{}, map[netip.Addr]bool{}, map[string]bool{}
	for _, l := range all {
		sum += l.Count
		senders[l.Sender], servers[l.Server], domains[l.Domain] = true, true, true
	}
	if sum != 3*restarts*each {
		t.Errorf("%d counted, want %d", sum, 3*restarts*each)
	}
	if len(all) > MaxLines+8 || len(senders) > MaxSenders+1 || len(servers) > MaxServers+1 || len(domains) > MaxDomains+1 {
		t.Errorf("%d lines, %d senders, %d servers, %d domains", len(all), len(senders), len(servers), len(domains))
	}
	if !senders[Others] || !domains[Others] {
		t.Error("nothing is others")
	}
}

func TestClockThatJumps(t *testing.T) {
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	y := New(Config{Now: func() time.Time { return at }})
	defer closed(t, y)
	for i := range 1000 {
		at = at.AddDate(0, 0, []int{-3, 200, -190, 1}[i%4])
		y.Count(leak)
	}
	if n := len(y.days); n > KeepDays+2 {
		t.Errorf("%d days are held", n)
	}
}

func TestStoreFailsAndRecovers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		s := newShelf()
		y := New(Config{Store: s, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		s.set(false, errDisk)
		for range 100 {
			y.Count(leak)
			time.Sleep(time.Minute)
		}
		synctest.Wait()
		if _, err := y.Report(t.Context(), time.Now()); !errors.Is(err, errDisk) {
			t.Errorf("a report from half of the counts: %v", err)
		}
		if st := y.State(); st.Waiting != 1 || st.LastError == "" {
			t.Errorf("%+v", st)
		}
		s.set(false, nil)
		time.Sleep(2 * maxRetry)
		synctest.Wait()
		if _, sum := total(t, y); sum != 100 {
			t.Errorf("%d counted", sum)
		}
		if lines, adds := s.size(); lines != 1 || adds != 1 || y.State().Waiting != 0 {
			t.Errorf("%d lines in %d writes", lines, adds)
		}
		closed(t, y)
		if n := strings.Count(log.String(), "cannot be written"); n != 1 {
			t.Errorf("told %d times:\n%s", n, log.String())
		}
	})
}

func TestHangingStoreBlocksNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShelf()
		s.set(true, nil)
		began := time.Now()
		y := New(Config{Store: s})
		y.Count(leak)
		if took := time.Since(began); took != loadTime {
			t.Errorf("the start took %v", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := y.Report(ctx, time.Now()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a report: %v", err)
		}
		began = time.Now()
		if err := y.Close(); err == nil || !strings.Contains(err.Error(), "not written") {
			t.Errorf("Close says %v", err)
		}
		if took := time.Since(began); took > closeTime+time.Second {
			t.Errorf("Close took %v", took)
		}
	})
}

// TestReportIsWhole: whoever reads while others count and write finds each message once.
func TestReportIsWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShelf()
		y := New(Config{Store: s})
		var counting sync.WaitGroup
		const by, each = 4, 500
		for range by {
			counting.Go(func() {
				for range each {
					y.Count(leak)
					time.Sleep(50 * time.Millisecond)
				}
			})
		}
		before := uint64(0)
		for range 50 {
			time.Sleep(WriteDelay / 7)
			_, sum := total(t, y)
			if sum < before {
				t.Errorf("%d, after %d", sum, before)
			}
			before = sum
		}
		counting.Wait()
		if _, sum := total(t, y); sum != by*each {
			t.Errorf("%d counted, want %d", sum, by*each)
		}
		closed(t, y)
	})
}

func TestDay(t *testing.T) {
	for at, want := range map[int64]string{0: "1970-01-01", -1: "1969-12-31", 86399: "1970-01-01", 86400: "1970-01-02", 1777636800: "2026-05-01"} {
		d := DayOf(time.Unix(at, 0))
		b, err := json.Marshal(d)
		if err != nil || d.String() != want || string(b) != `"`+want+`"` {
			t.Errorf("%d: %s, %s (%v)", at, d, b, err)
		}
		var again Day
		if err := json.Unmarshal(b, &again); err != nil || again != d {
			t.Errorf("%s becomes %s (%v)", b, again, err)
		}
	}
	var d Day
	if err := d.UnmarshalText([]byte("1.5.2026")); err == nil {
		t.Error("taken for a date")
	}
}

func BenchmarkCount(b *testing.B) {
	y := New(Config{})
	defer y.Close()
	b.ReportAllocs()
	for b.Loop() {
		y.Count(leak)
	}
}
