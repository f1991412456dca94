package record

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strings"

	"backstop/internal/mail"
)

const (
	// MaxIDs is how many Message-IDs one question may name.
	MaxIDs = 20
	// MaxID is the longest Message-ID that is compared, in octets: a line's worth (RFC 5322, 2.1.1).
	MaxID = 998
)

// IDs takes the Message-IDs out of the values of fields (Message-ID, In-Reply-To, References;
// RFC 5322, 3.6.4), best field first. At most MaxIDs are taken, each once; of a field with more than there is
// room for, the last: References names the oldest first. A value without angle brackets is one Message-ID.
func IDs(values ...string) []string {
	var all []string
	for _, v := range values {
		var of []string
		for rest := v; rest != ""; {
			var id string
			var ok bool
			if id, rest, ok = next(rest); ok {
				of = append(of, id)
			}
			if len(of) > MaxIDs {
				of = slices.Delete(of, 0, 1)
			}
		}
		for _, id := range of[max(0, len(of)-(MaxIDs-len(all))):] {
			if !slices.Contains(all, id) {
				all = append(all, id)
			}
		}
	}
	return all
}

// next takes the first Message-ID off a value. Where it has no angle brackets, all of it is one.
func next(s string) (id, rest string, ok bool) {
	_, in, found := strings.Cut(s, "<")
	if !found {
		in = s
	}
	id, rest, _ = strings.Cut(in, ">")
	if i := strings.LastIndexByte(id, '<'); i >= 0 {
		id = id[i+1:] // opened twice: the inner pair
	}
	if !strings.Contains(rest, "<") {
		rest = "" // words behind the last
	}
	id = squeeze(id)
	return id, rest, id != "" && len(id) <= MaxID
}

// clean is the Message-ID as it is compared: what stands between the first pair of angle
// brackets, case kept. False: there is none, or it is too long.
func clean(s string) (string, bool) {
	id, _, ok := next(s)
	return id, ok
}

// squeeze takes white space out: servers fold a long one where they like.
func squeeze(s string) string {
	if !strings.ContainsAny(s, " \t\r\n") {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := range len(s) { // octets: what is no UTF-8 must not become alike
		if strings.IndexByte(" \t\r\n", s[i]) < 0 {
			b = append(b, s[i])
		}
	}
	return string(b)
}

// keyOf is what is kept of a message. Lengths keep the parts apart.
func keyOf(k Kind, id string, a mail.Address) (key [16]byte) {
	addr := a.Key()
	var room [512]byte
	b := append(room[:0], byte(k))
	b = binary.BigEndian.AppendUint16(b, uint16(len(id)))
	b = append(b, id...)
	b = append(b, addr...)
	sum := sha256.Sum256(b)
	copy(key[:], sum[:])
	return key
}
