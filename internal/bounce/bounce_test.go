package bounce

import (
	"encoding/base64"
	"strings"
	"testing"
)

// wrap64 is base64 in lines of 76 (RFC 2045, 6.8).
func wrap64(s string) string {
	var out strings.Builder
	for e := base64.StdEncoding.EncodeToString([]byte(s)); e != ""; {
		n := min(76, len(e))
		out.WriteString(e[:n] + "\r\n")
		e = e[n:]
	}
	return out.String()
}

// quoted is what a program makes of a text that encodes only what it must.
func quoted(s string) string { return strings.ReplaceAll(s, "=", "=3D") }

func lf(s string) string { return strings.ReplaceAll(s, "\r\n", "\n") }

var bounces = []struct {
	name, raw string
	null      bool
	action    Action
	clue      Clue
	status    string
}{
	{"postfix", postfixFailed, true, Failed, ClueReport, "5.1.1"},
	{"postfix, envelope sender unknown", postfixFailed, false, Failed, ClueReport, "5.1.1"},
	{"postfix, bare LF", lf(postfixFailed), true, Failed, ClueReport, "5.1.1"},
	{"postfix, cut before the last border", postfixFailed[:len(postfixFailed)-40], true, Failed, ClueReport, "5.1.1"},
	{"postfix, delayed", report("MAILER-DAEMON@mx.example.org", "Delayed Mail (still being retried)", "delivery-status", "This is the mail system at host mx.example.org.\r\n", status("delayed", "4.4.1"), headersOnly), true, Delayed, ClueReport, "4.4.1"},
	{"postfix, success", report("MAILER-DAEMON@mx.example.org", "Successful Mail Delivery Report", "delivery-status", "This is the mail system at host mx.example.org.\r\n", status("relayed", "2.1.5"), headersOnly), true, Relayed, ClueReport, "2.1.5"},
	{"sendmail, expanded", report("MAILER-DAEMON@mx.example.org", "Return receipt", "delivery-status", "The original message was received\r\n", status("expanded (to multi-recipient alias)", "2.0.0"), headersOnly), true, Expanded, ClueReport, "2.0.0"},
	{"delivered", report("MAILER-DAEMON@mx.example.org", "Return receipt", "Delivery-Status", "Done\r\n", status("Delivered", "2.1.5"), headersOnly), true, Delivered, ClueReport, "2.1.5"},
	{"postfix of old, plain", plain("From: MAILER-DAEMON@mx.example.org\r\nSubject: Undelivered Mail Returned to Sender\r\n", "This is the Postfix program at host mx.example.org.\r\n\r\n<nobody@example.org>: host mx2 said:\r\n    550 5.1.1 no such user\r\n\r\n"+returnedHeader+"\r\nHello\r\n"), true, Failed, CluePostfix, "5.1.1"},
	{"exim", report("Mail Delivery System <Mailer-Daemon@mx.example.org>", "Mail delivery failed: returning message to sender", "delivery-status", eximText, status("failed", "5.0.0"), wholeLetter), true, Failed, ClueReport, "5.0.0"},
	{"exim of old, plain", plain("X-Failed-Recipients: nobody@example.org\r\n"+daemon+"Subject: Mail delivery failed: returning message to sender\r\n", eximText+"\r\n------ This is a copy of the message, including all the headers. ------\r\n\r\n"+returnedHeader+"\r\nHello\r\n"), true, Failed, ClueFailedRecipients, "5.1.1"},
	{"exim of old, by its words", plain(daemon+"Subject: Mail delivery failed: returning message to sender\r\n", eximText+"\r\n------ This is a copy of the message, including all the headers. ------\r\n\r\n"+returnedHeader+"\r\nHello\r\n"), false, Failed, ClueExim, "5.1.1"},
	{"exim, delay", plain(daemon+"Subject: Warning: message 1abc delayed 24 hours\r\n", "This message was created automatically by mail delivery software.\r\nA message that you sent has not yet been delivered to one or more of its\r\nrecipients after more than 24 hours on the queue.\r\n\r\n  nobody@example.org\r\n    Delay reason: 4.4.1 timeout\r\n\r\nReturned message:\r\n"+returnedHeader), true, Delayed, ClueExim, "4.4.1"},
	{"sendmail", report("Mail Delivery Subsystem <MAILER-DAEMON@mx.example.org>", "Returned mail: see transcript for details", "delivery-status", sendmailText, status("failed", "5.1.1"), wholeLetter), true, Failed, ClueReport, "5.1.1"},
	{"sendmail of old", plain("From: Mail Delivery Subsystem <MAILER-DAEMON>\r\nSubject: Returned mail: User unknown\r\n", sendmailText+"\r\n   ----- Unsent message follows -----\r\n"+returnedHeader+"\r\nHello\r\n"), true, Failed, ClueSendmail, "5.1.1"},
	{"opensmtpd", opensmtpd, true, Failed, ClueStatusPart, "5.3.0"},
	{"qmail", qmailFailed, true, Failed, ClueQmail, "5.1.1"},
	{"qmail, bare LF, envelope sender unknown", lf(qmailFailed), false, Failed, ClueQmail, "5.1.1"},
	{"qmail, of a letter that speaks of delays and viruses", strings.Replace(qmailFailed, "Hello", "The train has been delayed; a virus was found in message 7. Message is delayed.", 1), true, Failed, ClueQmail, "5.1.1"},
	{"domino", report("postmaster@example.org", "DELIVERY FAILURE: User nobody not listed in Domino Directory", "delivery-status", "Your message\r\n\r\n  Subject: A letter\r\n\r\nwas not delivered to:\r\n\r\n  nobody@example.org\r\n", status("failed", "5.1.1"), wholeLetter), true, Failed, ClueReport, "5.1.1"},
	{"message in base64", report("MAILER-DAEMON@mx.example.org", "x", "delivery-status", "x", status("failed", "5.1.1"), "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n"+wrap64(returnedHeader+"\r\nHello\r\n")), true, Failed, ClueReport, "5.1.1"},
	{"message in base64 that nothing says", report("MAILER-DAEMON@mx.example.org", "x", "delivery-status", "x", status("failed", "5.1.1"), "Content-Type: message/rfc822\r\n\r\n"+wrap64(returnedHeader+"\r\nHello\r\n")), true, Failed, ClueReport, "5.1.1"},
	{"headers in quoted-printable", report("MAILER-DAEMON@mx.example.org", "x", "delivery-status", "x", status("failed", "5.1.1"), "Content-Type: text/rfc822-headers\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"+quoted(returnedHeader)), true, Failed, ClueReport, "5.1.1"},
	{"headers labelled quoted-printable that are not", report("MAILER-DAEMON@mx.example.org", "x", "delivery-status", "x", status("failed", "5.1.1"), "Content-Type: text/rfc822-headers\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"+returnedHeader), true, Failed, ClueReport, "5.1.1"},
	{"labelled base64 that is not", report("MAILER-DAEMON@mx.example.org", "x", "delivery-status", "x", status("failed", "5.1.1"), "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n"+returnedHeader), true, Failed, ClueReport, "5.1.1"},
	{"global", report("MAILER-DAEMON@mx.example.org", "x", "delivery-status", "x", strings.Replace(status("failed", "5.1.1"), "message/delivery-status", "message/global-delivery-status", 1), "Content-Type: message/global-headers\r\n\r\n"+returnedHeader), true, Failed, ClueReport, "5.1.1"},
	{"global message in base64", report("MAILER-DAEMON@mx.example.org", "x", "delivery-status", "x", status("failed", "5.1.1"), "Content-Type: message/global; charset=x-none\r\nContent-Transfer-Encoding: BASE64\r\n\r\n"+wrap64(returnedHeader+"\r\n\xff\xfe")), true, Failed, ClueReport, "5.1.1"},
	{"text in base64", plain(daemon+"Subject: failure notice\r\nContent-Transfer-Encoding: base64\r\n", wrap64("Nothing to be done for <nobody@example.org>:\r\n550 5.1.1 unknown\r\n\r\n--- Original message follows.\r\n\r\n"+returnedHeader+"\r\nHello\r\n")), true, Failed, ClueSubject, "5.1.1"},
	{"returned message indented", plain(daemon+"Subject: failure notice\r\n", "nobody@example.org: 5.1.1 unknown\r\n\r\nOriginal mail as follows:\r\n\r\n   "+strings.ReplaceAll(strings.TrimSuffix(returnedHeader, "\r\n"), "\r\n", "\r\n   ")+"\r\n   \r\n   Hello\r\n"), true, Failed, ClueSubject, "5.1.1"},
	{"part without a head of its own", "From: MAILER-DAEMON@example.org\r\nSubject: Returned mail\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nnobody@example.org: 5.1.1 unknown\r\n--b\r\n" + returnedHeader + "\r\nHello\r\n--b--\r\n", true, Failed, ClueSubject, "5.1.1"},
	{"broken borders", strings.ReplaceAll(postfixFailed, "\r\n--4XyZ", "\r\n --4XyZ"), true, Failed, ClueReport, "5.1.1"},
	{"boundary not folded", strings.ReplaceAll(postfixFailed, "status;\r\n\tboundary", "status;\r\nboundary"), true, Failed, ClueReport, "5.1.1"},
	{"wrapped by a gateway", "From: MAILER-DAEMON@example.org\r\nSubject: Undelivered\r\nContent-Type: multipart/mixed; boundary=out\r\n\r\n--out\r\n" + report("x", "x", "delivery-status", "x", status("failed", "5.1.1"), headersOnly)[len("From: x\r\nTo: alice@example.com\r\nSubject: x\r\nMIME-Version: 1.0\r\n"):] + "--out\r\nContent-Type: text/plain\r\n\r\nNo liability.\r\n--out--\r\n", false, Failed, ClueReport, "5.1.1"},
	{"words of nobody known", plain("From: mailer-daemon@example.org\r\nSubject: Hm\r\n", "nobody@example.org: 5.1.1 nope\r\n\r\n"+returnedHeader), true, ActionUnknown, ClueDaemon, "5.1.1"},
	{"null sender that returns a message", plain("From: robot@example.org\r\nSubject: Hm\r\n", "nobody@example.org: 5.1.1 nope\r\n\r\n"+returnedHeader), true, ActionUnknown, ClueReturned, "5.1.1"},
}

