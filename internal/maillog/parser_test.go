package maillog

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

var kindNames = map[Kind]string{
	NotUnderstood: "?", Elsewhere: "elsewhere", Nothing: "nothing", Received: "received", Sender: "sender", Envelope: "envelope",
	Delivered: "delivered", Failed: "failed", Deferred: "deferred", Bounce: "bounce", Delay: "delay", Success: "success", Postmaster: "postmaster",
	Passed: "passed", Expired: "expired", Ended: "ended", Refused: "refused", Session: "session", Header: "header",
}

// render writes an event down, without what is empty.
func render(e *Event) string {
	s := kindNames[e.Kind]
	for _, f := range []struct {
		name  string
		value []byte
	}{
		{"id", e.ID}, {"other", e.Other}, {"to", e.To}, {"accepted", e.Accepted}, {"peer", e.Peer}, {"host", e.Host}, {"addr", e.Addr}, {"port", e.Port}, {"via", e.Via}, {"dsn", e.DSN}, {"text", e.Text},
	} {
		if len(f.value) > 0 {
			s += " " + f.name + "=" + string(f.value)
		}
	}
	if e.HasFrom {
		s += " from=<" + string(e.From) + ">"
	}
	if e.Client > 0 {
		s += " client=" + []string{"", "outside", "inside", "local", "self"}[e.Client]
	}
	if e.Count > 0 {
		s += fmt.Sprint(" n=", e.Count)
	}
	if e.Local {
		s += " local"
	}
	if e.Dropped {
		s += " dropped"
	}
	if e.Stage > 0 {
		s += " at=" + []string{"", "rcpt", "data", "other"}[e.Stage]
	}
	return s
}

// someday is when the logs of these tests were last written to.
var someday = time.Date(2026, 11, 22, 15, 0, 0, 0, time.UTC)

func parse(lines ...string) Event {
	p := NewParser(time.UTC, someday)
	var e Event
	for _, l := range lines {
		p.Parse([]byte(l), &e)
	}
	return e
}

const postfixAt, eximAt, sendmailAt, smtpdAt = "Nov 22 14:00:00 mx1 postfix/", "2026-11-22 14:00:00 ", "Nov 22 14:00:00 mx1 sm-mta[7]: ", "Nov 22 14:00:00 mx1 smtpd[7]: "

