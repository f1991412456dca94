package smtp_test

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"strings"
	"testing"

	"backstop/internal/mail"
	"backstop/internal/mailtest"
	"backstop/internal/smtp"
)

// TestLongLinesThenData: a connection whose buffer grew for long command lines loses
// nothing of what was pipelined behind DATA.
func TestLongLinesThenData(t *testing.T) {
	body := strings.Repeat("0123456789abcdef\r\n", 6000) // more than any buffer
	k := newTaker()
	d := dial(t, serve(t, k, func(c *smtp.ServerConfig) { c.MaxLine = 100_000 }))
	d.hello()
	d.want("NOOP "+strings.Repeat("x", 90_000)+"\r\nDATA\r\n"+body+".\r\nNOOP\r\n", "250", "354", "250 2.0.0 taken", "250")
	if got := k.taken(); len(got) != 1 || got[0] != body {
		t.Fatalf("taken %d messages, the first of %d octets, want %d", len(got), len(strings.Join(got, "")), len(body))
	}
}

// TestLongLineWithoutItsCR: an overlong line is held to CR LF as any other.
func TestLongLineWithoutItsCR(t *testing.T) {
	for _, n := range []int{2043, 2044, 3000, 30_000} {
		d := dial(t, serve(t, newTaker(), nil))
		d.want("", "220")
		d.want("NOOP "+strings.Repeat("x", n)+"\nNOOP\r\n", "550 5.6.0", "(closed)")
	}
}

// half is a Handler that answers a message before it has read all of it.
type half struct {
	*taker
	reply mail.Reply
	err   error
}

func (h *half) Message(body *smtp.BodyReader) mail.Reply {
	_, h.err = body.Read(make([]byte, 1))
	io.ReadFull(body, make([]byte, 4))
	return h.reply
}

// TestYesToHalf: a handler that says yes to what it has not read is not believed.
func TestYesToHalf(t *testing.T) {
	for _, message := range []string{"DATA\r\ntext\r\n.\r\n", "BDAT 6 LAST\r\ntext\r\n"} {
		h := &half{newTaker(), mail.MustReply(250, "2.0.0", "taken"), nil}
		d := dial(t, serve(t, h.taker, func(c *smtp.ServerConfig) { c.NewHandler = func(*smtp.Conn) smtp.Handler { return h } }))
		d.hello()
		verb, _, _ := strings.Cut(message, "\r\n")
		d.send(message)
		if verb == "DATA" {
			d.want("", "354")
		}
		d.want("NOOP\r\n", "451 4.3.0", "250")
		if !errors.Is(h.err, io.ErrShortBuffer) {
			t.Errorf("a read into one octet: %v", h.err)
		}
	}
}

// TestBetweenChunks: whatever ends a connection between two chunks is said when the
// handler is done with the message, and once.
func TestBetweenChunks(t *testing.T) {
	for name, tc := range map[string]struct{ in, want string }{
		"bare LF":       {"NOOP\nx\r\n", "550 5.6.0"},
		"errors":        {strings.Repeat("WIZ\r\n", 10), "503;503;503;503;503;503;503;503;503;503"},
		"error too far": {strings.Repeat("WIZ\r\n", 11), "503;503;503;503;503;503;503;503;503;503;421"},
		"size":          {"BDAT x\r\n", "501"},
		"long line":     {"NOOP " + strings.Repeat("x", 3000) + "\r\n", "500"},
		"starttls":      {"STARTTLS\r\n", "503"},
	} {
		t.Run(name, func(t *testing.T) {
			k := newTaker()
			d := dial(t, serve(t, k, nil))
			d.hello()
			d.want("BDAT 3\r\nabc", "250")
			d.want(tc.in, strings.Split(tc.want, ";")...)
			d.nc.Close()
			<-k.closed
			if len(k.taken()) != 0 || len(k.void()) != 1 {
				t.Fatalf("taken %q, void %v", k.taken(), k.void())
			}
		})
	}
}

func TestStartTLS(t *testing.T) {
	ca := mailtest.NewAuthority(t)
	offer := func(c *smtp.ServerConfig) {
		c.TLS = &tls.Config{Certificates: []tls.Certificate{ca.Issue(t, "mx.test")}}
	}
	k := newTaker()
	d := dial(t, serve(t, k, offer))
	d.want("", "220")
	d.want("STARTTLS\r\n", "503")
	d.want("EHLO c\r\nSTARTTLS now\r\nMAIL FROM:<a@c.test>\r\nRCPT TO:<b@mx.test>\r\n", "250-", "501", "250", "250")
	d.want("STARTTLS\r\nMAIL FROM:<evil@c.test>\r\nRCPT TO:<evil@c.test>\r\nNOOP\r\n", "220 2.0.0") // one write: what follows is in the server's hands
	c := tls.Client(d.nc, &tls.Config{RootCAs: ca.Pool(), ServerName: "mx.test"})
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	over := &dialogue{t, c, bufio.NewReader(c)}
	over.want("MAIL FROM:<a@c.test>\r\n", "503 5.5.1 Say EHLO") // what was said in plain text is forgotten
	if got := over.helloOver(); strings.Contains(got, "STARTTLS") {
		t.Errorf("STARTTLS is offered again: %q", got)
	}
	over.want("STARTTLS\r\n", "503")
	over.want("MAIL FROM:<a@c.test>\r\nRCPT TO:<b@mx.test>\r\nDATA\r\ntext\r\n.\r\nQUIT\r\n", "250", "250", "354", "250 2.0.0 taken", "221")
	for _, from := range k.from {
		if from.String() != "a@c.test" {
			t.Fatalf("%q was injected in plain text", from)
		}
	}
	if got := k.taken(); len(got) != 1 || got[0] != "text\r\n" {
		t.Fatalf("taken %q", got)
	}
}

func (d *dialogue) helloOver() string {
	d.t.Helper()
	d.send("EHLO c\r\n")
	return d.reply()
}

// TestStartTLSFails: a client that cannot shake hands is gone, and runs nothing.
func TestStartTLSFails(t *testing.T) {
	ca := mailtest.NewAuthority(t)
	k := newTaker()
	d := dial(t, serve(t, k, func(c *smtp.ServerConfig) {
		c.TLS = &tls.Config{Certificates: []tls.Certificate{ca.Issue(t, "mx.test")}}
	}))
	d.want("", "220")
	d.want("EHLO c\r\nSTARTTLS\r\n", "250-", "220")
	d.send("MAIL FROM:<a@c.test>\r\nRCPT TO:<b@mx.test>\r\n")
	<-k.closed
	if len(k.from) != 0 {
		t.Fatal("a command was run in the middle of a handshake")
	}
}
