package journal

import (
	"strconv"
	"time"
	"unicode/utf8"

	"backstop/internal/evidence"
)

// encoder builds one line. It is pooled: each keeps its own buffers and the
// second for which it last wrote out date and zone.
type encoder struct {
	buf     []byte
	scratch []byte
	clock   clock
}

// clock writes times. Formatting a date costs more than the rest of a line, and
// nearly every line falls into the same second as the one before.
type clock struct {
	second int64
	loc    *time.Location
	date   []byte // "2006-01-02T15:04:05" of that second
	zone   []byte // "Z" or "+02:00"
}

func (c *clock) set(t time.Time) {
	if sec := t.Unix(); c.date == nil || sec != c.second || t.Location() != c.loc {
		c.second, c.loc = sec, t.Location()
		c.date = t.AppendFormat(c.date[:0], "2006-01-02T15:04:05")
		c.zone = t.AppendFormat(c.zone[:0], "Z07:00")
	}
}

// append writes t as time.RFC3339Nano does.
func (c *clock) append(b []byte, t time.Time) []byte {
	c.set(t)
	b = append(b, c.date...)
	b = appendFraction(b, int64(t.Nanosecond()), 9)
	return append(b, c.zone...)
}

// appendFraction writes n as ".ddd" of so many digits without the zeros at its end; nothing for 0.
func appendFraction(b []byte, n int64, digits int) []byte {
	if n == 0 {
		return b
	}
	for n%10 == 0 {
		n /= 10
		digits--
	}
	b = append(b, '.')
	at := len(b)
	for range digits {
		b = append(b, '0')
	}
	for i := at + digits - 1; i >= at; i-- {
		b[i] = byte('0' + n%10)
		n /= 10
	}
	return b
}

// appendMillis writes d in milliseconds, to the microsecond.
func appendMillis(b []byte, d time.Duration) []byte {
	us := d.Microseconds()
	if us < 0 { // a clock set back is no reason to print nonsense
		us = 0
	}
	b = strconv.AppendInt(b, us/1000, 10)
	return appendFraction(b, us%1000, 3)
}

// json writes r as slog.JSONHandler writes a line with the same attributes.
func (e *encoder) json(r *Record) {
	e.buf = append(e.buf, `{"time":"`...)
	e.buf = e.clock.append(e.buf, r.Time)
	e.buf = append(e.buf, `","level":"INFO","msg":`...)
	e.buf = appendString(e.buf, string(r.Effect))
	if !r.ID.IsZero() {
		e.buf = append(append(append(e.buf, `,"id":"`...), r.ID[:]...), '"')
	}
	e.field(`,"door":`, r.Door.String())
	if r.Leaves {
		e.buf = append(e.buf, `,"leaves":true`...)
	}
	e.field(`,"stage":`, r.Stage.String())
	if r.Client.IsValid() {
		e.buf = append(e.buf, `,"client":"`...)
		e.buf = append(r.Client.AppendTo(e.buf), '"')
	}
	e.field(`,"helo":`, r.Helo)
	switch {
	case !r.From.IsNull():
		e.field(`,"from":`, r.From.String())
	case r.FromGiven:
		e.buf = append(e.buf, `,"from":"<>"`...)
	}
	e.field(`,"to":`, r.To.String())
	e.field(`,"rule":`, r.Rule)
	if !r.Reply.IsZero() {
		e.buf = append(e.buf, `,"reply":`...)
		e.buf = appendString(e.buf, e.reply(r))
	}
	e.buf = append(e.buf, `,"ms":`...)
	e.buf = appendMillis(e.buf, r.Took)
	if d := r.Downstream; d != nil && d.Outcome != evidence.OutcomeNotAsked {
		e.downstream(d)
	}
	e.field(`,"source":`, r.Source)
	e.field(`,"finding":`, r.Finding)
	e.field(`,"bounce":`, r.Bounce)
	e.field(`,"redirected":`, r.Redirected.String())
	if r.Mode == evidence.Watch {
		e.buf = append(e.buf, `,"mode":"watch"`...)
	}
	e.field(`,"watched":`, r.Watched)
	e.buf = append(e.buf, "}\n"...)
}

// field writes a key (with comma and colon) and its value, unless the value is empty.
func (e *encoder) field(key, value string) {
	if value == "" {
		return
	}
	e.buf = append(e.buf, key...)
	e.buf = appendString(e.buf, value)
}

// reply is the reply on one line, in the scratch buffer: valid until the next use.
func (e *encoder) reply(r *Record) []byte {
	e.scratch = r.Reply.Append(e.scratch[:0])
	for i, c := range e.scratch {
		if c == '\n' {
			e.scratch[i] = ' '
		}
	}
	return e.scratch
}

func (e *encoder) downstream(d *evidence.Answer) {
	e.buf = append(e.buf, `,"downstream":{"outcome":`...)
	e.buf = appendString(e.buf, d.Outcome.String())
	e.field(`,"host":`, d.Host)
	e.field(`,"step":`, d.Step.String())
	if d.Code != 0 {
		e.buf = append(e.buf, `,"reply":`...)
		e.buf = appendString(e.buf, e.answer(d))
	} else {
		e.field(`,"error":`, d.Text)
	}
	e.buf = append(e.buf, '}')
}

// answer is the downstream's reply on one line, in the scratch buffer.
func (e *encoder) answer(d *evidence.Answer) []byte {
	b := strconv.AppendInt(e.scratch[:0], int64(d.Code), 10)
	if s := d.Status; !s.IsZero() {
		b = strconv.AppendUint(append(b, ' '), uint64(s.Class), 10)
		b = strconv.AppendUint(append(b, '.'), uint64(s.Subject), 10)
		b = strconv.AppendUint(append(b, '.'), uint64(s.Detail), 10)
	}
	if d.Text != "" {
		b = append(append(b, ' '), d.Text...)
	}
	e.scratch = b
	return b
}

// plain tells which octets stand for themselves in a JSON string.
var plain = func() (t [utf8.RuneSelf]bool) {
	for c := byte(' '); c < utf8.RuneSelf; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// appendString writes s as a JSON string (RFC 8259, 7). Octets that are not
// UTF-8 become U+FFFD, and U+2028 and U+2029 are escaped: all as log/slog does it.
func appendString[S string | []byte](b []byte, s S) []byte {
	b = append(b, '"')
	start, i := 0, 0
	for i < len(s) {
		if c := s[i]; c < utf8.RuneSelf {
			if !plain[c] {
				b = append(b, s[start:i]...)
				b = appendEscape(b, c)
				start = i + 1
			}
			i++
			continue
		}
		n := min(len(s)-i, utf8.UTFMax)
		var four [utf8.UTFMax]byte
		copy(four[:], s[i:i+n])
		r, size := utf8.DecodeRune(four[:n])
		switch {
		case r == utf8.RuneError && size == 1:
			b = append(append(b, s[start:i]...), `\ufffd`...)
			start = i + size
		case r == '\u2028' || r == '\u2029':
			b = append(append(b, s[start:i]...), `\u202`...)
			b = append(b, hexDigits[r&0xf])
			start = i + size
		}
		i += size
	}
	b = append(b, s[start:]...)
	return append(b, '"')
}

const hexDigits = "0123456789abcdef"

func appendEscape(b []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(b, '\\', c)
	case '\n':
		return append(b, '\\', 'n')
	case '\r':
		return append(b, '\\', 'r')
	case '\t':
		return append(b, '\\', 't')
	}
	return append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&0xf])
}
