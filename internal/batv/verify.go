package batv

import (
	"crypto/subtle"
	"strings"
	"time"

	"backstop/internal/keyring"
	"backstop/internal/mail"
)

// Standing is what a tag proves.
type Standing uint8

const (
	Unasked    Standing = iota
	Untagged            // there is no tag
	Valid               // made with a key of ours, not more than LifetimeDays ago
	Expired             // made with a key of ours, longer ago
	Forged              // has the form of ours, and the digits are wrong for this address
	UnknownKey          // names a key that we do not have, or that is retired
	Foreign             // a form that others use and we do not; it proves nothing here
	standings
)

var standingNames = [standings]string{"not asked", "untagged", "valid", "expired", "forged", "unknown key", "foreign"}

func (s Standing) String() string { return standingNames[s] }

// Scheme names the form of a tag.
type Scheme uint8

const (
	NoScheme  Scheme = iota
	Prvs             // prvs=TAG=user, ours and of the draft
	Cisco            // prvs=user=TAG
	Barracuda        // btv1==TAG==user
	SparkPost        // msprvs1=TAG=user
	Suffix           // user+prvs=TAG (batv-tools, "sub-address")
	schemes
)

var schemeNames = [schemes]string{"", "prvs", "cisco", "barracuda", "sparkpost", "suffix"}

func (s Scheme) String() string { return schemeNames[s] }

const formNone = NoScheme

// Finding is what Verify found.
type Finding struct {
	Standing Standing
	Scheme   Scheme
	Address  mail.Address // without the tag: who the mail is for
	Key      keyring.ID   // that the tag names; of Valid, Expired, Forged and UnknownKey
	Expires  time.Time    // the end of its last day (UTC); of Valid and Expired
}

// Verify judges the tag of a recipient at a moment. Where an address has none, it is in
// the Finding as it came, and nothing is allocated.
func Verify(keys keyring.Ring, recipient mail.Address, now time.Time) Finding {
	quote, inner := cutQuote(recipient.Local())
	if quote != "" {
		inner = inner[:len(inner)-1]
	}
	part, scheme := cutTag(inner)
	if scheme == NoScheme {
		return Finding{Standing: Untagged, Address: recipient}
	}
	domain := recipient.String()[len(recipient.Local()):]
	plain, err := mail.ParseAddress(quote + part.user + quote + domain)
	if err != nil && quote == "" { // behind a tag ".x" needs no quotes, and whoever folds drops them; alone it does
		plain, err = mail.ParseAddress(`"` + part.user + `"` + domain)
	}
	if err != nil { // what is left is nobody's name: then it was none of these forms
		return Finding{Standing: Untagged, Address: recipient}
	}
	f := Finding{Standing: Foreign, Scheme: scheme, Address: plain}
	if scheme != Prvs {
		return f
	}
	f.Key = keyring.ID(part.tag[0] - '0')
	key, ok := keys.Verifier(f.Key, now)
	if !ok {
		f.Standing = UnknownKey
		return f
	}
	if !matches(key, part.tag, plain.Key()) && (plain.Key() == plain.String() || !matches(key, part.tag, plain.String())) {
		f.Standing = Forged
		return f
	}
	ddd := int(part.tag[1]-'0')*100 + int(part.tag[2]-'0')*10 + int(part.tag[3]-'0')
	today := dayOf(now)
	left := (ddd - today%cycle + cycle) % cycle
	f.Standing = Valid
	if left > LifetimeDays {
		f.Standing = Expired
		left -= cycle
	}
	f.Expires = time.Unix(int64(today+left+1)*24*60*60, 0).UTC()
	return f
}

// matches compares the digits of a tag, whatever their case, in constant time.
func matches(key keyring.Key, tag, address string) bool {
	var want, got [tagLen - 4]byte
	digest(want[:], key, []byte(tag[:4]), address)
	for i := range got {
		got[i] = lower(tag[4+i])
	}
	return subtle.ConstantTimeCompare(want[:], got[:]) == 1
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// parted is a local part, without its quotes, that carries a tag.
type parted struct{ tag, user string }

// cutTag finds the tag of a local part without quotes. Ours is looked for first: "prvs=a=b"
// may be read in two ways.
func cutTag(s string) (parted, Scheme) {
	switch {
	case hasPrefix(s, scheme):
		if p, ok := cutPrvs(s[len(scheme):]); ok {
			return p, Prvs
		}
		rest := s[len(scheme):]
		if i := strings.LastIndexByte(rest, '='); i > 0 && len(rest)-i-1 == tagLen && isWord(rest[i+1:]) && isDigits(rest[i+1:i+4]) {
			return parted{rest[i+1:], rest[:i]}, Cisco
		}
	case hasPrefix(s, "btv1=="):
		if tag, user, ok := strings.Cut(s[6:], "=="); ok && len(tag) >= 8 && len(tag) <= 16 && isHex(tag) && user != "" {
			return parted{tag, user}, Barracuda
		}
	case hasPrefix(s, "msprvs1="):
		if tag, user, ok := strings.Cut(s[8:], "="); ok && len(tag) >= 6 && isWord(tag) && user != "" {
			return parted{tag, user}, SparkPost
		}
	}
	const suffix = "+prvs="
	if i := len(s) - len(suffix) - tagLen; i > 0 && hasPrefix(s[i:], suffix) && isTag(s[len(s)-tagLen:]) {
		return parted{s[len(s)-tagLen:], s[:i]}, Suffix
	}
	return parted{}, NoScheme
}

func cutPrvs(s string) (parted, bool) {
	if len(s) < tagLen+2 || s[tagLen] != '=' || !isTag(s[:tagLen]) {
		return parted{}, false
	}
	return parted{s[:tagLen], s[tagLen+1:]}, true
}

// isTag says whether s has the form KDDDSSSSSS.
func isTag(s string) bool { return len(s) == tagLen && isDigits(s[:4]) && isHex(s[4:]) }

func hasPrefix(s, lowerCase string) bool {
	if len(s) < len(lowerCase) {
		return false
	}
	for i := 0; i < len(lowerCase); i++ {
		if lower(s[i]) != lowerCase[i] {
			return false
		}
	}
	return true
}

func isDigits(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

func isHex(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := lower(s[i]); (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// isWord: letters, digits, and the hyphen that some tags have.
func isWord(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := lower(s[i]); (c < '0' || c > '9') && (c < 'a' || c > 'z') && c != '-' {
			return false
		}
	}
	return s != ""
}
