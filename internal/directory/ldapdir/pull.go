package ldapdir

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"strings"
	"time"

	"backstop/internal/directory"

	"github.com/go-ldap/ldap/v3"
)

// pull is one pull under way: a connection, and where what it finds goes.
type pull struct {
	s    *Source
	c    *conn
	into directory.Copy
	seen int       // entries
	took int       // of these, with an address
	last time.Time // the latest modifyTimestamp that was seen
}

// Full hands every recipient to into.
func (s *Source) Full(ctx context.Context, into directory.Copy) (directory.Pulled, error) {
	var done directory.Pulled
	err := s.pull(ctx, "", into, func(ctx context.Context, p *pull) error {
		cur, err := p.cursor(ctx)
		if err != nil {
			return err
		}
		if err := p.takeAll(ctx, p.filter()); err != nil {
			return err
		}
		switch {
		case p.seen == 0:
			return &nobodyError{base: s.cfg.Base, filter: p.filter()}
		case p.took == 0:
			return fmt.Errorf("%d entries match, and none has an address in %s: check the attributes, and which of them the bind DN may read",
				p.seen, strings.Join(s.cfg.Attributes, ", "))
		}
		done.Cursor = cur.advance(p).encode()
		return nil
	})
	return done, err
}

// pull runs f over a connection of its own, to the first server that can be had.
func (s *Source) pull(ctx context.Context, prefer string, into directory.Copy, f func(context.Context, *pull) error) error {
	if err := s.filter.canPull(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.gate.Open(), cancel)()
	c, err := s.connectAny(ctx, prefer)
	if err != nil {
		if ctx.Err() == nil {
			s.gate.Failed(err.Error())
		}
		return err
	}
	defer c.close()
	err = f(ctx, &pull{s: s, c: c, into: into})
	var no *copyError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &no):
		return no.err
	case errors.Is(err, directory.ErrStartOver):
		return err
	case ctx.Err() != nil:
		return fmt.Errorf("the pull was given up: %w", ctx.Err())
	}
	c.server.note(s.cfg.Now(), false)
	err = &serverError{server: c.server.name, err: err}
	s.gate.Failed(err.Error())
	return err
}

