package smtp_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"backstop/internal/mail"
	"backstop/internal/smtp"
)

// playedConn is a connection whose client's half is known beforehand: it is read
// in pieces, then the client is gone. What the server writes is kept.
type playedConn struct {
	in     []byte
	pieces []byte // sizes, over and over; none: as much as there is
	reads  int
	out    bytes.Buffer
	once   sync.Once
	closed chan struct{}
}

func (s *playedConn) Read(p []byte) (int, error) {
	n := min(len(p), len(s.in))
	if len(s.pieces) > 0 {
		n = min(n, int(s.pieces[s.reads%len(s.pieces)])+1)
		s.reads++
	}
	if n == 0 {
		return 0, io.EOF
	}
	copy(p, s.in[:n])
	s.in = s.in[n:]
	return n, nil
}

func (s *playedConn) Write(p []byte) (int, error) { return s.out.Write(p) }
func (s *playedConn) Close() error                { s.once.Do(func() { close(s.closed) }); return nil }
func (s *playedConn) LocalAddr() net.Addr         { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 25} }
func (s *playedConn) RemoteAddr() net.Addr {
	return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 4000}
}
func (s *playedConn) SetDeadline(time.Time) error      { return nil }
func (s *playedConn) SetReadDeadline(time.Time) error  { return nil }
func (s *playedConn) SetWriteDeadline(time.Time) error { return nil }

// once accepts one connection, and is closed then.
type once chan net.Conn

func (o once) Accept() (net.Conn, error) {
	select {
	case c := <-o:
		return c, nil
	default:
		return nil, net.ErrClosed
	}
}
func (o once) Close() error   { return nil }
func (o once) Addr() net.Addr { return &net.TCPAddr{} }

// scribe is a Handler that takes everything, writes down what it hears, and
// notices when it hears it out of order.
type scribe struct {
	events  []string
	wrong   []string
	open    bool // a transaction
	reading bool // inside Message
	closed  bool
	sizes   []byte
	stop    int
}

func (r *scribe) heard(event string, transaction bool) {
	switch {
	case r.closed:
		r.wrong = append(r.wrong, event+" after Close")
	case r.reading:
		r.wrong = append(r.wrong, event+" inside Message")
	case transaction && !r.open:
		r.wrong = append(r.wrong, event+" outside a transaction")
	}
}

func (r *scribe) Connect() mail.Reply { r.heard("connect", false); return mail.Reply{} }
func (r *scribe) Helo(name string, _ bool) mail.Reply {
	r.heard("helo", false)
	r.events = append(r.events, "helo "+name)
	return mail.Reply{}
}
func (r *scribe) Mail(from mail.ReversePath, _ smtp.MailParams) mail.Reply {
	r.heard("mail", false)
	if r.open {
		r.wrong = append(r.wrong, "a nested transaction")
	}
	r.open = true
	r.events = append(r.events, "mail "+from.String())
	return mail.Reply{}
}
func (r *scribe) Rcpt(to mail.Address, _ smtp.RcptParams) mail.Reply {
	r.heard("rcpt", true)
	r.events = append(r.events, "rcpt "+to.String())
	return mail.Reply{}
}
func (r *scribe) Data() mail.Reply { r.heard("data", true); return mail.Reply{} }
func (r *scribe) Message(body *smtp.BodyReader) mail.Reply {
	r.heard("message", true)
	r.reading = true
	defer func() { r.reading = false }()
	var text bytes.Buffer
	for i := 0; ; i++ {
		size := 4096
		if len(r.sizes) > 0 {
			size = 2 + int(r.sizes[i%len(r.sizes)])
		}
		p := make([]byte, size)
		n, err := body.Read(p)
		text.Write(p[:n])
		switch {
		case errors.Is(err, io.EOF):
			r.events = append(r.events, "message "+text.String())
			return mail.MustReply(250, "2.0.0", "taken")
		case err != nil:
			r.events = append(r.events, "void")
			return mail.Reply{}
		case r.stop > 0 && text.Len() >= r.stop:
			r.events = append(r.events, "void")
			return mail.MustReply(451, "4.3.0", "enough")
		}
	}
}
func (r *scribe) Reset() { r.heard("reset", true); r.open = false }
func (r *scribe) Violation(smtp.Violation) mail.Reply {
	r.heard("violation", false)
	return mail.Reply{}
}
func (r *scribe) Close() { r.heard("close", false); r.closed, r.open = true, false }

