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
	if scheme, _, ok := strings.Cut(s, ":"); err != nil || ok && schemes[scheme] {
		return Spec{}, hinted{fmt.Errorf("%q is not HOST:PORT, :PORT, unix:/PATH or systemd:NAME", s), instead(s)}
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return Spec{}, hinted{fmt.Errorf("%q: %q is not a port between 0 and 65535", s, port), "write the port as a number"}
	}
	return Spec{Network: family(host), Address: net.JoinHostPort(host, port)}, nil
}

// schemes are what other programs write before the address of a socket.
var schemes = map[string]bool{"inet": true, "inet6": true, "local": true}

// instead is what to write for something that is no listener, as far as it can be guessed.
func instead(s string) string {
	scheme, rest, _ := strings.Cut(s, ":")
	switch {
	case scheme == "local":
		return "write unix:" + rest
	case schemes[scheme]:
		if _, err := strconv.ParseUint(rest, 10, 16); err == nil {
			rest = ":" + rest
		}
		return "write it without " + scheme + ": " + rest
	case filepath.IsAbs(s):
		return "write unix:" + s
	}
	if _, err := strconv.ParseUint(s, 10, 16); err == nil {
		return "write :" + s + " for all addresses, or 127.0.0.1:" + s
	}
	switch a, err := netip.ParseAddr(strings.Trim(s, "[]")); {
	case err == nil && a.Is4():
		return "put the port behind it: " + s + ":PORT"
	case err == nil:
		return "put an IPv6 address into brackets and the port behind it: [::1]:PORT"
	}
	return ""
}

// hinted is an error with advice.
type hinted struct {
	error
	hint string
}

func (h hinted) Unwrap() error { return h.error }

// Hint says what to do about it, "" where that cannot be said.
func (h hinted) Hint() string { return h.hint }

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
		return nil, hinted{fmt.Errorf("cannot listen on %s: %w", s, reason(err)), folderHint(s.Address, err)}
	}
	// Until here the umask holds, which is narrower on any sane system, so
	// nobody can slip in who may not.
	if err := os.Chmod(s.Address, s.Mode); err != nil {
		l.Close()
		return nil, fmt.Errorf("cannot listen on %s: %w", s, err)
	}
	return l, nil
}

// folderHint says what to do about a folder in which no socket can be made.
func folderHint(path string, err error) string {
	folder := filepath.Dir(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "make the folder " + folder + ", and let the user that backstop runs as write there"
	case errors.Is(err, fs.ErrPermission):
		return "let the user that backstop runs as write to " + folder
	case errors.Is(err, syscall.EROFS):
		return "the systemd unit lets backstop write to its state folder and /run/backstop alone: ReadWritePaths=" + folder + " adds this one, or a socket unit opens the socket (systemd:NAME)"
	}
	return ""
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
