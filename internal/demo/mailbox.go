package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"backstop/internal/mail"
	"backstop/internal/smtp"
)

// MailServer is a mail server for one domain and a few users. It stores what it
// receives, octet by octet, as DIR/USER/ID.eml, and refuses everybody else at RCPT.
type MailServer struct {
	dir    string
	domain string
	users  []string
	smtp   *smtp.Server

	mu     sync.Mutex
	copies int
	nulls  int // of them with the null sender
}

var (
	replyNoUser   = mail.MustReply(550, "5.1.1", "User unknown in local recipient table")
	replyNotHere  = mail.MustReply(554, "5.7.1", "Relay access denied")
	replyNotKept  = mail.MustReply(451, "4.3.0", "The message could not be stored")
	replyTooLarge = mail.MustReply(552, "5.3.4", "Message too large")
)

// maxDemoMessage bounds one message, in octets.
const maxDemoMessage = 50 << 20

// NewMailServer makes a server whose mailboxes are folders in dir; they are made if need be.
func NewMailServer(dir, domain string, users ...string) (*MailServer, error) {
	domain, err := mail.FoldDomain(domain)
	if err != nil {
		return nil, err
	}
	s := &MailServer{dir: dir, domain: domain, users: users}
	for _, u := range append([]string{incoming}, users...) {
		if err := os.MkdirAll(filepath.Join(dir, u), 0o700); err != nil {
			return nil, err
		}
	}
	s.smtp = smtp.NewServer(smtp.ServerConfig{
		Hostname:       "mailboxes." + domain,
		MaxMessageSize: maxDemoMessage,
		Binary:         func() bool { return true },
		NewHandler:     func(*smtp.Conn) smtp.Handler { return &delivery{server: s} },
	})
	return s, nil
}

// incoming is the folder in which messages are written before they are whole.
const incoming = ".incoming"

// Serve accepts connections until Shutdown.
func (s *MailServer) Serve(l net.Listener) error {
	if err := s.smtp.Serve(l); !errors.Is(err, smtp.ErrServerClosed) {
		return err
	}
	return nil
}

// Shutdown ends Serve and every connection; messages in the middle of their data
// are finished unless ctx ends first.
func (s *MailServer) Shutdown(ctx context.Context) error { return s.smtp.Shutdown(ctx) }

// Mailbox is the folder of a user.
func (s *MailServer) Mailbox(user string) string { return filepath.Join(s.dir, user) }

// Users are the users that exist.
func (s *MailServer) Users() []string { return slices.Clone(s.users) }

// Stored says how many copies were put into mailboxes so far, and how many of
// them came with the null sender, as bounces do.
func (s *MailServer) Stored() (copies, bounces int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.copies, s.nulls
}

// delivery is one connection to the MailServer.
type delivery struct {
	server *MailServer
	from   mail.ReversePath
	to     []string // users
}

func (d *delivery) Connect() mail.Reply                 { return mail.Reply{} }
func (d *delivery) Helo(string, bool) mail.Reply        { return mail.Reply{} }
func (d *delivery) Data() mail.Reply                    { return mail.Reply{} }
func (d *delivery) Violation(smtp.Violation) mail.Reply { return mail.Reply{} }
func (d *delivery) Reset()                              { d.from, d.to = mail.ReversePath{}, nil }
func (d *delivery) Close()                              {}

func (d *delivery) Mail(from mail.ReversePath, _ smtp.MailParams) mail.Reply {
	d.from = from
	return mail.Reply{}
}

func (d *delivery) Rcpt(to mail.Address, _ smtp.RcptParams) mail.Reply {
	user := to.LocalKey()
	bare := to.Domain() == "" && to.IsPostmaster() // RFC 5321, 4.1.1.3
	if to.Domain() != d.server.domain && !bare {
		return replyNotHere.About(to.String())
	}
	if !slices.Contains(d.server.users, user) {
		return replyNoUser.About(to.String())
	}
	if !slices.Contains(d.to, user) { // one copy is enough
		d.to = append(d.to, user)
	}
	return mail.Reply{}
}

func (d *delivery) Message(body *smtp.BodyReader) mail.Reply {
	id, err := d.server.store(d.to, d.from.IsNull(), body)
	switch {
	case err == nil:
		return mail.MustReply(250, "2.0.0", fmt.Sprintf("Ok: stored as %s.eml", id))
	case errors.Is(err, smtp.ErrTooBig):
		return replyTooLarge
	}
	return replyNotKept
}

// store writes the message once and links it into each mailbox, so that no
// mailbox ever shows half a message.
func (s *MailServer) store(users []string, null bool, body io.Reader) (id string, err error) {
	f, err := os.CreateTemp(filepath.Join(s.dir, incoming), "message-*")
	if err != nil {
		return "", err
	}
	defer os.Remove(f.Name())
	_, err = io.Copy(f, body)
	if err = errors.Join(err, f.Close()); err != nil {
		return "", err
	}
	id = time.Now().UTC().Format("20060102-150405-") + mail.NewID().String()
	for i, u := range users {
		if err := os.Link(f.Name(), filepath.Join(s.dir, u, id+".eml")); err != nil {
			s.takeBack(users[:i], id)
			return "", err
		}
	}
	s.mu.Lock()
	s.copies += len(users)
	if null {
		s.nulls += len(users)
	}
	s.mu.Unlock()
	return id, nil
}

// takeBack removes the copies of a message that did not reach every mailbox: it
// is answered 451 and will come again for all.
func (s *MailServer) takeBack(users []string, id string) {
	for _, u := range users {
		if err := os.Remove(filepath.Join(s.dir, u, id+".eml")); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return // the disk is in trouble already, and the copy is whole
		}
	}
}