var lines = []struct{ line, want string }{
	{postfixAt + "submission/smtpd[1]: 3F: client=x[1.2.3.4]", "nothing"},
	{postfixAt + "submission/smtpd[1]: 4bXyz12345: client=x[192.0.2.1], sasl_method=PLAIN, sasl_username=ann", "received id=4bXyz12345 peer=192.0.2.1 client=inside"},
	{postfixAt + "smtpd[1]: 4bXyz12345: client=unknown[2001:db8::1]", "received id=4bXyz12345 peer=2001:db8::1 client=outside"},
	{postfixAt + "pickup[1]: 4bXyz12345: uid=0 from=<root>", "received id=4bXyz12345 client=local"},
	{postfixAt + "qmgr[1]: 4bXyz12345: from=<>, size=7, nrcpt=2 (queue active)", "sender id=4bXyz12345 from=<> n=2"},
	{postfixAt + "qmgr[1]: 4bXyz12345: from=<a@example.com>, status=expired, returned to sender", "expired id=4bXyz12345 from=<a@example.com>"},
	{postfixAt + `smtp[1]: 4bXyz12345: to=<"a, b> c"@example.com>, orig_to=<bob@example.net>, relay=none, delay=1, delays=0/0/0/1, dsn=5.4.4, status=bounced (Host or domain name not found)`,
		`failed id=4bXyz12345 to="a, b> c"@example.com accepted=bob@example.net via=smtp dsn=5.4.4 text=Host or domain name not found`},
	{postfixAt + "local[1]: 4bXyz12345: to=<a@example.com>, relay=local, delay=1, dsn=2.0.0, status=sent (forwarded as 4bXyz12346)",
		"passed id=4bXyz12345 other=4bXyz12346 to=a@example.com host=local via=local dsn=2.0.0 text=forwarded as 4bXyz12346 local"},
	{postfixAt + "smtp-amavis/smtp[1]: 4bXyz12345: to=<a@example.com>, relay=127.0.0.1[127.0.0.1]:10024, delay=1, dsn=2.0.0, status=sent (250 2.0.0 from MTA(smtp:[127.0.0.1]:10025): 250 2.0.0 Ok: queued as 4bXyz12346)",
		"delivered id=4bXyz12345 other=4bXyz12346 to=a@example.com host=127.0.0.1 addr=127.0.0.1 port=10024 via=smtp dsn=2.0.0 text=250 2.0.0 from MTA(smtp:[127.0.0.1]:10025): 250 2.0.0 Ok: queued as 4bXyz12346"},
	{postfixAt + "discard[1]: 4bXyz12345: to=<a@example.com>, relay=none, delay=1, dsn=2.0.0, status=sent (example.com)",
		"delivered id=4bXyz12345 to=a@example.com via=discard dsn=2.0.0 text=example.com dropped"},
	{postfixAt + "smtp[1]: 4bXyz12345: to=<a@example.com", "? id=4bXyz12345"},
	{postfixAt + "smtp[1]: 4bXyz12345: to=<probe@example.com>, relay=x[192.0.2.1]:25, dsn=5.1.1, status=undeliverable (no)", "nothing id=4bXyz12345 to=probe@example.com host=x addr=192.0.2.1 port=25 via=smtp dsn=5.1.1 text=no"},
	{postfixAt + "bounce[1]: 4bXyz12345: postmaster non-delivery notification: 4bXyz12346", "postmaster id=4bXyz12345 other=4bXyz12346"},
	{postfixAt + "bounce[1]: 4bXyz12345: sender delivery status notification: 4bXyz12346", "success id=4bXyz12345 other=4bXyz12346"},
	{postfixAt + "smtpd[1]: NOQUEUE: reject: RCPT from x[192.0.2.1]: 550 5.1.1 <no@example.com>: Recipient address rejected: User unknown in relay recipient table; from=<a@example.org> to=<no@example.com> proto=ESMTP helo=<x>", "refused to=no@example.com peer=192.0.2.1 client=outside"},
	{postfixAt + "smtpd[1]: NOQUEUE: reject: RCPT from x[192.0.2.1]: 554 5.7.1 <no@example.com>: Relay access denied; from=<a@example.org> to=<no@example.com>", "nothing"},
	{postfixAt + "pipe[1]: 4bXyz12345: to=<a@example.com>, relay=spamassassin, delay=1, dsn=2.0.0, status=sent (delivered via spamassassin service)",
		"delivered id=4bXyz12345 to=a@example.com host=spamassassin via=pipe dsn=2.0.0 text=delivered via spamassassin service"},
	{postfixAt + "lmtp[1]: 4bXyz12345: to=<a@example.com>, relay=none, delay=1, dsn=4.4.1, status=deferred (connect to 127.0.0.1[127.0.0.1]:10024: refused)",
		"deferred id=4bXyz12345 to=a@example.com via=lmtp dsn=4.4.1 text=connect to 127.0.0.1[127.0.0.1]:10024: refused"},
	{postfixAt + "relay/smtp[1]: 4bXyz12345: to=<a@example.com>, relay=s[192.0.2.1]:25, delay=1, dsn=2.0.0, status=sent (ok)",
		"delivered id=4bXyz12345 to=a@example.com host=s addr=192.0.2.1 port=25 via=relay dsn=2.0.0 text=ok"},
	{postfixAt + "anvil[1]: statistics: max connection rate 1/60s for (smtp:192.0.2.1)", "nothing"},
	{"Nov 22 14:00:00 mx1 kernel: something", "elsewhere"},
	{"Nov 22 14:00:00 mx1 last message repeated 2 times", "elsewhere"},
	{"Nov 22 14:00", "?"}, {"nonsense", "?"}, {"", "nothing"}, {"Foo 22 14:00:00 mx1 postfix/qmgr[1]: 4bXyz12345: removed", "?"}, {"Nov 22 25:00:00 mx1 x: y", "?"},
	{eximAt + `1abcde-0001AB-Cd <= "a b"@example.com H=mail.example.com (helo [10.0.0.1]) [192.0.2.1] P=esmtps X=TLS1.3:x:256 S=99 id=x@y T="R=1abcde-0001AB-Ce H=x [1.2.3.4]"`, `received id=1abcde-0001AB-Cd peer=192.0.2.1 from=<"a b"@example.com> client=outside`},
	{eximAt + "1abcde-0001AB-Cd <= ann@example.com H=x [192.0.2.1]:4711 P=esmtpsa A=plain:ann S=99", "received id=1abcde-0001AB-Cd peer=192.0.2.1 from=<ann@example.com> client=inside"},
	{eximAt + "1abcde-0001AB-Cd <= <> R=1abcde-0001AB-Ce U=Debian-exim P=local S=99", "received id=1abcde-0001AB-Cd other=1abcde-0001AB-Ce from=<> client=self"},
	{"2026-11-22 14:00:00.123 +0000 [77] 1abcde-000000001AB-Cdef <= <> R=1abcde-000000001AA-Cdef U=x P=local S=99", "received id=1abcde-000000001AB-Cdef other=1abcde-000000001AA-Cdef from=<> client=self"},
	{eximAt + "1abcde-0001AB-Cd <= bob U=bob P=local S=99", "received id=1abcde-0001AB-Cd from=<bob> client=local"},
	{eximAt + "1abcde-0001AB-Cd => ann <ann@example.com> R=local_user T=maildir_home", "delivered id=1abcde-0001AB-Cd to=ann accepted=ann@example.com via=maildir_home local"},
	{eximAt + "1abcde-0001AB-Cd => /dev/null (ann@example.com) <ann@example.com> R=x T=address_file", "delivered id=1abcde-0001AB-Cd to=ann@example.com accepted=ann@example.com via=address_file local"},
	{eximAt + `1abcde-0001AB-Cd -> ann@example.org R=dnslookup T=remote_smtp H=mx.example.org [2001:db8::5] X=TLS1.3 C="250 OK id=1abcde-0001AB-Ce"`, `delivered id=1abcde-0001AB-Cd other=1abcde-0001AB-Ce to=ann@example.org host=mx.example.org addr=2001:db8::5 via=remote_smtp text=250 OK id=1abcde-0001AB-Ce`},
	{eximAt + "1abcde-0001AB-Cd ** no@example.com R=hub T=smtp H=store [10.0.0.5]: SMTP error from remote mail server after pipelined RCPT TO:<no@example.com>: 550 5.1.1 gone", "failed id=1abcde-0001AB-Cd to=no@example.com host=store addr=10.0.0.5 via=smtp text=SMTP error from remote mail server after pipelined RCPT TO:<no@example.com>: 550 5.1.1 gone at=rcpt"},
	{eximAt + "1abcde-0001AB-Cd ** no@example.com: Unrouteable address", "failed id=1abcde-0001AB-Cd to=no@example.com text=Unrouteable address"},
	{eximAt + "1abcde-0001AB-Cd Completed QT=1s", "ended id=1abcde-0001AB-Cd"},
	{eximAt + "H=x [192.0.2.1] F=<a@example.org> rejected RCPT <no@example.com>: Unrouteable address", "refused to=no@example.com peer=192.0.2.1 client=outside"},
	{eximAt + "H=pc (x) [10.0.0.7] F=<a@example.org> rejected RCPT <no@example.com>: Unrouteable address", "refused to=no@example.com peer=10.0.0.7 client=inside"},
	{eximAt + "H=pc [192.0.2.1] A=plain:ann F=<a@example.org> rejected RCPT <no@example.com>: Unrouteable address", "refused to=no@example.com peer=192.0.2.1 client=inside"},
	{eximAt + "1abcde-0001AB-Cd == s@example.com R=dnslookup T=remote_smtp defer (-53): retry time not reached for any host", "deferred id=1abcde-0001AB-Cd to=s@example.com via=remote_smtp text=retry time not reached for any host"},
	{eximAt + "1abcde-0001AB-Cd ** s@example.com R=dnslookup T=remote_smtp: retry timeout exceeded", "failed id=1abcde-0001AB-Cd to=s@example.com via=remote_smtp text=retry timeout exceeded"},
	{eximAt + "Start queue run: pid=7", "nothing"},
	{sendmailAt + "6AMEYusa032522: from=<>, size=1, class=0, nrcpts=1, msgid=<x@y>, proto=ESMTP, daemon=MTA-v4, relay=mx.example.org [192.0.2.1] (may be forged)", "received id=6AMEYusa032522 peer=192.0.2.1 from=<> client=outside n=1"},
	{sendmailAt + "6AMEYusa032522: from=root, size=1, class=0, nrcpts=1, msgid=<x@y>, relay=root@localhost", "received id=6AMEYusa032522 from=<root> client=local n=1"},
	{sendmailAt + "6AMEYusa032522: to=<a@example.com>,<b@example.com>, ctladdr=<c@example.com> (8/0), delay=00:00:01, mailer=esmtp, pri=1, relay=store.example.com. [10.0.0.5], dsn=2.0.0, stat=Sent (ok, so)",
		"delivered id=6AMEYusa032522 to=<a@example.com>,<b@example.com> accepted=<c@example.com> (8/0) host=store.example.com addr=10.0.0.5 via=esmtp dsn=2.0.0 text=Sent (ok, so)"},
	{sendmailAt + "6AMEYusa032522: to=MAILER-DAEMON, delay=00:00:00, mailer=local, pri=1, dsn=5.1.1, reply=550 5.1.1 User unknown, stat=User unknown", "failed id=6AMEYusa032522 to=MAILER-DAEMON via=local dsn=5.1.1 text=550 5.1.1 User unknown local"},
	{sendmailAt + "6AMEYusa032522: 6AMEYusa032523: DSN: User unknown", "bounce id=6AMEYusa032522 other=6AMEYusa032523 text= User unknown"},
	{sendmailAt + "6AMEYusa032522: 6AMEYusa032523: DSN: Return receipt", "success id=6AMEYusa032522 other=6AMEYusa032523 text= Return receipt"},
	{sendmailAt + "6AMEYusa032522: 6AMEYusa032523: return to sender: User unknown", "bounce id=6AMEYusa032522 other=6AMEYusa032523 text= User unknown"},
	{sendmailAt + "6AMEYusa032522: 6AMEYusa032523: sender notify: Warning: could not send message for past 4 hours", "delay id=6AMEYusa032522 other=6AMEYusa032523 text= Warning: could not send message for past 4 hours"},
	{sendmailAt + "6AMEYusa032522: 6AMEYusa032523: postmaster notify: User unknown", "postmaster id=6AMEYusa032522 other=6AMEYusa032523 text= User unknown"},
	{sendmailAt + "6AMEYusa032522: clone 6AMEYusb032522, owner=owner-list", "passed id=6AMEYusa032522 other=6AMEYusb032522"},
	{sendmailAt + "6AMEYusa032522: <no@example.com>... User unknown", "refused id=6AMEYusa032522 to=no@example.com"},
	{sendmailAt + "6AMEYusa032522: ruleset=check_rcpt, arg1=<no@example.com>, relay=x [192.0.2.1], reject=550 5.1.1 <no@example.com>... User unknown", "refused id=6AMEYusa032522 to=no@example.com"},
	{smtpdAt + "2117896e14075c41 smtp connected address=[2001:db8::1] host=<unknown>", "session id=2117896e14075c41 peer=2001:db8::1 client=outside"},
	{smtpdAt + "2117896e14075c41 smtp authentication user=ann result=ok", "session id=2117896e14075c41 client=inside"},
	{smtpdAt + "2117896e14075c41 smtp message msgid=6012e955 size=291 nrcpt=2 proto=ESMTP", "received id=6012e955 other=2117896e14075c41 n=2"},
	{smtpdAt + "2117896e14075c41 smtp envelope evpid=6012e955e90be49f from=<> to=<a@example.com>", "envelope id=6012e955 other=2117896e14075c41 to=a@example.com from=<>"},
	{smtpdAt + `2117896e14075c41 mda delivery evpid=6012e955e90be49f from=<b@example.org> to=<a@example.com> rcpt=<x@example.com> user=a delay=1s result="Ok" stat="Delivered"`, "delivered id=6012e955 to=a@example.com accepted=x@example.com text=Delivered from=<b@example.org> local"},
	{smtpdAt + `2117896e14075c41 mta delivery evpid=6012e955e90be49f from=<> to=<a@example.com> rcpt=<-> source="-" relay="192.0.2.1 (mx.example.com)" delay=1s result="PermFail" stat="550 no"`, "failed id=6012e955 to=a@example.com host=mx.example.com addr=192.0.2.1 via=- text=550 no from=<>"},
	{smtpdAt + "2117896e14075c41 smtp envelope evpid=60 from=<> to=<a@example.com>", "?"},
}

