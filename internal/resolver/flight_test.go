package resolver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"backstop/internal/mailtest"
)

// underWay is how many questions are.
func underWay(r *Resolver) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.flights)
}

// TestOneTimeForAll: however many servers are silent, and however long the chain of aliases is, a question
// ends in its time. Without that this test would take longer than its patience.
func TestOneTimeForAll(t *testing.T) {
	t.Parallel()
	silent := make([]*mailtest.DNS, 8)
	var addrs []netip.AddrPort
	for i := range silent {
		silent[i] = mailtest.StartDNS(t, "")
		silent[i].Fail("example.com", mailtest.DNSSilent)
		addrs = append(addrs, silent[i].Addr())
	}
	for _, servers := range [][]netip.AddrPort{addrs[:1], addrs[:3], addrs} {
		r, err := New(Config{Servers: servers, Timeout: late, Total: soon})
		if err != nil {
			t.Fatal(err)
		}
		_, err = r.LookupTXT(t.Context(), "example.com")
		wantKind(t, fmt.Sprintf("%d servers", len(servers)), err, "timeout")
		if s := r.State(); s.Servers[0].LastError != "" {
			t.Errorf("a server is held to be silent that had less time than its due: %+v", s)
		}
		if n := underWay(r); n != 0 {
			t.Errorf("%d under way", n)
		}
		r.Close()
	}
	chain := mailtest.StartDNS(t, "a.example.com CNAME b.example.com.\nb.example.com CNAME c.example.com.\nc.example.com TXT x")
	for _, name := range []string{"a", "b"} {
		chain.Fail(name+".example.com", mailtest.DNSHalfChain)
	}
	release := chain.Hold("c.example.com")
	defer release()
	r, err := New(Config{Servers: []netip.AddrPort{chain.Addr()}, Timeout: late, Total: soon})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	_, err = r.LookupTXT(t.Context(), "a.example.com")
	wantKind(t, "slow chain", err, "timeout")
}

// TestNobodyWaits: a question that nobody wants answered any more goes to no other server. What the one says that
// is being asked is kept.
func TestNobodyWaits(t *testing.T) {
	t.Parallel()
	const z = "*.example.com TXT x"
	first, second := mailtest.StartDNS(t, z), mailtest.StartDNS(t, z)
	first.Fail("silent.example.com", mailtest.DNSSilent)
	second.Fail("silent.example.com", mailtest.DNSSilent)
	r, err := New(Config{Servers: []netip.AddrPort{first.Addr(), second.Addr()}, Timeout: late / 20, Tries: 1000, Total: 1000 * late})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	leaves := func(name string) {
		t.Helper()
		ctx, leave := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() {
			_, err := r.LookupTXT(ctx, name)
			ended <- err
		}()
		waitUntil(t, name+" is asked", func() bool { return first.Asked(name)+second.Asked(name) > 0 })
		leave()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
	}
	release := first.Hold("slow.example.com")
	leaves("slow.example.com")
	release()
	waitUntil(t, "the answer", func() bool { return r.State().Cached == 1 })
	if _, err := r.LookupTXT(t.Context(), "slow.example.com"); err != nil || first.Asked("slow.example.com") != 1 {
		t.Errorf("%v, asked %d times", err, first.Asked("slow.example.com"))
	}
	leaves("silent.example.com")
	waitUntil(t, "the end", func() bool { return underWay(r) == 0 && len(r.slots) == 0 })
	if n := second.Asked("silent.example.com"); n != 0 {
		t.Errorf("the second server was asked %d times", n)
	}
	if r.State().Cached != 1 {
		t.Error("that nobody waited is kept as an answer")
	}
}

// TestNobodyWaitsForAPlace: a question that has not been put yet ends with the last who wants it.
func TestNobodyWaitsForAPlace(t *testing.T) {
	d := mailtest.StartDNS(t, "example.com TXT x")
	r, _ := asks(t, late, d)
	for range maxFlights {
		r.slots <- struct{}{}
	}
	ctx, leave := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			_, err := r.LookupTXT(ctx, "example.com")
			wantKind(t, "left", err, "temporary")
		})
	}
	waitUntil(t, "three wait", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		f := r.flights[question{"example.com.", 16}]
		return f != nil && f.waiting == 3
	})
	leave()
	all.Wait()
	if n := underWay(r); n != 0 {
		t.Errorf("%d under way", n)
	}
	for range maxFlights {
		<-r.slots
	}
	if _, err := r.LookupTXT(t.Context(), "example.com"); err != nil || d.Asked("") != 1 || r.State().Turned != 0 {
		t.Errorf("%v, asked %d times, %+v", err, d.Asked(""), r.State())
	}
}

// TestSilentMakeRoom: a question that one server did not answer gives its place to one that waits.
func TestSilentMakeRoom(t *testing.T) {
	t.Parallel()
	d := mailtest.StartDNS(t, "example.com TXT x")
	d.Fail("example.org", mailtest.DNSSilent)
	r, err := New(Config{Servers: []netip.AddrPort{d.Addr()}, Timeout: soon, Tries: 10000, Total: 1000 * late})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for range maxFlights - 1 {
		r.slots <- struct{}{}
	}
	silent := make(chan error)
	go func() {
		_, err := r.LookupTXT(t.Context(), "example.org")
		silent <- err
	}()
	d.Wait(t, "the silent one", func(d *mailtest.DNS) bool { return d.Asked("example.org") > 0 })
	if _, err := r.LookupTXT(t.Context(), "example.com"); err != nil {
		t.Error(err)
	}
	wantKind(t, "silent", <-silent, "timeout")
}

