package watch

import (
	"io/fs"
	"syscall"
)

// Changed is when the kernel saw the file change last, nanoseconds since 1970. Other than the time of the
// content nobody can set it back, as cp -p and touch -r do.
func Changed(info fs.FileInfo) int64 {
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		return sys.Ctim.Nano()
	}
	return 0
}
