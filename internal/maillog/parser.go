package maillog

import (
	"bytes"
	"time"
)

// MaxLine is how many octets of a line are looked at.
const MaxLine = 64 << 10

// Parser reads the lines of one file, or of one stream. It is not safe for concurrent use.
type Parser struct {
	clock
	columns [numColumns]int // of Exchange, by name; 0: not there, else its place from 1
	fields  [][]byte        // scratch
	unquote []byte          // scratch
	isExim  bool            // Exim's own files were seen
}

// NewParser makes one for a file that was last written to at the given moment: that tells the year of old timestamps.
// Times are given in zone, which is also that of timestamps without one.
func NewParser(zone *time.Location, written time.Time) *Parser {
	return &Parser{clock: newClock(zone, written)}
}

// Written says when what follows was last written to: the next file's time. Columns of Exchange are forgotten.
func (p *Parser) Written(t time.Time) {
	p.setWritten(t)
	p.columns, p.isExim = [numColumns]int{}, false
}

// Parse reads a line without its end. The event's octets are those of line, and good until the next call.
func (p *Parser) Parse(line []byte, e *Event) {
	*e = Event{}
	if len(line) > MaxLine {
		return
	}
	if len(line) > 0 && line[len(line)-1] == '\r' {
		line = line[:len(line)-1]
	}
	line, _ = after(line, "\xef\xbb\xbf")
	switch {
	case len(bytes.TrimLeft(line, " \t")) == 0:
		e.Kind = Nothing
	case line[0] == '#':
		p.exchangeHeader(line, e)
	case p.columns[colEvent] > 0 && p.exchange(line, e):
	default:
		p.dated(line, e)
	}
}

// dated reads a line that begins with a time.
func (p *Parser) dated(line []byte, e *Event) {
	rest := priority(line)
	if len(rest) < 16 {
		return
	}
	if digit(rest[0]) {
		versioned := false
		if rest[0] == '1' && rest[1] == ' ' { // RFC 5424, 6.2.2: the version
			rest, versioned = rest[2:], true
		}
		at, after, ok := p.iso(rest)
		if !ok {
			return
		}
		e.At = at
		after = trim(after)
		switch {
		case versioned:
			p.rfc5424(after, e)
		case rest[10] == ' ':
			p.eximFile(at, after, e)
		default:
			p.program(after, e)
		}
		return
	}
	at, after, ok := p.classic(rest)
	if !ok {
		return
	}
	e.At = at
	p.program(after, e)
}

// eximFile reads a line of Exim's own file, or of a syslog that writes its time in the same way.
func (p *Parser) eximFile(at int64, b []byte, e *Event) {
	if e.MTA = Exim; p.exim(b, e) {
		p.isExim = true
		return
	}
	*e = Event{At: at}
	if p.program(b, e); e.MTA == NoMTA && p.isExim {
		e.Kind, e.MTA = Nothing, Exim
	}
}

// priority takes "<22>" off (RFC 3164, 4.1.1).
func priority(line []byte) []byte {
	if line[0] != '<' {
		return line
	}
	if i := bytes.IndexByte(line[:min(len(line), 5)], '>'); i > 0 {
		return line[i+1:]
	}
	return line
}

// rfc5424 reads "host program pid msgid [data] text" (RFC 5424, 6).
func (p *Parser) rfc5424(b []byte, e *Event) {
	host, b := word(b)
	tag, b := word(b)
	_, b = word(b)
	_, b = word(b)
	for len(b) > 0 && b[0] == '[' { // structured data, in which "]" is escaped
		i := 1
		for i < len(b) && b[i] != ']' {
			if b[i] == '\\' {
				i++
			}
			i++
		}
		b = b[min(i+1, len(b)):]
	}
	b, _ = after(b, "-")
	b = trim(b)
	b, _ = after(b, "\xef\xbb\xbf")
	p.said(host, tag, b, e)
}

// program reads "host program[pid]: text".
func (p *Parser) program(b []byte, e *Event) {
	host, b := word(b)
	if len(host) > 0 && host[0] == '<' { // "<mail.info> host", as FreeBSD's syslogd writes it
		host, b = word(b)
	}
	i := 0
	for i < len(b) && b[i] != ':' && b[i] != '[' && b[i] != ' ' {
		i++
	}
	tag := b[:i]
	b = b[i:]
	if len(b) > 0 && b[0] == '[' {
		j := bytes.IndexByte(b, ']')
		if j < 0 {
			return
		}
		b = b[j+1:]
	}
	b, ok := after(b, ":")
	if !ok {
		e.Kind = Elsewhere // "last message repeated 2 times", and what has no program
		return
	}
	b = trim(b)
	if id, ok := after(b, "[ID "); ok { // "[ID 197553 mail.info]", as Solaris writes it
		if j := bytes.IndexByte(id, ']'); j >= 0 {
			b = trim(id[j+1:])
		}
	}
	p.said(host, tag, b, e)
}

// said hands what a program said to whoever knows it.
func (p *Parser) said(host, tag, text []byte, e *Event) {
	e.Kind = Elsewhere
	if len(tag) == 0 {
		return
	}
	at := e.At
	if i := bytes.LastIndexByte(tag, '/'); i >= 0 {
		if service(tag[i+1:]) {
			e.Place = hash(hash(0, host), tag[:bytes.IndexByte(tag, '/')])
			e.MTA = Postfix
			p.postfix(tag[i+1:], text, e)
			if len(e.Via) > 0 && bytes.HasSuffix(tag[:i], []byte("/relay")) {
				e.Via = tag[i-len("relay") : i] // the service for domains that are relayed for strangers (relay_domains)
			}
		}
		return
	}
	switch {
	case string(tag) == "smtpd":
		e.Place, e.MTA = hash(hash(0, host), tag), OpenSMTPD
		p.opensmtpd(text, e)
	case bytes.HasPrefix(tag, []byte("exim")):
		e.MTA = Exim
		if len(text) > 19 && text[4] == '-' && text[10] == ' ' { // its own time, as it writes both unless told otherwise
			if own, rest, ok := p.iso(text); ok {
				e.At, text = own, trim(rest)
			}
		}
		if !p.exim(text, e) {
			*e = Event{Kind: Nothing, MTA: Exim, At: at}
		}
	case bytes.HasPrefix(tag, []byte("sendmail")), bytes.HasPrefix(tag, []byte("sm-")):
		e.Place, e.MTA = hash(0, host), Sendmail
		p.sendmail(text, e)
	}
}
