package ldapdir

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-ldap/ldap/v3"
)

// conn is one connection, bound and introduced. One goroutine uses it at a time.
type conn struct {
	ldap   *ldap.Conn
	wire   *wire
	server *server
	root   root
	now    func() time.Time
	proven time.Time // when somebody was found over it last, so that an empty answer means something
	broken atomic.Bool
	expire *time.Timer // while it waits
}

// root is what a server says of itself (its rootDSE, RFC 4512, 5.1).
type root struct {
	ad       bool
	contexts []string // naming contexts
	home     string   // AD: the domain's
	service  string   // AD: the DN of this domain controller's settings
	usn      string   // AD: the number of the last change
}

// capabilityAD is in supportedCapabilities of Active Directory and Samba.
const capabilityAD = "1.2.840.113556.1.4.800"

// connect makes a connection that may be asked.
func (s *Source) connect(ctx context.Context, srv *server) (*conn, error) {
	w, nc, err := s.dial(ctx, srv)
	if err != nil {
		return nil, inTime(ctx, err)
	}
	c := &conn{ldap: ldap.NewConn(nc, nc != net.Conn(w)), wire: w, server: srv, now: s.cfg.Now}
	c.ldap.Start()
	if err = s.signIn(ctx, c); err == nil {
		err = c.introduce(ctx)
	}
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func (c *conn) usable() bool { return !c.broken.Load() && !c.ldap.IsClosing() }

// close cuts the wire first: the library's Close waits for what is being written.
func (c *conn) close() {
	c.broken.Store(true)
	c.wire.Close()
	c.ldap.Close()
}

// do runs one exchange and bounds it: the library knows no context. A connection
// whose exchange did not come to its end is not used again.
func (c *conn) do(ctx context.Context, octets int64, f func() error) error {
	if err := ctx.Err(); err != nil {
		return inTime(ctx, err)
	}
	c.wire.left.Store(octets)
	stop := context.AfterFunc(ctx, func() { c.wire.Close() })
	err := f()
	if !stop() {
		c.broken.Store(true)
	}
	if err == nil {
		return nil
	}
	if !isResult(err) {
		c.broken.Store(true)
		if c.wire.left.Load() < 0 {
			return errTooMuch
		}
		return inTime(ctx, err)
	}
	return err
}

// inTime is err, or what ctx has to say where that came first.
func inTime(ctx context.Context, err error) error {
	switch e := ctx.Err(); {
	case errors.Is(e, context.DeadlineExceeded):
		return errLate
	case e != nil:
		return e
	}
	return err
}

// introduce learns what kind of server it is.
func (c *conn) introduce(ctx context.Context) error {
	e, err := c.read(ctx, "", "supportedCapabilities", "namingContexts", "defaultNamingContext", "dsServiceName", "highestCommittedUSN")
	if err != nil || e == nil {
		// A server may keep its rootDSE to itself, but not if it is AD.
		return notResult(err)
	}
	for _, o := range e.GetEqualFoldAttributeValues("supportedCapabilities") {
		c.root.ad = c.root.ad || o == capabilityAD
	}
	c.root.contexts = e.GetEqualFoldAttributeValues("namingContexts")
	c.root.home = e.GetEqualFoldAttributeValue("defaultNamingContext")
	c.root.service = e.GetEqualFoldAttributeValue("dsServiceName")
	c.root.usn = e.GetEqualFoldAttributeValue("highestCommittedUSN")
	return nil
}

// read reads one entry; nil: there is none.
func (c *conn) read(ctx context.Context, dn string, attributes ...string) (*ldap.Entry, error) {
	res, err := c.search(ctx, questionOctets, ldap.NewSearchRequest(dn, ldap.ScopeBaseObject, ldap.NeverDerefAliases,
		0, 0, false, "(objectClass=*)", attributes, nil))
	if err != nil || len(res.Entries) == 0 {
		return nil, err
	}
	return res.Entries[0], nil
}

// search runs one search. With an error that is a result of the server's (isResult) there may
// be entries too.
func (c *conn) search(ctx context.Context, octets int64, req *ldap.SearchRequest) (*ldap.SearchResult, error) {
	var res *ldap.SearchResult
	err := c.do(ctx, octets, func() (err error) {
		res, err = c.ldap.Search(req)
		return err
	})
	if res == nil {
		res = &ldap.SearchResult{}
	}
	return res, err
}

// find says whether the filter holds for somebody.
func (c *conn) find(ctx context.Context, base, filter string, controls ...ldap.Control) (bool, error) {
	limit := 0
	if t, ok := ctx.Deadline(); ok {
		limit = max(1, int(time.Until(t)/time.Second)+1) // in whole seconds
	}
	res, err := c.search(ctx, questionOctets, ldap.NewSearchRequest(base, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases,
		1, limit, false, filter, []string{"1.1"}, controls))
	switch {
	case len(res.Entries) > 0 && (err == nil || isResult(err)): // more of them than one, or no time to look for more
		c.proven = c.now()
		return true, nil
	case err != nil:
		return false, err
	}
	return false, c.elsewhere(res.Referrals)
}

// elsewhere is the error of a result that says: ask another server.
func (c *conn) elsewhere(referrals []string) error {
	for _, r := range referrals {
		if c.root.ad && partition(r) {
			continue
		}
		return &referralError{to: r}
	}
	return nil
}

// partition says whether a reference of AD leads to one of its own partitions in which
// there are no recipients: each search from a domain's root has them.
func partition(referral string) bool {
	r := strings.ToLower(referral)
	_, dn, ok := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(r, "ldap://"), "ldaps://"), "/")
	return ok && (strings.HasPrefix(dn, "cn=configuration,") || strings.HasPrefix(dn, "cn=schema,") ||
		strings.HasPrefix(dn, "dc=forestdnszones,") || strings.HasPrefix(dn, "dc=domaindnszones,"))
}

// provenFor is how long somebody who was found vouches for empty answers: what the bind DN may
// read can change under an open connection.
const provenFor = time.Minute

// prove finds out whether an empty answer means anything: whether there is anybody
// at all for whom the filter holds and whom we may see.
func (c *conn) prove(ctx context.Context, base, filter string) error {
	if !c.proven.IsZero() && c.now().Sub(c.proven) < provenFor {
		return nil
	}
	var one []ldap.Control
	if c.root.ad {
		one = append(one, ldap.NewControlPaging(1)) // Samba gives everybody, whatever limit of size it is told
	}
	found, err := c.find(ctx, base, filter, one...)
	switch {
	case isResult(err):
		// A limit is no proof either: a server that looks through a million others in vain reaches it too.
		return fmt.Errorf("nobody was found, nor anybody else for whom the filter holds: %w", err)
	case err != nil:
		return err
	case !found:
		return &nobodyError{base: base, filter: filter}
	}
	return nil
}

// referralError: the answer is to be had elsewhere.
type referralError struct{ to string }

func (e *referralError) Error() string {
	return fmt.Sprintf("the server refers to %s, where nobody was asked: "+
		"name that server in a source of its own, a base without that part, or the global catalogue (port 3269)", e.to)
}

// nobodyError: there is nobody at all.
type nobodyError struct{ base, filter string }

func (e *nobodyError) Error() string {
	return fmt.Sprintf("below %q there is nobody for whom the filter %s holds: "+
		"check the base, the names in the filter, and what the bind DN may read", e.base, e.filter)
}
