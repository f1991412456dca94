package watch

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// countLine is a parser to whom every line is an entry.
func countLine(in *Text) (*int, int, error) {
	n := 0
	err := EachLine(in, in.Lines, func(int, []byte) bool { n++; return true })
	return &n, n, err
}

func TestEachLine(t *testing.T) {
	long := strings.Repeat("x", 300<<10)
	for _, tt := range []struct {
		text string
		want []string
	}{
		{"", nil},
		{"a", []string{"a"}},
		{"a\n", []string{"a"}},
		{"\ufeffa\r\n\n\ufeffb\r", []string{"a", "", "\ufeffb"}},
		{"a\n" + long + "\nb", []string{"a", long[:256<<10], "b"}},
		{long, []string{long[:256<<10]}},
	} {
		lines, err := CountLines(strings.NewReader(tt.text))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		err = EachLine(strings.NewReader(tt.text), lines, func(n int, line []byte) bool {
			if got = append(got, string(line)); n != len(got) {
				t.Errorf("%.20q: line %d is given as %d", tt.text, len(got), n)
			}
			return true
		})
		if err != nil || fmt.Sprintf("%q", got) != fmt.Sprintf("%q", tt.want) {
			t.Errorf("%.20q: %.100q %v", tt.text, got, err)
		}
	}
	if err := EachLine(strings.NewReader("a\nb\n"), 1, func(int, []byte) bool { return true }); !errors.Is(err, ErrChanged) {
		t.Errorf("more lines than were counted: %v", err)
	}
	seen := 0
	if err := EachLine(strings.NewReader("a\nb\n"), 2, func(int, []byte) bool { seen++; return false }); err != nil || seen != 1 {
		t.Errorf("stopped after %d lines: %v", seen, err)
	}
}

// Without events a changed file is read at the second tick that finds it so.
func TestChangesAreNoticedByTheClock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "list")
	write(t, path, "ann@example.com\n")
	looks := 0
	l, err := Open(path, countLine, Options{Ticks: make(chan time.Time), NoEvents: true, Changed: func(State) { looks++ }})
	if err != nil {
		t.Fatal(err)
	}
	l.Close() // the test is the clock
	after := func(ticks int) State {
		for range ticks {
			l.tick()
		}
		return l.State()
	}
	if after(3); looks != 0 {
		t.Error("a file that did not change was read")
	}
	write(t, path, "ann@example.com\nbob@example.com\n")
	if s := after(1); s.Entries != 1 {
		t.Errorf("read at once, perhaps by halves: %+v", s)
	}
	if s := after(1); s.Entries != 2 {
		t.Errorf("not read at the second tick: %+v", s)
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		for _, half := range []string{fmt.Sprintf("u%d@exam", i), "ple.com\n"} {
			if _, err := f.WriteString(half); err != nil {
				t.Fatal(err)
			}
			if s := after(1); s.Entries != 2 {
				t.Fatalf("read while it was growing: %+v", s)
			}
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if s := after(1); s.Entries != 7 {
		t.Errorf("not read once it had stopped growing: %+v", s)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if s := after(2); !errors.Is(s.Err, fs.ErrNotExist) || *l.Get() != 7 {
		t.Errorf("vanished: %+v", s)
	}
	if after(3); looks != 3 {
		t.Errorf("looked %d times, want once for each change", looks)
	}
}
