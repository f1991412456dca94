package verify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"slices"
	"time"

	"backstop/internal/mail"
	"backstop/internal/smtp"
)

// Plan is what to find out of whom.
type Plan struct {
	Server string     // HOST:PORT
	Source netip.Addr // connect from this address of this machine; the zero Addr: the system's choice
	Domain string     // one of ours
	Nobody string     // a local part that nobody can have
	Doors  []string   // at which doors the server may ask: milter, policy, socketmap, tcp_table, panel
	Unix   []string   // which of them are unix sockets
	// Options is what the commands in hints need besides, with a blank before it: " --config FILE".
	Options string
	MTA     string // the server as people call it: Postfix
	Watch   bool   // the domain is in watch mode
	// Count reads the daemon's counters; nil: there is no daemon to be asked.
	Count func(context.Context) (Counts, error)
	Wait  time.Duration // for each answer of the server; 0: two minutes
}

// Counts are what the running daemon says of itself.
type Counts struct {
	Closed  []string          // which of the doors the running daemon does not have
	Asked   map[string]uint64 // decisions since the start by door: those of Plan.Doors, the other ones too, and smtp
	Blind   []string          // sources that say yes to anybody
	Trouble []string          // sources that cannot be asked, with the reason
}

// Result is the answer in one word.
type Result string

const (
	Works   Result = "works"
	Fails   Result = "fails"
	Unknown Result = "unknown"
)

// Report is what was found.
type Report struct {
	Server  string   `json:"server"`
	Doors   []string `json:"doors"`
	Nobody  string   `json:"nobody"` // the address that nobody can have
	Result  Result   `json:"result"`
	Outcome string   `json:"outcome"` // one word or two for programs: refuses, accepts, away, …
	Says    string   `json:"says"`    // a sentence or two
	Hints   []string `json:"hints"`   // what to look at, the likeliest first
	// Asked: true, one of the doors was asked meanwhile; false, none was; null, the daemon could not be asked.
	Asked *bool `json:"asked"`
	// AskedAt are those of the doors that were, Elsewhere other doors of Backstop that were: not of Doors, or the gateway's own (smtp).
	AskedAt   []string `json:"asked_at"`
	Elsewhere []string `json:"asked_elsewhere"`
	Daemon    string   `json:"daemon,omitempty"` // why it could not be asked
	Steps     []Step   `json:"steps"`
}

// Run plays the conversation and judges it. What goes wrong on the way is an outcome, and no error.
func Run(ctx context.Context, p Plan) Report {
	before, errBefore := p.count(ctx)
	t := p.talk(ctx)
	after, errAfter := p.count(ctx)
	r := Report{Server: p.Server, Doors: p.Doors, Nobody: p.Nobody + "@" + p.Domain, Steps: append([]Step{}, t.steps...), Hints: []string{}, AskedAt: []string{}, Elsewhere: []string{}}
	known := errBefore == nil && errAfter == nil
	if known {
		r.compare(before.Asked, after.Asked)
	} else {
		r.Daemon = errors.Join(errBefore, errAfter).Error()
		if errBefore != nil {
			r.Daemon = errBefore.Error()
		}
	}
	r.judge(&p, &t, &after)
	return r
}

// compare finds the doors whose counters moved.
func (r *Report) compare(before, after map[string]uint64) {
	for _, door := range slices.Sorted(maps.Keys(after)) {
		switch {
		case after[door] == before[door]:
		case slices.Contains(r.Doors, door):
			r.AskedAt = append(r.AskedAt, door)
		default:
			r.Elsewhere = append(r.Elsewhere, door)
		}
	}
	asked := len(r.AskedAt) > 0
	r.Asked = &asked
}

var errNoDaemon = errors.New("there is no daemon to be asked")

func (p *Plan) count(ctx context.Context) (Counts, error) {
	if p.Count == nil {
		return Counts{}, errNoDaemon
	}
	return p.Count(ctx)
}

