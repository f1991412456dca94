package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"backstop/internal/dkim"
	"backstop/internal/keyring"
	"backstop/internal/mail"
	"backstop/internal/seal"
)

// The domains of the row layers: that of all senders but those who have one each, below the second.
const (
	knownDomain = "elsewhere.example"
	freshDomain = "fresh.example"
)

// numLetters is how many different messages a layer is played with: enough that none of them is
// remembered as the one before, few enough to be signed in a second or two.
const numLetters = 500

// numFresh is how many senders have a domain of their own: about as many as a round has messages, so that the cache has
// forgotten them when they come again.
const numFresh = 5000

// letterOf is the n-th ordinary message, of messageSize octets with its envelope aside.
func letterOf(n int, from, to, head string) letter {
	text := head + fmt.Sprintf("From: Sender <%s>\r\nTo: Recipient <%s>\r\nSubject: An ordinary message\r\n"+
		"Date: Mon, 05 Jan 2026 10:00:00 +0000\r\nMessage-ID: <20260105100000.%d@%s>\r\nMIME-Version: 1.0\r\n"+
		"Content-Type: text/plain; charset=us-ascii\r\n\r\n", from, to, n, domainOf(from))
	return letter{from, to, filled(text, "")}
}

// domainOf is what stands behind the last "@".
func domainOf(address string) string { return address[strings.LastIndexByte(address, '@')+1:] }

// filled adds lines until the message has messageSize octets with its end and the final dot.
func filled(text, end string) []byte {
	const line = "Seventy-two letters, more or less, as a person might write in one line\r\n"
	message := []byte(text)
	for len(message)+len(line)+len(end)+len(".\r\n") <= messageSize {
		message = append(message, line...)
	}
	return append(append(message, end...), ".\r\n"...)
}

// userOf is the address of the n-th recipient that exists.
func userOf(n int) string { return string(appendUser(nil, n)) + "@" + listedDomain }

// inbound are messages from elsewhere to users of ours.
func inbound() []letter {
	letters := make([]letter, numLetters)
	for i := range letters {
		letters[i] = letterOf(i, "sender@"+knownDomain, userOf(i), "")
	}
	return letters
}

// strangers are messages from senders whose domain nobody has heard of.
func strangers() []letter {
	letters := make([]letter, numFresh)
	for i := range letters {
		letters[i] = letterOf(i, fmt.Sprintf("sender@s%d.%s", i, freshDomain), userOf(i%listedHere), "")
	}
	return letters
}

// signed are the same messages with a signature each. None of their lines begins with a dot but the last.
func signed(plain []letter, key dkim.Key, now time.Time) ([]letter, error) {
	letters := slices.Clone(plain)
	for i := range letters {
		header, body, _ := bytes.Cut(bytes.TrimSuffix(plain[i].message, []byte(".\r\n")), []byte("\r\n\r\n"))
		s := dkim.NewSigning(slices.Concat(header, []byte("\r\n")), []dkim.Key{key}, now)
		if _, err := s.Write(body); err != nil {
			return nil, err
		}
		fields, err := s.Fields()
		if err != nil {
			return nil, err
		}
		letters[i].message = append(fields, plain[i].message...)
	}
	return letters, nil
}

// outgoing are messages to others, from users of ours or from a domain that is not ours.
func outgoing(ours bool) []letter {
	letters := make([]letter, numLetters)
	for i := range letters {
		from := userOf(i)
		if !ours {
			from = "sender@" + knownDomain
		}
		letters[i] = letterOf(i, from, "user@another.example", "")
	}
	return letters
}

// returned are bounces for users of ours, with the seal that shows that they wrote.
func returned(ring keyring.Ring, now time.Time) ([]letter, error) {
	letters := make([]letter, numLetters)
	for i := range letters {
		a, err := mail.ParseAddress(userOf(i))
		if err != nil {
			return nil, err
		}
		field, ok := seal.Seal(ring, a, now)
		if !ok {
			return nil, fmt.Errorf("no key seals for %s", a)
		}
		back, _, _ := strings.Cut(string(letterOf(i, a.String(), "nobody@another.example", field).message), "\r\n\r\n")
		text := "From: MAILER-DAEMON@mx.another.example (Mail Delivery System)\r\nTo: " + a.String() +
			"\r\nSubject: Undelivered Mail Returned to Sender\r\nAuto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n" +
			"Content-Type: multipart/report; report-type=delivery-status; boundary=\"b0\"\r\n" +
			fmt.Sprintf("Message-ID: <bounce.%d@mx.another.example>\r\n\r\n", i) +
			"--b0\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\nI'm sorry to have to inform you that your message could not be delivered.\r\n\r\n" +
			"--b0\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.another.example\r\n\r\n" +
			"Final-Recipient: rfc822; nobody@another.example\r\nAction: failed\r\nStatus: 5.1.1\r\nDiagnostic-Code: smtp; 550 5.1.1 User unknown\r\n\r\n" +
			"--b0\r\nContent-Type: message/rfc822\r\n\r\n" + back + "\r\n\r\n"
		letters[i] = letter{"", a.String(), filled(text, "--b0--\r\n")}
	}
	return letters, nil
}
