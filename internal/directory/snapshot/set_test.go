package snapshot

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var readAt = time.Unix(1_700_000_000, 123)

func user(i int) string { return fmt.Sprintf("user.number%d@example.com", i) }

// users is a set of the first n, made with a guess of its size.
func users(tb testing.TB, key Key, n, guess int) *Set {
	tb.Helper()
	b, err := NewBuilder(key, guess)
	if err != nil {
		tb.Fatal(err)
	}
	for i := range n {
		b.Add(user(i))
	}
	s, err := b.Finish("users", readAt)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// written is the set's file.
func written(tb testing.TB, s *Set) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "set")
	if err := s.Write(path); err != nil {
		tb.Fatal(err)
	}
	return path
}

func holdsUsers(tb testing.TB, s *Set, n int) {
	tb.Helper()
	if s.Len() != n {
		tb.Fatalf("%d entries, want %d", s.Len(), n)
	}
	for i := range n {
		if !s.Has(user(i)) {
			tb.Fatalf("entry %d of %d is lost", i, n)
		}
		if s.Has("no" + user(i)) {
			tb.Fatalf("entry %d of %d was never added", i, n)
		}
	}
}

func TestAnyGuessOfTheSize(t *testing.T) {
	for _, n := range []int{0, 1, 2, 1000, 1024, 20_000} {
		for _, guess := range []int{-1, 0, 1, n / 2, n, 10 * n, 100_000} {
			s := users(t, Key{}, n, guess)
			holdsUsers(t, s, n)
			if most := int64(spare+2)*slotSize + int64(n)*21; s.Size() > most {
				t.Errorf("%d entries, guessed %d: %d octets, want at most %d", n, guess, s.Size(), most)
			}
		}
	}
}

func TestFileGivesTheSetBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOfN(rapid.StringMatching(`[a-c]{0,3}|"a@b"|[ab]@[ab]\.example|"x@y"@a\.example`), 0, 300).Draw(t, "keys")
		want := map[string]bool{}
		domains := map[string]uint64{}
		b, err := NewBuilder(Key{}, rapid.IntRange(0, 400).Draw(t, "guess"))
		if err != nil {
			t.Fatal(err)
		}
		for i, w := range words {
			if !want[w] {
				want[w] = true
				name := ""
				if at := strings.LastIndexByte(w, '@'); at >= 0 && !strings.HasSuffix(w, `"`) {
					name = w[at+1:]
				}
				domains[name]++
			}
			if i%2 == 0 {
				b.Add(w)
			} else {
				b.AddBytes([]byte(w))
			}
		}
		made, err := b.Finish("origin of it", readAt)
		if err != nil {
			t.Fatal(err)
		}
		file, err := appendHeader(nil, made)
		if err != nil {
			t.Fatal(err)
		}
		file = append(file, made.t.mem...)
		s, err := read(bytes.NewReader(file), int64(len(file)), Key{})
		if err != nil {
			t.Fatal(err)
		}
		if s.Len() != len(want) || s.Origin() != "origin of it" || !s.Made().Equal(readAt) || s.HasLocals() != (domains[""] > 0) {
			t.Fatalf("%d entries of %q, %v", s.Len(), s.Origin(), s.Made())
		}
		byName, others := s.Domains()
		for _, d := range byName {
			if domains[d.Name] != d.Entries {
				t.Fatalf("%q has %d entries, want %d", d.Name, d.Entries, domains[d.Name])
			}
		}
		if len(byName) != len(domains) || others != 0 {
			t.Fatalf("domains %v, %d others, want %v", byName, others, domains)
		}
		for _, k := range rapid.SliceOf(rapid.StringMatching(`[a-c]{0,3}|[ab]@[ab]\.example`)).Draw(t, "asked") {
			if s.Has(k) != want[k] {
				t.Fatalf("%q: %v", k, !want[k])
			}
		}
		for k := range want {
			if !s.Has(k) {
				t.Fatalf("%q is lost", k)
			}
		}
	})
}

