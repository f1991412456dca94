package auth

import (
	"context"
	"errors"
	"math/rand/v2"

	"backstop/internal/dkim"
	"backstop/internal/dmarc"
	"backstop/internal/evidence"
	"backstop/internal/mail"
)

// DKIM judges the signatures of a message whose body was written to v. The result is never nil; it is empty for
// a message that is not signed. Look-ups end after MessageTime, and what was not asked by then is
// evidence.TempError.
func (c *Checker) DKIM(ctx context.Context, v *dkim.Verifier) []evidence.Signature {
	ctx, cancel := context.WithTimeout(ctx, c.conf.MessageTime)
	defer cancel()
	found := v.Verify(ctx, c.key, c.conf.Now())
	if found == nil {
		found = []evidence.Signature{}
	}
	return found
}

// key is the dkim.KeyLookup (RFC 6376, 3.6.2.1).
func (c *Checker) key(ctx context.Context, domain, selector string) ([]string, error) {
	return c.conf.Resolver.LookupTXT(ctx, selector+"._domainkey."+domain)
}

// DMARC judges the header From of a message by what was found of its envelope sender and signatures. header is all
// its fields. The record is asked for at the domain of the header From, then at its organisational
// domain (RFC 7489, 6.6.3): two look-ups at most, in MessageTime together.
func (c *Checker) DMARC(ctx context.Context, header []byte, spf evidence.SPF, signatures []evidence.Signature, sender mail.ReversePath) evidence.DMARC {
	from, err := dmarc.FromDomain(header)
	switch {
	case errors.Is(err, dmarc.ErrNone):
		return evidence.DMARC{Result: evidence.None, Detail: err.Error()}
	case err != nil:
		return evidence.DMARC{Result: evidence.PermError, Detail: err.Error()}
	}
	ctx, cancel := context.WithTimeout(ctx, c.conf.MessageTime)
	defer cancel()
	org := dmarc.OrgDomain(from)
	record, found, failure := c.record(ctx, from)
	ofOrg := !found && failure.Result == evidence.NotChecked && org != from
	if ofOrg {
		record, found, failure = c.record(ctx, org)
	}
	switch {
	case failure.Result != evidence.NotChecked:
		failure.Domain = from
		return failure
	case !found:
		return evidence.DMARC{Result: evidence.None, Domain: from, Detail: "no DMARC record is published for " + from}
	}
	author, _ := dmarc.FromAddress(header) // without one the pass is the domain's, and nobody's in it
	return dmarc.Evaluate(dmarc.Input{From: from, Author: author, Record: record, OfOrg: ofOrg, SPF: spf, DKIM: signatures, Sender: sender, Roll: uint8(rand.IntN(100))})
}

// record asks for the record of a domain. failure has a result where discovery ends without one.
func (c *Checker) record(ctx context.Context, domain string) (r dmarc.Record, found bool, failure evidence.DMARC) {
	txt, err := c.conf.Resolver.LookupTXT(ctx, "_dmarc."+domain)
	switch {
	case notFound(err):
		return r, false, failure
	case err != nil:
		failure.Result, failure.Detail = evidence.TempError, "the DMARC record of "+domain+" could not be asked for: "+why(err)
		return r, false, failure
	}
	r, found, err = dmarc.Parse(txt)
	switch {
	case errors.Is(err, dmarc.ErrSeveral): // as if there were none (RFC 7489, 6.6.3, step 5)
		failure.Result, failure.Detail = evidence.None, domain+": "+err.Error()
	case err != nil:
		failure.Result, failure.Detail = evidence.PermError, domain+": "+err.Error()
	}
	return r, found, failure
}
