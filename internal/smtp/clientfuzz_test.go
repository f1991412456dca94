package smtp_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"backstop/internal/mail"
	"backstop/internal/smtp"
)

// hostile is a connection whose server says what it likes, whenever it is read,
// in pieces of a size that it chooses and of one line at most, and then hangs up.
type hostile struct {
	net.Conn
	says  []byte
	piece int
	wrote bytes.Buffer
}

func (h *hostile) Read(p []byte) (int, error) {
	if len(h.says) == 0 {
		return 0, io.EOF
	}
	line := h.says
	if i := bytes.IndexByte(line, '\n'); i >= 0 {
		line = line[:i+1]
	}
	n := copy(p[:min(len(p), h.piece)], line)
	h.says = h.says[n:]
	return n, nil
}
func (h *hostile) Write(p []byte) (int, error)      { return h.wrote.Write(p) }
func (h *hostile) SetDeadline(time.Time) error      { return nil }
func (h *hostile) SetWriteDeadline(time.Time) error { return nil }
func (h *hostile) Close() error                     { return nil }

// FuzzClient plays a whole conversation with a server that sends the given octets. Whatever
// they are, the client ends; what it calls an answer is one; its errors are of the kinds it promises; and what
// it wrote never holds the end of a message that was not to be ended.
func FuzzClient(f *testing.F) {
	for _, s := range []string{
		"220 hi\r\n250-hello\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 SIZE 1000\r\n250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n250 taken\r\n",
		"220 hi\r\n250-hello\r\n250-XCLIENT NAME ADDR\r\n250-XFORWARD NAME\r\n250 DSN\r\n220 again\r\n250 hello\r\n250 ok\r\n550-5.1.1 no\r\n550 5.1.1 no\r\n",
		"220-one\r\n220-two\r\n220 three\n500 what\r\n250 helo\r\n250\r\n250 \r\n250-\r\n250 x\r\n354\r\n421 5.1.1 bye\r\n",
		"554 5.3.2 no\r\n",
		"220 hi\r\n250-x\r\n250 STARTTLS\r\n220 go\r\n\x16\x03\x01\x00\x05hello",
		"220 hi\r\n250-x\r\n251 y\r\n",
	} {
		f.Add([]byte(s), uint8(200), uint8(0))
		f.Add([]byte(s), uint8(1), uint8(255))
	}
	f.Fuzz(func(t *testing.T, says []byte, piece, flags uint8) {
		nc := &hostile{says: says, piece: 1 + int(piece)}
		err := venture(t, nc, flags)
		var se *smtp.StepError
		var re *smtp.RefusedError
		var be *smtp.BodyError
		switch {
		case err == nil:
		case errors.As(err, &se):
			if se.Sent != (se.Step == smtp.StepMessage && ended(nc.wrote.String())) {
				t.Fatalf("sent is %v at %v: %q", se.Sent, se.Step, nc.wrote.String())
			}
		case errors.As(err, &re):
			sane(t, &re.Response)
		case errors.As(err, &be):
			if ended(nc.wrote.String()) {
				t.Fatalf("a message without an end was ended: %q", nc.wrote.String())
			}
		default:
			t.Fatalf("%T: %v", err, err)
		}
	})
}

func ended(wrote string) bool {
	return strings.HasSuffix(wrote, "\r\n.\r\n") || strings.Contains(wrote, " LAST\r\n")
}

func sane(t *testing.T, r *smtp.Response) {
	t.Helper()
	if r.Code < 200 || r.Code > 599 || len(r.Lines) == 0 || len(r.Lines) > 100 || len(r.Text()) > 500 {
		t.Fatalf("no answer: %d, %d lines, %d octets", r.Code, len(r.Lines), len(r.Text()))
	}
	if !r.Status.IsZero() && int(r.Status.Class) != r.Class() {
		t.Fatalf("%d says %v", r.Code, r.Status)
	}
	if c := smtp.ClassifyRcpt(r); c == smtp.RcptMissing && r.Class() != 5 {
		t.Fatalf("%d is taken for a no", r.Code)
	}
}

// venture is one transaction; flags choose its variants.
func venture(t *testing.T, nc net.Conn, flags uint8) error {
	ctx := context.Background()
	c, err := smtp.NewClient(ctx, nc, smtp.ClientConfig{
		LocalName: "gate.test", LMTP: flags&1 != 0, NoPipelining: flags&2 != 0, TLS: smtp.TLSMode(flags >> 2 & 1),
	})
	if err != nil {
		return err
	}
	attrs := []smtp.Attr{{Name: "NAME", Value: "x"}, {Name: "ADDR"}}
	if flags&8 != 0 {
		if _, err := c.XClient(ctx, attrs); err != nil {
			return err
		}
	}
	b := c.Batch()
	b.Reset()
	b.XForward(attrs)
	b.Mail(mail.ReversePath{}, smtp.MailParams{Size: 10, Body: smtp.BodyBinaryMIME, UTF8: true})
	b.Rcpt(path(t, "c@d.example"), smtp.RcptParams{Notify: "NEVER"})
	send := c.SendBDAT
	if flags&16 != 0 {
		b.Data()
		send = c.SendData
	}
	rs, err := b.Do(ctx)
	for i := range rs {
		sane(t, &rs[i])
	}
	if err != nil || len(rs) == 0 {
		return err
	}
	if last := &rs[len(rs)-1]; last.Class() > 3 {
		return c.Quit(ctx)
	}
	var body io.Reader = strings.NewReader("Subject: x\r\n\r\n.\r\n")
	if flags&32 != 0 {
		body = io.MultiReader(body, &failing{})
	}
	resp, err := send(ctx, []byte("Received: y\r\n"), body)
	if err != nil {
		return err
	}
	sane(t, &resp)
	return c.Quit(ctx)
}

type failing struct{}

func (*failing) Read([]byte) (int, error) { return 0, errBody }

// BenchmarkClientMessage is a 4 KB message in an open conversation, with a peer that costs nothing.
func BenchmarkClientMessage(b *testing.B) {
	body := bytes.Repeat([]byte("A line of an ordinary length, as people write them in mail.\r\n"), 67)
	for _, chunked := range []bool{false, true} {
		b.Run(map[bool]string{false: "DATA", true: "BDAT"}[chunked], func(b *testing.B) {
			nc := &obliging{}
			c, err := smtp.NewClient(context.Background(), nc, smtp.ClientConfig{LocalName: "gate.test"})
			if err != nil {
				b.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			from, to := mail.ReversePath{Address: path(b, "a@b.example")}, path(b, "c@d.example")
			r := bytes.NewReader(nil)
			b.ReportAllocs()
			for b.Loop() {
				g := c.Batch()
				g.Reset()
				g.Mail(from, smtp.MailParams{Size: 4096})
				g.Rcpt(to, smtp.RcptParams{})
				if _, err := g.Do(ctx); err != nil {
					b.Fatal(err)
				}
				r.Reset(body)
				send := c.SendBDAT
				if !chunked {
					g = c.Batch()
					g.Data()
					if _, err := g.Do(ctx); err != nil {
						b.Fatal(err)
					}
					send = c.SendData
				}
				if _, err := send(ctx, nil, r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// obliging answers 250 to whatever is read from it.
type obliging struct {
	hostile
	on bool
}

func (o *obliging) Read(p []byte) (int, error) {
	if !o.on {
		o.on = true
		return copy(p, "220 hi\r\n250-hello\r\n250-SIZE\r\n250 PIPELINING\r\n"), nil
	}
	return copy(p, "250 2.0.0 Ok\r\n"), nil
}
func (o *obliging) Write(p []byte) (int, error) { return len(p), nil }
