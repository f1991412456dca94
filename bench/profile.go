package main

import (
	"bufio"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// profileOf samples our process under the load and names the three largest items, and how much of the time was the kernel's.
// The round is one of its own, as sampling costs time too.
func (b *bench) profileOf(ctx context.Context, pid int, load func(context.Context, time.Duration) error) []string {
	if _, err := exec.LookPath("perf"); err != nil {
		return []string{"no profile: perf is not installed"}
	}
	file := filepath.Join(b.dir, "perf.data")
	seconds := max(time.Second, b.round)
	recorded := make(chan error, 1)
	go func() {
		_, err := output(ctx, "perf", "record", "-q", "-e", "cpu-clock", "-F", "997", "-o", file, "-p", strconv.Itoa(pid),
			"--", "sleep", fmt.Sprint(seconds.Seconds()))
		recorded <- err
	}()
	loadErr := load(ctx, seconds+500*time.Millisecond)
	if err := <-recorded; err != nil {
		return []string{"no profile: " + err.Error()}
	}
	if loadErr != nil {
		return []string{"no profile: " + firstLine(loadErr)}
	}
	text, err := output(ctx, "perf", "report", "-q", "--stdio", "--no-children", "-i", file, "-F", "overhead,sym")
	if err != nil {
		return []string{"no profile: " + err.Error()}
	}
	return describeProfile(text)
}

// profileLine is a line of `perf report -F overhead,sym`: "  12.34%  [k] name", and on some machines columns of "-" behind it.
var profileLine = regexp.MustCompile(`^\s*([0-9.]+)%\s+\[([k.])\]\s+(.*?)(\s+-)*\s*$`)

// describeProfile reads the lines of perf's report, which come largest first.
func describeProfile(text string) []string {
	const items = 3
	var largest, largestOwn []string
	var kernel, all float64
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		m := profileLine.FindStringSubmatch(lines.Text())
		if m == nil {
			continue
		}
		share, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			continue
		}
		all += share
		item := fmt.Sprintf("%s %.1f %%", m[3], share)
		if m[2] == "k" {
			kernel += share
			item = "kernel " + item
		} else if len(largestOwn) < items {
			largestOwn = append(largestOwn, item)
		}
		if len(largest) < items {
			largest = append(largest, item)
		}
	}
	if all == 0 {
		return []string{"no profile: perf saw nothing"}
	}
	return []string{
		fmt.Sprintf("our profile, largest items: %s", strings.Join(largest, "; ")),
		fmt.Sprintf("outside the kernel (which takes %.0f %%): %s", 100*kernel/all, strings.Join(largestOwn, "; ")),
	}
}
