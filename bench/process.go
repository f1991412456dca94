package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// process is a server under test, or a helper of ours, with its own control group and its output in a file.
type process struct {
	name   string
	cmd    *exec.Cmd
	meter  meter
	group  *cgroup // nil where none can be made
	output string
	input  io.Closer // closing it ends our own helpers
	ended  chan struct{}
}

// launcher puts itself into a control group and raises its limit of open files as far as it may before it becomes the server.
const launcher = `test -z "$1" || echo $$ >"$1/cgroup.procs" || exit 1
ulimit -S -n "$(ulimit -H -n)"
shift
exec "$@"`

// spawn starts a command whose output goes to a file in dir. Where ready is not nil the output's first line is handed to it instead.
func spawn(dir, name string, ready func(line string), argv ...string) (*process, error) {
	p := &process{name: name, output: filepath.Join(dir, name+".out"), ended: make(chan struct{})}
	group := ""
	if g, err := newCgroup(name); err == nil {
		p.group, p.meter, group = g, g, g.dir
	}
	out, err := os.OpenFile(p.output, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	p.cmd = exec.Command("/bin/sh", append([]string{"-c", launcher, "launcher", group}, argv...)...)
	p.cmd.Dir, p.cmd.Stderr, p.cmd.Stdout = dir, out, out
	// Not in our process group: an interrupt at the terminal is for the runner, which then stops everything in order.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var first io.Reader
	if ready != nil {
		p.cmd.Stdout = nil
		if first, err = p.cmd.StdoutPipe(); err != nil {
			return nil, err
		}
		if p.input, err = p.cmd.StdinPipe(); err != nil {
			return nil, err
		}
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	if p.group == nil {
		p.meter = tree{root: p.cmd.Process.Pid}
	}
	if first != nil {
		line, err := bufio.NewReader(first).ReadString('\n')
		if err != nil {
			p.stop()
			return nil, fmt.Errorf("%s said nothing: %w%s", name, err, p.lastWords())
		}
		ready(strings.TrimSpace(line))
	}
	go func() {
		_ = p.cmd.Wait() // the exit code of a server that we stop says nothing
		close(p.ended)
	}()
	return p, nil
}

// pid is that of the server itself: the launcher has become it.
func (p *process) pid() int { return p.cmd.Process.Pid }

// stop ends the process politely, then impolitely, and takes its control group away.
func (p *process) stop() {
	if p.input != nil {
		_ = p.input.Close()
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(5 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
	if p.group != nil {
		if err := p.group.remove(); err != nil {
			fmt.Fprintln(os.Stderr, "bench: the control group of", p.name, "stays behind:", err)
		}
	}
}

// lastWords returns the end of the output, for error messages.
func (p *process) lastWords() string { return lastLines(p.output) }

// lastLines returns the last few lines of a file after a colon, or nothing.
func lastLines(path string) string {
	if said := strings.Join(endOf(path, 3), " / "); said != "" {
		return ": " + said
	}
	return ""
}

// lastLine returns the last line of a file, or nothing.
func lastLine(path string) string { return strings.Join(endOf(path, 1), "") }

// endOf returns the last n lines of a file; one that cannot be read has none.
func endOf(path string, n int) []string {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return lines[max(0, len(lines)-n):]
}

// await waits until somebody greets at the address, as long as the process lives.
func (p *process) await(ctx context.Context, addr string, patience time.Duration) error {
	deadline := time.Now().Add(patience)
	var last error
	for time.Now().Before(deadline) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-p.ended:
			return fmt.Errorf("%s ended%s", p.name, p.lastWords())
		case <-time.After(50 * time.Millisecond):
		}
		if last = greets(addr); last == nil {
			return nil
		}
	}
	return fmt.Errorf("%s does not answer on %s: %w%s", p.name, addr, last, p.lastWords())
}

// greets tells whether an SMTP server says hello at the address.
func greets(addr string) error {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return err
	}
	if !strings.HasPrefix(line, "220") {
		return errors.New(strings.TrimSpace(line))
	}
	_, _ = io.WriteString(conn, "QUIT\r\n")
	return nil
}

// freeAddrs returns addresses on 127.0.0.1 that nobody listens on now, for servers that cannot choose a port themselves.
// Somebody else may take one before they do; the run then ends with their error.
func freeAddrs(n int) ([]string, error) {
	addrs := make([]string, n)
	for i := range addrs {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // all are held until all are known, so that they differ
		addrs[i] = l.Addr().String()
	}
	return addrs, nil
}

// port returns the port of an address that freeAddrs has made.
func port(addr string) string {
	_, p, _ := strings.Cut(addr, ":")
	return p
}
