//go:build unix

package snapshot

import (
	"fmt"
	"math"
	"runtime"

	"golang.org/x/sys/unix"
)

// large is the size in octets from which it is worth a collection to get an old table's memory back first.
const large = 16 << 20

// allocate returns zeroed memory that is not the Go heap's: the collector would let the
// heap grow to twice a table that never changes. It is memory of this process,
// not of a file: nobody can cut it short or change it under a reader.
func allocate(octets uint64) ([]byte, error) {
	if octets > math.MaxInt {
		return nil, fmt.Errorf("a table of %d octets is beyond any machine", octets)
	}
	if octets >= large {
		runtime.GC() // the collector cannot know that the tables nobody has any more are large
	}
	mem, err := unix.Mmap(-1, 0, int(octets), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return nil, fmt.Errorf("no memory for a table of %d octets: %w", octets, err)
	}
	if octets >= large {
		adviseHuge(mem)
	}
	return mem, nil
}

func release(mem []byte) {
	_ = unix.Munmap(mem) // it can fail only for memory that was never mapped
}
