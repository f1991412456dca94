package smtp_test

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"

	"backstop/internal/mailtest"
	"backstop/internal/smtp"
)

// together holds back what is written until it is told, so that several TLS records leave at once.
type together struct {
	net.Conn
	hold bool
	buf  bytes.Buffer
}

func (c *together) Write(p []byte) (int, error) {
	c.buf.Write(p)
	if c.hold {
		return len(p), nil
	}
	_, err := c.Conn.Write(c.buf.Bytes())
	c.buf.Reset()
	return len(p), err
}

// TestIdleSeesHiddenRecords: an answer too many in a TLS record of its own is taken from
// the socket together with the one before it, where no look at the socket finds it.
func TestIdleSeesHiddenRecords(t *testing.T) {
	ca := mailtest.NewAuthority(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		nc, err := ln.Accept()
		if err != nil {
			return
		}
		defer nc.Close()
		twoRecords(nc, &tls.Config{Certificates: []tls.Certificate{ca.Issue(t, "peer.test")}})
	}()
	nc, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c, err := smtp.NewClient(t.Context(), nc, smtp.ClientConfig{LocalName: "gate.test"})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // looking changes nothing
		if !c.Idle() {
			t.Error("not idle after EHLO")
		}
	}
	for _, want := range []bool{true, false} { // the first RSET is answered once
		b := c.Batch()
		b.Reset()
		if rs, err := b.Do(t.Context()); err != nil || rs[0].Code != 250 {
			t.Fatalf("%+v, %v", rs, err)
		}
		if c.Idle() != want {
			t.Errorf("idle is %v", !want)
		}
	}
	b := c.Batch()
	b.Reset()
	if rs, err := b.Do(t.Context()); err == nil {
		t.Errorf("an answer from before: %+v", rs)
	}
	<-ended
}

// twoRecords speaks SMTP, with STARTTLS, and answers the second RSET twice.
func twoRecords(nc net.Conn, cfg *tls.Config) {
	line := func(c net.Conn) string {
		var b [1]byte
		var s strings.Builder
		for b[0] != '\n' {
			if _, err := c.Read(b[:]); err != nil {
				return ""
			}
			s.Write(b[:])
		}
		return s.String()
	}
	io.WriteString(nc, "220 peer.test\r\n")
	line(nc)
	io.WriteString(nc, "250-peer.test\r\n250 STARTTLS\r\n")
	line(nc)
	io.WriteString(nc, "220 go\r\n")
	raw := &together{Conn: nc}
	c := tls.Server(raw, cfg)
	line(c)
	io.WriteString(c, "250 peer.test\r\n")
	line(c)
	io.WriteString(c, "250 ok\r\n")
	line(c)
	raw.hold = true
	io.WriteString(c, "250 ok\r\n")
	raw.hold = false
	io.WriteString(c, "250 once more\r\n")
	line(c) // until the client is gone
}
