package audit_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"backstop/internal/audit"
)

const at = "Nov 22 14:00:00 mx1 "

// through is a message in the log of Postfix.
func through(id, client, from, to, relay, status string) string {
	return at + "postfix/smtpd[1]: " + id + ": client=" + client + "\n" +
		at + "postfix/qmgr[1]: " + id + ": from=<" + from + ">, size=1, nrcpt=1 (queue active)\n" +
		at + "postfix/smtp[1]: " + id + ": to=<" + to + ">, relay=" + relay + ", delay=1, delays=0/0/0/1, dsn=" + status + "\n"
}

const sent = "2.0.0, status=sent (250 ok)"

// TestOwnDomains: what shows that a domain is the server's own, and what does not.
func TestOwnDomains(t *testing.T) {
	var strangers, smarthost, gateway, users strings.Builder
	for i := range 20 {
		users.WriteString(through(fmt.Sprintf("4A%05d", i), "pc[10.0.0.9]", "bob@example.com", fmt.Sprintf("ann@d%d.test", i), "smarthost[10.0.0.2]:25", sent))
		smarthost.WriteString(at + fmt.Sprintf("postfix/bounce[1]: 4X%05d: sender non-delivery notification: 4B%05d\n", i, i))
		smarthost.WriteString(at + fmt.Sprintf("postfix/qmgr[1]: 4B%05d: from=<>, size=1, nrcpt=1 (queue active)\n", i))
		smarthost.WriteString(at + fmt.Sprintf("postfix/smtp[1]: 4B%05d: to=<ann@d%d.test>, relay=smarthost[10.0.0.2]:25, delay=1, dsn=%s\n", i, i, sent))
		gateway.WriteString(through(fmt.Sprintf("4C%05d", i), fmt.Sprintf("x[192.0.2.%d]", i), "ann@example.org", "bob@hosted.example", "far.example[203.0.113.5]:25", sent))
		strangers.WriteString(through(fmt.Sprintf("4D%05d", i), "customer[192.0.2.200]", "bob@customer.example", "ann@big.example", fmt.Sprintf("mx%d.big.example[203.0.113.%d]:25", i, i+50), sent))
	}
	for name, c := range map[string]struct {
		log  string
		want []string
	}{
		"a stranger, and near":          {through("4A00001", "x[192.0.2.1]", "ann@example.org", "bob@example.com", "store[10.0.0.5]:25", sent), []string{"example.com"}},
		"a user, by the smarthost":      {users.String() + smarthost.String(), nil},
		"many strangers, far away":      {gateway.String(), []string{"hosted.example"}},
		"a customer without login":      {strangers.String(), nil},
		"a user who logged in":          {through("4A00001", "x[192.0.2.1], sasl_method=PLAIN, sasl_username=bob", "bob@example.com", "ann@example.org", "mx[203.0.113.5]:25", sent), nil},
		"refused as unknown":            {at + "postfix/smtpd[1]: NOQUEUE: reject: RCPT from x[192.0.2.1]: 550 5.1.1 <no@example.com>: Recipient address rejected: User unknown in local recipient table; from=<a@example.org> to=<no@example.com>\n", []string{"example.com"}},
		"a filter, of mail that leaves": {at + "postfix/lmtp[1]: 4A00001: to=<ann@example.org>, relay=127.0.0.1[127.0.0.1]:10024, delay=1, dsn=2.0.0, status=sent (250 2.0.0 from MTA(smtp:[127.0.0.1]:10025): 250 2.0.0 Ok: queued as 4A00002)\n", nil},
		"exim's mailbox":                {"2026-11-22 14:00:00 1abcde-0001AB-Cd => bob <bob@example.com> R=localuser T=local_delivery\n", []string{"example.com"}},
	} {
		if got := read(t, audit.Options{}, c.log).Own; !slices.Equal(got, c.want) && len(got)+len(c.want) > 0 {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
	r := read(t, audit.Options{}, users.String()+smarthost.String())
	if r.Backscatter != 20 || r.Causes[0].Name != "not-said" {
		t.Errorf("by the smarthost: %s", summary(r))
	}
}

// TestFilter: behind a filter a message has another queue id, and comes from this machine. It is a stranger's still.
func TestFilter(t *testing.T) {
	log := through("4A00001", "x[192.0.2.1]", "ann@example.org", "nobody@example.com", "127.0.0.1[127.0.0.1]:10024", "2.0.0, status=sent (250 2.0.0 from MTA(smtp:[127.0.0.1]:10025): 250 2.0.0 Ok: queued as 4A00002)") +
		through("4A00002", "localhost[127.0.0.1]", "ann@example.org", "nobody@example.com", "store[10.0.0.5]:25", "5.1.1, status=bounced (host store[10.0.0.5] said: 550 5.1.1 who? (in reply to RCPT TO command))") +
		at + "postfix/bounce[1]: 4A00002: sender non-delivery notification: 4A00003\n" +
		at + "postfix/qmgr[1]: 4A00003: from=<>, size=1, nrcpt=1 (queue active)\n" +
		at + "postfix/smtp[1]: 4A00003: to=<ann@example.org>, relay=mx[203.0.113.5]:25, delay=1, dsn=" + sent + "\n"
	r := read(t, audit.Options{}, log)
	if got := summary(r); !strings.HasPrefix(got, "written 1 left 1 strangers 1/1") || !slices.Equal(r.Own, []string{"example.com"}) || r.AtRcpt != 1 {
		t.Errorf("%s %v", got, r.Own)
	}
}

// TestNotBounces: what Exim's programs answer, what expires, what Sendmail tells the postmaster.
func TestNotBounces(t *testing.T) {
	for name, c := range map[string]struct{ log, want string }{
		"a holiday": {`2026-11-22 14:00:00 1abcde-0001AB-Cd <= ann@example.org H=x [192.0.2.1] P=esmtp S=1
2026-11-22 14:00:00 1abcdf-0001AB-Cd <= <> R=1abcde-0001AB-Cd U=bob P=local S=1
2026-11-22 14:00:00 1abcde-0001AB-Cd => bob <bob@example.com> R=vacation T=reply
2026-11-22 14:00:00 1abcde-0001AB-Cd Completed
2026-11-22 14:00:01 1abcdf-0001AB-Cd => ann@example.org R=dnslookup T=smtp H=mx [203.0.113.5]
2026-11-22 14:00:01 1abcdf-0001AB-Cd Completed
`, "written 0 left 0 strangers 0/0 own 0 programs 1 postmaster 0 []"},
		"too late": {through("4A00001", "x[192.0.2.1]", "ann@example.org", "bob@example.com", "store[10.0.0.5]:25", "4.4.1, status=deferred (connect: timed out)") +
			at + "postfix/qmgr[1]: 4A00001: from=<ann@example.org>, status=expired, returned to sender\n" +
			at + "postfix/bounce[1]: 4A00001: sender non-delivery notification: 4A00003\n" +
			at + "postfix/smtp[1]: 4A00003: to=<ann@example.org>, relay=mx[203.0.113.5]:25, delay=1, dsn=" + sent + "\n",
			"written 1 left 1 strangers 1/1 own 0 programs 0 postmaster 0 [{too-late 1}]"},
		"the postmaster": {at + "sm-mta[1]: 6AMEYusa032522: 6AMEYusa032523: postmaster notify: User unknown\n" +
			at + "sm-mta[1]: 6AMEYusa032523: to=postmaster, delay=00:00:00, mailer=local, pri=1, dsn=2.0.0, stat=Sent\n", "written 0 left 0 strangers 0/0 own 0 programs 0 postmaster 1 []"},
	} {
		r := read(t, audit.Options{}, c.log)
		got := fmt.Sprintf("written %d left %d strangers %d/%d own %d programs %d postmaster %d %v", r.Written, r.Left, r.Backscatter, r.Strangers, r.OwnUsers, r.Programs, r.Postmaster, r.Causes)
		if got != c.want {
			t.Errorf("%s: %s\nwant %s", name, got, c.want)
		}
	}
}

// TestManyStrangers: behind a million their number is an estimate, within 2 %, and is said to be one.
func TestManyStrangers(t *testing.T) {
	const n = 1_200_000
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, at+"postfix/bounce[1]: 4X00001: sender non-delivery notification: 4B%07d\n", i)
		fmt.Fprintf(&b, at+"postfix/smtp[1]: 4B%07d: to=<ann%d@example.org>, relay=mx[203.0.113.5]:25, delay=1, dsn=%s\n", i, i, sent)
		fmt.Fprintf(&b, at+"postfix/qmgr[1]: 4B%07d: removed\n", i)
	}
	r := read(t, audit.Options{Domains: []string{"example.com"}}, b.String())
	if r.Backscatter != n || !r.About || r.Strangers < n*98/100 || r.Strangers > n*102/100 {
		t.Errorf("%s, estimated %v", summary(r), r.About)
	}
}
