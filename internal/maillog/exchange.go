package maillog

import "bytes"

// Columns of Exchange's message tracking that are looked at.
const (
	colTime = iota
	colClient
	colServer
	colServerName
	colContext
	colSource
	colEvent
	colID
	colTo
	colStatus
	colReference
	colSubject
	colSender
	colReturnPath
	numColumns
)

var columnNames = [numColumns]string{
	"date-time", "client-ip", "server-ip", "server-hostname", "source-context", "source", "event-id", "message-id", "recipient-address",
	"recipient-status", "reference", "message-subject", "sender-address", "return-path",
}

// exchangeHeader reads "#Fields: date-time,client-ip,…".
func (p *Parser) exchangeHeader(line []byte, e *Event) {
	e.Kind, e.MTA = Nothing, Exchange
	names, ok := after(line, "#Fields:")
	if !ok {
		if !bytes.Contains(line, []byte(":")) {
			e.MTA = NoMTA
		}
		return
	}
	var columns [numColumns]int
	n := 0
	for name := range bytes.SplitSeq(trim(names), []byte(",")) {
		n++
		for i, known := range columnNames {
			if string(trim(name)) == known {
				columns[i] = n
			}
		}
	}
	if columns[colEvent] == 0 || columns[colTime] == 0 || columns[colID] == 0 {
		e.Kind, e.MTA = NotUnderstood, NoMTA
		return
	}
	e.Kind = Header
	p.columns = columns
}

// exchange reads a line of comma-separated values (RFC 4180, 2). It says no to what is none, such as a line of another log.
func (p *Parser) exchange(line []byte, e *Event) bool {
	at, rest, ok := p.iso(line)
	if !ok || len(rest) == 0 && p.columns[colTime] != 1 {
		return false
	}
	if len(rest) > 0 && rest[0] != ',' {
		return false
	}
	return p.exchangeLine(at, line, e)
}

func (p *Parser) exchangeLine(at int64, line []byte, e *Event) bool {
	p.split(line)
	e.MTA, e.Kind, e.At = Exchange, Nothing, at
	get := func(column int) []byte {
		if i := p.columns[column]; i > 0 && i <= len(p.fields) {
			return p.fields[i-1]
		}
		return nil
	}
	if len(p.fields) < p.columns[colEvent] {
		e.Kind = NotUnderstood
		return true
	}
	e.ID = unbracket(get(colID))
	e.To, e.Text = get(colTo), get(colStatus)
	e.From, e.HasFrom = unbracket(get(colReturnPath)), p.columns[colReturnPath] > 0
	e.Addr, e.Host = get(colServer), get(colServerName)
	source := get(colSource)
	switch string(get(colEvent)) {
	case "RECEIVE", "HARECEIVE":
		e.Kind, e.Peer, e.Client = Received, get(colClient), ClientInside
		if string(source) == "SMTP" {
			e.Client = clientAt(e.Peer, false)
		}
		e.Addr, e.Host = nil, nil
	case "SEND", "SENDEXTERNAL":
		e.Kind, e.Via = Delivered, source
	case "DELIVER":
		e.Kind, e.Local = Delivered, true
	case "FAIL", "BADMAIL", "POISONMESSAGE":
		e.Kind, e.Via = Failed, source
		e.Stage = exchangeStage(get(colContext), e.Text)
	case "DEFER":
		e.Kind = Deferred
	case "DSN":
		e.Kind, e.Other = Bounce, e.ID
		reference := get(colReference)
		if i := bytes.IndexByte(reference, ';'); i > 0 {
			reference = reference[:i]
		}
		e.ID = unbracket(trim(reference))
		exchangeNotice(get(colSubject), e)
	}
	if len(e.ID) == 0 && e.Kind != Bounce {
		e.Kind = Nothing
	}
	return true
}

// exchangeNotice tells notices by their subject, as nothing else does. Exchange writes it in the language of the server: what is not known may be a bounce.
func exchangeNotice(subject []byte, e *Event) {
	switch {
	case bytes.HasPrefix(subject, []byte("Delayed:")), bytes.HasPrefix(subject, []byte("Delivery delayed")):
		e.Kind = Delay
	case bytes.HasPrefix(subject, []byte("Delivered:")), bytes.HasPrefix(subject, []byte("Relayed:")), bytes.HasPrefix(subject, []byte("Expanded:")):
		e.Kind = Success
	}
}

// exchangeStage knows the words with which Exchange itself refuses before it has asked anybody.
func exchangeStage(context, status []byte) Stage {
	if bytes.Contains(status, []byte("RESOLVER.")) || bytes.Contains(status, []byte("RecipientNotFound")) {
		return StageRcpt
	}
	if bytes.Contains(context, []byte("Content Filter")) || bytes.Contains(status, []byte("Content Filter")) {
		return StageData
	}
	return StageUnknown
}

// split splits a line into p.fields. Quotes are taken off in place: doubled ones make the field a copy.
func (p *Parser) split(line []byte) {
	p.fields, p.unquote = p.fields[:0], p.unquote[:0]
	if cap(p.unquote) < len(line) {
		p.unquote = make([]byte, 0, len(line)+1024)
	}
	for {
		if len(line) == 0 || line[0] != '"' {
			i := bytes.IndexByte(line, ',')
			if i < 0 {
				p.fields = append(p.fields, line)
				return
			}
			p.fields, line = append(p.fields, line[:i]), line[i+1:]
			continue
		}
		begin := len(p.unquote)
		i := 1
		for i < len(line) {
			if line[i] == '"' {
				if i+1 >= len(line) || line[i+1] != '"' {
					break
				}
				i++
			}
			p.unquote = append(p.unquote, line[i])
			i++
		}
		p.fields = append(p.fields, p.unquote[begin:len(p.unquote):len(p.unquote)])
		i = min(i+1, len(line))
		next := bytes.IndexByte(line[i:], ',')
		if next < 0 {
			return
		}
		line = line[i+next+1:]
	}
}
