package synced

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"backstop/internal/directory"
	"backstop/internal/directory/snapshot"
	"backstop/internal/evidence"
)

// truth says that whoever is listed is found, or nobody is told anything.
func (w *world) truth(s *Source, what string, listed ...string) (answers bool) {
	w.t.Helper()
	for _, a := range listed {
		got := s.Known(a)
		if got == evidence.Missing {
			w.t.Fatalf("%s: %s is missing", what, a)
		}
		answers = got == evidence.Exists
	}
	return answers
}

// A crash may come between any two writes. Then some files are of the new copy, some of
// the one before, and some may not be there at all.
func TestCrashBetweenWrites(t *testing.T) {
	for _, how := range []int{deltas, lists, plain} {
		w := newWorld(t, newFake(how).fill(10))
		w.opened().Close()
		first := w.files()
		w.dir.put("id3", "third@example.com")
		w.dir.put("new", "new@example.com")
		w.opened().Close()
		second := w.files()
		w.dir.put("id4", "fourth@example.com")
		both := []string{"user0@example.com", "user4@example.com", "user9@example.com"}
		kinds := []string{snapshotSuffix, objectsSuffix, stateSuffix}
		for mix := range 27 {
			at := []int{mix % 3, mix / 3 % 3, mix / 9}
			contents := map[string]string{}
			for i, kind := range kinds {
				name := filepath.Join(w.cfg.Folder, safeName(w.cfg.Name)+kind)
				if from := []map[string]string{first, second, nil}[at[i]]; from[name] != "" {
					contents[name] = from[name]
				}
			}
			what := fmt.Sprint(how, " ", at)
			w.put(contents)
			w.dir.set(func() { w.dir.fails = 1 })
			s := w.open()
			if answers := w.truth(s, what, both...); answers != (at[0] != 2) {
				t.Errorf("%s: answers: %v", what, answers)
			}
			if at[0] != 2 {
				_, isNew := map[int]string{1: ""}[at[0]]
				w.says(s, map[bool]evidence.Standing{true: evidence.Exists, false: evidence.Missing}[isNew], "new@example.com", "third@example.com")
			}
			_, _ = s.Sync(t.Context(), false) // fails
			w.dir.set(func() { w.dir.fails = 0 })
			fulls, _ := w.dir.pulls()
			w.sync(s, false)
			w.knows(s)
			again, _ := w.dir.pulls()
			whole := at[0] == at[1] && at[1] == at[2] && at[0] != 2 && how != plain
			if whole != (again == fulls) {
				t.Errorf("%s: %d full pulls", what, again-fulls)
			}
			s.Close()
		}
	}
}

// Every octet of the files of a small copy is flipped. What is opened then knows everybody, or says nothing;
// and the next pull, which is of changes where that is possible, makes it right.
func TestEveryFlippedOctet(t *testing.T) {
	w := newWorld(t, newFake(deltas).fill(6))
	w.opened().Close()
	good := w.files()
	listed := []string{"user0@example.com", "user1@example.com", "user2@example.com", "user3@example.com", "user4@example.com", "user5@example.com"}
	w.dir.put("id0", "user0@example.com", "second@example.com")
	w.dir.put("id1", "first@example.com")
	for name, content := range good {
		for i := range len(content) {
			for k, flip := range []byte{1, 0x80, 0xff} {
				broken := []byte(content)
				broken[i] ^= flip
				what := fmt.Sprintf("%s, octet %d", filepath.Base(name), i)
				if err := os.WriteFile(name, broken, 0o600); err != nil {
					t.Fatal(err)
				}
				w.cfg.Offline = true
				s := w.open()
				w.truth(s, what, listed...)
				if s.Close(); i%3 != k || filepath.Ext(name) == snapshotSuffix && i%97 != 0 {
					continue // a snapshot has many, and once it is refused nothing depends on which
				}
				w.cfg.Offline = false
				s = w.open()
				if _, err := s.Sync(t.Context(), false); err != nil {
					t.Fatalf("%s: %v", what, err)
				}
				w.knows(s)
				s.Close()
				if t.Failed() {
					t.Fatal(what)
				}
				w.put(good)
			}
		}
		w.put(good)
	}
}

