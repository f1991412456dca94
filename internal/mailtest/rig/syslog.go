package rig

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"backstop/internal/mailtest"
)

// syslog takes what programs say at /dev/log and keeps it as the file of a syslog daemon has it (RFC 3164, 4.1).
type syslog struct {
	host string // whose log it is
	dir  string // what is shown in the place of /dev

	mu    sync.Mutex
	lines strings.Builder
}

// devicesShown are those that servers want.
var devicesShown = []string{"null", "zero", "full", "random", "urandom"}

func startSyslog(t testing.TB, host string) *syslog {
	t.Helper()
	s := &syslog{host: host, dir: filepath.Join(mailtest.Dir(t), "dev")}
	for _, d := range devicesShown {
		mailtest.WriteFile(t, s.dir, d, "")
	}
	if err := os.Mkdir(filepath.Join(s.dir, "shm"), 0o777); err != nil {
		t.Fatal(err)
	}
	at := filepath.Join(s.dir, "log")
	ln, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: at, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(at, 0o666); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.read(ln)
	}()
	t.Cleanup(func() { ln.Close(); <-done })
	return s
}

// read keeps what comes until the socket is closed: "<22>Nov 22 14:00:00 program[1]: text".
func (s *syslog) read(ln *net.UnixConn) {
	buf := make([]byte, 64<<10)
	for {
		n, err := ln.Read(buf)
		if err != nil {
			return
		}
		_, line, _ := strings.Cut(string(buf[:n]), ">")
		const stamp = len("Nov 22 14:00:00")
		if line = strings.TrimRight(line, "\n\x00"); len(line) <= stamp {
			continue
		}
		s.mu.Lock()
		s.lines.WriteString(line[:stamp] + " " + s.host + line[stamp:] + "\n")
		s.mu.Unlock()
	}
}

// text is what was said so far.
func (s *syslog) text() string {
	if s == nil {
		return ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lines.String()
}

// devices are the pairs for shown by which a server finds it, with the devices it needs besides.
func (s *syslog) devices() []string {
	if s == nil {
		return nil
	}
	var pairs []string
	for _, d := range devicesShown {
		pairs = append(pairs, filepath.Join("/dev", d), filepath.Join(s.dir, d))
	}
	return append(pairs, s.dir, "/dev")
}
