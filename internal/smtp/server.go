package smtp

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"backstop/internal/mail"
)

// Handler is what a connection's events are told to. Its methods are called
// one after another from the connection's goroutine. A reply of the zero value means
// "go on as the protocol has it".
type Handler interface {
	// Connect is called once, before the banner. A reply that is not positive is
	// sent instead of the banner, and the connection closed.
	Connect() mail.Reply
	// Helo takes HELO and EHLO. Whatever transaction was open is over.
	Helo(name string, extended bool) mail.Reply
	// Mail opens a transaction when its reply is positive.
	Mail(from mail.ReversePath, p MailParams) mail.Reply
	// Rcpt adds a recipient when its reply is positive. An address without a domain may be given.
	Rcpt(to mail.Address, p RcptParams) mail.Reply
	// Data is asked before the first octet of a message is read. A reply that is not
	// zero refuses it.
	Data() mail.Reply
	// Message reads body until io.EOF and gives the final reply. After any other error
	// of body the message is void, whatever the reply says.
	Message(body *BodyReader) mail.Reply
	// Reset says that the transaction is over: after Message, on RSET, on a new HELO.
	Reset()
	// Violation is asked for the reply to a breach that ends the connection.
	Violation(v Violation) mail.Reply
	// Close says that the connection is over.
	Close()
}

// Violation is a breach of the protocol that ends a connection.
type Violation uint8

const (
	ViolationLineEnd  Violation = iota // a bare CR, a bare LF or a NUL in a command line
	ViolationErrors                    // more errors than MaxErrors
	ViolationCommands                  // more commands than MaxCommands
	ViolationHTTP                      // a web browser, or somebody who steers one
	ViolationInternal                  // ours: a panic while a command was served
)

// ServerTimeouts bound how long a client may take (RFC 5321, 4.5.3.2 asks for five minutes a command).
type ServerTimeouts struct {
	Command time.Duration // between two commands
	Data    time.Duration // between two reads of the data
	Message time.Duration // the data of one message in all
	Session time.Duration // the whole connection
	MinRate int64         // octets of data a second after the first minute; 0: any
}

// ServerConfig is what a Server needs. Functions may be nil.
type ServerConfig struct {
	Hostname       string
	MaxMessageSize int64 // octets; 0: no limit
	MaxRecipients  int   // of one transaction
	MaxLine        int   // octets of a command line, its end included
	MaxTextLine    int   // octets of a line of data; 0: no limit
	MaxErrors      int   // protocol errors of one connection
	MaxCommands    int   // commands of one connection
	Timeouts       ServerTimeouts
	BannerDelay    time.Duration // how long the banner is held back to see who talks early
	TLS            *tls.Config   // nil: STARTTLS is not offered

	Binary           func() bool           // whether BINARYMIME can be kept just now
	XClient          func(netip.Addr) bool // who may send XCLIENT
	AllowBareNewline func(netip.Addr) bool // whose bare CR and LF are made CRLF instead of refused
	NewHandler       func(*Conn) Handler
	Panic            func(v any, stack []byte) // told of a panic; its connection was answered 451
}

// Server speaks SMTP on any number of listeners.
type Server struct {
	cfg atomic.Pointer[ServerConfig]

	mu       sync.Mutex
	conns    map[*Conn]struct{}
	ls       map[net.Listener]struct{}
	draining bool

	work    chan *Conn    // unbuffered: taken only by a worker that rests
	idle    chan struct{} // closed by Shutdown: nobody rests any more
	resting atomic.Int32

	wg sync.WaitGroup
}

// NewServer makes a server; cfg is not checked beyond filling in zero limits.
func NewServer(cfg ServerConfig) *Server {
	s := &Server{
		conns: map[*Conn]struct{}{}, ls: map[net.Listener]struct{}{},
		work: make(chan *Conn), idle: make(chan struct{}),
	}
	s.Configure(cfg)
	return s
}

// Configure changes the configuration for connections that begin from now on.
func (s *Server) Configure(cfg ServerConfig) {
	orInt := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	orDur := func(v *time.Duration, d time.Duration) {
		if *v <= 0 {
			*v = d
		}
	}
	orInt(&cfg.MaxRecipients, 100)
	orInt(&cfg.MaxLine, 2048)
	orInt(&cfg.MaxErrors, 10)
	orInt(&cfg.MaxCommands, 1000)
	orDur(&cfg.Timeouts.Command, 5*time.Minute)
	orDur(&cfg.Timeouts.Data, 3*time.Minute)
	orDur(&cfg.Timeouts.Message, 30*time.Minute)
	orDur(&cfg.Timeouts.Session, 2*time.Hour)
	s.cfg.Store(&cfg)
}

// ErrServerClosed is what Serve returns after Shutdown.
var ErrServerClosed = errors.New("smtp: server closed")

// Serve accepts connections from l until Shutdown, or until l is closed.
func (s *Server) Serve(l net.Listener) error {
	s.mu.Lock()
	if s.draining {
		s.mu.Unlock()
		return ErrServerClosed
	}
	s.ls[l] = struct{}{}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.ls, l)
		s.mu.Unlock()
	}()
	for pause := time.Duration(0); ; {
		nc, err := l.Accept()
		if err == nil {
			pause = 0
			s.start(nc)
			continue
		}
		s.mu.Lock()
		over := s.draining
		s.mu.Unlock()
		if over {
			return ErrServerClosed
		}
		if errors.Is(err, net.ErrClosed) {
			return err
		}
		// Out of descriptors or memory: those that are open go on, new ones wait.
		pause = min(max(2*pause, 5*time.Millisecond), time.Second)
		time.Sleep(pause)
	}
}

