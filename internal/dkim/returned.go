package dkim

import (
	"crypto"
	"time"

	"backstop/internal/evidence"
)

// maxReturned is how many octets of a returned header are looked at. Ours stand at its top, and a message
// whose header is longer does not pass here.
const maxReturned = 256 << 10

// VerifyReturned checks our own signatures over a header that came back in a bounce. There is no body, so its hash is
// taken on trust: it stands in the field that is signed. Line ends may have lost their CR, and with the canonicalisation
// "relaxed", which NewSigning uses, fields may have been folded anew.
//
// A signature counts for maxAge after it was made, and not without t=, which NewSigning always writes: signed headers lie in
// public archives for ever, and each of them would prove any number of made-up bounces to who wrote it. x=
// is not held against one, since a bounce may come late.
//
// keys gives our public key of a domain and selector, both folded, and nil where we have none; such signatures are
// passed over, and so is what stands beyond 256 KB. ok says that one verifies, and it is returned; otherwise the first of ours that does
// not, or one with the result None.
func VerifyReturned(b []byte, keys func(domain, selector string) crypto.PublicKey, maxAge time.Duration, now time.Time) (found evidence.Signature, ok bool) {
	b = wholeLines(b[:min(len(b), maxReturned)])
	var ours []*signature
	var publics []crypto.PublicKey
	var names []string
	read := 0
	for f := range fields(b) {
		if !f.is(fieldName) {
			continue
		}
		if read++; read > maxRead || len(ours) == MaxSignatures {
			break
		}
		s := parseSignature(f)
		public := keys(s.Domain, s.Selector)
		if public == nil {
			continue
		}
		if s.recent(maxAge, now); s.Result == evidence.NotChecked {
			names = append(names, s.headers)
		}
		ours, publics = append(ours, s), append(publics, public)
	}
	if len(ours) == 0 {
		return evidence.Signature{Result: evidence.None, Detail: "no signature of ours"}, false
	}
	var x *index
	if len(names) > 0 {
		x = newIndex(b, names...)
	}
	for i, s := range ours {
		if s.judgeReturned(x, publics[i]); s.Result == evidence.Pass {
			return s.Signature, true
		}
	}
	return ours[0].Signature, false
}

// judgeReturned judges a signature that is recent.
func (s *signature) judgeReturned(x *index, public crypto.PublicKey) {
	if s.Result != evidence.NotChecked {
		return
	}
	if err := usable(public); err != nil {
		s.malformed("our key: %v", err)
		return
	}
	s.digestHeader(x)
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
