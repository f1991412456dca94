package listen

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// firstInherited is SD_LISTEN_FDS_START (sd_listen_fds(3)).
const firstInherited = 3

// inherited returns the socket that systemd passed under name. The descriptor itself
// is only copied and the environment left as it is, so that the socket can be
// taken up again after a reload; a library that hands each socket out once would
// need state for the whole process.
func inherited(name string) (net.Listener, error) {
	names := inheritedNames()
	fd := -1
	for i, n := range names {
		if n != name {
			continue
		}
		if fd >= 0 {
			return nil, fmt.Errorf("cannot listen on systemd:%s: several sockets have that name; give each its own socket unit with its own FileDescriptorName=", name)
		}
		fd = firstInherited + i
	}
	if fd < 0 {
		if len(names) == 0 {
			return nil, fmt.Errorf("cannot listen on systemd:%s: systemd passed no sockets to this process", name)
		}
		return nil, fmt.Errorf("cannot listen on systemd:%s: systemd passed only %s", name, strings.Join(names, ", "))
	}
	syscall.CloseOnExec(fd)
	dup, err := syscall.Dup(fd)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on systemd:%s: %w", name, err)
	}
	f := os.NewFile(uintptr(dup), "systemd:"+name)
	defer f.Close() // FileListener takes a copy of its own
	l, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on systemd:%s: %w", name, reason(err))
	}
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false) // the path is systemd's
	}
	return l, nil
}

// inheritedNames lists the names of the sockets passed to this very process, in the order of their descriptors.
func inheritedNames() []string {
	if os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		return nil
	}
	n, err := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	if err != nil || n <= 0 || n > 1024 {
		return nil
	}
	names := strings.Split(os.Getenv("LISTEN_FDNAMES"), ":")
	for len(names) < n {
		names = append(names, "unknown") // sd_listen_fds_with_names(3)
	}
	return names[:n]
}
