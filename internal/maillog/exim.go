package maillog

import "bytes"

// exim reads what stands behind the time in Exim's main log: "1abcde-000123-AB <= ann@example.com …". It says no where nothing shows that
// Exim wrote it.
func (p *Parser) exim(b []byte, e *Event) bool {
	e.Kind = Nothing
	if len(b) > 0 && b[0] == '[' { // log_selector = +pid
		if i := bytes.IndexByte(b, ']'); i > 0 && i+1 < len(b) {
			if _, ok := number(b[1:i]); ok {
				b = trim(b[i+1:])
			}
		}
	}
	id, rest := word(b)
	if !eximID(id) {
		return eximWithoutID(b, e)
	}
	e.ID = id
	flag, rest := word(rest)
	switch string(flag) {
	case "<=":
		eximCame(rest, e)
	case "=>", "->", ">>":
		e.Kind = Delivered
		eximGone(rest, e)
	case "**":
		e.Kind = Failed
		eximGone(rest, e)
	case "==":
		e.Kind = Deferred
		eximGone(rest, e)
	case "*>":
		e.Kind, e.Dropped = Delivered, true
		eximGone(rest, e)
	case "Completed":
		e.Kind = Ended
	case "Frozen", "removed", "cancelled":
		// It stays in the queue, or what becomes of it is said in a line of its own.
	}
	return true
}

// eximID tells message ids: 6-6-2 digits and letters, from 4.97 on 6-11-4.
func eximID(b []byte) bool {
	if len(b) != 16 && len(b) != 23 {
		return false
	}
	second := 13
	if len(b) == 23 {
		second = 18
	}
	for i, c := range b {
		if i == 6 || i == second {
			if c != '-' {
				return false
			}
		} else if !alnum(c) {
			return false
		}
	}
	return true
}

// eximWithoutID knows the lines that begin otherwise. Of refusals it takes the recipient that the server itself did not know.
func eximWithoutID(b []byte, e *Event) bool {
	if i := bytes.Index(b, []byte(" rejected RCPT <")); i >= 0 {
		to, rest, ok := path(b[i+len(" rejected RCPT "):])
		if ok && (bytes.Contains(rest, []byte("Unrouteable address")) || bytes.Contains(rest, []byte("nknown user")) || bytes.Contains(rest, []byte("ser unknown"))) {
			e.Kind, e.To = Refused, to
			eximRefused(b[:i], e)
		}
		return true
	}
	for _, begin := range eximBegins {
		if bytes.HasPrefix(b, begin) {
			return true
		}
	}
	return false
}

// eximRefused reads "H=name (helo) [192.0.2.1] U=user F=<sender>": who asked.
func eximRefused(b []byte, e *Event) {
	e.Client = ClientLocal
	known := false
	eximFields(b, func(name byte, value []byte) bool {
		switch name {
		case 'H':
			e.Peer, e.Client = lastBrackets(value), ClientOutside
		case 'A':
			known = true
		}
		return name != 'F'
	})
	if e.Client == ClientOutside {
		e.Client = clientAt(e.Peer, known)
	}
}

// eximBegins are how the lines without an id begin that stand at the top of a file.
var eximBegins = [][]byte{
	[]byte("H="), []byte("cwd="), []byte("exim "), []byte("Start queue run"), []byte("End queue run"), []byte("SMTP "), []byte("no host name found"), []byte("TLS error"),
}

// eximCame reads "ann@example.com H=name (helo) [192.0.2.1] P=esmtp S=…", and for a notice of its own "<> R=ID U=user P=local S=…".
func eximCame(b []byte, e *Event) {
	from, rest := eximAddress(b)
	if from == nil {
		e.Kind = NotUnderstood
		return
	}
	e.Kind, e.HasFrom, e.From = Received, true, unbracket(from)
	known, host := false, false
	var protocol []byte
	eximFields(rest, func(name byte, value []byte) bool {
		switch name {
		case 'R':
			if eximID(value) {
				e.Other = value
			}
		case 'H':
			e.Peer, host = lastBrackets(value), true
		case 'A':
			known = true
		case 'P':
			protocol = value
		case 'T': // the subject, and what anybody may have written into it
			return false
		}
		return true
	})
	switch {
	case host:
		e.Client = clientAt(e.Peer, known)
	case len(e.Other) > 0 && (len(protocol) == 0 || string(protocol) == "local"):
		e.Client = ClientSelf
	default:
		e.Client = ClientLocal
	}
}

// eximAddress takes an address off, which may have blanks in a quoted local part or stand in angle brackets.
func eximAddress(b []byte) (address, rest []byte) {
	if len(b) > 0 && b[0] == '<' {
		if a, rest, ok := path(b); ok {
			return a[:len(a):len(a)], trim(rest)
		}
	}
	quoted := false
	for i, c := range b {
		switch {
		case c == '"':
			quoted = !quoted
		case c == ' ' && !quoted:
			return b[:i], b[i+1:]
		}
	}
	if quoted {
		return word(b)
	}
	if len(b) == 0 {
		return nil, nil
	}
	return b, nil
}

