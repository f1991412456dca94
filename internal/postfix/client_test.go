package postfix

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// told is a server that says this to whatever it is asked, and hangs up.
func told(t *testing.T, answer string) net.Conn {
	t.Helper()
	near, far := net.Pipe()
	t.Cleanup(func() { near.Close() })
	go func() {
		defer far.Close()
		far.Read(make([]byte, 4096))
		io.WriteString(far, answer)
	}()
	return near
}

func TestPolicyClient(t *testing.T) {
	for answer, want := range map[string]string{
		"action=DUNNO\n\n":                              "DUNNO",
		"action=550 5.1.1 no such\n\n":                  "550 5.1.1 no such",
		"action=" + string(make([]byte, 3000)) + "\n\n": string(make([]byte, 3000)),
	} {
		if got, err := NewPolicyClient(told(t, answer)).Ask(); got != want || err != nil {
			t.Errorf("%.40q: %.40q, %v", answer, got, err)
		}
	}
	for answer, want := range map[string]error{
		"": ErrHangUp, "action=DUN": ErrHangUp, "action=DUNNO\n": ErrHangUp,
		"DUNNO\n\n": ErrMalformed, "action=DUNNO\nmore\n\n": ErrMalformed, strings.Repeat("x", 200_000): ErrMalformed,
	} {
		if _, err := NewPolicyClient(told(t, answer)).Ask(); !errors.Is(err, want) {
			t.Errorf("%.40q: %v, want %v", answer, err, want)
		}
	}
	for _, a := range []Attr{{"", "x"}, {"a=b", "x"}, {"a\n", "x"}, {"a", "x\ny"}} {
		if err := NewPolicyClient(nil).Send(a); !errors.Is(err, ErrMalformed) {
			t.Errorf("%q was sent: %v", a, err)
		}
	}
}

func TestSocketmapClient(t *testing.T) {
	for answer, want := range map[string]MapAnswer{
		"5:OK me,": {OK, "me"}, "9:NOTFOUND ,": {NotFound, ""}, "8:TEMP why,": {Temp, "why"},
		"11:TIMEOUT why,": {Timeout, "why"}, "8:PERM why,": {Perm, "why"},
	} {
		if got, err := NewSocketmapClient(told(t, answer)).Lookup("m", "k"); got != want || err != nil {
			t.Errorf("%q: %v, %v", answer, got, err)
		}
	}
	for answer, want := range map[string]error{
		"": ErrHangUp, "5:OK": ErrHangUp, "5": ErrHangUp, "5:OK me;": ErrMalformed, "05:OK me,": ErrMalformed,
		"x:OK me,": ErrMalformed, "2:OK,": ErrMalformed, "6:WHAT x,": ErrMalformed, "100001:": ErrMalformed, "-1:": ErrMalformed,
	} {
		if got, err := NewSocketmapClient(told(t, answer)).Lookup("m", "k"); !errors.Is(err, want) {
			t.Errorf("%q: %v, %v, want %v", answer, got, err, want)
		}
	}
	if err := NewSocketmapClient(nil).Send("two words", "k"); !errors.Is(err, ErrMalformed) {
		t.Error(err)
	}
}

func TestTCPTableClient(t *testing.T) {
	for answer, want := range map[string]MapAnswer{
		"200 a%20b\n": {OK, "a b"}, "500 no such user\n": {NotFound, "no such user"}, "400 later%0A\n": {Temp, "later\n"}, "500\n": {NotFound, ""},
	} {
		if got, err := NewTCPTableClient(told(t, answer)).Lookup("k"); got != want || err != nil {
			t.Errorf("%q: %v, %v", answer, got, err)
		}
	}
	for answer, want := range map[string]error{
		"": ErrHangUp, "200 a": ErrHangUp, "300 a\n": ErrMalformed, "200 %4\n": ErrMalformed, strings.Repeat("x", 9000): ErrMalformed,
	} {
		if got, err := NewTCPTableClient(told(t, answer)).Lookup("k"); !errors.Is(err, want) {
			t.Errorf("%.40q: %v, %v, want %v", answer, got, err, want)
		}
	}
}

func TestClientTimeout(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	defer near.Close()
	c := NewTCPTableClient(near)
	c.Timeout = time.Nanosecond
	if _, err := c.Lookup("k"); err == nil {
		t.Error("a server that does not answer was waited for")
	}
}

// TestClients asks the servers.
func TestClients(t *testing.T) {
	near, far := tcpPair(t)
	go NewPolicyConn(far, &Config{}, &echo{}).Serve()
	if a, err := NewPolicyClient(near).Ask(Attr{"recipient", "a=b@example.com"}); a != "answer a=b@example.com" || err != nil {
		t.Error(a, err)
	}
	near, far = tcpPair(t)
	go NewTCPTableConn(far, &Config{}, &echo{}, "m").Serve()
	c := NewTCPTableClient(near)
	for _, key := range []string{"a@example.com", "\"a b\"@example.com", "100%\n\x00\xff", "none/of them", "later/on"} {
		if a, err := c.Lookup(key); err != nil || a.Status == OK && a.Text != key {
			t.Error(a, err)
		}
	}
}
