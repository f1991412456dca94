package mail

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestParseStatus(t *testing.T) {
	for in, want := range map[string]Status{
		"5.1.1": {5, 1, 1}, "2.0.0": {2, 0, 0}, "4.7.999": {4, 7, 999}, "5.7.30": {5, 7, 30},
	} {
		s, err := ParseStatus(in)
		if err != nil || s != want || s.String() != in {
			t.Errorf("%q is %v (%v)", in, s, err)
		}
	}
	for _, in := range []string{"", "5", "5.1", "5.1.1.1", "3.0.0", "0.0.0", "6.1.1", "55.1.1", "5.1000.1", "5.1.-1", "5.+1.1", "5.1.x", "5..1", " 5.1.1", "5.1.1 "} {
		if s, err := ParseStatus(in); err == nil {
			t.Errorf("%q is %v", in, s)
		}
	}
	if (Status{}).String() != "" || !(Status{}).IsZero() {
		t.Error("the zero status is none")
	}
}

func TestNewReply(t *testing.T) {
	for _, tc := range []struct {
		code   int
		status Status
		text   string
		ok     bool
	}{
		{250, Status{2, 0, 0}, "Ok", true},
		{550, Status{5, 1, 1}, "no", true},
		{451, Status{}, "later", true},
		{354, Status{}, "go on", true},
		{550, Status{5, 1, 1}, "one\ntwo", true},
		{550, Status{4, 1, 1}, "no", false},
		{450, Status{5, 1, 1}, "no", false},
		{250, Status{5, 0, 0}, "Ok", false},
		{354, Status{2, 0, 0}, "go on", false},
		{199, Status{}, "no", false},
		{600, Status{}, "no", false},
		{0, Status{}, "no", false},
		{-550, Status{}, "no", false},
		{250 + 1<<16, Status{}, "no", false},
		{550, Status{5, 1, 1}, "no\r\n250 Ok", false},
		{550, Status{5, 1, 1}, "no\rx", false},
		{550, Status{5, 1, 1}, "no\x00", false},
		{550, Status{5, 1, 1}, "no\x7f", false},
		{550, Status{5, 1, 1}, "no\x1b[2J", false},
	} {
		r, err := NewReply(tc.code, tc.status, tc.text)
		if (err == nil) != tc.ok || r.IsZero() == tc.ok {
			t.Errorf("%d %v %q: reply %q, error %v", tc.code, tc.status, tc.text, r, err)
		}
	}
}

func TestMustReplyPanics(t *testing.T) {
	for _, f := range []func(){
		func() { MustReply(550, "4.1.1", "no") },
		func() { MustReply(550, "5.1", "no") },
		func() { MustReply(50, "", "no") },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("a reply that disagrees with itself was made")
				}
			}()
			f()
		}()
	}
}

func TestReplyForms(t *testing.T) {
	id := ID([]byte("0123456789ab"))
	no := MustReply(550, "5.1.1", "User unknown")
	for _, tc := range []struct {
		r          Reply
		line, wire string
	}{
		{Reply{}, "", ""},
		{MustReply(354, "", "Go on"), "354 Go on", "354 Go on\r\n"},
		{no, "550 5.1.1 User unknown", "550 5.1.1 User unknown\r\n"},
		{no.About("ann@example.org"), "550 5.1.1 <ann@example.org>: User unknown", "550 5.1.1 <ann@example.org>: User unknown\r\n"},
		{no.About("a@b").WithID(id), "550 5.1.1 <a@b>: User unknown [0123456789ab]", "550 5.1.1 <a@b>: User unknown [0123456789ab]\r\n"},
		{no.WithID(id), "550 5.1.1 User unknown [0123456789ab]", "550 5.1.1 User unknown [0123456789ab]\r\n"},
		{no.WithID(ID{}), "550 5.1.1 User unknown", "550 5.1.1 User unknown\r\n"},
		{MustReply(214, "2.0.0", "one\ntwo").WithID(id), "214 2.0.0 one two [0123456789ab]", "214-2.0.0 one\r\n214 2.0.0 two [0123456789ab]\r\n"},
		{no.About("a\r\n250 Ok\x00@b"), "550 5.1.1 <a??250 Ok?@b>: User unknown", "550 5.1.1 <a??250 Ok?@b>: User unknown\r\n"},
	} {
		if got := tc.r.String(); got != tc.line {
			t.Errorf("on a line %q, want %q", got, tc.line)
		}
		if tc.wire == "" {
			continue
		}
		if got := string(tc.r.AppendWire(nil)); got != tc.wire {
			t.Errorf("on the wire %q, want %q", got, tc.wire)
		}
	}
}

