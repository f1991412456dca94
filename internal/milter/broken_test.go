package milter_test

import (
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"

	"backstop/internal/milter"
)

// packet is one, as octets.
func packet(command byte, data string) string {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(data)+1))
	return string(append(b, command)) + data
}

var negotiation = packet('O', "\x00\x00\x00\x06\x00\x00\x01\xff\x00\x1f\xff\xff")
var connected = negotiation + packet('C', "mx.example.net\x004\x00\x19192.0.2.1\x00")
var opened = connected + packet('H', "x\x00") + packet('M', "<a@example.org>\x00")
var rcpted = opened + packet('R', "<b@example.com>\x00")

// split takes packets apart, and fails where they are none.
func split(t *testing.T, s string) []string {
	t.Helper()
	var list []string
	for len(s) > 0 {
		if len(s) < 5 || int(binary.BigEndian.Uint32([]byte(s)))+4 > len(s) || s[:4] == "\x00\x00\x00\x00" {
			t.Fatalf("these are no packets: %q", s)
		}
		n := int(binary.BigEndian.Uint32([]byte(s))) + 4
		list = append(list, s[4:n])
		s = s[n:]
	}
	return list
}

// asks counts the commands that take an answer.
func asks(packets []string) int {
	n := 0
	for _, p := range packets {
		if !strings.ContainsRune("DAQK", rune(p[0])) {
			n++
		}
	}
	return n
}

// TestBroken: what ends a connection without an answer, and never before it should.
func TestBroken(t *testing.T) {
	for name, tc := range map[string]struct{ before, broken string }{
		"length 0":                         {connected, "\x00\x00\x00\x00H"},
		"4 GB":                             {connected, "\xff\xff\xff\xffH"},
		"one octet too many":               {rcpted, "\x00\x01\x00\x01B"},
		"half a packet":                    {connected, packet('H', "x\x00")[:6]},
		"half a length":                    {connected, "\x00\x00"},
		"an unknown command":               {connected, packet('x', "")},
		"an unknown command in a mail":     {rcpted, packet('x', "")},
		"HELO before the negotiation":      {"", packet('H', "x\x00")},
		"QUIT before the negotiation":      {"", packet('Q', "")},
		"nothing":                          {"", ""},
		"version 1":                        {"", packet('O', "\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00")},
		"a negotiation cut short":          {"", packet('O', "\x00\x00\x00\x06\x00\x00\x01\xff\x00\x1f\xff")},
		"a second negotiation":             {connected, negotiation},
		"HELO before CONNECT":              {negotiation, packet('H', "x\x00")},
		"MAIL before CONNECT":              {negotiation, packet('M', "<>\x00")},
		"UNKNOWN before CONNECT":           {negotiation, packet('U', "x\x00")},
		"a body before CONNECT":            {negotiation, packet('B', "x")},
		"a second CONNECT":                 {connected, packet('C', "x\x00U")},
		"MAIL behind QUIT_NC":              {opened, packet('K', "") + packet('M', "<>\x00")},
		"RCPT without MAIL":                {connected, packet('R', "<b@example.com>\x00")},
		"DATA without MAIL":                {connected, packet('T', "")},
		"a header field without MAIL":      {connected, packet('L', "A\x00b\x00")},
		"the end of a header without MAIL": {connected, packet('N', "")},
		"a body without MAIL":              {connected, packet('B', "x")},
		"an end without MAIL":              {connected, packet('E', "")},
		"a body behind ABORT":              {rcpted, packet('A', "") + packet('B', "x")},
		"RCPT behind DATA":                 {rcpted + packet('T', ""), packet('R', "<c@example.com>\x00")},
		"a second DATA":                    {rcpted + packet('T', ""), packet('T', "")},
		"CONNECT without a NUL":            {negotiation, packet('C', "mx.example.net")},
		"HELO without a NUL":               {connected, packet('H', "x")},
		"HELO without a name":              {connected, packet('H', "")},
		"HELO with two names":              {connected, packet('H', "x\x00y\x00")},
		"MAIL without a NUL":               {connected, packet('M', "<>")},
		"MAIL without an address":          {connected, packet('M', "")},
		"MAIL with half an argument":       {connected, packet('M', "<>\x00SIZE")},
		"RCPT without a NUL":               {opened, packet('R', "<b@example.com>")},
		"RCPT without an address":          {opened, packet('R', "")},
		"UNKNOWN without a NUL":            {connected, packet('U', "FROB")},
		"a header field without a NUL":     {rcpted, packet('L', "A\x00b")},
		"a header field of one string":     {rcpted, packet('L', "A\x00")},
		"a header field of nothing":        {rcpted, packet('L', "")},
		"a header field of three strings":  {rcpted, packet('L', "A\x00b\x00c\x00")},
		"a header field without a name":    {rcpted, packet('L', "\x00b\x00")},
		"macros of nothing":                {connected, packet('D', "")},
		"macros without a NUL":             {connected, packet('D', "Hj")},
		"macros that are no pairs":         {connected, packet('D', "Hj\x00")},
		"macros with half a value":         {connected, packet('D', "Hj\x00x\x00i\x00y")},
	} {
		t.Run(name, func(t *testing.T) {
			r := &recorder{}
			var why error
			nc := serve(t, r, milter.Config{Malformed: func(peer string, err error) { why = err }})
			answers := make(chan string)
			go func() { b, _ := io.ReadAll(nc); answers <- string(b) }()
			if tc.before != "" { // a pipe hands over nothing as well, which no socket does
				if _, err := io.WriteString(nc, tc.before); err != nil {
					t.Fatalf("before: %v", err)
				}
			}
			if tc.broken != "" {
				io.WriteString(nc, tc.broken) // the other side may be gone before it has all of it
			}
			if tc.broken == "" || strings.HasPrefix(name, "half a ") {
				nc.Close() // else both would wait
			}
			<-r.done
			if lost := tc.broken == "" || strings.HasPrefix(name, "half a ") || strings.HasPrefix(name, "QUIT"); lost == errors.Is(why, milter.ErrMalformed) {
				t.Errorf("told %v", why)
			}
			if got, want := len(split(t, <-answers)), asks(split(t, tc.before)); got != want {
				t.Errorf("%d answers, want %d", got, want)
			}
			if known := strings.HasPrefix(tc.before, connected); known != (len(r.log) > 0 && r.log[len(r.log)-1] == "close") {
				t.Errorf("the handler was told %q", r.log)
			}
			if n := strings.Count(strings.Join(r.log, "\n"), "mail") - strings.Count(strings.Join(r.log, "\n"), "abort"); n != 0 {
				t.Errorf("the handler was told %q", r.log)
			}
		})
	}
}

