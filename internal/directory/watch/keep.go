package watch

import (
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"time"
)

// Keeper keeps what a file was parsed into, so that the next Open need not parse it.
type Keeper[T any] interface {
	// Kept returns what was kept of the file as info has it, and when that was read. After
	// any error the file is parsed.
	Kept(info fs.FileInfo) (content *T, entries int, begun time.Time, err error)
	// Keep keeps the content in force, once its file has settled. It is called from one goroutine.
	Keep(content *T)
	// Replaced is called when nobody gets this content any more, though some may have it still.
	Replaced(old *T)
}

// OpenKept is Open with a keeper.
func OpenKept[T any](path string, parse Parser[T], keeper Keeper[T], opts Options) (*File[T], error) {
	return open(path, parse, keeper, opts)
}

// kept is read, from what was kept of the file as it is now. Where it cannot be used the
// file must be parsed: that is never wrong, only slower.
func (f *File[T]) kept() (r reading[T], ok bool) {
	if f.keeper == nil {
		return r, false
	}
	info, err := os.Stat(f.path)
	if err != nil {
		return r, false
	}
	r.content, r.entries, r.begun, err = f.keeper.Kept(info)
	r.stamp = stampOf(info)
	return r, err == nil
}

// keep has the content in force kept, once its file has settled.
func (f *File[T]) keep() {
	if !f.unkept {
		return
	}
	info, err := os.Stat(f.path)
	if err != nil || stampOf(info) != f.seen || f.State().Err != nil {
		return // the file is another by now, which will be looked at
	}
	if fresh(info, f.opts.Now()) {
		return // the next tick will do
	}
	if f.young && !f.same() {
		f.look() // it was changed at the very moment, and its times do not tell
		return
	}
	f.unkept, f.young = false, false
	f.keeper.Keep(f.content.Load())
}

// same says whether the text is still the one that was read.
func (f *File[T]) same() bool {
	in, err := os.Open(f.path)
	if err != nil {
		return false
	}
	defer in.Close()
	hash := crc32.New(castagnoli)
	if _, err := io.Copy(hash, in); err != nil {
		return false
	}
	return hash.Sum32() == f.sum
}