// knobs are the bits with which a fuzzer turns the server's limits.
const (
	knobBare = 1 << iota
	knobBinary
	knobTLS
	knobXClient
	knobSize
	knobText
	knobStop
	knobLine
)

func turn(knobs byte) limits {
	on := func(bit byte, yes, no int) int {
		if knobs&bit != 0 {
			return yes
		}
		return no
	}
	return limits{
		bare: knobs&knobBare != 0, binary: knobs&knobBinary != 0, tls: knobs&knobTLS != 0, xclient: knobs&knobXClient != 0,
		size: on(knobSize, 50, 0), text: on(knobText, 20, 0), stop: on(knobStop, 10, 0), line: on(knobLine, 64, 2048),
		errors: 5, commands: 60, rcpts: 3,
	}
}

// converse plays in to a server and checks that it did what the reference would have.
func converse(t *testing.T, in, pieces, sizes []byte, l limits) []string {
	t.Helper()
	h := &scribe{sizes: sizes, stop: l.stop}
	cfg := smtp.ServerConfig{
		Hostname: "mx.test", MaxMessageSize: int64(l.size), MaxRecipients: l.rcpts, MaxLine: l.line, MaxTextLine: l.text,
		MaxErrors: l.errors, MaxCommands: l.commands,
		Binary: func() bool { return l.binary }, XClient: func(netip.Addr) bool { return l.xclient },
		AllowBareNewline: func(netip.Addr) bool { return l.bare },
		NewHandler:       func(*smtp.Conn) smtp.Handler { h.closed = false; return h },
		Panic:            func(v any, stack []byte) { t.Errorf("panic: %v\n%s", v, stack) },
	}
	if l.tls {
		cfg.TLS = &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, errors.New("none") }}
	}
	nc := &playedConn{in: slices.Clone(in), pieces: pieces, closed: make(chan struct{})}
	s := smtp.NewServer(cfg)
	listener := make(once, 1)
	listener <- nc
	if err := s.Serve(listener); !errors.Is(err, net.ErrClosed) {
		t.Fatal(err)
	}
	<-nc.closed
	if err := s.Shutdown(context.Background()); err != nil || s.Open() != 0 {
		t.Fatalf("after the end %d connections are open (%v)", s.Open(), err)
	}
	if !h.closed {
		t.Error("the handler was not told of the end")
	}
	if len(h.wrong) > 0 {
		t.Fatalf("%q\nout of order: %q", in, h.wrong)
	}
	if limit := (l.commands + l.errors + 2) * 600; nc.out.Len() > limit {
		t.Fatalf("%d octets of replies", nc.out.Len())
	}
	replies, err := readReplies(nc.out.Bytes())
	if err != nil {
		t.Fatalf("%q\nanswered %q: %v", in, nc.out.Bytes(), err)
	}
	events, wrong := follow(string(in), replies, l)
	if wrong != "" || !slices.Equal(events, h.events) {
		t.Fatalf("%q\nanswered %q\nheard    %q\nexpected %q\n%s", in, nc.out.Bytes(), h.events, events, wrong)
	}
	return h.events
}

