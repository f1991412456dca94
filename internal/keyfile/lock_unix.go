//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package keyfile

import (
	"os"
	"syscall"
	"time"
)

// lockEvery is how often a lock that another has is tried again.
const lockEvery = 10 * time.Millisecond

// lock keeps others from changing the keys of the folder until unlock is called. It waits for
// them no longer than wait: who holds the lock writes one small file. The lock is the kernel's, and ends with the process.
func lock(folder string, wait time.Duration) (unlock func(), err error) {
	d, err := os.Open(folder)
	if err != nil {
		return nil, err
	}
	for end := time.Now().Add(wait); ; {
		switch err := syscall.Flock(int(d.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); {
		case err == nil:
			return func() { d.Close() }, nil
		case err == syscall.EINTR:
		case err != syscall.EWOULDBLOCK: // no locks for folders here: the package's Limits
			return func() { d.Close() }, nil
		case !time.Now().Before(end):
			d.Close()
			return nil, hint("try again when it has finished", "somebody else has been changing the keys in %s for %v", folder, wait)
		default:
			time.Sleep(lockEvery)
		}
	}
}
