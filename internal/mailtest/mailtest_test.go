package mailtest

import (
	"bytes"
	"crypto/tls"
	"slices"
	"strings"
	"testing"
)

func TestEveryWordOfDialogues(t *testing.T) {
	for _, d := range LoadDialogues(t, "testdata/everything.dlg") {
		d.Play(t, Stage{Mock: nil, Addr: ""}.on(NewMock(t, Script{})))
	}
}

// on is a stage that is a bare mock.
func (s Stage) on(m *Mock) Stage {
	s.Mock, s.Addr = m, m.Addr()
	return s
}

func TestDialogueMistakesNameTheLine(t *testing.T) {
	for text, what := range map[string]string{
		"S: 25":                    "is no code",
		"\nX: y":                   ":2: ",
		"message 3":                "at least 64",
		"raw abc":                  "not a quoted string",
		"close now":                "nothing may follow",
		"bdat x last \"\"":         "invalid syntax",
		"chunks 1":                 "at least 3",
		"on RCPT /( 250":           "regular expression",
		"file testdata/not-there!": "no such file",
		"held many":                "invalid syntax",
	} {
		_, err := ParseDialogue("f.dlg", []byte(text))
		if err == nil || !strings.Contains(err.Error(), what) || !strings.HasPrefix(err.Error(), "f.dlg:") {
			t.Errorf("%q: %v, wanted %q", text, err, what)
		}
	}
}

func TestFits(t *testing.T) {
	d, err := ParseDialogue("f", []byte("only: postfix exim\nonly: bare\nnot: exim\n"))
	if err != nil {
		t.Fatal(err)
	}
	if !d.Fits("postfix", "bare") || d.Fits("postfix") || d.Fits("exim", "bare") {
		t.Error("only and not are not heeded")
	}
	if d, _ = ParseDialogue("f", []byte("down\n")); d.Fits("postfix") || !d.Fits("mock") {
		t.Error("a scripted dialogue is for the mock alone")
	}
}

func TestGenerate(t *testing.T) {
	for size := 64; size < 4200; size += 7 {
		for _, tex := range []Texture{Plain, EightBit, LongLine} {
			m := Generate(1, size, tex)
			bare := bytes.ReplaceAll(m, []byte("\r\n"), nil)
			if len(m) != size || !bytes.HasSuffix(m, []byte("\r\n")) || bytes.ContainsAny(bare, "\r\n\x00") {
				t.Fatalf("size %d, texture %d: %d octets, %q", size, tex, len(m), m)
			}
			for line := range strings.SplitSeq(string(m), "\r\n") {
				if len(line) > 998 {
					t.Fatalf("size %d: a line of %d octets", size, len(line))
				}
			}
		}
	}
}

func TestOwned(t *testing.T) {
	body := []byte("Subject: x\r\n\r\nhello\r\n")
	whole := slices.Concat([]byte("Received: by us\r\n for you\r\n"), body)
	held := func(b []byte, to ...string) Message {
		m := Message{From: "ann@a.test", Body: b, Kept: true, Code: 250}
		for _, r := range to {
			m.To = append(m.To, Rcpt{Path: r})
		}
		return m
	}
	sent := func(code int, to ...string) Sent {
		s := Sent{From: "ann@a.test", To: to, Body: body, Known: true, Ended: true}
		if code != 0 {
			s.Codes = []int{code}
		}
		return s
	}
	silent := held(whole, "b")
	silent.Code = 0
	unfinished := sent(0, "b")
	unfinished.Ended = false
	for name, c := range map[string]struct {
		sent []Sent
		held []Message
		want string // part of the one finding; "": none
	}{
		"handed through":           {[]Sent{sent(250, "b", "c")}, []Message{held(whole, "b", "c")}, ""},
		"split by the server":      {[]Sent{sent(250, "b", "c")}, []Message{held(body, "c"), held(whole, "b")}, ""},
		"lost":                     {[]Sent{sent(250, "b")}, nil, "nothing like it was taken"},
		"a recipient lost":         {[]Sent{sent(250, "b", "c")}, []Message{held(whole, "b")}, "did not get it: [c]"},
		"changed":                  {[]Sent{sent(250, "b")}, []Message{held([]byte("Subject: x\r\n\r\nhell0\r\n"), "b")}, "nothing like it"},
		"cut off":                  {[]Sent{unfinished}, []Message{held(whole[:len(whole)-5], "b")}, "nobody sent"},
		"taken before its end":     {[]Sent{unfinished}, []Message{held(whole, "b")}, "nobody sent"},
		"a body line in front":     {[]Sent{sent(250, "b")}, []Message{held(slices.Concat([]byte("Evil: x\r\n"), body), "b")}, "nothing like it"},
		"twice":                    {[]Sent{sent(250, "b")}, []Message{held(whole, "b"), held(whole, "b")}, "nobody sent"},
		"smuggled":                 {nil, []Message{held(whole, "b")}, "nobody sent"},
		"refused and taken":        {[]Sent{sent(554, "b")}, []Message{held(whole, "b")}, "for a message that was taken"},
		"put off and taken":        {[]Sent{sent(451, "b")}, []Message{held(whole, "b")}, ""},
		"no answer yet":            {[]Sent{sent(0, "b")}, []Message{held(whole, "b")}, ""},
		"said before the time":     {[]Sent{sent(250, "b")}, []Message{silent}, "before the downstream had said so"},
		"refused and not taken":    {[]Sent{sent(554, "b")}, nil, ""},
		"raw octets, whatever now": {[]Sent{{From: "ann@a.test", To: []string{"b"}, Ended: true, Codes: []int{250}}}, []Message{held(whole, "b")}, ""},
	} {
		got := Owned(c.sent, c.held)
		switch {
		case c.want == "" && got != nil:
			t.Errorf("%s: %q", name, got)
		case c.want != "" && (len(got) == 0 || !strings.Contains(strings.Join(got, "\n"), c.want)):
			t.Errorf("%s: %q, wanted %q", name, got, c.want)
		}
	}
}

