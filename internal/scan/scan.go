package scan

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"backstop/internal/mail"
	"backstop/internal/smtp"
)

// MaxConnections is how often a server is connected to at most, all attempts counted.
const MaxConnections = 10

// Plan is what to find out of whom, and how.
type Plan struct {
	Target   Target
	Resolver Resolver
	Helo     string       // said in EHLO; "": the address from which we connect, as RFC 5321, 4.1.3 has it
	From     mail.Address // the sender of the probes that have one; zero: postmaster@ what EHLO says
	Timeout  time.Duration
	Pause    time.Duration // between two connections
	Retry    time.Duration // until a deferred recipient is asked again

	// Send says that one message may be sent to an unknown recipient, from ReturnPath. The bounce is
	// awaited for Wait on Listener, which is closed at the end.
	Send       bool
	ReturnPath mail.Address
	Listener   net.Listener
	Wait       time.Duration

	// Progress is told what is being done, from the goroutine that does it; nil: nobody.
	Progress func(what string)
	// Sleep lets the time pass, or returns the context's error when it ends before; nil: a timer.
	Sleep func(ctx context.Context, why Pause, d time.Duration) error
	// Networks are those of this machine's interfaces; nil: the system is asked.
	Networks func() []netip.Prefix
	// Dial connects; nil: net.Dialer.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// Pause is why time has to pass.
type Pause string

const (
	PausePolite Pause = "pause" // between two connections
	PauseRetry  Pause = "retry" // greylisting
	PauseBounce Pause = "bounce"
)

// Class is the answer in one word.
type Class string

// The classes of a server; docs/scan.md says what each means.
const (
	RefusesAtRcpt      Class = "refuses-at-rcpt"
	RefusesAfterData   Class = "refuses-after-data"
	AcceptsThenBounces Class = "accepts-then-bounces"
	CatchAll           Class = "catch-all"
	AcceptsUnknown     Class = "accepts-unknown"
	Greylists          Class = "greylists"
	RefusesProbe       Class = "refuses-probe"
	Unreachable        Class = "unreachable"
	OpenRelay          Class = "open-relay"
)

// Health is what a class comes to, in the numbers that `backstop scan` ends with.
type Health int

const (
	Healthy Health = iota
	Sick
	Unclear
)

// Report is what was found.
type Report struct {
	Target  string       `json:"target"`
	Domain  string       `json:"domain"`
	Host    string       `json:"host"` // HOST:PORT of the server that was examined; "": none
	Class   Class        `json:"class"`
	OnRetry Class        `json:"on_retry,omitempty"` // of a server that greylists: what it is behind that
	Product string       `json:"product"`            // by its words; "": not recognised
	Advice  []string     `json:"advice"`             // the first says what was found
	Steps   []Step       `json:"steps"`
	TLS     *Certificate `json:"starttls"` // null: not offered, or not seen
	Banner  string       `json:"banner"`
	Notices []Notice     `json:"notices,omitempty"` // what came to the return path

	Health Health `json:"-"`
	Rows   []Row  `json:"-"`
}

// Row is one question of the scan, for people.
type Row struct {
	Session int    // 0: this came to us
	Asked   string // the recipient
	Shape   Shape
	Sender  string // "<>" is the null sender
	Answer  string
	Took    time.Duration
}

// scanner is one scan.
type scanner struct {
	Plan
	at       place
	others   []string // MX hosts that were not asked
	before   []string // and those that could not be
	used     int      // connections
	sessions int
	tls      smtp.TLSMode
	lost     int // conversations in a row that broke before any recipient was answered
	steps    []Step
	f        facts
}

// defaultTimeout is for each answer: tarpits are slow, and RFC 5321, 4.5.3.2 lets a server take more still.
const defaultTimeout = 2 * time.Minute

// Run examines the server. What goes wrong on the way is a finding, and no error.
func Run(ctx context.Context, p Plan) Report {
	s := &scanner{Plan: p, tls: smtp.TLSOff}
	if s.Timeout <= 0 {
		s.Timeout = defaultTimeout
	}
	if s.Sleep == nil {
		s.Sleep = sleep
	}
	if s.Networks == nil {
		s.Networks = networks
	}
	if s.Dial == nil {
		s.Dial = (&net.Dialer{Timeout: 20 * time.Second}).DialContext
	}
	var post *postbox
	if s.Send {
		post = newPostbox(s.Listener, s.ReturnPath, s.Helo)
		defer post.close()
	}
	s.f.domain, s.f.port, s.f.sends = p.Target.Domain, p.Target.Port, p.Send
	s.f.returnPath = p.ReturnPath.String()
	s.examine(ctx, post)
	s.f.interrupted = ctx.Err() != nil
	return s.report()
}

func sleep(ctx context.Context, _ Pause, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// examine asks everything that is worth asking, in the order of its worth: the number of connections is bounded.
func (s *scanner) examine(ctx context.Context, post *postbox) {
	first := s.find(ctx)
	if first == nil && s.greyBanner() {
		s.progress("it said to come again: waiting " + s.Retry.String())
		if !s.wait(ctx, PauseRetry, s.Retry) {
			return
		}
		s.f.greyAtBanner, s.f.putOff, s.before = true, s.f.brokeAt(), nil
		first = s.find(ctx)
	}
	if first == nil {
		return
	}
	s.inside(first.rec)
	s.round(ctx, first)
	if ctx.Err() != nil {
		return
	}
	state := s.f.sofar()
	switch state {
	case unasked:
		return // it does not talk to us
	case denied:
		s.certificate(ctx) // nor will it say more
		return
	}
	s.relay(ctx)
	if state == deferred || s.f.relayPutOff() {
		s.again(ctx)
	}
	if state != deferred {
		s.session(ctx, false, []Shape{ShapeDigits, ShapeTag}, true)
		s.session(ctx, true, []Shape{ShapeLong}, false)
	}
	s.otherPort(ctx)
	if s.Send && s.f.maySend() {
		s.send(ctx, post)
	}
	s.certificate(ctx)
}

// greyBanner says whether the server put us off before a word was said.
func (s *scanner) greyBanner() bool {
	var refused *smtp.RefusedError
	return errors.As(s.f.broke, &refused) && refused.Response.Class() == 4
}

// round is the first two sessions: the null sender and a stranger first, then a sender and the postmaster first; and at
// its end somebody elsewhere, so that a greylist that puts all of them off has seen all of them.
func (s *scanner) round(ctx context.Context, first *conversation) {
	shapes := []Shape{ShapeLetters, ShapePostmaster}
	s.converse(ctx, first, true, shapes, false)
	if a := &s.f.asked[0]; a.wantsTLS() {
		s.f.wantsTLS = sayResponse(&a.mail)
		if s.f.caps.StartTLS {
			s.tls, s.f.asked = smtp.TLSOpportunistic, nil
			s.session(ctx, true, shapes, false)
		}
	}
	s.session(ctx, false, []Shape{ShapePostmaster, ShapeName, ShapeForeign}, false)
}

// session opens a conversation and asks for recipients of these shapes: each in a transaction of its own, or all in one.
func (s *scanner) session(ctx context.Context, null bool, shapes []Shape, together bool) {
	if s.lost >= 2 {
		return // it broke twice where nothing had been asked yet
	}
	if v := s.open(ctx, s.at); v != nil {
		s.converse(ctx, v, null, shapes, together)
	}
}

// converse asks over a connection, and ends it.
func (s *scanner) converse(ctx context.Context, v *conversation, null bool, shapes []Shape, together bool) {
	answered := false
	for i, shape := range shapes {
		a := asked{to: s.address(shape), shape: shape, null: null, session: s.sessions, second: together && i > 0}
		v.ask(ctx, &a, s.sender(v, null))
		s.f.add(a)
		answered = answered || a.result != unasked
	}
	s.ended(ctx, v, answered)
}

// ended closes a conversation and keeps what was said.
func (s *scanner) ended(ctx context.Context, v *conversation, answered bool) {
	v.quit(ctx)
	s.keep(v)
	if s.lost++; answered {
		s.lost = 0
	}
}

// again waits and asks once more for the recipients of the first round that were deferred: the same ones, from the same
// senders, for a greylist knows its triples.
func (s *scanner) again(ctx context.Context) {
	s.progress("it said to come again: waiting " + s.Retry.String())
	if !s.wait(ctx, PauseRetry, s.Retry) {
		return
	}
	s.f.retried = true
	for _, null := range []bool{true, false} {
		var v *conversation
		for _, old := range s.f.asked {
			if old.retried || old.null != null || old.result != deferred || old.shape == ShapeForeign && !s.f.relayPutOff() {
				continue
			}
			if v == nil {
				if v = s.open(ctx, s.at); v == nil {
					return
				}
			}
			a := asked{to: old.to, shape: old.shape, null: null, session: s.sessions, retried: true}
			v.ask(ctx, &a, s.sender(v, null))
			s.f.add(a)
		}
		if v != nil {
			s.ended(ctx, v, true)
		}
	}
}

// relay asks by RCPT alone whether the server takes mail for others, where the first round did not get that far: in a
// conversation of its own, and where our sender is not wanted from the other one.
func (s *scanner) relay(ctx context.Context) {
	r := s.f.relay
	if r != nil && r.result != unasked && r.result != barred && r.answer().Code != 421 {
		return
	}
	s.session(ctx, r != nil && r.result == barred, []Shape{ShapeForeign}, false)
}

// otherPort asks an Exchange on the port on which its hub looks recipients up.
func (s *scanner) otherPort(ctx context.Context) {
	const hub = "2525"
	if s.f.product().id != idExchange || s.f.port == hub {
		return
	}
	host, _, err := net.SplitHostPort(s.at.addr)
	if err != nil {
		return
	}
	used := s.used
	v := s.open(ctx, place{s.at.host, net.JoinHostPort(host, hub)})
	s.f.hubAsked = s.used > used
	if v == nil {
		return
	}
	for _, shape := range []Shape{ShapeLetters, ShapePostmaster} {
		a := asked{to: s.address(shape), shape: shape, session: s.sessions}
		v.ask(ctx, &a, s.sender(v, false))
		s.f.hub = append(s.f.hub, a)
	}
	s.ended(ctx, v, true)
}

// elsewhere is a domain that the server has nothing to do with: IANA's, so nobody's mail. It may well know that of our HELO.
func (s *scanner) elsewhere() string {
	if s.f.domain == "example.org" {
		return "example.net"
	}
	return "example.org"
}

// address makes an address of the domain, or of another.
func (s *scanner) address(shape Shape) mail.Address {
	if shape == ShapeForeign {
		a, err := mail.ParseAddress(localPart(shape) + "@" + s.elsewhere())
		if err == nil {
			return a
		}
	}
	a, err := mail.ParseAddress(localPart(shape) + "@" + s.f.domain)
	if err != nil { // a domain too long for this local part
		a, _ = mail.ParseAddress("postmaster@" + s.f.domain)
	}
	return a
}

// inside notes whether the server may take us for one of its own network.
func (s *scanner) inside(c net.Conn) {
	local, ok1 := c.LocalAddr().(*net.TCPAddr)
	remote, ok2 := c.RemoteAddr().(*net.TCPAddr)
	if !ok1 || !ok2 {
		return
	}
	ip := remote.AddrPort().Addr().Unmap()
	s.f.inside = ip.IsPrivate() || ip.IsLoopback() || ip.IsLinkLocalUnicast() || ip == local.AddrPort().Addr().Unmap() ||
		slices.ContainsFunc(s.Networks(), func(p netip.Prefix) bool { return p.Contains(ip) }) // a neighbour may trust its network (Postfix: mynetworks_style)
	s.f.client = local.AddrPort().Addr().Unmap().String()
}

// networks are those of this machine's interfaces.
func networks() (list []netip.Prefix) {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil // then only private addresses are known to be near
	}
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			list = append(list, netip.PrefixFrom(p.Addr().Unmap().WithZone(""), p.Bits()))
		}
	}
	return list
}

