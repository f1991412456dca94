package rig

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"backstop/internal/mailtest"
)

// What there is in each database server of the rig.
const (
	DatabaseName     = "mail"
	DatabaseUser     = "reader" // may SELECT, and log in over TCP only
	DatabasePassword = "it's \"secret\" #1"
)

// Postgres is a private PostgreSQL server with an empty database.
type Postgres struct {
	Addr      string              // host:port, with TLS for who wants it
	Dir       string              // its unix socket is in it
	Authority *mailtest.Authority // of its certificate, which is for 127.0.0.1

	t    testing.TB
	bin  string
	port string
	proc *process
}

// StartPostgres starts a PostgreSQL that is gone when the test ends. Where there is none,
// or no right to start it, the test is skipped or fails (mailtest.Need). It takes about a second.
func StartPostgres(t testing.TB) *Postgres {
	t.Helper()
	mailtest.NeedRoot(t)
	mailtest.Need(t, "setpriv")
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	account, err := user.Lookup("postgres")
	if len(found) == 0 || err != nil {
		mailtest.Absent(t, "postgresql, or its user")
	}
	p := &Postgres{t: t, Dir: mailtest.Dir(t), Authority: mailtest.NewAuthority(t), bin: filepath.Dir(found[len(found)-1])}
	mailtest.WriteFile(t, p.Dir, "password", DatabasePassword)
	cert, key := mailtest.WritePEM(t, p.Dir, "server", p.Authority.Issue(t, "127.0.0.1"))
	uid, _ := strconv.Atoi(account.Uid) // numbers on every Unix
	gid, _ := strconv.Atoi(account.Gid)
	for _, f := range []string{p.Dir, cert, key} { // it refuses a key that others may read
		if err := os.Chown(f, uid, gid); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(key, 0o600); err != nil {
		t.Fatal(err)
	}
	out, status := Run(t, "setpriv", p.as(filepath.Join(p.bin, "initdb"), "--no-sync", "--encoding=UTF8", "--locale=C.UTF-8",
		"--username=postgres", "--auth=trust", "--pgdata="+p.data())...)
	if status != 0 {
		t.Fatalf("initdb: %s", out)
	}
	mailtest.WriteFile(t, p.data(), "pg_hba.conf", "local all postgres trust\nhost all "+DatabaseUser+" 127.0.0.1/32 scram-sha-256\n")
	for try := 0; ; try++ {
		p.port = freePort(t)
		p.Addr = "127.0.0.1:" + p.port
		if err = p.begin(); err == nil {
			break
		}
		if try == 2 {
			t.Fatalf("postgres does not start: %v\n%s", err, p.Log())
		}
	}
	t.Cleanup(p.Kill)
	p.query("postgres", "CREATE DATABASE "+DatabaseName)
	p.SQL(fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD '%s'; ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO %[1]s",
		DatabaseUser, strings.ReplaceAll(DatabasePassword, "'", "''")))
	return p
}

// as is a command of the server's own user, which is not root.
func (p *Postgres) as(command ...string) []string {
	return append([]string{"--reuid=postgres", "--regid=postgres", "--clear-groups", "--"}, command...)
}

func (p *Postgres) data() string { return filepath.Join(p.Dir, "data") }

func (p *Postgres) begin() error {
	command := append([]string{"setpriv"}, p.as(filepath.Join(p.bin, "postgres"), "-D", p.data(), "-p", p.port,
		"-k", p.Dir, "-h", "127.0.0.1", "-F", "-c", "shared_buffers=16MB", "-c", "full_page_writes=off", "-c", "max_connections=40",
		"-c", "ssl=on", "-c", "ssl_cert_file="+filepath.Join(p.Dir, "server.pem"), "-c", "ssl_key_file="+filepath.Join(p.Dir, "server.key"))...)
	p.proc = start(p.t, p.Dir, nil, command...)
	err := poll(func() (bool, error) {
		if !p.proc.running() {
			return false, fmt.Errorf("it has ended")
		}
		// The last line of this file says when it takes connections.
		return strings.Contains(readFile(filepath.Join(p.data(), "postmaster.pid")), "ready"), nil
	})
	if err != nil {
		p.proc.stop()
	}
	return err
}

// SQL runs statements as the superuser and returns the values that they give, a row a
// line, with | between them.
func (p *Postgres) SQL(statements string) string {
	p.t.Helper()
	return p.query(DatabaseName, statements)
}

func (p *Postgres) query(database, statements string) string {
	p.t.Helper()
	out, status := Run(p.t, filepath.Join(p.bin, "psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1",
		"-h", p.Dir, "-p", p.port, "-U", "postgres", "-d", database, "-c", statements)
	if status != 0 {
		p.t.Fatalf("psql: %s", out)
	}
	return strings.TrimSpace(out)
}

// pid is the server's own: it is a child of the process that we started.
func (p *Postgres) pid() int {
	first, _, _ := strings.Cut(readFile(filepath.Join(p.data(), "postmaster.pid")), "\n")
	pid, _ := strconv.Atoi(first)
	return pid
}

// Stop ends it in order: clients are told, and what they asked for is broken off.
func (p *Postgres) Stop() {
	if pid := p.pid(); p.proc.running() && pid > 0 {
		syscall.Kill(pid, syscall.SIGINT)
		<-p.proc.gone
	}
	p.proc.stop()
}

// Kill ends it as a crash would, with its sessions, each of which is a process (and a group) of its own.
func (p *Postgres) Kill() {
	if pid := p.pid(); p.proc.running() && pid > 0 {
		syscall.Kill(pid, syscall.SIGSTOP) // so that it begins no more of them
		for _, child := range strings.Fields(readFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", pid))) {
			if n, err := strconv.Atoi(child); err == nil {
				syscall.Kill(n, syscall.SIGKILL)
			}
		}
		// Before the others of its group: somebody must be left to take note of its
		// end, or its lock files speak of a process that is still there.
		syscall.Kill(pid, syscall.SIGKILL)
		<-p.proc.gone
	}
	p.proc.stop()
	if err := refused(p.Addr); err != nil {
		p.t.Errorf("postgres is killed and can still be reached: %v", err)
	}
}

// Pause halts its sessions without ending them: whoever asks waits. Resume lets them go on.
func (p *Postgres) Pause() { p.signal(syscall.SIGSTOP) }

// Resume ends a Pause.
func (p *Postgres) Resume() { p.signal(syscall.SIGCONT) }

func (p *Postgres) signal(s syscall.Signal) {
	pid := p.pid()
	for _, child := range append(strings.Fields(readFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", pid))), strconv.Itoa(pid)) {
		if n, err := strconv.Atoi(child); err == nil && n > 0 {
			syscall.Kill(n, s)
		}
	}
}

// Start begins again after Stop or Kill.
func (p *Postgres) Start() {
	p.t.Helper()
	for _, left := range []string{filepath.Join(p.data(), "postmaster.pid"), filepath.Join(p.Dir, ".s.PGSQL."+p.port+".lock")} {
		os.Remove(left) // by one that was killed
	}
	var last error
	err := poll(func() (bool, error) { // sessions of one that was killed may keep its memory for a moment
		last = p.begin()
		return last == nil, nil
	})
	if err != nil {
		p.t.Fatalf("postgres does not start again: %v\n%s", last, p.Log())
	}
}

// Log returns what it printed.
func (p *Postgres) Log() string { return readFile(filepath.Join(p.Dir, "output")) }
