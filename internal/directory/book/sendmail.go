package book

import (
	"errors"
	"fmt"
	"strings"
)

// Pair reads a line of a text as Sendmail's makemap does: a key, white space, a value; "#"
// makes a comment only as the first character. The key of a comment and of an empty line is "".
func Pair(line string) (key, value string, err error) {
	if strings.TrimSpace(line) == "" || line[0] == '#' {
		return "", "", nil
	}
	i := strings.IndexAny(line, " \t")
	switch {
	case i == 0:
		return "", "", errors.New("the line begins with white space, which makemap refuses; what a line continues would be lost")
	case i < 0 || strings.TrimSpace(line[i:]) == "":
		return "", "", fmt.Errorf("%q has no value", strings.TrimSpace(line))
	}
	return line[:i], strings.TrimSpace(line[i:]), nil
}

// OtherTag says whether keys with this tag in an access text are for parts of Sendmail that have
// nothing to do with recipients, senders and clients. The tag is in lower case and has no colon.
func OtherTag(tag string) bool { return otherTags[tag] }

var otherTags = map[string]bool{
	"spam": true, "greetpause": true, "clientrate": true, "clientconn": true,
	"srv_features": true, "clt_features": true, "tls_srv": true, "tls_clt": true, "tls_rcpt": true, "try_tls": true,
	"authinfo": true, "certissuer": true, "certsubject": true, "qgrp": true,
}

// notRecipient says whether keys with this tag are about something else than recipients.
func notRecipient(tag string) bool {
	switch tag = strings.ToLower(tag); tag {
	case "from", "connect", "ipv6":
		return true
	}
	return otherTags[tag]
}
