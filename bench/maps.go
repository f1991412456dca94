package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// aspect is what maps are compared in: each is a line of the table.
type aspect int

const (
	builtIn aspect = iota
	builtCPU
	fileSize
	firstAnswer
	residentAtMost
	lookupTime
	lookupCPU
	numAspects
)

var aspectNames = [numAspects]struct{ about, unit string }{
	builtIn:        {"compiled, elapsed", "s"},
	builtCPU:       {"compiled, CPU", "s"},
	fileSize:       {"file, each", "octets"},
	firstAnswer:    {"opened and one answer given", "ms"},
	residentAtMost: {"resident while answering", "MB"},
	lookupTime:     {"one look-up, elapsed", "ns"},
	lookupCPU:      {"one look-up, CPU", "ns"},
}

// mapTest is one way to keep the list.
type mapTest struct {
	name    string
	kind    string // the type of Postfix's map; "" is ours
	spec    string // map as postmap wants it
	missing error
	rounds  [numAspects][]float64
	memory  occupied
}

// mapRow compares the ways to keep one list of n recipients. All files are in its folder.
type mapRow struct {
	n        int
	dir      string
	list     string // the text
	keys     string // file of addresses to ask for, in random order
	numKeys  int    // every other one listed
	rounds   int
	patience time.Duration // for building one map
	postmap  postmap
	peers    []*mapTest
	pipe     *mapTest // the map that finds everything: reading and printing cost as much as that
	ours     *mapTest
	weighOur func(ctx context.Context, list string, n int, keep string) (*listed, error)
	last     *listed // what ours said last
	free     int64   // octets of the disk
}

// rowMaps compares our compiled list with Postfix's indexed maps.
func rowMaps(ctx context.Context, b *bench, r result) []result {
	sizes := []int{1_000_000, 10_000_000}
	if b.quick {
		sizes = sizes[:1]
	}
	var lines []result
	for _, n := range sizes {
		m := newMapRow(filepath.Join(b.dir, fmt.Sprintf("maps-%d", n)), n)
		m.rounds, m.patience = min(b.rounds, 3), b.patience
		m.weighOur = func(ctx context.Context, list string, n int, keep string) (*listed, error) {
			said, err := output(ctx, b.self, "list", list, strconv.Itoa(n), keep)
			if err != nil {
				return nil, err
			}
			found := new(listed)
			return found, json.Unmarshal([]byte(said), found)
		}
		b.progress("%s recipients: maps, up to %v for each", count(n), b.patience)
		lines = append(lines, m.run(ctx, r)...)
	}
	return lines
}

func newMapRow(dir string, n int) *mapRow {
	return &mapRow{
		n: n, dir: dir, numKeys: 500_000,
		peers: []*mapTest{{name: "Postfix LMDB", kind: "lmdb"}, {name: "Postfix cdb", kind: "cdb"}},
		pipe:  &mapTest{name: "postmap without a look-up (static:)", kind: "static", spec: "static:OK"},
		ours:  &mapTest{name: "Backstop, list"},
	}
}

// run measures everything, removes the files and returns the lines of the table.
func (m *mapRow) run(ctx context.Context, r result) []result {
	defer os.RemoveAll(m.dir)
	err := m.prepare(ctx)
	if err == nil {
		builds := 1
		if m.n <= 1_000_000 {
			builds = m.rounds
		}
		for range builds {
			m.build(ctx)
		}
		for range m.rounds {
			m.ask(ctx)
		}
	}
	if err != nil {
		for _, t := range m.all() {
			t.missing = err
		}
	}
	return m.lines(r)
}

func (m *mapRow) all() []*mapTest { return append(slices.Clone(m.peers), m.pipe, m.ours) }

// prepare writes the texts and the keys, if there is room for all that follows.
func (m *mapRow) prepare(ctx context.Context) error {
	if err := os.Mkdir(m.dir, 0o755); err != nil {
		return err
	}
	var disk syscall.Statfs_t
	if err := syscall.Statfs(m.dir, &disk); err != nil {
		return os.NewSyscallError("statfs", err)
	}
	m.free = int64(disk.Bavail) * int64(disk.Bsize)
	// The two texts have 25 and 28 octets a recipient, the maps up to 60, each with its predecessor until it is done; 16 MB for the keys.
	if need := int64(m.n)*250 + 64<<20; m.free < need {
		return fmt.Errorf("the disk of %s has %.0f MB free, and it takes %.0f; set TMPDIR to another", m.dir, megabytes(m.free), megabytes(need))
	}
	var err error
	if m.list, err = recipientList(m.dir, m.n); err != nil {
		return err
	}
	m.keys = filepath.Join(m.dir, "keys")
	if err := writeKeys(m.keys, m.n, m.numKeys); err != nil {
		return err
	}
	source := filepath.Join(m.dir, "map")
	if err := rewrite(m.list, source, " OK\n"); err != nil {
		return err
	}
	if m.postmap, err = newPostmap(m.dir, m.n); err != nil {
		return err
	}
	m.findTypes(ctx, source)
	return nil
}

