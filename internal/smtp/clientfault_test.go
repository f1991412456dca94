package smtp_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"backstop/internal/mail"
	"backstop/internal/mailtest"
	"backstop/internal/smtp"
)

// TestClientServerDies cuts the conversation after every octet that the server
// sends, and after every one that it reads. A client that reports success without
// the server's whole answer, or a message that was not ended as taken, is wrong.
func TestClientServerDies(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{})
	for _, chunked := range []bool{false, true} {
		m.Set(mailtest.Script{})
		m.Forget()
		if err := wholeMail(t.Context(), open(t, m), chunked); err != nil {
			t.Fatal(err)
		}
		m.WaitIdle(t)
		whole := m.Wires()[0]
		answers := bytes.SplitAfter(whole.Out, []byte("\r\n"))
		final := len(whole.Out) - len(answers[len(answers)-2]) - len(answers[len(answers)-3]) // RSET and QUIT follow
		for n := range whole.Out {
			for _, reset := range []bool{false, true} {
				m.Set(mailtest.Script{CutSent: mailtest.After(int64(n)), ResetCut: reset})
				m.Forget()
				nc, err := net.Dial("tcp", m.Addr())
				if err != nil {
					continue // cut so early that there was never a connection
				}
				err = wholeMail(t.Context(), nc, chunked)
				m.WaitIdle(t)
				var se *smtp.StepError
				if !errors.As(err, &se) {
					t.Fatalf("cut after %d of %d octets: %v", n, len(whole.Out), err)
				}
				taken := len(m.Messages()) > 0 && m.Messages()[0].Kept
				if taken && !se.Sent && n < final {
					t.Errorf("cut after %d octets: the server has the message, and the client says that its end never left: %v", n, err)
				}
				if se.Sent && se.Step != smtp.StepMessage {
					t.Errorf("cut after %d octets: sent at %v", n, se.Step)
				}
			}
		}
		for n := range whole.In {
			m.Set(mailtest.Script{CutReceived: mailtest.After(int64(n))})
			m.Forget()
			nc, err := net.Dial("tcp", m.Addr())
			if err != nil {
				continue
			}
			err = wholeMail(t.Context(), nc, chunked)
			m.WaitIdle(t)
			if err == nil {
				t.Errorf("cut after reading %d of %d octets: no error", n, len(whole.In))
			}
		}
	}
}

// scripted is a server of a few lines: it answers the first n writes, then says nothing.
func scripted(nc net.Conn, answers []string) {
	defer io.Copy(io.Discard, nc) // until the client leaves
	r := bufio.NewReader(nc)
	io.WriteString(nc, answers[0])
	for _, a := range answers[1:] {
		if strings.HasPrefix(a, "250 taken") {
			for line := ""; line != ".\r\n"; {
				var err error
				if line, err = r.ReadString('\n'); err != nil {
					return
				}
			}
		} else if _, err := r.ReadString('\n'); err != nil {
			return
		}
		if _, err := io.WriteString(nc, a); err != nil {
			return
		}
	}
}

// TestClientTimeouts lets a server fall silent at each step, and asks after which time the client gave up.
func TestClientTimeouts(t *testing.T) {
	limits := smtp.Timeouts{
		Banner: 11 * time.Second, Hello: 13 * time.Second, Mail: 17 * time.Second, Rcpt: 19 * time.Second,
		Data: 23 * time.Second, Block: 29 * time.Second, Final: 31 * time.Second, Quit: 37 * time.Second,
	}
	full := []string{"220 hi\r\n", "250 hello\r\n", "250 mail\r\n", "250 rcpt\r\n", "354 go\r\n", "250 taken\r\n", "250 rset\r\n", "221 bye\r\n"}
	for n, want := range []struct {
		step smtp.Step
		took time.Duration
		sent bool
	}{
		{smtp.StepBanner, limits.Banner, false},
		{smtp.StepHello, limits.Hello, false},
		{smtp.StepMail, limits.Mail, false},
		{smtp.StepRcpt, limits.Rcpt, false},
		{smtp.StepData, limits.Data, false},
		{smtp.StepMessage, limits.Final, true},
		{smtp.StepReset, limits.Hello, false},
		{smtp.StepQuit, limits.Quit, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			ours, theirs := net.Pipe()
			answers := full[:n]
			if n == 0 {
				answers = []string{"2"} // the beginning of an answer is none
			}
			go func() { scripted(theirs, answers); theirs.Close() }()
			start := time.Now()
			err := timedMail(t, ours, limits)
			var se *smtp.StepError
			if !errors.As(err, &se) || !se.Timeout() || se.Step != want.step || se.Sent != want.sent {
				t.Fatalf("%v: %v", want.step, err)
			}
			if took := time.Since(start); took < want.took || took > want.took+time.Second {
				t.Errorf("%v: given up after %v, not %v", want.step, took, want.took)
			}
			ours.Close()
		})
	}
}