func TestBounces(t *testing.T) {
	for _, c := range bounces {
		t.Run(c.name, func(t *testing.T) {
			r := Recognise([]byte(c.raw), c.null)
			want := c.action
			if want == ActionUnknown {
				want = Failed // from the recipient's status
			}
			if r.Kind != Bounce || r.Action != want || r.Clue != c.clue {
				t.Errorf("got %v, %v by %v; want bounce, %v by %v", r.Kind, r.Action, r.Clue, want, c.clue)
			}
			if got := lf(string(r.Returned.Raw())); got != lf(returnedHeader) && got+"\n" != lf(returnedHeader) {
				t.Errorf("returned header:\n%s", got)
			}
			if got := r.Returned.Get("backstop-seal"); got != "v=1; k=1; t=1795338000; s=c2VhbA" {
				t.Errorf("seal: %q", got)
			}
			if len(r.Recipients) == 0 || r.Recipients[0].Address() != "nobody@example.org" || r.Recipients[0].Status != c.status {
				t.Errorf("recipients: %+v", r.Recipients)
			}
		})
	}
}

func TestOthers(t *testing.T) {
	vacation := "I am away until Monday.\r\n"
	for _, c := range []struct {
		name, raw string
		null      bool
		kind      Kind
		clue      Clue
	}{
		{"receipt", report("bob@example.org", "Read: A letter", "disposition-notification", "It was displayed.\r\n", "Content-Type: message/disposition-notification\r\n\r\nReporting-UA: ua.example.org\r\nFinal-Recipient: rfc822;bob@example.org\r\nDisposition: manual-action/MDN-sent-manually; displayed\r\n", headersOnly), true, Receipt, ClueReport},
		{"receipt with a sender", report("bob@example.org", "Read: A letter", "disposition-notification", "It was displayed.\r\n", "Content-Type: text/plain\r\n\r\nx\r\n", headersOnly), false, Receipt, ClueReport},
		{"feedback", report("fbl@example.org", "x", "feedback-report", "A user complained.\r\n", "Content-Type: message/feedback-report\r\n\r\nFeedback-Type: abuse\r\nVersion: 1\r\n", wholeLetter), false, Feedback, ClueReport},
		{"complaint of Hotmail", "From: <staff@hotmail.com>\r\nSubject:  complaint about message from 192.0.2.1\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nX-HmXmrOriginalRecipient: bob@example.org\r\n" + returnedHeader + "\r\nHello\r\n--b--\r\n", false, Feedback, ClueHotmail},
		{"holiday, RFC 3834", plain(human+"Auto-Submitted: auto-replied (vacation)\r\nSubject: Auto: A letter\r\n", vacation), true, AutoReply, ClueAutoSubmitted},
		{"holiday, null sender, older field", plain(human+"X-Autoreply: yes\r\nSubject: Re: A letter\r\n", vacation), true, AutoReply, ClueReplyField},
		{"holiday, precedence", plain(human+"Precedence: auto_reply\r\nSubject: Re: A letter\r\n", vacation), false, AutoReply, ClueReplyField},
		{"holiday, Exchange", plain(human+"Subject: Automatic reply: A letter\r\n", vacation), true, AutoReply, ClueReplySubject},
		{"holiday, Exchange of old", plain(human+"Subject: Out of Office AutoReply: A letter\r\n", vacation), false, AutoReply, ClueReplySubject},
		{"holiday that fears for delivery", plain(human+"Auto-Submitted: auto-replied\r\nX-Autoreply: yes\r\nSubject: Away\r\n", "Your letter could not be delivered to my desk."), true, AutoReply, ClueAutoSubmitted},
		{"holiday that says what servers say", plain(human+"Subject: Automatic reply: A letter\r\n", "I have left. Your message could not be sent on.\r\n"), true, AutoReply, ClueReplySubject},
		{"answer of a program that gives failure as its reason", plain(human+"Auto-Submitted: auto-replied\r\nSubject: Closed\r\n", "This mailbox is closed; your letter was not delivered.\r\n"), true, AutoReply, ClueAutoSubmitted},
		{"challenge", plain(human+"Auto-Submitted: auto-replied\r\nSubject: Please confirm your message\r\n", "This one-time verification...\r\n"), false, Challenge, ClueChallenge},
		{"virus", plain("From: postmaster@example.org\r\nSubject: VIRUS DETECTED in your mail\r\n", "A virus was found in a message that claims to be from you; it was not delivered.\r\n"), true, VirusNotice, ClueVirus},
		{"letter", ordinary4K(), false, Ordinary, NoClue},
		{"letter that quotes a bounce", plain(human+"Subject: Re: Undelivered Mail Returned to Sender\r\n", "What does this mean?\r\n\r\n> Hi. This is the qmail-send program at mx.example.org.\r\n> I'm afraid I wasn't able to deliver your message\r\n"), false, Ordinary, NoClue},
		{"letter with a bounce attached", human + "Subject: Undelivered Mail Returned to Sender\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nSee below.\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n" + postfixFailed + "\r\n--b--\r\n", false, Ordinary, NoClue},
		{"letter with a status part attached", human + "Subject: Undelivered Mail Returned to Sender\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nSee below.\r\n--b\r\n" + status("failed", "5.1.1") + "\r\n--b--\r\n", false, Ordinary, NoClue},
		{"forwarded inline", plain(human+"Subject: Fwd: failure notice\r\n", "---------- Forwarded message ----------\r\n"+qmailFailed), false, Ordinary, NoClue},
		{"list that talks of bounces", plain(human+"List-Id: <mta.example.org>\r\nSubject: failure notice: how qmail writes them\r\n", "This is the qmail-send program at...\r\n"), false, Ordinary, NoClue},
		{"postmaster who is a person", plain("From: postmaster@example.org\r\nSubject: Your question\r\n", "Dear Alice, as to your question of yesterday, let me explain at some length what happened here, step by step, beginning with the new filter that we installed over the weekend and which took longer to learn than we thought it would, sorry for that. So your message was not delivered.\r\n"), false, Ordinary, NoClue},
		{"newsletter of a shop", plain("From: no-reply@shop.example\r\nSubject: Your parcel\r\n", "Your parcel was not delivered to: Example Road 1.\r\n"), false, Ordinary, NoClue},
		{"null sender with nothing to tell", plain(human+"Subject: Hello\r\n", "Hello\r\n"), true, Ordinary, NoClue},
		{"report of another kind", report("tls@example.org", "Report Domain: example.com", "tlsrpt", "x", "Content-Type: application/tlsrpt+gzip\r\n\r\nx", "Content-Type: text/plain\r\n\r\nx"), false, Ordinary, NoClue},
		{"aggregate report", plain("From: noreply-dmarc@example.org\r\nSubject: Report Domain: example.com Submitter: example.org\r\nContent-Type: application/zip\r\n", "UEsDBA=="), false, Ordinary, NoClue},
		{"program that notifies", plain("From: cron@example.org\r\nAuto-Submitted: auto-generated\r\nSubject: Cron <root@host> backup\r\n", "could not be delivered\r\n"), false, Ordinary, NoClue},
		{"nothing", "", false, Ordinary, NoClue},
		{"nothing from nobody", "", true, Ordinary, NoClue},
	} {
		t.Run(c.name, func(t *testing.T) {
			if r := Recognise([]byte(c.raw), c.null); r.Kind != c.kind || r.Clue != c.clue {
				t.Errorf("got %v by %v; want %v by %v", r.Kind, r.Clue, c.kind, c.clue)
			}
		})
	}
}

