package mailtest

import (
	"crypto/tls"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Limit is a number of octets after which a connection is cut. The zero value
// is no limit.
type Limit int64

// After is the limit of n octets; After(0) cuts before the first.
func After(n int64) Limit { return Limit(n + 1) }

// Script is how a Mock behaves. The zero value is an obliging server that
// accepts everything and offers everything it knows.
type Script struct {
	LMTP       bool     // LHLO, and a reply for each recipient after the dot (RFC 2033)
	Banner     string   // the greeting; "" is "220 mock.test ESMTP"
	Extensions []string // EHLO keywords with their parameters; nil is AllExtensions
	Users      []string // the mailboxes that exist, as local part or address, compared without case; nil: all
	Rules      []Rule   // the first that fits a command answers it
	// Logins are who may log in, with passwords: AUTH PLAIN LOGIN is offered unless
	// Extensions say otherwise, and MAIL wants a login. nil: nobody is known.
	Logins map[string]string

	CutSent     Limit // the connection breaks when we have sent so much
	CutReceived Limit // or have read so much
	ResetCut    bool  // and breaks by RST, not by FIN

	Lenient bool        // a server of the kind that makes smuggling work: LF, CR or CRLF end a line, also around the last dot
	TLS     *tls.Config // for STARTTLS; without it STARTTLS is not offered
	Proxy   bool        // every connection begins with a PROXY header, version 1 or 2
}

// AllExtensions is what a Mock offers unless told otherwise. XCLIENT, XFORWARD
// and AUTH are understood too, but must be offered explicitly.
var AllExtensions = []string{"PIPELINING", "SIZE 52428800", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "DSN", "CHUNKING", "BINARYMIME"}

// Rule is one scripted answer.
//
// The verbs: CONNECT (instead of the banner), EHLO, HELO, LHLO, STARTTLS, AUTH,
// XCLIENT, XFORWARD, MAIL, RCPT, DATA (instead of 354), BDAT, DOT (the final
// reply about a message, also after BDAT LAST), RSET, NOOP, VRFY, QUIT. AUTH is asked
// for the command line, and for "response" after each line that follows.
type Rule struct {
	On    string
	Match *regexp.Regexp  // on the command line; on the whole message for DOT (on the recipient's path in LMTP); nil: always
	Reply string          // lines separated by \n, sent as they are; "": the usual answer
	Times int             // how often it answers; 0: always
	Wait  <-chan struct{} // the answer is held back until this is closed

	Silent bool // no answer and nothing after it: the connection stays open until the sender leaves
	Hangup bool // the connection is closed after the answer (instead of it, when Reply is "")
	Keep   bool // for DOT: the message is kept whatever the answer
}

// Rcpt is one recipient as the downstream was given it.
type Rcpt struct {
	Path   string // between the angle brackets
	Params string
}

// Message is a message of which the downstream has seen the end.
type Message struct {
	Conn       int // which connection, from 0
	Helo       string
	From       string // between the angle brackets
	FromParams string
	To         []Rcpt
	Body       []byte // as the sender meant it: dots unstuffed, chunks joined
	Chunked    bool   // came by BDAT
	TLS        bool
	Login      string            // who logged in, "" for nobody
	Client     map[string]string // what XCLIENT, XFORWARD or PROXY said of the client; keys in upper case

	Kept     bool // the downstream has taken responsibility
	Code     int  // of the final reply; 0: none was given
	Answered bool // the final reply left in full
}

// String is the message in one line, its body cut short.
func (m Message) String() string {
	return fmt.Sprintf("from <%s> to <%s>, answered %d, kept %v: %s", m.From, strings.Join(paths(m.To), "> <"), m.Code, m.Kept, excerpt(m.Body))
}

// Mock is a scripted downstream: an SMTP or LMTP server that records every octet
// and every message, and misbehaves to order. It is safe for concurrent use.
type Mock struct {
	t       testing.TB
	network string
	addr    string

	mu      sync.Mutex
	script  Script
	epoch   int // counts changes of the script
	used    []int
	ln      net.Listener
	conns   []*peerConn
	kept    []*Message
	faults  []string
	changed chan struct{}
	ended   chan struct{}
	wg      sync.WaitGroup
}

// NewMock starts a mock on a free loopback port; it stops when the test ends.
func NewMock(t testing.TB, s Script) *Mock { return newMock(t, s, "tcp", "127.0.0.1:0") }

// NewUnixMock starts a mock on a Unix socket at this path.
func NewUnixMock(t testing.TB, s Script, path string) *Mock { return newMock(t, s, "unix", path) }

func newMock(t testing.TB, s Script, network, addr string) *Mock {
	t.Helper()
	m := &Mock{t: t, network: network, addr: addr, changed: make(chan struct{}), ended: make(chan struct{})}
	m.Set(s)
	m.Up()
	t.Cleanup(func() { close(m.ended); m.Down(); m.wg.Wait() })
	return m
}

// Addr is where the mock listens, also after Down and Up.
func (m *Mock) Addr() string { return m.addr }

// Up listens, on the same address as before. It does nothing if the mock is up.
func (m *Mock) Up() {
	m.t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ln != nil {
		return
	}
	ln, err := net.Listen(m.network, m.addr)
	if err != nil {
		m.t.Fatalf("mock cannot listen: %v", err)
	}
	m.ln, m.addr = ln, ln.Addr().String()
	m.wg.Add(1)
	go m.accept(ln)
}

// Down stops listening and drops all connections: connecting is then refused.
func (m *Mock) Down() {
	m.mu.Lock()
	ln := m.ln
	m.ln = nil
	m.mu.Unlock()
	if ln != nil {
		ln.Close()
	}
	m.Hangup()
}

// Hangup drops the open connections and goes on listening.
func (m *Mock) Hangup() {
	m.mu.Lock()
	conns := slices.Clone(m.conns)
	m.mu.Unlock()
	for _, c := range conns {
		c.cut(false)
	}
}

func (m *Mock) accept(ln net.Listener) {
	defer m.wg.Done()
	for {
		nc, err := ln.Accept()
		if err != nil {
			return
		}
		m.mu.Lock()
		if m.ln != ln { // taken from the backlog while going down
			m.mu.Unlock()
			nc.Close()
			continue
		}
		c := newPeerConn(m, nc, len(m.conns))
		m.conns = append(m.conns, c)
		m.wg.Add(1)
		m.notify()
		m.mu.Unlock()
		go func() {
			defer m.wg.Done()
			c.serve()
		}()
	}
}

// Set gives the mock a new script at once, open connections included; their
// octets count from here on, and uses of rules too.
func (m *Mock) Set(s Script) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s.Extensions == nil {
		s.Extensions = AllExtensions
	}
	m.script, m.used = s, make([]int, len(s.Rules))
	m.epoch++
}

