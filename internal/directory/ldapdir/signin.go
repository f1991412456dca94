package ldapdir

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/go-ldap/ldap/v3"
)

// Directories lock an account after a few wrong passwords, often within half an hour. So a password that
// was refused is tried again late.
const (
	firstRefusal = 5 * time.Minute
	lastRefusal  = 30 * time.Minute
)

// refusal remembers that the password is wrong.
type refusal struct {
	mu    sync.Mutex
	until time.Time
	times int
	why   string
}

func (r *refusal) check(now time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.times == 0 || !now.Before(r.until) {
		return nil
	}
	return &signInError{fmt.Sprintf("%s; tried again at %s, because directories lock accounts", r.why, r.until.Format(time.TimeOnly))}
}

func (r *refusal) note(now time.Time, why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.until, r.why = now.Add(min(lastRefusal, firstRefusal<<min(r.times, 10))), why
	r.times++
}

func (r *refusal) clear() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.times, r.why = 0, ""
}

// signInError: the name and the password were not taken.
type signInError struct{ text string }

func (e *signInError) Error() string { return e.text }

// signIn binds. As long as it is not known that the password is right one goroutine
// tries it at a time, and the others hear what came of it.
func (s *Source) signIn(ctx context.Context, c *conn) error {
	if s.cfg.BindDN == "" {
		return nil // a new connection is anonymous (RFC 4511, 4.2.1)
	}
	if !s.signed.Load() {
		select {
		case s.signing <- struct{}{}:
			defer func() { <-s.signing }()
		case <-ctx.Done():
			return inTime(ctx, ctx.Err())
		}
	}
	if err := s.refused.check(s.cfg.Now()); err != nil {
		return err
	}
	err := c.do(ctx, questionOctets, func() error { return c.ldap.Bind(s.cfg.BindDN, s.cfg.Password) })
	if ldap.IsErrorWithCode(err, ldap.LDAPResultInvalidCredentials) {
		s.signed.Store(false)
		why := fmt.Sprintf("the server does not take the password of %s (%s)", s.cfg.BindDN, whyRefused(err))
		s.refused.note(s.cfg.Now(), why)
		return &signInError{why}
	}
	if err != nil {
		return fmt.Errorf("binding as %s: %w", s.cfg.BindDN, err)
	}
	s.signed.Store(true)
	s.refused.clear()
	return nil
}

// whyRefused reads what Active Directory hides in its diagnostic message: a Windows error
// in hexadecimal behind "data". To everybody else a wrong name and a wrong password are the same.
func whyRefused(err error) string {
	for code, why := range map[string]string{
		"525": "there is no such account", "52e": "wrong password", "530": "not at this time of day", "531": "not from this machine",
		"532": "the password has expired", "533": "the account is disabled", "701": "the account has expired",
		"773": "the password must be changed first", "775": "the account is locked",
	} {
		if strings.Contains(short(err), "data "+code+",") {
			return why
		}
	}
	return "wrong name or wrong password"
}
