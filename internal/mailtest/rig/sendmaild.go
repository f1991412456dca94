package rig

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"backstop/internal/mailtest"
)

// SendmailDaemonOptions is how a Sendmail that listens is set up.
type SendmailDaemonOptions struct {
	Domains    []string          // what is for them goes to Store, unasked; anybody may send to them
	Store      string            // host:port
	Relay      string            // host:port that gets all the rest, which only clients on 127.0.0.1 may send
	Postmaster string            // who gets his mail; "": nobody
	Defines    map[string]string // further ones of its m4 configuration, which win
	Paste      Pasted
	Syslog     *syslog // nil: none
}

// SendmailDaemon is Debian's Sendmail as a server, with a configuration made by its own macros.
type SendmailDaemon struct {
	Addr string
	*Sendmail
	proc   *process
	syslog *syslog
}

// StartSendmail starts one that is gone when the test ends. Where there is none, or no right to start it, the test
// is skipped or fails (mailtest.Need).
func StartSendmail(t testing.TB, o SendmailDaemonOptions) *SendmailDaemon {
	t.Helper()
	mailtest.NeedRoot(t)
	s := &SendmailDaemon{Sendmail: &Sendmail{t: t, root: findSendmail(t), dir: mailtest.Dir(t)}, syslog: o.Syslog}
	if err := os.Mkdir(s.path("queue"), 0o700); err != nil {
		t.Fatal(err)
	}
	mailtest.WriteFile(t, s.dir, "switch", "hosts files\naliases files\n")
	if o.Postmaster == "" {
		o.Postmaster = "/dev/null"
	}
	mailtest.WriteFile(t, s.dir, "aliases", "postmaster: "+o.Postmaster+"\n")
	for try := 0; ; try++ {
		own := freePort(t)
		s.Addr = "127.0.0.1:" + own
		s.configure(o, own)
		err := s.begin()
		if err == nil {
			break
		}
		if try == 2 {
			t.Fatalf("sendmail does not start: %v\n%s", err, s.Log())
		}
	}
	t.Cleanup(s.Stop)
	if out := readFile(s.path("output")); strings.Contains(out, "daemon.cf") {
		t.Fatalf("sendmail does not like its configuration:\n%s", out)
	}
	return s
}

func (s *SendmailDaemon) configure(o SendmailDaemonOptions, own string) {
	s.make("daemon", s.daemon(o, own))
	if o.Paste.CF != "" {
		mailtest.WriteFile(s.t, s.dir, "daemon.cf", readFile(s.path("daemon.cf"))+o.Paste.CF+"\n")
	}
	mailer, access := "", ""
	for _, d := range o.Domains {
		mailer += d + " esmtp:[127.0.0.1]\n"
		access += "To:" + d + " RELAY\n"
	}
	for name, text := range map[string]string{"mailer": mailer, "access": access} {
		s.run(s.dir, text, filepath.Join(s.root, "usr/sbin/makemap"), "-C", s.path("daemon.cf"), "hash", s.path(name))
	}
}

