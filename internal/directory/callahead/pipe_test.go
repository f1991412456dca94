package callahead

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"backstop/internal/mail"
	"backstop/internal/route"
)

// peer is a mail server in memory, so that time can be the test's: it answers
// RCPT as rcpt says and everything else politely.
type peer struct {
	mu      sync.Mutex
	rcpt    func(local string) string
	refuse  error // of connections
	dials   int
	open    int
	most    int // open at once
	asked   []question
	resets  int
	running sync.WaitGroup
}

type question struct {
	at    time.Time
	conn  int
	local string
}

func newPeer(users ...string) *peer {
	p := &peer{}
	p.rcpt = func(local string) string {
		for _, u := range users {
			if u == local {
				return "250 2.1.5 Yes"
			}
		}
		return "550 5.1.1 No such user"
	}
	return p
}

func (p *peer) dial(context.Context, string, string) (net.Conn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dials++
	if p.refuse != nil {
		return nil, p.refuse
	}
	ours, theirs := net.Pipe()
	p.open++
	p.most = max(p.most, p.open)
	n := p.dials
	p.running.Go(func() { p.serve(theirs, n) })
	return ours, nil
}

func (p *peer) serve(nc net.Conn, n int) {
	defer func() {
		nc.Close()
		p.mu.Lock()
		p.open--
		p.mu.Unlock()
	}()
	fmt.Fprint(nc, "220 peer.test ESMTP\r\n")
	lines := bufio.NewScanner(nc)
	for lines.Scan() {
		verb, arg, _ := strings.Cut(lines.Text(), " ")
		reply := "250 2.0.0 Yes"
		switch verb {
		case "RCPT":
			local, _, _ := strings.Cut(strings.TrimPrefix(arg, "TO:<"), "@")
			p.mu.Lock()
			p.asked = append(p.asked, question{time.Now(), n, local})
			rcpt := p.rcpt
			p.mu.Unlock()
			reply = rcpt(local)
		case "RSET":
			p.mu.Lock()
			p.resets++
			p.mu.Unlock()
		case "QUIT":
			fmt.Fprint(nc, "221 2.0.0 Goodbye\r\n")
			return
		}
		if _, err := fmt.Fprint(nc, reply+"\r\n"); err != nil {
			return
		}
	}
}

func (p *peer) set(f func(*peer)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(p)
}

// about are the questions about a recipient.
func (p *peer) about(local string) []question {
	p.mu.Lock()
	defer p.mu.Unlock()
	var qs []question
	for _, q := range p.asked {
		if q.local == local {
			qs = append(qs, q)
		}
	}
	return qs
}

// source makes a source that asks the peer.
func (p *peer) source(t *testing.T, change func(*Config)) *Source {
	t.Helper()
	target, err := route.ParseRelay("smtp://store.example:25?tls=off")
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{Name: "callahead:" + target.String(), Target: target, Helo: "mx.example", Dial: p.dial}
	if change != nil {
		change(&cfg)
	}
	s := New(cfg)
	t.Cleanup(func() {
		s.Close()
		p.running.Wait()
	})
	return s
}

func address(t testing.TB, s string) mail.Address {
	t.Helper()
	a, err := mail.ParseAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

var errRefused = errors.New("connection refused")
