package auth

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"backstop/internal/evidence"
	"backstop/internal/mail"

	"blitiri.com.ar/go/spf"
)

// SPF checks whether the client may send for the domain of from, or, for the null sender, for the name
// that it gave in HELO (RFC 7208, 2.4). It takes SPFTime at most, and no more look-ups than RFC 7208, 4.6.4
// grants: ten terms that ask, ten names for each of them, two that find nothing.
//
// None where there is nothing to ask: no client address (a Unix socket), an address literal, a name
// without a dot (RFC 7208, 4.3), no record.
func (c *Checker) SPF(ctx context.Context, client netip.Addr, helo string, from mail.ReversePath) evidence.SPF {
	out := evidence.SPF{Result: evidence.None, Helo: from.IsNull()}
	folded, heloErr := mail.FoldDomain(helo)
	sender := ""
	if out.Helo {
		if heloErr != nil {
			out.Detail = "the sender is null, and the HELO name is no domain"
			return out
		}
		out.Domain, sender = folded, "@"+folded
	} else {
		out.Domain, sender = from.Domain(), spfLocal(from.Address)+"@"+from.Domain()
	}
	if heloErr == nil {
		helo = folded
	}
	if out.Detail = unaskable(client, out.Domain); out.Detail != "" {
		return out
	}
	out.Result, out.Detail = c.spf(ctx, client.Unmap().WithZone(""), helo, sender, out.Domain)
	return out
}

// spf asks for the domain of the sender, LOCAL@DOMAIN. Without a local part it is the postmaster (RFC 7208, 4.3).
func (c *Checker) spf(ctx context.Context, client netip.Addr, helo, sender, domain string) (evidence.Result, string) {
	if sender[0] == '@' {
		sender = "postmaster" + sender
	}
	limited, cancel := context.WithTimeout(ctx, c.conf.SPFTime)
	defer cancel()
	dns := &spfResolver{under: c.conf.Resolver, v4: client.Is4()}
	answer, err := spf.CheckHostWithSender(net.IP(client.AsSlice()), helo, sender, spf.WithContext(limited), spf.WithResolver(dns))
	result := spfResult(answer)
	if unsure := dns.temporary; result == evidence.Fail && unsure != nil {
		// RFC 7208, 5.5 takes a ptr that cannot be looked up for one that does not match. But a fail is for good,
		// and the DNS may answer the next time.
		result, err = evidence.TempError, unsure
	}
	return result, spfDetail(result, err, client, domain)
}

// unaskable says why no record is asked for; "": it is.
func unaskable(client netip.Addr, domain string) string {
	switch {
	case !client.IsValid():
		return "the client has no address"
	case domain == "":
		return "the sender has no domain"
	case domain[0] == '[':
		return "an address literal has no record"
	case isAddress(domain):
		return "an address is no domain"
	case !strings.Contains(domain, "."):
		return "a name without a dot has no record (RFC 7208, 4.3)"
	}
	return ""
}

func isAddress(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil
}

// spfLocal is the local part that a macro may put into a name. The library takes what follows the
// first @ for the domain, and a quoted local part may hold one: it becomes a character that no name has, so
// that what it is put into finds nothing.
func spfLocal(a mail.Address) string {
	return strings.ReplaceAll(a.LocalKey(), "@", "\ufffd")
}

func spfResult(r spf.Result) evidence.Result {
	switch r {
	case spf.None:
		return evidence.None
	case spf.Neutral:
		return evidence.Neutral
	case spf.Pass:
		return evidence.Pass
	case spf.Fail:
		return evidence.Fail
	case spf.SoftFail:
		return evidence.SoftFail
	case spf.PermError:
		return evidence.PermError
	}
	return evidence.TempError
}

// spfDetail says in words what was found.
func spfDetail(r evidence.Result, err error, client netip.Addr, domain string) string {
	switch r {
	case evidence.None:
		return domain + " publishes no SPF record"
	case evidence.Pass:
		return fmt.Sprintf("%s permits %s%s", domain, client, spfTerm(err))
	case evidence.Fail:
		return fmt.Sprintf("%s says that %s may not send for it%s", domain, client, spfTerm(err))
	case evidence.SoftFail:
		return fmt.Sprintf("%s says that %s should not send for it%s", domain, client, spfTerm(err))
	case evidence.Neutral:
		return fmt.Sprintf("%s says nothing of %s", domain, client)
	case evidence.PermError:
		return "the SPF record of " + domain + " is of no use: " + spfWrong(err)
	}
	return "the DNS could not be asked: " + why(err)
}

