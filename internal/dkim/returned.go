package dkim

import (
	"bytes"
	"crypto"
	"time"

	"backstop/internal/evidence"
)

// VerifyReturned checks our own signatures over a header that came back in a bounce. There is no body, so its hash is
// taken on trust: it stands in the field that is signed. Line ends may have lost their CR, and with the canonicalisation
// "relaxed", which NewSigning uses, fields may have been folded anew.
//
// A signature counts for maxAge after it was made, and not without t=, which NewSigning always writes: signed headers lie in
// public archives for ever, and each of them would prove any number of made-up bounces to who wrote it. x=
// is not held against one, since a bounce may come late.
//
// keys gives our public key of a domain and selector, both folded, and nil where we have none; such signatures are
// passed over. ok says that one verifies, and it is returned; otherwise the first of ours that does
// not, or one with the result None.
func VerifyReturned(b []byte, keys func(domain, selector string) crypto.PublicKey, maxAge time.Duration, now time.Time) (found evidence.Signature, ok bool) {
	found = evidence.Signature{Result: evidence.None, Detail: "no signature of ours"}
	h := parseHeader(b)
	tried := 0
	for i := range h.fields {
		f := &h.fields[i]
		if len(f.name) != len(fieldName) || !bytes.EqualFold(f.name, []byte(fieldName)) {
			continue
		}
		s := parseSignature(f)
		public := keys(s.Domain, s.Selector)
		if public == nil {
			continue
		}
		if tried++; tried > MaxSignatures {
			break
		}
		s.judgeReturned(h, public, maxAge, now)
		if s.Result == evidence.Pass {
			return s.Signature, true
		}
		if found.Result == evidence.None {
			found = s.Signature
		}
	}
	return found, false
}

func (s *signature) judgeReturned(h *header, public crypto.PublicKey, maxAge time.Duration, now time.Time) {
	s.recent(maxAge, now)
	if s.Result != evidence.NotChecked {
		return
	}
	if err := usable(public); err != nil {
		s.malformed("our key: %v", err)
		return
	}
	s.digestHeader(h)
	if signed(public, s.algorithm, &s.digest, s.b) {
		s.decide(evidence.Pass, "")
		return
	}
	s.decide(evidence.Fail, "the signed header is not the one that we signed: b= does not verify")
}

// recent says whether t= lets a signature of ours count now. Our own clocks are not hours ahead, as those of strangers may be.
func (s *signature) recent(maxAge time.Duration, now time.Time) {
	const day = 24 * 60 * 60
	switch age := now.Unix() - s.at; {
	case s.at == 0:
		s.decide(evidence.Fail, "it does not say when it was made (t=)")
	case s.at > now.Add(late).Unix():
		s.decide(evidence.Fail, "made in the future: t=%d", s.at)
	case age > int64(maxAge/time.Second):
		s.decide(evidence.Fail, "signed %d days ago, and counts for %d", age/day, int64(maxAge/time.Second)/day)
	}
}
