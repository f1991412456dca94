package safefile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	for range 2 { // the second time the file is there already
		unlock, err := Lock(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Lock(path); !errors.Is(err, ErrLocked) {
			t.Errorf("a second time: %v", err)
		}
		unlock()
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o644 || info.Size() != 0 {
		t.Errorf("%v, %v", info, err)
	}
	if _, err := Lock(filepath.Join(t.TempDir(), "none", "lock")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without its folder: %v", err)
	}
}