// conversations are the seeds: every trick that is known, and the honest ones.
func conversations() []string {
	const start = "EHLO c\r\nMAIL FROM:<a@c.test>\r\nRCPT TO:<b@mx.test>\r\n"
	const evil = "MAIL FROM:<evil@c.test>\r\nRCPT TO:<b@mx.test>\r\nDATA\r\nsmuggled\r\n.\r\n"
	var all []string
	for _, end := range []string{
		"\r\n.\r\n", "\n.\n", "\n.\r\n", "\r.\r", "\r\n.\r", "\r\n.\n", "\r\r\n.\r\r\n", "\r.\r\n", "\n.\r", "\r.\n", "\r\n\x00.\r\n",
		"\r\n.\x00\r\n", "\r\n.\r\x00\n", "\r\n.\r\r\n", "\r\n\r.\r\n", "\r\n.\n\r\n", "\r\n..\r\n", "\r\n.\r\n.\r\n",
	} {
		all = append(all, start+"DATA\r\nSubject: x\r\n\r\ntext"+end+evil+".\r\nQUIT\r\n")
	}
	for _, chunks := range []string{
		"BDAT 6 LAST\r\nabcd\r\n", "BDAT 3\r\nabcBDAT 3 LAST\r\nd\r\n", "BDAT 6\r\nabcd\r\nBDAT 0 LAST\r\n", "BDAT 14 LAST\r\na\r\n.\r\n..b\r\n.\r\n",
		"BDAT 4\r\nabc\rBDAT 1 LAST\r\n\n", "BDAT 4\r\nabc\rBDAT 0 LAST\r\n", "BDAT 3\r\nabcDATA\r\nBDAT 3 LAST\r\nd\r\n", "BDAT 3\r\nabcRSET\r\n",
		"BDAT 3\r\nabcNOOP\nx\r\n", "BDAT 3\r\nabc" + strings.Repeat("WIZ\r\n", 9), "BDAT 3\r\nabcEHLO d\r\n", "BDAT 3\r\nabcQUIT\r\n", "BDAT 3\r\nabcXCLIENT ADDR=192.0.2.1\r\n",
		"BDAT 9999\r\nabc", "BDAT 99999999999999999999 LAST\r\n", "BDAT 3 FIRST\r\nabc", "BDAT -1\r\n", "BDAT 4 LAST\r\na\n.\n", "BDAT 0\r\nBDAT 0\r\nBDAT 0 LAST\r\n",
	} {
		all = append(all, start+chunks+evil+"QUIT\r\n")
	}
	for _, n := range []int{48, 49} { // with the line's end exactly the limit, and one more
		all = append(all, start+"DATA\r\n"+strings.Repeat("x", n)+"\r\n.\r\n"+evil, fmt.Sprintf("%sBDAT %d LAST\r\n%s\r\n%s", start, n+2, strings.Repeat("x", n), evil))
	}
	return append(all,
		start+"DATA\r\na\rb\r\n.\r\n"+evil, start+"DATA\r\na\nb\r\n.\r\n"+evil, start+"MAIL FROM:<a@c.test>\r\n"+start,
		start+"BDAT 30\r\n"+strings.Repeat("NOOP\r\n", 5)+"DATA\r\nBDAT 6 LAST\r\nNOOP\r\nRSET\r\n"+evil, start+"BDAT 30 LAST\r\n"+strings.Repeat("NOOP\r\n", 5)+evil,
		"", "\r\n", "\n", "QUIT\r\n", "HELO c\r\nMAIL FROM:<>\r\nRCPT TO:<postmaster>\r\nDATA\r\n.\r\nQUIT\r\n",
		"EHLO c\r\nMAIL FROM:<> BODY=BINARYMIME\r\nRCPT TO:<b@mx.test>\r\nDATA\r\nBDAT 7 LAST\r\na\nb\r\x00c\n"+evil,
		"EHLO c\r\nSTARTTLS\r\n"+evil+"\x16\x03\x01\x00\x05hello", "STARTTLS\r\nEHLO c\r\n",
		"EHLO c\r\nXCLIENT ADDR=192.0.2.1 NAME=[UNAVAILABLE]\r\nMAIL FROM:<>\r\nEHLO d\r\n"+evil, "XCLIENT ADDR=x\r\nXCLIENT ADDR=IPV6:::1\r\n"+start,
		start+"RCPT TO:<c@mx.test>\r\nRCPT TO:<d@mx.test>\r\nRCPT TO:<e@mx.test>\r\nDATA\r\n..x\r\n...\r\n.\r\nRSET\r\nRSET now\r\n"+evil,
		"EHLO c\r\nMAIL FROM:<\"a\\\"b c\"@d.test> SIZE=10 RET=HDRS ENVID=x\r\nRCPT TO:<b@mx.test> NOTIFY=NEVER ORCPT=rfc822;b@mx.test\r\nDATA\r\nx\r\n.\r\n",
		"EHLO c\r\nMAIL FROM:<ä@ü.test> SMTPUTF8\r\nRCPT TO:<ö@ü.test>\r\nDATA\r\nx\r\n.\r\n",
		"NOOP "+strings.Repeat("x", 3000)+"\nMAIL FROM:<>\r\n", "NOOP "+strings.Repeat("x", 3000)+"\r\nNOOP\r\n", strings.Repeat("NOOP\r\n", 70),
		strings.Repeat("WIZ\r\n", 7)+evil, "POST / HTTP/1.1\r\nHost: x\r\n\r\n"+evil, "EHLO c\rMAIL FROM:<>\r\n", "EHLO c\x00\r\nNOOP\r\n",
		start+"DATA\r\n"+strings.Repeat("x", 100)+"\r\n.\r\n"+evil, start+"DATA\r\n"+strings.Repeat("x\r\n", 40)+".\r\n"+evil,
		start+"BDAT 120 LAST\r\n"+strings.Repeat("x\r\n", 40)+evil, "BDAT 5\r\nNOOP\nNOOP\r\n", start+"RSET\r\nBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n",
	)
}

