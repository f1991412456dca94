package journal

import (
	"bytes"
	"log/slog"
	"strconv"
	"unicode"
	"unicode/utf8"

	"backstop/internal/evidence"
)

// text writes r as one line for people: when, what, to whom, why.
//
//	05:10:27 refuse rcpt  192.0.2.7 <ann@example.org> -> bob@example.com  recipient-missing  550 5.1.1 … [id]  1.2ms
func (e *encoder) text(r *Record) {
	e.clock.set(r.Time)
	e.buf = append(append(e.buf, e.clock.date[len("2006-01-02T"):]...), ' ')
	e.column(string(r.Effect), len("refuse"))
	e.column(r.Stage.String(), len("connect"))
	if r.Client.IsValid() {
		e.buf = append(r.Client.AppendTo(e.buf), ' ')
	}
	if r.Helo != "" && !r.FromGiven { // before MAIL the name is all there is to recognise the client by
		e.buf = append(e.buf, "helo "...)
		e.buf = append(appendWord(e.buf, r.Helo), ' ')
	}
	if r.FromGiven || !r.From.IsNull() {
		e.buf = append(e.buf, '<')
		if !r.From.IsNull() {
			e.buf = appendWord(e.buf, r.From.String())
		}
		e.buf = append(e.buf, "> "...)
	}
	if !r.To.IsZero() {
		e.buf = append(e.buf, "-> "...)
		e.buf = append(appendWord(e.buf, r.To.String()), ' ')
	}
	e.buf = append(e.buf, ' ')
	e.buf = append(appendWord(e.buf, r.Rule), ' ')
	if r.Watched != "" {
		e.buf = append(e.buf, "(watch: "...)
		e.buf = append(appendWord(e.buf, r.Watched), ") "...)
	}
	e.textReplies(r)
	e.buf = append(e.buf, ' ')
	e.buf = appendMillis(e.buf, r.Took)
	e.buf = append(e.buf, "ms\n"...)
}

func (e *encoder) textReplies(r *Record) {
	shown := false
	if !r.Reply.IsZero() {
		reply := e.reply(r)
		shown = bytes.Contains(reply, r.ID[:])
		e.buf = append(e.buf, ' ')
		e.buf = append(appendPhrase(e.buf, reply), ' ')
	}
	if !r.ID.IsZero() && !shown {
		e.buf = append(append(append(e.buf, '['), r.ID[:]...), "] "...)
	}
	if d := r.Downstream; d != nil && d.Outcome != evidence.OutcomeNotAsked {
		e.buf = append(e.buf, " downstream "...)
		e.buf = append(append(e.buf, d.Outcome.String()...), ": "...)
		if d.Code != 0 {
			e.buf = appendPhrase(e.buf, e.answer(d))
		} else {
			e.scratch = append(e.scratch[:0], d.Text...)
			e.buf = appendPhrase(e.buf, e.scratch)
		}
		e.buf = append(e.buf, ' ')
	}
	switch {
	case r.Source != "":
		e.scratch = append(append(append(e.scratch[:0], r.Source...), ": "...), r.Finding...)
		e.buf = append(appendPhrase(append(e.buf, " source "...), e.scratch), ' ')
	case r.Finding != "":
		e.scratch = append(e.scratch[:0], r.Finding...)
		e.buf = append(appendPhrase(append(e.buf, " because: "...), e.scratch), ' ')
	}
	if r.Bounce != "" {
		e.scratch = append(e.scratch[:0], r.Bounce...)
		e.buf = append(appendPhrase(append(e.buf, " bounce: "...), e.scratch), ' ')
	}
	if !r.Redirected.IsZero() {
		e.buf = append(e.buf, " redirected to "...)
		e.buf = append(appendWord(e.buf, r.Redirected.String()), ' ')
	}
}

// column writes s and pads it to width.
func (e *encoder) column(s string, width int) {
	e.buf = append(e.buf, s...)
	for n := len(s); n <= width; n++ {
		e.buf = append(e.buf, ' ')
	}
}

// appendWord writes s as it stands when it is one printable word, and quoted
// otherwise, so that nothing in it can be taken for the line's own text.
func appendWord(b []byte, s string) []byte {
	for _, r := range s {
		if r == utf8.RuneError || r == '"' || r == '<' || r == '>' || r == '\\' || !unicode.IsPrint(r) || r == ' ' {
			return strconv.AppendQuote(b, s)
		}
	}
	if s == "" {
		return append(b, '-')
	}
	return append(b, s...)
}

// appendPhrase writes printable text with its spaces as it stands; whatever
// could move a cursor or break the line is escaped in place.
func appendPhrase(b, s []byte) []byte {
	for len(s) > 0 {
		r, n := utf8.DecodeRune(s)
		switch {
		case r == utf8.RuneError && n == 1:
			b = append(b, '\\', 'x', hexDigits[s[0]>>4], hexDigits[s[0]&0xf])
		case unicode.IsPrint(r):
			b = append(b, s[:n]...)
		default:
			q := strconv.AppendQuoteRune(nil, r)
			b = append(b, q[1:len(q)-1]...)
		}
		s = s[n:]
	}
	return b
}

// appendAttr writes one attribute of an ordinary log line as " key=value".
func appendAttr(b []byte, prefix string, a slog.Attr) []byte {
	a.Value = a.Value.Resolve()
	if a.Equal(slog.Attr{}) {
		return b
	}
	if a.Value.Kind() == slog.KindGroup {
		if a.Key != "" {
			prefix += a.Key + "."
		}
		for _, in := range a.Value.Group() {
			b = appendAttr(b, prefix, in)
		}
		return b
	}
	b = appendWord(append(b, ' '), prefix+a.Key)
	return appendWord(append(b, '='), a.Value.String())
}