// Change is Set on the script as it stands; rules keep the count of their uses
// as long as their number stays the same.
func (m *Mock) Change(f func(*Script)) {
	m.mu.Lock()
	s, used := m.script, m.used
	s.Rules = slices.Clone(s.Rules)
	m.mu.Unlock()
	f(&s)
	m.Set(s)
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(used) == len(m.used) {
		m.used = used
	}
}

// On adds a rule in front of the others.
func (m *Mock) On(r Rule) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.script.Rules = slices.Insert(slices.Clone(m.script.Rules), 0, r)
	m.used = slices.Insert(slices.Clone(m.used), 0, 0)
}

// rule finds and counts the scripted answer for a verb.
func (m *Mock) rule(verb, subject string) *Rule {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.script.Rules {
		r := &m.script.Rules[i]
		if r.On != verb || r.Match != nil && !r.Match.MatchString(subject) || r.Times > 0 && m.used[i] >= r.Times {
			continue
		}
		m.used[i]++
		return r
	}
	return nil
}

func (m *Mock) now() (Script, int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.script, m.epoch
}

func (m *Mock) fault(conn int, what string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.faults = append(m.faults, fmt.Sprintf("connection %d: %s", conn, what))
	m.notify()
}

// notify wakes those who wait; m.mu is held.
func (m *Mock) notify() {
	close(m.changed)
	m.changed = make(chan struct{})
}

// Messages returns all messages of which the mock has seen the end, oldest first.
func (m *Mock) Messages() []Message {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]Message, len(m.kept))
	for i, x := range m.kept {
		out[i] = *x
	}
	return out
}

// Faults returns what senders did that SMTP forbids: bare CR or LF, overlong
// lines, commands out of order.
func (m *Mock) Faults() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.faults)
}

// Wire is what went over one connection.
type Wire struct {
	In, Out  []byte   // read and sent, in the clear also under TLS
	Commands []string // the command lines, without CRLF
	Open     bool
}

// Wires returns the connections so far, oldest first.
func (m *Mock) Wires() []Wire {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]Wire, len(m.conns))
	for i, c := range m.conns {
		out[i] = Wire{slices.Clone(c.in), slices.Clone(c.out), slices.Clone(c.commands), c.open}
	}
	return out
}

// Commands returns the command lines of all connections, oldest connection first.
func (m *Mock) Commands() []string {
	var all []string
	for _, w := range m.Wires() {
		all = append(all, w.Commands...)
	}
	return all
}

// Asked says how many commands began with this prefix, compared without case.
func (m *Mock) Asked(prefix string) int {
	n := 0
	for _, c := range m.Commands() {
		if len(c) >= len(prefix) && strings.EqualFold(c[:len(prefix)], prefix) {
			n++
		}
	}
	return n
}

// Forget drops the record of messages, faults and closed connections.
func (m *Mock) Forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kept, m.faults = nil, nil
	m.conns = slices.DeleteFunc(m.conns, func(c *peerConn) bool { return !c.open })
	for _, c := range m.conns {
		c.in, c.out, c.commands = nil, nil, nil
	}
}

// Wait returns when done says so; done is asked now and after every event at the
// mock (a connection, a command, a message, an end). The test fails when that
// takes longer than Patience.
func (m *Mock) Wait(t testing.TB, what string, done func(*Mock) bool) {
	t.Helper()
	deadline := time.NewTimer(Patience)
	defer deadline.Stop()
	for {
		m.mu.Lock()
		ch := m.changed
		m.mu.Unlock()
		if done(m) {
			return
		}
		select {
		case <-ch:
		case <-deadline.C:
			t.Fatalf("waited in vain for the mock: %s; it was asked %q", what, m.Commands())
		}
	}
}

// WaitIdle waits until every connection is closed.
func (m *Mock) WaitIdle(t testing.TB) {
	t.Helper()
	m.Wait(t, "all connections closed", func(m *Mock) bool {
		return !slices.ContainsFunc(m.Wires(), func(w Wire) bool { return w.Open })
	})
}
