package session

import (
	"bytes"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"backstop/internal/evidence"
	"backstop/internal/mail"
	"backstop/internal/smtp"
)

// alone is a session with a client and recipients, and nobody else to ask.
func alone(t testing.TB, c evidence.Client, to ...string) *Session {
	t.Helper()
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.FixedZone("", 3600))
	e := New(Config{Hostname: "mx.test", Now: func() time.Time { return now }})
	s := &Session{e: e, id: mail.ID([]byte("0123456789ab"))}
	s.c.Client = c
	for _, one := range to {
		a, err := mail.ParseAddress(one)
		if err != nil {
			t.Fatal(err)
		}
		s.rcpts = append(s.rcpts, a)
	}
	return s
}

func TestReceived(t *testing.T) {
	v4 := netip.MustParseAddr("192.0.2.1")
	for _, tc := range []struct {
		name string
		c    evidence.Client
		utf8 bool
		to   []string
		want string
	}{
		{"one recipient", evidence.Client{Addr: v4, Helo: "c.test", Protocol: "ESMTP"}, false, []string{"Bob@mx.test"},
			"Received: from c.test ([192.0.2.1])\r\n\tby mx.test (Backstop) with ESMTP id 0123456789ab\r\n\tfor <Bob@mx.test>;\r\n\tWed, 04 Mar 2026 05:06:07 +0100\r\n"},
		{"two recipients, neither named", evidence.Client{Addr: v4, Helo: "c.test", Protocol: "ESMTPS", Name: "real.test"}, false, []string{"a@mx.test", "b@mx.test"},
			"Received: from c.test (real.test [192.0.2.1])\r\n\tby mx.test (Backstop) with ESMTPS id 0123456789ab;\r\n\tWed, 04 Mar 2026 05:06:07 +0100\r\n"},
		{"IPv6, no protocol known", evidence.Client{Addr: netip.MustParseAddr("2001:db8::1"), Helo: "[IPv6:2001:db8::1]"}, false, nil,
			"Received: from [IPv6:2001:db8::1] ([IPv6:2001:db8::1])\r\n\tby mx.test (Backstop) with SMTP id 0123456789ab;\r\n\tWed, 04 Mar 2026 05:06:07 +0100\r\n"},
		{"internationalized", evidence.Client{Addr: v4, Helo: "c.test", Protocol: "ESMTP"}, true, []string{"ö@mx.test"},
			"Received: from c.test ([192.0.2.1])\r\n\tby mx.test (Backstop) with UTF8SMTP id 0123456789ab\r\n\tfor <ö@mx.test>;\r\n\tWed, 04 Mar 2026 05:06:07 +0100\r\n"},
		{"internationalized over TLS", evidence.Client{Addr: v4, Helo: "c.test", Protocol: "ESMTPS", TLS: true}, true, nil,
			"Received: from c.test ([192.0.2.1])\r\n\tby mx.test (Backstop) with UTF8SMTPS id 0123456789ab;\r\n\tWed, 04 Mar 2026 05:06:07 +0100\r\n"},
		{"a name that would write a header", evidence.Client{Addr: v4, Helo: "c\r\nSubject: x (by mx.test);\\\"<>ä\x00\x7f", Name: "a\nb"}, false, nil,
			"Received: from c??Subject:?x??by?mx.test?????????? (a?b [192.0.2.1])\r\n\tby mx.test (Backstop) with SMTP id 0123456789ab;\r\n\tWed, 04 Mar 2026 05:06:07 +0100\r\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := alone(t, tc.c, tc.to...)
			s.params = smtp.MailParams{UTF8: tc.utf8}
			got := string(s.received())
			if got != tc.want {
				t.Errorf("got  %q\nwant %q", got, tc.want)
			}
		})
	}
}

// TestReceivedAlwaysOneField: whatever a client calls itself, the header is one
// field of lines that may be sent, and our own name is found in it again.
func TestReceivedAlwaysOneField(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		c := evidence.Client{
			Addr: netip.AddrFrom4([4]byte{192, 0, 2, rapid.Byte().Draw(rt, "address")}),
			Helo: rapid.OneOf(rapid.String(), rapid.StringMatching(`[ -~\r\n\t]{0,400}`)).Draw(rt, "helo"),
			Name: rapid.String().Draw(rt, "name"),
		}
		s := alone(t, c, "bob@mx.test")
		head := append(s.received(), "Subject: x\r\n\r\n"...)
		n := 0
		for f := range fields(head) {
			n++
			for line := range bytes.SplitSeq(bytes.TrimSuffix(f, []byte("\r\n")), []byte("\r\n")) {
				if len(line) > 998 || bytes.ContainsAny(line, "\r\n\x00") {
					rt.Fatalf("line %q", line)
				}
			}
		}
		if n != 2 {
			rt.Fatalf("%d fields in %q", n, head)
		}
		s.inspect(head)
		if s.c.Message.Received != 1 || !s.c.Message.OurName {
			rt.Fatalf("not found again: %+v in %q", s.c.Message, head)
		}
	})
}

