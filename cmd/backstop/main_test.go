package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"backstop": main})
}

// systemState is the folder of a daemon that is installed: no script may have it for its own.
const systemState = "/var/lib/backstop"

func systemFiles(t *testing.T) string {
	t.Helper()
	entries, err := os.ReadDir(systemState)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprint(entries)
}

func TestScripts(t *testing.T) {
	before := systemFiles(t)
	t.Cleanup(func() { // behind all scripts, which run at once
		if after := systemFiles(t); after != before {
			t.Errorf("a script writes to %s: it lacks a state of its own\nbefore: %s\nafter: %s", systemState, before, after)
		}
	})
	blocklists := listedServer(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			l, err := net.Listen("tcp", "127.0.0.1:0") // $TAKEN: a port that somebody else has
			if err != nil {
				return err
			}
			e.Defer(func() { l.Close() })
			e.Setenv("TAKEN", l.Addr().String())
			e.Setenv("DNS", blocklists) // $DNS: a server that has the lists of listed_test.go
			e.Values[serverKey{}] = new(*running)
			return nil
		},
		Condition: func(name string) (bool, error) {
			if name != "midnight" { // whether the day (UTC) changes before a script has ended
				return false, fmt.Errorf("unknown condition %q", name)
			}
			now := time.Now()
			return now.Add(2*time.Minute).UTC().Day() != now.UTC().Day(), nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"up": up, "reload": hup, "down": down, "talk": talk, "status": exits, "fill": fill,
		},
	})
}

// patience bounds what a broken test waits for; nothing is measured with it.
const patience = 20 * time.Second

// running is the one server of a script.
type running struct {
	cmd    *exec.Cmd
	notify *net.UnixConn // what systemd would listen on
	out    bytes.Buffer  // what it prints
	log    bytes.Buffer
	ended  chan error
}

// serverKey is where a script's environment keeps its server.
type serverKey struct{}

func serverOf(ts *testscript.TestScript) *running {
	r, ok := ts.Value(serverKey{}).(**running)
	if !ok || *r == nil {
		ts.Fatalf("no server is up")
	}
	return *r
}

// up starts `backstop ARGS` and waits until it says that it is ready.
func up(ts *testscript.TestScript, _ bool, args []string) {
	r := &running{ended: make(chan error, 1)}
	socket := filepath.Join(ts.MkAbs("."), "notify")
	os.Remove(socket)
	var err error
	r.notify, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	ts.Check(err)
	path, err := exec.LookPath("backstop")
	ts.Check(err)
	r.cmd = exec.Command(path, args...)
	r.cmd.Dir = ts.MkAbs(".")
	r.cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+socket)
	r.cmd.Stdout, r.cmd.Stderr = &r.out, &r.log
	ts.Check(r.cmd.Start())
	go func() {
		err := r.cmd.Wait()
		r.notify.Close() // nobody need wait for it to be ready
		r.ended <- err
	}()
	*ts.Value(serverKey{}).(**running) = r
	ts.Defer(func() { r.cmd.Process.Kill() })
	r.ready(ts)
}

// ready waits for READY=1.
func (r *running) ready(ts *testscript.TestScript) {
	ts.Check(r.notify.SetReadDeadline(time.Now().Add(patience)))
	b := make([]byte, 256)
	for {
		n, err := r.notify.Read(b)
		if err != nil {
			r.cmd.Process.Kill()
			<-r.ended // so that the log is whole
			ts.Fatalf("never ready: %v\n%s", err, r.log.String())
		}
		if strings.Contains(string(b[:n]), "READY=1") {
			return
		}
	}
}

// hup sends SIGHUP and waits until the server is ready again.
func hup(ts *testscript.TestScript, _ bool, _ []string) {
	r := serverOf(ts)
	ts.Check(r.cmd.Process.Signal(syscall.SIGHUP))
	r.ready(ts)
}

// down sends SIGTERM, waits for the end, and leaves what was printed in the files out and log.
func down(ts *testscript.TestScript, _ bool, _ []string) {
	r := serverOf(ts)
	ts.Check(r.cmd.Process.Signal(syscall.SIGTERM))
	select {
	case err := <-r.ended:
		ts.Check(os.WriteFile(ts.MkAbs("out"), r.out.Bytes(), 0o600))
		ts.Check(os.WriteFile(ts.MkAbs("log"), r.log.Bytes(), 0o600))
		ts.Check(err)
	case <-time.After(patience):
		ts.Fatalf("does not end:\n%s", r.log.String())
	}
}

// talk SOCKET FILE sends the file's lines at once and prints what comes back.
func talk(ts *testscript.TestScript, _ bool, args []string) {
	c, err := net.Dial("unix", ts.MkAbs(args[0]))
	ts.Check(err)
	defer c.Close()
	ts.Check(c.SetDeadline(time.Now().Add(patience)))
	banner := make([]byte, 512)
	n, err := c.Read(banner) // who talks before it is an early talker
	ts.Check(err)
	_, err = io.WriteString(c, strings.ReplaceAll(ts.ReadFile(args[1]), "\n", "\r\n"))
	ts.Check(err)
	rest, err := io.ReadAll(c)
	ts.Check(err)
	_, err = ts.Stdout().Write(append(banner[:n], rest...))
	ts.Check(err)
}

// exits: status N PROGRAM ARGS… runs a program that must end with exactly this exit code.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got, err = exit.ExitCode(), nil
	}
	ts.Check(err)
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// fill FILE… puts the script's folder in place of $WORK in files, because sockets
// want absolute paths, and the taken port in place of $TAKEN.
func fill(ts *testscript.TestScript, _ bool, args []string) {
	for _, f := range args {
		text := strings.NewReplacer("$WORK", ts.MkAbs("."), "$TAKEN", ts.Getenv("TAKEN"), "$DNS", ts.Getenv("DNS")).Replace(ts.ReadFile(f))
		ts.Check(os.WriteFile(ts.MkAbs(f), []byte(text), 0o600))
	}
}
