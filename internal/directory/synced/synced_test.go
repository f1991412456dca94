package synced

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"backstop/internal/directory"
	"backstop/internal/evidence"
	"backstop/internal/mail"

	"pgregory.net/rapid"
)

func TestAnswers(t *testing.T) {
	for _, how := range []int{deltas, plain} {
		w := newWorld(t, newFake(how))
		w.cfg.Canonical = func(d string) string { return strings.TrimPrefix(d, "alias.") }
		w.dir.put("1", "Ann@Example.com", "ann.b@example.com", "ann@example.com ", "no address", "@")
		w.dir.put("2", "bob@ALIAS.example.com", `"q u"@example.com`, "postmaster")
		w.dir.wait = make(chan struct{})
		s := w.open()
		<-w.dir.wait
		r := s.Rule("ann@example.com")
		if r.Standing != evidence.Unavailable || !strings.Contains(r.Detail, "no copy of Corp yet") || !r.Made.IsZero() {
			t.Errorf("before anything was pulled: %+v", r)
		}
		if st := s.State(); !st.Pulling || !st.Stale || st.Entries != 0 {
			t.Errorf("%+v", st)
		}
		<-w.dir.wait
		w.dir.set(func() { w.dir.wait = nil })
		w.sync(s, false)
		w.says(s, evidence.Exists, "ann@example.com", "ANN.B@example.com", "bob@example.com", `"q u"@example.com`)
		w.says(s, evidence.Missing, "postmaster@example.com", "ann@example.org", "bob@alias.example.com", "eve@example.com")
		made := w.clock.Now()
		w.clock.pass(time.Minute)
		if r := s.Rule("ann@example.com"); r != (directory.Ruling{Standing: evidence.Exists, Exact: true, Made: made}) {
			t.Errorf("%+v", r)
		}
		a, err := mail.ParseAddress("eve@example.com")
		if err != nil {
			t.Fatal(err)
		}
		if a := s.Lookup(t.Context(), a); a != (directory.Answer{Standing: evidence.Missing, Age: time.Minute}) {
			t.Errorf("%+v", a)
		}
		st := s.State()
		if st.Entries != 4 || how == plain && st.Bad != 3 || !st.Made.Equal(made) || st.Err != nil || st.Held != nil || st.Stale || s.Name() != "Corp" {
			t.Errorf("%+v", st)
		}
		byName, others := s.Domains()
		if fmt.Sprint(byName, others) != "[{example.com 4}] 0" {
			t.Errorf("%v %v", byName, others)
		}
		if n := strings.Count(w.log.String(), "are passed over"); n != 1 || !strings.Contains(w.log.String(), "no address") {
			t.Errorf("the log should tell once of bad addresses, not %d times:\n%s", n, w.log.String())
		}
	}
}

func TestConfig(t *testing.T) {
	for _, c := range []Config{{}, {Name: "a"}, {Puller: newFake(plain)}} {
		if _, err := Open(c); err == nil {
			t.Errorf("%+v", c)
		}
	}
}

