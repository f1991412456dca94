package smtp

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// TLSMode says whether a client uses STARTTLS (RFC 3207).
type TLSMode uint8

const (
	TLSOpportunistic TLSMode = iota // when offered; the certificate is not checked
	TLSOff
	TLSRequire // or nothing is sent; the certificate is checked against ServerName
)

// Step is a step of a client's conversation.
type Step uint8

const (
	StepConnect Step = iota + 1
	StepBanner
	StepHello
	StepStartTLS
	StepAuth
	StepClient // XCLIENT, XFORWARD
	StepReset
	StepMail
	StepRcpt
	StepData    // DATA, up to 354
	StepMessage // the message, up to the final answer
	StepQuit
)

var stepNames = [...]string{"", "connect", "banner", "hello", "starttls", "auth", "client", "reset", "mail", "rcpt", "data", "message", "quit"}

func (s Step) String() string { return stepNames[s] }

// Timeouts bound each step; zero fields mean what RFC 5321, 4.5.3.2 asks for.
type Timeouts struct {
	Connect, Banner, Hello, Mail, Rcpt time.Duration
	Data                               time.Duration // from DATA to 354
	Block                              time.Duration // one write of the message
	Final                              time.Duration // from its end to the final answer
	Quit                               time.Duration
}

func (t Timeouts) orDefaults() Timeouts {
	or := func(v *time.Duration, d time.Duration) {
		if *v <= 0 {
			*v = d
		}
	}
	or(&t.Connect, 30*time.Second)
	or(&t.Banner, 5*time.Minute)
	or(&t.Hello, 5*time.Minute)
	or(&t.Mail, 5*time.Minute)
	or(&t.Rcpt, 5*time.Minute)
	or(&t.Data, 2*time.Minute)
	or(&t.Block, 3*time.Minute)
	or(&t.Final, 10*time.Minute)
	or(&t.Quit, 5*time.Second)
	return t
}

// of is how long one command may take to be answered.
func (t *Timeouts) of(s Step) time.Duration {
	switch s {
	case StepBanner:
		return t.Banner
	case StepMail:
		return t.Mail
	case StepRcpt:
		return t.Rcpt
	case StepData:
		return t.Data
	case StepMessage:
		return t.Final
	case StepQuit:
		return t.Quit
	}
	return t.Hello
}

// ClientConfig is what a Client needs.
type ClientConfig struct {
	LocalName    string // said in EHLO
	LMTP         bool   // LHLO (RFC 2033)
	TLS          TLSMode
	TLSConfig    *tls.Config // roots; nil: the system's
	ServerName   string      // whom the certificate must name, with TLSRequire
	Timeouts     Timeouts
	NoPipelining bool // one command at a time even where PIPELINING is offered
	// Auth logs in; nil: nobody does. The password goes only through TLS, to a server
	// whose certificate was checked in every mode (RFC 4954, 4), or to this machine.
	Auth *Auth
}

// Capabilities are what a server said to EHLO.
type Capabilities struct {
	ESMTP          bool     // EHLO was understood
	TLS            bool     // the connection is encrypted
	Pipelining     bool     // RFC 2920
	EightBitMIME   bool     // RFC 6152
	SMTPUTF8       bool     // RFC 6531
	Chunking       bool     // RFC 3030
	BinaryMIME     bool     // RFC 3030
	DSN            bool     // RFC 3461
	StartTLS       bool     // RFC 3207
	EnhancedStatus bool     // RFC 2034
	SizeOffered    bool     // RFC 1870
	Size           int64    // octets; 0: no limit told
	XClient        []string // the attributes that are taken, in upper case
	XForward       []string
	Auth           []string // RFC 4954: the mechanisms, in upper case
}

// StepError is a conversation that broke: the connection is of no use any more.
type StepError struct {
	Step Step
	Err  error
	// Sent says, with StepMessage, that the end of the message was handed to the
	// network, so that the server may have taken it.
	Sent bool
}

func (e *StepError) Error() string { return "at " + e.Step.String() + ": " + e.Err.Error() }
func (e *StepError) Unwrap() error { return e.Err }

// Timeout says whether the server took too long.
func (e *StepError) Timeout() bool { return errors.Is(e.Err, os.ErrDeadlineExceeded) }

// RefusedError is a server that answered, and said no, before the first MAIL.
type RefusedError struct {
	Step     Step
	Response Response
}

func (e *RefusedError) Error() string {
	return "refused at " + e.Step.String() + ": " + strconv.Itoa(e.Response.Code) + " " + e.Response.Text()
}

// BodyError is a message that could not be read to its end, so it was not sent to its end either.
type BodyError struct{ Err error }

func (e *BodyError) Error() string { return "reading the message: " + e.Err.Error() }
func (e *BodyError) Unwrap() error { return e.Err }

// Client is one conversation with a server. Its methods belong to one goroutine.
// Where one returns a *StepError the connection is closed.
type Client struct {
	cfg   ClientConfig
	nc    net.Conn
	r     *bufio.Reader
	w     []byte // what a batch writes
	caps  Capabilities
	armed time.Time       // the deadline that is set
	ctx   context.Context // of the call that runs, where it can end
	batch Batch
}

