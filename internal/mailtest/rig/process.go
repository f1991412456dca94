package rig

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"backstop/internal/mailtest"
)

// process is a server in the foreground, with a warden: a shell that ends the
// server when our end of its standard input closes, so that a test binary that
// is killed leaves nothing running.
type process struct {
	cmd    *exec.Cmd
	leash  *os.File
	gone   chan struct{}
	output string // file
}

const warden = `exec 3<&0 </dev/null
"$@" 3<&- &
p=$!
{ read -r _ <&3; kill -TERM $p 2>/dev/null; } &
w=$!
exec 3<&-
wait $p; r=$?
kill $w 2>/dev/null
exit $r`

// start runs a server; dir takes its output. The caller stops it.
func start(t testing.TB, dir string, env []string, args ...string) *process {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p := &process{leash: w, gone: make(chan struct{}), output: filepath.Join(dir, "output")}
	out, err := os.OpenFile(p.output, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	p.cmd = exec.Command("/bin/sh", append([]string{"-c", warden, "warden"}, args...)...)
	p.cmd.Dir, p.cmd.Env = dir, append(os.Environ(), env...)
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = r, out, out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		w.Close()
		t.Fatalf("%s: %v", args[0], err)
	}
	go func() {
		p.cmd.Wait()
		close(p.gone)
	}()
	return p
}

// stop kills the server and its children, as a crash would: their queues are
// scratch, and a Postfix that is asked politely takes a second to think.
func (p *process) stop() {
	syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	p.leash.Close()
	<-p.gone
}

func (p *process) running() bool {
	select {
	case <-p.gone:
		return false
	default:
		return true
	}
}

// tick is how often the rig looks whether a server is ready.
const tick = 3 * time.Millisecond

// poll calls done until it says so, gives up or Patience is at an end.
func poll(done func() (bool, error)) error {
	deadline := time.Now().Add(mailtest.Patience)
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		ok, err := done()
		if ok || err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not within %v", mailtest.Patience)
		}
		<-ticker.C
	}
}

// listening waits until the server takes connections at addr.
func (p *process) listening(addr string) error {
	return poll(func() (bool, error) {
		if !p.running() {
			return false, fmt.Errorf("it has ended")
		}
		nc, err := net.DialTimeout("tcp", addr, time.Second)
		if err != nil {
			return false, nil
		}
		nc.Close()
		return true, nil
	})
}

// greets waits until the server greets at addr by its name: what listens there may be somebody else, who was
// quicker than the server.
func (p *process) greets(addr, name string) error {
	if err := p.listening(addr); err != nil {
		return err
	}
	nc, err := net.DialTimeout("tcp", addr, mailtest.Patience)
	if err != nil {
		return err
	}
	k := mailtest.NewTalk(nc)
	defer k.Close()
	r, err := k.Reply()
	if err == nil && !strings.Contains(r.String(), name) {
		err = fmt.Errorf("another server is there: %s", r)
	}
	return err
}

// refused waits until nobody listens at addr: a process that was killed holds its
// sockets for a moment more.
func refused(addr string) error {
	return poll(func() (bool, error) {
		nc, err := net.DialTimeout("tcp", addr, time.Second)
		if err != nil {
			return true, nil
		}
		nc.Close()
		return false, nil
	})
}

// freePort picks a port that is free now, below those that the system gives to whoever asks for any, so that
// it is still free in a moment.
func freePort(t testing.TB) string {
	t.Helper()
	for range 100 {
		ln, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(12_000+rand.IntN(20_000)))
		if err != nil {
			continue
		}
		defer ln.Close()
		_, port, _ := net.SplitHostPort(ln.Addr().String())
		return port
	}
	t.Fatal("there is no free port")
	return ""
}

// Run runs a program to its end, within Patience, and returns what it printed
// and its exit status.
func Run(t testing.TB, name string, args ...string) (output string, status int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), mailtest.Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, mailtest.Need(t, name), args...)
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		t.Fatalf("%s %s: not within %v\n%s", name, strings.Join(args, " "), mailtest.Patience, out)
	}
	if err != nil && cmd.ProcessState == nil {
		t.Fatalf("%s: %v", name, err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// Swaks runs swaks against addr (host:port) and returns the conversation as it
// prints it, and its exit status (0: everything was accepted).
func Swaks(t testing.TB, addr string, args ...string) (output string, status int) {
	t.Helper()
	return Run(t, "swaks", append([]string{"--server", addr, "--timeout", "15"}, args...)...)
}

func readFile(name string) string {
	b, err := os.ReadFile(name)
	if err != nil {
		return ""
	}
	return string(b)
}