func TestLines(t *testing.T) {
	for _, l := range lines {
		e := parse(l.line)
		if got := render(&e); got != l.want {
			t.Errorf("%s\n got %s\nwant %s", l.line, got, l.want)
		}
		if e.Kind > Nothing && time.Unix(e.At, 0).UTC().Format(time.DateTime) != "2026-11-22 14:00:00" {
			t.Errorf("%s: at %v", l.line, time.Unix(e.At, 0).UTC())
		}
	}
}

const exchangeFields = "#Fields: date-time,event-id,source,message-id,recipient-address,recipient-status,reference,message-subject,return-path,server-ip,client-ip"

func TestExchangeLines(t *testing.T) {
	for line, want := range map[string]string{
		`2026-11-22T14:00:00.1Z,SEND,SMTP,<a@x>,b@example.com;c@example.com,250 ok,,"one, ""two""",<>,192.0.2.1,`:     "delivered id=a@x to=b@example.com;c@example.com addr=192.0.2.1 via=SMTP text=250 ok from=<>",
		`2026-11-22T14:00:00.1Z,DSN,DSN,<d@x>,b@example.com,,<a@x>,Undeliverable: x,<>,,`:                             "bounce id=a@x other=d@x to=b@example.com from=<>",
		`2026-11-22T14:00:00.1Z,DSN,DSN,<d@x>,b@example.com,,<a@x>,Delayed: x,<>,,`:                                   "delay id=a@x other=d@x to=b@example.com from=<>",
		`2026-11-22T14:00:00.1Z,DSN,DSN,<d@x>,b@example.com,,<a@x>,Relayed: x,<>,,`:                                   "success id=a@x other=d@x to=b@example.com from=<>",
		`2026-11-22T14:00:00.1Z,FAIL,ROUTING,<a@x>,no@example.com,550 5.1.10 RESOLVER.ADR.RecipientNotFound,,x,b@x,,`: "failed id=a@x to=no@example.com via=ROUTING text=550 5.1.10 RESOLVER.ADR.RecipientNotFound from=<b@x> at=rcpt",
		`2026-11-22T14:00:00.1Z,RECEIVE,SMTP,<a@x>,b@example.com,,,x,b@x,10.0.0.1,192.0.2.9`:                          "received id=a@x to=b@example.com peer=192.0.2.9 from=<b@x> client=outside",
		`2026-11-22T14:00:00.1Z,SUBMIT,STOREDRIVER,<a@x>,,,,x,b@x,,`:                                                  "nothing id=a@x from=<b@x>",
		`2026-11-22T14:00:00.1Z`:                                   "?",
		`Nov 22 14:00:00 mx1 postfix/qmgr[1]: 4bXyz12345: removed`: "ended id=4bXyz12345",
	} {
		e := parse("\xef\xbb\xbf#Software: Microsoft Exchange Server", exchangeFields, line)
		if got := render(&e); got != want {
			t.Errorf("%s\n got %s\nwant %s", line, got, want)
		}
	}
}

