package list

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"backstop/internal/directory"
	"backstop/internal/directory/snapshot"
	"backstop/internal/directory/watch"
	"backstop/internal/evidence"
	"backstop/internal/mail"

	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func key(t testing.TB, addr string) string {
	t.Helper()
	a, err := mail.ParseAddress(addr)
	if err != nil {
		t.Fatal(err)
	}
	return a.Key()
}

func TestReading(t *testing.T) {
	path := filepath.Join(t.TempDir(), "list")
	write(t, path, "\ufeff# people\r\n"+
		"ann@example.com\r\n"+
		"bob@example.com # the boss\n"+
		"\n"+
		"   Carol.Smith@EXAMPLE.com\t# indented\n"+
		"dave\n"+
		"a#b@example.com\n"+
		"\"odd # @ local\"@example.com\n"+
		"\"quoted\"@example.com\n"+
		"münchen@bücher.example\n"+
		"eve@alias.example\n"+
		"ann@example.com\n"+
		"zoe@example.org")
	l, err := Open(path, Options{Aliases: map[string]string{"alias.example": "example.com"}})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, a := range []string{
		"ann@example.com", "BOB@example.com", "carol.smith@example.com", "dave@example.com", "dave@other.example", "A#b@example.com",
		`"odd # @ local"@example.com`, "quoted@example.com", "MÜNCHEN@xn--bcher-kva.example", "eve@example.com", "zoe@example.org",
	} {
		if s := l.Known(key(t, a)); s != evidence.Exists {
			t.Errorf("%s: %v", a, s)
		}
	}
	for _, a := range []string{"ann@example.org", "people@example.com", "the@example.com", "a@example.com", "eve@alias.example", "dave2@example.com", "zoe@example.or"} {
		if s := l.Known(key(t, a)); s != evidence.NotAsked {
			t.Errorf("%s: %v", a, s)
		}
	}
	if st := l.State(); st.Entries != 10 || st.Err != nil || st.Path != path {
		t.Errorf("%+v", st)
	}
	if l.Name() != "list:"+path {
		t.Error(l.Name())
	}
}

func TestBadLines(t *testing.T) {
	for _, tt := range []struct {
		text string
		line int
		says string
	}{
		{"ann@example.com\nbob@\n", 2, "domain"},
		{"ann@example.com OK\n", 1, "postmap:FILE"},
		{"# c\n\n@example.com\n", 3, "whole domain"},
		{"ann..b@example.com", 1, "dot"},
		{"ann@example.com\nann@exa mple.com", 2, "mple.com"},
		{"ann@example.com\n" + strings.Repeat("x", 2000) + "\nbob@example.com", 2, "longer than"},
		{"ann@example.com\n" + strings.Repeat("x", 1<<20) + "\nb b@example.com", 2, "longer than"},
		{"ann@example.com\n.dot@example.com", 2, "dot"},
		{"ann@example.com\n" + strings.Repeat("l", 65) + "@example.com", 2, "64"},
		{"ann@example.com\n\x00\x01\x02", 2, "local part"},
	} {
		path := filepath.Join(t.TempDir(), "list")
		write(t, path, tt.text)
		_, err := Open(path, Options{NoEvents: true})
		var m *Mistake
		if !errors.As(err, &m) {
			t.Errorf("%.40q: %v", tt.text, err)
			continue
		}
		if m.Line != tt.line || !strings.Contains(m.Message, tt.says) || !strings.HasPrefix(m.Error(), fmt.Sprintf("%s:%d: ", path, tt.line)) {
			t.Errorf("%.40q: line %d: %s", tt.text, m.Line, m.Message)
		}
		if Check(path) == nil {
			t.Errorf("%.40q: Check found nothing", tt.text)
		}
	}
}

func TestManyBadLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "list")
	write(t, path, strings.Repeat("bad line\n", 1000))
	_, err := Open(path, Options{})
	if err == nil || strings.Count(err.Error(), "\n") != maxMistakes-1 {
		t.Errorf("%v", err)
	}
}

