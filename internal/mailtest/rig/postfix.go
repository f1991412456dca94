package rig

import (
	"fmt"
	"maps"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"backstop/internal/mailtest"
)

// PostfixOptions is how a Postfix is set up. The zero value receives mail for
// Domain, knows Users, and refuses all others at RCPT.
type PostfixOptions struct {
	Users     []string          // local parts or addresses; nil: Users()
	AcceptAll bool              // takes every recipient of the domain, and bounces later what Users does not have
	Domains   []string          // nil: Domain
	Hide      []string          // EHLO keywords that are not offered: "chunking", "pipelining", …
	XClient   bool              // clients on loopback may use XCLIENT
	XForward  bool              // and XFORWARD
	Proxy     bool              // every connection begins with a PROXY header
	Access    map[string]string // client address or network to an action: "192.0.2.0/24": "REJECT go away"
	Refuse    map[string]string // recipient address to an action: "bob@example.com": "450 4.2.0 later"
	Relay     string            // host:port that takes all mail for other domains: this Postfix sends, for whoever is on loopback, and receives only for Domains (nil: none)
	Main      map[string]string // further lines of main.cf, which win
	Paste     Pasted            // text for main.cf and master.cf as an administrator pastes it, which wins over all
}

// Postfix is a private instance.
type Postfix struct {
	Addr  string         // where its smtpd listens
	Store *mailtest.Mock // gets by LMTP what was accepted; also what is bounced to senders when there is a Relay
	Dir   string

	t    testing.TB
	proc *process
	who  *directory

	proxied bool // it says nothing before it has a PROXY header
}

// StartPostfix starts a Postfix that is gone when the test ends. Where there is
// none, or no right to start it, the test is skipped or fails (mailtest.Need).
func StartPostfix(t testing.TB, o PostfixOptions) *Postfix {
	t.Helper()
	mailtest.NeedRoot(t)
	mailtest.Need(t, "master")
	if o.Users == nil {
		o.Users = Users()
	}
	if o.Domains == nil && o.Relay == "" {
		o.Domains = []string{Domain}
	}
	p := &Postfix{t: t, Dir: mailtest.Dir(t), Store: mailtest.NewMock(t, mailtest.Script{LMTP: true}), proxied: o.Proxy}
	p.who = newDirectory(t, o.Users)
	if o.AcceptAll {
		p.Store.Change(func(s *mailtest.Script) { s.Users = o.Users })
	}
	p.folders()
	for try := 0; ; try++ {
		port := freePort(t)
		p.Addr = "127.0.0.1:" + port
		p.configure(o, port)
		err := p.begin()
		if err == nil {
			break
		}
		if try == 2 || strings.Contains(p.Log(), "bad command startup") {
			t.Fatalf("postfix does not start: %v\n%s", err, p.Log())
		}
	}
	t.Cleanup(p.Stop)
	if o.Paste != (Pasted{}) {
		if what := p.complaints(); what != "" {
			t.Fatalf("postfix does not like what was pasted:\n%s", what)
		}
	}
	return p
}

func (p *Postfix) begin() error {
	p.proc = start(p.t, p.Dir, []string{"MAIL_CONFIG=" + p.path("conf")}, mailtest.Find("master"), "-c", p.path("conf"), "-d")
	err := p.proc.listening(p.Addr)
	if err == nil && !p.proxied {
		err = p.proc.greets(p.Addr, "postfix.test")
	}
	if err != nil {
		p.proc.stop()
	}
	return err
}

// Stop ends it, at the latest when nobody can connect any more.
func (p *Postfix) Stop() {
	p.proc.stop()
	if err := refused(p.Addr); err != nil {
		p.t.Errorf("postfix is stopped and can still be reached: %v", err)
	}
}

// Start begins again after Stop.
func (p *Postfix) Start() {
	p.t.Helper()
	if err := p.begin(); err != nil {
		p.t.Fatalf("postfix does not start again: %v\n%s", err, p.Log())
	}
}

func (p *Postfix) path(name string) string { return filepath.Join(p.Dir, name) }

// queues are the folders in which a message may be on its way, in that order.
var queues = []string{"maildrop", "deferred", "incoming", "active"}

// folders makes what `postfix check` would make, with the owners it wants.
func (p *Postfix) folders() {
	p.t.Helper()
	u, err := user.Lookup("postfix")
	if err != nil {
		mailtest.Absent(p.t, "the user postfix")
	}
	uid, _ := strconv.Atoi(u.Uid) // numbers on every Unix
	gid := -1
	if g, err := user.LookupGroup("postdrop"); err == nil {
		gid, _ = strconv.Atoi(g.Gid)
	}
	private := slices.Concat(queues, []string{"defer", "bounce", "corrupt", "hold", "flush", "trace", "saved", "private", "public"})
	for _, d := range slices.Concat([]string{"conf", "data", "queue", "queue/pid"}, private) {
		mode, owned := os.FileMode(0o755), d == "data"
		if slices.Contains(private, d) {
			d, mode, owned = "queue/"+d, 0o700, true
		}
		if err := os.Mkdir(p.path(d), mode); err != nil {
			p.t.Fatal(err)
		}
		if owned {
			if err := os.Chown(p.path(d), uid, gid); err != nil {
				p.t.Fatal(err)
			}
		}
	}
}

