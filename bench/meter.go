package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// meter reads the CPU time, user and system, that a server has used since it was started, with all its processes.
type meter interface {
	cpu() (time.Duration, error)
	String() string
}

// cgroup counts through a control group that holds nothing but the server: exact to the nanosecond, and complete even
// where the server's processes come, go and detach themselves.
type cgroup struct {
	dir string
	v2  bool
}

const (
	cgroupV1 = "/sys/fs/cgroup/cpuacct"
	cgroupV2 = "/sys/fs/cgroup"
)

// newCgroup makes a group of this name; an error means that this machine (or this user) cannot, and /proc has to do.
func newCgroup(name string) (*cgroup, error) {
	name = fmt.Sprintf("backstop-bench-%d-%s", os.Getpid(), name)
	if _, err := os.Stat(filepath.Join(cgroupV1, "cpuacct.usage")); err == nil {
		dir := filepath.Join(cgroupV1, name)
		return &cgroup{dir: dir}, os.Mkdir(dir, 0o755)
	}
	if _, err := os.Stat(filepath.Join(cgroupV2, "cgroup.controllers")); err == nil {
		dir := filepath.Join(cgroupV2, name)
		return &cgroup{dir: dir, v2: true}, os.Mkdir(dir, 0o755)
	}
	return nil, errors.New("no control groups here")
}

func (g *cgroup) String() string { return "control group" }

func (g *cgroup) cpu() (time.Duration, error) {
	if !g.v2 {
		text, err := os.ReadFile(filepath.Join(g.dir, "cpuacct.usage"))
		if err != nil {
			return 0, err
		}
		ns, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
		return time.Duration(ns), err
	}
	text, err := os.ReadFile(filepath.Join(g.dir, "cpu.stat"))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if value, found := strings.CutPrefix(line, "usage_usec "); found {
			us, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
			return time.Duration(us) * time.Microsecond, err
		}
	}
	return 0, fmt.Errorf("%s/cpu.stat has no usage_usec", g.dir)
}

// remove takes the group away; the kernel refuses as long as a process is left in it, so it is tried for a while.
func (g *cgroup) remove() error {
	var err error
	for range 100 {
		if err = os.Remove(g.dir); err == nil || errors.Is(err, os.ErrNotExist) {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return err
}

// tree counts through /proc: the process, its living descendants, and what the kernel has added up of the dead ones that
// were waited for. It counts in ticks of 10 ms, so that rounds must be long.
type tree struct{ root int }

// tick is the unit of the times in /proc/PID/stat: USER_HZ, which is 100 on all Linux architectures that Go knows.
const tick = 10 * time.Millisecond

func (tree) String() string { return "/proc" }

func (t tree) cpu() (time.Duration, error) {
	entries, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0, err
	}
	children := map[int][]procStat{}
	var root *procStat
	for _, entry := range entries {
		text, err := os.ReadFile(entry)
		if err != nil {
			continue // it ended while we were reading
		}
		stat, err := parseProcStat(text)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", entry, err)
		}
		if stat.pid == t.root {
			root = &stat
		}
		children[stat.parent] = append(children[stat.parent], stat)
	}
	if root == nil {
		return 0, fmt.Errorf("process %d has ended", t.root)
	}
	sum, todo := root.ticks, children[root.pid]
	for len(todo) > 0 {
		stat := todo[len(todo)-1]
		todo = append(todo[:len(todo)-1], children[stat.pid]...)
		sum += stat.ticks
	}
	return time.Duration(sum) * tick, nil
}

// procStat is the part of /proc/PID/stat that is needed here.
type procStat struct {
	pid, parent int
	ticks       int64 // utime + stime + cutime + cstime
}

// parseProcStat reads one line of proc(5), /proc/PID/stat. The name in parentheses may hold blanks and parentheses itself.
func parseProcStat(text []byte) (procStat, error) {
	open, closed := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
	if open < 1 || closed < open {
		return procStat{}, errors.New("no process name in parentheses")
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text[:open])))
	if err != nil {
		return procStat{}, err
	}
	fields := strings.Fields(string(text[closed+1:]))
	const parent, utime, cstime = 1, 11, 14 // proc(5) counts from 1 and two fields earlier: 4, 14 and 17
	if len(fields) <= cstime {
		return procStat{}, fmt.Errorf("only %d fields behind the name", len(fields))
	}
	stat := procStat{pid: pid}
	if stat.parent, err = strconv.Atoi(fields[parent]); err != nil {
		return procStat{}, err
	}
	for _, field := range fields[utime : cstime+1] {
		ticks, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return procStat{}, err
		}
		stat.ticks += ticks
	}
	return stat, nil
}

// settle waits until the server has nothing left to do for what was asked of it (log lines, processes that end), two
// seconds at most, and returns its CPU time then.
func settle(ctx context.Context, m meter) (time.Duration, error) {
	const pause, idle = 40 * time.Millisecond, 400 * time.Microsecond
	before, err := m.cpu()
	for range 50 {
		if err != nil {
			return 0, err
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(pause):
		}
		var now time.Duration
		if now, err = m.cpu(); now-before < idle {
			return now, err
		}
		before = now
	}
	return before, err
}

// memoryOf returns a figure in bytes from a file like /proc/PID/status or smaps_rollup, whose lines read "Name:  123 kB".
func memoryOf(pid int, file, name string) (int64, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/%s", pid, file))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		key, value, _ := strings.Cut(lines.Text(), ":")
		if key != name {
			continue
		}
		kb, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(value, "kB")), 10, 64)
		return kb << 10, err
	}
	return 0, fmt.Errorf("/proc/%d/%s has no %s", pid, file, name)
}

// busyMachine returns the fraction (0 to 1) of all processors that was in use over the given time.
func busyMachine(over time.Duration) (float64, error) {
	idle0, all0, err := processorTicks()
	if err != nil {
		return 0, err
	}
	time.Sleep(over)
	idle1, all1, err := processorTicks()
	if err != nil || all1 == all0 {
		return 0, err
	}
	return 1 - float64(idle1-idle0)/float64(all1-all0), nil
}

// processorTicks reads the first line of /proc/stat: time idle (waiting for disks included), and time in all.
func processorTicks() (idle, all int64, err error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0, err
	}
	line, _, _ := strings.Cut(string(text), "\n")
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return 0, 0, errors.New("/proc/stat does not begin with the sum of all processors")
	}
	for i, field := range fields[1:9] { // the last two, guest times, are in user and nice already
		ticks, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, 0, err
		}
		all += ticks
		if i == 3 || i == 4 {
			idle += ticks
		}
	}
	return idle, all, nil
}
