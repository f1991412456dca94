package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// postfix is a private instance: own configuration, queue, data and log in the temporary folder, nothing of the system's.
type postfix struct {
	dir     string
	version string
	mapType string
	mapFile string // of the 1 M recipients, on disk
	plain   string // address: knows its recipients; takes mail into its queue
	proxy   string // address: the same as a before-queue proxy
	verify  string // address: asks the (slow) downstream who exists
	group   *cgroup
	meter   meter
}

// startPostfix starts the instance in front of the two sinks; an error says why there is none on this machine.
func startPostfix(ctx context.Context, dir, recipients string, sinkAddr, slowAddr string) (*postfix, error) {
	p, err := newPostfix(ctx, filepath.Join(dir, "postfix"), recipients)
	if err != nil {
		return nil, err
	}
	addrs, err := freeAddrs(3)
	if err != nil {
		return nil, err
	}
	p.plain, p.proxy, p.verify = addrs[0], addrs[1], addrs[2]
	fill := strings.NewReplacer("{{plain}}", p.plain, "{{proxy}}", p.proxy, "{{verify}}", p.verify, "{{sink}}", port(sinkAddr))
	if err := p.configure(fill.Replace(listenersCF), sinkAddr, slowAddr); err != nil {
		return nil, err
	}
	return p, p.start(ctx, addrs...)
}

// newPostfix makes an instance that is not started, and the map of its recipients.
func newPostfix(ctx context.Context, dir, recipients string) (*postfix, error) {
	if _, err := exec.LookPath("postfix"); err != nil {
		return nil, fmt.Errorf("not installed (%w)", err)
	}
	if os.Geteuid() != 0 {
		return nil, fmt.Errorf("starts as root only, and this is user %d", os.Geteuid())
	}
	version, err := output(ctx, "postconf", "-h", "mail_version")
	if err != nil {
		return nil, err
	}
	p := &postfix{dir: dir, version: version}
	return p, p.makeMap(ctx, recipients)
}

// makeMap compiles the recipients into the best indexed map that this Postfix has: lmdb, else cdb, else hash. That takes seconds,
// so the result is kept beside the list and used again as long as it is newer.
func (p *postfix) makeMap(ctx context.Context, recipients string) error {
	types, err := output(ctx, "postconf", "-m")
	if err != nil {
		return err
	}
	endings := map[string]string{"lmdb": ".lmdb", "cdb": ".cdb", "hash": ".db"}
	for _, p.mapType = range []string{"lmdb", "cdb", "hash"} {
		if slices.Contains(strings.Fields(types), p.mapType) {
			break
		}
	}
	source := recipients + ".postfix"
	p.mapFile = source + endings[p.mapType]
	if newer(p.mapFile, recipients) {
		return nil
	}
	if err := rewrite(recipients, source, " OK\n"); err != nil {
		return err
	}
	// A Berkeley DB is written in the order of its hash: without a cache as large as itself that takes minutes. The LMDB
	// module refuses to outgrow its limit.
	conf := filepath.Dir(source)
	settings := "compatibility_level = 3.6\nberkeley_db_create_buffer_size = 268435456\nlmdb_map_size = 1073741824\n"
	if err := os.WriteFile(filepath.Join(conf, "main.cf"), []byte(settings), 0o644); err != nil {
		return err
	}
	_, err = output(ctx, "postmap", "-c", conf, p.mapType+":"+source)
	return err
}

// newer tells whether file exists and is not older than its source.
func newer(file, source string) bool {
	made, err := os.Stat(file)
	if err != nil {
		return false
	}
	from, err := os.Stat(source)
	return err == nil && !made.ModTime().Before(from.ModTime())
}

// rewrite copies a file of lines, with another end to each line.
func rewrite(from, to, end string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	file, err := os.Create(to)
	if err != nil {
		return err
	}
	defer file.Close()
	out := bufio.NewWriterSize(file, 1<<20)
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		_, _ = out.Write(lines.Bytes())
		_, _ = io.WriteString(out, end)
	}
	if err := lines.Err(); err != nil {
		return err
	}
	if err := out.Flush(); err != nil {
		return err
	}
	return file.Close()
}

