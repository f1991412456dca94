package blocklist

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"backstop/internal/mailtest"
)

// forgets makes all names go away, as they do for who is refused by NXDOMAIN.
func (z *zones) forgets() {
	z.do(func() { clear(z.a) })
}

// TestWatchRefused: a list that answers us no more does not clear who was on it, although a DNS server on the way remembers
// its test entry for longer than the listing; and who was not on it is not said to be clean any more.
func TestWatchRefused(t *testing.T) {
	for _, c := range []struct {
		what string
		test netip.Addr    // the one that is remembered
		ttl  time.Duration // of the test entry
	}{
		{"an hour", testListed, time.Hour},
		{"half an hour", testListed, 30 * time.Minute},
		{"a day", testListed, 24 * time.Hour},
		{"the other family's", testListed6, 90 * time.Minute},
	} {
		t.Run(c.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				z := &zones{a: map[string]string{Name(testListed, zone): "127.0.0.2", Name(us, zone): "127.0.0.2"},
					ttl: map[string]time.Duration{Name(c.test, zone): c.ttl}, memory: map[string]time.Time{}}
				z.a[Name(c.test, zone)] = "127.0.0.2"
				if c.test != testListed {
					z.memory[Name(c.test, zone)] = time.Now().Add(c.ttl + time.Minute)
				}
				w := begin(t, z, nil, []string{zone}, us, us.Next())
				w.settle("first", "WARN an address of ours is listed: "+zone)
				if st := w.w.State(); st.Entries[1].Standing != Clean || !st.Lists[0].Told {
					t.Errorf("%+v", st)
				}
				w.after(59*time.Minute, "well")
				z.forgets()
				for range 30 {
					w.hour()
				}
				want := []string{"WARN a blocklist cannot be asked, so nobody knows whether we are listed there: " + zone}
				if c.test == testListed6 {
					want = append([]string{"INFO a blocklist does not list such addresses: " + zone}, want...)
				}
				w.settle("refused", want...)
				if st := w.w.State(); st.Entries[0].Standing != Listed || st.Entries[0].Since.IsZero() || st.Entries[1].Standing != Unknown || !st.Entries[1].Since.IsZero() || st.Lists[0].Up {
					t.Errorf("%+v", st)
				}
				w.stop()
			})
		})
	}
}

// hour lets one go by, and looks at nothing.
func (w *watched) hour() {
	time.Sleep(time.Hour)
	synctest.Wait()
}

// TestWatchOff: an address that comes off is told once no memory can be the reason any more, and is listed still if it
// is back before.
func TestWatchOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := &zones{a: map[string]string{Name(testListed, zone): "127.0.0.2", Name(us, zone): "127.0.0.2"},
			ttl: map[string]time.Duration{Name(testListed, zone): 50 * time.Minute}, memory: map[string]time.Time{}}
		w := begin(t, z, nil, []string{zone}, us)
		w.settle("first", "WARN an address of ours is listed: "+zone)
		z.do(func() { delete(z.a, Name(us, zone)) })
		w.pass("off, seen once") // and the test entry was asked of the list just then
		w.after(49*time.Minute, "before the end of its life")
		z.do(func() { z.a[Name(us, zone)] = "127.0.0.2" })
		w.after(time.Minute, "on it again")
		if e := w.w.State().Entries[0]; e.Standing != Listed || e.Why != "" || !e.sure.IsZero() {
			t.Errorf("%+v", e)
		}
		z.do(func() { delete(z.a, Name(us, zone)) })
		w.pass("off again")
		z.do(func() { z.fails = map[string]bool{zone: true} })
		w.after(50*time.Minute, "and away, so that it begins anew")
		z.do(func() { z.fails = nil })
		w.after(Again, "back, and off")
		last := w.after(50*time.Minute, "and sure", "INFO an address of ours is no longer listed: "+zone)
		if last["listed_for"] != "4h40m0s" || w.w.State().Entries[0].Standing != Clean {
			t.Errorf("%v %+v", last, w.w.State())
		}
		w.pass("nothing new")
		w.stop()
	})
}

// TestAskedAnew: what the resolver remembers of a test entry, or of an address, is not taken.
func TestAskedAnew(t *testing.T) {
	d := mailtest.StartDNS(t, Name(testListed, zone)+" 3600 A 127.0.0.2\n"+Name(us, zone)+" 3600 A 127.0.0.2\n")
	c := &Checker{Resolver: asks(t, d, late)}
	check := func() Result { return c.Check(t.Context(), []string{zone}, []netip.Addr{us})[0] }
	if r := check(); r.Standing != Listed {
		t.Errorf("%+v", r)
	}
	d.Set(Name(testListed, zone) + " 3600 A 127.0.0.2\n")
	if r := check(); r.Standing != Clean || r.Kept != time.Hour {
		t.Errorf("off: %+v", r)
	}
	d.Set("other.example.net A 192.0.2.1\n")
	if r := check(); r.Standing != Unknown {
		t.Errorf("refused: %+v", r)
	}
}

// slow answers the test entries, and nothing else before the question is given up.
type slow struct{ zones }

func (s *slow) LookupAFresh(ctx context.Context, name string) ([]netip.Addr, time.Duration, error) {
	if name == Name(testListed, zone) || name == Name(testClean, zone) {
		return s.zones.LookupAFresh(ctx, name)
	}
	<-ctx.Done()
	return nil, 0, &net.DNSError{Err: "there was no answer in time", IsTimeout: true, IsTemporary: true}
}

// TestBound: a list that falls silent behind its test entries does not hold a run for longer than it may take.
func TestBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var addrs []netip.Addr
		for a := us; len(addrs) < 256; a = a.Next() {
			addrs = append(addrs, a)
		}
		began := time.Now()
		got := (&Checker{Resolver: &slow{zones{a: map[string]string{Name(testListed, zone): "127.0.0.2"}}}}).Check(t.Context(), []string{zone}, addrs)
		if took := time.Since(began); took > listTime {
			t.Errorf("it took %v", took)
		}
		for _, r := range got {
			if r.Standing != Unknown || r.Why != "there was no answer in time" {
				t.Fatalf("%+v", r)
			}
		}
	})
}
