package ldapdir

import (
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// server is one of the servers, with the connections that wait for a question.
type server struct {
	url  *url.URL
	name string // as the operator wrote it, for messages
	idle pool

	mu     sync.Mutex
	failed time.Time // when it last did; zero: it answers
}

// avoidFor is how long a server that failed is asked last.
const avoidFor = 30 * time.Second

func newServer(u *url.URL) *server { return &server{url: u, name: u.String()} }

// address is where the server listens.
func (s *server) address() (network, address string) {
	u := s.url
	if u.Scheme == "ldapi" {
		if strings.HasPrefix(u.Host, "/") { // a path that was decoded into the host, as go-ldap has it
			return "unix", u.Host
		}
		return "unix", u.Path
	}
	port := u.Port()
	if port == "" {
		port = "389"
		if u.Scheme == "ldaps" {
			port = "636"
		}
	}
	return "tcp", net.JoinHostPort(u.Hostname(), port)
}

func (s *server) note(now time.Time, good bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed = now; good {
		s.failed = time.Time{}
	}
}

func (s *server) avoided(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.failed.IsZero() && now.Sub(s.failed) < avoidFor
}

// order is the servers as they are to be asked now.
func (s *Source) order() []*server {
	now := s.cfg.Now()
	good := make([]*server, 0, len(s.servers))
	var bad []*server
	for _, srv := range s.servers {
		if srv.avoided(now) {
			bad = append(bad, srv)
		} else {
			good = append(good, srv)
		}
	}
	return append(good, bad...)
}

// orderFor is order with the server of that name first, if there is one.
func (s *Source) orderFor(name string) []*server {
	all := s.order()
	if i := slices.IndexFunc(all, func(srv *server) bool { return srv.name == name }); i > 0 {
		first := all[i]
		all = slices.Insert(slices.Delete(all, i, i+1), 0, first)
	}
	return all
}

// idleFor is how long a connection waits for its next question. Firewalls forget
// quiet connections, and then it takes a time-out to find out.
const idleFor = time.Minute

// pool keeps connections for the next question.
type pool struct {
	mu     sync.Mutex
	conns  []*conn
	closed bool
}

func (p *pool) put(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || !c.usable() {
		c.close()
		return
	}
	c.expire = time.AfterFunc(idleFor, func() { p.drop(c) })
	p.conns = append(p.conns, c)
}

// take returns the connection that was used last and is still good, or nil.
func (p *pool) take() *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.conns) > 0 {
		c := p.conns[len(p.conns)-1]
		p.conns = p.conns[:len(p.conns)-1]
		c.expire.Stop()
		if c.usable() {
			return c
		}
		c.close()
	}
	return nil
}

func (p *pool) drop(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.conns, c); i >= 0 {
		p.conns = slices.Delete(p.conns, i, i+1)
		c.close()
	}
}

// empty closes what waits: where one connection went stale the others did too.
func (p *pool) empty() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.expire.Stop()
		c.close()
	}
	p.conns = nil
}

func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.empty()
}
