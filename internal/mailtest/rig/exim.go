package rig

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"

	"backstop/internal/mailtest"
)

// EximOptions is how an Exim is set up. The zero value receives mail for Domain,
// knows Users, and refuses all others at RCPT, in Exim's usual words.
type EximOptions struct {
	Domain    string   // "": Domain
	Users     []string // local parts; nil: Users()
	AcceptAll bool     // takes every recipient of the domain, and bounces later what Users does not have
	Refuse    string   // the text of a refusal of unknown users; "": Exim's own, without an enhanced code
	// Relay is the host:port that takes all mail but bounces, which go to the store: this Exim sends, for whoever is on
	// loopback. With AcceptAll it takes bounces too, and all other mail but what is for Domain.
	Relay   string
	Main    string   // further lines of the main section
	Command []string // further arguments
}

// Exim is a private instance.
type Exim struct {
	Addr  string
	Store *mailtest.Mock // gets by LMTP what was accepted
	Dir   string

	t       testing.TB
	proc    *process
	binary  string
	libs    string
	command []string
}

// eximUser is the user that Debian's Exim was built for. Where it is not in
// /etc/passwd, it is there for this Exim alone.
const eximUser = "Debian-exim"

// StartExim starts an Exim that is gone when the test ends. Where there is none,
// or no right to start it, the test is skipped or fails (mailtest.Need).
func StartExim(t testing.TB, o EximOptions) *Exim {
	t.Helper()
	mailtest.NeedRoot(t)
	if o.Users == nil {
		o.Users = Users()
	}
	if o.Domain == "" {
		o.Domain = Domain
	}
	x := newExim(t, o.Command...)
	x.Store = mailtest.NewMock(t, mailtest.Script{LMTP: true})
	x.SetUsers(o.Users...)
	x.launch(func(port string) string { return x.config(o, port) })
	return x
}