// daemon is the configuration.
func (s *SendmailDaemon) daemon(o SendmailDaemonOptions, own string) string {
	behind := func(addr string) string { return "TCP $h " + port(addr) }
	defines := map[string]string{
		"confDOMAIN_NAME":           sendmailName,
		"confDOUBLE_BOUNCE_ADDRESS": "", // a bounce that cannot be delivered is dropped
		"confDONT_PROBE_INTERFACES": "True",
		"confDONT_BLAME_SENDMAIL":   "GroupWritableDirPathSafe,MapInUnsafeDirPath",
		"confSERVICE_SWITCH_FILE":   s.path("switch"),
		"ALIAS_FILE":                s.path("aliases"),
		"QUEUE_DIR":                 s.path("queue"),
		"STATUS_FILE":               s.path("statistics"),
		"confPID_FILE":              s.path("pid"),
		"confTO_IDENT":              "0s",
		"confQUEUE_LA":              "1000",
		"confREFUSE_LA":             "1000",
		"confDELAY_LA":              "0",
		"confMAX_MESSAGE_SIZE":      "52428800",
		"SMART_HOST":                "relay:[127.0.0.1]",
		"RELAY_MAILER_ARGS":         behind(o.Relay),
		"ESMTP_MAILER_ARGS":         behind(o.Store),
	}
	maps.Copy(defines, o.Defines)
	text := "divert(0)dnl\nOSTYPE(`linux')dnl\n"
	for _, name := range slices.Sorted(maps.Keys(defines)) {
		text += "define(`" + name + "', `" + defines[name] + "')dnl\n"
	}
	return text + "FEATURE(`no_default_msa')dnl\nDAEMON_OPTIONS(`Name=MTA, Addr=127.0.0.1, Port=" + own + "')dnl\n" +
		"MODIFY_MAILER_FLAGS(`ESMTP', `-DFM')dnl\n" + // what the store gets is given no Date, From or Message-Id
		"FEATURE(`nocanonify')dnl\nFEATURE(`accept_unresolvable_domains')dnl\n" +
		"FEATURE(`access_db', `hash -T<TMPF> " + s.path("access") + "')dnl\n" +
		"FEATURE(`mailertable', `hash " + s.path("mailer") + "')dnl\n" +
		o.Paste.MC + "\nMAILER(`local')dnl\nMAILER(`smtp')dnl\n"
}

func (s *SendmailDaemon) begin() error {
	command := append(shown(s.t, "sendmail", s.syslog.devices()...), filepath.Join(s.root, "usr/libexec/sendmail/sendmail"),
		"-C", s.path("daemon.cf"), "-bD", "-q1s", "-X", s.path("log"))
	s.proc = start(s.t, s.dir, []string{"LD_LIBRARY_PATH=" + libraries(s.root)}, command...)
	err := s.proc.greets(s.Addr, sendmailName)
	if err != nil {
		s.proc.stop()
	}
	return err
}

// Stop ends it, at the latest when nobody can connect any more.
func (s *SendmailDaemon) Stop() {
	s.proc.stop()
	if err := refused(s.Addr); err != nil {
		s.t.Errorf("sendmail is stopped and can still be reached: %v", err)
	}
}

// Start begins again after Stop.
func (s *SendmailDaemon) Start() {
	s.t.Helper()
	if err := s.begin(); err != nil {
		s.t.Fatalf("sendmail does not start again: %v\n%s", err, s.Log())
	}
}

// Log returns its conversations so far, and what it printed. (Its own log goes to syslog.)
func (s *SendmailDaemon) Log() string { return readFile(s.path("log")) + readFile(s.path("output")) }

// Queued counts the messages that are on their way.
func (s *SendmailDaemon) Queued() int {
	found, _ := filepath.Glob(s.path("queue/qf*"))
	return len(found)
}

// Settle waits until nothing is on its way any more.
func (s *SendmailDaemon) Settle(t testing.TB) {
	t.Helper()
	if err := poll(func() (bool, error) { return s.Queued() == 0, nil }); err != nil {
		t.Fatalf("sendmail keeps %d messages: %v\n%s", s.Queued(), err, s.Log())
	}
}

func (s *SendmailDaemon) address() string { return s.Addr }

func (b *Beside) sendmail(t testing.TB, p Pasted) server {
	t.Helper()
	return StartSendmail(t, SendmailDaemonOptions{Domains: []string{Domain, OtherDomain}, Store: b.Store.Addr(), Relay: b.World.Addr(), Postmaster: "postmaster@" + Domain, Paste: p})
}

// sendmailBouncer runs one for StartBouncer.
func sendmailBouncer(t testing.TB, o BouncerOptions) *Bouncer {
	t.Helper()
	b := &Bouncer{Store: refusingStore(t, o, false)}
	d := SendmailDaemonOptions{Domains: []string{o.Domain}, Store: b.Store.Addr(), Relay: o.Relay}
	if o.Warn {
		d.Defines = map[string]string{"confTO_QUEUEWARN": "1s", "confTO_QUEUEWARN_DSN": "1s"}
	}
	if o.Syslog {
		d.Syslog = startSyslog(t, sendmailName)
	}
	s := StartSendmail(t, d)
	b.Addr, b.log, b.maillog = s.Addr, s.Log, d.Syslog.text
	return b
}