// TestNoPlace: who gets no place in time is turned away and counted.
func TestNoPlace(t *testing.T) {
	d := mailtest.StartDNS(t, "example.com TXT x")
	r, err := New(Config{Servers: []netip.AddrPort{d.Addr()}, Total: soon})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for range maxFlights {
		r.slots <- struct{}{}
	}
	_, err = r.LookupTXT(t.Context(), "example.com")
	if wantKind(t, "no place", err, "temporary"); !strings.Contains(err.Error(), errMany) || r.State().Turned != 1 || d.Asked("") != 0 {
		t.Errorf("%v %+v", err, r.State())
	}
	for range maxFlights {
		<-r.slots
	}
	if _, err = r.LookupTXT(t.Context(), "example.com"); err != nil {
		t.Error("that there was no place is kept as an answer:", err)
	}
}

// TestSilentDomains: strangers whose name servers say nothing get a part of the room, one domain or
// forty, and everybody else is answered.
func TestSilentDomains(t *testing.T) {
	d := mailtest.StartDNS(t, "*.example.com TXT x\n*.example TXT x")
	var log bytes.Buffer // read after what writes it has ended
	clock := &clock{t: time.Unix(1_800_000_000, 0)}
	r, err := New(Config{Servers: []netip.AddrPort{d.Addr()}, Timeout: late, Total: late, Now: clock.now, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	ctx, leave := context.WithCancel(t.Context())
	var all sync.WaitGroup
	turned := make(chan struct{}, 100*1000)
	ask := func(domain string, n int) {
		for i := range n {
			name := fmt.Sprintf("%d.%s", i, domain)
			d.Fail(name, mailtest.DNSSilent)
			all.Go(func() {
				if _, err := r.LookupTXT(ctx, name); strings.Contains(err.Error(), errMany+" below "+domain) {
					turned <- struct{}{}
				}
			})
		}
	}
	ask("example.org", 200)
	for range 200 - maxBelow {
		<-turned
	}
	if s := r.State(); s.Turned != 200-maxBelow || s.Down || underWay(r) != maxBelow {
		t.Errorf("%+v, %d under way", s, underWay(r))
	}
	well := func(name string) {
		t.Helper()
		if _, err := r.LookupTXT(t.Context(), name); err != nil {
			t.Error(err)
		}
	}
	for i := range 50 {
		well(fmt.Sprintf("%d.example.com", i))
	}
	clock.move(turnedTold)
	for i := range 40 {
		ask(fmt.Sprintf("stranger%d.org", i), 40)
	}
	waitUntil(t, "everybody is in or out", func() bool { return uint64(underWay(r))+r.State().Turned == 200+40*40 })
	if n := underWay(r); n >= maxFlights {
		t.Errorf("strangers took all: %d", n)
	}
	for i := range 50 {
		well(fmt.Sprintf("%d.example", i))
	}
	leave()
	all.Wait()
	if n := strings.Count(log.String(), "too many questions"); n != 2 || !strings.Contains(log.String(), "below=example.org turned_away=1\n") {
		t.Errorf("%d lines: %s", n, &log)
	}
}

func TestRegistered(t *testing.T) {
	for name, want := range map[string]string{
		"a.b.example.com.":                  "example.com",
		"_dmarc.a.example.co.uk.":           "example.co.uk",
		"example.com.":                      "example.com",
		"com.":                              "com",
		"a.b.example.":                      "b.example",
		`a\.b.example.com.`:                 "example.com",
		"4.3.2.192.in-addr.arpa.":           "2.192.in-addr.arpa",
		"1.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa.": "8.b.d.0.1.0.0.2.ip6.arpa",
		"192.in-addr.arpa.":                 "192.in-addr.arpa",
	} {
		if got := strings.TrimSuffix(registered(name), "."); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

// TestNoAddressInErrors: strangers read them in Authentication-Results. The server is told beside the words.
func TestNoAddressInErrors(t *testing.T) {
	d := mailtest.StartDNS(t, "")
	var log bytes.Buffer
	clock := &clock{t: time.Unix(1_800_000_000, 0)}
	r, err := New(Config{Servers: []netip.AddrPort{d.Addr()}, Now: clock.now, Logger: slog.New(slog.NewJSONHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	d.Down()
	_, err = r.LookupTXT(t.Context(), "a.example.com")
	if wantKind(t, "away", err, "temporary"); !strings.Contains(err.Error(), "connection refused") || strings.Contains(err.Error(), "read:") {
		t.Error(err)
	}
	waitUntil(t, "down", func() bool { return r.State().Down })
	if _, err = r.LookupTXT(t.Context(), "b.example.com"); err == nil || err.Error() != "lookup b.example.com: no DNS server answers" {
		t.Error(err)
	}
	d.Up()
	clock.move(33 * time.Second)
	r.LookupTXT(t.Context(), "c.example.com")
	r.Close()
	if !strings.Contains(log.String(), `"away_for":"33s"`) {
		t.Error(log.String())
	}
}
