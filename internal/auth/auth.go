// Package auth asks the DNS who really sent a message: SPF (RFC 7208) for the envelope sender, DKIM
// (RFC 6376) for its signatures, DMARC (RFC 7489) for the header From. The rules of the last two are
// in dkim and dmarc, which ask nobody; here are the look-ups, and their bounds in time.
//
// What could not be found out is [evidence.TempError], never fail and never none: a server that is silent, an answer
// that makes no sense, time that is over. Only the DNS itself says that there is no record.
//
// # Limits
//
// Nothing is kept here: identical questions are answered from the resolver's cache. Nothing is judged: what a
// result means for a message is for the verdict. No reports are sent (RFC 7489, 7). ARC (RFC 8617) is not
// read: a list that breaks signatures fails, as it would without.
package auth

import (
	"context"
	"errors"
	"net"
	"time"
)

// Resolver asks the DNS. Its errors are bare *net.DNSError values: IsNotFound says that there is no such record, and
// every other error that this could not be found out.
type Resolver interface {
	LookupTXT(ctx context.Context, name string) ([]string, error)
	LookupMX(ctx context.Context, name string) ([]*net.MX, error)
	LookupIPAddr(ctx context.Context, host string) ([]net.IPAddr, error)
	LookupAddr(ctx context.Context, addr string) ([]string, error)
}

// Config of a Checker. All but Resolver may be zero.
type Config struct {
	Resolver    Resolver
	SPFTime     time.Duration    // for all look-ups of one SPF check; 10 s
	MessageTime time.Duration    // for all look-ups of DKIM of one message, and again for those of DMARC; 10 s
	Now         func() time.Time // by which signatures expire; time.Now
}

// Checker makes the checks. Its methods are called from many goroutines.
type Checker struct{ conf Config }

// New makes a checker.
func New(c Config) *Checker {
	if c.SPFTime <= 0 {
		c.SPFTime = 10 * time.Second
	}
	if c.MessageTime <= 0 {
		c.MessageTime = 10 * time.Second
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Checker{conf: c}
}

// notFound says that the DNS has no such record; every other error is temporary.
func notFound(err error) bool {
	var e *net.DNSError
	return errors.As(err, &e) && e.IsNotFound
}

// why is an error of the DNS in words that may stand in a header field, which everybody reads: without the name, which
// stands there already, and without the server's address, which is nobody's business.
func why(err error) string {
	var e *net.DNSError
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return "no answer came in time"
	case errors.As(err, &e) && e.Err != "":
		return e.Err
	}
	return "nobody knows why"
}
