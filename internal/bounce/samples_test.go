package bounce

// Notices in the form in which these servers write them, and as the RFCs show them. Addresses and texts are made up.

const returnedHeader = "Received: from client.example.com (client.example.com [192.0.2.7])\r\n\tby mx.example.com (Postfix) with ESMTP id 4AbCd\r\n\tfor <nobody@example.org>; Sun, 22 Nov 2026 09:00:00 +0000 (UTC)\r\n" +
	"DKIM-Signature: v=1; a=ed25519-sha256; d=example.com; s=k1; h=from:to;\r\n bh=abc=; b=def=\r\n" +
	"Backstop-Seal: v=1; k=1; t=1795338000; s=c2VhbA\r\n" +
	"Message-ID: <made-up-1@example.com>\r\nFrom: Alice <alice@example.com>\r\nTo: nobody@example.org\r\nSubject: A letter\r\nDate: Sun, 22 Nov 2026 09:00:00 +0000\r\n"

const postfixFailed = "Return-Path: <>\r\nDate: Sun, 22 Nov 2026 09:00:02 +0000 (UTC)\r\nFrom: MAILER-DAEMON@mx.example.org (Mail Delivery System)\r\nSubject: Undelivered Mail Returned to Sender\r\nTo: alice@example.com\r\n" +
	"Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"4XyZ.1795338002/mx.example.org\"\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" +
	"This is a MIME-encapsulated message.\r\n\r\n--4XyZ.1795338002/mx.example.org\r\nContent-Description: Notification\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nThis is the mail system at host mx.example.org.\r\n\r\n" +
	"I'm sorry to have to inform you that your message could not\r\nbe delivered to one or more recipients.\r\n\r\n<nobody@example.org>: unknown user\r\n\r\n" +
	"--4XyZ.1795338002/mx.example.org\r\nContent-Description: Delivery report\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.example.org\r\nX-Postfix-Queue-ID: 4XyZ\r\n\r\n" +
	"Final-Recipient: rfc822; nobody@example.org\r\nOriginal-Recipient: rfc822;nobody@example.org\r\nAction: failed\r\nStatus: 5.1.1\r\nDiagnostic-Code: X-Postfix; unknown\r\n    user\r\n\r\n" +
	"--4XyZ.1795338002/mx.example.org\r\nContent-Description: Undelivered Message\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + returnedHeader + "\r\nHello\r\n\r\n--4XyZ.1795338002/mx.example.org--\r\n"

const qmailFailed = "Date: 22 Nov 2026 09:00:02 -0000\r\nFrom: MAILER-DAEMON@mx.example.org\r\nTo: alice@example.com\r\nSubject: failure notice\r\n\r\n" +
	"Hi. This is the qmail-send program at mx.example.org.\r\nI'm afraid I wasn't able to deliver your message to the following addresses.\r\nThis is a permanent error; I've given up. Sorry it didn't work out.\r\n\r\n" +
	"<nobody@example.org>:\r\nSorry, no mailbox here by that name. (#5.1.1)\r\n\r\n--- Below this line is a copy of the message.\r\n\r\n" + returnedHeader + "\r\nHello\r\n"

// report makes a multipart/report of a text, a status part and what came back with its head.
func report(from, subject, reportType, text, status, returned string) string {
	return "From: " + from + "\r\nTo: alice@example.com\r\nSubject: " + subject + "\r\nMIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=" + reportType + "; boundary=\"=_b\"\r\n\r\n" +
		"--=_b\r\nContent-Type: text/plain\r\n\r\n" + text + "\r\n--=_b\r\n" + status + "\r\n--=_b\r\n" + returned + "\r\n--=_b--\r\n"
}

// plain makes a message of text alone.
func plain(fields, text string) string { return fields + "\r\n" + text }

const (
	daemon      = "From: Mail Delivery System <MAILER-DAEMON@mx.example.org>\r\nTo: alice@example.com\r\n"
	human       = "From: Carol <carol@example.net>\r\nTo: alice@example.com\r\n"
	wholeLetter = "Content-Type: message/rfc822\r\n\r\n" + returnedHeader + "\r\nHello\r\n"
	headersOnly = "Content-Type: text/rfc822-headers\r\n\r\n" + returnedHeader
)

// status is a status part with one recipient.
func status(action, code string) string {
	return "Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.example.org\r\n\r\nFinal-Recipient: RFC822; nobody@example.org\r\nAction: " + action + "\r\nStatus: " + code + "\r\nDiagnostic-Code: smtp; 550 no such user\r\n"
}

const eximText = "This message was created automatically by mail delivery software.\r\n\r\nA message that you sent could not be delivered to one or more of its\r\nrecipients. This is a permanent error. The following address(es) failed:\r\n\r\n" +
	"  nobody@example.org\r\n    host mx2.example.org [192.0.2.9]\r\n    SMTP error from remote mail server after RCPT TO:<nobody@example.org>:\r\n    550 5.1.1 unknown user\r\n"

const sendmailText = "The original message was received at Sun, 22 Nov 2026 09:00:00 GMT\r\nfrom client.example.com [192.0.2.7]\r\n\r\n   ----- The following addresses had permanent fatal errors -----\r\n<nobody@example.org>\r\n    (reason: 550 5.1.1 User unknown)\r\n\r\n" +
	"   ----- Transcript of session follows -----\r\n550 5.1.1 <nobody@example.org>... User unknown\r\n"

// opensmtpd writes multipart/mixed and calls the whole message its headers.
const opensmtpd = "Subject: Delivery status notification: error\r\nFrom: Mailer Daemon <MAILER-DAEMON@mx.example.org>\r\nTo: alice@example.com\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed;boundary=\"77/mx.example.org\"\r\n\r\nThis is a MIME-encapsulated message.\r\n\r\n" +
	"--77/mx.example.org\r\nContent-Description: Notification\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n    Hi!\r\n\r\n    This is the MAILER-DAEMON, please DO NOT REPLY to this email.\r\n\r\nnobody@example.org: 550 Invalid recipient\r\n\r\n    Below is a copy of the original message:\r\n\r\n" +
	"--77/mx.example.org\r\nContent-Description: Delivery Report\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.example.org\r\n\r\nFinal-Recipient: rfc822; nobody@example.org\r\nAction: failed\r\nStatus: 5.3.0\r\n\r\n" +
	"--77/mx.example.org\r\nContent-Description: Message headers\r\nContent-Type: text/rfc822-headers\r\n\r\n" + returnedHeader + "\r\nHello\r\n\r\n--77/mx.example.org--\r\n"
