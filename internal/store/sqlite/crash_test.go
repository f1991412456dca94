package sqlite

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"backstop/internal/directory"
	"backstop/internal/evidence"
	"backstop/internal/mail"
	"backstop/internal/record"
)

// notes is the environment variable that makes this program, run again, note messages in a folder.
const notes = "BACKSTOP_TEST_NOTES"

// told is a store that says when a batch is written.
type told struct {
	record.Store
	batches chan int
}

func (s told) SaveRecords(ctx context.Context, entries []record.Entry) error {
	err := s.Store.SaveRecords(ctx, entries)
	s.batches <- len(entries)
	return err
}

func noted(t *testing.T, i int) (id string, a mail.Address) {
	t.Helper()
	a, err := mail.ParseAddress("ann@example.com")
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("<%d@example.com>", i), a
}

// TestNoter is no test of its own: it is the program that notes a batch and one more, until it is killed.
func TestNoter(t *testing.T) {
	dir := os.Getenv(notes)
	if dir == "" {
		return
	}
	s := told{mustOpen(t, dir), make(chan int, 10)}
	r := record.New(record.Config{Store: s})
	for i := range record.BatchSize {
		id, a := noted(t, i)
		r.Note(record.Sent, id, a)
	}
	for n := 0; n < record.BatchSize; {
		n += <-s.batches
	}
	fmt.Println("written")
	id, a := noted(t, record.BatchSize)
	r.Note(record.Sent, id, a)
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		t.Fatal(err)
	}
}

// TestKilled: who is killed has lost no more than what was not written yet.
func TestKilled(t *testing.T) {
	dir := t.TempDir()
	noter := exec.Command(os.Args[0], "-test.run=^TestNoter$")
	noter.Env = append(os.Environ(), notes+"="+dir)
	in, err := noter.StdinPipe() // held open until it is killed
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := noter.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := noter.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "written\n" {
		t.Errorf("the program says %q (%v)", line, err)
	}
	if err := noter.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := noter.Wait(); err == nil {
		t.Error("it ended by itself")
	}
	s := mustOpen(t, dir)
	r := record.New(record.Config{Store: s})
	for i := range record.BatchSize {
		id, a := noted(t, i)
		if found, err := r.Seen(t.Context(), record.Sent, []string{id}, a); !found || err != nil {
			t.Fatalf("%d: %v, %v", i, found, err)
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestDamagedRecords: the record is not looked at when the file is opened, so that damage is met
// later. The next start looks at everything.
func TestDamagedRecords(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir)
	var many []record.Entry
	for i := range 5000 {
		e := rec(record.Sent, byte(i), noon)
		e.Key[3], e.Key[4] = byte(i>>8), byte(i)
		many = append(many, e)
	}
	if err := errors.Join(s.Save(t.Context(), []directory.Entry{entry("ann@example.com", evidence.Exists, noon)}), s.SaveRecords(t.Context(), many), s.Close()); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(s.path)
	if err != nil {
		t.Fatal(err)
	}
	for i := len(whole) - 4*4096; i < len(whole); i++ {
		whole[i] = byte(i * 7)
	}
	if err := os.WriteFile(s.path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, dir)
	if got := addresses(load(t, s)); got != "ann@example.com" {
		t.Errorf("%q", got)
	}
	met := 0
	for _, e := range many {
		if _, err := s.HasRecord(t.Context(), e.Kind, e.Key, noon); err != nil {
			met++
			if !damaged(err) || !strings.Contains(err.Error(), "the next start") {
				t.Fatalf("%v", err)
			}
		}
	}
	if met == 0 {
		t.Fatal("the damage is nowhere to be met")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	before := folder(t, dir)
	if _, err := OpenRead(dir); err == nil || !damaged(err) {
		t.Errorf("read alone: %v", err)
	}
	if folder(t, dir) != before {
		t.Error("who reads alone changed the folder")
	}
	s = mustOpen(t, dir)
	has(t, s, many[0], noon, false)
	if err := s.SaveRecords(t.Context(), many); err != nil {
		t.Errorf("the new file: %v", err)
	}
	if aside, err := filepath.Glob(s.path + ".damaged-*"); err != nil || len(aside) == 0 || s.suspect() {
		t.Errorf("no file was moved aside: %v", err)
	}
}

// TestFalseAlarm: word of damage that is not there is taken back.
func TestFalseAlarm(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir)
	if err := s.SaveRecords(t.Context(), []record.Entry{rec(record.Sent, 1, noon)}); err != nil {
		t.Fatal(err)
	}
	s.suspected()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, dir)
	has(t, s, rec(record.Sent, 1, noon), noon, true)
	if s.suspect() {
		t.Error("the word stays")
	}
}
