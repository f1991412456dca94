// Package callahead is a recipient source that asks a mail server: MAIL, RCPT, and
// never DATA. Only the operator's own servers are asked, never a sender's.
//
// What counts is the stage at which a server says no. Only an answer to RCPT can
// be about the recipient; a refusal of the connection, of EHLO or of MAIL is a
// refusal of the question, and leaves the recipient unknown.
//
// A yes is worth something only from a server that also says no. So each server is
// asked, for each domain, in a session of its own and with addresses that nobody can
// have, whether it accepts anybody; it is asked at the first use and again every hour of
// use. One that does is blind: reported loudly, and its yes is never passed on as proof.
//
// A server is spared: a budget of connections, one of questions a second, sessions
// that end before the server would punish them for refusals, and a breaker that asks
// a server which fails five times in a row only now and then.
//
// # Limits
//
// A server that answers temporarily to every unknown recipient is never found
// blind and never found seeing: its yes is passed on and not remembered. A server that
// accepts everybody only from time to time is found out at the next test. The state kept for
// each domain is never dropped, so domains must come from a configuration. There is
// no AUTH.
package callahead

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"sync"
	"time"

	"backstop/internal/directory"
	"backstop/internal/evidence"
	"backstop/internal/mail"
	"backstop/internal/route"

	"golang.org/x/time/rate"
)

// WhenBlind is what follows from a server that says yes to anybody.
type WhenBlind uint8

const (
	BlindAccept WhenBlind = iota // exists, and marked as blind
	BlindDefer                   // unavailable
)

// Config of a Source. Target, Name and Helo are needed, the rest has defaults.
type Config struct {
	Name   string      // directory.Source's
	Target route.Relay // the server; of its client option only the PROXY header is used, naming nobody
	From   mail.ReversePath
	Helo   string

	Timeout     time.Duration // of one question, connecting included; 20 s
	Connections int           // open at once; 10
	Rate        float64       // questions a second; 50. Up to a quarter of Timeout is waited for one's turn.
	IdleTime    time.Duration // how long a connection is kept for the next question; 15 s
	Pipelining  bool
	WhenBlind   WhenBlind

	TLSConfig *tls.Config // roots; nil: the system's
	// Dial connects; nil: a net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Now is the clock; time.Now.
	Now func() time.Time
	// Logger is told when the server is found blind, fails, or recovers; nil: nobody.
	Logger *slog.Logger
}

// Source asks one server. Its methods are called from many goroutines.
type Source struct {
	cfg        Config
	background context.Context // ends with Close
	end        context.CancelFunc

	mu      sync.Mutex
	closed  bool
	running sync.WaitGroup // everything that outlives the call that began it

	slots   chan struct{} // holds one for each connection in use
	limit   *rate.Limiter
	breaker breaker
	idle    idlePool
	eyes    eyes
	pace    pace
}

var _ directory.Judge = (*Source)(nil)

// New makes a source. It connects to nobody before the first question.
func New(cfg Config) *Source {
	if cfg.Timeout <= 0 {
		cfg.Timeout = 20 * time.Second
	}
	if cfg.Connections <= 0 {
		cfg.Connections = 10
	}
	if cfg.Rate <= 0 {
		cfg.Rate = 50
	}
	if cfg.IdleTime <= 0 {
		cfg.IdleTime = 15 * time.Second
	}
	if cfg.Dial == nil {
		cfg.Dial = (&net.Dialer{}).DialContext
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	cfg.Logger = cfg.Logger.With("source", cfg.Name)
	s := &Source{
		cfg:   cfg,
		slots: make(chan struct{}, cfg.Connections),
		// A second's worth may come at once: questions come in bursts.
		limit: rate.NewLimiter(rate.Limit(cfg.Rate), max(testQuestions, int(cfg.Rate))),
	}
	s.eyes.domains = make(map[string]*eye)
	s.background, s.end = context.WithCancel(context.Background())
	return s
}

// Close closes the connections and waits for what is under way.
func (s *Source) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.end()
	s.idle.close()
	s.running.Wait()
}

// spawn runs f beside the caller, unless the source is closed.
func (s *Source) spawn(f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.running.Go(f)
	return true
}

// Name is the source's name in the configuration.
func (s *Source) Name() string { return s.cfg.Name }

// Lookup asks the server, unless it is known to be blind in this domain. A yes waits
// for the end of the first blind test, which began with the question.
func (s *Source) Lookup(ctx context.Context, addr mail.Address) directory.Answer {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	domain := addr.Domain()
	e := s.look(domain)
	if blind, known := e.finding(); known && blind {
		return s.blindAnswer()
	}
	a := s.ask(ctx, addr)
	if a.Standing != evidence.Exists {
		return a
	}
	blind, known := e.wait(ctx)
	if known && blind {
		return s.blindAnswer()
	}
	a.Cacheable = known
	return a
}

// Blind says whether the server says yes to anybody in this domain.
func (s *Source) Blind(domain string) (blind, known bool) { return s.look(domain).finding() }

func (s *Source) blindAnswer() directory.Answer {
	a := directory.Answer{Standing: evidence.Exists, Blind: true, Detail: "the server accepts anybody, so its yes proves nothing"}
	if s.cfg.WhenBlind == BlindDefer {
		a.Standing = evidence.Unavailable
	}
	return a
}

// unavailable is the answer that says nothing about the recipient.
func unavailable(detail string) directory.Answer {
	return directory.Answer{Standing: evidence.Unavailable, Detail: detail}
}
