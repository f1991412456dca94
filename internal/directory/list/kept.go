package list

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"backstop/internal/directory/snapshot"
	"backstop/internal/directory/watch"
)

// suffix ends the name of a kept set.
const suffix = ".recipients"

var errStale = errors.New("it was made of another text, or by another version of this program")

// origin names all on which the set depends: which text, which aliases, and whose
// rules of reading and folding. A set of the same origin is the same set.
func origin(path string, info fs.FileInfo, o *Options) string {
	return fmt.Sprintf("list %q: %d octets, written %d, changed %d, inode %d; %s; read by %s",
		path, info.Size(), info.ModTime().UnixNano(), watch.Changed(info), watch.Inode(info), aliasesOf(o), thisProgram())
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

// shelf keeps the sets of a list in the folder Options.Keep.
type shelf struct {
	path string
	opts *Options
}

// Kept opens what was kept.
func (k *shelf) Kept(info fs.FileInfo) (*snapshot.Set, int, time.Time, error) {
	if k.opts.Keep == "" {
		return nil, 0, time.Time{}, fs.ErrNotExist
	}
	path, want := keptFile(k.path, k.opts), origin(k.path, info, k.opts)
	s, err := openKept(path, want)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, errStale), errors.Is(err, snapshot.ErrVersion):
		k.opts.Logger.Debug("the text of a list is read, for there is nothing kept of it", "file", k.path, "kept", path, "reason", err.Error())
		return nil, 0, time.Time{}, err
	case err != nil:
		k.opts.Logger.Warn("what was kept of a list cannot be used, so its text is read", "file", k.path, "kept", path, "error", err)
		return nil, 0, time.Time{}, err
	}
	return s, s.Len(), s.Made(), nil
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

// Keep writes the set to the folder.
func (k *shelf) Keep(s *snapshot.Set) {
	if k.opts.Keep == "" {
		return
	}
	err := os.MkdirAll(k.opts.Keep, 0o700)
	if err == nil {
		err = s.Write(keptFile(k.path, k.opts))
	}
	if err != nil {
		k.opts.Logger.Warn("a list cannot be kept, so its text will be read at the next start", "file", k.path, "error", err)
	}
	k.opts.Kept(err)
}

// large is the size in octets from which the memory of a set is not left to the next collection, which may be minutes away.
const large = 16 << 20

// Replaced gives the memory of a large set back.
func (k *shelf) Replaced(old *snapshot.Set) {
	if old.Size() >= large {
		runtime.GC() // which finds out that nobody looks into it any more
	}
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