// TestClients: a CONNECT that makes no sense is a client that is not known.
func TestClients(t *testing.T) {
	for data, want := range map[string]string{
		"a\x004\x00\x19192.0.2.1\x00":        "connect a 4 192.0.2.1:25",
		"a\x006\x00\x192001:db8::1\x00":      "connect a 6 [2001:db8::1]:25",
		"a\x006\x00\x19IPv6:2001:DB8::1\x00": "connect a 6 [2001:db8::1]:25", // Sendmail
		"a\x006\x00\x19::ffff:192.0.2.1\x00": "connect a 4 192.0.2.1:25",
		"a\x004\x00\x192001:db8::1\x00":      "connect a 6 [2001:db8::1]:25",
		"a\x006\x00\x19fe80::1%eth0\x00":     "connect a 6 [fe80::1]:25",
		"a\x00L\x00\x00/run/x\x00":           "connect a L /run/x",
		"a\x00L\x00\x00\x00":                 "connect a L ",
		"a\x00U":                             "connect a U ",
		"a\x00":                              "connect a U ",
		"\x00":                               "connect  U ",
		"a\x004":                             "connect a U ",
		"a\x004\x00":                         "connect a U ",
		"a\x004\x00\x19":                     "connect a U ",
		"a\x004\x00\x19192.0.2.1":            "connect a U ",
		"a\x004\x00\x19192.0.2.256\x00":      "connect a U ",
		"a\x004\x00\x19\x00":                 "connect a U ",
		"a\x006\x00\x19x\x00":                "connect a U ",
		"a\x00X\x00\x19192.0.2.1\x00":        "connect a U ",
		"a\x00U\x00\x00unknown\x00":          "connect a U ",
	} {
		r := &recorder{}
		mta := start(t, r, milter.Config{}, milter.Offer{})
		if err := mta.Raw('C', []byte(data)); err != nil {
			t.Fatal(err)
		}
		must(t)(mta.Answer('C'))
		over(t, r, mta)
		wantLog(t, r, want, "close")
	}
}

// TestPaths: addresses and arguments are handed over as they are.
func TestPaths(t *testing.T) {
	r := &recorder{}
	mta := start(t, r, milter.Config{}, milter.Offer{})
	must(t)(mta.Connect(client))
	for _, data := range []string{"<a@example.org>\x00", "a@example.org\x00", "<>\x00", "\x00", "<\x00", "<<a>>\x00", "<a b>\x00SIZE=1\x00\x00X\x00"} {
		if err := mta.Raw('M', []byte(data)); err != nil {
			t.Fatal(err)
		}
		must(t)(mta.Answer('M'))
	}
	over(t, r, mta)
	wantLog(t, r, "connect mx.example.net 4 192.0.2.1:25", "mail <a@example.org>", "abort", "mail <a@example.org>", "abort", "mail <>", "abort", "mail <>", "abort",
		"mail <<>", "abort", "mail <<a>>", "abort", "mail <a b> SIZE=1  X", "abort", "close")
}
