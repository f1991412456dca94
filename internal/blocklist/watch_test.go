package blocklist

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// zones is a resolver in memory: names to addresses. A name below a zone that fails cannot be found out. What has a ttl
// is remembered, as by a DNS server on the way.
type zones struct {
	mu     sync.Mutex
	a      map[string]string // by name: the address
	txt    map[string]string
	fails  map[string]bool          // by zone
	ttl    map[string]time.Duration // by name
	memory map[string]time.Time     // by name: until when what was there is still said
	asked  int
	before func(context.Context) // called before each answer, where it is set
}

func (z *zones) LookupAFresh(ctx context.Context, name string) ([]netip.Addr, time.Duration, error) {
	if z.before != nil {
		z.before(ctx)
	}
	if ctx.Err() != nil {
		return nil, 0, &net.DNSError{Err: "nobody waits for the answer any more", IsTemporary: true}
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	z.asked++
	for zone := range z.fails {
		if z.fails[zone] && strings.HasSuffix(name, zone) {
			return nil, 0, &net.DNSError{Err: "the server is away", IsTemporary: true}
		}
	}
	if left := time.Until(z.memory[name]); left > 0 {
		return []netip.Addr{testListed}, left, nil
	}
	if a, found := z.a[name]; found {
		if z.ttl[name] > 0 {
			z.memory[name] = time.Now().Add(z.ttl[name])
		}
		return []netip.Addr{netip.MustParseAddr(a)}, z.ttl[name], nil
	}
	return nil, 0, &net.DNSError{Err: "there is no such name", IsNotFound: true}
}

func (z *zones) LookupTXT(_ context.Context, name string) ([]string, error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if t, found := z.txt[name]; found {
		return []string{t}, nil
	}
	return nil, &net.DNSError{Err: "there is no such name", IsNotFound: true}
}

func (z *zones) do(f func()) {
	z.mu.Lock()
	defer z.mu.Unlock()
	f()
}

// lines are the log lines since the last call, each as "level message list".
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) take(t *testing.T) (short []string, last map[string]any) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.b.String()) {
		last = map[string]any{}
		if err := json.Unmarshal([]byte(line), &last); err != nil {
			t.Fatal(err)
		}
		short = append(short, fmt.Sprintf("%v %v: %v", last["level"], last["msg"], last["list"]))
	}
	l.b.Reset()
	return short, last
}

// watched is a Watch that runs in a bubble, with what it asks and what it says.
type watched struct {
	t    *testing.T
	z    *zones
	log  *lines
	w    *Watch
	stop func() // returns when it has ended
}

// begin starts a Watch over these addresses, in hours.
func begin(t *testing.T, z *zones, before *Watch, names []string, addrs ...netip.Addr) *watched {
	log := &lines{}
	w := NewWatch(WatchConfig{Resolver: z, Zones: names, Addresses: addrs, Every: time.Hour, Now: time.Now, Logger: slog.New(slog.NewJSONHandler(log, nil))}, before)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		w.Run(ctx)
	}()
	return &watched{t, z, log, w, func() { cancel(); <-ended }}
}

// settle waits until all is done for now, and holds what was logged against what is wanted.
func (w *watched) settle(what string, want ...string) (last map[string]any) {
	w.t.Helper()
	synctest.Wait()
	got, last := w.log.take(w.t)
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		w.t.Errorf("%s: %q, want %q", what, got, want)
	}
	return last
}

// pass lets an hour go by.
func (w *watched) pass(what string, want ...string) map[string]any {
	w.t.Helper()
	return w.after(time.Hour, what, want...)
}

// after lets so much time go by, in the bubble.
func (w *watched) after(d time.Duration, what string, want ...string) map[string]any {
	w.t.Helper()
	time.Sleep(d)
	return w.settle(what, want...)
}

