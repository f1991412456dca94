package maillog

import (
	"bytes"
	"io"
	"strings"
	"testing"
)

// check holds an event to what every event keeps: its octets are those of its line, or unquoted from it.
func check(t *testing.T, line []byte, e *Event) {
	t.Helper()
	for _, f := range [][]byte{e.ID, e.Other, e.From, e.To, e.Accepted, e.Peer, e.Host, e.Addr, e.Port, e.Via, e.DSN, e.Text} {
		if len(f) > 0 && e.MTA != Exchange && !bytes.Contains(line, f) {
			t.Errorf("%q has what is not in %q", f, line)
		}
		if bytes.IndexByte(f, '\n') >= 0 && !bytes.Contains(line, []byte("\n")) {
			t.Errorf("%q in %q", f, line)
		}
	}
	if e.Kind > Nothing && e.Kind != Refused && e.Kind != Header && len(e.ID) == 0 && e.Kind != Bounce && e.Kind != Delay && e.Kind != Success {
		t.Errorf("%s of nothing: %q", kindNames[e.Kind], line)
	}
	Each(e.To, func(a []byte) {
		if len(a) == 0 {
			t.Errorf("an empty address in %q", e.To)
		}
	})
	Private(e.Addr)
}

// fuzz gives what follows the beginning of a line to the parser.
func fuzz(f *testing.F, begin string) {
	for _, l := range lines {
		if rest, ok := strings.CutPrefix(l.line, begin); ok {
			f.Add([]byte(rest))
		}
	}
	f.Fuzz(func(t *testing.T, rest []byte) {
		p := NewParser(someday.Location(), someday)
		line := append([]byte(begin), rest...)
		var e Event
		p.Parse(line, &e)
		check(t, line, &e)
	})
}

func FuzzPostfix(f *testing.F)   { fuzz(f, postfixAt) }
func FuzzExim(f *testing.F)      { fuzz(f, eximAt) }
func FuzzSendmail(f *testing.F)  { fuzz(f, sendmailAt) }
func FuzzOpenSMTPD(f *testing.F) { fuzz(f, smtpdAt) }
func FuzzAnyLine(f *testing.F)   { fuzz(f, "") }

func FuzzExchange(f *testing.F) {
	f.Add([]byte(`2026-11-22T14:00:00.1Z,SEND,SMTP,<a@x>,b@example.com;c@example.com,250 ok,,"one, ""two""",<>,192.0.2.1,`))
	f.Add([]byte(`2026-11-22T14:00:00.1Z,DSN,DSN,<d@x>,b@example.com,,<a@x>,Undeliverable: x,<>,,`))
	f.Fuzz(func(t *testing.T, line []byte) {
		p := NewParser(someday.Location(), someday)
		var e Event
		p.Parse([]byte(exchangeFields), &e)
		p.Parse(line, &e)
		check(t, line, &e)
	})
}

// FuzzScan: whatever the blocks, the lines are those of the text.
func FuzzScan(f *testing.F) {
	f.Add([]byte("a\nb\n\nc"), 1)
	f.Fuzz(func(t *testing.T, text []byte, size int) {
		if len(text) > MaxLine {
			return
		}
		var got []byte
		n := 0
		err := Scan(&slow{text, 1 + size&7}, func(l []byte) bool {
			got = append(append(got, l...), '\n')
			n++
			return true
		})
		want := append(bytes.Clone(text), '\n')
		if len(text) == 0 || text[len(text)-1] == '\n' {
			want = text
		}
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%q, %v; want %q", got, err, want)
		}
	})
}

// slow reads a few octets at once.
type slow struct {
	rest []byte
	n    int
}

func (s *slow) Read(p []byte) (int, error) {
	n := copy(p[:min(len(p), s.n)], s.rest)
	s.rest = s.rest[n:]
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}
