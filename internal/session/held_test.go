package session

import (
	"bytes"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"backstop/internal/evidence"
	"backstop/internal/smtp"
)

// TestHold: a message comes out as it went in, whatever part of it was held meanwhile and however.
func TestHold(t *testing.T) {
	header := "From: a@example.org\r\nSubject: x\r\n"
	torn := errors.New("torn")
	for _, size := range []int{0, 10, headSize - 40, headSize, headSize + 1, memSize - 30, memSize, 3 * memSize} {
		text := header + "\r\n" + strings.Repeat("0123456789abcde\n", size/16)
		for name, body := range map[string]func() io.Reader{
			"at once":       func() io.Reader { return strings.NewReader(text) },
			"in halves":     func() io.Reader { return iotest.HalfReader(strings.NewReader(text)) },
			"end with data": func() io.Reader { return iotest.DataErrReader(strings.NewReader(text)) },
			"torn":          func() io.Reader { return io.MultiReader(strings.NewReader(text), iotest.ErrReader(torn)) },
			"too big":       func() io.Reader { return io.MultiReader(strings.NewReader(text), iotest.ErrReader(smtp.ErrTooBig)) },
		} {
			for _, how := range []func(*holding){
				func(m *holding) {},
				func(m *holding) { m.fill(headSize) },
				func(m *holding) { m.fill(headSize); m.fill(memSize) },
				func(m *holding) { m.finish() },
				func(m *holding) { m.fill(headSize); m.finish(); m.finish() },
				func(m *holding) { m.fill(headSize); m.finish(); m.fill(memSize) },
				func(m *holding) { m.fill(headSize); m.fill(maxHeader); m.finish(); m.fill(memSize) },
			} {
				m := hold(body(), t.TempDir())
				how(m)
				r := m.reader()
				head, whole := r.Buffered()
				if whole && string(head) != text {
					t.Errorf("%d octets, %s: %d octets are said to be all", len(text), name, len(head))
				}
				got, err := io.ReadAll(r)
				var want error
				switch name {
				case "torn":
					want = torn
				case "too big":
					want = smtp.ErrTooBig
				}
				if !bytes.Equal(got, []byte(text)) || !errors.Is(err, want) || !errors.Is(m.err, want) || m.ours {
					t.Errorf("%d octets, %s: read %d, %v; %v", len(text), name, len(got), err, m.err)
				}
				if m.size() != int64(len(text)) {
					t.Errorf("%d octets, %s: counted %d", len(text), name, m.size())
				}
				m.release()
			}
		}
	}
	if n, f := held.Load(), spooled.Load(); n != 0 || f != 0 {
		t.Errorf("%d octets are still counted as held, and %d in files", n, f)
	}
}

// TestHoldLeavesNothing: what is kept in a file has no name there.
func TestHoldLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	m := hold(strings.NewReader(strings.Repeat("x", 2*memSize)), dir)
	m.finish()
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 || m.file == nil || m.filed == 0 {
		t.Errorf("%v %v; in the file: %d", left, err, m.filed)
	}
	m.release()
}

// TestHoldNoRoom: what cannot be kept is our fault, and the downstream gets nothing that looks whole.
func TestHoldNoRoom(t *testing.T) {
	m := hold(strings.NewReader(strings.Repeat("x", 2*memSize)), t.TempDir()+"/missing")
	defer m.release()
	m.finish()
	if !m.ours || m.err == nil {
		t.Fatalf("%v %v", m.ours, m.err)
	}
	if _, err := io.ReadAll(m.reader()); err == nil {
		t.Error("the message can be read to an end")
	}
}

func TestHeader(t *testing.T) {
	for text, want := range map[string]struct {
		end, body int
		found     bool
	}{
		"":                     {0, 0, true},
		"\r\nbody":             {0, 2, true},
		"A: 1\r\n":             {6, 6, true},
		"A: 1\r\n\r\nbody":     {6, 8, true},
		"A: 1\n\nbody\r\n\r\n": {5, 6, true},
		"A: 1\r\nno end":       {12, 12, true},
	} {
		m := &holding{mem: []byte(text), whole: true}
		end, found := m.header()
		if end != want.end || found != want.found || m.bodyAt(end) != want.body {
			t.Errorf("%q: %d %v, body at %d", text, end, found, m.bodyAt(end))
		}
	}
	m := &holding{mem: []byte("A: 1\r\nB: 2\r\n")}
	if _, found := m.header(); found {
		t.Error("a header has an end although more of it may follow")
	}
}

// TestRewrite: fields go, change or stay, folded lines with them, and the rest stays as it is.
func TestRewrite(t *testing.T) {
	const text = "X: 1\r\nBackstop-Origin: v=1\r\n more\r\nY: 2\r\nbackstop-bounce : proven\r\nBackstop-Seal: v=1; k=3; t=17; h=0a\r\n\r\nBackstop-Origin: body\r\n"
	s := alone(t, evidence.Client{})
	m := &holding{mem: []byte(text), whole: true}
	var c Changes
	m.rewrite(s.inbound, &c)
	want := "X: 1\r\nY: 2\r\nBackstop-Foreign-Seal: v=1; k=3; t=17; h=0a\r\n\r\nBackstop-Origin: body\r\n"
	if string(m.mem) != want {
		t.Errorf("got %q", m.mem)
	}
	edits := []FieldEdit{{"Backstop-Origin", 1}, {"backstop-bounce", 1}, {"Backstop-Seal", 1}}
	fields := []Field{{"Backstop-Foreign-Seal", " v=1; k=3; t=17; h=0a"}}
	if !slices.Equal(c.Edits, edits) || !slices.Equal(c.Fields, fields) {
		t.Errorf("an MTA is told %v and %v", c.Edits, c.Fields)
	}
	plain := []byte("X: 1\r\n\r\nbody")
	m = &holding{mem: plain, whole: true}
	m.rewrite(s.inbound, nil)
	if &m.mem[0] != &plain[0] {
		t.Error("a message with nothing to change was copied")
	}
}
