package blocklist

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// TestTexts: what a list says is shown in one line each, and can do nothing to a terminal.
func TestTexts(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"Sorry  192.0.2.25\tis\r\nlisted ", "Sorry 192.0.2.25 is listed"},
		{"\x1b[2J\x1b]0;owned\x07yes", "?[2J?]0;owned?yes"},
		{"right\u202eleft", "right?left"},
		{"caf\u00e9 \xff", "caf\u00e9 ?"},
		{"\x00", "?"},
		{" \n", ""},
		{strings.Repeat("é", 400), strings.Repeat("é", maxText) + "…"},
	} {
		if got := printable(c.in); got != c.want {
			t.Errorf("%q: %q, want %q", c.in, got, c.want)
		}
	}
	if got := texts([]string{"a", "", "a", "b", "c", "d"}); strings.Join(got, "|") != "a|b|c" {
		t.Errorf("%q", got)
	}
}

func TestReason(t *testing.T) {
	for want, err := range map[string]error{
		"there was no answer in time": &net.DNSError{Err: "x", IsTimeout: true},
		"it broke":                    &net.DNSError{Err: "it\nbroke"},
		"something else":              errors.New("something else"),
	} {
		if got := judge(nil, 0, err); got.standing != Unknown || got.why != want {
			t.Errorf("%v: %+v", err, got)
		}
	}
}

// FuzzAnswer: whatever records come, an address is listed by codes of a list alone, and what is printed stays in its line.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte{127, 0, 0, 2}, "Blocked")
	f.Add([]byte{127, 0, 0, 2, 203, 0, 113, 7}, "\x1b[31m\u202e\xff")
	f.Add([]byte{127, 255, 255, 254}, strings.Repeat("a ", 500))
	f.Add([]byte{127, 0, 0, 1}, "")
	f.Fuzz(func(t *testing.T, octets []byte, text string) {
		var addrs []netip.Addr
		for ; len(octets) >= 4; octets = octets[4:] {
			addrs = append(addrs, netip.AddrFrom4([4]byte(octets)))
		}
		s := judge(addrs, 0, nil)
		if (s.standing == Clean) != (len(addrs) == 0) || (s.standing == Unknown) == (s.why == "") || s.standing == NotCovered {
			t.Errorf("%v: %+v", addrs, s)
		}
		if s.standing == Listed {
			for _, a := range append(addrs, s.codes...) {
				if q := a.As4(); q[0] != 127 || q[1] == 255 && q[2] == 255 || a == testClean {
					t.Errorf("listed by %v", a)
				}
			}
		}
		for _, line := range texts(strings.Split(text, "|")) {
			if line == "" || !utf8.ValidString(line) || utf8.RuneCountInString(line) > maxText+2 || strings.TrimSpace(line) != line {
				t.Errorf("%q", line)
			}
			for _, c := range line {
				if !unicode.IsGraphic(c) || c != ' ' && unicode.IsSpace(c) {
					t.Errorf("%q", line)
				}
			}
		}
	})
}