func timedMail(t *testing.T, nc net.Conn, limits smtp.Timeouts) error {
	t.Helper()
	ctx := context.Background()
	c, err := smtp.NewClient(ctx, nc, smtp.ClientConfig{LocalName: "gate.test", Timeouts: limits})
	if err != nil {
		return err
	}
	b := c.Batch()
	b.Mail(mail.ReversePath{}, smtp.MailParams{})
	b.Rcpt(path(t, "c@d.example"), smtp.RcptParams{})
	b.Data()
	if _, err := b.Do(ctx); err != nil {
		return err
	}
	if _, err := c.SendData(ctx, nil, strings.NewReader("x\r\n")); err != nil {
		return err
	}
	b = c.Batch()
	b.Reset()
	if _, err := b.Do(ctx); err != nil {
		return err
	}
	return c.Quit(ctx)
}

// TestClientBlockTimeout: a server that stops reading in the middle of a message.
func TestClientBlockTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		go func() {
			r := bufio.NewReader(theirs)
			io.WriteString(theirs, "220 hi\r\n")
			for _, a := range []string{"250 hello\r\n", "250 mail\r\n", "250 rcpt\r\n", "354 go\r\n"} {
				if _, err := r.ReadString('\n'); err != nil {
					return
				}
				io.WriteString(theirs, a)
			}
		}()
		start := time.Now()
		err := timedMail(t, ours, smtp.Timeouts{Block: time.Minute})
		var se *smtp.StepError
		if !errors.As(err, &se) || !se.Timeout() || se.Step != smtp.StepMessage || se.Sent {
			t.Fatalf("%v", err)
		}
		if took := time.Since(start); took < time.Minute || took > time.Minute+time.Second {
			t.Errorf("given up after %v", took)
		}
		theirs.Close()
	})
}

func TestClientNonsense(t *testing.T) {
	for name, banner := range map[string]string{
		"no code":           "hello there\r\n",
		"short":             "22\r\n",
		"code 199":          "199 hm\r\n",
		"code 600":          "600 hm\r\n",
		"letters":           "2x0 hm\r\n",
		"no separator":      "220hm\r\n",
		"binary":            "\x00\x01\x02\xff\r\n",
		"two codes":         "220-one\r\n250 two\r\n",
		"line without end":  "220 " + strings.Repeat("x", 1<<20),
		"lines without end": strings.Repeat("220-x\r\n", 1000),
		"empty line":        "\r\n220 hi\r\n",
		"HTTP":              "HTTP/1.1 400 Bad Request\r\n\r\n",
		"nothing":           "",
	} {
		ours, theirs := net.Pipe()
		done := make(chan struct{})
		go func() { defer close(done); io.WriteString(theirs, banner); theirs.Close() }()
		_, err := smtp.NewClient(t.Context(), ours, smtp.ClientConfig{LocalName: "gate.test"})
		var se *smtp.StepError
		if !errors.As(err, &se) || se.Step != smtp.StepBanner || se.Sent {
			t.Errorf("%s: %v", name, err)
		}
		<-done
	}
}

func TestResponse(t *testing.T) {
	m := mailtest.NewMock(t, mailtest.Script{})
	for _, c := range []struct{ reply, status, text string }{
		{"550 5.1.1 no such user", "5.1.1", "no such user"},
		{"550-5.1.1 no such user,\n550 5.1.1 and never was", "5.1.1", "no such user, and never was"},
		{"550 no status", "", "no status"},
		{"550 4.1.1 not ours", "", "4.1.1 not ours"},
		{"550 5.1 short", "", "5.1 short"},
		{"550 5.1.1", "5.1.1", ""},
		{"550 5.1. x", "", "5.1. x"},
		{"550 5.1.1x y", "", "5.1.1x y"},
		{"550 5..1 y", "", "5..1 y"},
		{"550 5.1234.1 y", "", "5.1234.1 y"},
		{"550 5.1.1234 y", "", "5.1.1234 y"},
		{"550 5.123.010 y", "5.123.10", "y"},
		{"550", "", ""},
		{"550 ", "", ""},
		{"550 " + strings.Repeat("x", 2000), "", strings.Repeat("x", 500)},
		{"550-" + strings.Repeat("x", 300) + "\n550 " + strings.Repeat("y", 300), "", strings.Repeat("x", 300) + " " + strings.Repeat("y", 199)},
	} {
		c1, _ := talk(t, m, smtp.ClientConfig{})
		m.On(mailtest.Rule{On: "RSET", Reply: c.reply})
		b := c1.Batch()
		b.Reset()
		rs, err := b.Do(t.Context())
		if err != nil || rs[0].Status.String() != c.status || rs[0].Text() != c.text {
			t.Errorf("%q: %v, status %q, text %q", c.reply, err, rs[0].Status, rs[0].Text())
		}
		c1.Quit(t.Context())
	}
}

