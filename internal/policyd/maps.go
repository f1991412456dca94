package policyd

import (
	"strings"

	"backstop/internal/evidence"
	"backstop/internal/mail"
	"backstop/internal/postfix"
	"backstop/internal/session"
	"backstop/internal/smtp"
)

// The maps that can be asked.
const (
	MapRecipients = "recipients" // who exists: relay_recipient_maps
	MapSign       = "sign"       // a sender with his tag: sender_canonical_maps
	MapUntag      = "untag"      // a recipient without his: recipient_canonical_maps
)

// maps answers look-ups, of all connections.
type maps struct{ door *Door }

// Close has nothing to end: a look-up leaves nothing open.
func (maps) Close() {}

func (m maps) Lookup(name, key string) postfix.MapAnswer {
	s := m.door.state.Load()
	switch name {
	case MapRecipients:
		if a, ok := address(key); ok {
			return m.recipient(s.Engine, a)
		}
		return postfix.MapAnswer{Status: postfix.NotFound}
	case MapSign:
		if a, ok := address(key); ok {
			if signed, ok := s.Engine.Sign(a); ok {
				return postfix.MapAnswer{Status: postfix.OK, Text: signed.String()}
			}
		}
		return postfix.MapAnswer{Status: postfix.NotFound}
	case MapUntag:
		if a, ok := address(key); ok {
			return m.untag(s.Engine, a)
		}
		return postfix.MapAnswer{Status: postfix.NotFound}
	}
	m.door.complain(s, "map", "a map is asked for that there is not", "map", name, "maps", []string{MapRecipients, MapSign, MapUntag})
	return postfix.MapAnswer{Status: postfix.Perm, Text: "there is no map of this name: there are " + MapRecipients + ", " + MapSign + " and " + MapUntag}
}

// recipient decides as at RCPT. What Postfix knows of client and sender it does not tell here, so no rule about them is weighed.
func (m maps) recipient(e *session.Engine, to mail.Address) postfix.MapAnswer {
	s := e.Begin(m.door.ctx, m.door.protocol.Door(), evidence.Client{})
	defer s.Close()
	v := s.Rcpt(to, smtp.RcptParams{})
	switch {
	case accepts(v):
		return postfix.MapAnswer{Status: postfix.OK, Text: "OK"}
	case v.Reply.Permanent():
		return postfix.MapAnswer{Status: postfix.NotFound}
	}
	return postfix.MapAnswer{Status: postfix.Temp, Text: v.Reply.String()}
}

// untag gives a recipient without his tag, if there is such a recipient: whom recipient_canonical_maps
// has, Postfix takes for known, and would accept mail that nobody can deliver.
func (m maps) untag(e *session.Engine, tagged mail.Address) postfix.MapAnswer {
	to, changed := e.Untag(tagged)
	if !changed {
		return postfix.MapAnswer{Status: postfix.NotFound}
	}
	switch e.Known(m.door.ctx, to) {
	case evidence.Exists:
		return postfix.MapAnswer{Status: postfix.OK, Text: to.String()}
	case evidence.Missing:
		return postfix.MapAnswer{Status: postfix.NotFound}
	}
	return postfix.MapAnswer{Status: postfix.Temp, Text: "whether the recipient exists cannot be told now"}
}

// address reads a key. Parts of an address, by which other kinds of map are asked ("@example.com", "user"),
// and what is none are in no map. Keys have their quotes, but for old versions of Postfix.
func address(key string) (mail.Address, bool) {
	if strings.IndexByte(key, '@') <= 0 {
		return mail.Address{}, false
	}
	a, err := mail.ParseAddress(key)
	if err != nil {
		a, err = mail.ParseAddress(quoted(key))
	}
	return a, err == nil && a.Domain() != ""
}
