package rig

import (
	"database/sql"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"backstop/internal/mailtest"

	"github.com/go-sql-driver/mysql"
)

// MariaDB is a private MariaDB server with an empty database. Names and password are
// those of Postgres.
type MariaDB struct {
	Addr      string // host:port, with TLS for who wants it
	Dir       string
	Socket    string
	Authority *mailtest.Authority // of its certificate, which is for 127.0.0.1

	t    testing.TB
	port string
	proc *process
}

// StartMariaDB starts a MariaDB that is gone when the test ends. Where there is none, or
// no right to start it, the test is skipped or fails (mailtest.Need). It takes a few seconds.
func StartMariaDB(t testing.TB) *MariaDB {
	t.Helper()
	mailtest.NeedRoot(t)
	mailtest.Need(t, "mariadbd")
	m := &MariaDB{t: t, Dir: mailtest.Dir(t), Authority: mailtest.NewAuthority(t)}
	m.Socket = filepath.Join(m.Dir, "socket")
	mailtest.WritePEM(t, m.Dir, "server", m.Authority.Issue(t, "127.0.0.1"))
	m.install()
	for try := 0; ; try++ {
		m.port = freePort(t)
		m.Addr = "127.0.0.1:" + m.port
		err := m.begin()
		if err == nil {
			break
		}
		if try == 2 {
			t.Fatalf("mariadbd does not start: %v\n%s", err, m.Log())
		}
	}
	t.Cleanup(m.Kill)
	return m
}

// install makes the system tables as mariadb-install-db would, which wants programs of
// another package for that.
func (m *MariaDB) install() {
	m.t.Helper()
	var script strings.Builder
	script.WriteString("CREATE DATABASE mysql;\nUSE mysql;\n")
	for _, f := range []string{"mysql_system_tables.sql", "mysql_system_tables_data.sql"} {
		text := readFile("/usr/share/mysql/" + f)
		if text == "" {
			mailtest.Absent(m.t, "mariadb's "+f)
		}
		script.WriteString(text)
	}
	fmt.Fprintf(&script, "FLUSH PRIVILEGES;\nCREATE DATABASE %s CHARACTER SET utf8mb4;\nCREATE USER '%s'@'127.0.0.1' IDENTIFIED BY '%s';\nGRANT SELECT, EXECUTE ON %[1]s.* TO '%[2]s'@'127.0.0.1';\n",
		DatabaseName, DatabaseUser, strings.ReplaceAll(DatabasePassword, "'", "''"))
	if err := os.Mkdir(m.data(), 0o700); err != nil {
		m.t.Fatal(err)
	}
	file := mailtest.WriteFile(m.t, m.Dir, "install.sql", script.String())
	command := append([]string{"-c", `in=$1; shift; exec "$@" <"$in"`, "sh", file}, m.command("--bootstrap", "--log-warnings=0")...)
	if out, status := Run(m.t, "sh", command...); status != 0 {
		m.t.Fatalf("mariadbd --bootstrap: %s", out)
	}
}

// command is mariadbd's, with what every run of it needs.
func (m *MariaDB) command(more ...string) []string {
	return append([]string{mailtest.Find("mariadbd"), "--no-defaults", "--user=root", "--datadir=" + m.data(),
		"--innodb-flush-log-at-trx-commit=0", "--innodb-log-file-size=4M", "--innodb-buffer-pool-size=16M", "--key-buffer-size=1M"}, more...)
}

func (m *MariaDB) data() string { return filepath.Join(m.Dir, "data") }

func (m *MariaDB) begin() error {
	m.proc = start(m.t, m.Dir, nil, m.command("--bind-address=127.0.0.1", "--port="+m.port, "--socket="+m.Socket, "--pid-file="+filepath.Join(m.Dir, "pid"),
		"--skip-name-resolve", "--performance-schema=OFF", "--ssl-cert="+filepath.Join(m.Dir, "server.pem"), "--ssl-key="+filepath.Join(m.Dir, "server.key"))...)
	err := m.proc.listening(m.Addr)
	if err == nil { // its other door opens a moment later
		err = poll(func() (bool, error) {
			nc, err := net.Dial("unix", m.Socket)
			if err == nil {
				nc.Close()
			}
			return err == nil, nil
		})
	}
	if err != nil {
		m.proc.stop()
	}
	return err
}

// SQL runs statements as the superuser, and returns the one value that the last of them gives.
func (m *MariaDB) SQL(statements string) string {
	m.t.Helper()
	conf := mysql.NewConfig()
	conf.User, conf.Net, conf.Addr, conf.DBName, conf.MultiStatements = "root", "unix", m.Socket, DatabaseName, true
	connector, err := mysql.NewConnector(conf)
	if err != nil {
		m.t.Fatal(err)
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	rows, err := db.Query(statements)
	if err != nil {
		m.t.Fatalf("mariadb: %v", err)
	}
	defer rows.Close()
	value := ""
	for more := true; more; more = rows.NextResultSet() {
		for rows.Next() {
			if err := rows.Scan(&value); err != nil {
				m.t.Fatalf("mariadb: %v", err)
			}
		}
	}
	if err := rows.Err(); err != nil {
		m.t.Fatalf("mariadb: %v", err)
	}
	return value
}

func (m *MariaDB) pid() int {
	pid, _ := strconv.Atoi(strings.TrimSpace(readFile(filepath.Join(m.Dir, "pid"))))
	return pid
}

// Stop ends it in order.
func (m *MariaDB) Stop() {
	if pid := m.pid(); m.proc.running() && pid > 0 {
		syscall.Kill(pid, syscall.SIGTERM)
		<-m.proc.gone
	}
	m.proc.stop()
}

// Kill ends it as a crash would.
func (m *MariaDB) Kill() {
	m.proc.stop()
	if err := refused(m.Addr); err != nil {
		m.t.Errorf("mariadbd is killed and can still be reached: %v", err)
	}
}

// Pause halts it without ending it: whoever asks waits. Resume lets it go on.
func (m *MariaDB) Pause() { m.signal(syscall.SIGSTOP) }

// Resume ends a Pause.
func (m *MariaDB) Resume() { m.signal(syscall.SIGCONT) }

// signal sends a signal, and waits until the server has stopped or goes on: one that was told to go on while
// its threads were still stopping has been seen to stay stopped.
func (m *MariaDB) signal(s syscall.Signal) {
	pid := m.pid()
	if pid <= 0 {
		return
	}
	err := poll(func() (bool, error) {
		syscall.Kill(pid, s)
		_, state, found := strings.Cut(readFile(fmt.Sprintf("/proc/%d/stat", pid)), ") ")
		return !found || strings.HasPrefix(state, "T") == (s == syscall.SIGSTOP), nil
	})
	if err != nil {
		m.t.Errorf("mariadbd does not heed %v: %v", s, err)
	}
}

// Start begins again after Stop or Kill.
func (m *MariaDB) Start() {
	m.t.Helper()
	if err := m.begin(); err != nil {
		m.t.Fatalf("mariadbd does not start again: %v\n%s", err, m.Log())
	}
}

// Log returns what it printed.
func (m *MariaDB) Log() string { return readFile(filepath.Join(m.Dir, "output")) }
