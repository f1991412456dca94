package policyd_test

import (
	"io"
	"strings"
	"testing"
	"time"

	"backstop/internal/policyd"
	"backstop/internal/postfix"
)

// lookUp asks a map, and gives its answer as text.
func lookUp(t *testing.T, c *postfix.SocketmapClient, name, key string) string {
	t.Helper()
	a, err := c.Lookup(name, key)
	must(t, err)
	return strings.TrimSpace(a.Status.String() + " " + untagged(a.Text))
}

func TestRecipientsMap(t *testing.T) {
	for _, watch := range []bool{false, true} {
		w := newWorld(t)
		if watch {
			w.watch()
		}
		w.opens(policyd.Socketmap)
		c := postfix.NewSocketmapClient(w.dial())
		for key, want := range map[string][4]string{ // answer and what is written down, and both in watch mode
			"bob@example.org":                        {"OK OK", "accept rcpt accepted", "OK OK", "accept rcpt accepted"},
			"Bob@Example.ORG":                        {"OK OK", "accept rcpt accepted", "OK OK", "accept rcpt accepted"},
			"\"b b\"@example.org":                    {"OK OK", "accept rcpt accepted", "OK OK", "accept rcpt accepted"},
			"b b@example.org":                        {"OK OK", "accept rcpt accepted", "OK OK", "accept rcpt accepted"},
			"\"no one\"@example.org":                 {"NOTFOUND", "refuse rcpt recipient-missing", "OK OK", "accept rcpt accepted (recipient-missing)"},
			"nobody@example.org":                     {"NOTFOUND", "refuse rcpt recipient-missing", "OK OK", "accept rcpt accepted (recipient-missing)"},
			"postmaster@example.org":                 {"OK OK", "accept rcpt accepted", "OK OK", "accept rcpt accepted"},
			"later@example.org":                      {"TEMP 451 4.1.1 <later@example.org>: Recipient address not verified, try again later [ID]", "defer rcpt recipient-unverified", "OK OK", "accept rcpt accepted (recipient-unverified)"},
			"bob@other.example":                      {"NOTFOUND", "refuse rcpt relay-denied", "NOTFOUND", "refuse rcpt relay-denied"},
			"bob%other.example@example.org":          {"NOTFOUND", "refuse rcpt relay-denied", "NOTFOUND", "refuse rcpt relay-denied"},
			"@example.org":                           {"NOTFOUND", "", "NOTFOUND", ""},
			"bob":                                    {"NOTFOUND", "", "NOTFOUND", ""},
			"bob@":                                   {"NOTFOUND", "", "NOTFOUND", ""},
			"":                                       {"NOTFOUND", "", "NOTFOUND", ""},
			"example.org":                            {"NOTFOUND", "", "NOTFOUND", ""},
			strings.Repeat("x", 70) + "@example.org": {"NOTFOUND", "", "NOTFOUND", ""},
		} {
			answer, log := want[0], want[1]
			if watch {
				answer, log = want[2], want[3]
			}
			if got := lookUp(t, c, "recipients", key); got != answer {
				t.Errorf("watch %v: %q: %q, want %q", watch, key, got, answer)
			}
			if got := w.decided(); got != log {
				t.Errorf("watch %v: %q: written down %s, want %s", watch, key, got, log)
			}
		}
	}
}

// TestTagMaps: what sign makes, untag undoes, for those who exist.
func TestTagMaps(t *testing.T) {
	w := newWorld(t)
	w.opens(policyd.Socketmap)
	c := postfix.NewSocketmapClient(w.dial())
	signed := func(address string) string {
		t.Helper()
		got, ok := strings.CutPrefix(lookUp(t, c, "sign", address), "OK ")
		if !ok || !strings.HasPrefix(got, "prvs=1") || !strings.HasSuffix(got, "="+address) {
			t.Fatalf("%s is signed %q", address, got)
		}
		return got
	}
	bob := signed("bob@example.org")
	for _, tt := range [][3]string{
		{"untag", bob, "OK bob@example.org"},
		{"untag", signed("nobody@example.org"), "NOTFOUND"}, // or Postfix would take him for known
		{"untag", signed("later@example.org"), "TEMP whether the recipient exists cannot be told now"},
		{"untag", "bob@example.org", "NOTFOUND"},
		{"untag", "a=b@other.example", "NOTFOUND"},
		{"untag", "@example.org", "NOTFOUND"},
		{"sign", bob, "NOTFOUND"},
		{"sign", "bob@example.net", "NOTFOUND"}, // tags are off there
		{"sign", "bob@other.example", "NOTFOUND"},
		{"sign", "@example.org", "NOTFOUND"},
		{"sign", "bob", "NOTFOUND"},
		{"sign", "", "NOTFOUND"},
	} {
		if got := lookUp(t, c, tt[0], tt[1]); got != tt[2] {
			t.Errorf("%s %s: %q, want %q", tt[0], tt[1], got, tt[2])
		}
	}
	if log := w.decided(); log != "" {
		t.Errorf("written down: %s", log)
	}
	if got := lookUp(t, c, "recipients", bob); got != "OK OK" {
		t.Errorf("%s: %q", bob, got)
	}
}

