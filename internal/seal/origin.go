package seal

import (
	"strings"
	"time"

	"backstop/internal/keyring"
	"backstop/internal/mail"
)

// Result is what one check of a message found, in the words of RFC 8601, 2.7.
type Result uint8

const (
	None Result = iota // not asked, or nothing to ask
	Pass
	Fail
	SoftFail
	Neutral
	TempError
	PermError
	results
)

var resultNames = [results]string{"none", "pass", "fail", "softfail", "neutral", "temperror", "permerror"}

func (r Result) String() string { return resultNames[r] }

func parseResult(s string) (Result, bool) {
	for r, name := range resultNames {
		if s == name {
			return Result(r), true
		}
	}
	return None, false
}

// Proof is what was found about a message that came in.
type Proof struct {
	SPF   Result // of the envelope sender
	DKIM  Result // the best signature's
	DMARC Result // of the header From
	// Aligned: the header From, for which DMARC passed, is one mailbox, and the very address of the envelope
	// sender. Without it a DMARC pass says nothing of the envelope sender: a stranger's message
	// passes for the stranger's From, and gives anybody as its envelope sender.
	Aligned bool
}

// Proves says whether the envelope sender is who wrote: SPF passed, or DMARC passed for a From that is the sender's.
func (p Proof) Proves() bool { return p.SPF == Pass || p.DMARC == Pass && p.Aligned }

// body is a Proof as it stands in the field, behind version, key and time.
func (p Proof) body() string {
	aligned := "no"
	if p.Aligned {
		aligned = "yes"
	}
	return "; spf=" + p.SPF.String() + "; dkim=" + p.DKIM.String() + ";\r\n dmarc=" + p.DMARC.String() + "; aligned=" + aligned
}

func parseProof(body string) (p Proof, ok bool) {
	parts := strings.Split(body, ";")
	if len(parts) != 4 {
		return Proof{}, false
	}
	for i, to := range []struct {
		name   string
		result *Result
	}{{"spf=", &p.SPF}, {"dkim=", &p.DKIM}, {"dmarc=", &p.DMARC}} {
		value, named := strings.CutPrefix(parts[i], to.name)
		if *to.result, ok = parseResult(value); !named || !ok {
			return Proof{}, false
		}
	}
	p.Aligned = parts[3] == "aligned=yes"
	return p, p.Aligned || parts[3] == "aligned=no"
}

// Origin makes the whole Backstop-Origin field of a message, with its CRLF. sender is the envelope
// sender as it came. There is none for the null sender, to whom no bounce can go, nor where no key signs.
func Origin(keys keyring.Ring, p Proof, sender mail.Address, now time.Time) (field string, ok bool) {
	return build(keys, OriginName, p.body(), sender, now)
}

// VerifyOrigin judges the values of the Backstop-Origin fields of the headers that an outgoing
// bounce returns. sender is whom the bounce goes to. Of several fields, the first valid one
// that proves the sender counts, or else the first valid one. The proof is empty unless the finding is Valid.
func VerifyOrigin(keys keyring.Ring, values []string, sender mail.Address, now time.Time) (Finding, Proof) {
	best, proof := Finding{}, Proof{}
	if len(values) == 0 || len(values) > MaxFields {
		f, _ := judge(keys, OriginName, values, sender, now)
		return f, Proof{}
	}
	for i := range values {
		f, body := judge(keys, OriginName, values[i:i+1], sender, now)
		p, ok := Proof{}, true
		if f.Standing == Valid {
			if p, ok = parseProof(body); !ok {
				f = Finding{Standing: Forged, Key: f.Key}
			}
		}
		if i == 0 || f.Standing == Valid && (best.Standing != Valid || p.Proves() && !proof.Proves()) {
			best, proof = f, p
		}
	}
	if best.Standing != Valid && len(values) > 1 {
		return Finding{Standing: Several}, Proof{}
	}
	return best, proof
}
