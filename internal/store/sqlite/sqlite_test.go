package sqlite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"backstop/internal/directory"
	"backstop/internal/evidence"
	"backstop/internal/mail"
)

func mustOpen(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := Open(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func load(t testing.TB, s *Store) []directory.Entry {
	t.Helper()
	var all []directory.Entry
	if err := s.Load(t.Context(), func(e directory.Entry) error { all = append(all, e); return nil }); err != nil {
		t.Fatal(err)
	}
	return all
}

func addresses(entries []directory.Entry) string {
	var a []string
	for _, e := range entries {
		a = append(a, e.Address)
	}
	slices.Sort(a)
	return strings.Join(a, " ")
}

var noon = time.Date(2026, 5, 1, 12, 0, 0, 123456789, time.UTC)

func entry(addr string, s evidence.Standing, at time.Time) directory.Entry {
	return directory.Entry{Source: "callahead:smtp://store.example:25", Address: addr, Standing: s, At: at, Life: 4 * time.Minute, Detail: "550 5.1.1 né ici"}
}

func TestRoundTrip(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a folder", "with % and ? and #")
	s := mustOpen(t, dir)
	in := []directory.Entry{
		entry("ann@example.com", evidence.Exists, noon),
		entry(`"odd @ local"@example.com`, evidence.Missing, noon.Add(-time.Second)),
		entry("bücher@xn--bcher-kva.example", evidence.Missing, noon.Add(-2*time.Second)),
	}
	if err := s.Save(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	changed := entry("ann@example.com", evidence.Missing, noon.Add(time.Second))
	if err := s.Save(t.Context(), []directory.Entry{changed}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	in[0] = changed
	got := load(t, mustOpen(t, dir))
	if len(got) != len(in) {
		t.Fatalf("%d entries, want %d", len(got), len(in))
	}
	for i := range in {
		if !got[i].At.Equal(in[i].At) {
			t.Errorf("%s: at %v, want %v", in[i].Address, got[i].At, in[i].At)
		}
		got[i].At = in[i].At
		if got[i] != in[i] {
			t.Errorf("got %+v, want %+v", got[i], in[i])
		}
	}
	info, err := os.Stat(filepath.Join(dir, FileName))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestForgetAndExpire(t *testing.T) {
	fill := []directory.Entry{
		entry("a@example.com", evidence.Exists, noon),
		entry("b@example.com", evidence.Missing, noon),
		entry(`"c@example.com"@example.org`, evidence.Missing, noon),
		entry("d@sub.example.com", evidence.Exists, noon),
		entry("e@notexample.com", evidence.Missing, noon),
	}
	for _, tt := range []struct{ pattern, left string }{
		{"*", ""},
		{"B@example.com", `"c@example.com"@example.org a@example.com d@sub.example.com e@notexample.com`},
		{"@example.com", `"c@example.com"@example.org d@sub.example.com e@notexample.com`},
	} {
		s := mustOpen(t, t.TempDir())
		if err := s.Save(t.Context(), fill); err != nil {
			t.Fatal(err)
		}
		p, err := directory.ParsePattern(tt.pattern)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Forget(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		if got := addresses(load(t, s)); got != tt.left {
			t.Errorf("forget %s: %s left, want %s", tt.pattern, got, tt.left)
		}
	}
	s := mustOpen(t, t.TempDir())
	if err := s.Save(t.Context(), fill); err != nil {
		t.Fatal(err)
	}
	if err := s.Expire(t.Context(), noon, noon.Add(1)); err != nil {
		t.Fatal(err)
	}
	if got := addresses(load(t, s)); got != "a@example.com d@sub.example.com" {
		t.Errorf("expire: %s left", got)
	}
}

func TestSaveIsAllOrNothing(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	err := s.Save(t.Context(), []directory.Entry{entry("a@example.com", evidence.Exists, noon), entry("b@example.com", evidence.Unavailable, noon)})
	if err == nil {
		t.Error("an answer that is none was written")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Save(ctx, []directory.Entry{entry("a@example.com", evidence.Exists, noon)}); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that has ended: %v", err)
	}
	if all := load(t, s); len(all) != 0 {
		t.Errorf("half of it was written: %v", all)
	}
}

func TestLoadStopsWithItsReader(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	if err := s.Save(t.Context(), []directory.Entry{entry("a@example.com", evidence.Exists, noon), entry("b@example.com", evidence.Exists, noon)}); err != nil {
		t.Fatal(err)
	}
	enough, n := errors.New("enough"), 0
	if err := s.Load(t.Context(), func(directory.Entry) error { n++; return enough }); !errors.Is(err, enough) || n != 1 {
		t.Errorf("%v after %d", err, n)
	}
}

func TestDamagedFileIsMovedAside(t *testing.T) {
	for name, damage := range map[string]func([]byte) []byte{
		"not a database": func([]byte) []byte { return []byte(strings.Repeat("this is no database\n", 400)) },
		"a page of noise": func(b []byte) []byte {
			for i := 4096; i < 8192; i++ {
				b[i] = byte(i * 7)
			}
			return b
		},
		"cut short": func(b []byte) []byte { return b[:len(b)/2] },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, FileName)
			s := mustOpen(t, dir)
			var many []directory.Entry
			for i := range 2000 {
				many = append(many, entry(fmt.Sprintf("user%d@example.com", i), evidence.Exists, noon))
			}
			if err := s.Save(t.Context(), many); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			whole, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			broken := damage(slices.Clone(whole))
			if err := os.WriteFile(path, broken, 0o600); err != nil {
				t.Fatal(err)
			}

			var log bytes.Buffer
			s, err = Open(dir, slog.New(slog.NewTextHandler(&log, nil)))
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if all := load(t, s); len(all) != 0 {
				t.Errorf("%d answers in a new file", len(all))
			}
			if err := s.Save(t.Context(), many[:1]); err != nil {
				t.Errorf("the new file: %v", err)
			}
			aside, err := filepath.Glob(path + ".damaged-*")
			if err != nil || len(aside) == 0 {
				t.Fatalf("no file was moved aside: %v", err)
			}
			if kept, err := os.ReadFile(aside[0]); err != nil || !bytes.Equal(kept, broken) {
				t.Errorf("what was moved aside is not what was there (%v)", err)
			}
			if !strings.Contains(log.String(), "level=ERROR") || !strings.Contains(log.String(), aside[0]) {
				t.Errorf("not reported: %s", log.String())
			}
		})
	}
}

func TestNewerFileIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir)
	if _, err := s.db.Exec("PRAGMA user_version = 99"); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if _, err := Open(dir, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "newer version") {
		t.Errorf("%v", err)
	}
	if aside, _ := filepath.Glob(filepath.Join(dir, "*.damaged-*")); len(aside) != 0 {
		t.Error("a sound file was moved aside")
	}
}

func TestFolderThatCannotBe(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(file, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a file was taken for a folder")
	}
}

// yes is a source that knows everybody.
type yes struct{ asked int }

func (*yes) Name() string { return "yes" }
func (y *yes) Lookup(context.Context, mail.Address) directory.Answer {
	y.asked++
	return directory.Answer{Standing: evidence.Exists, Cacheable: true}
}

func TestDirectoryOverARestart(t *testing.T) {
	dir := t.TempDir()
	source := &yes{}
	addr, err := mail.ParseAddress("ann@example.com")
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		s := mustOpen(t, dir)
		d := directory.New(directory.Config{Store: s})
		got := d.Lookup(t.Context(), directory.NewChain("example.com", directory.Member{Source: source}), directory.Query{Address: addr})
		if got.Standing != evidence.Exists {
			t.Fatalf("%+v", got)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if source.asked != 1 {
		t.Errorf("asked %d times in three lives of the daemon, want 1", source.asked)
	}
}

func BenchmarkSave(b *testing.B) {
	s := mustOpen(b, b.TempDir())
	batch := make([]directory.Entry, 1000)
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		for i := range batch {
			batch[i] = entry(fmt.Sprintf("user%d@example.com", n), evidence.Missing, noon)
			n++
		}
		if err := s.Save(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(n), "us/entry")
}