func (s *Server) start(nc net.Conn) {
	c := &Conn{srv: s, cfg: s.cfg.Load(), nc: nc, raw: nc}
	s.mu.Lock()
	if s.draining {
		s.mu.Unlock()
		nc.Close()
		return
	}
	s.conns[c] = struct{}{}
	s.wg.Add(1)
	s.mu.Unlock()
	select {
	case s.work <- c: // a goroutine that served before: its stack has its size already
	default:
		go s.worker(c)
	}
}

// maxResting is how many goroutines wait for the next connection.
const maxResting = 64

// worker serves one connection after another. Growing a fresh stack to what a
// transaction needs costs more than everything the rules do.
func (s *Server) worker(c *Conn) {
	for {
		c.serve()
		if s.resting.Add(1) > maxResting {
			s.resting.Add(-1)
			return
		}
		select {
		case c = <-s.work:
			s.resting.Add(-1)
		case <-s.idle:
			s.resting.Add(-1)
			return
		}
	}
}

func (s *Server) finished(c *Conn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	s.wg.Done()
}

// Open is how many connections are open.
func (s *Server) Open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// Shutdown closes the listeners, says 421 to every connection that is not in
// the middle of a message, lets those finish, and returns when all are gone. When ctx
// is over first, what is left is cut off and ctx's error returned.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	if !s.draining {
		close(s.idle)
	}
	s.draining = true
	for l := range s.ls {
		l.Close()
	}
	for c := range s.conns {
		c.drain()
	}
	s.mu.Unlock()
	done := make(chan struct{})
	go func() { s.wg.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	for c := range s.conns {
		c.raw.Close()
	}
	s.mu.Unlock()
	<-done
	return ctx.Err()
}

// fixed replies of the wire itself; everything with a rule behind it comes from the Handler.
var (
	replyOK           = mail.MustReply(250, "2.0.0", "Ok")
	replyBye          = mail.MustReply(221, "2.0.0", "Bye")
	replyGoAhead      = mail.MustReply(354, "", "End data with <CR><LF>.<CR><LF>")
	replyMailOK       = mail.MustReply(250, "2.1.0", "Ok")
	replyRcptOK       = mail.MustReply(250, "2.1.5", "Ok")
	replyVerify       = mail.MustReply(252, "2.0.0", "Recipients are told at RCPT")
	replyHelp         = mail.MustReply(214, "2.0.0", "This is an SMTP gateway (RFC 5321)")
	replyUnknown      = mail.MustReply(500, "5.5.2", "Command not recognized")
	replyNotHere      = mail.MustReply(502, "5.5.1", "Command not implemented")
	replyNoArgs       = mail.MustReply(501, "5.5.4", "This command takes no argument")
	replyNeedName     = mail.MustReply(501, "5.5.4", "HELO and EHLO need the name of the client")
	replyHeloFirst    = mail.MustReply(503, "5.5.1", "Say EHLO or HELO first")
	replyMailFirst    = mail.MustReply(503, "5.5.1", "MAIL comes first")
	replyNested       = mail.MustReply(503, "5.5.1", "A transaction is open already")
	replyNoRecipients = mail.MustReply(554, "5.5.1", "No valid recipients")
	replyMixed        = mail.MustReply(503, "5.5.1", "DATA cannot follow BDAT in one transaction (RFC 3030, 2)")
	replyBinaryData   = mail.MustReply(503, "5.5.1", "BODY=BINARYMIME needs BDAT (RFC 3030, 3)")
	replyBadBDAT      = mail.MustReply(501, "5.5.4", "Write BDAT with a size in octets, and LAST for the last chunk")
	replyTooMany      = mail.MustReply(452, "4.5.3", "Too many recipients, send the rest in another transaction")
	replyLongLine     = mail.MustReply(500, "5.5.6", "Line too long")
	replyTooBig       = mail.MustReply(552, "5.3.4", "Message size exceeds the limit announced")
	replyTimeout      = mail.MustReply(421, "4.4.2", "Time is up, closing")
	replyShutdown     = mail.MustReply(421, "4.3.2", "Shutting down, try again")
	replyTLSReady     = mail.MustReply(220, "2.0.0", "Ready to start TLS")
	replyTLSAgain     = mail.MustReply(503, "5.5.1", "TLS is on already")
	replyInternal     = mail.MustReply(451, "4.3.0", "Temporary failure")
	replyViolation    = mail.MustReply(550, "5.6.0", "A line ends with CR LF, and only there may either stand (RFC 5321, 2.3.8)")
	replyAbuse        = mail.MustReply(421, "4.7.0", "Too many errors, closing")
	replyXClientNo    = mail.MustReply(550, "5.7.0", "XCLIENT is not for you")
)

// FaultError is the error of a BodyReader whose lines are broken.
type FaultError struct{ Fault Fault }

// Fault is a breach of the line rules inside the data (RFC 5321, 2.3.8 and 4.5.2).
type Fault uint8

const (
	FaultBareCR   Fault = iota + 1
	FaultBareLF         // the usual way to smuggle a second message
	FaultNUL            // RFC 5322, 4: obsolete, and nobody's mail
	FaultLongLine       // longer than MaxTextLine
)

func (e *FaultError) Error() string {
	switch e.Fault {
	case FaultBareCR:
		return "bare CR in the data"
	case FaultBareLF:
		return "bare LF in the data"
	case FaultNUL:
		return "NUL in the data"
	case FaultLongLine:
		return "line of the data too long"
	}
	return "broken lines in the data"
}

// Errors of a BodyReader, besides FaultError and those of the connection.
var (
	ErrTooBig = errors.New("smtp: message larger than the limit")
	ErrReset  = errors.New("smtp: the client gave the message up")
	ErrSlow   = errors.New("smtp: the client is too slow")
)