func (p *Postfix) configure(o PostfixOptions, port string) {
	main := map[string]string{
		"compatibility_level":             "3.6",
		"queue_directory":                 p.path("queue"),
		"data_directory":                  p.path("data"),
		"maillog_file":                    p.path("log"),
		"maillog_file_prefixes":           filepath.Dir(p.Dir),
		"myhostname":                      "postfix.test",
		"mydestination":                   "",
		"mynetworks":                      "",
		"inet_interfaces":                 "127.0.0.1",
		"inet_protocols":                  "ipv4",
		"disable_dns_lookups":             "yes",
		"smtpd_peername_lookup":           "no",
		"smtputf8_enable":                 "yes",
		"message_size_limit":              "52428800",
		"relay_domains":                   strings.Join(o.Domains, " "),
		"relay_transport":                 "lmtp:inet:" + p.Store.Addr(),
		"smtp_line_length_limit":          "0",
		"lmtp_line_length_limit":          "0",
		"smtpd_relay_restrictions":        "permit_mynetworks reject_unauth_destination",
		"smtpd_client_restrictions":       p.table("access", "cidr", o.Access, "check_client_access"),
		"smtpd_recipient_restrictions":    p.table("refuse", "texthash", o.Refuse, "check_recipient_access"),
		"smtpd_discard_ehlo_keywords":     strings.Join(o.Hide, " "),
		"smtpd_client_message_rate_limit": "0",
		"in_flow_delay":                   "0s",
		"local_header_rewrite_clients":    "", // or mail from loopback would be given a Message-ID
	}
	if !o.AcceptAll {
		main["relay_recipient_maps"] = p.who.table()
	}
	if o.XClient {
		main["smtpd_authorized_xclient_hosts"] = "127.0.0.0/8"
	}
	if o.XForward {
		main["smtpd_authorized_xforward_hosts"] = "127.0.0.0/8"
	}
	if o.Proxy {
		main["smtpd_upstream_proxy_protocol"] = "haproxy"
	}
	if o.Relay != "" {
		// What senders are told comes to the store, whatever their domain is.
		main["mynetworks"] = "127.0.0.0/8"
		main["sender_dependent_default_transport_maps"] = "inline:{ {<> = lmtp:inet:" + p.Store.Addr() + "} }"
		main["empty_address_default_transport_maps_lookup_key"] = "<>"
		main["default_transport"] = "smtp:[127.0.0.1]:" + o.Relay[strings.LastIndexByte(o.Relay, ':')+1:]
	}
	maps.Copy(main, o.Main)
	p.write("main.cf", pasteMain(main, o.Paste.Main))
	p.write("master.cf", pasteMaster("127.0.0.1:"+port+" inet n - n - - smtpd\n"+services, o.Paste.Master))
}

// write writes a file of the configuration and dates it back: Postfix takes a
// file that is younger than two seconds for unfinished, and waits.
func (p *Postfix) write(name, content string) {
	f := mailtest.WriteFile(p.t, p.path("conf"), name, content)
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(f, old, old); err != nil {
		p.t.Fatal(err)
	}
}

// services is master.cf, without chroot and without what no test uses.
const services = `cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
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
lmtp unix - - n - - lmtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
showq unix n - n - - showq
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
pickup unix n - n 60 1 pickup
postlog unix-dgram n - n - 1 postlogd
`

// table writes an access table and returns the restriction that asks it.
func (p *Postfix) table(name, kind string, entries map[string]string, restriction string) string {
	if entries == nil {
		return ""
	}
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(entries)) {
		fmt.Fprintf(&b, "%s %s\n", k, entries[k])
	}
	p.write(name, b.String())
	return restriction + " " + kind + ":" + p.path("conf/"+name)
}

// SetUsers changes who exists, at once and in open sessions too.
func (p *Postfix) SetUsers(users ...string) { p.who.set(users) }

// Log returns its log so far, and what it printed.
func (p *Postfix) Log() string { return readFile(p.path("log")) + readFile(p.path("output")) }

// WaitLog waits until the log has the text: it is written by another process.
func (p *Postfix) WaitLog(t testing.TB, text string) {
	t.Helper()
	if err := poll(func() (bool, error) { return strings.Contains(p.Log(), text), nil }); err != nil {
		t.Fatalf("the log does not have %q, %v:\n%s", text, err, p.Log())
	}
}

// Queued counts the messages that are on their way.
func (p *Postfix) Queued() int {
	n := 0
	for _, q := range queues {
		filepath.WalkDir(p.path("queue/"+q), func(_ string, d os.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				n++
			}
			return nil
		})
	}
	return n
}

// Settle waits until nothing is on its way any more.
func (p *Postfix) Settle(t testing.TB) {
	t.Helper()
	// Twice, since a message may go from one queue to another behind our back.
	quiet := 0
	err := poll(func() (bool, error) {
		quiet++
		if p.Queued() > 0 {
			quiet = 0
		}
		return quiet == 2, nil
	})
	if err != nil {
		t.Fatalf("postfix keeps %d messages: %v\n%s", p.Queued(), err, p.Log())
	}
}

// Flush makes it try at once what it has put off.
func (p *Postfix) Flush(t testing.TB) {
	t.Helper()
	if out, status := Run(t, "postqueue", "-c", p.path("conf"), "-f"); status != 0 {
		t.Fatalf("postqueue -f: %s", out)
	}
}
