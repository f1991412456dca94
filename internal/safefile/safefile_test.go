package safefile

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func text(s string) func(io.Writer) error {
	return func(w io.Writer) error { _, err := io.WriteString(w, s); return err }
}

func content(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func onlyFile(t *testing.T, dir, name string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 || entries[0].Name() != name {
		t.Errorf("the folder holds %v, want %s alone", entries, name)
	}
}

func TestWriteReplaces(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "list")
	long := strings.Repeat("alice@example.com\n", 20000)
	for _, s := range []string{"old\n", long, "", strings.Repeat(long, 10)} {
		if err := Write(path, text(s), 0o640); err != nil {
			t.Fatal(err)
		}
		if content(t, path) != s {
			t.Errorf("the file does not hold what was written (%d octets)", len(s))
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != 0o640 {
			t.Errorf("mode %v, want 0640", info.Mode())
		}
	}
	onlyFile(t, dir, "list")
}

func TestWriteKeepsTheOldOnError(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "list")
	if err := Write(path, text("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("source went away")
	err := Write(path, func(w io.Writer) error {
		if err := text(strings.Repeat("x", 1<<20))(w); err != nil {
			return err
		}
		return broken
	}, 0o600)
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v, want one that wraps %v and names %s", err, broken, path)
	}
	if got := content(t, path); got != "old" {
		t.Errorf("the file holds %q, want the old content", got)
	}
	onlyFile(t, dir, "list")
}

func TestWriteErrors(t *testing.T) {
	dir := t.TempDir()
	if err := Write(filepath.Join(dir, "none", "list"), text("x"), 0o600); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder that is not there: %v", err)
	}
	sub := filepath.Join(dir, "folder")
	if err := os.MkdirAll(filepath.Join(sub, "full"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Write(sub, text("x"), 0o600); err == nil {
		t.Error("a folder was replaced by a file")
	}
	onlyFile(t, dir, "folder")
}
