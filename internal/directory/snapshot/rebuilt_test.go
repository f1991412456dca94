package snapshot

import (
	"fmt"
	"maps"
	"testing"

	"pgregory.net/rapid"
)

// A set made of hashes is the one made of their keys, and what both have is counted.
func TestRebuiltSet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		keys := rapid.SliceOf(rapid.StringMatching(`[a-f][@][ab][.]example|[a-c]`))
		first, second := keys.Draw(t, "first"), keys.Draw(t, "second")
		a, err := NewBuilder(Key{}, len(first))
		if err != nil {
			t.Fatal(err)
		}
		was := map[string]bool{}
		for _, k := range first {
			a.Add(k)
			was[k] = true
		}
		old, err := a.Finish("old", readAt)
		if err != nil {
			t.Fatal(err)
		}
		b, err := NewBuilder(old.Key(), 0)
		if err != nil {
			t.Fatal(err)
		}
		b.Reveal()
		byName, _ := old.Domains()
		for _, d := range byName {
			b.Domain(d.Name)
		}
		b.Compare(old)
		is, both := map[string]bool{}, map[string]uint64{}
		for _, k := range second {
			b.AddHash(old.Key().Sum(k), b.Domain(nameOf(k)))
			if !is[k] && was[k] {
				both[nameOf(k)]++
			}
			is[k] = true
		}
		set, err := b.Finish("new", readAt)
		if err != nil {
			t.Fatal(err)
		}
		if kept, others := b.Kept(); !maps.Equal(kept, both) || others != 0 {
			t.Fatalf("kept %v %d, want %v", kept, others, both)
		}
		if same := set.Sum() == old.Sum(); same != maps.Equal(was, is) {
			t.Fatalf("same: %v: %v %v", same, was, is)
		}
		domains := map[string]bool{}
		for k := range is {
			domains[nameOf(k)] = true
			if !set.Has(k) || !set.HasHash(old.Key().Sum(k)) {
				t.Fatalf("%s is lost", k)
			}
		}
		for k := range was {
			if set.Has(k) != is[k] {
				t.Fatalf("%s: %v", k, !is[k])
			}
		}
		if byName, _ := set.Domains(); len(byName) != len(domains) {
			t.Fatalf("domains %v, want %v", byName, domains)
		}
	})
}

func TestRevealedKeyStandsInTheFile(t *testing.T) {
	old := users(t, Key{}, 10, 10)
	b, err := NewBuilder(old.Key(), 10)
	if err != nil {
		t.Fatal(err)
	}
	b.Reveal()
	b.Add(user(3))
	set, err := b.Finish("", readAt)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(written(t, set), Key{})
	if err != nil || !s.Has(user(3)) || s.Key() != old.Key() {
		t.Errorf("%v", err)
	}
	set.Free()
}

func TestKeptOfDomainsBeyondCounting(t *testing.T) {
	make := func(key Key, old *Set, n int) (*Builder, *Set) {
		b, err := NewBuilder(key, n)
		if err != nil {
			t.Fatal(err)
		}
		b.Reveal()
		if old != nil {
			b.Compare(old)
		}
		for i := range n {
			b.Add(fmt.Sprintf("a@d%d.example", i))
		}
		s, err := b.Finish("", readAt)
		if err != nil {
			t.Fatal(err)
		}
		return b, s
	}
	_, old := make(NewKey(), nil, MaxDomains+500)
	b, _ := make(old.Key(), old, MaxDomains+300)
	if kept, others := b.Kept(); len(kept) != MaxDomains || others != 300 {
		t.Errorf("%d by name, %d others", len(kept), others)
	}
}
