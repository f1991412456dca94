package maillog

import "bytes"

// opensmtpd reads "SESSION smtp message msgid=…" and "SESSION mta delivery evpid=… …". Messages are told by their msgid, which
// is how their evpids begin.
func (p *Parser) opensmtpd(b []byte, e *Event) {
	e.Kind = Nothing
	session, rest := word(b)
	if len(session) != 16 {
		return
	}
	area, rest := word(rest)
	what, rest := word(rest)
	switch string(area) {
	case "smtp":
		smtpdSession(session, what, rest, e)
	case "mta", "mda", "lmtp":
		if string(what) == "delivery" {
			e.Local = string(area) != "mta"
			smtpdDelivery(rest, e)
		}
	}
}

func smtpdSession(session, what, rest []byte, e *Event) {
	switch string(what) {
	case "connected":
		e.Kind, e.ID = Session, session
		e.Peer = value(rest, "address=")
		switch {
		case string(e.Peer) == "local":
			e.Client = ClientLocal
		default:
			e.Peer = bytes.Trim(e.Peer, "[]")
			e.Client = clientAt(e.Peer, false)
		}
	case "disconnected":
		e.Kind, e.ID = Ended, session
	case "authentication":
		if string(value(rest, "result=")) == "ok" {
			e.Kind, e.ID, e.Client = Session, session, ClientInside
		}
	case "message":
		e.Kind, e.ID, e.Other = Received, value(rest, "msgid="), session
		e.Count, _ = number(value(rest, "nrcpt="))
		if len(e.ID) != 8 {
			e.Kind = NotUnderstood
		}
	case "envelope":
		evpid := value(rest, "evpid=")
		i := bytes.Index(rest, []byte(" from="))
		if len(evpid) != 16 || i < 0 {
			e.Kind = NotUnderstood
			return
		}
		from, more, ok := path(rest[i+len(" from="):])
		to, found := after(more, " to=")
		if to, _, ok2 := path(to); ok && found && ok2 {
			e.Kind, e.ID, e.Other, e.HasFrom, e.From, e.To = Envelope, evpid[:8], session, true, from, to
			return
		}
		e.Kind = NotUnderstood
	}
}

// smtpdDelivery reads "evpid=… from=<…> to=<…> rcpt=<…> source="…" relay="192.0.2.1 (name)" delay=0s result="PermFail" stat="550 …"".
func smtpdDelivery(b []byte, e *Event) {
	e.Kind = NotUnderstood
	evpid, rest := word(b)
	evpid, ok := after(evpid, "evpid=")
	if !ok || len(evpid) != 16 {
		return
	}
	e.ID = evpid[:8]
	if from, ok := after(rest, "from="); ok {
		if e.From, rest, ok = path(from); !ok {
			return
		}
		e.HasFrom = true
		rest = trim(rest)
	}
	to, ok := after(rest, "to=")
	if !ok {
		return
	}
	if e.To, rest, ok = path(to); !ok {
		return
	}
	rest = trim(rest)
	if orig, ok := after(rest, "rcpt="); ok {
		if a, more, ok := path(orig); ok {
			if rest = trim(more); string(a) != "-" && len(a) > 0 {
				e.Accepted = a
			}
		}
	}
	relay := quoted(rest, "relay=")
	e.Addr, relay = word(relay)
	if e.Host = bytes.Trim(relay, "()"); len(e.Host) == 0 {
		e.Host = e.Addr
	}
	e.Via = quoted(rest, "source=")
	result := quoted(rest, "result=")
	if result == nil {
		result = value(rest, "result=")
	}
	if i := bytes.Index(rest, []byte("stat=")); i >= 0 {
		e.Text = bytes.Trim(rest[i+len("stat="):], `"`)
	}
	switch string(result) {
	case "Ok", "OK":
		e.Kind = Delivered
	case "PermFail", "Loop":
		e.Kind = Failed
	case "TempFail":
		e.Kind = Deferred
	case "Expired":
		e.Kind = Failed
	}
}

// value returns what follows name up to the next blank.
func value(b []byte, name string) []byte {
	if i := bytes.Index(b, []byte(name)); i >= 0 {
		v, _ := word(b[i+len(name):])
		return v
	}
	return nil
}

// quoted returns what stands in quotes behind name.
func quoted(b []byte, name string) []byte {
	i := bytes.Index(b, []byte(name))
	if i < 0 || i+len(name) >= len(b) || b[i+len(name)] != '"' {
		return nil
	}
	v := b[i+len(name)+1:]
	if j := bytes.IndexByte(v, '"'); j >= 0 {
		return v[:j]
	}
	return nil
}