// talk is the conversation: what was answered, and where it broke.
type talk struct {
	steps      []Step
	mail       smtp.Response // to MAIL; Code 0: not reached
	nobody     smtp.Response // to RCPT of the address that nobody has
	again      smtp.Response // to the second MAIL
	postmaster smtp.Response
	err        error // *smtp.StepError, *smtp.RefusedError, or of connecting; nil: it ended in good order
}

// defaultWait is for each answer. An MTA that waits for Backstop has half a minute of its own, or what `setup` gave it.
const defaultWait = 2 * time.Minute

func (p *Plan) talk(ctx context.Context) (t talk) {
	wait := p.Wait
	if wait <= 0 {
		wait = defaultWait
	}
	d := net.Dialer{Timeout: min(wait, 30*time.Second)}
	if p.Source.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(p.Source, 0))
	}
	nc, err := d.DialContext(ctx, "tcp", p.Server)
	if err != nil {
		t.err = &connectError{err}
		return t
	}
	return p.converse(ctx, nc, wait)
}

// converse holds the conversation, and closes nc.
func (p *Plan) converse(ctx context.Context, nc net.Conn, wait time.Duration) (t talk) {
	rec := &recorder{Conn: nc}
	defer func() { t.steps = rec.steps() }()
	c, err := smtp.NewClient(ctx, rec, smtp.ClientConfig{
		LocalName: literal(nc.LocalAddr()), TLS: smtp.TLSOff, NoPipelining: true,
		Timeouts: smtp.Timeouts{Banner: wait, Hello: wait, Mail: wait, Rcpt: wait, Quit: min(wait, 5*time.Second)},
	})
	if err != nil {
		t.err = err
		return t
	}
	defer c.Close()
	if t.err = p.ask(ctx, c, p.Nobody, &t.mail, &t.nobody); t.err == nil && t.mail.Class() == 2 && t.nobody.Code != 421 {
		t.err = p.ask(ctx, c, "postmaster", &t.again, &t.postmaster)
	}
	if t.err == nil {
		c.Quit(ctx) // all is known by now
	}
	return t
}

// ask opens a transaction with one recipient and gives it up. One recipient only, since bounces, as which
// mail with the null sender is taken, have one.
func (p *Plan) ask(ctx context.Context, c *smtp.Client, local string, toMail, toRcpt *smtp.Response) error {
	to, err := mail.ParseAddress(local + "@" + p.Domain)
	if err != nil {
		return fmt.Errorf("%s@%s: %w", local, p.Domain, err)
	}
	b := c.Batch()
	b.Mail(mail.ReversePath{}, smtp.MailParams{})
	b.Rcpt(to, smtp.RcptParams{})
	answers, err := b.Do(ctx)
	for i, into := range []*smtp.Response{toMail, toRcpt} {
		if i < len(answers) {
			*into = answers[i]
		}
	}
	if err != nil || toMail.Code == 421 || toRcpt.Code == 421 {
		return err
	}
	b = c.Batch()
	b.Reset()
	_, err = b.Do(ctx)
	return err
}

// connectError is a server that cannot be reached.
type connectError struct{ error }

func (e *connectError) Unwrap() error { return e.error }

// literal is our address as RFC 5321, 4.1.3 has it for a client without a name: whatever checks names lets it pass.
func literal(a net.Addr) string {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return "[127.0.0.1]"
	}
	ip := t.AddrPort().Addr().Unmap().WithZone("")
	if ip.Is6() {
		return "[IPv6:" + ip.String() + "]"
	}
	return "[" + ip.String() + "]"
}

// reason is an error of the network without the addresses, which the sentence has.
func reason(err error) string {
	var op *net.OpError
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns):
		return dns.Err
	case errors.As(err, &op) && op.Timeout():
		return "no answer in time"
	case errors.As(err, &op):
		return op.Err.Error()
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "without a word"
	}
	return err.Error()
}
