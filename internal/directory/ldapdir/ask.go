package ldapdir

import (
	"context"
	"errors"
	"strings"
	"time"

	"backstop/internal/directory"
	"backstop/internal/evidence"
	"backstop/internal/mail"
)

// Lookup asks whether the address is anybody's.
func (s *Source) Lookup(ctx context.Context, addr mail.Address) directory.Answer {
	if addr.Domain() == "" {
		return unavailable("an address without a domain cannot be looked up")
	}
	found := false
	err := s.gate.Put(ctx, func(ctx context.Context) (err error) {
		found, err = s.ask(ctx, addr)
		return err
	})
	switch {
	case err != nil:
		return unavailable(err.Error())
	case found:
		return directory.Answer{Standing: evidence.Exists, Cacheable: true}
	}
	return directory.Answer{Standing: evidence.Missing, Cacheable: true}
}

// unavailable is the answer that says nothing about the recipient.
func unavailable(detail string) directory.Answer {
	return directory.Answer{Standing: evidence.Unavailable, Detail: detail}
}

// ask asks server after server. Each gets its share of the time that is left, so that one
// that hangs does not keep the next from being asked.
func (s *Source) ask(ctx context.Context, addr mail.Address) (bool, error) {
	var all []error
	order := s.order()
	for i, srv := range order {
		share, cancel := part(ctx, len(order)-i)
		found, err := s.askServer(share, srv, addr)
		cancel()
		if err == nil {
			srv.note(s.cfg.Now(), true)
			return found, nil
		}
		if errors.Is(ctx.Err(), context.Canceled) {
			return false, ctx.Err()
		}
		if !aboutTheQuestion(err) {
			srv.note(s.cfg.Now(), false)
		}
		all = append(all, &serverError{server: srv.name, err: err})
		var no *signInError
		if errors.As(err, &no) {
			break // the next one knows the same password
		}
	}
	return false, serverErrors(all)
}

// part is a context for one of n shares of what is left of ctx.
func part(ctx context.Context, n int) (context.Context, context.CancelFunc) {
	t, ok := ctx.Deadline()
	if !ok || n < 2 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, time.Until(t)/time.Duration(n))
}

// askServer asks over a connection that waits, and if that is no good any more over a new one.
func (s *Source) askServer(ctx context.Context, srv *server, addr mail.Address) (bool, error) {
	if c := srv.idle.take(); c != nil {
		half, cancel := part(ctx, 2)
		found, err := s.askOver(half, c, addr)
		cancel()
		if err == nil || aboutTheQuestion(err) {
			srv.idle.put(c)
			return found, err
		}
		c.close()
		srv.idle.empty()
	}
	c, err := s.connect(ctx, srv)
	if err != nil {
		return false, err
	}
	found, err := s.askOver(ctx, c, addr)
	if err == nil || aboutTheQuestion(err) {
		srv.idle.put(c)
	} else {
		c.close()
	}
	return found, err
}

// askOver asks over one connection.
func (s *Source) askOver(ctx context.Context, c *conn, addr mail.Address) (bool, error) {
	found, err := c.find(ctx, s.cfg.Base, s.filter.question(addr, c.root.ad))
	if found || err != nil {
		return found, err
	}
	return false, c.prove(ctx, s.cfg.Base, s.filter.anybody(c.root.ad))
}

// serverError is an error with the server that had it.
type serverError struct {
	server string
	err    error
}

func (e *serverError) Error() string { return e.server + ": " + explain(e.err) }
func (e *serverError) Unwrap() error { return e.err }

// severalErrors are those of all servers, in one line.
type severalErrors []error

func (e severalErrors) Error() string {
	s := make([]string, len(e))
	for i := range e {
		s[i] = e[i].Error()
	}
	return strings.Join(s, "; ")
}

func (e severalErrors) Unwrap() []error { return e }

func serverErrors(all []error) error {
	if len(all) == 1 {
		return all[0]
	}
	return severalErrors(all)
}
