package batv

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/hex"
	"strings"
	"time"

	"backstop/internal/keyring"
	"backstop/internal/mail"
)

// LifetimeDays is for how many days a tag is good after the day on which it was made.
const LifetimeDays = 7

// Lifetime is the longest that a tag can be good: the rest of the day counts.
const Lifetime = (LifetimeDays + 1) * 24 * time.Hour

const (
	scheme   = "prvs="
	tagLen   = 10                       // KDDDSSSSSS
	overhead = len(scheme) + tagLen + 1 // what a tag adds
	longest  = mail.MaxLocalPart - overhead
	cycle    = 1000 // days, after which DDD begins anew
)

// Signing is what Sign did with an address.
type Signing uint8

const (
	NotAsked      Signing = iota
	Signed                // it has a tag now
	NullSender            // there is no sender: <> takes no tag
	AlreadyTagged         // it has a tag, ours or another's; a second one would hide it
	Rewritten             // it is an SRS address, which has a proof of its own
	TooLong               // there is no room for a tag (Taggable)
	NoDomain              // a local part alone, which is nobody's address elsewhere
	NoKey                 // no key signs at this moment
	signings
)

var signingNames = [signings]string{"not asked", "signed", "null sender", "already tagged", "srs address", "too long", "no domain", "no key"}

func (s Signing) String() string { return signingNames[s] }

// Taggable says whether the address has room for a tag: no more than 48 octets of local
// part, with the quotes. A bounce to one that has not cannot be proven by tag.
func Taggable(a mail.Address) bool {
	return !a.IsZero() && a.Domain() != "" && len(a.Local()) <= longest
}

// Sign puts a tag on an envelope sender. Whatever it says, the address returned is the one to use.
//
// firstTry is when the message was tried for the first time: a tag is the same for the whole
// day (UTC), and one that must not change between tries (greylisting
// would begin anew) is signed for the day of the first, with the key of that day. A ring from which
// retired keys are left out does not sign with one that has leaked since.
func Sign(keys keyring.Ring, sender mail.Address, firstTry time.Time) (mail.Address, Signing) {
	switch local := sender.Local(); {
	case sender.IsZero():
		return sender, NullSender
	case sender.Domain() == "":
		return sender, NoDomain
	case isSRS(local):
		return sender, Rewritten
	case looksTagged(local):
		return sender, AlreadyTagged
	case !Taggable(sender):
		return sender, TooLong
	}
	key, ok := keys.Signer(firstTry)
	if !ok {
		return sender, NoKey
	}
	var tag [tagLen]byte
	expires := (dayOf(firstTry) + LifetimeDays) % cycle
	tag[0] = key.ID.Digit()
	tag[1], tag[2], tag[3] = '0'+byte(expires/100), '0'+byte(expires/10%10), '0'+byte(expires%10)
	digest(tag[4:], key, tag[:4], sender.Key())

	quote, rest := cutQuote(sender.String())
	tagged, err := mail.ParseAddress(quote + scheme + string(tag[:]) + "=" + rest)
	if err != nil { // only an address that ParseAddress itself would not have
		return sender, TooLong
	}
	return tagged, Signed
}

// digest writes the six digits for an address.
func digest(dst []byte, key keyring.Key, head []byte, address string) {
	h := hmac.New(sha1.New, key.Secret)
	h.Write(head)
	h.Write([]byte(address))
	var sum [sha1.Size]byte
	hex.Encode(dst, h.Sum(sum[:0])[:3])
}

// dayOf counts days since 1970 (UTC).
func dayOf(t time.Time) int {
	const day = 24 * 60 * 60
	s := t.Unix()
	if s < 0 {
		return 0 // no clock of a mail server stands there
	}
	return int(s / day)
}

// cutQuote parts the opening quote of a quoted local part from the rest.
func cutQuote(local string) (quote, rest string) {
	if local != "" && local[0] == '"' {
		return local[:1], local[1:]
	}
	return "", local
}

// isSRS says whether a local part has the form of an SRS address, of whomever.
func isSRS(local string) bool {
	_, s := cutQuote(local)
	return len(s) > 5 && hasPrefix(s, "srs") && (s[3] == '0' || s[3] == '1') && strings.IndexByte("=+-", s[4]) >= 0
}

// looksTagged says whether a local part carries a tag of any known form.
func looksTagged(local string) bool {
	quote, rest := cutQuote(local)
	if quote != "" {
		rest = rest[:len(rest)-1]
	}
	_, form := cutTag(rest)
	return form != formNone
}