// undot reads data as a strict server does (RFC 5321, 4.5.2), and fails unless
// the end stands where the message ends and nowhere before.
func undot(wire string) (body string, ok bool) {
	for {
		line, rest, found := strings.Cut(wire, "\r\n")
		switch {
		case !found:
			return "", false
		case line == ".":
			return body, rest == ""
		}
		body += strings.TrimPrefix(line, ".") + "\r\n"
		wire = rest
	}
}

// recorder is a server that obliges, and keeps what comes after DATA.
type recorder struct {
	net.Conn
	answers *bufio.Reader
	data    bytes.Buffer
	on      bool
}

func newRecorder() *recorder {
	return &recorder{answers: bufio.NewReader(strings.NewReader("220 hi\r\n250 hello\r\n250 taken\r\n"))}
}

// Read gives one answer and no more: a server that answers ahead is hung up on.
func (r *recorder) Read(p []byte) (int, error) {
	line, err := r.answers.ReadSlice('\n')
	return copy(p, line), err
}
func (r *recorder) Write(p []byte) (int, error) {
	if r.on {
		r.data.Write(p)
	}
	return len(p), nil
}
func (r *recorder) SetDeadline(time.Time) error { return nil }
func (r *recorder) Close() error                { return nil }

// pieces reads its parts one by one.
type pieces struct{ parts []string }

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.parts) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.parts[0])
	if p.parts[0] = p.parts[0][n:]; p.parts[0] == "" {
		p.parts = p.parts[1:]
	}
	return n, nil
}

// sent is what goes over the wire behind the 354.
func sent(t interface{ Fatalf(string, ...any) }, pre string, parts []string) string {
	rec := newRecorder()
	c, err := smtp.NewClient(context.Background(), rec, smtp.ClientConfig{LocalName: "gate.test"})
	if err != nil {
		t.Fatalf("%v", err)
	}
	rec.on = true
	if resp, err := c.SendData(context.Background(), []byte(pre), &pieces{parts}); err != nil || resp.Code != 250 {
		t.Fatalf("%+v, %v", resp, err)
	}
	return rec.data.String()
}

// TestDotsAtEverySplit: what a strict server reads is what was given, wherever the reads fall.
func TestDotsAtEverySplit(t *testing.T) {
	for _, body := range []string{
		"", ".\r\n", "..\r\n", ".", "\r\n", "\r\n.\r\n", "a\r\n.\r\nb\r\n", "a\r\n..\r\n.b\r\n\r\n.", "x", "x\r", "\r\n\r\n.\r\n.\r\n",
	} {
		want := body
		switch {
		case body == "" || strings.HasSuffix(body, "\r\n"):
		case strings.HasSuffix(body, "\r"):
			want += "\n"
		default:
			want += "\r\n"
		}
		for i := 0; i <= len(body); i++ {
			for j := i; j <= len(body); j++ {
				var parts []string
				for _, p := range []string{body[i:j], body[j:]} {
					if p != "" {
						parts = append(parts, p)
					}
				}
				if got, ok := undot(sent(t, body[:i], parts)); !ok || got != want {
					t.Fatalf("%q split at %d and %d: arrives as %q, %v", body, i, j, got, ok)
				}
			}
		}
	}
}

func TestDotsProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lines := rapid.SliceOf(rapid.StringMatching(`[.a-c\x80]{0,4}`)).Draw(t, "lines")
		body := strings.Join(append(lines, ""), "\r\n")
		var parts []string
		for rest := body; rest != ""; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "n")
			parts, rest = append(parts, rest[:n]), rest[n:]
		}
		pre := ""
		if len(parts) > 0 && rapid.Bool().Draw(t, "pre") {
			pre, parts = parts[0], parts[1:]
		}
		wire := sent(t, pre, parts)
		if got, ok := undot(wire); !ok || got != body {
			t.Fatalf("%q arrives as %q, %v", body, got, ok)
		}
	})
}

// TestDotsLenientServer: not even a server that takes a bare LF for a line end finds the end too early.
func TestDotsLenientServer(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		body := strings.Join(rapid.SliceOf(rapid.SampledFrom([]string{".", "\r\n", "\n", "a"})).Draw(t, "body"), "")
		wire := strings.ReplaceAll(sent(t, "", []string{body + " "}), "\r\n", "\n")
		if i := strings.Index("\n"+wire, "\n.\n"); i != len(wire)-2 {
			t.Fatalf("%q: the end is found at %d of %q", body, i, wire)
		}
	})
}
