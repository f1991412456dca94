package demo

import (
	"bytes"
	"context"
	"net"
	"net/smtp"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// behind starts a MailServer and gives it and its address.
func behind(t *testing.T) (*MailServer, string) {
	t.Helper()
	s, err := NewMailServer(t.TempDir(), "Example.com", "alice", "bob", "postmaster")
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	t.Cleanup(func() {
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return s, l.Addr().String()
}

// contents reads a user's mailbox.
func contents(t *testing.T, s *MailServer, user string) [][]byte {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(s.Mailbox(user), "*"))
	if err != nil {
		t.Fatal(err)
	}
	var all [][]byte
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b)
	}
	return all
}

func TestMailIsStoredOctetByOctet(t *testing.T) {
	s, addr := behind(t)
	body := []byte("Subject: dots\r\n\r\n.\r\n..two\r\n\x80\xffno UTF-8\r\n\r\n")
	c, err := smtp.Dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	steps := []error{c.Mail("ann@example.org"), c.Rcpt("ALICE@example.COM"), c.Rcpt("bob@example.com"), c.Rcpt("alice@example.com")}
	for _, err := range steps {
		if err != nil {
			t.Fatal(err)
		}
	}
	w, err := c.Data()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(body); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for _, user := range []string{"alice", "bob"} {
		if got := contents(t, s, user); len(got) != 1 || !bytes.Equal(got[0], body) {
			t.Errorf("%s has %q", user, got)
		}
	}
	if n, bounces := s.Stored(); n != 2 || bounces != 0 {
		t.Errorf("%d copies, %d bounces", n, bounces)
	}
	if left, _ := os.ReadDir(filepath.Join(s.dir, incoming)); len(left) != 0 {
		t.Errorf("left over: %v", left)
	}
}

func TestUnknownUsersAreRefusedAtRcpt(t *testing.T) {
	_, addr := behind(t)
	c, err := smtp.Dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Mail(""); err != nil {
		t.Fatal(err)
	}
	for to, want := range map[string]string{
		"nobody@example.com": "5.1.1 <nobody@example.com>: User unknown",
		"alice@example.net":  "5.7.1 <alice@example.net>: Relay access denied",
	} {
		if err := c.Rcpt(to); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", to, err)
		}
	}
	if err := c.Rcpt("postmaster"); err != nil {
		t.Errorf("postmaster without a domain: %v", err)
	}
}

func TestAMessageThatCannotBeStoredIsDeferred(t *testing.T) {
	s, addr := behind(t)
	if err := os.RemoveAll(s.Mailbox("bob")); err != nil {
		t.Fatal(err)
	}
	err := smtp.SendMail(addr, nil, "ann@example.org", []string{"alice@example.com", "bob@example.com"}, []byte("Subject: x\r\n\r\nx\r\n"))
	if err == nil || !strings.HasPrefix(err.Error(), "451") {
		t.Errorf("%v", err)
	}
	if got := contents(t, s, "alice"); len(got) != 0 {
		t.Errorf("alice keeps a message that will come again: %q", got)
	}
}
