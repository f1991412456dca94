package audit_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

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

// flood are letters that the store of own.test refuses, and their bounces to the senders by a relay.
func flood(n int, sender func(int) string, relay string) string {
	var b strings.Builder
	for i := range n {
		id, bounce := fmt.Sprintf("4E%05d", i), fmt.Sprintf("4F%05d", i)
		b.WriteString(through(id, fmt.Sprintf("x[198.51.100.%d]", i%250), sender(i), "nobody@own.test", "store[10.0.0.5]:25", "5.1.1, status=bounced (host store[10.0.0.5] said: 550 5.1.1 who? (in reply to RCPT TO command))"))
		b.WriteString(at + "postfix/bounce[1]: " + id + ": sender non-delivery notification: " + bounce + "\n")
		b.WriteString(at + "postfix/qmgr[1]: " + bounce + ": from=<>, size=1, nrcpt=1 (queue active)\n")
		b.WriteString(at + "postfix/smtp[1]: " + bounce + ": to=<" + sender(i) + ">, relay=" + relay + ", delay=1, dsn=" + sent + "\n")
	}
	return b.String()
}

// TestNotOwnDomains: what must not make a domain the server's own, as bounces to it would not be seen any more.
func TestNotOwnDomains(t *testing.T) {
	two := func(i int) string { return fmt.Sprintf("f%d@%s", i, []string{"big.example", "huge.example"}[i%2]) }
	gone := "mx.big.example[203.0.113.5]:25"
	var smarthost, amavis strings.Builder
	for i := range 20 {
		smarthost.WriteString(through(fmt.Sprintf("4A%05d", i), "pc[10.0.0.77], sasl_method=PLAIN, sasl_username=ann", "ann@own.test", fmt.Sprintf("p%d@%s.example", i, []string{"big", "huge", "bank", "shop"}[i%4]),
			"smart[10.0.0.9]:25", "2.0.0, status=sent (250 OK id=1abcde-000001-AB)"))
		in, out := fmt.Sprintf("4B%05d", i), fmt.Sprintf("4C%05d", i)
		amavis.WriteString(strings.Replace(through(in, fmt.Sprintf("x[198.51.100.%d]", i), two(i), "ann@big.example", "127.0.0.1[127.0.0.1]:10024", "2.0.0, status=sent (250 2.0.0 from MTA(smtp:[127.0.0.1]:10025): 250 2.0.0 Ok: queued as "+out+")"),
			", relay=", ", orig_to=<ann@own.test>, relay=", 1) + through(out, "localhost[127.0.0.1]", two(i), "ann@big.example", gone, sent))
	}
	const eximAt = "2026-11-22 14:00:00 "
	for name, log := range map[string]string{
		"a smarthost that says no queue id": smarthost.String() + flood(20, two, "smart[10.0.0.9]:25"),
		"a filter by pipe, of a user's mail": strings.Replace(through("4A00001", "pc[10.0.0.7], sasl_method=PLAIN, sasl_username=ann", "ann@own.test", "p@big.example", "spamassassin", "2.0.0, status=sent (delivered via spamassassin service)"),
			"postfix/smtp[", "postfix/pipe[", 1) + flood(20, two, gone),
		"a filter behind aliases": amavis.String() + flood(20, two, gone),
		"a filter that is down":   at + "postfix/lmtp[1]: 4A00001: to=<p@big.example>, relay=none, delay=1, dsn=4.4.1, status=deferred (connect to 127.0.0.1[127.0.0.1]:10024: refused)\n" + flood(20, two, gone),
		"a refusal of a user":     eximAt + "H=pc [10.0.0.7] F=<ann@own.test> rejected RCPT <bob@big.example>: Unrouteable address\n" + flood(20, two, gone),
		"what Exim puts off":      eximAt + "1abcde-0001AB-Cd == bob@big.example R=dnslookup T=remote_smtp defer (-53): retry time not reached for any host\n" + flood(20, two, gone),
		"what Exim gives up":      eximAt + "1abcde-0001AB-Cd ** bob@big.example R=dnslookup T=remote_smtp: retry timeout exceeded\n" + flood(20, two, gone),
	} {
		if r := read(t, audit.Options{}, log); r.Backscatter != 20 || !slices.Equal(r.Own, []string{"own.test"}) {
			t.Errorf("%s: own %v, %s", name, r.Own, summary(r))
		}
	}
	relay := strings.Replace(through("4A00001", "proxy[10.0.0.1]", "ann@example.org", "bob@own.test", "far.example[203.0.113.9]:25", sent), "postfix/smtp[", "postfix/relay/smtp[", 1)
	if r := read(t, audit.Options{}, relay); !slices.Equal(r.Own, []string{"own.test"}) {
		t.Errorf("relayed to a far store: %v", r.Own)
	}
	var proxied strings.Builder
	for i := range 8 {
		proxied.WriteString(through(fmt.Sprintf("4A%05d", i), "proxy[10.0.0.1]", fmt.Sprintf("ann@d%d.test", i), "bob@own.test", "store[10.0.0.5]:25", sent))
	}
	if r := read(t, audit.Options{}, proxied.String()); !slices.Equal(r.Own, []string{"own.test"}) {
		t.Errorf("behind a proxy: %v", r.Own)
	}
}

