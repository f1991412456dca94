package rig

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"backstop/internal/mailtest"
)

// opensmtpdUsers are those that Debian's OpenSMTPD was built for.
var opensmtpdUsers = []string{"opensmtpd", "opensmtpq"}

// opensmtpdBouncer runs Debian's OpenSMTPD over folders that only it sees in the place of its own.
func opensmtpdBouncer(t testing.TB, o BouncerOptions) *Bouncer {
	t.Helper()
	mailtest.NeedRoot(t)
	root := unpacked("opensmtpd")
	if root == "" {
		mailtest.Absent(t, "opensmtpd")
	}
	dir := mailtest.Dir(t)
	b := &Bouncer{Store: refusingStore(t, o, false)}
	b.log = func() string { return readFile(filepath.Join(dir, "output")) }
	for _, d := range []string{"spool/smtpd", "lib/opensmtpd/empty", "run"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o711); err != nil {
			t.Fatal(err)
		}
	}
	// It asks its own resolver for the names of clients.
	names := mailtest.WriteFile(t, dir, "resolv.conf", "lookup file\n")
	binds := append(accounts(t, dir, opensmtpdUsers...), names, "/etc/resolv.conf",
		filepath.Join(dir, "spool"), "/var/spool", filepath.Join(dir, "lib"), "/var/lib", filepath.Join(dir, "run"), "/run")
	toLog := "-dv"
	var log *syslog
	if o.Syslog {
		log, toLog = startSyslog(t, "opensmtpd.test"), "-F"
	}
	b.maillog = log.text
	binds = append(binds, log.devices()...)
	command := append(shown(t, "opensmtpd", binds...), filepath.Join(root, "usr/sbin/smtpd"), toLog, "-f", filepath.Join(dir, "smtpd.conf"))
	for try := 0; ; try++ {
		port := freePort(t)
		b.Addr = "127.0.0.1:" + port
		mailtest.WriteFile(t, dir, "smtpd.conf", opensmtpdConfig(o, b.Store.Addr(), port))
		proc := start(t, dir, []string{"LD_LIBRARY_PATH=" + libraries(root)}, command...)
		err := proc.greets(b.Addr, "opensmtpd.test")
		if err == nil {
			t.Cleanup(proc.stop)
			return b
		}
		proc.stop()
		if try == 2 {
			t.Fatalf("opensmtpd does not start: %v\n%s", err, b.log())
		}
	}
}

// opensmtpdPace takes the five seconds away that it lets pass between connections to one host, and the
// ten for which it keeps one open.
const opensmtpdPace = "mta limit conn-delay-route 0 session-keepalive 0\n"

func opensmtpdConfig(o BouncerOptions, store, port string) string {
	warn := ""
	if o.Warn {
		warn = "bounce warn-interval 1s\n"
	}
	return warn + opensmtpdPace + `listen on 127.0.0.1 port ` + port + ` hostname opensmtpd.test
action store relay host smtp://` + store + `
action onward relay host smtp://127.0.0.1:` + o.Relay[strings.LastIndexByte(o.Relay, ':')+1:] + `
match from any for domain ` + o.Domain + ` action store
match from any for any action onward
`
}

// libraries returns where the unpacked packages have libraries, for the loader.
func libraries(root string) string {
	found, _ := filepath.Glob(filepath.Join(root, "usr/lib/*-linux-gnu"))
	more, _ := filepath.Glob(filepath.Join(root, "lib/*-linux-gnu"))
	return strings.Join(append(found, more...), ":")
}