// spfTerm says which kind of term decided.
func spfTerm(err error) string {
	for _, t := range []struct {
		err  error
		term string
	}{{spf.ErrMatchedAll, "all"}, {spf.ErrMatchedA, "a"}, {spf.ErrMatchedIP, "ip4 or ip6"}, {spf.ErrMatchedMX, "mx"}, {spf.ErrMatchedPTR, "ptr"}, {spf.ErrMatchedExists, "exists"}} {
		if errors.Is(err, t.err) {
			return " (by its term " + t.term + ")"
		}
	}
	return ""
}

// spfWrong says what is wrong with a record.
func spfWrong(err error) string {
	for _, t := range []struct {
		err  error
		what string
	}{
		{spf.ErrLookupLimitReached, "it needs more than 10 DNS look-ups (RFC 7208, 4.6.4)"},
		{spf.ErrVoidLookupLimitReached, "more than 2 of its DNS look-ups find nothing (RFC 7208, 4.6.4)"},
		{spf.ErrTooManyMXRecords, "a term mx leads to more than 10 hosts (RFC 7208, 4.6.4)"},
		{spf.ErrMultipleRecords, "there are several (RFC 7208, 4.5)"},
		{spf.ErrNoResult, "a domain that it includes or redirects to has none"},
		{spf.ErrUnknownField, "it has a term that nobody knows"},
		{spf.ErrInvalidIP, "an address in it is none"},
		{spf.ErrInvalidMask, "a network in it has a length that cannot be"},
		{spf.ErrInvalidMacro, "a macro in it cannot be read"},
		{spf.ErrInvalidDomain, "a domain in it cannot be one"},
	} {
		if errors.Is(err, t.err) {
			return t.what
		}
	}
	return fmt.Sprint(err) // of spfSyntax
}

// spfResolver is the DNS as the library needs it for one check.
type spfResolver struct {
	under     Resolver
	v4        bool  // the client has an IPv4 address
	temporary error // something could not be looked up
}

// maxSPFName is how long a name is that a macro may make; of a longer one labels are cut from the
// left (RFC 7208, 7.3).
const maxSPFName = 253

func fitted(name string) string {
	name = strings.TrimSuffix(name, ".")
	for len(name) > maxSPFName {
		_, rest, found := strings.Cut(name, ".")
		if !found {
			break
		}
		name = rest
	}
	return name
}

// note remembers that something could not be found out, and makes sure that the library takes
// it for temporary.
func (s *spfResolver) note(err error) error {
	if err == nil {
		return nil
	}
	e, is := err.(*net.DNSError)
	switch {
	case is && e.IsNotFound:
		return err
	case !is:
		e = &net.DNSError{UnwrapErr: err, Err: why(err), IsTemporary: true}
	case !e.IsTemporary && !e.IsTimeout:
		twin := *e
		e, twin.IsTemporary = &twin, true
	}
	s.temporary = e
	return e
}

// LookupTXT fetches nothing but SPF records. An error of its own, about a record, is permanent to the library.
func (s *spfResolver) LookupTXT(ctx context.Context, name string) ([]string, error) {
	l, err := s.under.LookupTXT(ctx, fitted(name))
	if err != nil {
		return nil, s.note(err)
	}
	l = slices.DeleteFunc(l, func(txt string) bool { return !isSPF(txt) })
	if len(l) == 1 {
		if err := spfSyntax(l[0]); err != nil {
			return nil, err
		}
	}
	return l, nil
}

func (s *spfResolver) LookupMX(ctx context.Context, name string) ([]*net.MX, error) {
	l, err := s.under.LookupMX(ctx, fitted(name))
	return l, s.note(err)
}

// LookupIPAddr: if the kind of addresses that the client has is there, it is no matter that the other could
// not be found out (RFC 7208, 5). But exists asks for IPv4 whatever the client has (5.7).
func (s *spfResolver) LookupIPAddr(ctx context.Context, host string) ([]net.IPAddr, error) {
	l, err := s.under.LookupIPAddr(ctx, fitted(host))
	for _, a := range l {
		if (a.IP.To4() != nil) == s.v4 {
			if !s.v4 {
				s.note(err)
			}
			return l, nil
		}
	}
	if err = s.note(err); err != nil {
		return nil, err
	}
	return l, nil
}

func (s *spfResolver) LookupAddr(ctx context.Context, addr string) ([]string, error) {
	l, err := s.under.LookupAddr(ctx, addr)
	return l, s.note(err)
}
