package rig

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"backstop/internal/mailtest"
)

// sendmailBouncer runs Debian's Sendmail, with a configuration made by its own macros.
func sendmailBouncer(t testing.TB, o BouncerOptions) *Bouncer {
	t.Helper()
	mailtest.NeedRoot(t)
	s := &Sendmail{t: t, root: findSendmail(t), dir: mailtest.Dir(t)}
	b := &Bouncer{Store: refusingStore(t, o, false)}
	b.log = func() string { return readFile(s.path("log")) + readFile(s.path("output")) }
	if err := os.Mkdir(s.path("queue"), 0o700); err != nil {
		t.Fatal(err)
	}
	mailtest.WriteFile(t, s.dir, "switch", "hosts files\naliases files\n")
	mailtest.WriteFile(t, s.dir, "aliases", "postmaster: /dev/null\n")
	for try := 0; ; try++ {
		port := freePort(t)
		b.Addr = "127.0.0.1:" + port
		s.make("bouncer", s.bouncer(o, port, b.Store.Addr()))
		s.run(s.dir, o.Domain+" esmtp:[127.0.0.1]\n", filepath.Join(s.root, "usr/sbin/makemap"), "-C", s.path("bouncer.cf"), "hash", s.path("mailer"))
		command := append(shown(t, "sendmail"), filepath.Join(s.root, "usr/libexec/sendmail/sendmail"),
			"-C", s.path("bouncer.cf"), "-bD", "-q1s", "-X", s.path("log"))
		proc := start(t, s.dir, []string{"LD_LIBRARY_PATH=" + libraries(s.root)}, command...)
		err := proc.greets(b.Addr, sendmailName)
		if err == nil {
			t.Cleanup(proc.stop)
			return b
		}
		proc.stop()
		if try == 2 {
			t.Fatalf("sendmail does not start: %v\n%s", err, b.log())
		}
	}
}

// bouncer is the configuration: what is for the domain goes to the store, unasked, and all the rest to the relay.
func (s *Sendmail) bouncer(o BouncerOptions, port, store string) string {
	define := func(name, value string) string { return "define(`" + name + "', `" + value + "')dnl\n" }
	behind := func(addr string) string { return "TCP $h " + addr[strings.LastIndexByte(addr, ':')+1:] }
	text := "divert(0)dnl\nOSTYPE(`linux')dnl\n" +
		define("confDOMAIN_NAME", sendmailName) +
		define("confDONT_PROBE_INTERFACES", "True") +
		define("confDONT_BLAME_SENDMAIL", "GroupWritableDirPathSafe,MapInUnsafeDirPath") +
		define("confSERVICE_SWITCH_FILE", s.path("switch")) +
		define("ALIAS_FILE", s.path("aliases")) +
		define("QUEUE_DIR", s.path("queue")) +
		define("STATUS_FILE", s.path("statistics")) +
		define("confPID_FILE", s.path("pid")) +
		define("confTO_IDENT", "0s") +
		define("confQUEUE_LA", "1000") + define("confREFUSE_LA", "1000") + define("confDELAY_LA", "0") +
		define("confMAX_MESSAGE_SIZE", "52428800") +
		define("SMART_HOST", "relay:[127.0.0.1]") +
		define("RELAY_MAILER_ARGS", behind(o.Relay)) +
		define("ESMTP_MAILER_ARGS", behind(store))
	if o.Warn {
		text += define("confTO_QUEUEWARN", "1s") + define("confTO_QUEUEWARN_DSN", "1s")
	}
	return text + "FEATURE(`no_default_msa')dnl\nDAEMON_OPTIONS(`Name=MTA, Addr=127.0.0.1, Port=" + port + "')dnl\n" +
		"FEATURE(`nocanonify')dnl\nFEATURE(`accept_unresolvable_domains')dnl\n" +
		"FEATURE(`mailertable', `hash " + s.path("mailer") + "')dnl\nMAILER(`local')dnl\nMAILER(`smtp')dnl\n"
}