// findTypes finds out which maps this Postfix can make.
func (m *mapRow) findTypes(ctx context.Context, source string) {
	types := ""
	_, err := exec.LookPath("postmap")
	if err == nil {
		types, err = output(ctx, "postconf", "-m")
	}
	for _, t := range append(slices.Clone(m.peers), m.pipe) {
		if t.missing = err; err == nil && !slices.Contains(strings.Fields(types), t.kind) {
			t.missing = fmt.Errorf("this Postfix has no maps of type %s", t.kind)
		}
		if t.spec == "" {
			t.spec = t.kind + ":" + source
		}
	}
}

// writeKeys writes the addresses to ask for: every other one is listed, the order is random.
func writeKeys(path string, listed, keys int) error {
	all := make([]string, keys)
	for i := range all {
		all[i] = listedUser(rand.IntN(listed))
		if i%2 == 1 {
			all[i] = "no" + all[i]
		}
	}
	rand.Shuffle(len(all), func(i, k int) { all[i], all[k] = all[k], all[i] })
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer file.Close()
	out := bufio.NewWriterSize(file, 1<<20)
	for _, key := range all {
		_, _ = out.WriteString(key + "\n")
	}
	if err := out.Flush(); err != nil {
		return err
	}
	return file.Close()
}

func (t *mapTest) add(a aspect, value float64) { t.rounds[a] = append(t.rounds[a], value) }

// build compiles the list in each way, once.
func (m *mapRow) build(ctx context.Context) {
	for _, t := range m.peers {
		if t.missing == nil {
			t.missing = m.buildPeer(ctx, t)
		}
	}
	if m.ours.missing == nil {
		m.ours.missing = m.buildOurs(ctx)
	}
}

func (m *mapRow) buildPeer(ctx context.Context, t *mapTest) error {
	file := filepath.Join(m.dir, "map."+t.kind)
	if err := os.RemoveAll(file); err != nil { // an LMDB is filled anew inside the old file, which grows
		return err
	}
	within, cancel := context.WithTimeout(ctx, m.patience)
	defer cancel()
	elapsed, cpu, err := m.postmap.run(within, "", t.spec)
	if err != nil && within.Err() != nil && ctx.Err() == nil {
		return fmt.Errorf("given up: not built after %v (-patience)", m.patience)
	}
	if err != nil {
		return err
	}
	t.add(builtIn, elapsed.Seconds())
	t.add(builtCPU, cpu.Seconds())
	t.add(fileSize, float64(sizeOf(file))/float64(m.n))
	return nil
}

func (m *mapRow) buildOurs(ctx context.Context) error {
	if err := os.RemoveAll(m.keep()); err != nil {
		return err
	}
	found, err := m.weighOur(ctx, m.list, m.n, m.keep())
	if err != nil {
		return err
	}
	m.ours.add(builtIn, found.KeptMS/1000)
	m.ours.add(builtCPU, found.KeptCPU/1000)
	m.ours.add(fileSize, found.FileEach)
	return nil
}

// keep is where ours is kept.
func (m *mapRow) keep() string { return filepath.Join(m.dir, "kept") }

// ask asks each way for all keys, once.
func (m *mapRow) ask(ctx context.Context) {
	for _, t := range append(slices.Clone(m.peers), m.pipe) {
		if t.missing == nil {
			t.missing = m.askPostmap(ctx, t)
		}
	}
	if m.ours.missing == nil {
		m.ours.missing = m.askOurs(ctx)
	}
}

func (m *mapRow) askOurs(ctx context.Context) error {
	found, err := m.weighOur(ctx, m.list, m.n, m.keep())
	if err != nil {
		return err
	}
	m.last = found
	m.ours.add(firstAnswer, found.FirstMS)
	m.ours.add(residentAtMost, found.PeakMB)
	m.ours.add(lookupTime, found.LookupNS)
	m.ours.add(lookupCPU, found.LookupCPU)
	return nil
}