// FuzzServer plays any octets at all as a whole conversation, in any pieces, under any limits.
func FuzzServer(f *testing.F) {
	for i, c := range conversations() {
		f.Add([]byte(c), []byte{}, []byte{}, byte(0))
		f.Add([]byte(c), []byte{0}, []byte{0}, byte(1<<(i%8)))
		f.Add([]byte(c), []byte{6, 2, 40}, []byte{0, 7}, byte(knobBare|knobBinary|knobTLS|knobXClient))
		f.Add([]byte(c), []byte{1}, []byte{0}, byte(knobStop))
		f.Add([]byte(c), []byte{}, []byte{30}, byte(knobSize))
	}
	f.Fuzz(func(t *testing.T, in, pieces, sizes []byte, knobs byte) {
		if len(in) > 16<<10 {
			t.Skip("as long as that nothing new happens")
		}
		converse(t, in, pieces, sizes, turn(knobs))
	})
}

// FuzzBody plays any octets at all as the data of one message.
func FuzzBody(f *testing.F) {
	for _, s := range []string{"", "a\r\n", ".\r\n", "..\r\n", "a\n.\r\nb", "a\r.\r\nb", "\r\n.\rb", "a\r\n.\n.\r\n", "\r\r\n.\r\r\n.\r\n", "a\x00", ".\r\r\n", "\n..b", strings.Repeat("y", 60),
		strings.Repeat("y", 18), strings.Repeat("y", 19), "." + strings.Repeat("y", 18), ".." + strings.Repeat("y", 18)} {
		f.Add([]byte(s), []byte{0}, []byte{0}, byte(0), byte(0))
		f.Add([]byte(s+"\r\n.\r\nQUIT\r\n"), []byte{3}, []byte{}, byte(knobBare), byte(1))
		f.Add([]byte(s), []byte{255}, []byte{9}, byte(knobBare|knobText), byte(3))
		f.Add([]byte(s), []byte{}, []byte{}, byte(knobText), byte(1))
	}
	f.Fuzz(func(t *testing.T, data, pieces, sizes []byte, knobs, way byte) {
		if len(data) > 16<<10 {
			t.Skip("as long as that nothing new happens")
		}
		const start = "EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<b@mx.test>\r\n"
		in := []byte(start + "DATA\r\n")
		switch way % 4 {
		case 0:
			in = append(in, data...)
		case 1:
			in = append(append(in, data...), "\r\n.\r\nMAIL FROM:<next@c.test>\r\nQUIT\r\n"...)
		default:
			in = chunked(start, data, pieces, way%4 == 2)
		}
		converse(t, in, pieces, sizes, turn(knobs))
	})
}

// chunked writes data as chunks of the sizes given.
func chunked(start string, data, sizes []byte, emptyLast bool) []byte {
	in := []byte(start)
	for i := 0; ; i++ {
		n := len(data)
		if len(sizes) > 0 && i < 20 {
			n = min(n, int(sizes[i%len(sizes)]))
		}
		last := n == len(data) && !(emptyLast && n > 0)
		in = fmt.Appendf(in, "BDAT %d%s\r\n", n, map[bool]string{true: " LAST"}[last])
		in = append(in, data[:n]...)
		data = data[n:]
		if last {
			return append(in, "MAIL FROM:<next@c.test>\r\nQUIT\r\n"...)
		}
	}
}
