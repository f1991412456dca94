package list

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"backstop/internal/evidence"
)

// later is a clock by which every file has settled.
func later() time.Time { return time.Now().Add(time.Hour) }

// keeper opens lists that are kept in one folder, and notes what they log.
type keeper struct {
	t    *testing.T
	path string
	opts Options
	log  *bytes.Buffer
	kept chan error
}

func newKeeper(t *testing.T, text string) *keeper {
	dir := t.TempDir()
	k := &keeper{t: t, path: filepath.Join(dir, "list"), log: &bytes.Buffer{}, kept: make(chan error, 16)}
	write(t, k.path, text)
	k.opts = Options{
		Keep: filepath.Join(dir, "state", "lists"), Now: later, NoEvents: true, Ticks: make(chan time.Time),
		Kept:   func(err error) { k.kept <- err },
		Logger: slog.New(slog.NewTextHandler(k.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	return k
}

// open says whether the text was read. Where it was, the set is in the folder when open returns.
func (k *keeper) open() (l *List, fromText bool) {
	k.t.Helper()
	k.log.Reset()
	l, err := Open(k.path, k.opts)
	if err != nil {
		k.t.Fatal(err)
	}
	if fromText = strings.Contains(k.log.String(), "text"); fromText { // whichever way it says that it is read
		if err := <-k.kept; err != nil {
			k.t.Fatal(err)
		}
	}
	l.Close()
	return l, fromText
}

// file is the one in the folder.
func (k *keeper) file() string {
	k.t.Helper()
	files, err := filepath.Glob(filepath.Join(k.opts.Keep, "*"))
	if err != nil || len(files) != 1 {
		k.t.Fatalf("the folder holds %v (%v), want one file", files, err)
	}
	return files[0]
}

func (k *keeper) knows(l *List, listed bool, who ...string) {
	k.t.Helper()
	for _, a := range who {
		if (l.Known(a) == evidence.Exists) != listed {
			k.t.Errorf("%s listed: %v", a, !listed)
		}
	}
}

func TestKeptListIsNotReadAgain(t *testing.T) {
	k := newKeeper(t, "ann@example.com\nbob@alias.example\npostmaster\n")
	k.opts.Aliases = map[string]string{"alias.example": "example.com"}
	l, fromText := k.open()
	if !fromText {
		t.Fatal("there was nothing kept")
	}
	first := l.State()
	info, err := os.Stat(k.file())
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	l, fromText = k.open()
	if fromText {
		t.Errorf("the text was read again: %s", k.log)
	}
	if s := l.State(); s.Entries != 3 || !s.Read.Equal(first.Read) || s.Err != nil {
		t.Errorf("%+v, want %+v", s, first)
	}
	k.knows(l, true, "ann@example.com", "bob@example.com", "postmaster@any.example")
	k.knows(l, false, "eve@example.com", "bob@alias.example", "ann@example.org")
}

func TestAnotherTextIsRead(t *testing.T) {
	k := newKeeper(t, "ann@example.com\n")
	k.open()
	times, err := os.Stat(k.path)
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range []struct {
		what string
		do   func() error
	}{
		{"a longer text", func() error { return os.WriteFile(k.path, []byte("ann@example.com\nbob@example.com\n"), 0o600) }},
		{"a text of the same length", func() error { return os.WriteFile(k.path, []byte("ann@example.com\neve@example.com\n"), 0o600) }},
		{"another file with the same text and times", func() error {
			err := os.WriteFile(k.path+".new", []byte("ann@example.com\neve@example.com\n"), 0o600)
			return errors.Join(err, os.Chtimes(k.path+".new", time.Time{}, times.ModTime()), os.Rename(k.path+".new", k.path))
		}},
		{"another alias", func() error { k.opts.Aliases = map[string]string{"a.example": "example.com"}; return nil }},
	} {
		if err := change.do(); err != nil {
			t.Fatal(err)
		}
		if _, fromText := k.open(); !fromText {
			t.Errorf("%s: the text was not read", change.what)
		}
		if _, fromText := k.open(); fromText {
			t.Errorf("%s: the text was read twice", change.what)
		}
	}
}

// Whatever becomes of the kept file, nobody who is listed is missing.
func TestDamageIsNoticed(t *testing.T) {
	k := newKeeper(t, "ann@example.com\nbob@example.com\n")
	k.open()
	path := k.file()
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	broken := map[string][]byte{"empty": {}, "another thing": []byte("ann@example.com\nbob@example.com\n")}
	for i := 0; i < len(good); i += 37 {
		flipped := bytes.Clone(good)
		flipped[i] ^= 0x10
		broken[fmt.Sprintf("octet %d flipped", i)] = flipped
		broken[fmt.Sprintf("cut to %d", i)] = good[:i]
	}
	for what, octets := range broken {
		write(t, path, string(octets))
		l, fromText := k.open()
		if !fromText {
			t.Errorf("%s: it was used", what)
		}
		k.knows(l, true, "ann@example.com", "bob@example.com")
		k.knows(l, false, "eve@example.com")
		if _, again := k.open(); again {
			t.Errorf("%s: it was not replaced by a good one", what)
		}
	}
}

func TestBadTextIsRefusedWhateverIsKept(t *testing.T) {
	k := newKeeper(t, "ann@example.com\n")
	k.open()
	write(t, k.path, "not an address\n")
	var m *Mistake
	if _, err := Open(k.path, k.opts); !errors.As(err, &m) {
		t.Errorf("%v", err)
	}
	if err := os.Remove(k.path); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(k.path, k.opts); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

func TestFolderThatCannotBeWritten(t *testing.T) {
	k := newKeeper(t, "ann@example.com\n")
	write(t, filepath.Join(filepath.Dir(k.path), "state"), "this is a file, and no folder can be in it")
	l, err := Open(k.path, k.opts)
	if err != nil {
		t.Fatal(err)
	}
	if err := <-k.kept; err == nil {
		t.Error("kept, but where?")
	}
	l.Close()
	k.knows(l, true, "ann@example.com")
	if !strings.Contains(k.log.String(), "cannot be kept") {
		t.Errorf("nothing said: %s", k.log)
	}
}

func TestChangedListIsKept(t *testing.T) {
	k := newKeeper(t, "ann@example.com\n")
	ticks := make(chan time.Time)
	k.opts.Ticks = ticks
	l, err := Open(k.path, k.opts)
	if err != nil {
		t.Fatal(err)
	}
	if err := <-k.kept; err != nil {
		t.Fatal(err)
	}
	write(t, k.path, "ann@example.com\nbob@example.com\n")
	ticks <- time.Time{}
	ticks <- time.Time{}
	if err := <-k.kept; err != nil {
		t.Fatal(err)
	}
	l.Close()
	l, fromText := k.open()
	if fromText || l.State().Entries != 2 {
		t.Errorf("from the text: %v, %d entries", fromText, l.State().Entries)
	}
}

func TestPrune(t *testing.T) {
	k := newKeeper(t, "ann@example.com\n")
	old, _ := k.open()
	k.opts.Aliases = map[string]string{"a.example": "example.com"}
	l, _ := k.open()
	stray := keptFile(k.path, &old.opts) + ".new123"
	foreign := filepath.Join(k.opts.Keep, "README")
	write(t, stray, "half")
	write(t, foreign, "not ours")
	if err := Prune(k.opts.Keep, l); err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(filepath.Join(k.opts.Keep, "*"))
	if err != nil || len(left) != 2 {
		t.Errorf("left: %v", left)
	}
	if _, fromText := k.open(); fromText {
		t.Error("the used one was deleted")
	}
	if err := Prune(filepath.Join(k.opts.Keep, "none")); err != nil {
		t.Error(err)
	}
}

func BenchmarkOpenAMillionKept(b *testing.B) {
	kept := make(chan error, 1)
	opts := Options{Keep: b.TempDir(), Now: later, NoEvents: true, Kept: func(err error) { kept <- err }}
	path := million(b, 1_000_000)
	open := func() {
		l, err := Open(path, opts)
		if err != nil {
			b.Fatal(err)
		}
		l.Close()
	}
	open()
	if err := <-kept; err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		open()
	}
}