// TestForwarded: a server of others refuses what was forwarded to it. It is no store of ours, and no Backstop asks it.
func TestForwarded(t *testing.T) {
	own := through("4A00009", "x[192.0.2.1]", "ann@example.org", "bob@own.test", "store[10.0.0.5]:25", sent)
	postfix := own + strings.Replace(through("4A00001", "x[192.0.2.1]", "ann@example.org", "gone@big.example", "mx.big.example[203.0.113.5]:25",
		"5.1.1, status=bounced (host mx.big.example[203.0.113.5] said: 550-5.1.1 does not exist (in reply to RCPT TO command))"), ", relay=", ", orig_to=<ann@own.test>, relay=", 1) +
		at + "postfix/bounce[1]: 4A00001: sender non-delivery notification: 4A00003\n" +
		at + "postfix/smtp[1]: 4A00003: to=<ann@example.org>, relay=mx[203.0.113.9]:25, delay=1, dsn=" + sent + "\n"
	exim := own + `2026-11-22 14:00:00 1abcde-0001AB-Cd <= ann@example.org H=x [192.0.2.1] P=esmtp S=1
2026-11-22 14:00:00 1abcde-0001AB-Cd ** gone@big.example <ann@own.test> R=dnslookup T=remote_smtp H=mx.big.example [203.0.113.5]: SMTP error from remote mail server after RCPT TO:<gone@big.example>: 550-5.1.1 does not exist
2026-11-22 14:00:00 1abcdf-0001AB-Cd <= <> R=1abcde-0001AB-Cd U=exim P=local S=1
2026-11-22 14:00:01 1abcdf-0001AB-Cd => ann@example.org R=dnslookup T=smtp H=mx [203.0.113.5]
`
	for name, log := range map[string]string{"postfix": postfix, "exim": exim} {
		for _, o := range []audit.Options{{}, {Domains: []string{"own.test", "big.example"}}} {
			r := read(t, o, log)
			if got := summary(r); !strings.HasSuffix(got, "rcpt 0 data 0 rest 1 map[elsewhere:1]") || r.Hosts[0].Inner || strings.Contains(strings.Join(r.Next, "\n"), "203.0.113.5") {
				t.Errorf("%s: %s %+v\n%s", name, got, r.Hosts, r.Next)
			}
		}
	}
}

// TestVacationAndBounce: Exim writes one bounce about what failed, whatever a program answers to the same message.
func TestVacationAndBounce(t *testing.T) {
	const came, answer, failed, bounce, gone = `2026-11-22 14:00:00 1abcde-0001AB-Cd <= f@example.org H=x [192.0.2.1] P=esmtp S=1
`, `2026-11-22 14:00:01 1abcdg-0001AB-Cd <= <> R=1abcde-0001AB-Cd U=exim P=local S=9
`, `2026-11-22 14:00:01 1abcde-0001AB-Cd ** nob@own.test R=local T=lmtp H=store [10.0.0.5]: LMTP error from remote mail server after RCPT TO:<nob@own.test>: 550 5.1.1 no such user
`, `2026-11-22 14:00:01 1abcdf-0001AB-Cd <= <> R=1abcde-0001AB-Cd U=exim P=local S=9
`, `2026-11-22 14:00:02 1abcdg-0001AB-Cd => f@example.org R=dnslookup T=smtp H=mx [203.0.113.5]
2026-11-22 14:00:02 1abcdf-0001AB-Cd => f@example.org R=dnslookup T=smtp H=mx [203.0.113.5]
`
	for name, log := range map[string]string{
		"the answer first": came + answer + failed + bounce + gone, "the answer behind": came + failed + bounce + answer + gone, "mixed": came + bounce + answer + failed + gone,
	} {
		if r := read(t, audit.Options{}, log); r.Backscatter != 1 || r.Programs != 1 || r.AtRcpt != 1 {
			t.Errorf("%s: %s, programs %d", name, summary(r), r.Programs)
		}
	}
	again := strings.NewReplacer("nob@", "late@", "1abcdf", "1abcdh").Replace(failed + bounce + gone[strings.Index(gone, "\n")+1:])
	if r := read(t, audit.Options{}, came+failed+bounce+gone+again); r.Backscatter != 2 {
		t.Errorf("two recipients fail one after another: %s", summary(r))
	}
}

