package audit_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"backstop/internal/audit"
)

func sample(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name+".log"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// kept are the kinds of which testdata has what a real server wrote when it was given thirteen letters, one of each kind.
var kept = []string{"postfix", "exim", "sendmail", "opensmtpd"}

func summary(r *audit.Report) string {
	causes := map[string]int{}
	for _, c := range r.Causes {
		causes[c.Name] = c.Count
	}
	return fmt.Sprintf("written %d left %d strangers %d/%d own %d refused %d waiting %d delays %d relayed %d headless %d again %d rcpt %d data %d rest %d %v",
		r.Written, r.Left, r.Backscatter, r.Strangers, r.OwnUsers, r.Refused, r.Waiting, r.Delays, r.Relayed, r.Headless, r.Again, r.AtRcpt, r.AtData, r.Remaining, causes)
}

// TestSamples: six bounces to strangers, one of them about mail that a stranger's server refused; two to an own user; one that
// nobody took; one warning; one bounce of somebody else that was handed on.
func TestSamples(t *testing.T) {
	o := audit.Options{Domains: []string{"example.net"}}
	want := map[string]string{}
	for _, kind := range kept {
		want[kind] = "written 9 left 8 strangers 6/6 own 2 refused 1 waiting 0 delays 1 relayed 1 headless 0 again 0 rcpt 4 data 1 rest 1 map[content:1 elsewhere:1 loop:1 over-quota:1 unknown-user:2]"
	}
	want["sendmail"] = strings.Replace(want["sendmail"], "rcpt 4 data 1", "rcpt 2 data 3", 1) // it does not say in answer to what
	want["opensmtpd"] = strings.Replace(strings.Replace(want["opensmtpd"], "rcpt 4 data 1", "rcpt 2 data 3", 1),
		"refused 1 waiting 0", "refused 0 waiting 1", 1) // it ends before that was tried
	for _, kind := range kept {
		log := sample(t, kind)
		r := read(t, o, log)
		if got := summary(r); got != want[kind] || r.Lines.NotUnderstood > 0 {
			t.Errorf("%s: %s, %d lines not understood; want\n%s", kind, got, r.Lines.NotUnderstood, want[kind])
		}
		lines := strings.SplitAfter(strings.TrimSuffix(log, "\n"), "\n")
		for seed := range uint64(20) {
			mixed := slices.Clone(lines)
			random := rand.New(rand.NewPCG(seed, 1))
			for part := range slices.Chunk(mixed, 4) { // as syslog daemons mix what came within a moment
				random.Shuffle(len(part), func(i, j int) { part[i], part[j] = part[j], part[i] })
			}
			if kind == "opensmtpd" {
				continue // nothing but the order tells what its bounces are about
			}
			if got := summary(read(t, o, strings.Join(mixed, "\n"))); got != want[kind] {
				t.Fatalf("%s, lines mixed (%d): %s; want\n%s\n%s", kind, seed, got, want[kind], strings.Join(mixed, ""))
			}
		}
	}
}

func TestExchange(t *testing.T) {
	r := read(t, audit.Options{}, sample(t, "exchange"))
	const want = "written 3 left 3 strangers 2/2 own 1 refused 0 waiting 0 delays 1 relayed 0 headless 0 again 0 rcpt 1 data 1 rest 0 map[over-quota:1 unknown-user:1]"
	if got := summary(r); got != want || !slices.Equal(r.Own, []string{"example.com"}) || r.Lines.NotUnderstood != 0 {
		t.Errorf("%s, own %v, %+v; want\n%s", got, r.Own, r.Lines, want)
	}
}

// forms write the same log in other forms. Whatever the form, the count is the same.
var forms = map[string]func(line string) string{
	"iso":      func(l string) string { return "2026-11-22T" + l[7:15] + ".123456+00:00" + l[15:] },
	"iso, Z":   func(l string) string { return "2026-11-22T" + l[7:15] + "Z" + l[15:] },
	"priority": func(l string) string { return "<22>" + l },
	"freebsd":  func(l string) string { return l[:16] + "<mail.info> " + l[16:] },
	"rfc5424": func(l string) string {
		host, rest, _ := strings.Cut(l[16:], " ")
		tag, text, _ := strings.Cut(rest, "]: ")
		name, pid, _ := strings.Cut(tag, "[")
		return "<22>1 2026-11-22T" + l[7:15] + "Z " + host + " " + name + " " + pid + ` - [x@1 a="\]"] ` + text
	},
	"solaris": func(l string) string { return strings.Replace(l, "]: ", "]: [ID 197553 mail.info] ", 1) },
	"crlf":    func(l string) string { return l + "\r" },
	"others":  func(l string) string { return l + "\nNov 22 14:00:00 mx1 dovecot: imap-login: Login: user=<ann>\n" },
}

var longer = regexp.MustCompile(`\b(1xV8e[a-z])-([0-9A-Za-z]{6})-([0-9A-Za-z]{2})\b`)

func TestForms(t *testing.T) {
	o := audit.Options{Domains: []string{"example.net"}}
	for _, kind := range []string{"postfix", "sendmail", "opensmtpd"} {
		log := sample(t, kind)
		want := summary(read(t, o, log))
		for name, form := range forms {
			var b strings.Builder
			for line := range strings.Lines(log) {
				b.WriteString(form(strings.TrimSuffix(line, "\n")) + "\n")
			}
			r := read(t, o, b.String())
			if got := summary(r); got != want || r.Lines.NotUnderstood > 0 {
				t.Errorf("%s as %s: %s, %d not understood; want %s", kind, name, got, r.Lines.NotUnderstood, want)
			}
		}
	}
	log := sample(t, "exim")
	want := summary(read(t, o, log))
	var syslog, newer strings.Builder
	for line := range strings.Lines(log) {
		syslog.WriteString("Nov 22 14:00:00 mx1 exim[7]: " + line)
		// 4.97 has longer ids: 1xV8ed-0008Qh-1L is 1xV8ed-00000008Qhx-1L00.
		newer.WriteString(longer.ReplaceAllString(line, "$1-00000$2-${3}00"))
	}
	for name, log := range map[string]string{"syslog": syslog.String(), "4.97": newer.String()} {
		if got := summary(read(t, o, log)); got != want {
			t.Errorf("exim, %s: %s; want %s", name, got, want)
		}
	}
}

// TestInstances: two instances of Postfix on one machine have the same queue ids, and one hands what it bounces to the other.
func TestInstances(t *testing.T) {
	const log = `Nov 22 14:00:00 mx1 postfix-in/smtpd[1]: 4AAAAA1: client=mail.example.org[192.0.2.7]
Nov 22 14:00:00 mx1 postfix-in/qmgr[2]: 4AAAAA1: from=<ann@example.org>, size=1, nrcpt=1 (queue active)
Nov 22 14:00:00 mx1 postfix-out/smtpd[1]: 4AAAAA1: client=app.example.com[10.0.0.9]
Nov 22 14:00:00 mx1 postfix-out/qmgr[2]: 4AAAAA1: from=<bob@example.com>, size=1, nrcpt=1 (queue active)
Nov 22 14:00:01 mx1 postfix-in/relay/smtp[3]: 4AAAAA1: to=<nobody@example.com>, relay=store.example.com[10.0.0.5]:25, delay=1, delays=0/0/0/1, dsn=5.1.1, status=bounced (host store.example.com[10.0.0.5] said: 550 5.1.1 unknown (in reply to RCPT TO command))
Nov 22 14:00:01 mx1 postfix-out/smtp[3]: 4AAAAA1: to=<carl@example.net>, relay=mx.example.net[203.0.113.5]:25, delay=1, delays=0/0/0/1, dsn=2.0.0, status=sent (250 ok)
Nov 22 14:00:01 mx1 postfix-in/bounce[4]: 4AAAAA1: sender non-delivery notification: 4AAAAA2
Nov 22 14:00:01 mx1 postfix-in/qmgr[2]: 4AAAAA1: removed
Nov 22 14:00:01 mx1 postfix-out/qmgr[2]: 4AAAAA1: removed
Nov 22 14:00:01 mx1 postfix-in/qmgr[2]: 4AAAAA2: from=<>, size=1, nrcpt=1 (queue active)
Nov 22 14:00:01 mx1 postfix-out/smtpd[1]: 4AAAAA3: client=localhost[127.0.0.1]
Nov 22 14:00:01 mx1 postfix-out/qmgr[2]: 4AAAAA3: from=<>, size=1, nrcpt=1 (queue active)
Nov 22 14:00:01 mx1 postfix-in/smtp[3]: 4AAAAA2: to=<ann@example.org>, relay=127.0.0.1[127.0.0.1]:10026, delay=1, delays=0/0/0/1, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as 4AAAAA3)
Nov 22 14:00:01 mx1 postfix-in/qmgr[2]: 4AAAAA2: removed
Nov 22 14:00:02 mx1 postfix-out/smtp[3]: 4AAAAA3: to=<ann@example.org>, relay=mx.example.org[203.0.113.9]:25, delay=1, delays=0/0/0/1, dsn=2.0.0, status=sent (250 ok)
Nov 22 14:00:02 mx1 postfix-out/qmgr[2]: 4AAAAA3: removed
`
	r := read(t, audit.Options{}, log)
	const want = "written 1 left 1 strangers 1/1 own 0 refused 0 waiting 0 delays 0 relayed 0 headless 0 again 1 rcpt 1 data 0 rest 0 map[unknown-user:1]"
	if got := summary(r); got != want || !slices.Equal(r.Own, []string{"example.com"}) {
		t.Errorf("%s, own %v; want\n%s", got, r.Own, want)
	}
	if len(r.Hosts) != 1 || r.Hosts[0].Name != "store.example.com [10.0.0.5]" || !r.Hosts[0].Inner {
		t.Errorf("%+v", r.Hosts)
	}
	var lines []string
	for l := range strings.Lines(log) {
		lines = append(lines, l)
	}
	slices.Reverse(lines)
	if got := summary(read(t, audit.Options{Domains: []string{"example.com"}}, strings.Join(lines, ""))); !strings.HasPrefix(got, "written 1 left 1 strangers 1/1") {
		t.Errorf("backwards: %s", got)
	}
}

// TestCut: without the line that says what a message is, it is told that something is missing.
func TestCut(t *testing.T) {
	log := regexp.MustCompile(`.*sender non-delivery notification: 0E7159CE2C3\n`).ReplaceAllString(sample(t, "postfix"), "")
	r := read(t, audit.Options{Domains: []string{"example.net"}}, log)
	if r.Headless != 1 || r.Backscatter != 5 {
		t.Errorf("%s", summary(r))
	}
}

// TestRoom: what is forgotten for want of room is told, and memory does not grow.
func TestRoom(t *testing.T) {
	var b strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&b, "Nov 22 14:00:00 mx1 postfix/qmgr[1]: 4A%05d: from=<ann@example.org>, size=1, nrcpt=1 (queue active)\n", i)
		fmt.Fprintf(&b, "Nov 22 14:00:00 mx1 postfix/smtp[1]: 4A%05d: to=<bob@example.com>, relay=none, delay=1, delays=0/0/0/1, dsn=4.4.1, status=deferred (connect: timed out)\n", i)
	}
	if r := read(t, audit.Options{Open: 100}, b.String()); r.Forgotten != 900 {
		t.Errorf("%d were forgotten", r.Forgotten)
	}
}

// TestSince counts from a moment on.
func TestSince(t *testing.T) {
	log := sample(t, "postfix")
	all := read(t, audit.Options{Domains: []string{"example.net"}}, log)
	later := strings.ReplaceAll(log, "Nov 22 ", "Nov 21 ")
	r := read(t, audit.Options{Domains: []string{"example.net"}, Since: parseWall(t, "2026-11-22")}, later, log)
	if summary(r) != summary(all) {
		t.Errorf("%s; want %s", summary(r), summary(all))
	}
}

func parseWall(t *testing.T, day string) int64 {
	t.Helper()
	at, err := time.Parse("2006-01-02", day)
	if err != nil {
		t.Fatal(err)
	}
	return at.Unix()
}

func TestNoMail(t *testing.T) {
	r := read(t, audit.Options{}, "hello\nworld\n\x00\xff\n")
	if r.Lines.NotUnderstood != 3 || r.Lines.Used != 0 || len(r.Next) != 1 || r.Share != 0 {
		t.Errorf("%+v", r)
	}
}