// objectsOf writes the objects of so many people with two addresses each.
func objectsOf(n int) ([]byte, snapshot.Key, mark) {
	var b bytes.Buffer
	key, m := snapshot.NewKey(), newMark()
	w := newRecordWriter(&b, key, m)
	for i := range n {
		object := key.Sum(fmt.Sprint("\x01", i))
		w.put(record{object, key.Sum(fmt.Sprint("a", i)), w.domain(fmt.Sprintf("d%d.example", i%50))})
		w.put(record{object, key.Sum(fmt.Sprint("b", i)), elsewhere})
	}
	if _, err := w.finish(); err != nil {
		panic(err) // a buffer takes all
	}
	return b.Bytes(), key, m
}

func TestRandomFlipsOfManyObjects(t *testing.T) {
	file, key, m := objectsOf(4000)
	ignore := func(record, string) error { return nil }
	random := rand.New(rand.NewPCG(3, 4))
	for range 10_000 {
		i, flip := random.IntN(len(file)), byte(1+random.IntN(255))
		file[i] ^= flip
		if err := readRecords(bytes.NewReader(file), key, m, ignore); !errors.Is(err, errObjects) {
			t.Fatalf("flipped octet %d: %v", i, err)
		}
		file[i] ^= flip
	}
	if err := readRecords(bytes.NewReader(file), key, m, ignore); err != nil {
		t.Fatal(err)
	}
}