// TestCuts breaks the connection after each possible octet.
func TestCuts(t *testing.T) {
	m := NewMock(t, Script{})
	d, err := ParseDialogue("cuts", []byte(strings.Join([]string{
		"S: 220", "C: EHLO x", "S: 250", "C: MAIL FROM:<a@b>", "S: 250", "C: RCPT TO:<c@d>", "S: 250",
		"C: DATA", "S: 354", "D: hello", ".", "S: 250", "C: QUIT", "S: 221", "wait-close"}, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	d.Play(t, Stage{}.on(m))
	m.WaitIdle(t)
	wire := m.Wires()[0]
	played := 0
	Sweep(t, d, m, Script{}, func(testing.TB) Stage { played++; return Stage{}.on(m) })
	if want := 2 * (len(wire.In) + len(wire.Out) + 2); played < want {
		t.Errorf("%d cuts, wanted %d", played, want)
	}
}

func TestLenientMockIsFooled(t *testing.T) {
	for _, end := range []string{"\n.\n", "\r\n.\n", "\n.\r\n", "\r.\r", "\r\n\x00.\r\n"} {
		m := NewMock(t, Script{Lenient: true})
		k := Dial(t, m.Addr())
		k.Expect(t, "220", "banner")
		k.Ask(t, "EHLO x")
		k.Ask(t, "MAIL FROM:<a@b>")
		k.Ask(t, "RCPT TO:<c@d>")
		k.Ask(t, "DATA")
		k.Send("one" + end + "MAIL FROM:<evil@b>\r\nRCPT TO:<c@d>\r\nDATA\r\ntwo\r\n.\r\n")
		m.Wait(t, "two messages", func(m *Mock) bool { return countKept(m.Messages()) == 2 })
	}
}

func TestStrictMockRefusesBareLineEnds(t *testing.T) {
	for _, bad := range []string{"a\nb\r\n.\r\n", "a\rb\r\n.\r\n", "\r\r\n.\r\n", "a\x00\r\n.\r\n"} {
		m := NewMock(t, Script{})
		k := Dial(t, m.Addr())
		k.Expect(t, "220", "banner")
		k.Ask(t, "EHLO x")
		k.Ask(t, "MAIL FROM:<a@b>")
		k.Ask(t, "RCPT TO:<c@d>")
		k.Ask(t, "DATA")
		k.Send(bad)
		k.Expect(t, "550 5.6.0", "bare line end")
		if len(m.Faults()) != 1 || len(m.Messages()) != 0 {
			t.Errorf("%q: faults %q, messages %v", bad, m.Faults(), m.Messages())
		}
	}
}

func TestLMTPMockAnswersPerRecipient(t *testing.T) {
	m := NewMock(t, Script{LMTP: true, Rules: []Rule{{On: "DOT", Reply: "452 4.2.2 full", Times: 1}}})
	d, err := ParseDialogue("lmtp", []byte("S: 220\nC: LHLO x\nS: 250\nC: MAIL FROM:<a@b>\nS: 250\nC: RCPT TO:<c@d>\nS: 250\n"+
		"C: RCPT TO:<e@f>\nS: 250\nC: DATA\nS: 354\nD: x\n.\nS: 452\nS: 250\nheld 1\nheld-to e@f"))
	if err != nil {
		t.Fatal(err)
	}
	d.Play(t, Stage{}.on(m))
}

func TestStartTLSAndProxy(t *testing.T) {
	cert := NewAuthority(t).Issue(t, "mock.test")
	m := NewMock(t, Script{TLS: &tls.Config{Certificates: []tls.Certificate{cert}}, Proxy: true})
	k := Dial(t, m.Addr())
	k.Send("PROXY TCP4 192.0.2.1 192.0.2.2 1234 25\r\n")
	k.Expect(t, "220", "banner")
	if r := k.Ask(t, "EHLO x"); !strings.Contains(r.String(), "STARTTLS") {
		t.Fatalf("not offered: %s", r)
	}
	k.Ask(t, "STARTTLS")
	k = NewTalk(tls.Client(k.Conn, &tls.Config{InsecureSkipVerify: true}))
	if r := k.Ask(t, "EHLO x"); strings.Contains(r.String(), "STARTTLS") {
		t.Fatalf("offered again: %s", r)
	}
	k.Ask(t, "MAIL FROM:<a@b>")
	k.Ask(t, "RCPT TO:<c@d>")
	k.Ask(t, "DATA")
	if err := k.Send("x\r\n.\r\n"); err != nil {
		t.Fatal(err)
	}
	k.Expect(t, "250", "the message")
	if x := m.Messages()[0]; !x.TLS || x.Client["ADDR"] != "192.0.2.1" || x.Client["PORT"] != "1234" {
		t.Errorf("%+v", x)
	}
}
