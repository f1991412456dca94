package resolver

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"backstop/internal/mailtest"
)

// waitUntil asks again and again until it holds.
func waitUntil(t *testing.T, what string, holds func() bool) {
	t.Helper()
	ctx, end := context.WithTimeout(t.Context(), mailtest.Patience)
	defer end()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// TestFailingServerIsAskedLast for half a minute.
func TestFailingServerIsAskedLast(t *testing.T) {
	const z = "*.example.com TXT x"
	bad, good := mailtest.StartDNS(t, z), mailtest.StartDNS(t, z)
	bad.Fail("", mailtest.DNSRefused)
	r, clock := asks(t, late, bad, good)
	ask := func(name string, ofBad int) {
		t.Helper()
		if _, err := r.LookupTXT(t.Context(), name+".example.com"); err != nil {
			t.Error(err)
		}
		if n := bad.Asked(""); n != ofBad {
			t.Errorf("%s: the bad one was asked %d times, want %d", name, n, ofBad)
		}
	}
	ask("a", 1)
	ask("b", 1)
	if s := r.State(); s.Servers[1].Address != bad.Addr().String() || s.Servers[1].LastError == "" || s.Servers[1].Since.IsZero() || s.Servers[0].LastError != "" {
		t.Errorf("%+v", s)
	}
	clock.move(shunnedFor)
	bad.Fail("", mailtest.DNSWell)
	ask("c", 2)
	ask("d", 3)
	if s := r.State(); s.Servers[0].Address != bad.Addr().String() || s.Servers[0].LastError != "" || !s.Servers[0].Since.IsZero() {
		t.Errorf("%+v", s)
	}
}

// TestServFailIsOfTheName: the server is not to blame.
func TestServFailIsOfTheName(t *testing.T) {
	d := mailtest.StartDNS(t, "")
	d.Fail("example.com", mailtest.DNSServFail)
	r, _ := asks(t, late, d)
	_, err := r.LookupTXT(t.Context(), "example.com")
	wantKind(t, "servfail", err, "temporary")
	if s := r.State(); s.Servers[0].LastError != "" || s.Down {
		t.Errorf("%+v", s)
	}
	if n := d.Asked("example.com"); n != 1 {
		t.Errorf("asked %d times by one question", n)
	}
}

// TestSilentName: a stranger's name that no server can find out in time does not take the DNS away
// from all the others.
func TestSilentName(t *testing.T) {
	t.Parallel()
	d := mailtest.StartDNS(t, "example.com TXT x")
	for i := range 5 {
		d.Fail(fmt.Sprintf("%d.example.org", i), mailtest.DNSSilent)
	}
	r, _ := asks(t, 5*soon, d)
	var all sync.WaitGroup
	for i := range 5 {
		all.Go(func() {
			_, err := r.LookupTXT(t.Context(), fmt.Sprintf("%d.example.org", i))
			wantKind(t, "silent", err, "timeout")
		})
	}
	all.Wait()
	waitUntil(t, "the end of the probe", func() bool {
		r.gate.mu.Lock()
		defer r.gate.mu.Unlock()
		return !r.gate.probing
	})
	if s := r.State(); s.Down || d.Asked(".", "NS") == 0 {
		t.Errorf("%+v, probed %d times", s, d.Asked("."))
	}
	if _, err := r.LookupTXT(t.Context(), "example.com"); err != nil {
		t.Error(err)
	}
}

// TestAway: while no server answers, questions fail at once, and soon after one is back they do not.
func TestAway(t *testing.T) {
	d := mailtest.StartDNS(t, "*.example.com TXT x")
	r, clock := asks(t, late, d)
	ask := func(n int) error {
		_, err := r.LookupTXT(t.Context(), fmt.Sprintf("%d.example.com", n))
		return err
	}
	down := func(want bool) {
		t.Helper()
		waitUntil(t, fmt.Sprintf("down is %v", want), func() bool {
			r.gate.mu.Lock()
			defer r.gate.mu.Unlock()
			return r.gate.down == want && !r.gate.probing
		})
	}
	if err := ask(1); err != nil {
		t.Fatal(err)
	}
	d.Down()
	wantKind(t, "gone", ask(2), "temporary")
	down(true)
	s := r.State()
	if !s.Down || s.LastError == "" || s.Since != clock.now() {
		t.Errorf("%+v", s)
	}
	err := ask(3)
	if wantKind(t, "away", err, "temporary"); !strings.Contains(err.Error(), errAway) {
		t.Errorf("%v", err)
	}
	if err := ask(1); err != nil {
		t.Error("what is known is told all the same:", err)
	}
	for i, pause := range []time.Duration{firstPause, 2 * firstPause, 4 * firstPause, lastPause, lastPause} {
		clock.move(pause - 1)
		if err := ask(10 + i); !strings.Contains(err.Error(), errAway) {
			t.Errorf("before %v: %v", pause, err)
		}
		clock.move(1)
		if err := ask(20 + i); strings.Contains(err.Error(), errAway) {
			t.Errorf("after %v: %v", pause, err)
		}
		down(true)
	}
	d.Up()
	clock.move(lastPause)
	if err := ask(5); err != nil {
		t.Error("back:", err)
	}
	down(false)
	if s := r.State(); s.Down || s.LastError != "" {
		t.Errorf("%+v", s)
	}
}

// TestServerThatKnowsNoRoot: a server that does not answer the probe is no reason to ask nothing.
func TestServerThatKnowsNoRoot(t *testing.T) {
	t.Parallel()
	d := mailtest.StartDNS(t, "example.com TXT x")
	d.Fail(".", mailtest.DNSSilent)
	d.Fail("example.org", mailtest.DNSSilent)
	r, clock := asks(t, 5*soon, d)
	_, err := r.LookupTXT(t.Context(), "example.org")
	wantKind(t, "silent", err, "timeout")
	waitUntil(t, "down", func() bool { return r.State().Down })
	clock.move(firstPause)
	if _, err := r.LookupTXT(t.Context(), "example.com"); err != nil {
		t.Error(err)
	}
	if r.State().Down {
		t.Error("down although it answered")
	}
}

// TestResolvConf: the file is followed, and what cannot be used of it leaves things as they are.
func TestResolvConf(t *testing.T) {
	file := filepath.Join(t.TempDir(), "resolv.conf")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	c := &clock{t: time.Unix(1_800_000_000, 0)}
	r, err := New(Config{File: file, Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	want := func(fault bool, servers ...string) {
		t.Helper()
		s := r.State()
		var got []string
		for _, one := range s.Servers {
			got = append(got, one.Address)
		}
		if fmt.Sprint(got) != fmt.Sprint(servers) || (s.FileError != "") != fault {
			t.Errorf("%v, %q; want %v", got, s.FileError, servers)
		}
	}
	want(true, "127.0.0.1:53")
	write("nameserver 192.0.2.1\nsearch example.com\nnameserver 2001:db8::1\nnameserver fe80::1%lo\nnameserver host\nnameserver 192.0.2.1\nnameserver\n")
	want(true, "127.0.0.1:53")
	c.move(lookEvery)
	want(false, "192.0.2.1:53", "[2001:db8::1]:53", "[fe80::1%lo]:53")
	r.servers.failed(r.servers.list[1], "broken")
	write("# nothing\n")
	c.move(lookEvery)
	want(true, "192.0.2.1:53", "[fe80::1%lo]:53", "[2001:db8::1]:53")
	write("nameserver 2001:db8::1\n")
	c.move(lookEvery)
	want(false, "[2001:db8::1]:53")
	if s := r.State(); s.Servers[0].LastError != "broken" {
		t.Errorf("what was known of it is lost: %+v", s)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	c.move(lookEvery)
	want(true, "[2001:db8::1]:53")
	write("nameserver 2001:db8::1\n")
	c.move(lookEvery)
	want(false, "[2001:db8::1]:53")
}

func FuzzNameservers(f *testing.F) {
	f.Add("nameserver 192.0.2.1\noptions edns0\n")
	f.Add("nameserver fe80::1%eth0 # x\n;nameserver 1.1.1.1\n")
	f.Fuzz(func(t *testing.T, text string) {
		l := nameservers(text)
		if len(l) > maxServers {
			t.Errorf("%d servers", len(l))
		}
		for _, a := range l {
			if a == (netip.AddrPort{}) || a.Port() != 53 {
				t.Errorf("%v", a)
			}
		}
	})
}
