package directory

import (
	"fmt"
	"sync"
	"testing"

	"backstop/internal/evidence"

	"pgregory.net/rapid"
)

func put(c *cache, addr string, s evidence.Standing, at int64) {
	c.update("s", addr, func(*entry) *entry {
		return &entry{source: "s", addr: addr, standing: s, at: at}
	})
}

// The cache beside a map that does the same.
func TestCacheIsAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c, m := newCache(1_000_000), map[string]evidence.Standing{}
		for range rapid.IntRange(1, 400).Draw(t, "steps") {
			a := fmt.Sprintf("u%d@example.com", rapid.IntRange(0, 60).Draw(t, "user"))
			switch rapid.IntRange(0, 2).Draw(t, "step") {
			case 0:
				put(c, a, evidence.Exists, 1)
				m[a] = evidence.Exists
			case 1:
				put(c, a, evidence.Missing, 1)
				m[a] = evidence.Missing
			case 2:
				n := c.drop(func(e *entry) bool { return e.addr == a })
				if _, ok := m[a]; ok != (n == 1) {
					t.Fatalf("dropped %d of %s", n, a)
				}
				delete(m, a)
			}
			e := c.get("s", a)
			if s, ok := m[a]; ok != (e != nil) || ok && e.standing != s {
				t.Fatalf("%s: %v, want %v", a, e, s)
			}
		}
		n := 0
		c.all(func(e *entry) {
			n++
			if m[e.addr] != e.standing {
				t.Fatalf("%s: %v, want %v", e.addr, e.standing, m[e.addr])
			}
		})
		if got := int(c.exists.Load() + c.missing.Load()); n != len(m) || got != len(m) {
			t.Fatalf("%d entries, %d counted, want %d", n, got, len(m))
		}
	})
}

func TestCacheBound(t *testing.T) {
	for _, size := range []int{1, 100, 10_000} {
		c := newCache(size)
		for i := range 3 * size {
			put(c, fmt.Sprintf("u%d@example.com", i), evidence.Missing, int64(i))
		}
		n := 0
		c.all(func(*entry) { n++ })
		if n > size+len(c.shards) || n < size/2 {
			t.Errorf("%d entries in a cache of %d", n, size)
		}
	}
}

// A flood of unknown recipients does not push out the known ones.
func TestFloodLeavesTheKnown(t *testing.T) {
	c := newCache(20_000)
	for i := range 5_000 {
		put(c, fmt.Sprintf("known%d@example.com", i), evidence.Exists, 0)
	}
	for i := range 200_000 {
		put(c, fmt.Sprintf("unknown%d@example.com", i), evidence.Missing, 1)
	}
	if n := c.exists.Load(); n < 4_900 {
		t.Errorf("of 5000 known recipients %d are left", n)
	}
}

func TestCacheReadersAndWriters(t *testing.T) {
	c := newCache(1_000)
	put(c, "stays@example.com", evidence.Exists, 1<<40)
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 5_000 {
				a := fmt.Sprintf("u%d@example.com", i%300)
				if (i+w)%3 == 0 {
					c.drop(func(e *entry) bool { return e.addr == a })
				} else {
					put(c, a, evidence.Missing, int64(i))
				}
				if c.get("s", "stays@example.com") == nil {
					t.Error("an entry that nobody touched was lost")
					return
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkCachedMissing(b *testing.B) {
	d := New(Config{})
	defer d.Close()
	f := newFake("callahead:smtp://store.example:25")
	c := NewChain("example.com", Member{Source: f, Relay: true})
	q := Query{Address: address(b, "nobody@example.com")}
	d.Lookup(b.Context(), c, q)
	q.CutThrough = true
	b.ReportAllocs()
	for b.Loop() {
		if d.Lookup(b.Context(), c, q).Standing != evidence.Missing {
			b.Fatal("lost")
		}
	}
}

func TestHotPathAllocatesNothing(t *testing.T) {
	d := New(Config{})
	defer d.Close()
	f := newFake("store")
	f.set("ann@example.com", evidence.Exists)
	for name, c := range map[string]*Chain{
		"cached": NewChain("example.com", Member{Source: f}),
		"listed": NewChain("example.com", Member{Source: names{"ann@example.com"}}),
	} {
		for _, who := range []string{"ann@example.com", "nobody@example.com"} {
			q := Query{Address: address(t, who), Subaddress: "+"}
			ctx := t.Context()
			d.Lookup(ctx, c, q)
			if n := testing.AllocsPerRun(100, func() { d.Lookup(ctx, c, q) }); n != 0 {
				t.Errorf("%s %s: %v allocations", name, who, n)
			}
		}
	}
}
