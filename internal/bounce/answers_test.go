package bounce

import (
	"strings"
	"testing"
)

// mailman is the head of what Mailman writes of itself.
func mailman(from, to, subject string) string {
	return "From: " + from + "\r\nTo: " + to + "\r\nSubject: " + subject + "\r\nPrecedence: bulk\r\nX-BeenThere: news@example.com\r\nX-Mailman-Version: 2.1.39\r\nList-Id: News <news.example.com>\r\nX-List-Administrivia: yes\r\n"
}

// with returns the message of that head, which returns a letter.
func with(head, text string) string {
	return head + "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\n" + text + "\r\n--b\r\n" + wholeLetter + "\r\n--b--\r\n"
}

const rtHead = "From: Help <help@example.com>\r\nTo: bob@example.org\r\nPrecedence: bulk\r\nIn-Reply-To: <1@example.org>\r\nX-RT-Loop-Prevention: example.com\r\nX-Managed-BY: RT 4.0.5 (http://www.bestpractical.com/rt/)\r\n"

const otrsHead = "From: Help <help@example.com>\r\nTo: bob@example.org\r\nX-Powered-By: OTRS (https://otrs.com/)\r\nX-Mailer: OTRS Mail Service (6.0.30)\r\nAuto-Submitted: auto-generated\r\n"

// TestAnswers: programs that answer whoever a letter says it is from, and mark it in their own way only.
func TestAnswers(t *testing.T) {
	for _, c := range []struct {
		name, raw string
		clue      Clue
		returned  string // Message-ID of the letter, if it comes back
	}{
		{"Mailman holds a letter", plain(mailman("news-bounces@example.com", "bob@example.org", "Your message to News awaits moderator approval"), "Your mail to 'News' is being held.\r\n"), ClueListServer, ""},
		{"Mailman 2 obeyed", with(mailman("news-owner@example.com", "alice@example.com", "The results of your email commands"), "- Done."), ClueListServer, "<made-up-1@example.com>"},
		{"Mailman 3 obeyed", plain(mailman("news-bounces@example.com", "alice@example.com", "The results of your email commands"), "The results of your email command are provided below.\r\n\r\n- Original message details:\r\n    From: alice@example.com\r\n    Subject: help\r\n    Date: n/a\r\n    Message-ID: <7@example.com>\r\n\r\n- Results:\r\nConfirmed\r\n\r\n- Done.\r\n"), ClueListServer, "<7@example.com>"},
		{"Mailman refuses a letter in another language", with(mailman("news-owner@example.com", "Alice <ALICE@example.com>", "Ein Brief"), "Sie d=FCrfen hier nicht schreiben."), ClueListServer, "<made-up-1@example.com>"},
		{"Majordomo obeyed", plain("From: Majordomo@example.com\r\nTo: bob@example.org\r\nSubject: Majordomo results: buy this\r\nReply-To: Majordomo@example.com\r\n", "--\r\n\r\n>>>> buy\r\n**** Command 'buy' not recognized.\r\n"), ClueListServer, ""},
		{"RT before it knew RFC 3834", plain(rtHead+"Subject: [example.com #17] AutoReply: Buy this\r\n", "This message has been automatically generated in response\r\n"), ClueTicket, ""},
		{"OTRS acknowledges", plain(otrsHead+"X-Loop: yes\r\nPrecedence: bulk\r\nIn-Reply-To: <1@example.org>\r\nSubject: [Ticket#17] Buy this\r\n", "We have got your letter.\r\n"), ClueTicket, ""},
		{"OTRS of old acknowledges", plain(human+"X-OTRS-Loop: help@example.com\r\nX-Loop: help@example.com\r\nIn-Reply-To: <1@example.org>\r\nSubject: Re: x\r\n", "We have got your letter.\r\n"), ClueTicket, ""},
		{"holiday program of old", plain(human+"Precedence: junk\r\nIn-Reply-To: <1@example.org>\r\nSubject: Re: x\r\n", "I am away.\r\n"), ClueReplyField, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := check(t, []byte(c.raw), false)
			if r.Kind != AutoReply || r.Clue != c.clue || r.Returned.Get("Message-ID") != c.returned {
				t.Errorf("%v by %v, returned %q", r.Kind, r.Clue, r.Returned.Get("Message-ID"))
			}
		})
	}
}

