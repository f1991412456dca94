package session

import (
	"bytes"
	"time"

	"backstop/internal/evidence"
	"backstop/internal/mail"
)

// received is the trace header of this hop (RFC 5321, 4.4). The recipient is named
// only when there is one, so that nobody learns of a blind copy (RFC 5321, 7.2).
func (s *Session) received() []byte {
	c := &s.c.Client
	b := make([]byte, 0, 1024) // what else we write stands behind it
	b = append(b, "Received: from "...)
	b = appendSafe(b, c.Helo)
	b = append(appendOrigin(b, c), "\r\n\tby "...)
	b = append(b, s.e.Hostname...)
	b = append(append(append(b, ' '), s.mark()...), " with "...)
	b = append(b, s.protocol()...)
	b = append(b, " id "...)
	b = append(b, s.id[:]...)
	if len(s.rcpts) == 1 {
		b = append(b, "\r\n\tfor <"...)
		b = append(b, s.rcpts[0].String()...)
		b = append(b, '>')
	}
	b = append(b, ";\r\n\t"...)
	b = s.e.Now().AppendFormat(b, time.RFC1123Z)
	return append(b, "\r\n"...)
}

// mark stands behind our name in a trace header. It tells the doors apart: what leaves by one and comes
// in by the other, from a user of ours to a user of ours, is in no loop.
func (s *Session) mark() string {
	if s.c.Leaves {
		return "(Backstop, outbound)"
	}
	return "(Backstop)"
}

// appendOrigin writes who the client is as far as the connection tells, a unix socket
// that nobody is known behind.
func appendOrigin(b []byte, c *evidence.Client) []byte {
	if c.Addr.IsUnspecified() {
		return append(b, " (local socket)"...)
	}
	b = append(b, " ("...)
	if c.Name != "" {
		b = append(appendSafe(b, c.Name), ' ')
	}
	b = append(b, '[')
	if c.Addr.Is6() {
		b = append(b, "IPv6:"...)
	}
	return append(c.Addr.AppendTo(b), "])"...)
}

// protocol is the "with" of the trace header (RFC 3848; RFC 6531, 3.7.1).
func (s *Session) protocol() string {
	switch c := &s.c.Client; {
	case s.params.UTF8 && c.TLS:
		return "UTF8SMTPS"
	case s.params.UTF8:
		return "UTF8SMTP"
	case c.Protocol == "":
		return "SMTP"
	default:
		return c.Protocol
	}
}

// appendSafe writes what a stranger said into a header: printable ASCII without
// the characters that would change its grammar.
func appendSafe(b []byte, s string) []byte {
	const longest = 255
	for i := 0; i < len(s) && i < longest; i++ {
		c := s[i]
		if c <= ' ' || c > '~' || c == '(' || c == ')' || c == ';' || c == '\\' || c == '"' || c == '<' || c == '>' {
			c = '?'
		}
		b = append(b, c)
	}
	return b
}

// maxPasses is how many Received headers may carry the mark of one of our doors: mail that is
// forwarded out of the store and comes in again for somebody else is no loop yet.
const maxPasses = 3

// inspect counts the trace headers. A message that came through here before for
// the very same recipient, or more than maxPasses times, is in a loop.
func (s *Session) inspect(head []byte) {
	passes := 0
	for field := range fields(head) {
		if len(field) < 9 || !bytes.EqualFold(field[:9], []byte("received:")) {
			continue
		}
		s.c.Message.Received++
		if !s.byUs(field) {
			continue
		}
		if passes++; passes > maxPasses || s.forSame(field) {
			s.c.Message.OurName = true
		}
	}
}

// fields yields the header fields at the head of a message, folded lines with them.
func fields(head []byte) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		if emptyLine(head) {
			return // no header at all
		}
		start := 0
		for i := 0; i < len(head); {
			n := bytes.IndexByte(head[i:], '\n')
			if n < 0 {
				break
			}
			next := i + n + 1
			if next < len(head) && (head[next] == ' ' || head[next] == '\t') {
				i = next
				continue
			}
			if !yield(head[start:next]) {
				return
			}
			if emptyLine(head[next:]) {
				return
			}
			start, i = next, next
		}
	}
}

// emptyLine says whether b begins with the line that ends a header. Binary mail may have no CR in it.
func emptyLine(b []byte) bool {
	return bytes.HasPrefix(b, []byte("\r\n")) || bytes.HasPrefix(b, []byte("\n"))
}

// byUs finds "by HOSTNAME" and the mark of this door in a Received field (RFC 5321, 4.4: the name that a
// server calls itself). The MTA behind or beside us may have our name, and its mail comes through here once.
func (s *Session) byUs(field []byte) bool {
	for rest := field; ; {
		i := bytes.Index(rest, []byte("by "))
		if i < 0 {
			return false
		}
		before := i == 0 || rest[i-1] == ' ' || rest[i-1] == '\t'
		rest = rest[i+3:]
		n := len(s.e.Hostname)
		if before && len(rest) > n && bytes.EqualFold(rest[:n], []byte(s.e.Hostname)) && bytes.HasPrefix(bytes.TrimLeft(rest[n:], " \t\r\n"), []byte(s.mark())) {
			return true
		}
	}
}

// forSame says whether a Received field of ours names the only recipient of this transaction.
func (s *Session) forSame(field []byte) bool {
	if len(s.rcpts) != 1 {
		return false
	}
	_, rest, ok := bytes.Cut(field, []byte("for <"))
	if !ok {
		return false
	}
	path, _, ok := bytes.Cut(rest, []byte(">;"))
	if !ok {
		return false
	}
	a, err := mail.ParseAddress(string(path))
	return err == nil && a.Key() == s.rcpts[0].Key()
}
