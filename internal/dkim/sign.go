package dkim

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// signedNames are the fields that are signed where a message has them: those that tell what a message
// says, to whom and in answer to what (RFC 6376, 5.4.1), and those by which its body is read. Fields that
// servers add or change on the way (Received, Return-Path, Authentication-Results, our own) are not among them.
var signedNames = [...]string{
	"from", "sender", "reply-to", "subject", "date", "message-id", "to", "cc",
	"in-reply-to", "references",
	"mime-version", "content-type", "content-transfer-encoding", "content-id", "content-description",
	"resent-date", "resent-from", "resent-sender", "resent-to", "resent-cc", "resent-message-id",
	"list-id", "list-help", "list-unsubscribe", "list-unsubscribe-post", "list-subscribe", "list-post", "list-owner", "list-archive",
	"auto-submitted", "feedback-id",
}

// maxRepeats is how many fields of one name are signed; the lowest are. Most names stand there once.
const maxRepeats = 16

// Signing makes the signatures of one message.
type Signing struct {
	keys   []Key
	names  []string // of h=
	signed []byte   // the canonical form of the fields that are signed
	at     int64
	body   canonicaliser
	sum    *bodyHash
}

// NewSigning begins to sign a message with each of the keys. header is as NewVerifier's, and is not kept. Both
// canonicalisations are "relaxed". From is named once more than it is there, so that nobody can add one
// (RFC 6376, 8.15).
func NewSigning(header []byte, keys []Key, now time.Time) *Signing {
	s := &Signing{keys: keys, at: now.Unix(), body: canonicaliser{relaxed: true}}
	s.sum = s.body.sum(whole)
	x := newIndex(wholeLines(header), signedNames[:]...)
	for _, name := range signedNames {
		n := x.count(name, maxRepeats)
		for raw := range x.named(name) {
			if n--; n < 0 {
				break
			}
			s.names = append(s.names, name)
			s.signed = appendField(s.signed, raw, true)
		}
		if name == "from" {
			s.names = append(s.names, name)
		}
	}
	return s
}

// Write takes the next octets of the body, as Verifier.Write does. It fails only after Fields.
func (s *Signing) Write(p []byte) (int, error) {
	if s.body.ended {
		return 0, errEnded
	}
	s.body.write(p)
	return len(p), nil
}

// Fields ends the body and returns a DKIM-Signature field for each key, with their CRLF, to be put before the header. If
// a key cannot sign, the fields of the others are returned beside the error (the first, if there are several).
func (s *Signing) Fields() ([]byte, error) {
	s.body.end()
	var all []byte
	var failed error
	for _, k := range s.keys {
		field, err := s.field(k)
		if err != nil && failed == nil {
			failed = fmt.Errorf("signing for %.60q with selector %.60q: %w", k.Domain, k.Selector, err)
		}
		all = append(all, field...)
	}
	return all, failed
}

func (s *Signing) field(k Key) ([]byte, error) {
	if err := k.check(); err != nil {
		return nil, err
	}
	algorithm, hash := algEd25519, crypto.Hash(0) // RFC 8463, 3: the digest is signed as a message
	if _, ok := k.Private.Public().(*rsa.PublicKey); ok {
		algorithm, hash = algRSA, crypto.SHA256
	}
	field := s.unsigned(k, algorithm)
	sum := sha256.New()
	sum.Write(s.signed)
	own := appendField(nil, field, true)
	sum.Write(own[:len(own)-2])
	sig, err := k.Private.Sign(nil, sum.Sum(nil), hash)
	if err != nil {
		return nil, err
	}
	return append(appendFolded(field, base64.StdEncoding.EncodeToString(sig)), '\r', '\n'), nil
}

// lineLen is how long a line of the field becomes at most (RFC 5322, 2.1.1), where no name in it is longer.
const lineLen = 78

// unsigned writes the field up to "b=".
func (s *Signing) unsigned(k Key, algorithm string) []byte {
	domain, _ := foldName(k.Domain)
	selector, _ := foldName(k.Selector)
	b := append(make([]byte, 0, 1024), "DKIM-Signature: v=1; a="+algorithm+"; c=relaxed/relaxed;"...)
	line := len(b)
	word := func(w string) {
		if line+len(w) > lineLen {
			b = append(b, "\r\n\t"...)
			w = strings.TrimPrefix(w, " ")
			line = 1
		}
		b = append(b, w...)
		line += len(w)
	}
	word(" d=" + domain + ";")
	word(" s=" + selector + ";")
	word(" t=" + strconv.FormatInt(s.at, 10) + ";")
	for i, name := range s.names {
		if i == 0 {
			name = " h=" + name
		}
		if i == len(s.names)-1 {
			name += ";"
		} else {
			name += ":"
		}
		word(name)
	}
	word(" bh=" + base64.StdEncoding.EncodeToString(s.sum.sum[:]) + ";")
	return append(b, "\r\n\tb="...)
}

// appendFolded writes base64 over several lines, beginning behind "b=".
func appendFolded(b []byte, text string) []byte {
	for room := lineLen - len("\tb="); len(text) > room; room = lineLen - 1 {
		b = append(append(b, text[:room]...), "\r\n\t"...)
		text = text[room:]
	}
	return append(b, text...)
}
