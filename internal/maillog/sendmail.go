package maillog

import "bytes"

// sendmail reads "QUEUEID: text".
func (p *Parser) sendmail(text []byte, e *Event) {
	e.Kind = Nothing
	i := bytes.IndexByte(text, ':')
	if i < 0 || !sendmailID(text[:i]) {
		return
	}
	id, rest := text[:i], trim(text[i+1:])
	e.ID = id
	switch {
	case bytes.HasPrefix(rest, []byte("from=")):
		sendmailFrom(rest[len("from="):], e)
	case bytes.HasPrefix(rest, []byte("to=")):
		sendmailTo(rest[len("to="):], e)
	case bytes.HasPrefix(rest, []byte("ruleset=check_rcpt, arg1=")):
		if to, more, ok := path(rest[len("ruleset=check_rcpt, arg1="):]); ok && bytes.Contains(more, []byte("User unknown")) {
			e.Kind, e.To = Refused, to
		}
	case bytes.HasPrefix(rest, []byte("<")):
		if to, more, ok := path(rest); ok && bytes.Contains(more, []byte("... User unknown")) {
			e.Kind, e.To = Refused, to
		}
	case bytes.HasPrefix(rest, []byte("clone: owner=")), bytes.HasPrefix(rest, []byte("clone ")):
		sendmailClone(rest, e)
	default:
		sendmailNotice(rest, e)
	}
}

// sendmailID tells queue ids: eight digits and letters of the time, then the digits of the process. Before 8.10 there were two or three letters first.
func sendmailID(b []byte) bool {
	if len(b) < 8 || len(b) > 18 {
		return false
	}
	for i, c := range b {
		if !alnum(c) || i >= len(b)-5 && !digit(c) {
			return false
		}
	}
	return true
}

// field returns the value of ", name=" up to the next ", ".
func field(b []byte, name string) []byte {
	for rest := b; ; {
		i := bytes.Index(rest, []byte(name))
		if i < 0 {
			return nil
		}
		if value := rest[i+len(name):]; i >= 2 && rest[i-1] == ' ' && rest[i-2] == ',' {
			if j := bytes.Index(value, []byte(", ")); j >= 0 {
				value = value[:j]
			}
			return value
		}
		rest = rest[i+len(name):]
	}
}

// sendmailFrom reads "<address>, size=…, nrcpts=1, …, daemon=MTA, relay=name [192.0.2.1]".
func sendmailFrom(b []byte, e *Event) {
	address, rest, ok := path(b)
	if !ok { // a local user: "from=ann, size=…"
		i := bytes.Index(b, []byte(", "))
		if i < 0 {
			e.Kind = NotUnderstood
			return
		}
		address, rest = b[:i], b[i:]
	}
	e.Kind, e.HasFrom, e.From = Received, true, address
	e.Count, _ = number(field(rest, "nrcpts="))
	relay := field(rest, "relay=")
	e.Peer = between(relay, '[', ']')
	daemon := field(rest, "daemon=")
	submitted := bytes.HasPrefix(daemon, []byte("MS")) || bytes.HasPrefix(daemon, []byte("TLS")) || len(field(rest, "authid=")) > 0
	switch {
	case len(e.Peer) == 0:
		e.Client = ClientLocal
	default:
		e.Client = clientAt(e.Peer, submitted)
	}
}

// sendmailTo reads "<a@…>,<b@…>, ctladdr=<…>, delay=…, mailer=esmtp, relay=…, dsn=5.1.1, reply=550 …, stat=User unknown".
func sendmailTo(b []byte, e *Event) {
	e.Kind = NotUnderstood
	end := bytes.Index(b, []byte(", "))
	at := bytes.Index(b, []byte(", stat="))
	if at < 0 {
		if bytes.HasSuffix(b, []byte("...")) { // the list was too long for a line of syslog, and goes on in the next
			e.Kind = Nothing
		}
		return
	}
	if end < 0 || end > at {
		return
	}
	e.To = b[:end]
	head, stat := b[end:at], b[at+len(", stat="):]
	e.DSN = field(head, "dsn=")
	e.Via = field(head, "mailer=")
	if c := field(head, "ctladdr="); c != nil {
		e.Accepted = unbracket(c)
	}
	if relay := field(head, "relay="); len(relay) > 0 {
		e.Addr = between(relay[1:], '[', ']')
		e.Host, _ = word(relay)
		e.Host = bytes.TrimSuffix(e.Host, []byte("."))
		if e.Addr == nil {
			e.Addr = between(relay, '[', ']')
		}
		if n := len(e.Host); n > 2 && e.Host[0] == '[' {
			e.Host = e.Host[1 : n-1]
		}
	}
	switch string(e.Via) {
	case "local", "prog", "cyrus", "cyrusv2", "cyrusv2d", "procmail", "lmtp", "*file*", "dovecot":
		e.Local = true
	}
	e.Text = stat
	if i := bytes.Index(head, []byte(", reply=")); i >= 0 {
		e.Text = head[i+len(", reply="):]
	}
	switch {
	case bytes.HasPrefix(stat, []byte("Sent")):
		e.Kind = Delivered
	case bytes.HasPrefix(stat, []byte("queued")), bytes.HasPrefix(stat, []byte("Deferred")), bytes.HasPrefix(stat, []byte("Please try again later")):
		e.Kind = Deferred
	case len(e.DSN) > 0 && e.DSN[0] == '4':
		e.Kind = Deferred
		if bytes.Contains(stat, []byte("Message could not be delivered for")) {
			e.Kind = Failed
		}
	case len(e.DSN) > 0 && e.DSN[0] == '2':
		e.Kind = Delivered
	default:
		e.Kind = Failed
	}
}

// sendmailNotice reads "QUEUEID: DSN: User unknown".
func sendmailNotice(b []byte, e *Event) {
	i := bytes.IndexByte(b, ':')
	if i < 0 || !sendmailID(b[:i]) {
		return
	}
	text := trim(b[i+1:])
	switch {
	case bytes.HasPrefix(text, []byte("DSN: Return receipt")), bytes.HasPrefix(text, []byte("return receipt")):
		e.Kind = Success
	case bytes.HasPrefix(text, []byte("DSN: Warning:")), bytes.HasPrefix(text, []byte("sender notify: Warning:")):
		e.Kind = Delay
	case bytes.HasPrefix(text, []byte("DSN: ")), bytes.HasPrefix(text, []byte("return to sender: ")), bytes.HasPrefix(text, []byte("sender notify: ")):
		e.Kind = Bounce
	case bytes.HasPrefix(text, []byte("postmaster notify: ")):
		e.Kind = Postmaster
	default:
		return
	}
	if e.Kind == Bounce && bytes.HasPrefix(text, []byte("sender notify: Warning")) {
		e.Kind = Delay
	}
	e.Other = b[:i]
	e.Text = text[bytes.IndexByte(text, ':')+1:]
}

// sendmailClone reads "clone QUEUEID, owner=…": an envelope was split.
func sendmailClone(b []byte, e *Event) {
	if other, ok := after(b, "clone "); ok {
		if i := bytes.IndexByte(other, ','); i > 0 && sendmailID(other[:i]) {
			e.Kind, e.Other = Passed, other[:i]
		}
	}
}