// eximFields calls f for each "X=value" of one letter; a value goes on to the next such. f says whether to go on.
func eximFields(b []byte, f func(name byte, value []byte) bool) {
	for len(b) > 0 {
		if len(b) < 2 || b[1] != '=' || !alnum(b[0]) {
			_, b = word(b)
			continue
		}
		name := b[0]
		b = b[2:]
		end := len(b)
		for i := 0; i+2 < len(b); i++ {
			if b[i] != ' ' {
				continue
			}
			if n := fieldName(b[i+1:]); n > 0 {
				end = i
				break
			}
		}
		if !f(name, b[:end]) {
			return
		}
		b = b[min(end+1, len(b)):]
	}
}

// fieldName is the length of the "name=" with which b begins, or 0.
func fieldName(b []byte) int {
	for i := 0; i < len(b) && i < 8; i++ {
		switch {
		case b[i] == '=':
			return i
		case !alnum(b[i]) && b[i] != '*':
			return 0
		}
	}
	return 0
}

// lastBrackets returns what stands in the last square brackets: "helo ([192.0.2.9]) [192.0.2.1]:25" has 192.0.2.1.
func lastBrackets(b []byte) []byte {
	i := bytes.LastIndexByte(b, '[')
	if i < 0 {
		return nil
	}
	return between(b[i:], '[', ']')
}

// eximGone reads "address <original> F=<sender> R=router T=transport H=host [192.0.2.1]: what the server said".
func eximGone(b []byte, e *Event) {
	to, rest := eximAddress(b)
	if to == nil {
		e.Kind = NotUnderstood
		return
	}
	if n := len(to); e.Kind != Delivered && n > 0 && to[n-1] == ':' { // "** nobody@example.com: Unrouteable address"
		e.To, e.Text = unbracket(to[:n-1]), rest
		return
	}
	e.To = unbracket(to)
	if len(rest) > 0 && rest[0] == '(' { // "=> /dev/null (alice@example.com) <…>": a pipe or a file has its user behind it
		if i := bytes.IndexByte(rest, ')'); i > 0 {
			e.To, e.Local, rest = rest[1:i], true, trim(rest[i+1:])
		}
	}
	if a, more, ok := path(rest); ok {
		e.Accepted, rest = a, trim(more)
	}
	// The text begins with the first ": " behind the fields; a host may have colons, and no blank behind them.
	head := rest
	if e.Kind != Delivered {
		if i := bytes.Index(rest, []byte(": ")); i >= 0 {
			head, e.Text = rest[:i], rest[i+2:]
		}
	}
	eximFields(head, func(name byte, value []byte) bool {
		switch name {
		case 'T':
			e.Via, _ = word(value)
		case 'H':
			e.Host, _ = word(value)
			e.Addr, e.Port = lastBrackets(value), portOf(value)
		case 'F':
			e.HasFrom, e.From = true, unbracket(trim(value))
		case 'C':
			return false
		}
		return true
	})
	if e.Kind == Delivered {
		if i := bytes.Index(rest, []byte(`C="`)); i >= 0 {
			e.Text = bytes.TrimSuffix(rest[i+3:], []byte(`"`))
			eximPassed(e)
		}
	}
	if e.Kind == Delivered && len(e.Via) > 0 && e.Host == nil {
		e.Local = true // what failed may have failed before a host was asked
	}
	e.Stage = eximStage(e.Text)
}

// eximPassed finds under which id the next Exim of this log has it: "OK id=1abcde-000123-AB".
func eximPassed(e *Event) {
	if i := bytes.Index(e.Text, []byte("id=")); i >= 0 {
		id := e.Text[i+3:]
		for j, c := range id {
			if !alnum(c) && c != '-' {
				id = id[:j]
				break
			}
		}
		if eximID(id) {
			e.Other = id
		}
	} else if i := bytes.Index(e.Text, []byte("queued as ")); i >= 0 {
		id, _ := word(e.Text[i+len("queued as "):])
		e.Other = bytes.TrimRight(id, `".`)
	}
}

// eximStage reads "SMTP error from remote mail server after RCPT TO:<…>:".
func eximStage(text []byte) Stage {
	i := bytes.Index(text, []byte(" after "))
	if i < 0 || !bytes.Contains(text[:i], []byte("error")) {
		return StageUnknown
	}
	command, _ := after(text[i+len(" after "):], "pipelined ")
	switch {
	case bytes.HasPrefix(command, []byte("RCPT")):
		return StageRcpt
	case bytes.HasPrefix(command, []byte("end of data")), bytes.HasPrefix(command, []byte("DATA")), bytes.HasPrefix(command, []byte("BDAT")),
		bytes.HasPrefix(command, []byte("sending data")):
		return StageData
	}
	return StageOther
}
