package callahead

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"backstop/internal/mail"
	"backstop/internal/smtp"
)

// eyes is what was found out about the server, by domain: one domain may have a
// catch-all, and another not.
type eyes struct {
	mu      sync.RWMutex
	domains map[string]*eye
}

// eye is what was found out about one domain.
type eye struct {
	mu    sync.Mutex
	known bool
	blind bool
	next  time.Time     // when the next test is due
	tries int           // tests in a row that found nothing out
	test  chan struct{} // closed at the end of the test under way; nil: none is
	why   string        // what the last test saw
}

const (
	testQuestions = 2
	testEvery     = time.Hour
	retryFirst    = time.Minute // after a test that found nothing out; doubles up to testEvery
)

// look returns what is known of the domain, and begins a test if one is due.
func (s *Source) look(domain string) *eye {
	s.eyes.mu.RLock()
	e := s.eyes.domains[domain]
	s.eyes.mu.RUnlock()
	if e == nil {
		s.eyes.mu.Lock()
		if e = s.eyes.domains[domain]; e == nil {
			e = &eye{}
			s.eyes.domains[strings.Clone(domain)] = e
		}
		s.eyes.mu.Unlock()
	}
	now := s.cfg.Now()
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.test == nil && !now.Before(e.next) {
		test := make(chan struct{})
		if s.spawn(func() { s.test(e, domain) }) {
			e.test = test
		}
	}
	return e
}

func (e *eye) finding() (blind, known bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.blind, e.known
}

// wait returns the finding, after the first test if that is under way.
func (e *eye) wait(ctx context.Context) (blind, known bool) {
	e.mu.Lock()
	test := e.test
	if e.known {
		test = nil
	}
	e.mu.Unlock()
	if test != nil {
		select {
		case <-test:
		case <-ctx.Done():
		}
	}
	return e.finding()
}

// test asks the server for two recipients whom nobody can have.
func (s *Source) test(e *eye, domain string) {
	ctx, cancel := context.WithTimeout(s.background, 2*s.cfg.Timeout)
	accepted, refused, why := s.askForNobody(ctx, domain)
	cancel()
	now := s.cfg.Now()
	e.mu.Lock()
	was := e.known && e.blind
	e.why = why
	switch {
	case accepted > 0: // one is enough: nobody can have guessed it
		e.known, e.blind = true, true
	case refused > 0:
		e.known, e.blind = true, false
	}
	if accepted+refused > 0 {
		e.tries, e.next = 0, now.Add(testEvery)
	} else { // what was found before stays
		e.next = now.Add(min(testEvery, retryFirst<<min(e.tries, 10)))
		e.tries++
	}
	is := e.known && e.blind
	close(e.test)
	e.test = nil
	e.mu.Unlock()
	switch {
	case is && accepted > 0: // said at each test: the operator must not miss it
		s.cfg.Logger.Error("this server accepts any recipient, so nobody can be refused on its word and it may send backscatter: "+
			"make it refuse unknown recipients at RCPT, or name another source for this domain", "domain", domain, "saw", why)
	case was && !is:
		s.cfg.Logger.Info("this server refuses unknown recipients now", "domain", domain, "saw", why)
	}
}

// askForNobody counts the server's answers to two recipients, in a session of its own, since a
// server may judge a session by what was asked before.
func (s *Source) askForNobody(ctx context.Context, domain string) (accepted, refused int, why string) {
	if !s.breaker.allow(s.cfg.Now()) {
		_, why := s.breaker.down()
		return 0, 0, why
	}
	if why := s.enter(ctx, 2); why != "" {
		s.breaker.abandoned()
		return 0, 0, why
	}
	defer s.leave()
	if kept := s.idle.take(); kept != nil {
		s.quit(ctx, kept) // its place is taken: kept connections count too
	}
	c, err := s.connect(ctx, s.cfg.Target.TLS)
	s.judge(ctx, err)
	if err != nil {
		return 0, 0, err.Error()
	}
	defer s.quit(ctx, c)
	var saw []string
	for _, local := range [testQuestions]string{noise(), noName()} {
		addr, err := mail.ParseAddress(local + "@" + domain)
		if err != nil {
			return 0, 0, err.Error()
		}
		r, err := s.rcpt(ctx, c, addr)
		if err != nil {
			saw = append(saw, err.Error())
			var no *smtp.RefusedError
			if !errors.As(err, &no) {
				break
			}
			continue
		}
		saw = append(saw, fmt.Sprintf("<%s>: %s", addr, describe(r)))
		switch {
		case r.Class() == 2:
			accepted++
		case smtp.ClassifyRcpt(r) == smtp.RcptMissing:
			refused++
		}
	}
	return accepted, refused, strings.Join(saw, "; ")
}

// noise is a local part that looks like a machine's: 24 letters and digits, 120 random bits.
func noise() string { return "x" + strings.ToLower(rand.Text()[:24]) }

// noName is a local part that looks like a person's, first name and last name with a dot
// between: a server may take one shape for granted and look up the other. About 57 random bits.
func noName() string {
	const consonants, vowels = "bdfgklmnprstvzcj", "aeio"
	var b [10]byte
	rand.Read(b[:])
	n := binary.BigEndian.Uint64(b[:8])
	syllable := func(s []byte) []byte {
		s = append(s, consonants[n&15], vowels[n>>4&3])
		n >>= 6
		return s
	}
	s := make([]byte, 0, 32)
	for range 4 {
		s = syllable(s)
	}
	s = append(s, '.')
	for range 5 {
		s = syllable(s)
	}
	return string(s)
}
