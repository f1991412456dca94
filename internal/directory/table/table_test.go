package table

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// A map beside one of Go's.
func TestMapIsAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := New(rapid.IntRange(0, 50).Draw(t, "expected"))
		want, notes := map[string]uint16{}, map[string]uint32{}
		for range rapid.IntRange(0, 300).Draw(t, "entries") {
			k, v := fmt.Sprint(rapid.IntRange(0, 400).Draw(t, "key")), rapid.Uint16().Draw(t, "value")
			_, there := want[k]
			if m.Insert(m.Hash(k), v) == there {
				t.Fatalf("%s: there already: %v", k, there)
			}
			if v%7 == 0 && want[k] != 0 {
				m.Note(m.Hash(k), uint32(v)*3)
				notes[k] = uint32(v) * 3
			}
			switch {
			case !there:
				want[k] = v
			case v&1 == 1:
				m.Change(m.Hash(k), v)
				want[k] = v
			}
		}
		if m.Len() != len(want) {
			t.Fatalf("%d keys, want %d", m.Len(), len(want))
		}
		for i := range 401 {
			k := fmt.Sprint(i)
			v, found := want[k]
			if got, ok := m.Get([]byte(k)); got != v || ok != found {
				t.Fatalf("%s: %d %v, want %d %v", k, got, ok, v, found)
			}
			if got, note, ok := m.GetNote([]byte(k)); got != v || ok != found || note != notes[k] {
				t.Fatalf("%s: the note is %d, want %d", k, note, notes[k])
			}
		}
	})
}

// What the package's comment says of memory, exactly.
func TestSize(t *testing.T) {
	const n = 1_000_000
	if got, want := New(n).Size(), 18*(n*5/4+1+256); got != want {
		t.Errorf("a table of a million takes %d octets, want %d", got, want)
	}
	m := New(n)
	m.Note(m.Hash("ann@example.com"), 1)
	if got, want := m.Size(), 22*(n*5/4+1+256); got != want {
		t.Errorf("with notes it takes %d octets, want %d", got, want)
	}
}

func TestNothingIsAllocated(t *testing.T) {
	m := New(10)
	m.Insert(m.Hash("ann@example.com"), 7)
	key := []byte("ann@example.com")
	if n := testing.AllocsPerRun(100, func() {
		if v, ok := m.Get(key); v != 7 || !ok {
			t.Error("lost")
		}
	}); n != 0 {
		t.Errorf("%v allocations a look-up", n)
	}
}
