//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package safefile

import (
	"os"
	"syscall"
)

// Lock takes the lock that the file at path stands for, which is made where it is missing, and waits for nobody: the error
// is ErrLocked where another process, or somebody else in this one, has it. The lock is the kernel's, so it ends with the process, and the file,
// which stays and is empty, means nothing by itself. On file systems that know no locks everybody gets it.
func Lock(path string) (unlock func(), err error) {
	const mode = 0o644 // whoever may enter the folder can lock it, though root made the file
	f, err := os.OpenFile(path, os.O_RDONLY|os.O_CREATE, mode)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err == nil && info.Mode().Perm() != mode && ours(info) {
		_ = f.Chmod(mode) // else another user says that he may not
	}
	for {
		switch err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err {
		case syscall.EINTR:
		case syscall.EWOULDBLOCK:
			f.Close()
			return nil, ErrLocked
		default: // nil, or no locks here
			return func() { f.Close() }, nil
		}
	}
}
