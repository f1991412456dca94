package rig

import (
	"bytes"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"backstop/internal/mailtest"
)

// GoSMTP is a server on the go-smtp library: an independent peer in this process.
//
// Of its ways, dialogues must know: it hands local parts on without their
// quotes, and accepts a MAIL inside a transaction.
type GoSMTP struct {
	Addr string

	mu    sync.Mutex
	users []string // nil: all
	held  []mailtest.Message
}

// StartGoSMTP starts one that knows these users (nil: Users()) and is gone when the test ends.
func StartGoSMTP(t testing.TB, users []string) *GoSMTP {
	t.Helper()
	if users == nil {
		users = Users()
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &GoSMTP{Addr: ln.Addr().String(), users: users}
	s := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		return &goSession{g: g, conn: c}, nil
	}))
	s.Domain = "gosmtp.test"
	s.EnableSMTPUTF8, s.EnableBINARYMIME, s.EnableDSN = true, true, true
	s.MaxMessageBytes, s.MaxLineLength = 52428800, 4096
	s.ReadTimeout, s.WriteTimeout = time.Minute, time.Minute
	s.ErrorLog = quiet{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Serve(ln)
	}()
	t.Cleanup(func() {
		s.Close()
		<-done
	})
	return g
}

// quiet drops what go-smtp would write to standard error about broken connections.
type quiet struct{}

func (quiet) Printf(string, ...any) {}
func (quiet) Println(...any)        {}

// SetUsers changes who exists.
func (g *GoSMTP) SetUsers(users ...string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.users = users
}

// Messages returns what it has accepted.
func (g *GoSMTP) Messages() []mailtest.Message {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.held)
}

// Forget drops what it has accepted.
func (g *GoSMTP) Forget() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.held = nil
}

type goSession struct {
	g    *GoSMTP
	conn *smtp.Conn
	from string
	to   []mailtest.Rcpt
}

func (s *goSession) Reset()        { s.from, s.to = "", nil }
func (s *goSession) Logout() error { return nil }

func (s *goSession) Mail(from string, _ *smtp.MailOptions) error {
	s.from = from
	return nil
}

func (s *goSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.g.mu.Lock()
	defer s.g.mu.Unlock()
	local, domain, _ := strings.Cut(to, "@")
	if domain != "" && !strings.EqualFold(domain, Domain) {
		return &smtp.SMTPError{Code: 554, EnhancedCode: smtp.EnhancedCode{5, 7, 1}, Message: "No relaying"}
	}
	if !slices.ContainsFunc(s.g.users, func(u string) bool { return strings.EqualFold(strings.Trim(u, `"`), local) }) {
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "No such user"}
	}
	s.to = append(s.to, mailtest.Rcpt{Path: to})
	return nil
}

func (s *goSession) Data(r io.Reader) error {
	var b bytes.Buffer
	if _, err := b.ReadFrom(r); err != nil {
		return err
	}
	if len(s.to) == 0 {
		return errors.New("no recipients")
	}
	s.g.mu.Lock()
	defer s.g.mu.Unlock()
	s.g.held = append(s.g.held, mailtest.Message{Helo: s.conn.Hostname(), From: s.from, To: s.to, Body: b.Bytes(),
		Kept: true, Code: 250, Answered: true})
	return nil
}