func TestLookUpsAllocateNothing(t *testing.T) {
	w := newWorld(t, newFake(plain))
	w.dir.put("1", "ann@example.com")
	s := w.opened()
	if n := testing.AllocsPerRun(100, func() {
		for _, k := range []string{"ann@example.com", "eve@example.com"} {
			s.Rule(k)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Whatever changes, however it is told, and wherever a restart comes between: the copy is the directory.
func TestCopyFollows(t *testing.T) {
	folders := t.TempDir()
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		how := rapid.SampledFrom([]int{deltas, lists, never, plain}).Draw(rt, "how")
		f := newFake(how)
		f.twice = how != plain && rapid.Bool().Draw(rt, "twice")
		w := newWorld(t, f)
		w.cfg.Folder = filepath.Join(folders, fmt.Sprint(n))
		if rapid.IntRange(0, 3).Draw(rt, "memory") == 0 {
			w.cfg.Folder = ""
		}
		s := w.opened()
		defer func() { s.Close() }()
		address := rapid.Custom(func(t *rapid.T) string {
			return fmt.Sprintf("%s@%s.example", rapid.StringMatching(`[a-d]`).Draw(t, "local"), rapid.SampledFrom([]string{"x", "y", "z"}).Draw(t, "domain"))
		})
		for range rapid.IntRange(1, 8).Draw(rt, "rounds") {
			for range rapid.IntRange(0, 6).Draw(rt, "edits") {
				id := rapid.StringMatching(`[a-e]`).Draw(rt, "id")
				f.put(id, rapid.SliceOfN(address, 0, 4).Draw(rt, "addresses")...)
			}
			switch rapid.IntRange(0, 7).Draw(rt, "event") {
			case 0:
				if w.cfg.Folder != "" {
					s.Close()
					s = w.opened()
				}
			case 1:
				f.set(func() { f.fails = 1 })
				_, _ = s.Sync(t.Context(), true) // which may fail, and must leave no trace
				f.set(func() { f.fails = 0 })
			case 2:
				f.set(func() { f.forgot = f.now + 1 })
			case 3:
				w.clock.pass(25 * time.Hour)
			case 4:
				_ = os.Remove(s.files.objects)
			}
			w.sync(s, true)
			f.set(func() { f.forgot = 0 })
			w.knows(s)
			if t.Failed() {
				rt.Fatalf("%+v", f)
			}
		}
	})
}

func TestChangesArePulled(t *testing.T) {
	for _, how := range []int{deltas, lists} {
		w := newWorld(t, newFake(how).fill(20))
		s := w.opened()
		w.dir.put("id3")
		w.dir.put("id4", "user4@example.com", "second4@example.com")
		w.dir.put("new", "new@example.com")
		if r := w.sync(s, false); r.Full || !r.Changed || r.Entries != 21 || r.Before != 20 {
			t.Errorf("%+v", r)
		}
		w.knows(s)
		made := w.clock.Now()
		w.clock.pass(time.Hour)
		if r := w.sync(s, false); r.Full || r.Changed {
			t.Errorf("nothing has changed: %+v", r)
		}
		if st := s.State(); !st.Made.Equal(made.Add(time.Hour)) {
			t.Errorf("made %v", st.Made)
		}
		w.clock.pass(24 * time.Hour)
		if r := w.sync(s, false); !r.Full || r.Changed {
			t.Errorf("after a day: %+v", r)
		}
		w.dir.set(func() { w.dir.forgot = w.dir.now + 1 })
		if r := w.sync(s, false); !r.Full || r.Changed {
			t.Errorf("too old a cursor: %+v", r)
		}
		w.knows(s)
	}
}

// A pull that finds everything as it was leaves the files alone.
func TestSameContentIsNotWritten(t *testing.T) {
	for _, how := range []int{deltas, lists, never, plain} {
		w := newWorld(t, newFake(how).fill(20))
		s := w.opened()
		before := w.files()
		w.clock.pass(time.Hour)
		w.sync(s, false)
		w.clock.pass(25 * time.Hour)
		w.sync(s, false)
		w.dir.put("id7", "user7@example.com") // touched, and the same
		w.sync(s, false)
		after := w.files()
		for name, content := range after {
			if filepath.Ext(name) != stateSuffix && before[name] != content {
				t.Errorf("%d: %s was written", how, name)
			}
		}
		s.Close()
		s = w.open()
		if st := s.State(); st.Made.Before(w.clock.Now()) {
			t.Errorf("%d: when the copy was right is not kept: %v", how, st.Made)
		}
		w.sync(s, false)
		w.knows(s)
	}
}

// files are the contents of the folder.
func (w *world) files() map[string]string {
	w.t.Helper()
	all, err := filepath.Glob(filepath.Join(w.cfg.Folder, "*"))
	if err != nil {
		w.t.Fatal(err)
	}
	contents := map[string]string{}
	for _, name := range all {
		b, err := os.ReadFile(name)
		if err != nil {
			w.t.Fatal(err)
		}
		contents[name] = string(b)
	}
	return contents
}

// put makes these the contents of the folder.
func (w *world) put(contents map[string]string) {
	w.t.Helper()
	if err := os.RemoveAll(w.cfg.Folder); err != nil {
		w.t.Fatal(err)
	}
	if err := os.MkdirAll(w.cfg.Folder, 0o700); err != nil {
		w.t.Fatal(err)
	}
	for name, content := range contents {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			w.t.Fatal(err)
		}
	}
}

func TestFailedPullLeavesTheCopy(t *testing.T) {
	for _, how := range []int{deltas, lists, plain} {
		w := newWorld(t, newFake(how).fill(20))
		s := w.opened()
		w.dir.put("new", "new@example.com")
		w.dir.put("id3")
		w.dir.set(func() { w.dir.fails = 2 })
		for range 3 {
			if r, err := s.Sync(t.Context(), true); !errors.Is(err, errDown) || r.Changed {
				t.Errorf("%v %+v", err, r)
			}
		}
		w.says(s, evidence.Exists, "user3@example.com", "user19@example.com")
		w.says(s, evidence.Missing, "new@example.com")
		if st := s.State(); !errors.Is(st.Err, errDown) || st.Entries != 20 {
			t.Errorf("%+v", st)
		}
		if n := strings.Count(w.log.String(), "cannot be pulled; its copy goes on"); n != 1 {
			t.Errorf("told %d times that the directory is down", n)
		}
		w.dir.set(func() { w.dir.fails = 0 })
		w.sync(s, false)
		w.knows(s)
		if st := s.State(); st.Err != nil || strings.Count(w.log.String(), "can be pulled again") != 1 {
			t.Errorf("%+v", st)
		}
		if left, _ := filepath.Glob(filepath.Join(w.cfg.Folder, "*.new*")); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	}
}

func TestRestartAnswersAtOnce(t *testing.T) {
	for _, how := range []int{deltas, plain} {
		w := newWorld(t, newFake(how).fill(20))
		s := w.opened()
		s.Close()
		w.knows(s) // also after Close
		w.dir.set(func() { w.dir.fails = 1 })
		made := w.clock.Now()
		w.clock.pass(time.Hour)
		s = w.open()
		w.knows(s)
		if st := s.State(); !st.Made.Equal(made) {
			t.Errorf("made %v", st.Made)
		}
		s.Close()
		w.cfg.Offline, w.cfg.Puller = true, nil
		before := w.files()
		s = w.open()
		w.knows(s)
		if _, err := s.Sync(t.Context(), true); err != ErrOffline {
			t.Errorf("%v", err)
		}
		if fmt.Sprint(before) != fmt.Sprint(w.files()) {
			t.Error("offline something was written")
		}
	}
}

func TestOfflineWithNothing(t *testing.T) {
	w := newWorld(t, newFake(plain))
	w.cfg.Offline, w.cfg.Puller = true, nil
	s := w.open()
	if r := s.Rule("ann@example.com"); r.Standing != evidence.Unavailable || !strings.Contains(r.Detail, "nothing is pulled here") {
		t.Errorf("%+v", r)
	}
	if _, err := os.Stat(w.cfg.Folder); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

func TestTooOldACopySaysNothing(t *testing.T) {
	w := newWorld(t, newFake(plain).fill(20))
	s := w.opened()
	w.dir.set(func() { w.dir.fails = 1 })
	w.clock.pass(7 * 24 * time.Hour)
	if _, err := s.Sync(t.Context(), false); !errors.Is(err, errDown) {
		t.Fatal(err)
	}
	w.says(s, evidence.Exists, "user0@example.com")
	w.clock.pass(time.Second)
	r := s.Rule("user0@example.com")
	if r.Standing != evidence.Unavailable || !strings.Contains(r.Detail, "more than 168h0m0s ago: the directory is down") {
		t.Errorf("%+v", r)
	}
	for range 2 {
		if _, err := s.Sync(t.Context(), false); !errors.Is(err, errDown) {
			t.Fatal(err)
		}
	}
	if n := strings.Count(w.log.String(), "too old by now"); n != 1 || !s.State().Stale {
		t.Errorf("told %d times", n)
	}
	s.Close()
	s = w.open()
	w.says(s, evidence.Unavailable, "user0@example.com", "eve@example.com")
	w.dir.set(func() { w.dir.fails = 0 })
	w.sync(s, false)
	w.knows(s)
}

func TestForeignCopyIsNotUsed(t *testing.T) {
	w := newWorld(t, newFake(deltas).fill(20))
	w.opened().Close()
	w.dir.set(func() { w.dir.fails = 1 })
	for _, change := range []func(*Config){func(c *Config) { c.Identity = "other" }, func(c *Config) { c.Name = "corp" }} {
		kept := w.files()
		cfg := w.cfg
		change(&w.cfg)
		s := w.open()
		w.says(s, evidence.Unavailable, "user0@example.com", "eve@example.com")
		s.Close()
		w.cfg = cfg
		w.put(kept)
	}
	if s := w.open(); s.State().Entries != 20 {
		t.Error("its own is not used either")
	}
	if !strings.Contains(w.log.String(), "it is the copy of something else") {
		t.Errorf("not told:\n%s", w.log.String())
	}
}

// A folder that cannot be written costs the next start a pull, and nobody his mail.
func TestFolderThatCannotBeWritten(t *testing.T) {
	for _, how := range []int{deltas, plain} {
		w := newWorld(t, newFake(how).fill(20))
		if err := os.WriteFile(w.cfg.Folder, []byte("this is a file"), 0o600); err != nil {
			t.Fatal(err)
		}
		s := w.open()
		for range 2 {
			r, err := s.Sync(t.Context(), false)
			if err == nil || !strings.Contains(err.Error(), "is in force, but cannot be kept") || !r.Full {
				t.Errorf("%v %+v", err, r)
			}
			w.knows(s)
			w.dir.put("id3")
			w.dir.put("new", "new@example.com")
		}
		if n := strings.Count(w.log.String(), "so a restart would pull everything anew"); n != 1 {
			t.Errorf("told %d times", n)
		}
		if err := os.Remove(w.cfg.Folder); err != nil {
			t.Fatal(err)
		}
		w.sync(s, false)
		s.Close()
		s = w.open()
		w.knows(s)
	}
}

func TestTicksAndPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(plain).fill(3)
		f.fails = 1
		begun := time.Now()
		var at []time.Duration
		s, err := Open(Config{Name: "corp", Puller: f, Changed: func(st State) {
			at = append(at, time.Since(begun))
			if st.Next.Before(time.Now()) {
				t.Errorf("next %v", st.Next)
			}
			if len(at) == 8 {
				f.set(func() { f.fails = 0 })
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		s.Start()
		time.Sleep(71 * time.Minute)
		synctest.Wait()
		want := "[0s 10s 30s 1m10s 2m30s 5m10s 10m30s 21m10s 36m10s 51m10s 1h6m10s]"
		if got := fmt.Sprint(at); got != want {
			t.Errorf("pulls at %s, want %s", got, want)
		}
	})
}

func TestEachTickPulls(t *testing.T) {
	ticks := make(chan time.Time)
	states := make(chan State, 1)
	w := newWorld(t, newFake(deltas).fill(3))
	w.cfg.Ticks, w.cfg.Changed = ticks, func(s State) { states <- s }
	w.open()
	for i := range 3 {
		if i > 0 {
			ticks <- time.Time{}
		}
		<-states
	}
	if fulls, somes := w.dir.pulls(); fulls != 1 || somes != 2 {
		t.Errorf("%d full pulls and %d others", fulls, somes)
	}
}

func TestSyncJoinsAPull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(deltas).fill(3)
		f.wait = make(chan struct{})
		s, err := Open(Config{Name: "corp", Puller: f})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		s.Start()
		<-f.wait
		ended := make(chan error)
		for range 3 {
			go func() {
				_, err := s.Sync(t.Context(), false)
				ended <- err
			}()
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := s.Sync(ctx, false); err != context.Canceled {
			t.Errorf("%v", err)
		}
		synctest.Wait()
		<-f.wait
		for range 3 {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
		if fulls, somes := f.pulls(); fulls != 1 || somes != 0 {
			t.Errorf("%d full pulls and %d others", fulls, somes)
		}
	})
}

func TestCloseDuringAPull(t *testing.T) {
	w := newWorld(t, newFake(deltas).fill(3))
	w.dir.wait = make(chan struct{})
	s := w.open()
	<-w.dir.wait
	ended := make(chan error)
	go func() {
		_, err := s.Sync(t.Context(), false)
		ended <- err
	}()
	s.Close()
	if err := <-ended; err != ErrClosed {
		t.Errorf("%v", err)
	}
	if _, err := s.Sync(t.Context(), false); err != ErrClosed {
		t.Errorf("%v", err)
	}
	s.Close() // twice is as good
	w.says(s, evidence.Unavailable, "user0@example.com")
}
