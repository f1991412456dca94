package rig

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"backstop/internal/mailtest"
)

// scannedExim has the shape of an administrator's configuration, with what its ACLs say put in.
func scannedExim(t testing.TB, mode Mode) *Scanned {
	mailtest.NeedRoot(t)
	x := newExim(t, "-q1s")
	x.Store = mailtest.NewMock(t, mailtest.Script{})
	x.SetUsers(scannedUsers()...)
	if err := os.Mkdir(filepath.Join(x.Dir, "spool/db"), 0o755); err != nil {
		t.Fatal(err)
	}
	users := filepath.Join(x.Dir, "users")
	rcpt, data := "  deny    message = no such user\n          !local_parts = lsearch;"+users+"\n", ""
	switch mode {
	case CatchAll:
		rcpt = ""
	case RefuseData:
		rcpt, data = "", "  deny    message = no such user\n          condition = ${lookup{${local_part:$recipients}}lsearch{"+users+"}{no}{yes}}\n"
	case Greylist:
		// A triple that came less than twice in the last hour is put off.
		rcpt = "  defer   message = greylisted, come again\n          !ratelimit = 1.5 / 1h / strict / per_cmd / $sender_host_address $sender_address $local_part\n" + rcpt
	}
	x.launch(func(own string) string {
		return fmt.Sprintf(eximBeside, x.binary, x.Dir, own, Domain, "127.0.0.9", "", rcpt, data, port(x.Store.Addr()), "25", "", Domain)
	})
	return &Scanned{Addr: x.Addr, Store: x.Store, log: x.Log}
}

// scannedSendmail adds a rule set to Sendmail's own.
func scannedSendmail(t testing.TB, mode Mode, relay string) *Scanned {
	store := mailtest.NewMock(t, mailtest.Script{})
	d := SendmailDaemonOptions{Domains: []string{Domain}, Store: store.Addr(), Relay: relay}
	switch mode {
	case RefuseRcpt:
		d.Paste.MC = "LOCAL_CONFIG\nKknown regex -a@KNOWN ^<?(" + strings.Join(scannedUsers(), "|") + ")@\n" +
			"LOCAL_RULESETS\nSLocal_check_rcpt\nR$*\t$: $( known $1 $)\nR@KNOWN\t$@ KNOWN\nR$*\t$#error $@ 5.1.1 $: \"550 5.1.1 User unknown\"\n"
	case RefuseData:
		d.Paste.MC = "LOCAL_RULESETS\nScheck_eom\nR$*\t$#error $@ 5.1.1 $: \"550 5.1.1 User unknown\"\n"
	case Greylist:
		d.Paste.MC = "INPUT_MAIL_FILTER(`grey', `S=inet:" + port(newGreylist().milter(t)) + "@127.0.0.1, F=T')dnl\n"
	}
	s := StartSendmail(t, d)
	return &Scanned{Addr: s.Addr, Store: store, log: s.Log}
}

// scannedOpenSMTPD runs Debian's OpenSMTPD over folders that only it sees in the place of its own.
func scannedOpenSMTPD(t testing.TB, mode Mode) *Scanned {
	t.Helper()
	mailtest.NeedRoot(t)
	root := unpacked("opensmtpd")
	if root == "" {
		mailtest.Absent(t, "opensmtpd")
	}
	dir := mailtest.Dir(t)
	s := &Scanned{Store: mailtest.NewMock(t, mailtest.Script{}), log: func() string { return readFile(filepath.Join(dir, "output")) }}
	for _, d := range []string{"spool/smtpd", "lib/opensmtpd/empty", "run"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o711); err != nil {
			t.Fatal(err)
		}
	}
	names := mailtest.WriteFile(t, dir, "resolv.conf", "lookup file\n")
	binds := append(accounts(t, dir, opensmtpdUsers...), names, "/etc/resolv.conf",
		filepath.Join(dir, "spool"), "/var/spool", filepath.Join(dir, "lib"), "/var/lib", filepath.Join(dir, "run"), "/run")
	command := append(shown(t, "opensmtpd", binds...), filepath.Join(root, "usr/sbin/smtpd"), "-dv", "-f", filepath.Join(dir, "smtpd.conf"))
	for try := 0; ; try++ {
		own := freePort(t)
		s.Addr = "127.0.0.1:" + own
		mailtest.WriteFile(t, dir, "smtpd.conf", scannedOpenSMTPDConfig(mode, s.Store.Addr(), own))
		proc := start(t, dir, []string{"LD_LIBRARY_PATH=" + libraries(root)}, command...)
		err := proc.greets(s.Addr, "opensmtpd.test")
		if err == nil {
			t.Cleanup(proc.stop)
			return s
		}
		proc.stop()
		if try == 2 {
			t.Fatalf("opensmtpd does not start: %v\n%s", err, s.Log())
		}
	}
}

func scannedOpenSMTPDConfig(mode Mode, store, port string) string {
	filter, define, to := "", "", "for domain "+Domain
	if mode == RefuseData {
		define, filter = "filter late phase commit match !auth reject \"550 5.1.1 User unknown\"\n", " filter late"
	} else {
		var users []string
		for _, u := range scannedUsers() {
			users = append(users, u+"@"+Domain)
		}
		define, to = "table users { "+strings.Join(users, ", ")+" }\n", "for rcpt-to <users>"
	}
	return define + opensmtpdPace + "listen on 127.0.0.1 port " + port + " hostname opensmtpd.test" + filter + `
action store relay host smtp://` + store + `
match from any ` + to + ` action store
`
}