// TestManyHandovers: bounces of one server that another hands on, of which the logs are read one after another.
func TestManyHandovers(t *testing.T) {
	const n = 40_000
	var first, second strings.Builder
	for i := range n {
		fmt.Fprintf(&first, at+"postfix/bounce[1]: 4X00001: sender non-delivery notification: 4B%07d\n", i)
		fmt.Fprintf(&first, at+"postfix/qmgr[1]: 4B%07d: from=<>, size=1, nrcpt=1 (queue active)\n", i)
		fmt.Fprintf(&first, at+"postfix/smtp[1]: 4B%07d: to=<ann%d@example.org>, relay=b[10.0.0.2]:25, delay=1, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as 4C%07d)\n", i, i, i)
		fmt.Fprintf(&first, at+"postfix/qmgr[1]: 4B%07d: removed\n", i)
		fmt.Fprintf(&second, "Nov 22 14:00:01 mx2 postfix/smtpd[1]: 4C%07d: client=mx1[10.0.0.1]\n", i)
		fmt.Fprintf(&second, "Nov 22 14:00:01 mx2 postfix/qmgr[1]: 4C%07d: from=<>, size=1, nrcpt=1 (queue active)\n", i)
		fmt.Fprintf(&second, "Nov 22 14:00:01 mx2 postfix/smtp[1]: 4C%07d: to=<ann%d@example.org>, relay=mx[203.0.113.5]:25, delay=1, dsn=%s\n", i, i, sent)
		fmt.Fprintf(&second, "Nov 22 14:00:01 mx2 postfix/qmgr[1]: 4C%07d: removed\n", i)
	}
	o := audit.Options{Domains: []string{"example.com"}}
	for name, logs := range map[string][]string{"in order": {first.String(), second.String()}, "backwards": {second.String(), first.String()}} {
		if r := read(t, o, logs...); r.Backscatter != n || r.Again != n || r.Relayed != 0 || r.Unjoined != 0 {
			t.Errorf("%s: %s, %d not joined", name, summary(r), r.Unjoined)
		}
	}
	if r := read(t, o, strings.Repeat(first.String(), 1), renumber(first.String(), 7), "x\n"); r.Unjoined != 0 {
		t.Errorf("%d not joined, where there was room", r.Unjoined)
	}
	var logs []string
	for i := range 8 {
		logs = append(logs, renumber(first.String(), i))
	}
	if r := read(t, o, logs...); r.Unjoined != 8*n-1<<18 {
		t.Errorf("%d not joined, of %d for which there was room", r.Unjoined, 1<<18)
	}
}

// renumber gives messages other ids.
func renumber(log string, i int) string {
	return strings.NewReplacer("4B", fmt.Sprintf("4B%d", i), "4C", fmt.Sprintf("4C%d", i)).Replace(log)
}

