package watch

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// shelf keeps one content.
type shelf struct {
	content  *int
	begun    time.Time
	kept     int
	replaced []int
}

func (s *shelf) Kept(fs.FileInfo) (*int, int, time.Time, error) {
	if s.content == nil {
		return nil, 0, time.Time{}, errors.New("nothing is kept")
	}
	return s.content, *s.content, s.begun, nil
}

func (s *shelf) Keep(content *int)    { s.kept, s.content = s.kept+1, content }
func (s *shelf) Replaced(before *int) { s.replaced = append(s.replaced, *before) }

func TestKeptIsNotParsed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "list")
	write(t, path, "ann\nbob\n")
	n := 7
	s := &shelf{content: &n, begun: time.Unix(1000, 0)}
	f, err := OpenKept(path, countLine, s, Options{Ticks: make(chan time.Time), NoEvents: true})
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	if st := f.State(); st.Entries != 7 || !st.Read.Equal(s.begun) || f.Get() != &n || s.kept != 0 {
		t.Errorf("%+v, kept %d times", st, s.kept)
	}
	if _, err := OpenKept(filepath.Join(t.TempDir(), "none"), countLine, s, Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("kept of a file that is gone: %v", err)
	}
}

// A text that was written a moment ago may be written again in the same moment, so nothing is kept of it yet.
func TestFreshTextIsNotKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "list")
	write(t, path, "ann@example.com\n")
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	now := info.ModTime().Add(time.Second)
	s := &shelf{}
	f, err := OpenKept(path, countLine, s, Options{Ticks: make(chan time.Time), NoEvents: true, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	f.Close() // the test is the clock
	if f.keep(); s.kept != 0 {
		t.Fatal("kept while it was fresh")
	}
	// Changed behind all stamps: as after a second change in one step of the file system's clock.
	write(t, path, "eve@example.com\nbob@example.com\n")
	info, err = os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	f.seen = stampOf(info)
	now = now.Add(time.Hour)
	if f.keep(); s.kept != 0 {
		t.Error("what was read is not what stands there, and was kept")
	}
	if *f.Get() != 2 || fmt.Sprint(s.replaced) != "[1]" {
		t.Errorf("%d lines, replaced %v", *f.Get(), s.replaced)
	}
	if f.keep(); s.kept != 1 || *s.content != 2 {
		t.Error("not kept when it had settled")
	}
	if f.keep(); s.kept != 1 {
		t.Error("kept twice")
	}
}

// Who asks for it has the file looked at now, once it has changed.
func TestLook(t *testing.T) {
	path := filepath.Join(t.TempDir(), "list")
	write(t, path, "ann@example.com\n")
	looks := make(chan State, 16)
	f, err := Open(path, countLine, Options{Ticks: make(chan time.Time), NoEvents: true, Changed: func(s State) { looks <- s }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	look := func(what string, entries, told int) State {
		t.Helper()
		s, err := f.Look(t.Context())
		if err != nil || s.Entries != entries || len(looks) != told {
			t.Errorf("%s: %+v %v, told %d times", what, s, err, len(looks))
		}
		return s
	}
	look("as it was", 1, 0)
	write(t, path, "ann@example.com\nbob@example.com\n")
	look("changed", 2, 1)
	look("once more", 2, 1)
	if err := os.Rename(path, path+".away"); err != nil {
		t.Fatal(err)
	}
	if s := look("gone", 2, 2); !errors.Is(s.Err, fs.ErrNotExist) {
		t.Errorf("%v", s.Err)
	}
	if err := os.Rename(path+".away", path); err != nil {
		t.Fatal(err)
	}
	if s := look("back", 2, 3); s.Err != nil {
		t.Errorf("%v", s.Err)
	}
	f.Close()
	if _, err := f.Look(t.Context()); err != ErrClosed {
		t.Errorf("%v", err)
	}
}
