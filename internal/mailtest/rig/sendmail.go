package rig

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"backstop/internal/mailtest"
)

// SendmailOptions is what a Sendmail knows.
type SendmailOptions struct {
	Access        string   // the access text; "": none
	Virtusertable string   // the text of the virtual users; "": none
	Local         []string // domains that it delivers itself
	Delay         bool     // judges client and sender at RCPT, as Debian's configuration has it
}

// Sendmail is Sendmail's own rules, made by its own macros, over maps made by its
// own makemap. It is asked in test mode: nothing is sent and nothing listens. (StartBouncer
// starts one that does.)
type Sendmail struct {
	t    testing.TB
	root string // of the unpacked packages
	dir  string
}

// NewSendmail makes the rules. Where there is no Sendmail, or no right to give it a
// host name of its own, the test is skipped or fails (mailtest.Need).
func NewSendmail(t testing.TB, o SendmailOptions) *Sendmail {
	t.Helper()
	s := &Sendmail{t: t, root: findSendmail(t), dir: mailtest.Dir(t)}
	s.make("test", s.macros(o))
	for name, text := range map[string]string{"access": o.Access, "virtuser": o.Virtusertable} {
		if text == "" {
			text = "# none\n"
		}
		s.run(s.dir, text, filepath.Join(s.root, "usr/sbin/makemap"), "-C", s.path("test.cf"), "hash", s.path(name))
	}
	return s
}

// make makes name.cf of macros.
func (s *Sendmail) make(name, macros string) {
	s.t.Helper()
	mailtest.WriteFile(s.t, s.dir, name+".mc", macros)
	cf := filepath.Join(s.root, "usr/share/sendmail/cf")
	out := s.run(cf, "", filepath.Join(s.root, "usr/bin/m4"), "-D_CF_DIR_="+cf+"/", "m4/cf.m4", s.path(name+".mc"))
	mailtest.WriteFile(s.t, s.dir, name+".cf", out)
}

func (s *Sendmail) path(name string) string { return filepath.Join(s.dir, name) }

func (s *Sendmail) macros(o SendmailOptions) string {
	delay := "dnl"
	if o.Delay {
		delay = "FEATURE(`delay_checks', `friend', `n')dnl"
	}
	return `divert(0)dnl
OSTYPE(` + "`linux'" + `)dnl
define(` + "`confDOMAIN_NAME', `" + sendmailName + `')dnl
define(` + "`confDONT_PROBE_INTERFACES', `True'" + `)dnl
define(` + "`confDONT_BLAME_SENDMAIL', `GroupWritableDirPathSafe,MapInUnsafeDirPath'" + `)dnl
FEATURE(` + "`nocanonify'" + `)dnl
FEATURE(` + "`access_db', `hash -T<TMPF> " + s.path("access") + "', `skip', `relaytofulladdress'" + `)dnl
FEATURE(` + "`blocklist_recipients'" + `)dnl
FEATURE(` + "`accept_unresolvable_domains'" + `)dnl
` + delay + `
FEATURE(` + "`virtusertable', `hash " + s.path("virtuser") + `')dnl
LOCAL_DOMAIN(` + "`" + strings.Join(o.Local, " ") + `')dnl
MAILER(` + "`smtp'" + `)dnl
LOCAL_RULESETS
STranslate
R$* $$| $*	$: $1 $| $2
`
}

const sendmailName = "sendmail.test"

// Ask asks in test mode, one question a line as in "check_rcpt user@example.com" or
// "3,0 user@example.com", as a stranger from 192.0.2.1, and returns what each printed. A
// question may begin with lines that define macros, ".D{client_addr}203.0.113.7".
func (s *Sendmail) Ask(questions ...string) []string {
	s.t.Helper()
	in := ".D{client_addr}192.0.2.1\n.D{client_name}peer.test\n.D{client_resolve}OK\n" + strings.Join(questions, "\n") + "\n"
	// Its first act is to look for a dot in the name of this host, for a minute.
	out := s.run(s.dir, in, "unshare", "-u", "sh", "-c", `hostname "$0" && exec "$@"`, sendmailName,
		filepath.Join(s.root, "usr/libexec/sendmail/sendmail"), "-C", s.path("test.cf"), "-bt")
	answers := strings.Split(out, "\n> ")
	if len(answers) != len(questions)+2 { // the greeting, and the prompt at the end
		s.t.Fatalf("%d answers of Sendmail to %d questions:\n%.2000s", len(answers)-2, len(questions), out)
	}
	return answers[1 : len(answers)-1]
}

// run runs a program of the unpacked packages with what is given as input, and
// returns what it printed.
func (s *Sendmail) run(dir, input, name string, args ...string) string {
	s.t.Helper()
	cmd := exec.CommandContext(s.t.Context(), name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "LD_LIBRARY_PATH="+libraries(s.root))
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.t.Fatalf("%s: %v\n%.2000s", filepath.Base(name), err, out)
	}
	return string(out)
}

// findSendmail returns where the packages are unpacked in this checkout.
func findSendmail(t testing.TB) string {
	t.Helper()
	if err := exec.Command("unshare", "-u", "true").Run(); err != nil {
		mailtest.Absent(t, fmt.Sprintf("the right to a host name of its own (unshare -u: %v)", err))
	}
	dir, err := os.Getwd()
	for ; err == nil && dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		root := filepath.Join(dir, ".deps", "sendmail")
		if _, err := os.Stat(filepath.Join(root, "complete")); err == nil {
			return root
		}
	}
	mailtest.Absent(t, "sendmail")
	return ""
}
