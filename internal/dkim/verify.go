package dkim

import (
	"bytes"
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"backstop/internal/evidence"
)

// MaxSignatures is how many signatures of a message are checked.
const MaxSignatures = 8

// maxRead is how many are looked at, from the top, to choose those that are checked.
const maxRead = 1000

// maxRecords is how many key records of one name are tried; there should be one (RFC 6376, 3.6.2.2).
const maxRecords = 4

// KeyLookup asks for the TXT records of SELECTOR._domainkey.DOMAIN, the strings of each joined. A
// *net.DNSError with IsNotFound says that there is no key; any other error is a temporary one.
type KeyLookup func(ctx context.Context, domain, selector string) (records []string, err error)

// Verifier checks the signatures of one message. It starts nothing and needs no closing.
type Verifier struct {
	sigs    []*signature // those that are checked, in the order of the header
	asked   []*signature // the same, those first that say most of the header From
	skipped int
	bodies  [2]canonicaliser // simple, relaxed
}

// NewVerifier reads the signatures of a header: all fields with their CRLF; an empty line ends it. There is no
// error, since what cannot be read becomes a result. The header is not kept.
//
// Of more than MaxSignatures those are checked whose d= is the domain of the header From, then those of a domain above or
// below that, then the others; each from the top down, and malformed ones last.
func NewVerifier(b []byte) *Verifier {
	v := &Verifier{}
	v.bodies[1].relaxed = true
	b = wholeLines(b)
	var authors []string
	for f := range fields(b) {
		switch {
		case f.is("from"):
			authors = appendDomains(authors, f.raw)
		case !f.is(fieldName):
		case len(v.sigs) == maxRead:
			v.skipped++
		default:
			v.sigs = append(v.sigs, parseSignature(f))
		}
	}
	if len(v.sigs) == 0 {
		return v
	}
	v.choose(authors)
	var names []string
	for _, s := range v.sigs {
		if s.Result == evidence.NotChecked {
			names = append(names, s.headers)
		}
	}
	x := newIndex(b, names...)
	for _, s := range v.sigs {
		if s.Result == evidence.NotChecked {
			s.digestHeader(x)
			c := &v.bodies[0]
			if s.relaxed[ofBody] {
				c = &v.bodies[1]
			}
			s.body = c.sum(s.limit)
		}
		s.raw, s.headers = nil, ""
	}
	return v
}

// choose leaves those signatures that are checked.
func (v *Verifier) choose(authors []string) {
	v.asked = slices.Clone(v.sigs)
	slices.SortStableFunc(v.asked, func(a, b *signature) int { return a.rank(authors) - b.rank(authors) })
	if len(v.asked) <= MaxSignatures {
		return
	}
	v.skipped += len(v.asked) - MaxSignatures
	v.asked = slices.Clone(v.asked[:MaxSignatures])
	v.sigs = slices.DeleteFunc(v.sigs, func(s *signature) bool { return !slices.Contains(v.asked, s) })
}

// rank is how little a signature can say of the authors' domains.
func (s *signature) rank(authors []string) int {
	if s.Result != evidence.NotChecked {
		return 3
	}
	best := 2
	for _, a := range authors {
		switch {
		case a == s.Domain:
			return 0
		case within(a, s.Domain), within(s.Domain, a):
			best = 1
		}
	}
	return best
}

// maxAts is how many "@" of a From field are looked behind.
const maxAts = 100

// appendDomains adds what stands behind each "@" of a field, as far as it is a domain, up to eight. It only
// serves to choose among many signatures: whose From it is says DMARC.
func appendDomains(all []string, field []byte) []string {
	rest := field
	for range maxAts {
		if len(all) == 8 {
			break
		}
		_, after, found := bytes.Cut(rest, []byte{'@'})
		if !found {
			break
		}
		rest = after
		name := after[:min(len(after), maxName)] // nobody looks for its end in megabytes, "@" for "@"
		if end := bytes.IndexAny(name, "@<>,;:()\" \t\r\n"); end >= 0 {
			name = name[:end]
		}
		if d, err := foldName(string(name)); err == nil {
			all = append(all, d)
		}
	}
	return all
}

// Signed says whether a signature wants the body. If not, Write has nothing to do.
func (v *Verifier) Signed() bool {
	return slices.ContainsFunc(v.sigs, func(s *signature) bool { return s.body != nil })
}

// Skipped is how many signatures are not checked, being more than MaxSignatures.
func (v *Verifier) Skipped() int { return v.skipped }

var errEnded = errors.New("the body has ended, since its signatures were judged")

// Write takes the next octets of the body, which begins behind the empty line. Its line ends are CRLF:
// another CR or LF is an octet like any other. It fails only after Verify.
func (v *Verifier) Write(p []byte) (int, error) {
	for i := range v.bodies {
		if v.bodies[i].ended {
			return 0, errEnded
		}
		v.bodies[i].write(p)
	}
	return len(p), nil
}