func TestHeader(t *testing.T) {
	h := headerIn([]byte("\r\nFrom x\r\nReceived: a\r\n b\r\nnot a field\r\nreceived : c\r\nFrom: d\r\n \r\nTo: behind\r\n"))
	if got := strings.Join(h.All("Received", 9), "|"); got != "a b|c" {
		t.Errorf("Received: %q", got)
	}
	if got := h.All("received", 1); len(got) != 1 {
		t.Errorf("limit: %q", got)
	}
	if h.Get("to") != "" || h.Get("from") != "d" {
		t.Errorf("the header does not end at the blank line: %q", h.Raw())
	}
	var names []string
	for name := range h.Fields() {
		names = append(names, name)
	}
	if got := strings.Join(names, " "); got != "Received received From" {
		t.Errorf("fields: %q", got)
	}
	if !(Header{}).Empty() || (Header{}).Get("x") != "" || headerIn([]byte("Hello\r\nFrom: x\r\n")).Raw() != nil {
		t.Error("what is no header is one")
	}
}

func TestRecipients(t *testing.T) {
	two := strings.Replace(postfixFailed, "Diagnostic-Code: X-Postfix; unknown\r\n    user\r\n", "Diagnostic-Code: X-Postfix; unknown\r\n    user\r\n\r\nFinal-Recipient: rfc822;other@example.org\r\nAction: delayed\r\nStatus: 4.2.2 (full)\r\n", 1)
	r := Recognise([]byte(two), true)
	if len(r.Recipients) != 2 || r.Action != Failed || r.Recipients[0].Diagnostic != "X-Postfix; unknown    user" || r.Recipients[1] != (Recipient{Final: "other@example.org", Action: Delayed, Status: "4.2.2"}) {
		t.Errorf("%v %+v", r.Action, r.Recipients)
	}
	for in, want := range map[string]string{"550 5.1.1 x": "5.1.1", "(#5.1.1)": "5.1.1", "192.5.1.1": "", "host 5.1.1.2 said": "", "v4.5": "", "5.7.26": "5.7.26", "": "", "said: 4.2.2": "4.2.2", "3.1.1": ""} {
		if got := findStatus([]byte(in)); got != want {
			t.Errorf("status in %q: %q, want %q", in, got, want)
		}
	}
}

