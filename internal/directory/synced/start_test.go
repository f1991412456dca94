package synced

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"backstop/internal/evidence"
)

// Until a source is started the folder is another's, who may pull into it still.
func TestOpenLeavesTheFolderAlone(t *testing.T) {
	w := newWorld(t, newFake(deltas).fill(20))
	old := w.opened()
	stray := old.files.objects + ".new1"
	if err := os.WriteFile(stray, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := w.files()
	for _, identity := range []string{"another", "it"} {
		w.cfg.Identity = identity
		next, err := Open(w.cfg)
		if err != nil {
			t.Fatal(err)
		}
		if identity == "it" { // the one before pulls once more, and then the next one is started
			w.dir.put("new", "new@example.com")
			w.sync(old, false)
			old.Close()
			next.Start()
			next.Start()
			defer next.Close()
			if r := w.sync(next, false); r.Full {
				t.Errorf("what was pulled meanwhile is pulled again: %+v", r)
			}
			w.knows(next)
			if _, err := os.Stat(stray); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("what a crash has left is there: %v", err)
			}
			continue
		}
		waits := make(chan error)
		go func() {
			_, err := next.Sync(t.Context(), false)
			waits <- err
		}()
		next.Close()
		next.Start()
		if err := <-waits; err != ErrClosed {
			t.Errorf("%v", err)
		}
		if fmt.Sprint(before) != fmt.Sprint(w.files()) {
			t.Error("opened and closed, a source has written")
		}
	}
}

// What the log says at ERROR is one line a change, and no more than is true.
func TestLog(t *testing.T) {
	errorLines := func(w *world) (lines []string) {
		for line := range strings.Lines(w.log.String()) {
			if strings.Contains(line, "level=ERROR") {
				lines = append(lines, line)
			}
		}
		w.log.Reset()
		return lines
	}
	w := newWorld(t, newFake(deltas).fill(20))
	told := func(what, want string) {
		t.Helper()
		if lines := errorLines(w); len(lines) != 1 || !strings.Contains(lines[0], want) || strings.Contains(lines[0], "0001-01-01") {
			t.Errorf("%s: %q, want one line with %q", what, lines, want)
		}
	}
	fail := func(s *Source, n int) {
		t.Helper()
		w.dir.set(func() { w.dir.fails = n })
		for range 2 {
			if _, err := s.Sync(t.Context(), false); err != nil != (n > 0) {
				t.Errorf("%v", err)
			}
		}
	}
	w.dir.set(func() { w.dir.fails = 1 })
	s := w.open()
	fail(s, 1)
	told("no copy", "there is no copy of it: its recipients are deferred")
	fail(s, 0)
	if lines := errorLines(w); len(lines) > 0 {
		t.Errorf("well: %q", lines)
	}
	fail(s, 1)
	told("down", "its copy goes on")
	w.clock.pass(8 * 24 * time.Hour)
	fail(s, 1)
	told("too old", "too old by now")
	s.Close()
	s = w.open()
	fail(s, 1)
	told("started with too old a copy", "its copy is too old: its recipients are deferred")
	fail(s, 0)
	s.Close()
	w.cfg.Identity = "other settings"
	for i := 1; i < 20; i++ {
		w.dir.put(fmt.Sprint("id", i))
	}
	errorLines(w)
	s = w.open()
	if _, err := s.Sync(t.Context(), false); !errors.Is(err, ErrHeld) {
		t.Fatal(err)
	}
	if log := w.log.String(); !strings.Contains(log, `level=INFO msg="the settings of a source have changed`) {
		t.Errorf("not told of other settings:\n%s", log)
	}
	told("held without a copy", "as there is no copy, all are deferred")
}

// A copy that was not pulled for long is no reason to refuse somebody whom it does not have; those whom
// it has are known for longer.
func TestSilenceOfAnOldCopy(t *testing.T) {
	w := newWorld(t, newFake(plain).fill(5))
	w.cfg.Every, w.cfg.MissingFor, w.cfg.MaxStale = time.Hour, 3*time.Hour, 24*time.Hour
	s := w.opened()
	w.dir.set(func() { w.dir.fails = 1000 })
	w.clock.pass(3 * time.Hour)
	w.says(s, evidence.Missing, "new@example.com")
	w.clock.pass(time.Second)
	w.says(s, evidence.Unavailable, "new@example.com")
	w.says(s, evidence.Exists, "user3@example.com")
	w.clock.pass(21 * time.Hour)
	w.says(s, evidence.Unavailable, "new@example.com", "user3@example.com")
}
