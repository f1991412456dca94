package keyfile

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"backstop/internal/batv"
	"backstop/internal/keyring"
	"backstop/internal/seal"
	"backstop/internal/srs"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// noon of a day in November 2026; the 31st is the first of December.
func noon(day int) time.Time { return time.Date(2026, 11, day, 12, 0, 0, 0, time.UTC) }

func open(t testing.TB, folder string, o Options) *File {
	t.Helper()
	if o.Now == nil {
		o.Now = func() time.Time { return noon(22) }
	}
	f, err := Open(folder, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

func hintOf(err error) string {
	var h interface{ Hint() string }
	if errors.As(err, &h) {
		return h.Hint()
	}
	return ""
}

// words shows the keys in one line.
func words(r keyring.Ring) string {
	var s []string
	for _, k := range r.Keys() {
		w := k.ID.String()
		if !k.SignsFrom.IsZero() {
			w += k.SignsFrom.Format(":02T15")
		}
		if !k.Retired.IsZero() {
			w += k.Retired.Format("-02T15")
		}
		s = append(s, w)
	}
	return strings.Join(s, " ")
}

func wants(t testing.TB, what string, r keyring.Ring, want string) {
	t.Helper()
	if got := words(r); got != want {
		t.Errorf("%s: keys %q, want %q", what, got, want)
	}
}

func TestLifetimeIsTheLongest(t *testing.T) {
	if d := (srs.MaxAgeDays + 1) * 24 * time.Hour; Lifetime < d || Lifetime < seal.Lifetime || Lifetime < batv.Lifetime {
		t.Errorf("%v is shorter than what lives", Lifetime)
	}
}

func TestTurns(t *testing.T) {
	folder := t.TempDir()
	late := func() time.Time { return noon(300) } // after all that is done below
	f := open(t, folder, Options{NoEvents: true, Now: late})
	if s := f.State(); s.Keys != 0 || s.Err != nil || !s.Read.IsZero() || f.Ring().Len() != 0 {
		t.Errorf("an empty folder: %+v", s)
	}
	if made, err := f.Ensure(noon(22)); !made || err != nil {
		t.Fatal(made, err)
	}
	wants(t, "the first", f.Ring(), "1:22T12")
	if made, err := f.Ensure(noon(22)); made || err != nil {
		t.Error("made twice", err)
	}
	second, err := f.New(noon(22))
	if err != nil || second.ID != 2 || len(second.Secret) != secretSize || bytes.Equal(second.Secret, f.Ring().Keys()[0].Secret) {
		t.Fatalf("%+v, %v", second, err)
	}
	wants(t, "the second", f.Ring(), "1:22T12 2:23T00")
	if k, _ := f.Ring().Signer(noon(22)); k.ID != 1 {
		t.Errorf("key %v signs already", k.ID)
	}

	var needed *NeededError
	if err := f.Retire(1, noon(24), false); !errors.As(err, &needed) || needed.Until != time.Date(2026, 12, 15, 0, 0, 0, 0, time.UTC) || !strings.Contains(err.Error(), "until 2026-12-15T00:00:00Z") {
		t.Errorf("%v", err)
	}
	if err := f.Retire(2, noon(24), false); !errors.As(err, &needed) || !needed.Until.IsZero() || !strings.Contains(hintOf(err), "keys new") {
		t.Errorf("%v", err)
	}
	if err := f.Retire(1, noon(22+24), false); err != nil {
		t.Error(err)
	}
	wants(t, "retired", f.Ring(), "2:23T00")
	wants(t, "all", f.All(), "1:22T12-16T12 2:23T00")
	if err := f.Retire(1, noon(50), false); err == nil || !strings.Contains(err.Error(), "was retired at 2026-12-16T12:00:00Z") {
		t.Error(err)
	}
	if err := f.Retire(7, noon(50), true); err == nil || !strings.Contains(err.Error(), "no key 7") {
		t.Error(err)
	}
	for _, want := range "34567890" { // and no 1: what it signed could be under way if nobody had asked
		if k, err := f.New(noon(50)); err != nil || k.ID.String() != string(want) {
			t.Fatalf("%v, %v, want %c", k.ID, err, want)
		}
	}
	if _, err := f.New(noon(50)); err == nil || !strings.Contains(err.Error(), "no number is free for a new key before 2027-01-07T12:00:00Z") {
		t.Error(err)
	}
	if k, err := f.New(noon(46 + 22)); err != nil || k.ID != 1 || f.All().Len() != 10 {
		t.Error(k.ID, err)
	}
	if _, err := f.New(noon(46 + 22)); err == nil || !strings.Contains(err.Error(), "all 10 numbers are taken") {
		t.Error(err)
	}
	again := open(t, folder, Options{NoEvents: true, Now: late})
	if words(again.All()) != words(f.All()) || words(again.Ring()) != words(f.Ring()) {
		t.Errorf("%s, read again %s", words(f.All()), words(again.All()))
	}
}

// A key that has leaked goes at once, and somebody signs on.
func TestLeaked(t *testing.T) {
	for name, tc := range map[string]struct {
		before func(*File) error
		leaked keyring.ID
		want   string
		signer keyring.ID
	}{
		"the only one":      {func(*File) error { return nil }, 1, "2:25T00", 2},
		"one is waiting":    {func(f *File) error { _, err := f.New(noon(25)); return err }, 1, "2:25T00", 2},
		"an older one":      {func(f *File) error { _, err := f.New(noon(23)); return err }, 2, "1:22T12", 1},
		"one that waits":    {func(f *File) error { _, err := f.New(noon(25)); return err }, 2, "1:22T12", 1},
		"one that verifies": {func(f *File) error { _, err := f.Import(0, []byte("exim"), true, noon(23)); return err }, 0, "1:22T12", 1},
	} {
		t.Run(name, func(t *testing.T) {
			f := open(t, t.TempDir(), Options{NoEvents: true, Now: func() time.Time { return noon(25) }})
			if _, err := f.Ensure(noon(22)); err != nil {
				t.Fatal(err)
			}
			if err := tc.before(f); err != nil {
				t.Fatal(err)
			}
			if err := f.Retire(tc.leaked, noon(25), true); err != nil {
				t.Fatal(err)
			}
			wants(t, name, f.Ring(), tc.want)
			if k, ok := f.Ring().Signer(noon(25).Add(-time.Hour)); !ok || k.ID != tc.signer {
				t.Errorf("key %v signs (%v)", k.ID, ok)
			}
		})
	}
}

// A key that was made by mistake may go before it signs.
func TestRetireBeforeItSigns(t *testing.T) {
	f := open(t, t.TempDir(), Options{NoEvents: true})
	for range 2 {
		if _, err := f.New(noon(22)); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Retire(2, noon(22), false); err != nil {
		t.Error(err)
	}
	wants(t, "left", f.Ring(), "1:22T12")
}

func TestImport(t *testing.T) {
	f := open(t, t.TempDir(), Options{NoEvents: true})
	const long = "a secret of Exim"
	if _, err := f.Import(0, []byte(long), false, noon(22)); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Import(1, []byte(long[1:]), false, noon(22)); err == nil || !strings.Contains(err.Error(), "a secret of 15 octets does not sign here") || !strings.Contains(hintOf(err), "--verify-only") {
		t.Error(err)
	}
	if k, err := f.Import(7, []byte("of another"), true, noon(22)); err != nil || !k.SignsFrom.IsZero() {
		t.Fatal(k.ID, err)
	}
	if _, err := f.Import(3, []byte("third of its kind"), false, noon(22)); err != nil {
		t.Fatal(err)
	}
	wants(t, "imported", f.Ring(), "7 0:22T12 3:23T00")
	for want, tc := range map[string]struct {
		id     keyring.ID
		secret string
	}{
		"has this very secret":    {7, "of another"},
		"taken by another key":    {7, "x"},
		"1 to 1024 octets, not 0": {8, ""},
		"not 1025":                {8, strings.Repeat("x", 1025)},
		"one digit":               {10, "x"},
	} {
		if _, err := f.Import(tc.id, []byte(tc.secret), true, noon(22)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if err := f.Retire(7, noon(22), true); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Import(7, []byte("x"), true, noon(43)); err == nil || !strings.Contains(err.Error(), "free again from 2026-12-14T12:00:00Z") {
		t.Error(err)
	}
	if _, err := f.Import(7, []byte("x"), true, noon(44)); err != nil {
		t.Error(err)
	}
	wants(t, "in the end", f.All(), "7 0:22T12 3:23T00")
	made, err := open(t, t.TempDir(), Options{}).Import(5, []byte("x"), true, noon(22))
	if err != nil || made.ID != 5 {
		t.Error(err)
	}
}

// A key that was imported has signed where it comes from, so it is not retired as one that was made by mistake.
func TestRetireImported(t *testing.T) {
	f := open(t, t.TempDir(), Options{NoEvents: true})
	secret := []byte("a secret of Exim")
	if _, err := f.Ensure(noon(22)); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Import(7, secret, false, noon(22)); err != nil {
		t.Fatal(err)
	}
	var needed *NeededError
	if err := f.Retire(7, noon(22), false); !errors.As(err, &needed) || !needed.Until.Equal(noon(22+22)) {
		t.Errorf("%v", err)
	}
	if err := f.Retire(7, noon(22), true); err != nil {
		t.Fatal(err)
	}
	wants(t, "retired", f.Ring(), "1:22T12")
	// The same secret again is no other key's, so its number need not wait.
	if _, err := f.Import(7, []byte("another's secret"), false, noon(23)); err == nil || !strings.Contains(err.Error(), "free again from") {
		t.Error(err)
	}
	if k, err := f.Import(7, secret, false, noon(23)); err != nil || !k.Imported {
		t.Error(err)
	}
	wants(t, "back", f.All(), "1:22T12 7:24T00")
	if again := open(t, f.folder, Options{NoEvents: true}).All().Keys(); again[0].Imported || !again[1].Imported {
		t.Errorf("%+v", again)
	}
}

// What this File writes itself is told of once, though the event comes as well.
func TestToldOnce(t *testing.T) {
	folder := t.TempDir()
	var log bytes.Buffer
	states := make(chan State, 16)
	f := open(t, folder, Options{Logger: slog.New(slog.NewTextHandler(&log, nil)), Changed: func(s State) { states <- s }})
	other := open(t, folder, Options{NoEvents: true})
	if _, err := f.Ensure(noon(22)); err != nil {
		t.Fatal(err)
	}
	for keys := 2; keys < 8; keys += 2 {
		for i, by := range []*File{f, other} {
			if _, err := by.New(noon(22)); err != nil {
				t.Fatal(err)
			}
			if s := <-states; s.Keys != keys+i || s.Err != nil {
				t.Errorf("%d keys, %+v", keys+i, s)
			}
		}
	}
	f.Close()
	if n := strings.Count(log.String(), "was taken over"); n != 6 || len(states) != 0 {
		t.Errorf("%d lines, %d more\n%s", n, len(states), log.String())
	}
}

// Where there is nothing that signs, Ensure makes a key beside those that verify.
func TestEnsureSigns(t *testing.T) {
	f := open(t, t.TempDir(), Options{NoEvents: true})
	if _, err := f.Import(4, []byte("x"), true, noon(22)); err != nil {
		t.Fatal(err)
	}
	if made, err := f.Ensure(noon(22)); !made || err != nil {
		t.Error(made, err)
	}
	wants(t, "both", f.Ring(), "4 5:22T12")
}

// Two daemons and commands at once: nobody loses a key, and all have the same in the end.
func TestWritersAtOnce(t *testing.T) {
	folder := t.TempDir()
	var all sync.WaitGroup
	files := make([]*File, 3)
	for i := range files {
		files[i] = open(t, folder, Options{})
		for range 3 {
			all.Go(func() {
				if _, err := files[i].New(noon(22)); err != nil {
					t.Error(err)
				}
			})
		}
	}
	all.Wait()
	seen := map[string]bool{}
	for _, k := range open(t, folder, Options{}).All().Keys() {
		seen[string(k.Secret)] = true
	}
	if len(seen) != 9 {
		t.Errorf("%d keys of 9", len(seen))
	}
	if _, err := files[0].New(noon(22)); err != nil || files[0].Ring().Len() != 10 {
		t.Errorf("%d keys, %v", files[0].Ring().Len(), err)
	}
}

func TestLockHeld(t *testing.T) {
	folder := t.TempDir()
	f := open(t, folder, Options{NoEvents: true})
	unlock, err := lock(folder, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.wait = lockEvery
	if _, err := f.New(noon(22)); err == nil || !strings.Contains(err.Error(), "somebody else has been changing the keys") {
		t.Error(err)
	}
	unlock()
	if _, err := f.New(noon(22)); err != nil {
		t.Error(err)
	}
}

// What a command writes the daemon has at once; what is broken leaves its keys in force.
func TestFollows(t *testing.T) {
	folder := t.TempDir()
	var log bytes.Buffer
	states := make(chan State, 16)
	f := open(t, folder, Options{Logger: slog.New(slog.NewTextHandler(&log, nil)), Changed: func(s State) { states <- s }})
	if _, err := f.Ensure(noon(22)); err != nil {
		t.Fatal(err)
	}
	other := open(t, folder, Options{NoEvents: true})
	if _, err := other.New(noon(22)); err != nil {
		t.Fatal(err)
	}
	if s := <-states; s.Keys != 2 || s.Err != nil || s.Exposed || f.Ring().Len() != 2 {
		t.Errorf("%+v", s)
	}
	good, err := os.ReadFile(f.path)
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]string{"half": string(good[:len(good)/2]), "empty": ""} {
		replace(t, f.path, bad)
		if s := <-states; s.Err == nil || s.Keys != 2 || f.Ring().Len() != 2 || f.State().Err == nil {
			t.Errorf("%s: %+v", name, s)
		}
		if strings.Contains(fmt.Sprint(f.State().Err), "everybody would be refused") || hintOf(f.State().Err) == "" {
			t.Errorf("%s: %v", name, f.State().Err)
		}
		for what, err := range map[string]error{"new": errOf(f.New(noon(22))), "retire": f.Retire(1, noon(22), true), "ensure": errOf(f.Ensure(noon(22)))} {
			if err == nil {
				t.Errorf("%s, %s: it was written over", name, what)
			}
		}
		if now, _ := os.ReadFile(f.path); string(now) != bad {
			t.Errorf("%s: it was written over with %q", name, now)
		}
	}
	replace(t, f.path, string(good))
	if s := <-states; s.Err != nil || s.Keys != 2 {
		t.Errorf("%+v", s)
	}
	f.Close()
	if f.Ring().Len() != 2 {
		t.Error("closed, and the keys are gone")
	}
	for _, k := range f.All().Keys() {
		if bytes.Contains(log.Bytes(), k.Secret) {
			t.Error("a secret is in the log")
		}
	}
}

func errOf[T any](_ T, err error) error { return err }

// replace puts a text in the place of a file, in one step.
func replace(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+"~", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+"~", path); err != nil {
		t.Fatal(err)
	}
}

func TestPermissions(t *testing.T) {
	folder := t.TempDir()
	f := open(t, folder, Options{NoEvents: true})
	if _, err := f.Ensure(noon(22)); err != nil {
		t.Fatal(err)
	}
	mode := func() fs.FileMode {
		info, err := os.Stat(f.path)
		if err != nil {
			t.Fatal(err)
		}
		return info.Mode()
	}
	if mode() != 0o600 {
		t.Errorf("it is made with %v", mode())
	}
	if err := os.Chmod(f.path, 0o640); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	other := open(t, folder, Options{NoEvents: true, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if !other.State().Exposed || !strings.Contains(log.String(), "chmod 600") {
		t.Errorf("%+v, %s", other.State(), log.String())
	}
	if _, err := other.New(noon(22)); err != nil || mode() != 0o600 || f.State().Exposed {
		t.Errorf("%v, %v", err, mode())
	}
}

// What a crash between writing and renaming leaves is not read, and goes with the next change.
func TestCrash(t *testing.T) {
	folder := t.TempDir()
	f := open(t, folder, Options{NoEvents: true})
	if _, err := f.Ensure(noon(22)); err != nil {
		t.Fatal(err)
	}
	left := f.path + ".new123"
	if err := os.WriteFile(left, []byte(`{"version": 1, "keys": [{`), 0o600); err != nil {
		t.Fatal(err)
	}
	if again := open(t, folder, Options{NoEvents: true}); again.Ring().Len() != 1 {
		t.Error("what was left was read")
	}
	if _, err := f.New(noon(22)); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(left); !errors.Is(err, fs.ErrNotExist) {
		t.Error("what was left, with secrets, is still there", err)
	}
	wants(t, "in the end", f.Ring(), "1:22T12 2:23T00")
}

func TestSymlinkIsFollowed(t *testing.T) {
	folder, elsewhere := t.TempDir(), t.TempDir()
	if err := os.Symlink(filepath.Join(elsewhere, "k"), filepath.Join(folder, Name)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(elsewhere, "k"), []byte(`{"version":1,"keys":[]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	f := open(t, folder, Options{NoEvents: true})
	if _, err := f.New(noon(22)); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(f.path); err != nil || info.Mode().Type() != fs.ModeSymlink || f.Ring().Len() != 1 {
		t.Errorf("%v, %v", info, err)
	}
}

func TestOpenErrors(t *testing.T) {
	folder := t.TempDir()
	if _, err := Open(filepath.Join(folder, "none"), Options{}); err == nil || !strings.Contains(err.Error(), "there is no folder") || hintOf(err) == "" {
		t.Error(err)
	}
	path := filepath.Join(folder, "file")
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, Options{}); err == nil || !strings.Contains(err.Error(), "is no folder") {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(folder, Name), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(folder, Options{}); err == nil || !strings.Contains(err.Error(), "is empty") || hintOf(err) == "" {
		t.Error(err)
	}
}

func TestMemory(t *testing.T) {
	f := Memory(noon(22))
	k, ok := f.Ring().Signer(noon(22))
	if s := f.State(); !ok || len(k.Secret) != secretSize || s.Path != "" || s.Keys != 1 || f.All().Len() != 1 {
		t.Errorf("%v %+v", ok, s)
	}
	if made, err := f.Ensure(noon(22)); made || err != nil {
		t.Error(made, err)
	}
	if _, err := f.New(noon(22)); !errors.Is(err, ErrMemory) || hintOf(err) == "" {
		t.Error(err)
	}
	if _, err := f.Import(3, []byte("x"), true, noon(22)); !errors.Is(err, ErrMemory) {
		t.Error(err)
	}
	if err := f.Retire(1, noon(22), true); !errors.Is(err, ErrMemory) {
		t.Error(err)
	}
	f.Close()
}