func (s *scanner) progress(what string) {
	if s.Progress != nil {
		s.Progress(what)
	}
}

// wait lets time pass and writes it down; false: the scan is over.
func (s *scanner) wait(ctx context.Context, why Pause, d time.Duration) bool {
	began := time.Now()
	err := s.Sleep(ctx, why, d)
	if why != PausePolite {
		s.steps = append(s.steps, Step{Step: "wait", Sent: d.String(), MS: millis(time.Since(began))})
	}
	return err == nil
}

// report judges and says it.
func (s *scanner) report() Report {
	r := Report{
		Target: s.Target.Text, Domain: s.f.domain, Steps: append([]Step{}, s.steps...),
		Banner: s.f.banner, TLS: s.f.cert, Notices: s.f.notices, Product: s.f.product().name,
	}
	if s.f.found {
		r.Host = net.JoinHostPort(s.at.host, portOf(s.at.addr))
	}
	s.f.host, s.f.before, s.f.others = r.Host, s.before, s.others
	r.Class, r.OnRetry, r.Health = s.f.judge()
	r.Advice = s.f.advice(r.Class, r.OnRetry)
	r.Rows = s.f.rows()
	return r
}

// rows are the questions and, behind them, what became of the message.
func (f *facts) rows() (rows []Row) {
	for _, a := range append(append([]asked{}, f.asked...), f.hub...) {
		rows = append(rows, Row{a.session, a.to.String(), a.shape, a.sender(), sayResponse(a.answer()), a.took})
	}
	t := &f.sent
	if !t.tried {
		return rows
	}
	last := &t.answer
	if last.Code == 0 && !t.lost {
		last = &t.rcpt
	}
	rows = append(rows, Row{t.session, t.to.String(), ShapeMessage, t.from, sayResponse(last), t.took})
	for i := range f.notices {
		rows = append(rows, Row{Shape: ShapeNotice, Answer: f.notices[i].say(), Took: f.notices[i].after})
	}
	return rows
}

func portOf(addr string) string {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return ""
	}
	return port
}

func itoa(n int) string { return strconv.Itoa(n) }
