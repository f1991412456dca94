// Package safefile writes a file so that a crash at any moment leaves the old
// content or the new, whole, and locks what one process alone may use.
//
// # Limits
//
// The folder must be writable. Access lists and other attributes of a file that is replaced
// are not kept; Write does not keep its owner either. Two writers at once do not disturb each
// other, but the later one wins. What a crash leaves behind is a file named
// like the target with ".new" and a number after it, which may be deleted. Lock locks
// nothing where the system has no flock, or the file system (some over a network) no locks.
package safefile

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// ErrLocked is the error of Lock where somebody else has the lock.
var ErrLocked = errors.New("it is locked by somebody else")

// Write replaces the file at path by what fill writes, with exactly the permissions
// mode (the umask does not count); it belongs to who runs this. A symbolic link is replaced, not followed. When it returns nil the content and its name are on
// the disk; when it returns an error the old file is untouched, save where the error is about the
// folder's own fsync: then the new one stands there, and may be gone after a power cut.
func Write(path string, fill func(io.Writer) error, mode fs.FileMode) error {
	return write(path, fill, mode, nil)
}

// WriteFor is Write for a file that belongs to the owner of its folder: what root writes there, a daemon with fewer
// rights can read. Who may not give it to him writes nothing.
func WriteFor(path string, fill func(io.Writer) error, mode fs.FileMode) error {
	folder, err := os.Stat(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	if ours(folder) {
		folder = nil // whatever its group
	}
	return write(path, fill, mode, folder)
}

// Replace is Write for a file that is somebody else's to read: one that is there keeps its owner, group
// and permissions, and where they cannot be kept it stays as it is. mode is that of a new file.
// Of a symbolic link the file behind it is replaced.
func Replace(path string, fill func(io.Writer) error, mode fs.FileMode) error {
	behind, err := filepath.EvalSymlinks(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Write(path, fill, mode)
	}
	var old fs.FileInfo
	if err == nil {
		old, err = os.Stat(behind)
	}
	if err == nil && !old.Mode().IsRegular() {
		err = errors.New("it is no plain file")
	}
	if err != nil {
		return fmt.Errorf("cannot replace %s: %w", path, err)
	}
	return write(behind, fill, old.Mode(), old)
}

// write is Write, for the owner and the group of old, if there is one.
func write(path string, fill func(io.Writer) error, mode fs.FileMode, old fs.FileInfo) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, filepath.Base(path)+".new*") // the same folder: a rename must not cross file systems
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name()) // after the rename there is nothing of that name any more
			err = fmt.Errorf("cannot write %s: %w", path, err)
		}
	}()
	w := bufio.NewWriterSize(&steady{file: f}, 64<<10)
	if err := fill(w); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if err := keepOwner(f, old); err != nil { // first: who may read the one need not be who may read the other
		return err
	}
	if err := f.Chmod(mode.Perm()); err != nil {
		return err
	}
	if err := f.Sync(); err != nil { // before the rename, or the name may outlive its content
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

// steadySize is how many octets are written before the disk is waited for.
const steadySize = 1 << 20

// steady writes a long file at the pace of the disk. What is left to one fsync at the end makes everybody else's
// wait for it, and one call that takes so long holds up goroutines that have nothing to do with it.
type steady struct {
	file          *os.File
	written, from int64
}

func (s *steady) Write(b []byte) (int, error) {
	n, err := s.file.Write(b)
	s.written += int64(n)
	if err == nil && s.written-s.from >= steadySize {
		err = toDisk(s.file, s.from, s.written-s.from)
		s.from = s.written
	}
	return n, err
}

// syncDir makes the rename itself last.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