// connectAny connects to the first server that can be had, each in the time of a question.
func (s *Source) connectAny(ctx context.Context, prefer string) (*conn, error) {
	var all []error
	for _, srv := range s.orderFor(prefer) {
		began := s.cfg.Now()
		one, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
		c, err := s.connect(one, srv)
		cancel()
		if err == nil {
			srv.note(s.cfg.Now(), true)
			s.gate.Answered(s.cfg.Now().Sub(began))
			return c, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		srv.note(s.cfg.Now(), false)
		all = append(all, &serverError{server: srv.name, err: err})
		var no *signInError
		if errors.As(err, &no) {
			break
		}
	}
	return nil, serverErrors(all)
}

// copyError is an error of the Copy, which is handed back as it is.
type copyError struct{ err error }

func (e *copyError) Error() string { return e.err.Error() }
func (e *copyError) Unwrap() error { return e.err }

func copied(err error) error {
	if err != nil {
		return &copyError{err}
	}
	return nil
}

func (p *pull) filter() string { return p.s.filter.anybody(p.c.root.ad) }

// Names of attributes that both kinds of server have for their own.
const (
	objectGUID      = "objectGUID"
	entryUUID       = "entryUUID"
	modifyTimestamp = "modifyTimestamp"
)

// idAttribute is where an entry's lasting name is.
func (p *pull) idAttribute() string {
	if p.c.root.ad {
		return objectGUID
	}
	return entryUUID
}

// id is what an entry is called whatever it is renamed to. Where the server has nothing
// lasting it is the DN.
func (p *pull) id(e *ldap.Entry) string {
	if b := e.GetEqualFoldRawAttributeValue(p.idAttribute()); len(b) > 0 {
		if p.c.root.ad {
			return fmt.Sprintf("%x", b)
		}
		return strings.ToLower(string(b))
	}
	return "dn:" + strings.ToLower(e.DN)
}

// pages runs a paged search (RFC 2696) below base and hands over each entry. Any error
// ends it: what came before is half of the truth.
func (p *pull) pages(ctx context.Context, base, filter string, attributes []string, controls []ldap.Control, do func(*ldap.Entry) error) error {
	paging := ldap.NewControlPaging(uint32(p.s.cfg.PageSize))
	req := ldap.NewSearchRequest(base, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, 0, 0, false, filter, attributes,
		append([]ldap.Control{paging}, controls...))
	seen := newRound()
	for empty := 0; ; {
		var res *ldap.SearchResult
		err := p.c.wire.patient(p.s.cfg.Timeout, func() (err error) {
			res, err = p.c.search(ctx, pageOctets, req)
			return err
		})
		if errors.Is(err, errTooMuch) {
			return fmt.Errorf("%w: it seems not to know pages (RFC 2696); or take a smaller page size", err)
		}
		if err != nil {
			return err
		}
		if err := p.c.elsewhere(res.Referrals); err != nil {
			return err
		}
		if seen.again(res.Entries) {
			return errors.New("the server gives the same page again and again")
		}
		for _, e := range res.Entries {
			if err := do(e); err != nil {
				return err
			}
		}
		next, ok := ldap.FindControl(res.Controls, ldap.ControlTypePaging).(*ldap.ControlPaging)
		if !ok || len(next.Cookie) == 0 {
			return nil
		}
		if empty++; len(res.Entries) > 0 {
			empty = 0
		}
		if empty > maxEmptyPages {
			return fmt.Errorf("%d pages in a row with nobody on them", empty)
		}
		paging.SetCookie(next.Cookie)
	}
}

// round notices that pages come round again. An entry is on one page only, but cookies say
// nothing: some servers give the same one with every page. It compares with one page, the latest whose number is a
// power of two, which finds a circle of any length (R. P. Brent, 1980).
type round struct {
	seed     maphash.Seed
	page     uint64 // of the page that is compared with
	n, until int    // pages; after how many another one is compared with
}

func newRound() *round { return &round{seed: maphash.MakeSeed(), until: 1} }

func (r *round) again(entries []*ldap.Entry) bool {
	if len(entries) == 0 {
		return false
	}
	var h maphash.Hash
	h.SetSeed(r.seed)
	for _, e := range entries {
		h.WriteString(e.DN)
		h.WriteByte(0)
	}
	page := h.Sum64()
	if r.n > 0 && page == r.page {
		return true
	}
	if r.n++; r.n == r.until {
		r.page, r.until = page, 2*r.until
	}
	return false
}

// maxEmptyPages bounds the pages that have nobody: a server may give some (it looked for its
// time and found nothing), but not for ever.
const maxEmptyPages = 1000

// takeAll takes everybody for whom the filter holds, and reads the stamps.
func (p *pull) takeAll(ctx context.Context, filter string) error {
	return p.each(ctx, filter, func(id string, addresses []string) error {
		p.seen++
		if len(addresses) > 0 {
			p.took++
		} else if !p.into.Has(id) {
			return nil
		}
		return copied(p.into.Take(id, addresses...))
	})
}

// each hands over everybody for whom the filter holds, with all addresses.
func (p *pull) each(ctx context.Context, filter string, do func(id string, addresses []string) error) error {
	attributes := append([]string{p.idAttribute()}, p.s.cfg.Attributes...)
	if !p.c.root.ad {
		attributes = append(attributes, modifyTimestamp)
	}
	return p.pages(ctx, p.s.cfg.Base, filter, attributes, nil, func(e *ldap.Entry) error {
		if t, err := parseTime(e.GetEqualFoldAttributeValue(modifyTimestamp)); err == nil && t.After(p.last) {
			p.last = t
		}
		addresses, err := p.addresses(ctx, e)
		if err != nil {
			return err
		}
		return do(p.id(e), addresses)
	})
}
