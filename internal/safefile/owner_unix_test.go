//go:build unix

package safefile

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestReplaceKeepsWhoseItIs: a list that the daemon's group may read is read by it afterwards, too.
func TestReplaceKeepsWhoseItIs(t *testing.T) {
	dir := t.TempDir()
	path, link := filepath.Join(dir, "list"), filepath.Join(dir, "link")
	if err := Replace(path, text("first"), 0o640); err != nil {
		t.Fatal(err)
	}
	uid, gid := os.Geteuid(), os.Getegid()
	if uid == 0 {
		uid, gid = 12, 34
		if err := os.Chown(path, uid, gid); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(path, 0o620); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("list", link); err != nil {
		t.Fatal(err)
	}
	if err := Replace(link, text("second"), 0o644); err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	is := info.Sys().(*syscall.Stat_t)
	if int(is.Uid) != uid || int(is.Gid) != gid || info.Mode() != 0o620 || content(t, path) != "second" {
		t.Errorf("of %d and %d, %v, %q", is.Uid, is.Gid, info.Mode(), content(t, path))
	}
	if info, err := os.Lstat(link); err != nil || info.Mode().Type() != fs.ModeSymlink {
		t.Errorf("the link became %v, %v", info.Mode(), err)
	}
	if err := Replace(dir, text("x"), 0o644); err == nil || !strings.Contains(err.Error(), "no plain file") {
		t.Errorf("a folder: %v", err)
	}
}

// TestWriteForTheFoldersOwner: what root writes into the daemon's folder is the daemon's.
func TestWriteForTheFoldersOwner(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "keys")
	uid, gid := os.Geteuid(), os.Getegid()
	if uid == 0 {
		uid, gid = 12, 34
		if err := os.Chown(dir, uid, gid); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range []string{"first", "second"} {
		if err := WriteFor(path, text(s), 0o600); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if is := info.Sys().(*syscall.Stat_t); int(is.Uid) != uid || int(is.Gid) != gid || info.Mode() != 0o600 || content(t, path) != s {
			t.Errorf("of %d and %d, %v, %q", is.Uid, is.Gid, info.Mode(), content(t, path))
		}
	}
	if err := WriteFor(filepath.Join(dir, "none", "keys"), text("x"), 0o600); err == nil || !strings.Contains(err.Error(), "cannot write") {
		t.Error(err)
	}
}

// others is a file of somebody else's.
type others struct{ fs.FileInfo }

func (others) Sys() any { return &syscall.Stat_t{Uid: 1, Gid: 1} }

func TestReplaceRefusesWhatItCannotKeep(t *testing.T) {
	if os.Geteuid() == 0 {
		return // root can keep everything
	}
	path := filepath.Join(t.TempDir(), "list")
	if err := Write(path, text("old"), 0o640); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := write(path, text("new"), 0o640, others{info}); err == nil || !strings.Contains(err.Error(), "belongs to user 1 and group 1") {
		t.Errorf("%v", err)
	}
	if got := content(t, path); got != "old" {
		t.Errorf("it holds %q", got)
	}
}
