package session

import (
	"bytes"
	"io"
	"slices"
	"strings"

	"backstop/internal/evidence"
	"backstop/internal/mail"
	"backstop/internal/verdict"
)

// Changes are what a message needs that somebody else delivers: the same that a door which delivers does itself, but for
// the trace of the hop, which is not ours then.
type Changes struct {
	Tagged bool             // the sender changes
	From   mail.ReversePath // to this one
	Delete []mail.Address   // recipients that it does not go to, as they were given
	Add    []mail.Address   // and those that it goes to instead
	Edits  []FieldEdit      // of fields that it came with
	Fields []Field          // that stand on top, in this order

	seen map[string]int // fields by folded name
}

// Field is one header field.
type Field struct {
	Name  string
	Value string // what stands behind the colon, its blank included; folded with CR LF and a blank
}

// FieldEdit takes one field out.
type FieldEdit struct {
	Name string
	Nth  int // among the fields of this name as they came, whatever the case, counted from 1
}

// KeepRecipients says that those of the open transaction cannot be changed, so what must go elsewhere is put off.
func (s *Session) KeepRecipients() { s.fixed = true }

// Judge is Message for a door that delivers nothing: what becomes of a message that is accepted or redirected is in
// the changes.
func (s *Session) Judge(body io.Reader) (verdict.Verdict, Changes) {
	start := s.e.Now()
	s.c.Stage = evidence.StageData
	s.settle()
	m := s.takeMessage(body)
	defer m.release()
	if v, over := s.gone(m); over {
		return v, Changes{}
	}
	v := s.gather(func(q evidence.Question) {
		if q == evidence.AskRedirect {
			s.c.Bounce.Redirected = true
			if s.fixed {
				s.c.Downstream = evidence.Answer{Outcome: evidence.OutcomeUnsupported, Text: "the mail server lets no milter change recipients"}
			}
			return
		}
		s.askMessage(q, m)
	})
	var c Changes
	if positive(v) && m.err == nil {
		c = s.changes(m)
	}
	if v, over := s.gone(m); over {
		return v, Changes{}
	}
	return s.decided(m, v, start), c
}

// changes is edit and envelope for a message that the MTA delivers.
func (s *Session) changes(m *holding) Changes {
	var c Changes
	var own []Field
	for f := range fields(s.edit(nil, m, &c)) {
		own = append(own, field(f))
	}
	c.Fields = append(own, c.Fields...)
	if from := s.tagged(); !s.passedOn && from.Address.Key() != s.c.From.Address.Key() {
		c.From, c.Tagged = from, true
	}
	for _, to := range s.rcpts {
		hand, other := s.e.Untag(to)
		switch {
		case s.c.Bounce.Redirected && slices.Contains(s.unproven, to.Key()):
			c.Delete = append(c.Delete, to)
		case other:
			c.Delete, c.Add = append(c.Delete, to), append(c.Add, hand)
		}
	}
	if s.c.Bounce.Redirected {
		c.Add = append(c.Add, s.c.Bounce.BounceTo)
	}
	return c
}

// field takes one field apart, its last line end left out.
func field(f []byte) Field {
	name, value, _ := bytes.Cut(bytes.TrimRight(f, "\r\n"), []byte(":"))
	return Field{string(name), string(value)}
}

// note counts a field of the header, and hears what becomes of it. What is put in its place has another name, so it
// stands on top with the others.
func (c *Changes) note(f, instead []byte, out bool) {
	if c == nil {
		return
	}
	if c.seen == nil {
		c.seen = map[string]int{}
	}
	name := strings.TrimRight(field(f).Name, " \t\r\n")
	key, plain := folded(name)
	c.seen[key]++
	if !out {
		return
	}
	if plain { // else no reader takes it for the field that it looks like, and the number might hit another
		c.Edits = append(c.Edits, FieldEdit{name, c.seen[key]})
	}
	if len(instead) > 0 {
		c.Fields = append(c.Fields, field(instead))
	}
}

// folded is a field's name as MTAs compare it, and whether it is one (RFC 5322, 2.2). Letters beyond ASCII have no other
// case there.
func folded(name string) (key string, plain bool) {
	b := []byte(name)
	plain = len(b) > 0
	for i, c := range b {
		if c <= ' ' || c > '~' {
			plain = false
		}
		if c >= 'A' && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b), plain
}
