package listen

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Spec is where to listen, as the configuration writes it: HOST:PORT,
// unix:/PATH[?mode=0660] or systemd:NAME. It is comparable.
type Spec struct {
	Network string      // tcp, tcp4, tcp6, unix or systemd
	Address string      // HOST:PORT, the path, or the name
	Mode    fs.FileMode // of a unix socket
}

// defaultMode lets the owner and the group connect.
const defaultMode fs.FileMode = 0o660

// maxUnixPath: sockaddr_un has 108 octets, NUL included (unix(7)).
const maxUnixPath = 107

// Parse reads a Spec without opening anything.
func Parse(s string) (Spec, error) {
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		return parseUnix(path)
	}
	if name, ok := strings.CutPrefix(s, "systemd:"); ok {
		if name == "" || strings.ContainsAny(name, ": ") {
			return Spec{}, fmt.Errorf("%q: write systemd:NAME, with the FileDescriptorName= of the socket unit", s)
		}
		return Spec{Network: "systemd", Address: name}, nil
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return Spec{}, fmt.Errorf("%q is not HOST:PORT, :PORT, unix:/PATH or systemd:NAME", s)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return Spec{}, fmt.Errorf("%q: %q is not a port between 0 and 65535", s, port)
	}
	return Spec{Network: family(host), Address: net.JoinHostPort(host, port)}, nil
}

// family keeps 0.0.0.0 and [::] apart: on "tcp" both would be opened for IPv4
// and IPv6 alike, and the second would find the port taken.
func family(host string) string {
	ip, err := netip.ParseAddr(host)
	switch {
	case err != nil:
		return "tcp"
	case ip.Is4():
		return "tcp4"
	}
	return "tcp6"
}

func parseUnix(s string) (Spec, error) {
	path, query, has := strings.Cut(s, "?")
	spec := Spec{Network: "unix", Address: path, Mode: defaultMode}
	if !filepath.IsAbs(path) {
		return Spec{}, fmt.Errorf("%q: the path of a unix socket must be absolute, as in unix:/run/backstop/smtp.sock", "unix:"+s)
	}
	if len(path) > maxUnixPath {
		return Spec{}, fmt.Errorf("%q: the path of a unix socket may have %d octets at most", "unix:"+s, maxUnixPath)
	}
	if !has {
		return spec, nil
	}
	mode, ok := strings.CutPrefix(query, "mode=")
	n, err := strconv.ParseUint(mode, 8, 32)
	if !ok || err != nil || n > 0o777 {
		return Spec{}, fmt.Errorf("%q: after ? stands mode= with octal permissions, as in ?mode=0660", "unix:"+s)
	}
	spec.Mode = fs.FileMode(n)
	return spec, nil
}

// String is the spec as the configuration writes it.
func (s Spec) String() string {
	switch s.Network {
	case "unix":
		if s.Mode != defaultMode {
			return fmt.Sprintf("unix:%s?mode=%04o", s.Address, s.Mode)
		}
		return "unix:" + s.Address
	case "systemd":
		return "systemd:" + s.Address
	}
	return s.Address
}

// Listen parses spec and opens it.
func Listen(spec string) (net.Listener, error) {
	s, err := Parse(spec)
	if err != nil {
		return nil, err
	}
	return s.Listen()
}

// Listen opens the socket. The error says what was to be opened.
func (s Spec) Listen() (net.Listener, error) {
	switch s.Network {
	case "unix":
		return s.listenUnix()
	case "systemd":
		return inherited(s.Address)
	}
	// No TCP keep-alive: every read has a deadline of its own, and four system
	// calls a connection are a fiftieth of what a refusal costs.
	lc := net.ListenConfig{KeepAlive: -1}
	l, err := lc.Listen(context.Background(), s.Network, s.Address)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s: %w", s, reason(err))
	}
	return l, nil
}

// reason takes the address out of the net package's error, which we name ourselves.
func reason(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

func (s Spec) listenUnix() (net.Listener, error) {
	if err := removeStale(s.Address); err != nil {
		return nil, fmt.Errorf("cannot listen on %s: %w", s, err)
	}
	l, err := net.Listen("unix", s.Address)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s: %w", s, reason(err))
	}
	// Until here the umask holds, which is narrower on any sane system, so
	// nobody can slip in who may not.
	if err := os.Chmod(s.Address, s.Mode); err != nil {
		l.Close()
		return nil, fmt.Errorf("cannot listen on %s: %w", s, err)
	}
	return l, nil
}

// removeStale removes a socket that a dead process left behind. Anything else
// of that name, and a socket that somebody serves, is left alone.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return nil // not there; if there is another trouble, bind will tell
	}
	if info.Mode().Type() != fs.ModeSocket {
		return errors.New("there is a file of that name, and it is not a socket")
	}
	c, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		c.Close()
		return errors.New("another process serves it")
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		return os.Remove(path)
	}
	return reason(err)
}
