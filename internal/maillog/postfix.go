package maillog

import "bytes"

// service tells the programs of Postfix.
func service(name []byte) bool {
	switch string(name) {
	case "smtpd", "smtp", "lmtp", "local", "virtual", "pipe", "qmgr", "cleanup", "bounce", "error", "retry", "discard", "pickup",
		"anvil", "master", "scache", "tlsmgr", "trivial-rewrite", "postscreen", "dnsblog", "verify", "showq", "flush", "proxymap",
		"postfix-script", "tlsproxy", "sendmail", "postdrop", "postqueue", "postsuper", "oqmgr", "nqmgr", "qmqpd", "spawn", "trace",
		"defer", "relay", "submission", "smtps", "proxywrite", "rewrite", "postlog", "postlogd", "error_or_retry", "postkick", "postmap", "postalias":
		return true
	}
	return false
}

// postfix reads what one of its programs said: "QUEUEID: text".
func (p *Parser) postfix(program, text []byte, e *Event) {
	e.Kind = Nothing
	i := bytes.IndexByte(text, ':')
	if i < 0 {
		return
	}
	id, rest := text[:i], trim(text[i+1:])
	if string(id) == "NOQUEUE" || string(id) == "warning" || !postfixID(id) {
		if string(id) == "NOQUEUE" {
			postfixReject(rest, e)
		}
		return
	}
	e.ID = id
	if _, ok := after(rest, "warning:"); ok {
		return
	}
	if to, ok := after(rest, "to="); ok {
		postfixTo(program, to, e)
		return
	}
	switch string(program) {
	case "qmgr", "oqmgr", "nqmgr":
		postfixQueue(rest, e)
	case "bounce", "trace", "defer":
		postfixNotice(rest, e)
	case "pickup":
		if bytes.HasPrefix(rest, []byte("uid=")) {
			e.Kind, e.Client = Received, ClientLocal
		}
	case "smtpd", "qmqpd":
		postfixClient(rest, e)
	case "smtp", "lmtp", "virtual", "local", "pipe", "error", "retry", "discard":
		// "host … said: 450 … (in reply to …)", "lost connection with …", "enabling PIX workarounds": what becomes of it says "to=".
	case "postsuper":
		if bytes.HasPrefix(rest, []byte("removed")) {
			e.Kind = Ended
		}
	case "cleanup":
		if bytes.HasPrefix(rest, []byte("reject:")) || bytes.HasPrefix(rest, []byte("milter-reject:")) || bytes.HasPrefix(rest, []byte("discard:")) || bytes.HasPrefix(rest, []byte("milter-discard:")) {
			e.Kind = Ended
		}
	}
}

// postfixID tells queue ids: the short are hexadecimal, the long have digits and letters but no vowels.
func postfixID(b []byte) bool {
	if len(b) < 5 || len(b) > 24 {
		return false
	}
	hex, digits := true, false
	for _, c := range b {
		switch {
		case digit(c):
			digits = true
		case c >= 'A' && c <= 'F':
		case alnum(c):
			hex = false
		default:
			return false
		}
	}
	return hex || digits
}

// postfixTo reads "<address>, orig_to=<address>, relay=…, delay=…, dsn=5.1.1, status=bounced (text)".
func postfixTo(program, b []byte, e *Event) {
	e.Kind = NotUnderstood
	to, rest, ok := path(b)
	if !ok {
		return
	}
	e.To = to
	head, text := rest, []byte(nil)
	at := bytes.Index(rest, []byte("status="))
	if at < 0 {
		return
	}
	head = rest[:at]
	status, text := word(rest[at+len("status="):])
	if n := len(text); n > 1 && text[0] == '(' && text[n-1] == ')' {
		text = text[1 : n-1]
	}
	e.Text = text
	e.Via = program
	postfixWay(head, e)
	e.Stage = stageOf(text)
	switch string(program) {
	case "local", "virtual":
		e.Local = true
	case "lmtp": // a filter may put off and refuse what leaves, too; it does so when it has the message
		e.Local = string(status) == "sent" || e.Stage == StageRcpt
	case "discard":
		e.Dropped = true
	}
	switch string(status) {
	case "sent":
		e.Kind = Delivered
		postfixPassed(e)
	case "bounced":
		e.Kind = Failed
	case "deferred", "SOFTBOUNCE":
		e.Kind = Deferred
	case "undeliverable", "deliverable": // answers to address probes
		e.Kind = Nothing
	}
}

