package snapshot

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

func TestMarks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, err := NewMarks(rapid.IntRange(-1, 50).Draw(t, "expected"))
		if err != nil {
			t.Fatal(err)
		}
		defer m.Free()
		key, want := Key{7}, map[string]Bits{}
		for range rapid.IntRange(0, 400).Draw(t, "steps") {
			name := fmt.Sprint(rapid.IntRange(0, 200).Draw(t, "name"))
			want[name] = Bits(rapid.IntRange(1, 15).Draw(t, "bits"))
			if err := m.Set(key.Sum(name), want[name]); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 220 {
			name := fmt.Sprint(i)
			if got := m.Get(key.SumBytes([]byte(name))); got != want[name] {
				t.Fatalf("%s: %d, want %d", name, got, want[name])
			}
		}
		if m.Len() != len(want) {
			t.Fatalf("%d, want %d", m.Len(), len(want))
		}
	})
}

// All want the same place, which is the last one.
func TestCrowdedMarks(t *testing.T) {
	m, err := NewMarks(0)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Free()
	at := func(i int) Hash { return Hash{^uint64(0), uint64(i) << 4} }
	const n = 1000
	for i := range n {
		if err := m.Set(at(i), Bits(1+i%15)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		if got := m.Get(at(i)); got != Bits(1+i%15) {
			t.Fatalf("%d: %d", i, got)
		}
	}
	if m.Get(at(n)) != 0 || m.Len() != n {
		t.Errorf("%d", m.Len())
	}
}

func TestHashes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(name string) Hash {
			return Hash{rapid.Uint64().Draw(t, name), rapid.Uint64().Draw(t, name)}
		}
		a, b, c := draw("a"), draw("b"), draw("c")
		if a.Plus(b) != b.Plus(a) || a.Plus(b).Plus(c) != a.Plus(b.Plus(c)) || a.Plus(Hash{}) != a || HashFrom(a.Append([]byte("x"))[1:]) != a {
			t.Fatalf("%v %v", a, b)
		}
		if a.Compare(b) != -b.Compare(a) || (a.Compare(b) == 0) != (a == b) || (a.Compare(b) < 0) != a.before(b) {
			t.Fatalf("%v %v: %d", a, b, a.Compare(b))
		}
	})
}