func TestManyDomains(t *testing.T) {
	b, err := NewBuilder(Key{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	const n = MaxDomains + 500
	for i := range n {
		b.Add(fmt.Sprintf("a@d%d.example", i))
		b.Add("b@d0.example")
	}
	made, err := b.Finish("", readAt)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(written(t, made), Key{})
	if err != nil {
		t.Fatal(err)
	}
	byName, others := s.Domains()
	if len(byName) != MaxDomains || others != 500 || byName[0] != (Domain{"d0.example", 2}) || s.Len() != n+1 {
		t.Errorf("%d domains, %d others, %v first, %d entries", len(byName), others, byName[0], s.Len())
	}
	if !s.HasLocals() { // nobody knows
		t.Error("the others are taken for full addresses")
	}
}

func TestFullTable(t *testing.T) {
	b, err := NewBuilder(Key{}, 10_000)
	if err != nil {
		t.Fatal(err)
	}
	// All hashes have their place in the last sixteenth, which is too small for them.
	const n = 5 * spare
	at := func(i int) Hash { return Hash{^uint64(0) - uint64(i)<<49, 7} }
	before := b.t.places
	for i := range n {
		if !b.insert(at((i * 7) % n)) { // 7 and n have no factor in common
			t.Fatalf("%d: not new", i)
		}
	}
	if b.insert(at(5)) {
		t.Error("one that was there is new")
	}
	for i := range n {
		if !b.t.has(at(i)) {
			t.Fatalf("%d of %d is lost", i, n)
		}
	}
	if b.t.n != n || b.t.places == before || b.err != nil {
		t.Errorf("%d entries, want %d; %d places; %v", b.t.n, n, b.t.places, b.err)
	}
	if b, err = NewBuilder(Key{}, 0); err != nil {
		t.Fatal(err)
	}
	for i := range 2 * spare {
		b.insert(Hash{^uint64(0), uint64(i + 1)})
	}
	if _, err := b.Finish("", readAt); !errors.Is(err, errCrowded) {
		t.Errorf("hashes that cannot be spread: %v", err)
	}
}

func TestBuilderIsUsedOnce(t *testing.T) {
	b, err := NewBuilder(Key{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Finish("", readAt); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Finish("", readAt); !errors.Is(err, errFinished) {
		t.Errorf("%v", err)
	}
	b.Discard()
	b, err = NewBuilder(Key{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	b.Add("a")
	b.Discard()
	if _, err := b.Finish("", readAt); !errors.Is(err, errFinished) {
		t.Errorf("%v", err)
	}
}

func TestKeyKeptApart(t *testing.T) {
	key := Key([]byte("sixteen octets!!"))
	path := written(t, users(t, key, 100, 100))
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(file, key[:]) || bytes.Contains(file, key[:8]) {
		t.Error("the key stands in the file")
	}
	s, err := Open(path, key)
	if err != nil {
		t.Fatal(err)
	}
	holdsUsers(t, s, 100)
	if err := s.Write(path); err != nil { // what was apart stays apart
		t.Fatal(err)
	}
	for _, wrong := range []Key{{}, Key([]byte("sixteen octets!?"))} {
		if _, err := Open(path, wrong); !errors.Is(err, ErrKey) {
			t.Errorf("opened with the key %q: %v", wrong, err)
		}
	}
	if _, err := Open(written(t, users(t, Key{}, 100, 100)), key); !errors.Is(err, ErrKey) {
		t.Errorf("a key for a file that has its own: %v", err)
	}
}

func TestNobodyCanBeReadFromTheFile(t *testing.T) {
	file, err := os.ReadFile(written(t, users(t, Key{}, 1000, 1000)))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(file, []byte("user.")) || bytes.Contains(file, []byte("number")) || !bytes.Contains(file, []byte("example.com")) {
		t.Error("the file should show the domain and nobody in it")
	}
	a, b := users(t, Key{}, 10, 10), users(t, Key{}, 10, 10)
	if bytes.Equal(a.t.mem, b.t.mem) {
		t.Error("two files of the same users are the same, so one can be read with the other's key")
	}
}

func TestOrigin(t *testing.T) {
	path := written(t, users(t, Key{}, 10, 10))
	if o, err := Origin(path); o != "users" || err != nil {
		t.Errorf("%q, %v", o, err)
	}
	if err := os.Truncate(path, 50); err != nil {
		t.Fatal(err)
	}
	if _, err := Origin(path); !errors.Is(err, ErrDamaged) {
		t.Errorf("%v", err)
	}
	if _, err := Origin(path + "?"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

func TestLookUpsAllocateNothing(t *testing.T) {
	s := users(t, Key{}, 1000, 1000)
	keys := []string{user(3), user(1001), "postmaster"}
	if n := testing.AllocsPerRun(100, func() {
		for _, k := range keys {
			s.Has(k)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkHas looks addresses up in random order, every other one present. p50 and p99 are of single look-ups, and have the clock's own time in them.
func BenchmarkHas(b *testing.B) {
	for _, n := range []int{1_000, 100_000, 1_000_000, 10_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := users(b, Key{}, n, n)
			keys := shuffled(n)
			took := make([]time.Duration, 0, len(keys))
			for i, k := range keys {
				begun := time.Now()
				has := s.Has(k)
				took = append(took, time.Since(begun))
				if has != (i%2 == 0) {
					b.Fatal(k)
				}
			}
			slices.Sort(took)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				s.Has(keys[i%len(keys)])
			}
			b.ReportMetric(float64(took[len(took)/2]), "p50-ns")
			b.ReportMetric(float64(took[len(took)*99/100]), "p99-ns")
			b.ReportMetric(float64(s.Size())/float64(n), "B/entry")
		})
	}
}

func shuffled(n int) []string {
	keys := make([]string, 1<<17)
	for i := range keys {
		keys[i] = user(int(uint64(i) * 0x9E3779B97F4A7C15 >> 16 % uint64(n)))
		if i%2 == 1 {
			keys[i] = "no" + keys[i]
		}
	}
	return keys
}

func BenchmarkBuild(b *testing.B) {
	for _, n := range []int{1_000, 1_000_000, 10_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				users(b, Key{}, n, n)
			}
		})
	}
}

func BenchmarkOpen(b *testing.B) {
	for _, n := range []int{1_000, 1_000_000, 10_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			path := written(b, users(b, Key{}, n, n))
			info, err := os.Stat(path)
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if _, err := Open(path, Key{}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(info.Size())/float64(n), "B/entry")
		})
	}
}
