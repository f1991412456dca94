//go:build unix

package safefile

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// ours says whether what info is about belongs to who runs this.
func ours(info fs.FileInfo) bool {
	is, known := info.Sys().(*syscall.Stat_t)
	return !known || int(is.Uid) == os.Geteuid()
}

// keepOwner gives f the owner and the group of old, which may be nil. Only root may give files
// away; a file's owner may choose among the groups that he is in.
func keepOwner(f *os.File, old fs.FileInfo) error {
	if old == nil {
		return nil
	}
	was, known := old.Sys().(*syscall.Stat_t)
	info, err := f.Stat()
	if err != nil || !known {
		return err
	}
	if is, ok := info.Sys().(*syscall.Stat_t); ok && is.Uid == was.Uid && is.Gid == was.Gid {
		return nil // also where the file system knows no owners
	}
	if err := f.Chown(int(was.Uid), int(was.Gid)); err != nil {
		return fmt.Errorf("it belongs to user %d and group %d, which cannot be kept (run as that user, or as root): %w", was.Uid, was.Gid, err)
	}
	return nil
}
