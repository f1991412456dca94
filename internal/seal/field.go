package seal

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	"backstop/internal/keyring"
	"backstop/internal/mail"
)

// Names of the header fields.
const (
	SealName   = "Backstop-Seal"
	OriginName = "Backstop-Origin"
)

const (
	// Lifetime is for how long after it was made a field proves anything: mail is tried for
	// up to five days almost everywhere (RFC 5321, 4.5.4.1), and a bounce may itself wait as long.
	Lifetime = 10 * 24 * time.Hour
	// Ahead is by how much the clock of the machine that made a field may be ahead.
	Ahead = 10 * time.Minute
	// MaxFields is how many fields of one name are looked at.
	MaxFields = 8

	maxValue = 256 // octets of a value without its white space; ours have less than 130
	hashLen  = 32  // hex digits
)

// Standing is what the fields of one name prove.
type Standing uint8

const (
	Unasked        Standing = iota
	Absent                  // there is none
	Valid                   // made by us for this sender, and in time
	Expired                 // made by us for this sender, longer ago than Lifetime (or further ahead than Ahead)
	Forged                  // altered, made up, or another sender's
	UnknownKey              // names a key that we do not have, or that is retired
	UnknownVersion          // made by a version of Backstop that this one does not know
	Several                 // there are several, and none is valid; or more than MaxFields
	standings
)

var standingNames = [standings]string{"not asked", "absent", "valid", "expired", "forged", "unknown key", "unknown version", "several"}

func (s Standing) String() string { return standingNames[s] }

// Finding is what was found of one field.
type Finding struct {
	Standing Standing
	Key      keyring.ID // that the field names; of Valid, Expired, Forged and UnknownKey
	Made     time.Time  // of Valid and Expired
	Expires  time.Time  // of Valid and Expired
}

// VerifySeal judges the values of the Backstop-Seal fields of returned headers. sender is whom the
// bounce goes to, without tag. One valid field is enough, whatever stands beside it: a
// second Backstop on the way adds its own, and nobody gains anything by adding a wrong one.
func VerifySeal(keys keyring.Ring, values []string, sender mail.Address, now time.Time) Finding {
	f, _ := judge(keys, SealName, values, sender, now)
	return f
}

// Seal makes the whole Backstop-Seal field of a message, with its CRLF. sender is the envelope
// sender without tag. There is none for the null sender, whose mail is not answered, nor
// where no key signs.
func Seal(keys keyring.Ring, sender mail.Address, now time.Time) (field string, ok bool) {
	return build(keys, SealName, "", sender, now)
}

// build makes a field; body is what it says beside version, key and time, each part with its "; " before it.
func build(keys keyring.Ring, name, body string, sender mail.Address, now time.Time) (string, bool) {
	key, ok := keys.Signer(now)
	if !ok || sender.IsZero() || now.Unix() <= 0 {
		return "", false
	}
	said := "v=1; k=" + key.ID.String() + "; t=" + strconv.FormatInt(now.Unix(), 10) + body
	var flat [maxValue]byte
	n, _ := flatten(&flat, said+"; ")
	var h [hashLen]byte
	digest(h[:], key, name, flat[:n], sender)
	return name + ": " + said + "; h=" + string(h[:]) + "\r\n", true
}

// digest writes the keyed hash. No part can hold a line feed, so the parts cannot be mistaken for one another.
func digest(dst []byte, key keyring.Key, name string, said []byte, sender mail.Address) {
	h := hmac.New(sha256.New, key.Secret)
	h.Write([]byte(name))
	h.Write([]byte{'\n'})
	h.Write(said)
	h.Write([]byte{'\n'})
	h.Write([]byte(sender.Key()))
	var sum [sha256.Size]byte
	hex.Encode(dst, h.Sum(sum[:0])[:hashLen/2])
}

// flatten copies a value without white space and in lower case. What is not printable
// ASCII, and what is too long, is none of ours.
func flatten(dst *[maxValue]byte, value string) (n int, ok bool) {
	for i := 0; i < len(value); i++ {
		c := value[i]
		switch {
		case c == ' ' || c == '\t' || c == '\r' || c == '\n':
			continue
		case c < ' ' || c >= 0x7f || n == maxValue:
			return 0, false
		case 'A' <= c && c <= 'Z':
			c += 'a' - 'A'
		}
		dst[n] = c
		n++
	}
	return n, true
}

