//go:build unix

package watch

import (
	"io/fs"
	"syscall"
)

// Inode is the number of the file in its file system.
func Inode(info fs.FileInfo) uint64 { return stampOf(info).ino }

func stampOf(info fs.FileInfo) stamp {
	s := stamp{size: info.Size(), mtime: info.ModTime().UnixNano(), exists: true}
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		s.dev, s.ino = uint64(sys.Dev), uint64(sys.Ino)
	}
	return s
}