func TestNoFile(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(filepath.Join(dir, "none"), Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
	if _, err := Open(filepath.Join(dir, "none", "list"), Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
	if _, err := Open(dir, Options{}); err == nil {
		t.Error("a folder was read")
	}
	empty := filepath.Join(dir, "empty")
	write(t, empty, "")
	if _, err := Open(empty, Options{}); !errors.Is(err, watch.ErrEmpty) {
		t.Errorf("%v", err)
	}
}

// watched opens a list whose looks at the file arrive on a channel.
func watched(t *testing.T, path string, opts Options) (*List, <-chan State) {
	t.Helper()
	looks := make(chan State, 16)
	opts.Changed = func(s State) { looks <- s }
	l, err := Open(path, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l, looks
}

// until waits for a look that fits; others may come before it, since one change can
// be several events.
func until(t *testing.T, looks <-chan State, what string, fits func(State) bool) {
	t.Helper()
	for {
		select {
		case s := <-looks:
			if fits(s) {
				return
			}
		case <-t.Context().Done():
			t.Fatalf("not noticed: %s", what)
		}
	}
}

func good(n int) func(State) bool {
	return func(s State) bool { return s.Err == nil && s.Entries == n }
}

func bad(err error) func(State) bool { return func(s State) bool { return errors.Is(s.Err, err) } }

func TestChangesAreNoticedByEvent(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "list")
	write(t, path, "ann@example.com\n")
	never := make(chan time.Time) // the clock has no part in this
	l, looks := watched(t, path, Options{Ticks: never})
	knows := func(names string) {
		t.Helper()
		for _, n := range []string{"ann", "bob", "eve"} {
			listed := l.Known(n+"@example.com") == evidence.Exists
			if listed != strings.Contains(names, n) {
				t.Errorf("%s listed: %v, want only %s", n, listed, names)
			}
		}
	}
	write(t, filepath.Join(dir, "neighbour"), "not ours\n")
	write(t, path, "ann@example.com\nbob@example.com\n")
	until(t, looks, "written in place", good(2))
	knows("ann bob")

	other := filepath.Join(dir, "list.new")
	write(t, other, "eve@example.com\nx@example.com\ny@example.com\n")
	if err := os.Rename(other, path); err != nil {
		t.Fatal(err)
	}
	until(t, looks, "moved into its place", good(3))
	knows("eve")

	write(t, path, "ann@example.com\nthis is no address\n")
	until(t, looks, "broken", func(s State) bool {
		var m *Mistake
		return errors.As(s.Err, &m) && m.Line == 2 && s.Entries == 3
	})
	knows("eve")

	write(t, path, "")
	until(t, looks, "cut to nothing", bad(watch.ErrEmpty))
	knows("eve")

	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	until(t, looks, "vanished", bad(fs.ErrNotExist))
	knows("eve")

	write(t, path, "bob@example.com\n")
	until(t, looks, "made again", good(1))
	knows("bob")

	write(t, path, "# nobody, on purpose\n")
	until(t, looks, "emptied on purpose", good(0))
	knows("")
}

func TestFolderThatVanishes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "folder")
	path := filepath.Join(dir, "list")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Mkdir(dir, 0o700))
	write(t, path, "ann@example.com\n")
	ticks := make(chan time.Time)
	l, looks := watched(t, path, Options{Ticks: ticks})
	must(os.RemoveAll(dir))
	until(t, looks, "vanished with its folder", bad(fs.ErrNotExist))
	ticks <- time.Time{}
	must(os.Mkdir(dir, 0o700))
	write(t, path, "bob@example.com\neve@example.com\n")
	ticks <- time.Time{}
	ticks <- time.Time{}
	until(t, looks, "made again with its folder", good(2))
	write(t, path, "bob@example.com\n")
	until(t, looks, "changed in the new folder", good(1))
	if l.Known("bob@example.com") != evidence.Exists {
		t.Error("bob is not listed")
	}
}