// TestNames: what strangers wrote into a log neither moves a cursor, nor is run by a shell, nor fills the memory.
func TestNames(t *testing.T) {
	long := strings.Repeat("a", 300) + ".test"
	for _, bad := range []string{"own$(id).test", "own\x1b[31m.test", "own\u009b31m.test", "own\xff.test", "own\u202e.test", "-o.test", long} {
		log := strings.ReplaceAll(flood(3, func(i int) string { return "ann@" + bad }, "mx.s[198.51.100.9]:25"), "own.test", bad+"x")
		log = strings.ReplaceAll(log, "store[10.0.0.5]", "st$(id)\x1b\u009bore[10.0.0.5]")
		log = strings.ReplaceAll(log, "from=<ann@", "from=<ann@victim.")
		log = strings.ReplaceAll(log, "to=<ann@", "to=<ann@victim.")
		r := read(t, audit.Options{}, log)
		if r.Backscatter != 3 {
			t.Errorf("%q: %s", bad, summary(r))
		}
		commands := strings.Join(r.Next, "\n")
		if strings.ContainsAny(commands, "$\x1b") || !strings.Contains(commands, "--domain example.com") {
			t.Errorf("%q: %s", bad, commands)
		}
		for _, name := range append(append([]string{r.Hosts[0].Name, r.Receivers[0].Name}, r.Own...), r.For[0].Name) {
			if strings.ContainsAny(name, "\x1b\u009b\u202e") || !utf8.ValidString(name) || len(name) > 255 {
				t.Errorf("%q", name)
			}
		}
		if bad == long && r.Receivers[0].Name != "(others)" {
			t.Errorf("%q", r.Receivers[0].Name)
		}
	}
	var s audit.Samples
	s.Add([]byte("what \x1b\u009bis"))
	if got := s.List(1)[0].Line; got != "what ??is" {
		t.Errorf("%q", got)
	}
}

// TestOutward: null senders of a server behind this one, and of programs here, that went to strangers are told apart, with what to do.
func TestOutward(t *testing.T) {
	own := through("4A00009", "x[192.0.2.1]", "ann@example.org", "bob@own.test", "store[10.0.0.5]:25", sent)
	inner := own + through("4A00001", "exchange[10.0.0.5]", "", "ann@example.org", "mx[203.0.113.9]:25", sent) +
		through("4A00002", "exchange[10.0.0.5]", "", "bob@own.test", "store[10.0.0.6]:25", sent) + through("4A00003", "x[192.0.2.1]", "", "ann@example.org", "mx[203.0.113.9]:25", sent)
	r := read(t, audit.Options{}, inner)
	if r.Inner != 1 || r.Relayed != 2 || len(r.Insiders) != 1 || r.Insiders[0].Name != "10.0.0.5" || !strings.HasPrefix(r.Next[0], "1 message with the null sender went from 10.0.0.5 to strangers") {
		t.Errorf("%s, for inner %d %v\n%s", summary(r), r.Inner, r.Insiders, r.Next)
	}
	vacation := own + at + "postfix/pickup[1]: 4A00001: uid=1000 from=<>\n" + through("4A00001", "", "", "ann@example.org", "mx[203.0.113.9]:25", sent)
	vacation = strings.Replace(vacation, at+"postfix/smtpd[1]: 4A00001: client=\n", "", 1)
	if r := read(t, audit.Options{}, vacation); r.Programs != 1 || r.Answers != 1 || !strings.HasPrefix(r.Next[0], "1 message with the null sender went from a program here to strangers") {
		t.Errorf("%s, programs %d, to strangers %d\n%s", summary(r), r.Programs, r.Answers, r.Next)
	}
}

// TestCannotTell: without an own domain nothing is said of what would have been refused at RCPT, and nobody is a server of others.
func TestCannotTell(t *testing.T) {
	log := at + "postfix/smtp[1]: 4A00001: to=<nobody@example.com>, relay=far[203.0.113.5]:25, delay=1, dsn=5.1.1, status=bounced (no such user)\n" +
		at + "postfix/bounce[1]: 4A00001: sender non-delivery notification: 4A00003\n" +
		at + "postfix/smtp[1]: 4A00003: to=<ann@example.org>, relay=mx[203.0.113.9]:25, delay=1, dsn=" + sent + "\n"
	if r := read(t, audit.Options{}, log); r.OwnKnown || r.Causes[0].Name != "unknown-user" || !strings.HasPrefix(r.Next[0], "name all your domains") {
		t.Errorf("%s %v\n%s", summary(r), r.Own, r.Next)
	}
	if r := read(t, audit.Options{Domains: []string{"example.com"}}, log); !r.OwnKnown || r.AtRcpt != 1 {
		t.Errorf("%s", summary(r))
	}
	if r := read(t, audit.Options{Since: 1 << 40}, log); !r.Ends || len(r.Next) != 1 {
		t.Errorf("%v %s", r.Ends, r.Next)
	}
}

// TestExchangeStore: Exchange is asked where it tells who exists.
func TestExchangeStore(t *testing.T) {
	log := strings.ReplaceAll(sample(t, "exchange"), "\r", "")
	r := read(t, audit.Options{}, log)
	for _, step := range r.Next {
		if strings.Contains(step, "backstop scan smtp://") && !strings.Contains(step, ":2525 ") {
			t.Error(step)
		}
	}
}