const mainCF = `compatibility_level = 3.6
queue_directory = {{dir}}/queue
data_directory = {{dir}}/data
maillog_file = {{dir}}/maillog
maillog_file_prefixes = {{dir}}
syslog_name = bench-postfix
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 192.0.2.1/32
myhostname = postfix.bench.example
mydestination =
alias_maps =
alias_database =
relay_domains = bench.example, asked.example
relay_recipient_maps = {{map}}, inline:{ @asked.example=OK }
transport_maps = inline:{ bench.example=relay:[127.0.0.1]:{{sink}}, asked.example=relay:[127.0.0.1]:{{slow}} }
smtpd_relay_restrictions = reject_unauth_destination
smtpd_recipient_restrictions =
smtpd_peername_lookup = no
smtpd_tls_security_level = none
smtp_tls_security_level = none
unverified_recipient_reject_code = 550
`

// listenersCF are three ways to receive mail, on ports of their own.
const listenersCF = `{{plain}} inet n - n - - smtpd
{{proxy}} inet n - n - - smtpd
  -o smtpd_proxy_filter=127.0.0.1:{{sink}}
{{verify}} inet n - n - - smtpd
  -o smtpd_recipient_restrictions=reject_unverified_recipient
`

// The services behind them are those of the distribution, none in a chroot.
const servicesCF = `cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
`

// configure writes main.cf, and master.cf with these listeners.
func (p *postfix) configure(listeners, sinkAddr, slowAddr string) error {
	for _, folder := range []string{"queue", "data"} { // what belongs inside Postfix makes itself
		if err := os.MkdirAll(filepath.Join(p.dir, folder), 0o755); err != nil {
			return err
		}
	}
	if err := chownTo("postfix", filepath.Join(p.dir, "data")); err != nil {
		return err
	}
	mapName := p.mapType + ":" + strings.TrimSuffix(p.mapFile, filepath.Ext(p.mapFile))
	fill := strings.NewReplacer("{{dir}}", p.dir, "{{map}}", mapName, "{{sink}}", port(sinkAddr), "{{slow}}", port(slowAddr))
	for name, text := range map[string]string{"main.cf": fill.Replace(mainCF), "master.cf": listeners + servicesCF} {
		if err := os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// chownTo gives a folder to a user of the system.
func chownTo(name, path string) error {
	owner, err := user.Lookup(name)
	if err != nil {
		return err
	}
	uid, err := strconv.Atoi(owner.Uid)
	if err != nil {
		return err
	}
	return os.Chown(path, uid, -1)
}

// start runs `postfix start`, which returns when the master is running, and finds a way to meter it.
func (p *postfix) start(ctx context.Context, addrs ...string) error {
	launch := []string{"-c", launcher, "launcher", "", "postfix", "-c", p.dir, "start"}
	if g, err := newCgroup(filepath.Base(p.dir)); err == nil {
		p.group, p.meter, launch[3] = g, g, g.dir
	}
	if _, err := output(ctx, "/bin/sh", launch...); err != nil {
		p.dissolve()
		return fmt.Errorf("postfix start: %w%s", err, lastLines(filepath.Join(p.dir, "maillog")))
	}
	if p.group == nil {
		text, err := os.ReadFile(filepath.Join(p.dir, "queue/pid/master.pid"))
		if err != nil {
			return err
		}
		pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil {
			return err
		}
		p.meter = tree{root: pid}
	}
	for _, addr := range addrs {
		if err := greets(addr); err != nil {
			p.stop()
			return fmt.Errorf("postfix on %s: %w%s", addr, err, lastLines(filepath.Join(p.dir, "maillog")))
		}
	}
	return nil
}

// stop ends the instance. It asks with a context of its own, since the run's may be the reason for stopping.
func (p *postfix) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if _, err := output(ctx, "postfix", "-c", p.dir, "stop"); err != nil {
		fmt.Fprintln(os.Stderr, "bench: postfix stop:", err)
	}
	p.dissolve()
}

// dissolve takes the control group away.
func (p *postfix) dissolve() {
	if p.group == nil {
		return
	}
	if err := p.group.remove(); err != nil {
		fmt.Fprintln(os.Stderr, "bench: the control group of Postfix stays behind:", err)
	}
}

// output runs a command to its end and returns what it printed, trimmed; the error holds what it complained about.
func output(ctx context.Context, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	// A daemon that the command leaves behind inherits its pipes, and reading them to the end would wait for the daemon.
	cmd.WaitDelay = time.Second
	var out, complaint strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil && cmd.ProcessState != nil && !cmd.ProcessState.Success() {
		return "", fmt.Errorf("%s: %w: %s", name, err, strings.TrimSpace(complaint.String()+" "+out.String()))
	} else if err != nil && cmd.ProcessState == nil {
		return "", err
	}
	return strings.TrimSpace(out.String()), nil
}