func TestInspect(t *testing.T) {
	ours := "Received: from a\r\n\tby mx.test (Backstop) with ESMTP id x\r\n\tfor <ann@mx.test>;\r\n\tdate\r\n"
	nameless := "Received: from a by mx.test (Backstop) with ESMTP id x; date\r\n"
	for _, tc := range []struct {
		name, head string
		received   int
		loop       bool
	}{
		{"nothing", "", 0, false},
		{"no header", "\r\nReceived: in the body by mx.test\r\n", 0, false},
		{"no header, no CR", "\nReceived: in the body\n", 0, false},
		{"strangers", "Received: from a by b; date\r\nreceived: from c\r\n by d; date\r\nSubject: x\r\n\r\nbody\r\n", 2, false},
		{"in the body", "Subject: x\r\n\r\nReceived: from a by mx.test for <bob@mx.test>; date\r\n", 0, false},
		{"in the body, no CR", "Subject: x\n\nReceived: from a by mx.test; date\n", 0, false},
		{"inside another field", "Subject: Received: by mx.test\r\n Received: by mx.test\r\n\r\n", 0, false},
		{"cut off", "Received: from a by mx.test for <bob@mx.test>; da", 0, false},
		{"once through here for another", ours + "\r\n", 1, false},
		{"once through here for this one", strings.Replace(ours, "ann@", "Bob@", 1) + "\r\n", 1, true},
		{"for this one, quoted", strings.Replace(ours, "ann@", "\"bob\"@", 1) + "\r\n", 1, true},
		{"for this one, elsewhere", strings.Replace(strings.Replace(ours, "ann@", "bob@", 1), "by mx.test", "by mx.test.example", 1) + "\r\n", 1, false},
		{"three times through here", nameless + nameless + nameless + "\r\n", 3, false},
		{"four times through here", nameless + nameless + ours + nameless + "\r\n", 4, true},
		{"our name in capitals", strings.Repeat(strings.ReplaceAll(nameless, "mx.test", "MX.Test"), 4) + "\r\n", 4, true},
		{"our name, but not as by", strings.Repeat("Received: from mx.test (by mx.test) by b; standby mx.test\r\n", 4) + "\r\n", 4, false},
		{"our name at a line's end", strings.Repeat("Received: from a\r\n\tby mx.test\r\n\t(Backstop) with SMTP; date\r\n", 4) + "\r\n", 4, true},
		{"another server with our name", strings.Repeat("Received: from a\r\n\tby mx.test (Postfix) with ESMTP id x\r\n\tfor <bob@mx.test>; date\r\n", 4) + "\r\n", 4, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := alone(t, evidence.Client{}, "bob@mx.test")
			s.inspect([]byte(tc.head))
			if s.c.Message.Received != tc.received || s.c.Message.OurName != tc.loop {
				t.Errorf("%d received, loop %v, want %d, %v", s.c.Message.Received, s.c.Message.OurName, tc.received, tc.loop)
			}
		})
	}
	s := alone(t, evidence.Client{}, "bob@mx.test", "ann@mx.test")
	s.inspect([]byte(ours + "\r\n"))
	if s.c.Message.OurName {
		t.Error("with two recipients nobody is named, and a name proves nothing")
	}
}

func FuzzInspect(f *testing.F) {
	f.Add([]byte("Received: by mx.test for <bob@mx.test>;\r\n\tx\r\n\r\nbody"))
	f.Add([]byte("a\r\n b\r\n\r\n"))
	f.Add([]byte("by \nby mx.test"))
	f.Fuzz(func(t *testing.T, head []byte) {
		s := alone(t, evidence.Client{}, "bob@mx.test")
		at := 0
		for field := range fields(head) {
			if !bytes.HasPrefix(head[at:], field) || len(field) == 0 || field[len(field)-1] != '\n' {
				t.Fatalf("field %q of %q at %d", field, head, at)
			}
			at += len(field)
		}
		s.inspect(head)
		if m := s.c.Message; m.Received > bytes.Count(bytes.ToLower(head), []byte("received:")) || m.OurName && m.Received == 0 {
			t.Fatalf("%+v in %q", m, head)
		}
	})
}

// TestFault: every fault of the wire has its word, and what is no fault has none.
func TestFault(t *testing.T) {
	for err, want := range map[error]evidence.Message{
		&smtp.FaultError{Fault: smtp.FaultBareCR}:   {Fault: evidence.FaultBareCR},
		&smtp.FaultError{Fault: smtp.FaultBareLF}:   {Fault: evidence.FaultBareLF},
		&smtp.FaultError{Fault: smtp.FaultNUL}:      {Fault: evidence.FaultNUL},
		&smtp.FaultError{Fault: smtp.FaultLongLine}: {Fault: evidence.FaultLongLine},
		smtp.ErrTooBig:      {TooBig: true},
		io.ErrUnexpectedEOF: {},
		smtp.ErrReset:       {},
		smtp.ErrSlow:        {},
	} {
		s := alone(t, evidence.Client{})
		s.fault(err)
		if s.c.Message != want {
			t.Errorf("%v: %+v", err, s.c.Message)
		}
	}
}