// postfixPassed finds the queue id under which a message goes on: in the program local, or behind a filter.
func postfixPassed(e *Event) {
	if id, ok := after(e.Text, "forwarded as "); ok && string(e.Via) == "local" {
		e.Kind, e.Other = Passed, id
		return
	}
	// A mailbox queues nothing: what LMTP answers so is a filter.
	if i := bytes.LastIndex(e.Text, []byte("queued as ")); i >= 0 && (!e.Local && string(e.Via) != "pipe" || string(e.Via) == "lmtp") {
		e.Local = false
		id := e.Text[i+len("queued as "):]
		for j, c := range id {
			if !alnum(c) && c != '-' {
				id = id[:j]
				break
			}
		}
		e.Other = id
	}
}

// postfixWay reads the fields before the status.
func postfixWay(b []byte, e *Event) {
	for len(b) > 0 {
		b, _ = after(b, ", ")
		i := bytes.IndexByte(b, '=')
		if i < 0 {
			return
		}
		name, value := b[:i], b[i+1:]
		if string(name) == "orig_to" {
			if one, rest, ok := path(value); ok {
				e.Accepted, b = one, rest
				continue
			}
		}
		if j := bytes.Index(value, []byte(", ")); j >= 0 {
			value, b = value[:j], value[j:]
		} else {
			b = nil
		}
		switch string(name) {
		case "relay":
			if string(value) != "none" {
				e.Host, e.Addr, e.Port = value, between(value, '[', ']'), portOf(value)
				if j := bytes.IndexByte(value, '['); j > 0 {
					e.Host = value[:j]
				}
			}
		case "dsn":
			e.DSN = value
		}
	}
}

// stageOf reads "(in reply to RCPT TO command)", which Postfix adds to what a server said.
func stageOf(text []byte) Stage {
	i := bytes.LastIndex(text, []byte("(in reply to "))
	if i < 0 {
		return StageUnknown
	}
	command := text[i+len("(in reply to "):]
	switch {
	case bytes.HasPrefix(command, []byte("RCPT")):
		return StageRcpt
	case bytes.HasPrefix(command, []byte("end of DATA")), bytes.HasPrefix(command, []byte("DATA")), bytes.HasPrefix(command, []byte("BDAT")):
		return StageData
	}
	return StageOther
}

// postfixQueue reads what the queue manager said.
func postfixQueue(b []byte, e *Event) {
	if string(b) == "removed" {
		e.Kind = Ended
		return
	}
	from, ok := after(b, "from=")
	if !ok {
		return
	}
	address, rest, ok := path(from)
	if !ok {
		e.Kind = NotUnderstood
		return
	}
	e.Kind, e.HasFrom, e.From = Sender, true, address
	if i := bytes.Index(rest, []byte("nrcpt=")); i >= 0 {
		e.Count = leading(rest[i+len("nrcpt="):])
	}
	if bytes.HasPrefix(rest, []byte(", status=expired")) || bytes.HasPrefix(rest, []byte(", status=force-expired")) {
		e.Kind = Expired
	}
}

// postfixNotice reads "sender non-delivery notification: QUEUEID".
func postfixNotice(b []byte, e *Event) {
	i := bytes.Index(b, []byte(" notification: "))
	if i < 0 {
		return
	}
	other := b[i+len(" notification: "):]
	if !postfixID(other) {
		e.Kind = NotUnderstood
		return
	}
	e.Other = other
	switch string(b[:i]) {
	case "sender non-delivery":
		e.Kind = Bounce
	case "sender delay":
		e.Kind = Delay
	case "sender delivery status":
		e.Kind = Success
	default:
		e.Kind = Postmaster
	}
}

// postfixClient reads "client=name[192.0.2.1], sasl_method=PLAIN, sasl_username=ann".
func postfixClient(b []byte, e *Event) {
	client, ok := after(b, "client=")
	if !ok {
		if bytes.HasPrefix(b, []byte("reject: ")) {
			postfixReject(b, e)
		}
		return
	}
	e.Kind = Received
	e.Peer = between(client, '[', ']')
	e.Client = clientAt(e.Peer, bytes.Contains(client, []byte(", sasl_username=")))
}

// clientAt is where a client with this address is.
func clientAt(address []byte, known bool) Client {
	if known || Private(address) {
		return ClientInside
	}
	return ClientOutside
}

// postfixReject reads "reject: RCPT from name[192.0.2.1]: 550 5.1.1 <nobody@example.com>: Recipient address rejected: User unknown in relay recipient table; from=<…> to=<…>".
func postfixReject(b []byte, e *Event) {
	e.Kind = Nothing
	if !bytes.HasPrefix(b, []byte("reject: RCPT")) || !bytes.Contains(b, []byte("User unknown in ")) {
		return
	}
	if i := bytes.Index(b, []byte(" to=<")); i >= 0 {
		if to, _, ok := path(b[i+len(" to="):]); ok {
			e.Kind, e.To = Refused, to
			e.Peer = between(b, '[', ']')
			e.Client = clientAt(e.Peer, false)
		}
	}
}
