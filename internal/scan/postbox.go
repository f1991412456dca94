package scan

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"backstop/internal/bounce"
	"backstop/internal/mail"
	"backstop/internal/smtp"
)

// Notice is one message that came to the return path.
type Notice struct {
	Client     string `json:"client"` // who brought it
	Helo       string `json:"helo"`
	From       string `json:"from"` // its header From
	Subject    string `json:"subject"`
	Kind       string `json:"kind"`   // bounce, auto-reply, …
	Action     string `json:"action"` // of a bounce: failed, delayed, …
	Status     string `json:"status,omitempty"`
	Diagnostic string `json:"diagnostic,omitempty"`
	Ours       bool   `json:"ours"` // it is about the message that was sent

	null  bool // its sender
	after time.Duration
	text  string   // in lower case
	about []string // recipients that it names
	token bool
	at    time.Time
}

// names says whether a notice is about the message for this recipient. The address is as unguessable as the token.
func (n *Notice) names(to mail.Address) bool {
	if n.token || to.IsZero() {
		return n.token
	}
	if strings.Contains(n.text, to.LocalKey()) {
		return true
	}
	for _, a := range n.about {
		if strings.Contains(strings.ToLower(a), to.LocalKey()) {
			return true
		}
	}
	return false
}

// postbox is a small mail server for one address, to which bounces come.
type postbox struct {
	token string
	path  mail.Address
	srv   *smtp.Server

	mu      sync.Mutex
	to      mail.Address  // of the message
	kept    []Notice      // what came, in its order: others' mail does not crowd out what is ours
	ours    int           // of them
	dropped int           // and what was not kept
	bounced chan struct{} // closed when the bounce is there
	found   bool
	visits  int // connections

	done chan struct{}
	once sync.Once
}

// maxKept is how much of a message is looked at, maxSize how much is taken, in octets.
const (
	maxKept = bounce.MaxBytes
	maxSize = 30 << 20
)

func newPostbox(l net.Listener, path mail.Address, helo string) *postbox {
	p := &postbox{token: random(letters, 24), path: path, bounced: make(chan struct{}), done: make(chan struct{})}
	if helo == "" {
		helo = literal(l.Addr())
	}
	p.srv = smtp.NewServer(smtp.ServerConfig{
		Hostname: helo, MaxMessageSize: maxSize, MaxRecipients: 5, MaxCommands: 50,
		Timeouts:   smtp.ServerTimeouts{Command: time.Minute, Data: time.Minute, Message: 2 * time.Minute, Session: 5 * time.Minute},
		NewHandler: func(c *smtp.Conn) smtp.Handler { return &letter{box: p, conn: c} },
		// What is only looked at may come with the lines of an old server.
		AllowBareNewline: func(netip.Addr) bool { return true },
		Panic:            func(any, []byte) {}, // its sender is told 451, and that is all that matters here
	})
	go func() {
		defer close(p.done)
		p.srv.Serve(l) // ends with close
	}()
	return p
}

// close ends it; mail that is just being brought is cut off.
func (p *postbox) close() {
	p.once.Do(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		p.srv.Shutdown(ctx)
		<-p.done
	})
}

// letter is one connection of the postbox.
type letter struct {
	box  *postbox
	conn *smtp.Conn
	helo string
	null bool
}

var (
	replyNobody = mail.MustReply(550, "5.1.1", "Only the return path of a test is here")
	replyKept   = mail.MustReply(250, "2.0.0", "Ok: noted by backstop scan")
	replyLost   = mail.MustReply(451, "4.3.0", "Not read to its end")
)

func (l *letter) Data() mail.Reply                           { return mail.Reply{} }
func (l *letter) Violation(smtp.Violation) (none mail.Reply) { return none }
func (l *letter) Reset()                                     {}
func (l *letter) Close()                                     {}

func (l *letter) Connect() mail.Reply {
	l.box.mu.Lock()
	defer l.box.mu.Unlock()
	l.box.visits++
	return mail.Reply{}
}

func (l *letter) Helo(name string, _ bool) mail.Reply {
	l.helo = plain(name)
	return mail.Reply{}
}

func (l *letter) Mail(from mail.ReversePath, _ smtp.MailParams) mail.Reply {
	l.null = from.IsNull()
	return mail.Reply{}
}

// Rcpt takes mail for the return path alone.
func (l *letter) Rcpt(to mail.Address, _ smtp.RcptParams) mail.Reply {
	if to.Key() != l.box.path.Key() {
		return replyNobody
	}
	return mail.Reply{}
}

// Message reads it and says what it is.
func (l *letter) Message(body *smtp.BodyReader) mail.Reply {
	kept := make([]byte, 0, 16<<10)
	buf := make([]byte, 32<<10)
	for {
		n, err := body.Read(buf)
		kept = append(kept, buf[:min(n, maxKept-len(kept))]...)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return replyLost
		}
	}
	n := l.box.read(kept, l.null)
	n.Client, n.Helo = l.conn.Peer().Addr.String(), l.helo
	l.box.add(n)
	return replyKept
}

// expect says to whom the message goes: what names him is ours.
func (p *postbox) expect(to mail.Address) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.to = to
}

// add keeps a notice. What is ours has a place of its own, and the bounce has one always.
func (p *postbox) add(n Notice) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n.at, n.Ours = time.Now(), n.names(p.to)
	bounce := n.bounced() && !p.found
	others := len(p.kept) - p.ours
	if !bounce && (n.Ours && p.ours >= maxNotices || !n.Ours && others >= maxNotices) {
		p.dropped++
		return
	}
	n.text = "" // is large, and has been read
	p.kept = append(p.kept, n)
	if n.Ours {
		p.ours++
	}
	if bounce {
		p.found = true
		close(p.bounced)
	}
}

// read says what a message is, as far as the message itself tells.
func (p *postbox) read(message []byte, null bool) Notice {
	r := bounce.Recognise(message, null)
	h := bounce.ReadHeader(message)
	n := Notice{null: null, Kind: r.Kind.String(), From: plain(h.Get("From")), Subject: plain(h.Get("Subject")), text: strings.ToLower(string(message))}
	if r.Kind == bounce.Bounce {
		n.Action = r.Action.String()
	}
	for _, to := range r.Recipients {
		n.about = append(n.about, to.Original, to.Final)
		if n.Diagnostic == "" {
			n.Status, n.Diagnostic = plain(to.Status), strings.TrimPrefix(plain(to.Diagnostic), "smtp; ")
		}
	}
	n.token = strings.Contains(n.text, p.token) || strings.Contains(r.Returned.Get(headerToken)+r.Returned.Get("Message-ID")+strings.Join(r.About, ""), p.token)
	return n
}