// NewClient reads the banner, says EHLO (HELO where that is refused, LHLO for
// LMTP), starts TLS and logs in as configured. The error is a *StepError or a
// *RefusedError; conn is closed with either. ctx ends the conversation at any step.
func NewClient(ctx context.Context, conn net.Conn, cfg ClientConfig) (*Client, error) {
	cfg.Timeouts = cfg.Timeouts.orDefaults()
	c := &Client{cfg: cfg, nc: conn, r: bufio.NewReaderSize(conn, maxResponseLine)}
	c.batch.c = c
	if err := c.start(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

func (c *Client) start(ctx context.Context) error {
	defer c.guard(ctx)()
	if err := c.greeting(); err != nil {
		return err
	}
	if err := c.hello(); err != nil {
		return err
	}
	if c.cfg.TLS == TLSRequire || c.cfg.TLS == TLSOpportunistic && c.caps.StartTLS {
		if err := c.startTLS(ctx); err != nil {
			return err
		}
	}
	return c.login()
}

// bannerText follows our own name in the banner of a Server.
const bannerText = " ESMTP Backstop"

// errOurselves ends a circle at its first turn, before it eats up all connections.
var errOurselves = errors.New("the server is ourselves, or another Backstop with our hostname: mail for it would go in a circle")

// greeting reads the banner.
func (c *Client) greeting() error {
	resp, err := c.read(StepBanner)
	switch {
	case err != nil:
		return err
	case resp.Class() != 2:
		return &RefusedError{StepBanner, resp}
	case c.cfg.LocalName != "" && strings.HasPrefix(resp.Text(), c.cfg.LocalName+bannerText):
		return c.broken(StepBanner, errOurselves)
	}
	return nil
}

// guard closes the connection when ctx ends. What it returns ends the guard.
func (c *Client) guard(ctx context.Context) func() {
	if ctx.Done() == nil {
		return func() {}
	}
	c.ctx = ctx
	nc := c.nc
	stop := context.AfterFunc(ctx, func() { nc.Close() })
	return func() {
		stop()
		c.ctx = nil
	}
}

// read reads one answer within the step's time.
func (c *Client) read(s Step) (Response, error) {
	c.arm(c.cfg.Timeouts.of(s))
	resp, err := readResponse(c.r)
	if err != nil {
		return Response{}, c.broken(s, err)
	}
	return resp, nil
}

// broken closes the connection and says at which step it was lost. Where ctx
// ended, that is the reason, and not the connection closed for it.
func (c *Client) broken(s Step, err error) error {
	c.nc.Close()
	if c.ctx != nil && c.ctx.Err() != nil {
		err = context.Cause(c.ctx)
	}
	return &StepError{Step: s, Err: err}
}

// arm sets the deadline for reading and writing, unless the one that is set is
// less than a second from it: moving it costs more than a small read.
func (c *Client) arm(d time.Duration) {
	want := time.Now().Add(d)
	if diff := want.Sub(c.armed); d > 5*time.Second && diff.Abs() < time.Second {
		return
	}
	c.armed = want
	c.nc.SetDeadline(want)
}

// command writes one line and reads its answer.
func (c *Client) command(s Step, line string) (Response, error) {
	c.arm(c.cfg.Timeouts.of(s))
	c.w = append(append(c.w[:0], line...), '\r', '\n')
	if _, err := c.nc.Write(c.w); err != nil {
		return Response{}, c.broken(s, err)
	}
	return c.read(s)
}

func (c *Client) hello() error {
	word := "EHLO "
	if c.cfg.LMTP {
		word = "LHLO "
	}
	resp, err := c.command(StepHello, word+c.cfg.LocalName)
	if err != nil {
		return err
	}
	if resp.Class() == 2 {
		c.caps = capabilities(&resp, c.caps.TLS)
		return nil
	}
	if c.cfg.LMTP || resp.Class() != 5 {
		return &RefusedError{StepHello, resp}
	}
	if resp, err = c.command(StepHello, "HELO "+c.cfg.LocalName); err != nil {
		return err
	}
	if resp.Class() != 2 {
		return &RefusedError{StepHello, resp}
	}
	c.caps = Capabilities{TLS: c.caps.TLS}
	return nil
}

// capabilities reads an answer to EHLO (RFC 5321, 4.1.1.1).
func capabilities(resp *Response, encrypted bool) Capabilities {
	caps := Capabilities{ESMTP: true, TLS: encrypted}
	for _, line := range resp.Lines[1:] {
		word, rest, _ := strings.Cut(line, " ")
		switch strings.ToUpper(word) {
		case "PIPELINING":
			caps.Pipelining = true
		case "8BITMIME":
			caps.EightBitMIME = true
		case "SMTPUTF8":
			caps.SMTPUTF8 = true
		case "CHUNKING":
			caps.Chunking = true
		case "BINARYMIME":
			caps.BinaryMIME = true
		case "DSN":
			caps.DSN = true
		case "STARTTLS":
			caps.StartTLS = true
		case "ENHANCEDSTATUSCODES":
			caps.EnhancedStatus = true
		case "SIZE":
			caps.SizeOffered = true
			if n, err := strconv.ParseInt(strings.TrimSpace(rest), 10, 64); err == nil && n > 0 {
				caps.Size = n
			}
		case "XCLIENT":
			caps.XClient = strings.Fields(strings.ToUpper(rest))
		case "XFORWARD":
			caps.XForward = strings.Fields(strings.ToUpper(rest))
		case "AUTH":
			caps.Auth = strings.Fields(strings.ToUpper(rest))
		}
	}
	return caps
}

var errNoTLS = errors.New("TLS is required here, and the server does not offer it")

func (c *Client) startTLS(ctx context.Context) error {
	if !c.caps.StartTLS {
		return c.broken(StepStartTLS, errNoTLS)
	}
	resp, err := c.command(StepStartTLS, "STARTTLS")
	if err != nil {
		return err
	}
	if resp.Class() != 2 {
		if c.cfg.TLS == TLSOpportunistic {
			return nil
		}
		return &RefusedError{StepStartTLS, resp}
	}
	cfg := &tls.Config{}
	if c.cfg.TLSConfig != nil {
		cfg = c.cfg.TLSConfig.Clone()
	}
	cfg.ServerName = c.cfg.ServerName
	// An unchecked certificate still keeps out whoever only listens (RFC 7435). A
	// password is worth more than that to whoever stands in between.
	cfg.InsecureSkipVerify = c.cfg.TLS == TLSOpportunistic && (c.cfg.Auth == nil || c.local())
	t := tls.Client(c.nc, cfg)
	if err := t.HandshakeContext(ctx); err != nil {
		return c.broken(StepStartTLS, fmt.Errorf("TLS handshake: %w", err))
	}
	c.nc, c.armed = t, time.Time{}
	c.r.Reset(t) // what came in plain text behind the answer is not the server's word (RFC 3207, 4.2)
	c.caps = Capabilities{TLS: true}
	return c.hello()
}

// Capabilities are what the server said to the last EHLO.
func (c *Client) Capabilities() Capabilities { return c.caps }

// Attr is one attribute of XCLIENT or XFORWARD; Value is encoded here.
type Attr struct{ Name, Value string }

// AppendAttrs appends " NAME=value" for each attribute that the server knows.
func AppendAttrs(b []byte, known []string, attrs []Attr) []byte {
	for _, a := range attrs {
		for _, name := range known {
			if name != a.Name {
				continue
			}
			b = append(append(append(b, ' '), a.Name...), '=')
			b = appendXtext(b, a.Value)
			break
		}
	}
	return b
}

// maxAttr is the longest encoded value of an attribute, in octets (Postfix XCLIENT_README: 255).
const maxAttr = 255

// appendXtext writes a value in xtext (RFC 3461, 4); none is [UNAVAILABLE].
func appendXtext(b []byte, s string) []byte {
	if s == "" {
		return append(b, "[UNAVAILABLE]"...)
	}
	const hex = "0123456789ABCDEF"
	for i, start := 0, len(b); i < len(s) && len(b)-start <= maxAttr-3; i++ {
		c := s[i]
		if c <= ' ' || c > '~' || c == '+' || c == '=' {
			b = append(b, '+', hex[c>>4], hex[c&15])
			continue
		}
		b = append(b, c)
	}
	return b
}

// XClient tells the server who the true client is; the conversation starts anew.
func (c *Client) XClient(ctx context.Context, attrs []Attr) (Response, error) {
	defer c.guard(ctx)()
	line := AppendAttrs([]byte("XCLIENT"), c.caps.XClient, attrs)
	resp, err := c.command(StepClient, string(line))
	if err != nil || resp.Class() != 2 {
		return resp, err
	}
	return resp, c.helloFor(attrs)
}

// helloFor says EHLO again with the name that the true client gave: the server takes
// the last EHLO for the client's, whatever XCLIENT said of it.
func (c *Client) helloFor(attrs []Attr) error {
	own := c.cfg.LocalName
	for _, a := range attrs {
		if a.Name == "HELO" && isHelloName(a.Value) {
			c.cfg.LocalName = a.Value
		}
	}
	err := c.hello()
	c.cfg.LocalName = own
	return err
}

// isHelloName says whether a name can be said in EHLO as it is: printable, in one word.
func isHelloName(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return s != "" && len(s) <= maxAttr
}

// Quit says QUIT, waits a moment for the answer, and closes.
func (c *Client) Quit(ctx context.Context) error {
	defer c.guard(ctx)()
	_, err := c.command(StepQuit, "QUIT")
	c.nc.Close()
	return err
}

// Leave says QUIT, does not wait for the answer, and closes.
func (c *Client) Leave() {
	c.nc.SetWriteDeadline(time.Now().Add(c.cfg.Timeouts.Quit))
	io.WriteString(c.nc, "QUIT\r\n") // whether it arrives changes nothing
	c.nc.Close()
}

// Close closes the connection without a word.
func (c *Client) Close() error { return c.nc.Close() }
