package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"backstop/internal/mailtest"
)

// auditLog is a log that real servers wrote, in the form of Postfix. Copies of it, each with queue ids, addresses
// and a time of its own, make the large one.
const auditLog = "internal/audit/testdata/postfix.log"

// rowAudit reads a log of Postfix of 1 GB (quick: 100 MB), beside pflogsumm, which counts deliveries and prints the text of each refusal: the only
// summary of that log that Debian has. It is installed by hand: tests do not need it.
func rowAudit(ctx context.Context, b *bench, r result) []result {
	size := int64(1_000_000_000)
	if b.quick {
		size /= 10
	}
	r.About = fmt.Sprintf("a log of Postfix of %d MB read", size/1_000_000)
	r.Target = "well under 60 s"
	ours := &figure{Name: "backstop audit", Unit: "s"}
	peer := &figure{Name: "pflogsumm", Unit: "s"}
	ourMemory := &figure{Name: "backstop audit, memory at most", Unit: "MB"}
	peerMemory := &figure{Name: "pflogsumm, memory at most", Unit: "MB"}
	r.Figures = []*figure{peer, ours, peerMemory, ourMemory}
	file := filepath.Join(b.dir, "audit.log")
	defer os.Remove(file)
	bounces, err := writeAuditLog(file, size)
	if err != nil {
		ours.Missing, peer.Missing = err.Error(), err.Error()
		ourMemory.Missing, peerMemory.Missing = err.Error(), err.Error()
		return []result{r}
	}
	for range min(b.rounds, 3) {
		measureProgram(ctx, ours, ourMemory, b.backstop, "audit", "--domain", "example.net", file)
	}
	if program := mailtest.Find("pflogsumm"); program == "" {
		peer.Missing, peerMemory.Missing = "pflogsumm is not installed", "pflogsumm is not installed"
	} else {
		b.progress("pflogsumm, which takes some minutes")
		measureProgram(ctx, peer, peerMemory, program, file)
	}
	for _, f := range r.Figures {
		f.finish()
	}
	r.Notes = append(r.Notes, fmt.Sprintf("the log has %d bounces to strangers; pflogsumm does not count them, it counts deliveries", bounces))
	if ours.Spread == nil {
		return []result{r}
	}
	r.Ours = fmt.Sprintf("%s s, %s MB", number(ours.Spread.Median), number(ourMemory.Spread.Median))
	r.judge(ours.Spread.Median, 30)
	if peer.Spread != nil {
		r.Peer = fmt.Sprintf("%s s, %s MB", number(peer.Spread.Median), number(peerMemory.Spread.Median))
		r.Ratio = fmt.Sprintf("%.3f", ours.Spread.Median/peer.Spread.Median)
	}
	return []result{r}
}

// measureProgram runs a program to its end and notes how long it took and how much memory it had.
func measureProgram(ctx context.Context, took, memory *figure, name string, args ...string) {
	cmd := exec.CommandContext(ctx, name, args...)
	var complaint strings.Builder
	cmd.Stdout, cmd.Stderr = io.Discard, &complaint
	begun := time.Now()
	if err := cmd.Run(); err != nil {
		took.Missing = fmt.Sprintf("%v: %.200s", err, complaint.String())
		memory.Missing = took.Missing
		return
	}
	took.Rounds = append(took.Rounds, time.Since(begun).Seconds())
	if used, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		memory.Rounds = append(memory.Rounds, float64(used.Maxrss)/1024) // KB on Linux
	}
}

// writeAuditLog makes the log and returns how many bounces to strangers it has.
func writeAuditLog(path string, size int64) (bounces int, err error) {
	text, err := os.ReadFile(auditLog)
	if err != nil {
		return 0, fmt.Errorf("run this in the checkout: %w", err)
	}
	file, err := os.Create(path)
	if err != nil {
		return 0, err
	}
	w := bufio.NewWriterSize(file, 1<<20)
	day := time.Now().AddDate(0, 0, -30)
	const inOne = 6 // of these are in the log (internal/audit, TestSamples)
	var written int64
	for i := 0; written < size && err == nil; i++ {
		copied := auditCopy(string(text), i, day.Add(time.Duration(i)*29*24*time.Hour/time.Duration(size/int64(len(text))+1)))
		_, err = w.WriteString(copied)
		written += int64(len(copied))
		bounces += inOne
	}
	return bounces, errors.Join(err, w.Flush(), file.Close())
}

// auditCopy gives a copy of the log queue ids, senders' domains and a day of its own.
func auditCopy(text string, i int, day time.Time) string {
	var b strings.Builder
	b.Grow(len(text) + len(text)/8)
	stamp, domain := day.Format("Jan _2"), fmt.Sprintf("@client%d.test>", i%5000)
	for line := range strings.Lines(text) {
		head, rest, _ := strings.Cut(line, "]: ")
		b.WriteString(stamp + head[len("Nov 22"):] + "]: ")
		for word := range strings.SplitAfterSeq(strings.ReplaceAll(rest, "@client.test>", domain), " ") {
			bare := strings.TrimRight(word, ": \n")
			if len(bare) == len("DC07C9CE6B1") && strings.Trim(bare, "0123456789ABCDEF") == "" {
				fmt.Fprintf(&b, "%s%05X%s", bare, i, word[len(bare):])
			} else {
				b.WriteString(word)
			}
		}
	}
	return b.String()
}