func TestReplyClass(t *testing.T) {
	for code, want := range map[int][3]bool{250: {true}, 354: {true}, 451: {false, true}, 550: {false, false, true}} {
		r := MustReply(code, "", "x")
		if got := [3]bool{r.Positive(), r.Temporary(), r.Permanent()}; got != want || r.Code() != code || r.Class() != code/100 {
			t.Errorf("%d: positive, temporary, permanent %v", code, got)
		}
	}
	var none Reply
	if none.Positive() || none.Temporary() || none.Permanent() || none.Code() != 0 || !none.IsZero() || none.Text() != "" {
		t.Error("the zero reply is none")
	}
}

// TestLongReply: what is too long for a line is cut, the identifier is not, and no character is torn.
func TestLongReply(t *testing.T) {
	id := NewID()
	for _, unit := range []string{"x", "ä", "日", "🐢"} {
		for n := 470 / len(unit); n < 530/len(unit); n++ {
			wire := string(MustReply(550, "5.1.1", strings.Repeat(unit, n)).WithID(id).AppendWire(nil))
			if len(wire) > 512 || !strings.HasSuffix(wire, " ["+id.String()+"]\r\n") || !utf8.ValidString(wire) {
				t.Fatalf("%d times %q: %d octets, %q", n, unit, len(wire), wire[len(wire)-30:])
			}
			if want := 4 + 6 + n*len(unit) + 15 + 2; want <= 512 && len(wire) != want {
				t.Fatalf("%d times %q: cut to %d octets", n, unit, len(wire))
			}
		}
	}
	torn := string(MustReply(550, "5.1.1", strings.Repeat("\x80", 600)).WithID(id).AppendWire(nil)) // no UTF-8 at all
	if len(torn) != 512 || !strings.Contains(torn, id.String()) {
		t.Fatalf("%d octets: %q", len(torn), torn)
	}
}

// checkWire holds what is true of every reply on the wire.
func checkWire(t interface {
	Helper()
	Fatalf(string, ...any)
}, r Reply, id ID) {
	t.Helper()
	wire := r.AppendWire([]byte("before"))
	rest, ok := bytes.CutPrefix(wire, []byte("before"))
	if !ok || !bytes.HasSuffix(rest, []byte("\r\n")) {
		t.Fatalf("appended to %q", wire)
	}
	lines := strings.Split(strings.TrimSuffix(string(rest), "\r\n"), "\r\n")
	for i, line := range lines {
		if len(line) > 510 || strings.ContainsAny(line, "\r\n\x00") {
			t.Fatalf("line %q of %d octets", line, len(line))
		}
		code := MustReply(r.Code(), "", "").String()[:3]
		if !strings.HasPrefix(line, code) || (line[3] == '-') != (i < len(lines)-1) || line[3] != '-' && line[3] != ' ' {
			t.Fatalf("line %d of %d is %q", i+1, len(lines), line)
		}
		if s := r.Status(); !s.IsZero() && (!strings.HasPrefix(line[4:], s.String()+" ") || int(s.Class) != r.Class()) {
			t.Fatalf("line %q does not say %v", line, s)
		}
	}
	if last := lines[len(lines)-1]; !id.IsZero() && !strings.HasSuffix(last, " ["+id.String()+"]") {
		t.Fatalf("the identifier is lost: %q", last)
	}
	if strings.ContainsAny(r.String(), "\r\n") {
		t.Fatalf("more than one line: %q", r)
	}
}

func TestAnyReply(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		code := rapid.IntRange(-1, 700).Draw(t, "code")
		status := Status{uint16(rapid.IntRange(0, 6).Draw(t, "class")), uint16(rapid.IntRange(0, 999).Draw(t, "subject")), uint16(rapid.IntRange(0, 999).Draw(t, "detail"))}
		r, err := NewReply(code, status, rapid.String().Draw(t, "text"))
		if err != nil {
			if !r.IsZero() {
				t.Fatalf("a reply %q beside the error", r)
			}
			return
		}
		var id ID
		if rapid.Bool().Draw(t, "id") {
			id = NewID()
		}
		checkWire(t, r.About(rapid.String().Draw(t, "about")).WithID(id), id)
	})
}

func TestNewID(t *testing.T) {
	seen := map[ID]bool{}
	for range 1000 {
		id := NewID()
		if id.IsZero() || seen[id] || strings.Trim(id.String(), idAlphabet) != "" || len(id.String()) != 12 {
			t.Fatalf("identifier %q", id)
		}
		seen[id] = true
	}
	if (ID{}).String() != "" {
		t.Error("the zero identifier is none")
	}
}

func TestReplyAllocatesNothing(t *testing.T) {
	id := NewID()
	r := MustReply(550, "5.1.1", "Recipient address rejected: User unknown")
	buf := make([]byte, 0, 1024)
	n := testing.AllocsPerRun(100, func() {
		buf = r.About("nobody@example.org").WithID(id).AppendWire(buf[:0])
	})
	if n != 0 {
		t.Errorf("a reply to an address allocates %v times", n)
	}
	if n := testing.AllocsPerRun(100, func() { id = NewID() }); n != 0 {
		t.Errorf("an identifier allocates %v times", n)
	}
}