// judge looks at all values. It returns the first valid one's finding, and what that field
// says beside version, key and time.
func judge(keys keyring.Ring, name string, values []string, sender mail.Address, now time.Time) (Finding, string) {
	switch {
	case len(values) == 0:
		return Finding{Standing: Absent}, ""
	case len(values) > MaxFields:
		return Finding{Standing: Several}, ""
	}
	var f Finding
	var body string
	for _, v := range values {
		if f, body = judgeOne(keys, name, v, sender, now); f.Standing == Valid {
			return f, body
		}
	}
	if len(values) > 1 {
		return Finding{Standing: Several}, ""
	}
	return f, body
}

func judgeOne(keys keyring.Ring, name, value string, sender mail.Address, now time.Time) (f Finding, body string) {
	f.Standing = Forged
	var flat [maxValue]byte
	n, ok := flatten(&flat, value)
	version, said, ok2 := strings.Cut(string(flat[:n]), ";")
	if !ok || !ok2 || !strings.HasPrefix(version, "v=") {
		return f, ""
	}
	if version != "v=1" {
		if isDigits(version[2:], 4) {
			f.Standing = UnknownVersion
		}
		return f, ""
	}
	// said is now k=K;t=T;BODY;h=H
	k, rest, _ := strings.Cut(said, ";")
	t, _, _ := strings.Cut(rest, ";")
	i := len(said) - hashLen - len(";h=")
	id, err := keyring.ParseID(strings.TrimPrefix(k, "k="))
	if err != nil || len(k) != len("k=0") || i < len(k)+1+len(t) || said[i:i+3] != ";h=" || !strings.HasPrefix(t, "t=") || !isDigits(t[2:], 12) {
		return f, ""
	}
	f.Key = id
	key, ok := keys.Verifier(id, now)
	if !ok {
		f.Standing = UnknownKey
		return f, ""
	}
	var want [hashLen]byte
	head := len(version) + 1 + i + 1 // everything before "h="
	digest(want[:], key, name, flat[:head], sender)
	if subtle.ConstantTimeCompare(want[:], []byte(said[i+3:])) != 1 {
		return f, ""
	}
	seconds, err := strconv.ParseInt(t[2:], 10, 64)
	if err != nil {
		return f, ""
	}
	f.Made = time.Unix(seconds, 0).UTC()
	f.Expires = f.Made.Add(Lifetime)
	f.Standing = Valid
	if !now.Before(f.Expires) || f.Made.After(now.Add(Ahead)) {
		f.Standing = Expired
	}
	return f, strings.TrimPrefix(said[len(k)+1+len(t):i], ";")
}

func isDigits(s string, most int) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != "" && len(s) <= most
}

// Values finds the values of all fields of a name in a header, whatever the case of the name, the white space
// before its colon, the folding and the line ends. It stops at an empty line, and returns
// no more than MaxFields+1 of them, so that too many can be told; one that is too long to be ours is cut.
func Values(header []byte, name string) []string {
	const enough = 4 * maxValue
	var all []string
	in := false // within a field of that name
	for len(header) > 0 {
		var line []byte
		line, header, _ = bytes.Cut(header, []byte{'\n'})
		line = bytes.TrimRight(line, "\r")
		if len(line) == 0 {
			break
		}
		if line[0] == ' ' || line[0] == '\t' {
			if in && len(all[len(all)-1]) < enough {
				all[len(all)-1] += string(line[:min(len(line), enough)])
			}
			continue
		}
		head, value, found := bytes.Cut(line, []byte{':'})
		head = bytes.TrimRight(head, " \t")
		in = found && len(head) == len(name) && strings.EqualFold(string(head), name)
		if !in {
			continue
		}
		if len(all) > MaxFields {
			break
		}
		all = append(all, string(value[:min(len(value), enough)]))
	}
	return all
}
