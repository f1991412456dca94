package dkim

import (
	"bytes"
	"crypto"
	"time"

	"backstop/internal/evidence"
)

// VerifyReturned checks our own signatures over a header that came back in a bounce. There is no body, so its hash is
// taken on trust: it stands in the field that is signed. Line ends may have lost their CR, and with the canonicalisation
// "relaxed", which NewSigning uses, fields may have been folded anew. x= is not held against
// a signature, since a bounce may come late.
//
// keys gives our public key of a domain and selector, both folded, and nil where we have none; such signatures are
// passed over. ok says that one verifies, and it is returned; otherwise the first of ours that does
// not, or one with the result None.
func VerifyReturned(b []byte, keys func(domain, selector string) crypto.PublicKey, now time.Time) (found evidence.Signature, ok bool) {
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
		s.judgeReturned(h, public, now)
		if s.Result == evidence.Pass {
			return s.Signature, true
		}
		if found.Result == evidence.None {
			found = s.Signature
		}
	}
	return found, false
}

func (s *signature) judgeReturned(h *header, public crypto.PublicKey, now time.Time) {
	s.timely(now)
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
