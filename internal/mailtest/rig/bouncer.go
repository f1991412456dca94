package rig

import (
	"path/filepath"
	"testing"

	"backstop/internal/mailtest"
)

// BouncerOptions is how a server is set up that takes everything and bounces later.
type BouncerOptions struct {
	Kind   string   // one of Bouncers
	Domain string   // whose mail it delivers or bounces; "": Domain
	Users  []string // local parts that exist there; nil: Users()
	Relay  string   // host:port that gets its bounces, and all mail for other domains, whoever sends it
	Warn   bool     // tells senders of a delay after a second, and tries again every second
	Syslog bool     // it has a syslog of its own, so that Maillog is what an administrator's file has; only Sendmail and OpenSMTPD need one
}

// Bouncer is a real server of the kind that Backstop is made against: it says yes to every
// recipient, and writes a bounce to the sender of what it cannot deliver.
type Bouncer struct {
	Kind  string
	Addr  string
	Store *mailtest.Mock // gets what is for Users

	log     func() string
	maillog func() string
}

// Bouncers are the kinds of server.
func Bouncers() []string { return []string{"postfix", "exim", "sendmail", "opensmtpd"} }

// StartBouncer starts one that is gone when the test ends. Where there is none, or no right to
// start it, the test is skipped or fails (mailtest.Need).
func StartBouncer(t testing.TB, o BouncerOptions) *Bouncer {
	t.Helper()
	if o.Domain == "" {
		o.Domain = Domain
	}
	if o.Users == nil {
		o.Users = Users()
	}
	var b *Bouncer
	switch o.Kind {
	case "postfix":
		b = postfixBouncer(t, o)
	case "exim":
		b = eximBouncer(t, o)
	case "sendmail":
		b = sendmailBouncer(t, o)
	case "opensmtpd":
		b = opensmtpdBouncer(t, o)
	default:
		t.Fatalf("no server of the kind %q is known here", o.Kind)
	}
	b.Kind = o.Kind
	return b
}

// Log returns what it wrote of its work so far.
func (b *Bouncer) Log() string { return b.log() }

// Maillog returns its mail log so far and nothing else, in the form in which an administrator has it. Sendmail and
// OpenSMTPD have one only where there was a Syslog.
func (b *Bouncer) Maillog() string { return b.maillog() }

func postfixBouncer(t testing.TB, o BouncerOptions) *Bouncer {
	main := map[string]string{
		// What senders are told goes the way of all other mail.
		"sender_dependent_default_transport_maps": "",
		"queue_run_delay":                         "1s", "minimal_backoff_time": "1s", "maximal_backoff_time": "1s",
	}
	if o.Warn {
		main["delay_warning_time"] = "1s"
	}
	p := StartPostfix(t, PostfixOptions{AcceptAll: true, Domains: []string{o.Domain}, Users: o.Users, Relay: o.Relay, Main: main})
	return &Bouncer{Addr: p.Addr, Store: p.Store, log: p.Log, maillog: func() string { return readFile(p.path("log")) }}
}

func eximBouncer(t testing.TB, o BouncerOptions) *Bouncer {
	main := "smtp_accept_queue_per_connection = 0\n"
	if o.Warn {
		main += "delay_warning = 1s\n"
	}
	x := StartExim(t, EximOptions{AcceptAll: true, Domain: o.Domain, Users: o.Users, Relay: o.Relay, Main: main, Command: []string{"-q1s"}})
	return &Bouncer{Addr: x.Addr, Store: x.Store, log: x.Log, maillog: func() string { return readFile(filepath.Join(x.Dir, "log/mainlog")) }}
}

// refusingStore is the mailbox server of one that asks it nothing before the mail is its own.
func refusingStore(t testing.TB, o BouncerOptions, lmtp bool) *mailtest.Mock {
	return mailtest.NewMock(t, mailtest.Script{LMTP: lmtp, Users: o.Users})
}
