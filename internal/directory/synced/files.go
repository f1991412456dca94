package synced

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"backstop/internal/directory/snapshot"
	"backstop/internal/safefile"
)

// Ends of the names of files.
const (
	snapshotSuffix = ".recipients"
	objectsSuffix  = ".objects"
	stateSuffix    = ".state"
	spoolSuffix    = ".pull"
)

// files are those of one source. Without a folder the objects are in memory.
type files struct {
	folder, snapshot, objects, state string // "": there is no folder
	spool                            string // pattern of os.CreateTemp
	memory                           []byte // the objects, without a folder
}

func filesOf(c *Config) files {
	if c.Folder == "" {
		return files{}
	}
	at := func(suffix string) string { return filepath.Join(c.Folder, safeName(c.Name)+suffix) }
	return files{folder: c.Folder, snapshot: at(snapshotSuffix), objects: at(objectsSuffix), state: at(stateSuffix), spool: at(spoolSuffix + ".new*")}
}

// safeName is the name as files may have it, everywhere, and without a dot.
func safeName(name string) string {
	var b strings.Builder
	for i := range len(name) {
		c := name[i]
		if 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02x", c)
		}
	}
	if b.Len() > 100 {
		sum := sha256.Sum256([]byte(name))
		return "%%" + hex.EncodeToString(sum[:12])
	}
	return b.String()
}

// base is the copy in force as far as pulls must know it.
type base struct {
	key     snapshot.Key
	mark    mark
	kept    bool // it is where it is to be kept
	objects bool // so are its objects
	totals  totals
	cursor  []byte // nil: the next pull is full
	made    time.Time
	full    time.Time // when everything was pulled last
	build   string    // of the program that did
	unused  counts    // of a copy that is kept and cannot be used
}

// thisBuild tells one build of the program from another: the next one may fold addresses otherwise.
func thisBuild() string {
	info, _ := debug.ReadBuildInfo()
	if info == nil {
		return ""
	}
	sum := sha256.Sum256([]byte(info.String()))
	return hex.EncodeToString(sum[:8])
}

// origin begins the Origin of a snapshot, before its mark.
func origin(c *Config) string {
	return fmt.Sprintf("synced %q from %q, mark ", c.Name, c.Identity)
}

// readObjects hands over the objects of the copy.
func (f *files) readObjects(b *base, each func(r record, domain string) error) error {
	var in io.Reader = bytes.NewReader(f.memory)
	if f.folder != "" {
		file, err := os.Open(f.objects)
		if err != nil {
			return unusable("%v", err)
		}
		defer file.Close()
		in = file
	}
	return readRecords(in, b.key, b.mark, each)
}

// writeObjects has fill write the objects of a new copy. Where that fails the ones before are as they were.
func (f *files) writeObjects(fill func(io.Writer) error) error {
	if f.folder == "" {
		var b bytes.Buffer
		err := fill(&b)
		if err == nil {
			f.memory = b.Bytes()
		}
		return err
	}
	if err := os.MkdirAll(f.folder, 0o700); err != nil {
		return err
	}
	return safefile.Write(f.objects, fill, 0o600)
}

// keptState is the content of the state file, as JSON, with a line before and one behind it.
type keptState struct {
	Name     string
	Identity string
	Mark     string
	Objects  bool
	Records  uint64
	Count    uint64
	Sum      []byte
	Cursor   []byte
	Made     time.Time
	Full     time.Time
	Build    string
}

const stateMagic = "backstop: state of a synced source, version 1\n"

var errState = errors.New("the state of the copy cannot be used")

// writeState keeps what the next start must know of the copy in force.
func (s *Source) writeState() error {
	if s.files.folder == "" {
		return nil
	}
	b := &s.base
	text, err := json.MarshalIndent(&keptState{
		Name: s.cfg.Name, Identity: s.cfg.Identity, Mark: b.mark.String(), Objects: b.objects,
		Records: b.totals.Records, Count: b.totals.Objects, Sum: b.totals.Sum.Append(nil),
		Cursor: b.cursor, Made: b.made, Full: b.full, Build: b.build,
	}, "", "\t")
	if err != nil {
		return err
	}
	text = append([]byte(stateMagic), append(text, '\n')...)
	text = fmt.Appendf(text, "%08x\n", crc32.Checksum(text, castagnoli))
	return safefile.Write(s.files.state, func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	}, 0o600)
}

