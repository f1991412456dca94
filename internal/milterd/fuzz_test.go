package milterd_test

import (
	"net"
	"strings"
	"testing"

	"backstop/internal/dkim"
	"backstop/internal/evidence"
	"backstop/internal/milter"
)

// pipes is a listener whose connections are made in memory.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	if c, ok := <-p; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}
func (p pipes) Close() error   { return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }

// FuzzDoor: whatever a stranger gets through a mail server, there is no fault of ours, nothing leaves in our name, and every
// change is one that can be written into a header.
func FuzzDoor(f *testing.F) {
	f.Add("client.far.example", "client.example", "ann@far.example", "SIZE=10 BODY=8BITMIME", "bob@example.org", letter, uint8(0))
	f.Add("unknown", "", "", "", "@a,@b:prvs=0001abcdef=bob@example.org", bounceOf(letter), uint8(1))
	f.Add("[192.0.2.1]", "[192.0.2.1]", "bob@example.org", "RET=HDRS AUTH=<>", "postmaster", "Authentication-Results : mx.example.org\r\n\r\n", uint8(2))
	f.Add("localhost", "x\ty", `"a b"@far.example`, "=", "bob@hosted.example", "Received: by mx.example.org (Backstop)\r\nBackstop-Seal: v=1; k=1\r\n\r\n", uint8(0x83))
	f.Add("", "", "ann", "", "nobody", "\r\n", uint8(0xff))
	w := newWorld(f)
	w.org.Guards = evidence.Guards{SPF: evidence.CheckMark, DMARC: evidence.CheckRefuse, Bounces: evidence.JudgeWatch, Tags: evidence.TagSign}
	w.org.Sign = []dkim.Key{w.key}
	w.open()
	l := make(pipes)
	served := make(chan error)
	go func() { served <- w.door.Serve(l) }()
	f.Cleanup(func() { close(l); <-served })
	f.Fuzz(func(t *testing.T, name, helo, from, args, to, text string, how uint8) {
		here, there := net.Pipe()
		l <- there
		m, err := milter.NewMTA(here, milter.Offer{Version: 2 + uint32(how)%5})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		c := stranger
		if how&0x80 != 0 {
			c.Family = 'U'
		}
		c.Name = strings.ReplaceAll(name, "localhost", "remote")
		m.Connect(c)
		m.Helo(helo)
		for range 2 {
			last := transaction(m, from, strings.Fields(args), to, text)
			check(t, w, last)
		}
	})
}

// transaction goes as far as the filter lets it, or until it hangs up over something that is no protocol: a NUL, a field without a name.
func transaction(m *milter.MTA, from string, args []string, to, text string) milter.Answer {
	a, err := m.Mail(from, args...)
	if err == nil && a.Action == milter.Continue {
		a, err = m.Rcpt(to)
	}
	if err == nil && a.Action == milter.Continue {
		a, err = m.Data()
	}
	fields, body := split(text)
	for i := 0; err == nil && a.Action == milter.Continue && i < len(fields); i++ {
		a, err = m.Header(fields[i][0], fields[i][1])
	}
	for _, next := range []func() (milter.Answer, error){m.EOH, func() (milter.Answer, error) { return m.Body(body) }, m.EndOfBody} {
		if err == nil && a.Action == milter.Continue {
			a, err = next()
		}
	}
	if err != nil {
		return milter.Answer{}
	}
	m.Abort()
	return a
}

func check(t *testing.T, w *world, a milter.Answer) {
	select {
	case p := <-w.panics:
		t.Fatalf("panic: %s", p)
	default:
	}
	if strings.HasPrefix(a.Text, "451 4.3.0") || a.Action == milter.TempFail || a.Action == milter.Discard {
		t.Errorf("%v %q", a.Action, a.Text)
	}
	for _, c := range a.Changes {
		folds := strings.NewReplacer("\n\t", "", "\n ", "").Replace(c.Value)
		if c.Kind == 'e' || strings.ContainsAny(c.Name+folds, "\r\n\x00") || c.Kind == 'i' && (c.Name == "" || c.Name == "Backstop-Seal" || c.Name == "DKIM-Signature") {
			t.Errorf("%+v", c)
		}
	}
}
