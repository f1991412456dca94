package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// postmap is Postfix's tool for its maps, with a configuration of its own.
type postmap struct {
	conf string // the folder of its main.cf
}

// newPostmap writes the configuration for maps of n addresses. The LMDB module refuses to outgrow its limit, and doubling it
// on the way would be counted as time to build.
func newPostmap(dir string, n int) (postmap, error) {
	const each, least = 128, 16 << 20
	text := fmt.Sprintf("compatibility_level = 3.6\nlmdb_map_size = %d\n", max(n*each, least))
	file := filepath.Join(dir, "main.cf")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		return postmap{}, err
	}
	// Postfix waits for a second before it trusts a configuration that was just written, and that would be counted too.
	before := time.Now().Add(-time.Hour)
	return postmap{conf: dir}, os.Chtimes(file, before, before)
}

// run runs postmap to its end, its input from a file ("": none) and its answers to nobody, and returns the time that it took.
func (p postmap) run(ctx context.Context, input string, args ...string) (elapsed, cpu time.Duration, err error) {
	cmd := exec.CommandContext(ctx, "postmap", append([]string{"-c", p.conf}, args...)...)
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	if input != "" {
		file, err := os.Open(input)
		if err != nil {
			return 0, 0, err
		}
		defer file.Close()
		cmd.Stdin = file
	}
	begun := time.Now()
	err = cmd.Run()
	elapsed = time.Since(begun)
	if err := judgePostmap(err, complaint.String()); err != nil {
		return 0, 0, err
	}
	return elapsed, cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), nil
}

// judgePostmap tells a failure from an exit code of 1 without a word, which says that none of the keys was found (postmap(1)).
func judgePostmap(err error, complaint string) error {
	complaint = strings.TrimSpace(complaint)
	var exit *exec.ExitError
	if err == nil || complaint == "" && errors.As(err, &exit) && exit.ExitCode() == 1 {
		return nil
	}
	return fmt.Errorf("postmap: %w: %s", err, complaint)
}

// occupied is the memory of a process in bytes.
type occupied struct {
	peak   int64 // resident at most, with the pages of files
	mapped int64 // of which pages of files are, when it has answered
}

// weigh asks for all keys of a file and returns what the process occupied when it had read the last. As many answers as
// are wanted must come, each of a recipient that exists.
func (p postmap) weigh(ctx context.Context, keys string, wanted int, spec string) (occupied, error) {
	file, err := os.Open(keys)
	if err != nil {
		return occupied{}, err
	}
	defer file.Close()
	cmd := exec.CommandContext(ctx, "postmap", "-c", p.conf, "-q", "-", spec)
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	in, err := cmd.StdinPipe()
	if err != nil {
		return occupied{}, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return occupied{}, err
	}
	if err := cmd.Start(); err != nil {
		return occupied{}, err
	}
	good := make(chan int)
	go func() { good <- goodAnswers(out) }()
	_, err = io.Copy(in, file)
	var o occupied
	if err == nil { // it lives, as its input has not ended
		o.peak, err = memoryOf(cmd.Process.Pid, "status", "VmHWM")
	}
	if err == nil {
		o.mapped, err = memoryOf(cmd.Process.Pid, "status", "RssFile")
	}
	_ = in.Close() // which ends it; what it says of that is read below
	found := <-good
	if ended := judgePostmap(cmd.Wait(), complaint.String()); ended != nil {
		return o, ended
	}
	if err == nil && found != wanted {
		err = fmt.Errorf("%d good answers instead of %d", found, wanted)
	}
	return o, err
}

// goodAnswers counts the lines that answer for a recipient that exists, to the end.
func goodAnswers(out io.Reader) int {
	n := 0
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if line := lines.Bytes(); bytes.HasPrefix(line, []byte("user")) && bytes.HasSuffix(line, []byte("\tOK")) {
			n++
		}
	}
	return n
}
