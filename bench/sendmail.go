package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// sendmailRoot is where scripts/deps.sh unpacks Sendmail, which conflicts with Postfix as a package.
const sendmailRoot = ".deps/sendmail"

// sendmailMacros are a Sendmail that listens twice: once it knows by itself who does not exist (by a pattern, which costs it less
// than a list would), once it asks the milter, by the line that `backstop setup sendmail` prints.
func sendmailMacros(dir, sink, plain, filtered, milter string) string {
	defines := [][2]string{
		{"confDOMAIN_NAME", sendmailName}, {"confDONT_PROBE_INTERFACES", "True"},
		{"confDONT_BLAME_SENDMAIL", "GroupWritableDirPathSafe,MapInUnsafeDirPath"},
		{"confSERVICE_SWITCH_FILE", filepath.Join(dir, "switch")}, {"ALIAS_FILE", filepath.Join(dir, "aliases")},
		{"QUEUE_DIR", filepath.Join(dir, "queue")}, {"STATUS_FILE", filepath.Join(dir, "statistics")}, {"confPID_FILE", filepath.Join(dir, "pid")},
		{"confTO_IDENT", "0s"}, {"confQUEUE_LA", "1000"}, {"confREFUSE_LA", "1000"}, {"confDELAY_LA", "0"},
		{"SMART_HOST", "relay:[127.0.0.1]"}, {"RELAY_MAILER_ARGS", "TCP $h " + port(sink)},
	}
	var b strings.Builder
	b.WriteString("divert(0)dnl\nOSTYPE(`linux')dnl\n")
	for _, d := range defines {
		fmt.Fprintf(&b, "define(`%s', `%s')dnl\n", d[0], d[1])
	}
	fmt.Fprintf(&b, "FEATURE(`no_default_msa')dnl\nFEATURE(`nocanonify')dnl\nFEATURE(`accept_unresolvable_domains')dnl\nRELAY_DOMAIN(`%s')dnl\n", listedDomain)
	fmt.Fprintf(&b, "MAIL_FILTER(`backstop', `S=inet:%s@127.0.0.1, F=T, T=C:10s;S:30s;R:60s;E:5m')dnl\n", port(milter))
	fmt.Fprintf(&b, "DAEMON_OPTIONS(`Name=plain, Addr=127.0.0.1, Port=%s')dnl\n", port(plain))
	fmt.Fprintf(&b, "DAEMON_OPTIONS(`Name=filtered, Addr=127.0.0.1, Port=%s, InputMailFilters=backstop')dnl\n", port(filtered))
	b.WriteString("MAILER(`local')dnl\nMAILER(`smtp')dnl\nLOCAL_RULESETS\nSLocal_check_rcpt\n" +
		"R$*\t$: $&{daemon_name} $| $1\nRplain $| $* nobody . $*\t$#error $@ 5.1.1 $: \"550 User unknown\"\nR$* $| $*\t$: $2\n")
	return b.String()
}

// sendmailName is what the host is called in its namespace: Sendmail first of all looks for a dot in it, for a minute.
const sendmailName = "sendmail.bench.example"

// sendmail is a private Sendmail with its two listeners.
type sendmail struct {
	*process
	plain, filtered string
}

// startSendmail starts one in front of the sink, with a milter.
func (b *bench) startSendmail(ctx context.Context, milter string) (*sendmail, error) {
	root, err := filepath.Abs(sendmailRoot)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(root, "complete")); err != nil {
		return nil, fmt.Errorf("not unpacked (%w)", err)
	}
	if os.Geteuid() != 0 {
		return nil, errors.New("starts as root only")
	}
	addrs, err := freeAddrs(2)
	if err != nil {
		return nil, err
	}
	folders, err := filepath.Glob(filepath.Join(root, "usr/lib/*"))
	if err != nil {
		return nil, err
	}
	libraries := "LD_LIBRARY_PATH=" + strings.Join(folders, ":")
	dir := filepath.Join(b.dir, "sendmail")
	if err := configureSendmail(ctx, root, libraries, dir, sendmailMacros(dir, b.sink, addrs[0], addrs[1], milter)); err != nil {
		return nil, err
	}
	p, err := spawn(b.dir, "sendmail", nil, "unshare", "-u", "sh", "-c", `hostname "$0" && exec "$@"`, sendmailName, "env", libraries,
		filepath.Join(root, "usr/libexec/sendmail/sendmail"), "-C", filepath.Join(dir, "cf"), "-bD", "-q1s")
	if err != nil {
		return nil, err
	}
	b.later(p.stop)
	s := &sendmail{p, addrs[0], addrs[1]}
	return s, errors.Join(p.await(ctx, s.plain, 20*time.Second), p.await(ctx, s.filtered, 20*time.Second))
}

// configureSendmail makes the rules of the macros, and the folders that they name.
func configureSendmail(ctx context.Context, root, libraries, dir, macros string) error {
	if err := os.MkdirAll(filepath.Join(dir, "queue"), 0o700); err != nil {
		return err
	}
	for name, text := range map[string]string{"switch": "hosts files\naliases files\n", "aliases": "postmaster: /dev/null\n", "mc": macros} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	cf := filepath.Join(root, "usr/share/sendmail/cf")
	made, err := output(ctx, "env", "-C", cf, libraries, filepath.Join(root, "usr/bin/m4"), "-D_CF_DIR_="+cf+"/", "m4/cf.m4", filepath.Join(dir, "mc"))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "cf"), []byte(made+"\n"), 0o644)
}
