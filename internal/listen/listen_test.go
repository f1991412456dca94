package listen

import (
	"bufio"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	tests := []struct {
		in   string
		want Spec
		text string
	}{
		{"0.0.0.0:25", Spec{Network: "tcp4", Address: "0.0.0.0:25"}, "0.0.0.0:25"},
		{"[::]:25", Spec{Network: "tcp6", Address: "[::]:25"}, "[::]:25"},
		{":2525", Spec{Network: "tcp", Address: ":2525"}, ":2525"},
		{"localhost:0", Spec{Network: "tcp", Address: "localhost:0"}, "localhost:0"},
		{"unix:/run/b.sock", Spec{Network: "unix", Address: "/run/b.sock", Mode: 0o660}, "unix:/run/b.sock"},
		{"unix:/run/b.sock?mode=0600", Spec{Network: "unix", Address: "/run/b.sock", Mode: 0o600}, "unix:/run/b.sock?mode=0600"},
		{"systemd:smtp", Spec{Network: "systemd", Address: "smtp"}, "systemd:smtp"},
	}
	for _, tt := range tests {
		got, err := Parse(tt.in)
		if err != nil || got != tt.want || got.String() != tt.text {
			t.Errorf("%s: %+v %q, %v, want %+v %q", tt.in, got, got.String(), err, tt.want, tt.text)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for in, want := range map[string]string{
		"":                       "is not HOST:PORT",
		"25":                     "is not HOST:PORT",
		"::1:25":                 "is not HOST:PORT",
		"127.0.0.1:smtp":         "is not a port",
		"127.0.0.1:65536":        "is not a port",
		"127.0.0.1:":             "is not a port",
		"unix:run/b.sock":        "must be absolute",
		"unix:/b?mode=9":         "octal permissions",
		"unix:/b?mode=1777":      "octal permissions",
		"unix:/b?user=x":         "octal permissions",
		"systemd:":               "FileDescriptorName",
		"unix:/" + longName(120): "107 octets",
	} {
		if _, err := Parse(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", in, err, want)
		}
	}
}

// TestAdvice: what other programs write before a socket, and what was left out, is told.
func TestAdvice(t *testing.T) {
	for in, want := range map[string]string{
		"local:/tmp/p.sock": "write unix:/tmp/p.sock",
		"/tmp/p.sock":       "write unix:/tmp/p.sock",
		"inet:10.0.0.1:25":  "write it without inet: 10.0.0.1:25",
		"inet6:25":          "write it without inet6: :25",
		"25":                "write :25 for all addresses, or 127.0.0.1:25",
		"127.0.0.1":         "put the port behind it: 127.0.0.1:PORT",
		"::1":               "put an IPv6 address into brackets and the port behind it: [::1]:PORT",
		"[::1]":             "put an IPv6 address into brackets and the port behind it: [::1]:PORT",
		"nonsense":          "",
	} {
		_, err := Parse(in)
		if h, ok := err.(interface{ Hint() string }); !ok || h.Hint() != want {
			t.Errorf("%q: %v, want the advice %q", in, err, want)
		}
	}
}

// TestListenUnixWithoutFolder: the folder is ours to name and not ours to make, for it says who comes in.
func TestListenUnixWithoutFolder(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "not there")
	_, err := Listen("unix:" + folder + "/m.sock")
	var advised interface{ Hint() string }
	if !errors.Is(err, fs.ErrNotExist) || !errors.As(err, &advised) || !strings.Contains(advised.Hint(), "make the folder "+folder) {
		t.Errorf("%v", err)
	}
}

func longName(n int) string { return strings.Repeat("x", n) }

func mustListen(t *testing.T, spec string) net.Listener {
	t.Helper()
	l, err := Listen(spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func dial(t *testing.T, l net.Listener) net.Conn {
	t.Helper()
	c, err := net.Dial(l.Addr().Network(), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func accept(t *testing.T, l net.Listener) net.Conn {
	t.Helper()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestListenTCPTaken(t *testing.T) {
	l := mustListen(t, "127.0.0.1:0")
	_, err := Listen(l.Addr().String())
	if err == nil || !strings.HasPrefix(err.Error(), "cannot listen on "+l.Addr().String()+": ") || !strings.Contains(err.Error(), "in use") {
		t.Errorf("error %v", err)
	}
}

func TestListenUnix(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l := mustListen(t, "unix:"+path+"?mode=0600")
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, %v, want 0600", info.Mode(), err)
	}
	if _, err := Listen("unix:" + path); err == nil || !strings.Contains(err.Error(), "another process serves it") {
		t.Errorf("a socket in use: %v", err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false) // as a process that dies does
	l.Close()
	if _, err := os.Stat(path); err != nil {
		t.Fatal("the stale socket is not there:", err)
	}
	l = mustListen(t, "unix:"+path)
	l.Close()
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after Close the socket is still there (%v)", err)
	}
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen("unix:" + path); err == nil || !strings.Contains(err.Error(), "not a socket") {
		t.Errorf("a file in the way: %v", err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "precious" {
		t.Error("the file in the way was touched")
	}
}

// TestSystemd runs this test binary again as the process to which sockets are passed.
func TestSystemd(t *testing.T) {
	if os.Getenv("LISTEN_TEST_CHILD") == "" {
		l := mustListen(t, "127.0.0.1:0").(*net.TCPListener)
		f, err := l.File()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		exe, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("/bin/sh", "-c", `LISTEN_PID=$$ exec "$0" -test.run='^TestSystemd$' -test.v`, exe)
		cmd.ExtraFiles = []*os.File{f, f, f}
		cmd.Env = append(os.Environ(), "LISTEN_TEST_CHILD="+l.Addr().String(), "LISTEN_FDS=3", "LISTEN_FDNAMES=smtp:twice:twice")
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS") {
			t.Fatalf("%v\n%s", err, out)
		}
		if _, err := Listen("systemd:smtp"); err == nil || !strings.Contains(err.Error(), "passed no sockets") {
			t.Errorf("with no sockets passed: %v", err)
		}
		return
	}
	for range 2 { // the second time is the reload
		l := mustListen(t, "systemd:smtp")
		if l.Addr().String() != os.Getenv("LISTEN_TEST_CHILD") {
			t.Errorf("listening on %v, want %s", l.Addr(), os.Getenv("LISTEN_TEST_CHILD"))
		}
		l.Close()
	}
	if _, err := Listen("systemd:imap"); err == nil || !strings.Contains(err.Error(), "passed only smtp, twice, twice") {
		t.Errorf("a name that was not passed: %v", err)
	}
	if _, err := Listen("systemd:twice"); err == nil || !strings.Contains(err.Error(), "several sockets") {
		t.Errorf("a name passed twice: %v", err)
	}
}

func TestLimit(t *testing.T) {
	l := Limit(mustListen(t, "127.0.0.1:0"), 1, func(c net.Conn) { io.WriteString(c, "421 full\r\n") })
	dial(t, l)
	first := accept(t, l)
	refused := dial(t, l)
	accepted := make(chan net.Conn)
	go func() {
		c, _ := l.Accept()
		accepted <- c
	}()
	if got, err := io.ReadAll(refused); string(got) != "421 full\r\n" {
		t.Errorf("the second is told %q, %v", got, err)
	}
	first.Close()
	first.Close() // counts once
	dial(t, l)
	next := <-accepted
	if next == nil {
		t.Fatal("nobody was accepted after the first went away")
	}
	defer next.Close()
	if raw, ok := next.(interface{ NetConn() net.Conn }); !ok || raw.NetConn() == nil {
		t.Error("the connection beneath cannot be reached")
	}
	if got, err := io.ReadAll(dialWhile(t, l)); string(got) != "421 full\r\n" {
		t.Errorf("with the next one open: %q, %v", got, err)
	}
}

// dialWhile connects while an Accept is running that will refuse.
func dialWhile(t *testing.T, l net.Listener) net.Conn {
	c := dial(t, l)
	go l.Accept()
	return c
}

func TestNoLimit(t *testing.T) {
	l := mustListen(t, "127.0.0.1:0")
	if Limit(l, 0, nil) != l {
		t.Error("no limit wraps the listener")
	}
}

func TestPerClient(t *testing.T) {
	p := PerClient{Max: 2}
	v4, other := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	mapped := netip.MustParseAddr("::ffff:192.0.2.1")
	if !p.Acquire(v4) || !p.Acquire(mapped) || p.Acquire(v4) {
		t.Error("IPv4, and the same mapped, is not limited to 2")
	}
	if !p.Acquire(other) {
		t.Error("another client was refused")
	}
	p.Release(mapped)
	if !p.Acquire(v4) {
		t.Error("after a release there is no room")
	}
	a, b := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::ffff:2")
	if !p.Acquire(a) || !p.Acquire(b) || p.Acquire(a) {
		t.Error("addresses of one /64 are not counted together")
	}
	for _, x := range []netip.Addr{v4, v4, other, a, b} {
		p.Release(x)
	}
	if len(p.open) != 0 {
		t.Errorf("%d clients are remembered after all went", len(p.open))
	}
	var none PerClient
	for range 100 {
		if !none.Acquire(v4) {
			t.Fatal("the zero value has a limit")
		}
	}
}

const v2Local = "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"
const v2TCP4 = "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc6\x33\x64\x07\x7f\x00\x00\x01\x30\x39\x00\x19"
const v2UDP4 = "\r\n\r\n\x00\r\nQUIT\n\x21\x12\x00\x0c\xc6\x33\x64\x07\x7f\x00\x00\x01\x30\x39\x00\x19"

func TestProxy(t *testing.T) {
	for name, tt := range map[string]struct {
		trusted bool
		send    string
		peer    string // "" : the real one
		read    string // "" : reading fails
	}{
		"v1":                  {true, "PROXY TCP4 198.51.100.7 127.0.0.1 12345 25\r\nEHLO x\r\n", "198.51.100.7:12345", "EHLO x\r\n"},
		"v1 IPv6":             {true, "PROXY TCP6 2001:db8::7 ::1 12345 25\r\nEHLO x\r\n", "[2001:db8::7]:12345", "EHLO x\r\n"},
		"v1 unknown":          {true, "PROXY UNKNOWN\r\nEHLO x\r\n", "", "EHLO x\r\n"},
		"v2":                  {true, v2TCP4 + "EHLO x\r\n", "198.51.100.7:12345", "EHLO x\r\n"},
		"v2 health check":     {true, v2Local + "EHLO x\r\n", "", "EHLO x\r\n"},
		"v2 not TCP":          {true, v2UDP4 + "EHLO x\r\n", "", ""},
		"trusted, no header":  {true, "EHLO x, a long enough line\r\n", "", ""},
		"trusted, malformed":  {true, "PROXY TCP4 198.51.100.7\r\nEHLO x\r\n", "", ""},
		"not trusted, header": {false, "PROXY TCP4 198.51.100.7 127.0.0.1 1 25\r\n", "", "PROXY TCP4 198.51.100.7 127.0.0.1 1 25\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			l := Proxy(mustListen(t, "127.0.0.1:0"), func(a netip.Addr) bool { return tt.trusted && a.IsLoopback() })
			client := dial(t, l)
			server := accept(t, l)
			if _, err := io.WriteString(client, tt.send); err != nil {
				t.Fatal(err)
			}
			want := tt.peer
			if want == "" {
				want = client.LocalAddr().String()
			}
			if got := Peer(server.RemoteAddr()).String(); got != want {
				t.Errorf("the client is %s, want %s", got, want)
			}
			line, err := bufio.NewReader(server).ReadString('\n')
			if line != tt.read || (err == nil) != (tt.read != "") {
				t.Errorf("read %q, %v, want %q", line, err, tt.read)
			}
			if _, raw := server.(*net.TCPConn); raw == tt.trusted {
				t.Errorf("handed on as %T", server)
			}
		})
	}
}

func TestPeer(t *testing.T) {
	if got := Peer(&net.TCPAddr{IP: net.ParseIP("::ffff:192.0.2.1"), Port: 5}).String(); got != "192.0.2.1:5" {
		t.Errorf("a mapped address is %s", got)
	}
	if got := Peer(&net.UnixAddr{Name: "/x"}); got.IsValid() {
		t.Errorf("a unix peer is %v", got)
	}
}
