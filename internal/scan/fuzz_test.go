package scan

import (
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// FuzzScan lets a server say whatever it likes, and send a bounce of its own making.
func FuzzScan(f *testing.F) {
	for _, s := range []string{
		"220 mx.example.com ESMTP Postfix\n250-mx\r\n250 STARTTLS\n250 2.1.0 Ok\n550 5.1.1 <x>: User unknown\n250 Ok\n",
		"220 a\n250 b\n250 c\n250 d\n250 e\n250 f\n354 go\n250 taken\n",
		"554 5.7.1 no\n", "220-\r\n220 x\n421 bye\n", "HTTP/1.1 400\n", "", "220 x\n250 x\n451 4.7.1 later\n",
		"220 x\n250-X-EXPS\r\n250 STARTTLS\n220 go\n\x16\x03\x01\n",
	} {
		f.Add(s, "From: a\r\n\r\nx", true)
	}
	f.Add("220 a\n250 b\n", dsn("failed", "5.1.1"), false)
	f.Fuzz(func(t *testing.T, script, bounced string, null bool) {
		synctest.Test(t, func(t *testing.T) {
			answers := strings.Split(script, "\n")
			p := plan(t, "192.0.2.25:25")
			p.Sleep, p.Timeout, p.Retry = nil, time.Minute, time.Minute
			p.Dial = pipe(t, func(n int, nc net.Conn) {
				next := 0
				lines(nc, func(string) (string, time.Duration) {
					text := answers[(n*3+next)%len(answers)]
					if next < 2 { // the banner and the answer to EHLO come first
						text = answers[min(next, len(answers)-1)]
					}
					next++
					return text, 0
				})
				io.Copy(io.Discard, nc)
			})
			r := Run(t.Context(), p)
			sound(t, &r)
		})
		b := &postbox{token: "tokentokentoken"}
		n := b.read([]byte(bounced), null)
		if text := n.say() + n.where(); strings.ContainsFunc(text, func(c rune) bool { return c < ' ' }) {
			t.Errorf("%q", text)
		}
	})
}

// sound checks what holds of every report.
func sound(t *testing.T, r *Report) {
	t.Helper()
	connections := 0
	for _, s := range r.Steps {
		if s.Step == "connect" {
			connections++
		}
		if strings.ContainsFunc(s.Reply+s.Sent, func(c rune) bool { return c < ' ' && c != '\n' }) {
			t.Errorf("%+v", s)
		}
		if strings.HasPrefix(s.Sent, "DATA") {
			t.Error("DATA")
		}
	}
	if connections > MaxConnections || len(r.Advice) == 0 || r.Class == "" || r.Class == RefusesAtRcpt != (r.Health == Healthy) && r.Class != Greylists {
		t.Errorf("%d connections\n%s", connections, show(*r))
	}
	for _, a := range r.Advice {
		if a == "" || strings.ContainsFunc(a, func(c rune) bool { return c < ' ' }) {
			t.Errorf("%q", a)
		}
	}
}