// newExim makes one that is not configured yet.
func newExim(t testing.TB, arguments ...string) *Exim {
	t.Helper()
	x := &Exim{t: t, Dir: mailtest.Dir(t)}
	x.binary, x.libs = findExim(t)
	x.command = append(x.identity(), x.binary, "-C", filepath.Join(x.Dir, "exim.conf"), "-bdf")
	x.command = append(x.command, arguments...)
	for _, d := range []string{"spool", "log"} {
		if err := os.Mkdir(filepath.Join(x.Dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return x
}

// launch starts it on a free port, for which config makes the configuration.
func (x *Exim) launch(config func(port string) string) {
	x.t.Helper()
	for try := 0; ; try++ {
		port := freePort(x.t)
		x.Addr = "127.0.0.1:" + port
		mailtest.WriteFile(x.t, x.Dir, "exim.conf", config(port))
		err := x.begin()
		if err == nil {
			break
		}
		if try == 2 {
			x.t.Fatalf("exim does not start: %v\n%s", err, x.Log())
		}
	}
	x.t.Cleanup(x.Stop)
}

func (x *Exim) begin() error {
	x.proc = start(x.t, x.Dir, []string{"LD_LIBRARY_PATH=" + x.libs}, x.command...)
	err := x.proc.greets(x.Addr, "exim.test")
	if err != nil {
		x.proc.stop()
	}
	return err
}

// Stop ends it, at the latest when nobody can connect any more.
func (x *Exim) Stop() {
	x.proc.stop()
	if err := refused(x.Addr); err != nil {
		x.t.Errorf("exim is stopped and can still be reached: %v", err)
	}
}

// Start begins again after Stop.
func (x *Exim) Start() {
	x.t.Helper()
	if err := x.begin(); err != nil {
		x.t.Fatalf("exim does not start again: %v\n%s", err, x.Log())
	}
}

func (x *Exim) address() string { return x.Addr }

// findExim returns the unpacked Exim of this checkout, or an installed one, and
// where its libraries are.
func findExim(t testing.TB) (binary, libs string) {
	t.Helper()
	dir, err := os.Getwd()
	for ; err == nil && dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		root := filepath.Join(dir, ".deps", "exim")
		binary = filepath.Join(root, "usr/sbin/exim4")
		if _, err := os.Stat(binary); err == nil {
			found, _ := filepath.Glob(filepath.Join(root, "usr/lib/*-linux-gnu"))
			more, _ := filepath.Glob(filepath.Join(root, "lib/*-linux-gnu"))
			return binary, strings.Join(append(found, more...), ":")
		}
	}
	if binary = mailtest.Find("exim4"); binary == "" {
		mailtest.Absent(t, "exim")
	}
	return binary, ""
}

// identity returns the words to put before Exim's command, so that it finds its
// user: a mount namespace in which /etc/passwd has it.
func (x *Exim) identity() []string {
	if _, err := user.Lookup(eximUser); err == nil {
		return nil
	}
	return shown(x.t, "exim", accounts(x.t, x.Dir, eximUser)...)
}

func (x *Exim) config(o EximOptions, ownPort string) string {
	recipient := "  require verify = recipient\n"
	if o.Refuse != "" {
		recipient = "  deny    message = " + o.Refuse + "\n          !verify = recipient\n"
	}
	known := "  local_parts = lsearch;" + filepath.Join(x.Dir, "users") + "\n"
	late, domains, onward, relayPort := "", o.Domain, "", "25"
	if o.Relay != "" {
		relayPort = port(o.Relay)
	}
	relayed := "!domains = +local_domains"
	switch {
	case o.Relay != "" && o.AcceptAll:
		relayed, onward = "domains =", eximOthers
	case o.Relay != "":
		recipient, domains, onward = "", "*", eximOnward
	}
	if o.AcceptAll {
		recipient = ""
		late = "nobody:\n  driver = redirect\n  data = :fail: no such user\n  allow_fail\n"
	}
	return fmt.Sprintf(eximConfig, x.binary, x.Dir, ownPort, o.Main, recipient, known, late, port(x.Store.Addr()), domains, onward, relayPort, relayed)
}

// eximOnward are the routers of one that sends: everything leaves, and what
// senders are told comes to the store.
const eximOnward = `onward:
  driver = manualroute
  domains = *
  condition = ${if def:sender_address}
  route_list = * 127.0.0.1
  self = send
  transport = onward
returned:
  driver = accept
  condition = ${if !def:sender_address}
  transport = store
`

// eximOthers is the router of one that delivers or bounces what is for its domain.
const eximOthers = `others:
  driver = manualroute
  domains = !+local_domains
  route_list = * 127.0.0.1
  self = send
  transport = onward
  no_more
`

// eximConfig runs everything as root, and only what hands a message to the
// store as its user: Exim would not find its configuration again from less.
const eximConfig = `exim_user = root
exim_group = root
exim_path = %[1]s
spool_directory = %[2]s/spool
log_file_path = %[2]s/log/%%slog
pid_file_path = %[2]s/exim.pid
log_selector = +all
keep_environment = LD_LIBRARY_PATH
primary_hostname = exim.test
local_interfaces = 127.0.0.1
daemon_smtp_ports = %[3]s
domainlist local_domains = %[9]s
acl_smtp_rcpt = check_rcpt
acl_smtp_data = accept
acl_smtp_vrfy = accept
smtputf8_advertise_hosts = *
chunking_advertise_hosts = *
dsn_advertise_hosts = *
tls_advertise_hosts =
host_lookup =
rfc1413_hosts =
message_logs = false
smtp_accept_max = 200
smtp_enforce_sync = false
message_size_limit = 50M
queue_run_max = 1
%[4]s
begin acl
check_rcpt:
  deny    message = relay not permitted
          %[12]s
%[5]s  accept
begin routers
%[10]susers:
  driver = accept
  domains = +local_domains
%[6]s  transport = store
%[7]sbegin transports
store:
  driver = smtp
  protocol = lmtp
  hosts = 127.0.0.1
  port = %[8]s
  allow_localhost
  hosts_override
  hosts_avoid_tls = *
  message_linelength_limit = 1000000
  user = ` + eximUser + `
onward:
  driver = smtp
  port = %[11]s
  allow_localhost
  hosts_avoid_tls = *
  message_linelength_limit = 1000000
  user = ` + eximUser + `
begin retry
* * F,1h,1s
`

// SetUsers changes who exists, for the sessions that begin after it.
func (x *Exim) SetUsers(users ...string) {
	var b strings.Builder
	for _, u := range users {
		fmt.Fprintf(&b, "%s: yes\n", lsearchKey(u))
	}
	mailtest.WriteFile(x.t, x.Dir, "users", b.String())
}

// lsearchKey quotes a key that has spaces.
func lsearchKey(user string) string {
	user = strings.ToLower(strings.Trim(user, `"`))
	if strings.ContainsAny(user, " :\\") {
		return `"` + strings.ReplaceAll(user, `\`, `\\`) + `"`
	}
	return user
}

// Log returns its logs so far, and what it printed.
func (x *Exim) Log() string {
	var b strings.Builder
	for _, f := range []string{"log/mainlog", "log/rejectlog", "log/paniclog", "output"} {
		b.WriteString(readFile(filepath.Join(x.Dir, f)))
	}
	return b.String()
}

// Queued counts the messages that are on their way.
func (x *Exim) Queued() int {
	found, _ := filepath.Glob(filepath.Join(x.Dir, "spool/input/*"))
	return len(found)
}

// Settle waits until nothing is on its way any more.
func (x *Exim) Settle(t testing.TB) {
	t.Helper()
	if err := poll(func() (bool, error) { return x.Queued() == 0, nil }); err != nil {
		t.Fatalf("exim keeps %d files: %v\n%s", x.Queued(), err, x.Log())
	}
}