// TestYears: old timestamps have the latest year that is not in the future, and days turn over.
func TestYears(t *testing.T) {
	for _, c := range []struct{ stamp, written, want string }{
		{"Dec 31 23:59:59", "2026-01-01", "2025-12-31 23:59:59"}, {"Jan  1 00:00:00", "2026-01-01", "2026-01-01 00:00:00"}, {"Nov 23 01:00:00", "2026-11-22", "2026-11-23 01:00:00"},
		{"Nov 25 01:00:00", "2026-11-22", "2025-11-25 01:00:00"}, {"Feb 29 01:00:00", "2026-11-22", "2024-02-29 01:00:00"}, {"Jan  1 01:00:00", "2025-12-31", "2026-01-01 01:00:00"},
	} {
		written, err := time.Parse(time.DateOnly, c.written)
		if err != nil {
			t.Fatal(err)
		}
		p := NewParser(time.UTC, written)
		var e Event
		p.Parse([]byte(c.stamp+" mx1 postfix/qmgr[1]: 4bXyz12345: removed"), &e)
		if got := time.Unix(e.At, 0).UTC().Format(time.DateTime); got != c.want {
			t.Errorf("%s in a file of %s: %s, want %s", c.stamp, c.written, got, c.want)
		}
	}
}

// TestZones: with a zone, a time is turned into that of the reader, summer and winter.
func TestZones(t *testing.T) {
	zone := time.FixedZone("", 3600)
	if named, err := time.LoadLocation("Europe/Berlin"); err == nil {
		zone = named
	}
	p := NewParser(zone, someday)
	for stamp, want := range map[string]string{
		"2026-11-22T14:00:00Z": "15:00", "2026-11-22T14:00:00+01:00": "14:00", "2026-11-22T14:00:00.5-0500": "20:00", "2026-11-22T14:00:00": "14:00", "2026-01-22T23:30:00Z": "00:30",
	} {
		var e Event
		p.Parse([]byte(stamp+" mx1 postfix/qmgr[1]: 4bXyz12345: removed"), &e)
		if got := time.Unix(e.At, 0).UTC().Format("15:04"); e.Kind != Ended || got != want {
			t.Errorf("%s: %s, want %s", stamp, got, want)
		}
	}
}

