package directory

import (
	"fmt"
	"hash/maphash"
	"sync"
	"testing"

	"backstop/internal/evidence"

	"github.com/maypok86/otter/v2"
)

// The cache beside the two that it was chosen over. Each benchmark reads from all
// processors at once; run with -cpu 1,2,… and compare.

const benchEntries = 1 << 17

type benchKey struct{ source, addr string }

func benchAddresses() []string {
	a := make([]string, benchEntries)
	for i := range a {
		a[i] = fmt.Sprintf("user%d@example.com", i)
	}
	return a
}

func readAll(b *testing.B, get func(addr string) bool) {
	addrs := benchAddresses()
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			// A hot few, as a flood on one mailbox has them: where locks hurt most.
			if !get(addrs[i&15]) {
				b.Fatal("lost")
			}
		}
	})
}

func BenchmarkCacheOurs(b *testing.B) {
	c := newCache(1 << 20)
	for _, a := range benchAddresses() {
		c.update("callahead:smtp://store.example:25", a, func(*entry) *entry {
			return &entry{source: "callahead:smtp://store.example:25", addr: a, standing: evidence.Missing}
		})
	}
	readAll(b, func(a string) bool { return c.get("callahead:smtp://store.example:25", a) != nil })
}

func BenchmarkCacheRWMutex(b *testing.B) {
	type part struct {
		sync.RWMutex
		m map[benchKey]*entry
	}
	seed := maphash.MakeSeed()
	var parts [64]part
	for i := range parts {
		parts[i].m = map[benchKey]*entry{}
	}
	for _, a := range benchAddresses() {
		parts[maphash.String(seed, a)&63].m[benchKey{"callahead:smtp://store.example:25", a}] = &entry{}
	}
	readAll(b, func(a string) bool {
		p := &parts[maphash.String(seed, a)&63]
		p.RLock()
		e := p.m[benchKey{"callahead:smtp://store.example:25", a}]
		p.RUnlock()
		return e != nil
	})
}

func BenchmarkCacheOtter(b *testing.B) {
	c := otter.Must(&otter.Options[benchKey, *entry]{MaximumSize: 1 << 20})
	for _, a := range benchAddresses() {
		c.Set(benchKey{"callahead:smtp://store.example:25", a}, &entry{})
	}
	readAll(b, func(a string) bool {
		_, ok := c.GetIfPresent(benchKey{"callahead:smtp://store.example:25", a})
		return ok
	})
}