func TestSymbolicLink(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "list")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, v := range []string{"v1", "v2"} {
		must(os.Mkdir(filepath.Join(dir, v), 0o700))
	}
	write(t, filepath.Join(dir, "v1", "list"), "ann@example.com\n")
	write(t, filepath.Join(dir, "v2", "list"), "bob@example.com\neve@example.com\n")
	must(os.Symlink("v1", filepath.Join(dir, "current")))
	must(os.Symlink(filepath.Join("current", "list"), path))
	_, looks := watched(t, path, Options{Ticks: make(chan time.Time)})
	must(os.Symlink("v2", filepath.Join(dir, "current.new")))
	must(os.Rename(filepath.Join(dir, "current.new"), filepath.Join(dir, "current")))
	until(t, looks, "a link on the way was changed", good(2))
}

// The short way through the parser beside the long one.
func TestPlainLines(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		line := rapid.StringOf(rapid.RuneFrom([]rune("ab.Z@#\"+ é\\e"))).Draw(t, "local") + rapid.SampledFrom([]string{"@example.com", "@example.co", "@EXAMPLE.com"}).Draw(t, "domain")
		if !isPlain([]byte(line), []byte("example.com")) {
			return
		}
		a, err := mail.ParseAddress(line)
		if err != nil || a.Key() != line {
			t.Fatalf("%q was taken as it is; parsed it is %q (%v)", line, a.Key(), err)
		}
	})
}

func FuzzRead(f *testing.F) {
	f.Add([]byte("ann@example.com # x\n\"a b\"@example.com\r\nlocal\n"))
	f.Add([]byte("\ufeffann\nann@[192.0.2.1]\n\\\n\"\\"))
	f.Fuzz(func(t *testing.T, data []byte) {
		lines, err := watch.CountLines(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		b, err := snapshot.NewBuilder(snapshot.Key{}, lines)
		if err != nil {
			t.Fatal(err)
		}
		defer b.Discard()
		r := reader{path: "list", to: b}
		if err := r.all(bytes.NewReader(data), lines); err != nil {
			var m *Mistake
			if !errors.As(err, &m) || m.Line < 1 || m.Line > lines {
				t.Fatalf("%v", err)
			}
		}
		set, err := b.Finish("", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if set.Len() > lines {
			t.Fatalf("%d entries from %d lines", set.Len(), lines)
		}
	})
}

func million(tb testing.TB, n int) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "list")
	var b bytes.Buffer
	for i := range n {
		fmt.Fprintf(&b, "user.number%d@example.com\n", i)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}

func BenchmarkUnknownAmongAMillion(b *testing.B) {
	l, err := Open(million(b, 1_000_000), Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	keys := make([]string, 1<<16) // many, so that the processor's caches do not help
	for i := range keys {
		keys[i] = fmt.Sprintf("nobody%d@example.com", i)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if l.Known(keys[i&(len(keys)-1)]) != evidence.NotAsked {
			b.Fatal("found")
		}
	}
	b.ReportMetric(float64(l.file.Get().Size())/1e6, "B/entry")
}

// The whole way of a refusal: chain, list, and what the verdict is given.
func BenchmarkRefusalByAMillion(b *testing.B) {
	l, err := Open(million(b, 1_000_000), Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	d := directory.New(directory.Config{})
	defer d.Close()
	chain := directory.NewChain("example.com", directory.Member{Source: l})
	queries := make([]directory.Query, 1<<12)
	for i := range queries {
		a, err := mail.ParseAddress(fmt.Sprintf("nobody%d@example.com", i))
		if err != nil {
			b.Fatal(err)
		}
		queries[i] = directory.Query{Address: a, Subaddress: "+", CutThrough: true}
	}
	ctx := b.Context()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if d.Lookup(ctx, chain, queries[i&(len(queries)-1)]).Standing != evidence.Missing {
			b.Fatal("found")
		}
	}
}

func BenchmarkOpenAMillion(b *testing.B) {
	path := million(b, 1_000_000)
	for b.Loop() {
		if _, err := watch.Read(path, parser(path, &Options{})); err != nil {
			b.Fatal(err)
		}
	}
}