func TestCutOrMixedObjects(t *testing.T) {
	file, key, m := objectsOf(4000)
	ignore := func(record, string) error { return nil }
	short, _, _ := objectsOf(3)
	for n := range short {
		if err := readRecords(bytes.NewReader(short[:n]), key, m, ignore); !errors.Is(err, errObjects) {
			t.Fatalf("cut to %d: %v", n, err)
		}
	}
	block := blockHead + blockSize
	at := bytes.Index(file, []byte{blockRecords, blockSize & 0xff, blockSize >> 8 & 0xff, blockSize >> 16, 0})
	if at < 0 {
		t.Fatal("no block of records")
	}
	for what, broken := range map[string][]byte{
		"a block twice":     append(bytes.Clone(file[:at+block]), file[at:]...),
		"a block less":      append(bytes.Clone(file[:at]), file[at+block:]...),
		"blocks changed":    append(append(append(bytes.Clone(file[:at]), file[at+block:at+2*block]...), file[at:at+block]...), file[at+2*block:]...),
		"more behind":       append(bytes.Clone(file), 0),
		"another one's":     func() []byte { f, _, _ := objectsOf(10); return f }(),
		"nothing":           {},
		"of a next version": func() []byte { f := bytes.Clone(file); f[8]++; return f }(),
	} {
		if err := readRecords(bytes.NewReader(broken), key, m, ignore); !errors.Is(err, errObjects) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestRecordsComeBack(t *testing.T) {
	file, key, m := objectsOf(4000)
	n := 0
	err := readRecords(bytes.NewReader(file), key, m, func(r record, domain string) error {
		i := n / 2
		want := record{key.Sum(fmt.Sprint("\x01", i)), key.Sum(fmt.Sprint("a", i)), uint32(i % 50)}
		name := fmt.Sprintf("d%d.example", i%50)
		if n%2 == 1 {
			want.address, want.domain, name = key.Sum(fmt.Sprint("b", i)), elsewhere, ""
		}
		if r != want || domain != name {
			t.Fatalf("record %d: %+v of %q", n, r, domain)
		}
		n++
		return nil
	})
	if err != nil || n != 8000 {
		t.Errorf("%d records, %v", n, err)
	}
	stop := errors.New("stop")
	if err := readRecords(bytes.NewReader(file), key, m, func(record, string) error { return stop }); err != stop {
		t.Errorf("%v", err)
	}
}

func FuzzObjects(f *testing.F) {
	small, key, m := objectsOf(3)
	f.Add(small)
	f.Fuzz(func(t *testing.T, file []byte) {
		err := readRecords(bytes.NewReader(file), key, m, func(record, string) error { return nil })
		if err == nil && !bytes.Equal(file, small) {
			t.Error("octets that nobody wrote are believed")
		}
		if err != nil && !errors.Is(err, errObjects) {
			t.Error(err)
		}
	})
}

// Damage that is found when the changes are put together leads to a full pull.
func TestDamagedObjects(t *testing.T) {
	for _, how := range []int{deltas, lists} {
		w := newWorld(t, newFake(how).fill(20))
		s := w.opened()
		file, err := os.ReadFile(s.files.objects)
		if err != nil {
			t.Fatal(err)
		}
		file[len(file)-100] ^= 1
		if err := os.WriteFile(s.files.objects, file, 0o600); err != nil {
			t.Fatal(err)
		}
		w.dir.put("new", "new@example.com")
		if r := w.sync(s, false); !r.Full || !r.Changed {
			t.Errorf("%+v", r)
		}
		w.knows(s)
		if !strings.Contains(w.log.String(), "what has changed cannot be told") {
			t.Errorf("not told:\n%s", w.log.String())
		}
	}
}

// What is damaged says nothing, and stays until a pull is well.
func TestDamagedSnapshotIsReplaced(t *testing.T) {
	w := newWorld(t, newFake(deltas).fill(20))
	s := w.opened()
	s.Close()
	if err := os.Truncate(s.files.snapshot, 1000); err != nil {
		t.Fatal(err)
	}
	w.dir.set(func() { w.dir.fails = 1 })
	s = w.open()
	w.says(s, evidence.Unavailable, "user0@example.com", "eve@example.com")
	if _, err := s.Sync(t.Context(), false); !errors.Is(err, errDown) {
		t.Errorf("%v", err)
	}
	if info, err := os.Stat(s.files.snapshot); err != nil || info.Size() != 1000 {
		t.Errorf("%v", err)
	}
	if n := strings.Count(w.log.String(), "the copy of a source cannot be used"); n != 1 {
		t.Errorf("told %d times", n)
	}
	w.dir.set(func() { w.dir.fails = 0 })
	w.sync(s, false)
	w.knows(s)
}

func TestPrune(t *testing.T) {
	w := newWorld(t, newFake(deltas).fill(3))
	a := w.opened()
	a.Close()
	w.cfg.Name = "other/../source ü"
	b := w.opened()
	b.Close()
	at := func(name string) string { return filepath.Join(w.cfg.Folder, name) }
	for _, name := range []string{"README", "gone.recipients", "gone.objects", "gone.state.new123", "gone.pull.new1", "gone.recipients.old", "x.y"} {
		if err := os.WriteFile(at(name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(a.files.objects+".new77", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Prune(w.cfg.Folder, a); err != nil {
		t.Fatal(err)
	}
	w.cfg.Name = "Corp"
	w.opened() // which deletes what a crash has left
	var left []string
	for name := range w.files() {
		left = append(left, filepath.Base(name))
	}
	want := map[string]bool{"README": true, "gone.recipients.old": true, "x.y": true, "%43orp.recipients": true, "%43orp.objects": true, "%43orp.state": true}
	for _, name := range left {
		if !want[name] {
			t.Errorf("%s is left", name)
		}
		delete(want, name)
	}
	if len(want) > 0 {
		t.Errorf("deleted: %v", want)
	}
	if err := Prune(at("none")); err != nil {
		t.Error(err)
	}
}

// What a directory must not do leads to no wrong copy.
func TestPullersThatGoWrong(t *testing.T) {
	ctx := t.Context()
	for what, pull := range map[string]func(into directory.Copy) error{
		"ids for some":          func(c directory.Copy) error { _ = c.Take("", "a@example.com"); return c.Take("1", "b@example.com") },
		"ids for some, later":   func(c directory.Copy) error { _ = c.Take("1", "b@example.com"); return c.Take("", "a@example.com") },
		"unchanged, but who":    func(c directory.Copy) error { return c.Still("1") },
		"an error not returned": func(c directory.Copy) error { _ = c.Still("1"); return nil },
	} {
		w := newWorld(t, newFake(deltas))
		w.cfg.Puller = puller{full: pull}
		s := w.open()
		if r, err := s.Sync(ctx, true); err == nil || r.Changed {
			t.Errorf("%s: %v", what, err)
		}
		w.says(s, evidence.Unavailable, "a@example.com")
	}
	for what, pull := range map[string]func(into directory.Copy) error{
		"no id in a change":           func(c directory.Copy) error { return c.Take("", "a@example.com") },
		"unchanged, but unknown":      func(c directory.Copy) error { return c.Still("99") },
		"unchanged, but asked before": func(c directory.Copy) error { c.Has("99"); return c.Still("99") },
		"unchanged after it was gone": func(c directory.Copy) error { _ = c.Take("id1"); return c.Still("id1") },
		"gone, and unknown":           func(c directory.Copy) error { return c.Take("99") },
	} {
		f := newFake(deltas).fill(3)
		w := newWorld(t, f)
		w.opened().Close()
		w.cfg.Puller = puller{some: pull, fake: f}
		s := w.open()
		_, _ = s.Sync(ctx, true)
		if what == "no id in a change" {
			w.says(s, evidence.Exists, "user0@example.com", "user1@example.com", "user2@example.com")
			continue
		}
		w.knows(s)
	}
}

// puller is one that a test has in its hands.
type puller struct {
	*fake
	full, some func(directory.Copy) error
}

func (p puller) Full(ctx context.Context, into directory.Copy) (directory.Pulled, error) {
	if p.full == nil {
		return p.fake.Full(ctx, into)
	}
	return directory.Pulled{Cursor: []byte("1")}, p.full(into)
}

func (p puller) Changes(_ context.Context, _ []byte, into directory.Copy) (directory.Pulled, error) {
	return directory.Pulled{Cursor: []byte("2")}, p.some(into)
}

// A panic is a pull that failed, whoever panics, and the next one goes on.
func TestPanicInAPull(t *testing.T) {
	f := newFake(deltas).fill(20)
	w := newWorld(t, f)
	w.opened().Close()
	panics := true
	w.cfg.Puller = puller{fake: f, some: func(c directory.Copy) error {
		if panics {
			_ = c.Take("id3")
			panic("an entry that nobody thought of")
		}
		return c.Take("new", "new@example.com")
	}}
	s := w.open()
	r, err := s.Sync(t.Context(), false)
	if err == nil || !strings.Contains(err.Error(), "internal error") || r.Entries != 20 {
		t.Errorf("%v %+v", err, r)
	}
	w.says(s, evidence.Exists, "user3@example.com")
	if log := w.log.String(); !strings.Contains(log, "an entry that nobody thought of") || !strings.Contains(log, "TestPanicInAPull") {
		t.Errorf("the log has not what and where:\n%s", log)
	}
	panics = false
	w.sync(s, false)
	w.says(s, evidence.Exists, "user3@example.com", "new@example.com")
}

// A directory that never ends is stopped, and so is one for which there is no room.
func TestPullWithoutEnd(t *testing.T) {
	for what, one := range map[string]func(c directory.Copy, i int) error{
		"recipients":              func(c directory.Copy, i int) error { return c.Take(fmt.Sprint(i), fmt.Sprintf("u%d@example.com", i)) },
		"the same one":            func(c directory.Copy, i int) error { return c.Take("1", "u@example.com") },
		"addresses without ids":   func(c directory.Copy, i int) error { return c.Take("", fmt.Sprintf("u%d@example.com", i)) },
		"none, and they are none": func(c directory.Copy, i int) error { return c.Take("", "no address") },
	} {
		w := newWorld(t, newFake(deltas))
		w.cfg.Most = 1000
		w.cfg.Puller = puller{fake: w.dir, full: func(c directory.Copy) error {
			for i := range 2000 {
				if err := one(c, i); err != nil {
					return err
				}
			}
			return nil
		}}
		s := w.open()
		if _, err := s.Sync(t.Context(), false); err == nil || !strings.Contains(err.Error(), "more than 1000 recipients and addresses") {
			t.Errorf("%s: %v", what, err)
		}
		if left := w.files(); len(left) > 0 {
			t.Errorf("%s: %d files are left", what, len(left))
		}
	}
}

func TestSpoolThatCannotBeWritten(t *testing.T) {
	w := newWorld(t, newFake(deltas).fill(3))
	s, err := Open(w.cfg)
	if err != nil {
		t.Fatal(err)
	}
	pull, err := s.newTaking(true)
	if err != nil {
		t.Fatal(err)
	}
	defer pull.close()
	pull.log.pattern = filepath.Join(w.cfg.Folder, "none", "spool")
	pull.log.buf = make([]byte, spoolInMemory) // the next octet goes into a file
	for i := 0; err == nil; i++ {
		err = pull.Take(fmt.Sprint(i), "ann@example.com")
	}
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "what is pulled cannot be written down") {
		t.Errorf("%v", err)
	}
}
