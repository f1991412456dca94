package snapshot

import "golang.org/x/sys/unix"

// adviseHuge asks for pages of 2 MiB: fewer of them to fault in, and fewer to look up. It is
// a wish; a kernel that does not grant it changes nothing but the speed.
func adviseHuge(mem []byte) { _ = unix.Madvise(mem, unix.MADV_HUGEPAGE) }