// TestWatch: each change is told once, what cannot be found out changes nothing, and nothing runs on behind.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const other = "bl.example.net"
		z := &zones{a: map[string]string{Name(testListed, zone): "127.0.0.2", Name(testListed, other): "127.0.0.2"}, txt: map[string]string{}, fails: map[string]bool{}}
		w := begin(t, z, nil, []string{zone, other}, us, us6)
		began := time.Now()
		w.settle("the first check", "INFO a blocklist does not list such addresses: "+zone, "INFO a blocklist does not list such addresses: "+other)
		if st := w.w.State(); st.Entries[0].Standing != Clean || st.Entries[2].Standing != NotCovered || st.Entries[0].Since != began || !st.Lists[0].Up {
			t.Errorf("%+v", st)
		}
		w.pass("nothing new")

		z.do(func() { z.a[Name(us, zone)], z.txt[Name(us, zone)] = "127.0.0.2", "see \x1b[1mhere" })
		last := w.pass("listed", "WARN an address of ours is listed: "+zone)
		if last["address"] != us.String() || last["code"] != "127.0.0.2" || last["text"] != "see ?[1mhere" {
			t.Errorf("%v", last)
		}
		listed := time.Now()
		w.pass("still listed")

		z.do(func() { z.fails[zone] = true })
		w.pass("away once")
		if e := w.w.State().Entries[2]; e.Standing != Unknown || !e.Since.IsZero() || e.Why != "" {
			t.Errorf("away, and known all the same: %+v", e)
		}
		w.after(Again, "away twice")
		if st := w.w.State(); st.Lists[0].Up || st.Lists[0].Lost() || st.Entries[0].Standing != Listed || st.Entries[0].Since != listed {
			t.Errorf("away: %+v", st)
		}
		last = w.after(Again, "away for long", "WARN a blocklist cannot be asked, so nobody knows whether we are listed there: "+zone)
		if !strings.Contains(fmt.Sprint(last["error"]), "the server is away") || !w.w.State().Lists[0].Lost() {
			t.Errorf("%v, %+v", last, w.w.State())
		}
		w.pass("away for longer")
		if n := w.w.State().Lists[0].Fails; n != Patience+1 {
			t.Errorf("%d checks failed", n)
		}
		z.do(func() { z.fails[zone] = false; delete(z.a, Name(us, zone)) })
		w.pass("back, and it is there no more", "INFO a blocklist can be asked again: "+zone)
		if e := w.w.State().Entries[0]; e.Standing != Listed || e.Since != listed || !strings.Contains(e.Why, "not on the list any more") {
			t.Errorf("believed at once: %+v", e)
		}
		w.after(Again, "still not there", "INFO an address of ours is no longer listed: "+zone)
		if st := w.w.State(); !st.Lists[0].Up || st.Lists[0].Fails != 0 || st.Entries[0].Standing != Clean {
			t.Errorf("back: %+v", st)
		}
		w.stop()
		n := z.asked
		if w.pass("stopped"); z.asked != n {
			t.Error("it asks although it was stopped")
		}
	})
}

// TestWatchUnasked: before anything is known, nothing is said.
func TestWatchUnasked(t *testing.T) {
	st := NewWatch(WatchConfig{Zones: []string{zone}, Addresses: []netip.Addr{us, us6}}, nil).State()
	if len(st.Entries) != 2 || len(st.Lists) != 1 || st.Lists[0].Asked || st.Entries[0].Standing != Unknown {
		t.Errorf("%+v", st)
	}
}

// TestWatchStopsInACheck: what a stop cuts off is no finding.
func TestWatchStopsInACheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := begin(t, &zones{before: func(ctx context.Context) { <-ctx.Done() }}, nil, []string{zone}, us)
		w.settle("under way")
		w.stop()
		w.settle("stopped")
		if st := w.w.State(); st.Lists[0].Asked || st.Lists[0].Fails != 0 {
			t.Errorf("%+v", st)
		}
	})
}

// TestWatchTakesOver: a changed configuration does not tell again what is known.
func TestWatchTakesOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := us.Next()
		z := &zones{a: map[string]string{Name(testListed, zone): "127.0.0.2", Name(us, zone): "127.0.0.2", Name(next, zone): "127.0.0.2"}}
		first := begin(t, z, nil, []string{zone}, us)
		first.settle("first", "WARN an address of ours is listed: "+zone)
		time.Sleep(time.Minute)
		first.stop()
		second := begin(t, z, first.w, []string{zone}, us, next)
		if last := second.settle("second", "WARN an address of ours is listed: "+zone); last["address"] != next.String() {
			t.Errorf("%v", last)
		}
		a, b := first.w.State().Entries[0], second.w.State().Entries
		if a.Since != b[0].Since || b[0].Standing != Listed || b[1].Since == a.Since {
			t.Errorf("%+v, then %+v", a, b)
		}
		second.stop()
	})
}
