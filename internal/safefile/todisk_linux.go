package safefile

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// toDisk waits until these octets are written out. Neither the file's size nor what the disk has in its own memory
// is safe by that; fsync has the last word. But what goes wrong here must be said here, for fsync does not say it again.
func toDisk(f *os.File, from, octets int64) error {
	const all = unix.SYNC_FILE_RANGE_WAIT_BEFORE | unix.SYNC_FILE_RANGE_WRITE | unix.SYNC_FILE_RANGE_WAIT_AFTER
	err := unix.SyncFileRange(int(f.Fd()), from, octets, all)
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ESPIPE) {
		return nil // a file system that cannot do this
	}
	return os.NewSyscallError("sync_file_range", err)
}
