package callahead

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"backstop/internal/route"
	"backstop/internal/smtp"
)

// conn is one session with the server.
type conn struct {
	*smtp.Client
	open    bool // there is, or was, a transaction since the last RSET
	asked   int
	refused int
	expire  *time.Timer
}

// When a session has had enough. Postfix answers late after 10 errors and hangs up
// after 20, and each unknown recipient is an error.
const (
	maxRefused = 8
	maxAsked   = 100
)

// connect makes a session. Its errors are the server's.
func (s *Source) connect(ctx context.Context, mode route.TLSMode) (*conn, error) {
	network, address := s.cfg.Target.Address()
	nc, err := s.cfg.Dial(ctx, network, address)
	if err != nil {
		return nil, fmt.Errorf("connecting: %w", err)
	}
	if s.cfg.Target.Client == route.HandoverPROXY {
		// The server waits for a header before it speaks; nobody stands behind this connection.
		stop := context.AfterFunc(ctx, func() { nc.Close() })
		_, err := io.WriteString(nc, "PROXY UNKNOWN\r\n")
		stop()
		if err != nil {
			nc.Close()
			return nil, fmt.Errorf("connecting: %w", err)
		}
	}
	c, err := smtp.NewClient(ctx, nc, smtp.ClientConfig{
		LocalName:    s.cfg.Helo,
		LMTP:         s.cfg.Target.Scheme != route.SMTP,
		TLS:          tlsMode(mode),
		TLSConfig:    s.cfg.TLSConfig,
		ServerName:   s.cfg.Target.Host,
		Timeouts:     timeouts(s.cfg.Timeout),
		NoPipelining: !s.cfg.Pipelining,
	})
	var broken *smtp.StepError
	if mode == route.TLSOpportunistic && errors.As(err, &broken) && broken.Step == smtp.StepStartTLS && ctx.Err() == nil {
		// A server whose TLS does not work is asked in the clear: that is what opportunistic means (RFC 7435, 3).
		return s.connect(ctx, route.TLSOff)
	}
	if err != nil {
		return nil, err
	}
	return &conn{Client: c}, nil
}

func tlsMode(m route.TLSMode) smtp.TLSMode {
	switch m {
	case route.TLSOff:
		return smtp.TLSOff
	case route.TLSRequire:
		return smtp.TLSRequire
	}
	return smtp.TLSOpportunistic
}

// tidy ends the transaction and keeps the connection, or says goodbye.
func (s *Source) tidy(c *conn) {
	ctx, cancel := context.WithTimeout(s.background, s.cfg.Timeout)
	defer cancel()
	if c.refused < maxRefused && c.asked < maxAsked {
		b := c.Batch()
		b.Reset()
		if rs, err := b.Do(ctx); err == nil && rs[0].Class() == 2 {
			c.open = false
			s.idle.put(c, s.cfg.IdleTime)
			return
		}
		c.Close()
		return
	}
	s.quit(ctx, c)
}

// drop closes a connection, where there is one.
func (s *Source) drop(c *conn) {
	if c != nil {
		c.Close()
	}
}

// quit says goodbye. Whether the server hears it does not matter.
func (s *Source) quit(ctx context.Context, c *conn) {
	_ = c.Quit(ctx)
	c.Close()
}

// idlePool keeps connections a little while for the next question.
type idlePool struct {
	mu     sync.Mutex
	conns  []*conn
	closed bool
}

// put keeps a connection for at most d.
func (p *idlePool) put(c *conn, d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		c.Close()
		return
	}
	c.expire = time.AfterFunc(d, func() { p.drop(c) })
	p.conns = append(p.conns, c)
}

// take returns the connection that was used last and is still good, or nil.
func (p *idlePool) take() *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.conns) > 0 {
		c := p.conns[len(p.conns)-1]
		p.conns = p.conns[:len(p.conns)-1]
		c.expire.Stop()
		if c.Idle() {
			return c
		}
		c.Close()
	}
	return nil
}

func (p *idlePool) drop(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.conns {
		if p.conns[i] == c {
			p.conns = append(p.conns[:i], p.conns[i+1:]...)
			c.Close()
			return
		}
	}
}

func (p *idlePool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, c := range p.conns {
		c.expire.Stop()
		c.Close()
	}
	p.conns = nil
}

func (p *idlePool) len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.conns)
}