// TestAbout: a receipt seldom returns the header, but it names the message.
func TestAbout(t *testing.T) {
	mdn := func(fields string) string {
		return report("bob@example.org", "Read: A letter", "disposition-notification", "It was displayed.\r\n",
			"Content-Type: message/disposition-notification\r\n\r\nReporting-UA: ua.example.org\r\nFinal-Recipient: rfc822;bob@example.org\r\n"+fields+"Disposition: manual-action/MDN-sent-manually; displayed\r\n", "Content-Type: text/plain\r\n\r\nx\r\n")
	}
	long := strings.Repeat("x", maxAbout)
	var many strings.Builder
	for c := 'a'; c < 'k'; c++ {
		many.WriteString("Original-Message-ID: <" + string(c) + "@example.com>\r\n")
	}
	for _, c := range []struct{ name, raw, want string }{
		{"receipt", mdn("Original-Message-ID: <1@example.com>\r\n"), "<1@example.com>"},
		{"folded, in other letters", mdn("original-message-id:\r\n\t<1@example.com>\r\n"), "<1@example.com>"},
		{"twice the same", mdn("Original-Message-ID: <1@example.com>\r\nX-Original-Message-ID: <1@example.com>\r\n"), "<1@example.com>"},
		{"none", mdn(""), ""},
		{"empty", mdn("Original-Message-ID: \r\n"), ""},
		{"too long", mdn("Original-Message-ID: <" + long + ">\r\nOriginal-Message-ID: <2@example.com>\r\n"), "<2@example.com>"},
		{"more than are read", mdn(many.String()), "<a@example.com> <b@example.com> <c@example.com> <d@example.com>"},
		{"delivery report", report("MAILER-DAEMON@mx.example.org", "x", "delivery-status", "x", strings.Replace(status("failed", "5.1.1"), "Reporting-MTA", "X-Original-Message-ID: <3@example.com>\r\nReporting-MTA", 1), "Content-Type: text/plain\r\n\r\nx\r\n"), "<3@example.com>"},
		{"in the text, where anybody may quote it", report("MAILER-DAEMON@mx.example.org", "x", "delivery-status", "Original-Message-ID: <4@example.com>", status("failed", "5.1.1"), headersOnly), ""},
		{"in the returned message", report("MAILER-DAEMON@mx.example.org", "x", "delivery-status", "x", status("failed", "5.1.1"), "Content-Type: message/rfc822\r\n\r\nOriginal-Message-ID: <5@example.com>\r\n"+returnedHeader), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := strings.Join(check(t, []byte(c.raw), true).About, " "); got != c.want {
				t.Errorf("it is about %q, want %q", got, c.want)
			}
		})
	}
}

func TestNames(t *testing.T) {
	seen := map[string]bool{}
	for c := NoClue; c < clues; c++ {
		if c.String() == "" || seen[c.String()] {
			t.Errorf("clue %d is called %q", c, c)
		}
		seen[c.String()] = true
	}
	if Kind(99).String() != "unknown" || Action(99).String() != "unknown" || Clue(99).String() != "unknown" {
		t.Error("what is beyond the end has a name")
	}
	if Bounce.String() != "bounce" || Expanded.String() != "expanded" {
		t.Error("names are shifted")
	}
}