// TestNoAnswers: what such programs, and others, write to those who asked for it.
func TestNoAnswers(t *testing.T) {
	generated := "Auto-Submitted: auto-generated\r\nIn-Reply-To: <1@example.org>\r\nReferences: <1@example.org>\r\n"
	for name, raw := range map[string]string{
		"Mailman welcomes":            plain(mailman("news-request@example.com", "bob@example.org", `Welcome to the "News" mailing list`), "Welcome!\r\n"),
		"Mailman asks its owner":      with(mailman("news-owner@example.com", "news-owner@example.com", "News post from alice@example.com requires approval"), "As list administrator, ..."),
		"Mailman tells its owner":     with(mailman("mailman-bounces@example.com", "news-owner@example.com", "Bounce action notification"), "Member: x"),
		"Mailman asks a new member":   plain(mailman("news-request@example.com", "bob@example.org", "confirm 0123456789abcdef"), "Mailing list subscription confirmation notice\r\n"),
		"post to a list":              plain(human+"List-Id: <news.example.com>\r\nX-BeenThere: news@example.com\r\nPrecedence: list\r\nIn-Reply-To: <1@example.org>\r\nSubject: Your message to News awaits moderator approval\r\n", "Why?\r\n"),
		"somebody quotes Majordomo":   plain(human+"Subject: Re: Majordomo results: help\r\nIn-Reply-To: <1@example.org>\r\n", "Why?\r\n"),
		"Majordomo asks its owner":    plain("From: Majordomo@example.com\r\nSubject: BOUNCE news@example.com: Approval required\r\n", "x\r\n"),
		"somebody answers in RT":      plain(rtHead+"Subject: [example.com #17] Buy this\r\n", "Dear Bob, no.\r\n"),
		"RT, of an acknowledgement":   plain(rtHead+"Subject: Re: [example.com #17] AutoReply: Buy this\r\n", "Dear Bob, no.\r\n"),
		"RT tells its users":          plain(rtHead+"Auto-Submitted: auto-generated\r\nSubject: [example.com #17] Buy this\r\n", "Ticket 17 was opened.\r\n"),
		"somebody answers in OTRS":    plain(strings.Replace(otrsHead, "Auto-Submitted: auto-generated\r\n", "", 1)+"In-Reply-To: <1@example.org>\r\nSubject: Re: [Ticket#17] Buy this\r\n", "Dear Bob, no.\r\n"),
		"OTRS tells its users":        plain(otrsHead+"X-Loop: yes\r\nPrecedence: bulk\r\nSubject: [Ticket#17] New ticket\r\n", "Ticket 17 was opened.\r\n"),
		"tracker of GitHub's kind":    plain("From: Carol <notifications@example.net>\r\nPrecedence: list\r\nList-Id: repo <repo.example.net>\r\n"+generated+"Subject: Re: [repo] It fails (#7)\r\n", "It does.\r\n"),
		"tracker of Jira's kind":      plain("From: Carol (Jira) <jira@example.net>\r\nPrecedence: bulk\r\nX-JIRA-FingerPrint: 0123\r\n"+generated+"Subject: [Jira] (X-7) It fails\r\n", "It does.\r\n"),
		"report of cron":              plain("From: root@example.com (Cron Daemon)\r\nAuto-Submitted: auto-generated\r\nPrecedence: bulk\r\nSubject: Cron <root@mail> backup\r\n", "done\r\n"),
		"newsletter":                  plain("From: news@example.net\r\nPrecedence: junk\r\nList-Unsubscribe: <https://example.net/u>\r\nSubject: News\r\n", "News!\r\n"),
		"list that calls itself junk": plain("From: carol@example.net\r\nPrecedence: junk\r\nList-Post: <mailto:l@example.net>\r\nIn-Reply-To: <1@example.org>\r\nSubject: Re: x\r\n", "x\r\n"),
	} {
		t.Run(name, func(t *testing.T) {
			if r := check(t, []byte(raw), false); r.Kind != Ordinary {
				t.Errorf("%v by %v", r.Kind, r.Clue)
			}
		})
	}
}

// TestBouncesOfLists: a field of a list, which anybody may write, does not make a notice ordinary.
func TestBouncesOfLists(t *testing.T) {
	for _, field := range []string{"List-Id: <x.example.org>\r\n", "List-Unsubscribe: <https://example.org/u>\r\n", "List-Post: NO\r\nPrecedence: list\r\n"} {
		for name, raw := range map[string]string{
			"qmail":                      qmailFailed,
			"postfix of old":             plain("From: MAILER-DAEMON@mx.example.org\r\nSubject: Undelivered Mail Returned to Sender\r\n", "This is the Postfix program at host mx.example.org.\r\n\r\n<nobody@example.org>: 550 5.1.1\r\n\r\n"+returnedHeader),
			"postmaster":                 plain("From: postmaster@example.org\r\nSubject: Undeliverable: A letter\r\n", "Your message was not delivered to nobody@example.org.\r\n\r\nOriginal message follows.\r\n\r\n"+returnedHeader),
			"words of nobody known":      plain(daemon+"Subject: Hm\r\n", "nobody@example.org: user unknown\r\n"),
			"subject of a failure alone": plain(daemon+"Subject: failure notice\r\n", "Nope.\r\n"),
			"report":                     postfixFailed,
		} {
			for _, null := range []bool{false, true} {
				r := check(t, []byte(field+raw), null)
				if plain := check(t, []byte(raw), null); r.Kind != Bounce || r.Clue != plain.Clue {
					t.Errorf("%s with %q, null sender %v: %v by %v, without the field by %v", name, field, null, r.Kind, r.Clue, plain.Clue)
				}
			}
		}
	}
}