// askPostmap times a run over all keys less one over none, and one over one key less one that opens nothing.
func (m *mapRow) askPostmap(ctx context.Context, t *mapTest) error {
	emptyTime, emptyCPU, err := m.postmap.run(ctx, os.DevNull, "-q", "-", t.spec)
	if err != nil {
		return err
	}
	elapsed, cpu, err := m.postmap.run(ctx, m.keys, "-q", "-", t.spec)
	if err != nil {
		return err
	}
	t.add(lookupTime, float64(elapsed-emptyTime)/float64(m.numKeys))
	t.add(lookupCPU, float64(cpu-emptyCPU)/float64(m.numKeys))
	if t == m.pipe {
		return nil
	}
	var first []float64
	for range 9 { // milliseconds of a process are mostly chance
		opened, _, err := m.postmap.run(ctx, "", "-q", listedUser(0), t.spec)
		if err != nil {
			return err
		}
		nothing, _, err := m.postmap.run(ctx, "", "-q", listedUser(0), "static:OK")
		if err != nil {
			return err
		}
		first = append(first, inMilliseconds(opened-nothing))
	}
	t.add(firstAnswer, median(first))
	if t.memory, err = m.postmap.weigh(ctx, m.keys, (m.numKeys+1)/2, t.spec); err != nil {
		return err
	}
	t.add(residentAtMost, megabytes(t.memory.peak))
	return nil
}

// lines returns a line of the table for each aspect.
func (m *mapRow) lines(r result) []result {
	lines := make([]result, numAspects)
	for a := range numAspects {
		line := result{Row: r.Row, About: fmt.Sprintf("%s recipients: %s", count(m.n), aspectNames[a].about), Target: "-"}
		var best *figure
		var said []string
		for _, t := range m.peers {
			f := t.figure(a)
			line.Figures = append(line.Figures, f)
			if f.Spread == nil {
				continue
			}
			said = append(said, fmt.Sprintf("%s %s %s", strings.TrimPrefix(t.name, "Postfix "), number(f.Spread.Median), f.Unit))
			if best == nil || f.Spread.Median < best.Spread.Median {
				best = f
			}
		}
		own := m.ours.figure(a)
		line.Figures = append(line.Figures, own)
		if a == lookupTime || a == lookupCPU {
			line.Figures = append(line.Figures, m.pipe.figure(a))
		}
		line.Peer = strings.Join(said, ", ")
		if own.Spread != nil {
			line.Ours = fmt.Sprintf("%s %s", number(own.Spread.Median), own.Unit)
		}
		if own.Spread != nil && best != nil && best.Spread.Median > 0 {
			line.Ratio = fmt.Sprintf("%s of %s", number(own.Spread.Median/best.Spread.Median), strings.TrimPrefix(best.Name, "Postfix "))
		}
		m.explain(a, &line)
		lines[a] = line
	}
	return lines
}

// explain adds what must be known to read a line.
func (m *mapRow) explain(a aspect, line *result) {
	switch a {
	case builtIn:
		line.note("from the text until the map is on the disk; the addresses come sorted, which suits LMDB; %.0f MB of disk were free", megabytes(m.free))
	case firstAnswer:
		line.note("the file in the page cache; postmap -q with one key, less the same with static:")
	case residentAtMost:
		for _, t := range m.peers {
			if t.missing == nil && t.memory.peak > 0 {
				line.note("%s: %.0f MB of it are pages of the file, which processes share and the kernel may drop", t.name, megabytes(t.memory.mapped))
			}
		}
	case lookupTime, lookupCPU:
		line.note("%d keys in random order, every other one listed; Postfix: postmap -q - with the keys less the same without, reading and printing included", m.numKeys)
		if m.last != nil && a == lookupTime {
			line.note("single look-ups of ours: p50 %.0f ns, p99 %.0f ns, the clock's own time included; %.2f allocations each", m.last.P50NS, m.last.P99NS, m.last.Allocs)
		}
	}
}

// figure returns what a test came to in one aspect. What had been measured before it failed is kept.
func (t *mapTest) figure(a aspect) *figure {
	f := &figure{Name: t.name, Unit: aspectNames[a].unit, Rounds: t.rounds[a]}
	if len(f.Rounds) == 0 {
		f.Missing = "there was no round"
		if t.missing != nil {
			f.Missing = t.missing.Error()
		}
	}
	f.finish()
	return f
}

// count writes a number of recipients as people say it.
func count(n int) string {
	switch {
	case n >= 1_000_000 && n%1_000_000 == 0:
		return fmt.Sprintf("%d M", n/1_000_000)
	case n >= 1000 && n%1000 == 0:
		return fmt.Sprintf("%d,000", n/1000)
	}
	return strconv.Itoa(n)
}