// TestUnknownMap: the operator is told once a minute, and of what is malformed all the same.
func TestUnknownMap(t *testing.T) {
	w := newWorld(t)
	w.opens(policyd.Socketmap)
	c := postfix.NewSocketmapClient(w.dial())
	for range 3 {
		if got := lookUp(t, c, "users", "bob@example.org"); got != "PERM there is no map of this name: there are recipients, sign and untag" {
			t.Error(got)
		}
	}
	if log := w.ops.take(); strings.Count(log, "\n") != 1 || !strings.Contains(log, "door=socketmap protocol=socketmap map=users") {
		t.Errorf("logged %s", log)
	}
	nc := w.dial()
	_, err := io.WriteString(nc, "GET / HTTP/1.0\r\n\r\n")
	must(t, err)
	_, err = io.ReadAll(nc)
	must(t, err)
	if log := w.ops.take(); strings.Count(log, "\n") != 1 || !strings.Contains(log, "a connection is closed") {
		t.Errorf("of what is malformed: %s", log)
	}
	w.later(time.Minute)
	lookUp(t, c, "users", "bob@example.org")
	if log := w.ops.take(); strings.Count(log, "map=users") != 1 {
		t.Errorf("a minute later: %s", log)
	}
}

// TestMapReload: an open connection hears of a new configuration.
func TestMapReload(t *testing.T) {
	w := newWorld(t)
	w.opens(policyd.Socketmap)
	c := postfix.NewSocketmapClient(w.dial())
	if got := lookUp(t, c, "recipients", "nobody@example.org"); got != "NOTFOUND" {
		t.Error(got)
	}
	w.watch()
	w.door.Configure(w.config(policyd.Socketmap))
	if got := lookUp(t, c, "recipients", "nobody@example.org"); got != "OK OK" {
		t.Error(got)
	}
}

// TestTCPTableLog: what goes wrong has the door of its decisions, and the protocol.
func TestTCPTableLog(t *testing.T) {
	w := newWorld(t)
	w.opens(policyd.TCPTable)
	nc := w.dial()
	io.WriteString(nc, strings.Repeat("x", 100_000)) // it may be hung up on in the middle
	io.Copy(io.Discard, nc)
	if log := w.ops.take(); !strings.Contains(log, "door=socketmap protocol=tcp_table") {
		t.Errorf("logged %s", log)
	}
}

func TestTCPTable(t *testing.T) {
	w := newWorld(t)
	w.opens(policyd.TCPTable)
	nc := w.dial()
	_, err := io.WriteString(nc, "get bob@example.org\nget nobody@example.org\nget later@example.org\nget %22b%20b%22@example.org\n")
	must(t, err)
	must(t, nc.(interface{ CloseWrite() error }).CloseWrite())
	b, err := io.ReadAll(nc)
	must(t, err)
	lines := strings.Split(string(b), "\n")
	if log := w.decided(); log != "accept rcpt accepted, refuse rcpt recipient-missing, defer rcpt recipient-unverified, accept rcpt accepted" {
		t.Errorf("written down: %s", log)
	}
	for i, want := range []string{"200 OK", "500 ", "400 451 4.1.1 <later@example.org>: Recipient address not verified, try again later [", "200 OK", ""} {
		if i >= len(lines) || !strings.HasPrefix(lines[i], want) {
			t.Fatalf("answered %q", b)
		}
	}
}
