package list

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"backstop/internal/directory/snapshot"
)

// settled is how long after its last change a file can no longer be changed again at what its
// times call the same moment. File systems count in steps of up to two seconds (FAT).
const settled = 3 * time.Second

// fresh says whether the file is not settled yet. A clock that is behind the file's finds it fresh.
func fresh(info fs.FileInfo, now time.Time) bool {
	return now.UnixNano()-max(info.ModTime().UnixNano(), changed(info)) < int64(settled)
}

// suffix ends the name of a kept set.
const suffix = ".recipients"

var errStale = errors.New("it was made of another text, or by another version of this program")

// origin names all on which the set depends: which text, which aliases, and whose
// rules of reading and folding. A set of the same origin is the same set.
func origin(path string, info fs.FileInfo, o *Options) string {
	s := stampOf(info)
	return fmt.Sprintf("list %q: %d octets, written %d, changed %d, inode %d; %s; read by %s",
		path, s.size, s.mtime, changed(info), s.ino, aliasesOf(o), thisProgram())
}

func aliasesOf(o *Options) string {
	var b strings.Builder
	b.WriteString("aliases")
	for _, alias := range slices.Sorted(maps.Keys(o.Aliases)) {
		fmt.Fprintf(&b, " %q of %q", alias, o.Aliases[alias])
	}
	return b.String()
}

// thisProgram tells one build of the program from another, with the libraries in it.
func thisProgram() string {
	const rules = 1 // another number for other rules of reading, in case the rest cannot tell
	info, _ := debug.ReadBuildInfo()
	if info == nil {
		return fmt.Sprintf("rules %d", rules)
	}
	sum := sha256.Sum256([]byte(info.String()))
	return fmt.Sprintf("rules %d, build %x", rules, sum[:8])
}

// keptFile is where the set of a list is kept. The name is the same whatever the text.
func keptFile(path string, o *Options) string {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	sum := sha256.Sum256([]byte(path + "\x00" + aliasesOf(o)))
	return filepath.Join(o.Keep, hex.EncodeToString(sum[:12])+suffix)
}

// kept is read, from what was kept of the text as it is now. Where it
// cannot be used the text must be read: that is never wrong, only slower.
func (l *List) kept() (reading, error) {
	if l.opts.Keep == "" {
		return reading{}, fs.ErrNotExist
	}
	info, err := os.Stat(l.path)
	if err != nil {
		return reading{}, err
	}
	path, want := keptFile(l.path, &l.opts), origin(l.path, info, &l.opts)
	s, err := openKept(path, want)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, errStale), errors.Is(err, snapshot.ErrVersion):
		l.opts.Logger.Debug("the text of a list is read, for there is nothing kept of it", "file", l.path, "kept", path, "reason", err.Error())
		return reading{}, err
	case err != nil:
		l.opts.Logger.Warn("what was kept of a list cannot be used, so its text is read", "file", l.path, "kept", path, "error", err)
		return reading{}, err
	}
	return reading{set: s, stamp: stampOf(info)}, nil
}

func openKept(path, want string) (*snapshot.Set, error) {
	has, err := snapshot.Origin(path) // before the rest, which may be long
	if err != nil {
		return nil, err
	}
	if has != want {
		return nil, errStale
	}
	s, err := snapshot.Open(path, snapshot.Key{})
	if err != nil {
		return nil, err
	}
	if s.Origin() != want {
		return nil, errStale
	}
	return s, nil
}

// keep writes the set in force to the folder, once its text has settled.
func (l *List) keep() {
	if !l.unkept {
		return
	}
	info, err := os.Stat(l.path)
	if err != nil || stampOf(info) != l.seen || l.State().Err != nil {
		return // the text is another by now, which will be looked at
	}
	if fresh(info, l.opts.Now()) {
		return // the next tick will do
	}
	if l.young && !l.same() {
		l.look() // it was changed at the very moment, and its times do not tell
		return
	}
	l.unkept = false
	err = os.MkdirAll(l.opts.Keep, 0o700)
	if err == nil {
		err = l.set.Load().Write(keptFile(l.path, &l.opts))
	}
	if err != nil {
		l.opts.Logger.Warn("a list cannot be kept, so its text will be read at the next start", "file", l.path, "error", err)
	}
	l.opts.Kept(err)
}

// same says whether the text is still the one that was read.
func (l *List) same() bool {
	f, err := os.Open(l.path)
	if err != nil {
		return false
	}
	defer f.Close()
	hash := crc32.New(castagnoli)
	if _, err := io.Copy(hash, f); err != nil {
		return false
	}
	l.young = false
	return hash.Sum32() == l.sum
}

// Prune deletes from the folder what was kept of lists other than these, and what a crash left
// behind. It must be the folder of no other program.
func Prune(folder string, used ...*List) error {
	files, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	keep := map[string]bool{}
	for _, l := range used {
		keep[filepath.Base(keptFile(l.path, &l.opts))] = true
	}
	var failed []error
	for _, f := range files {
		name, rest, ours := strings.Cut(f.Name(), suffix)
		if ours && !keep[name+suffix] && (rest == "" || strings.HasPrefix(rest, ".new")) {
			failed = append(failed, os.Remove(filepath.Join(folder, f.Name())))
		}
	}
	return errors.Join(failed...)
}