// Verify ends the body and judges the signatures that are checked, in the order of the header. It asks for each
// key once, one after the other, and only where the body's hash is right. Results are those of RFC 8601, 2.7.1:
//
//   - Pass: all of it verifies, and nothing of the body is left unsigned.
//   - Fail: the body or the header is not what was signed, or the time is not (t=, x=).
//   - Neutral: an algorithm, canonicalisation or query that is not known; the signature verifies and l= leaves a
//     part of the body unsigned, which anybody may have added (RFC 6376, 8.2); or the key is in test mode (t=y), so that
//     the message is to be treated as if it were not signed (RFC 6376, 3.6.1).
//   - PermError: signature or key are malformed, too weak (RFC 8301), revoked, of something else, or there is no key.
//   - TempError: the key could not be asked for.
func (v *Verifier) Verify(ctx context.Context, lookup KeyLookup, now time.Time) []evidence.Signature {
	for i := range v.bodies {
		v.bodies[i].end()
	}
	keys := keyring{ctx: ctx, lookup: lookup}
	judged := make(map[*signature]evidence.Signature, len(v.asked))
	for _, s := range v.asked {
		once := *s
		once.judge(&keys, now)
		judged[s] = once.Signature
	}
	results := make([]evidence.Signature, len(v.sigs))
	for i, s := range v.sigs {
		results[i] = judged[s]
	}
	return results
}

func (s *signature) judge(keys *keyring, now time.Time) {
	s.timely(now)
	s.unexpired(now)
	if s.Result != evidence.NotChecked {
		return
	}
	switch {
	case s.limit > s.body.total:
		s.decide(evidence.Fail, "the body has %d octets, and l= says %d", s.body.total, s.limit)
	case !bytes.Equal(s.bh, s.body.sum[:]):
		s.decide(evidence.Fail, "the body was changed: its hash is not bh=")
	default:
		s.judgeKeys(keys.get(s.Domain, s.Selector))
	}
}

// judgeKeys tries the records that were found; one that made the signature is enough.
func (s *signature) judgeKeys(records []string, err error) {
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns) && dns.IsNotFound, err == nil && len(records) == 0:
		s.malformed("no key: %s%s%s has no TXT record", s.Selector, between, s.Domain)
	case err != nil:
		s.decide(evidence.TempError, "the key could not be asked for%s", because(err))
	}
	wrong := false
	var unfit error
	for _, txt := range records[:min(len(records), maxRecords)] {
		r, err := parseRecord(txt, s.algorithm)
		if err == nil && r.exact && s.identity != s.Domain {
			err = errors.New("i= is below d=, which the key forbids (t=s)")
		}
		switch {
		case err != nil && unfit == nil:
			unfit = err
		case err != nil:
		case signed(r.public, s.algorithm, &s.digest, s.b):
			s.passed(r.test)
		case r.test:
			s.decide(evidence.Neutral, "b= does not verify, and"+inTest)
		default:
			wrong = true
		}
	}
	if wrong {
		s.decide(evidence.Fail, "the signed header was changed, or the key is another: b= does not verify")
	} else if unfit != nil {
		s.malformed("%v", unfit)
	}
}

// because gives the reason of an error of the DNS, for a header field that everybody reads: without the server's
// address, which is in its whole text.
func because(err error) string {
	var dns *net.DNSError
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return " in time"
	case errors.As(err, &dns):
		return ": " + strings.Map(func(r rune) rune {
			if r == utf8.RuneError || !unicode.IsPrint(r) {
				return '?'
			}
			return r
		}, dns.Err[:min(len(dns.Err), 200)])
	}
	return ""
}

// inTest is why a key counts for nothing. RFC 8601, 2.7.1 has neutral for what no other word fits, and none for
// messages without a signature.
const inTest = " the key is in test mode (t=y), as if nothing were signed (RFC 6376, 3.6.1)"

// passed decides for a signature that verifies.
func (s *signature) passed(test bool) {
	switch beyond := s.body.total - s.limit; {
	case s.limit != whole && beyond > 0:
		s.decide(evidence.Neutral, "verifies, but l= leaves the last %d octets of the body unsigned (RFC 6376, 8.2)", beyond)
	case test:
		s.decide(evidence.Neutral, "verifies, but"+inTest)
	default:
		s.decide(evidence.Pass, "")
	}
}

// keyring asks for each key once.
type keyring struct {
	ctx    context.Context
	lookup KeyLookup
	had    []answer
}

type answer struct {
	domain, selector string
	records          []string
	err              error
}

func (k *keyring) get(domain, selector string) ([]string, error) {
	for _, a := range k.had {
		if a.domain == domain && a.selector == selector {
			return a.records, a.err
		}
	}
	a := answer{domain: domain, selector: selector, err: k.ctx.Err()}
	if a.err == nil {
		a.records, a.err = k.lookup(k.ctx, domain, selector)
	}
	k.had = append(k.had, a)
	return a.records, a.err
}
