package smtp_test

import (
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"backstop/internal/mail"
	"backstop/internal/smtp"
)

// punctual is a played connection that keeps its write deadline.
type punctual struct {
	*playedConn
	mu sync.Mutex
	by time.Time
}

func (p *punctual) SetWriteDeadline(t time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.by = t
	return nil
}

func (p *punctual) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.by.IsZero() && time.Now().After(p.by) {
		return 0, os.ErrDeadlineExceeded
	}
	return p.playedConn.Write(b)
}

// slow is a Handler whose downstream takes its time.
type slow struct {
	*scribe
	atRcpt, atMessage time.Duration
}

func (s *slow) Rcpt(to mail.Address, p smtp.RcptParams) mail.Reply {
	<-time.After(s.atRcpt)
	return s.scribe.Rcpt(to, p)
}

func (s *slow) Message(body *smtp.BodyReader) mail.Reply {
	r := s.scribe.Message(body)
	<-time.After(s.atMessage)
	return r
}

// TestSlowAnswerThenQuit: Postfix sends QUIT in one packet with the end of the
// data. However long the downstream thinks, its yes must still be written: a reply that
// is lost makes the sender send again what was taken.
func TestSlowAnswerThenQuit(t *testing.T) {
	const in = "EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<b@mx.test>\r\nDATA\r\ntext\r\n.\r\nQUIT\r\n"
	for _, took := range []time.Duration{time.Second, 3 * time.Minute, 9 * time.Minute} {
		for _, h := range []*slow{{&scribe{}, 0, took}, {&scribe{}, took, 0}} {
			synctest.Test(t, func(t *testing.T) {
				nc := &punctual{playedConn: &playedConn{in: []byte(in), closed: make(chan struct{})}}
				s := smtp.NewServer(smtp.ServerConfig{Hostname: "mx.test", NewHandler: func(*smtp.Conn) smtp.Handler { return h }})
				l := make(once, 1)
				l <- nc
				s.Serve(l)
				<-nc.closed
				s.Shutdown(t.Context())
				if got := nc.out.String(); !strings.Contains(got, "250 2.0.0 taken\r\n221 ") {
					t.Errorf("recipient after %v, message after %v: answered %q", h.atRcpt, h.atMessage, got)
				}
			})
		}
	}
}

// TestSlowRecipient: the time that a recipient took is not held against the sender's data.
func TestSlowRecipient(t *testing.T) {
	const in = "EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<b@mx.test>\r\nDATA\r\ntext\r\n.\r\nQUIT\r\n"
	h := &slow{&scribe{}, 4 * time.Minute, 0}
	synctest.Test(t, func(t *testing.T) {
		nc := &punctual{playedConn: &playedConn{in: []byte(in), pieces: []byte{53, 0}, closed: make(chan struct{})}}
		s := smtp.NewServer(smtp.ServerConfig{
			Hostname: "mx.test", Timeouts: smtp.ServerTimeouts{MinRate: 1000},
			NewHandler: func(*smtp.Conn) smtp.Handler { return h },
		})
		l := make(once, 1)
		l <- nc
		s.Serve(l)
		<-nc.closed
		s.Shutdown(t.Context())
		if got := nc.out.String(); !strings.Contains(got, "250 2.0.0 taken\r\n221 ") {
			t.Errorf("answered %q", got)
		}
	})
}
