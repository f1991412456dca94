package sqlite

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"backstop/internal/directory"
	"backstop/internal/evidence"
)

// folder is everything that can be seen of a folder's files, but for when they were read.
func folder(t *testing.T, dir string) string {
	t.Helper()
	all, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, e := range all {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&b, e.Name(), info.Mode(), info.ModTime().UnixNano(), len(content), string(content))
	}
	return b.String()
}

// readAlone reads the folder's store and finds the folder as it was before.
func readAlone(t *testing.T, dir string) string {
	t.Helper()
	before := folder(t, dir)
	s, err := OpenRead(dir)
	if err != nil {
		t.Fatal(err)
	}
	got := addresses(load(t, s))
	if err := s.Save(t.Context(), []directory.Entry{entry("new@example.com", evidence.Exists, noon)}); err == nil {
		t.Error("what is read alone was written to")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if after := folder(t, dir); after != before {
		t.Errorf("reading changed the folder, from\n%.300s\nto\n%.300s", before, after)
	}
	return got
}

// writes is the environment variable that makes this program, run again, write to a folder.
const writes = "BACKSTOP_TEST_WRITES"

const both = "ann@example.com bob@example.com"

// TestWriter is no test of its own: it is the program that writes, until its standard input ends.
func TestWriter(t *testing.T) {
	dir := os.Getenv(writes)
	if dir == "" {
		return
	}
	s := mustOpen(t, dir)
	for addr := range strings.FieldsSeq(both) {
		if err := s.Save(t.Context(), []directory.Entry{entry(addr, evidence.Exists, noon)}); err != nil {
			t.Fatal(err)
		}
	}
	fmt.Println("written")
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		t.Fatal(err)
	}
}

func TestReadChangesNothing(t *testing.T) {
	dir := t.TempDir()
	writer := exec.Command(os.Args[0], "-test.run=^TestWriter$")
	writer.Env = append(os.Environ(), writes+"="+dir)
	in, err := writer.StdinPipe() // held open until it is killed
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := writer.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := writer.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "written\n" {
		t.Fatalf("the writer says %q (%v)", line, err)
	}
	if got := readAlone(t, dir); got != both {
		t.Errorf("beside the program that writes: %q", got)
	}
	if err := writer.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := writer.Wait(); err == nil {
		t.Error("it ended by itself")
	}
	if got := readAlone(t, dir); got != both {
		t.Errorf("after a kill: %q", got)
	}
	s := mustOpen(t, dir)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if got := readAlone(t, dir); got != both {
		t.Errorf("after its end: %q", got)
	}
}

func TestReadRefuses(t *testing.T) {
	dir := t.TempDir()
	for _, nowhere := range []string{dir, filepath.Join(dir, "none")} {
		if _, err := OpenRead(nowhere); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("where there is no store: %v", err)
		}
	}
	if left := folder(t, dir); left != "" {
		t.Errorf("made: %s", left)
	}
	s := mustOpen(t, dir)
	if _, err := s.db.Exec("PRAGMA user_version = 99"); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if _, err := OpenRead(dir); err == nil || !strings.Contains(err.Error(), "schema") {
		t.Errorf("of a newer version: %v", err)
	}
	if err := os.WriteFile(s.path, bytes.Repeat([]byte("noise\n"), 2000), 0o600); err != nil {
		t.Fatal(err)
	}
	before := folder(t, dir)
	if _, err := OpenRead(dir); err == nil || !damaged(err) {
		t.Errorf("damaged: %v", err)
	}
	if folder(t, dir) != before {
		t.Error("a damaged file was touched")
	}
}
