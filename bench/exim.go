package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Exim conflicts with Postfix as a package, so that it is unpacked into a folder and given, in a mount namespace of its own, the
// user that it was built to run as.

// eximPackages are the daemon and what of its libraries few machines have.
var eximPackages = []string{"exim4-daemon-light", "libidn12"}

// The recipients are known by a pattern, which costs Exim less than the look-up in a list of a million that the others make.
const eximConfig = `spool_directory = {{dir}}/spool
log_file_path = {{dir}}/log/%slog
primary_hostname = exim.bench.example
local_interfaces = 127.0.0.1
daemon_smtp_ports = {{port}}
keep_environment =
tls_advertise_hosts =
rfc1413_query_timeout = 0s
smtp_accept_max = 100
acl_smtp_rcpt = recipient
begin acl
recipient:
  accept domains = ` + listedDomain + `
         local_parts = ^user[0-9]{7}\$
         control = cutthrough_delivery
  deny message = User unknown
begin routers
downstream:
  driver = manualroute
  transport = downstream
  route_list = * 127.0.0.1
  self = send
begin transports
downstream:
  driver = smtp
  port = {{sink}}
  allow_localhost
begin retry
* * F,1m,1m
`

const eximLauncher = `mount --bind "$1/passwd" /etc/passwd && mount --bind "$1/group" /etc/group || exit 1
export LD_LIBRARY_PATH="$3"
exec "$2" -C "$1/exim.conf" -bdf`

// startExim starts a private Exim that refuses unknown recipients and hands messages on while they come in.
func (b *bench) startExim(ctx context.Context) contender {
	c := contender{name: "Exim"}
	c.missing = func() error {
		if os.Geteuid() != 0 {
			return errors.New("starts as root only")
		}
		program, libraries, err := b.unpackExim(ctx)
		if err != nil {
			return err
		}
		addrs, err := freeAddrs(1)
		if err != nil {
			return err
		}
		dir := filepath.Join(b.dir, "exim")
		if err := b.configureExim(dir, addrs[0]); err != nil {
			return err
		}
		p, err := spawn(b.dir, "exim", nil, "unshare", "-m", "/bin/sh", "-c", eximLauncher, "launcher", dir, program, libraries)
		if err != nil {
			return err
		}
		b.later(p.stop)
		c.addr, c.meter, c.log = addrs[0], p.meter, filepath.Join(dir, "log", "mainlog")
		return p.await(ctx, addrs[0], 10*time.Second)
	}()
	return c
}

// unpackExim finds an Exim that was unpacked before, or fetches Debian's.
func (b *bench) unpackExim(ctx context.Context) (program, libraries string, err error) {
	root := filepath.Join(b.cache, "exim")
	find := func() bool {
		programs, _ := filepath.Glob(filepath.Join(root, "usr/sbin/exim4"))
		folders, _ := filepath.Glob(filepath.Join(root, "usr/lib/*/libidn.so.12"))
		if len(programs) == 0 || len(folders) == 0 {
			return false
		}
		program, libraries = programs[0], filepath.Dir(folders[0])
		return true
	}
	if find() {
		return program, libraries, nil
	}
	if _, err := exec.LookPath("apt-get"); err != nil {
		return "", "", fmt.Errorf("not unpacked, and this is no Debian: %w", err)
	}
	if err := os.MkdirAll(root, 0o755); err != nil {
		return "", "", err
	}
	cmd := exec.CommandContext(ctx, "apt-get", append([]string{"-qq", "download"}, eximPackages...)...)
	cmd.Dir = b.dir
	if said, err := cmd.CombinedOutput(); err != nil {
		return "", "", fmt.Errorf("apt-get download: %w: %s", err, lastOf(string(said)))
	}
	packages, _ := filepath.Glob(filepath.Join(b.dir, "*.deb"))
	for _, p := range packages {
		if _, err := output(ctx, "dpkg", "-x", p, root); err != nil {
			return "", "", err
		}
	}
	if !find() {
		return "", "", fmt.Errorf("no exim4 in what was unpacked into %s", root)
	}
	return program, libraries, nil
}

// configureExim writes the configuration, and the lists of users with the one that Exim is built to become.
func (b *bench) configureExim(dir, addr string) error {
	const name, id = "Debian-exim", 61999
	for _, folder := range []string{dir, filepath.Join(dir, "spool"), filepath.Join(dir, "log")} {
		if err := os.Mkdir(folder, 0o755); err != nil {
			return err
		}
		if err := os.Chown(folder, id, id); err != nil {
			return err
		}
	}
	text := strings.NewReplacer("{{dir}}", dir, "{{port}}", port(addr), "{{sink}}", port(b.sink)).Replace(eximConfig)
	if err := os.WriteFile(filepath.Join(dir, "exim.conf"), []byte(text), 0o644); err != nil {
		return err
	}
	for file, entry := range map[string]string{
		"passwd": fmt.Sprintf("%s:x:%d:%d::/nonexistent:/usr/sbin/nologin\n", name, id, id),
		"group":  fmt.Sprintf("%s:x:%d:\n", name, id),
	} {
		system, err := os.ReadFile(filepath.Join("/etc", file))
		if err != nil {
			return err
		}
		if strings.Contains("\n"+string(system), "\n"+name+":") {
			entry = "" // it is installed here after all, or was
		}
		if err := os.WriteFile(filepath.Join(dir, file), append(system, entry...), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// lastOf returns the last line of a text.
func lastOf(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}