// readState reads what writeState wrote of the copy with this mark.
func (s *Source) readState(m mark) error {
	text, err := os.ReadFile(s.files.state)
	if err != nil {
		return err
	}
	end := len(text) - 9 // the checksum and a line end
	if end < len(stateMagic) || string(text[end:]) != fmt.Sprintf("%08x\n", crc32.Checksum(text[:end], castagnoli)) || !strings.HasPrefix(string(text), stateMagic) {
		return fmt.Errorf("%w: its checksum is wrong, or it is of another version", errState)
	}
	var k keptState
	if err := json.Unmarshal(text[len(stateMagic):end], &k); err != nil {
		return fmt.Errorf("%w: %w", errState, err)
	}
	if k.Mark != m.String() || k.Name != s.cfg.Name || k.Identity != s.cfg.Identity || len(k.Sum) != snapshot.HashSize {
		return fmt.Errorf("%w: it is of another copy", errState)
	}
	b := &s.base
	b.objects, b.totals = k.Objects, totals{k.Records, k.Count, snapshot.HashFrom(k.Sum)}
	b.cursor, b.made, b.full, b.build = k.Cursor, k.Made, k.Full, k.Build
	return nil
}

// openKept takes what is kept, and changes nothing there. What cannot be used stays until a pull
// replaces it, so that settings which are taken back find their copy again.
func (s *Source) openKept() *snapshot.Set {
	s.base = base{key: snapshot.NewKey(), kept: s.files.folder == ""}
	if s.files.folder == "" {
		return nil
	}
	log := s.cfg.Logger.With("source", s.cfg.Name, "file", s.files.snapshot)
	set, m, err := s.openSnapshot()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		log.Debug("there is no copy of this source yet")
		return nil
	case errors.Is(err, errForeign):
		s.base.unused = s.countUnused()
		log.Info("the settings of a source have changed, so its copy is not used and everything is pulled anew", "reason", err.Error())
		return nil
	case err != nil:
		s.base.unused = s.countUnused()
		log.Error("the copy of a source cannot be used, and everything is pulled anew", "error", err)
		return nil
	}
	s.base.key, s.base.mark, s.base.kept, s.base.made = set.Key(), m, true, set.Made()
	if err := s.readState(m); err != nil {
		log.Warn("it is not known what has changed since this copy, so everything is pulled anew", "error", err)
	}
	if now := s.cfg.Now(); s.base.made.After(now) { // the clock was wrong, then or now
		s.base.made = now
	}
	return set
}

var errForeign = errors.New("it is the copy of something else")

// openSnapshot opens the kept set, if it is one of this source.
func (s *Source) openSnapshot() (*snapshot.Set, mark, error) {
	has, m, err := s.keptMark()
	s.found = m
	if err != nil {
		return nil, mark{}, err
	}
	set, err := snapshot.Open(s.files.snapshot, snapshot.Key{})
	if err == nil && set.Origin() != has {
		return nil, mark{}, errForeign
	}
	return set, m, err
}

// keptMark reads the origin of the kept set and the mark in it.
func (s *Source) keptMark() (has string, m mark, err error) {
	has, err = snapshot.Origin(s.files.snapshot)
	if err != nil {
		return "", mark{}, err
	}
	text, ours := strings.CutPrefix(has, origin(&s.cfg))
	octets, err := hex.DecodeString(text)
	if !ours || err != nil || len(octets) != len(mark{}) {
		return "", mark{}, fmt.Errorf("%w: %s", errForeign, has)
	}
	return has, mark(octets), nil
}

// overtaken says whether a source before this one wrote a newer copy since Open.
func (s *Source) overtaken() bool {
	_, m, err := s.keptMark()
	return s.files.folder != "" && err == nil && m != s.found
}

// sweep deletes what a crash left behind.
func (f *files) sweep() {
	for _, path := range []string{f.snapshot, f.objects, f.state, strings.TrimSuffix(f.spool, ".new*")} {
		left, _ := filepath.Glob(escapeGlob(path) + ".new*")
		for _, stray := range left {
			_ = os.Remove(stray) // which is worth a try, and no more
		}
	}
}

func escapeGlob(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// Prune deletes from the folder what was kept of sources other than these. It must be
// the folder of no other program.
func Prune(folder string, used ...*Source) error {
	all, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	keep := map[string]bool{}
	for _, s := range used {
		keep[safeName(s.cfg.Name)] = true
	}
	var failed []error
	for _, f := range all {
		name, rest, _ := strings.Cut(f.Name(), ".")
		kind, rest, more := strings.Cut(rest, ".")
		switch "." + kind {
		case snapshotSuffix, objectsSuffix, stateSuffix, spoolSuffix:
			if !keep[name] && (!more || strings.HasPrefix(rest, "new")) {
				failed = append(failed, os.Remove(filepath.Join(folder, f.Name())))
			}
		}
	}
	return errors.Join(failed...)
}