func TestEach(t *testing.T) {
	var got []string
	Each([]byte(`<a@example.com>,<"x,y"@example.com>, b@example.com;;c@example.com`), func(a []byte) { got = append(got, string(a)) })
	if strings.Join(got, " ") != `a@example.com "x,y"@example.com b@example.com c@example.com` {
		t.Errorf("%q", got)
	}
}

func TestPrivate(t *testing.T) {
	for a, want := range map[string]bool{
		"10.1.2.3": true, "172.16.0.1": true, "172.32.0.1": false, "192.168.1.1": true, "127.0.0.1": true, "100.64.0.1": true, "100.128.0.1": false, "169.254.1.1": true,
		"192.0.2.1": false, "::1": true, "IPv6:fd00::1": true, "fe80::1": true, "fe00::1": false, "2001:db8::1": false, "::ffff:10.0.0.1": true, "": true, "private/dovecot-lmtp": true,
	} {
		if got := Private([]byte(a)); got != want {
			t.Errorf("%s: %v", a, got)
		}
	}
}

func TestScan(t *testing.T) {
	long := strings.Repeat("x", 3*blockSize)
	var got []int
	err := Scan(strings.NewReader("a\n\n"+long+"\nbb\nccc"), func(l []byte) bool { got = append(got, len(l)); return true })
	if err != nil || fmt.Sprint(got) != fmt.Sprint([]int{1, 0, MaxLine + 1, 2, 3}) {
		t.Errorf("%v %v", got, err)
	}
}
