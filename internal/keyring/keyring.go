package keyring

import (
	"fmt"
	"slices"
	"time"
)

// IDs is how many numbers there are for keys: 0 to IDs-1, the K of a BATV tag.
const IDs = 10

// ID is the number of a key, one digit.
type ID uint8

func (id ID) String() string { return string(id.Digit()) }

// Digit is the number as it stands in tags and seals, '0' to '9'.
func (id ID) Digit() byte { return '0' + byte(id%IDs) }

// ParseID reads one digit.
func ParseID(s string) (ID, error) {
	if len(s) != 1 || s[0] < '0' || s[0] > '9' {
		return 0, fmt.Errorf("the number of a key is one digit, 0 to 9, not %q", s)
	}
	return ID(s[0] - '0'), nil
}

// Secret is the secret octets of a key. It prints as "(secret)" whatever the verb,
// in JSON and in a log too; []byte(s) is the way to the octets.
type Secret []byte

const hidden = "(secret)"

// Format implements fmt.Formatter.
func (Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(hidden)) }

// MarshalText implements encoding.TextMarshaler, for the encoders of JSON and logs.
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// Key is one secret and the times between which it is used.
type Key struct {
	ID        ID
	Secret    Secret
	Created   time.Time
	SignsFrom time.Time // it signs from the first midnight (UTC) that is not before this; zero: it verifies only
	Retired   time.Time // from here on it neither signs nor verifies; zero: not yet
	Imported  bool      // another signer has it too, and what it signed may be under way
}

// alive says whether the key may be used at all.
func (k *Key) alive(at time.Time) bool { return k.Retired.IsZero() || at.Before(k.Retired) }

// Ring is a set of keys. The zero value has none. It may be used by many goroutines.
type Ring struct {
	keys []Key      // by SignsFrom, those that never sign first
	byID [IDs]uint8 // place in keys, plus one
}

// New makes a ring. Two keys with one number and a key without a secret are errors.
func New(keys ...Key) (Ring, error) {
	r := Ring{keys: slices.Clone(keys)}
	slices.SortStableFunc(r.keys, func(a, b Key) int { return a.SignsFrom.Compare(b.SignsFrom) })
	for i := range r.keys {
		k := &r.keys[i]
		switch {
		case k.ID >= IDs:
			return Ring{}, fmt.Errorf("key %d: the number of a key is one digit, 0 to 9", k.ID)
		case len(k.Secret) == 0:
			return Ring{}, fmt.Errorf("key %v has no secret", k.ID)
		case r.byID[k.ID] != 0:
			return Ring{}, fmt.Errorf("two keys have the number %v: retire one, and give the other a free number", k.ID)
		}
		k.Secret = slices.Clone(k.Secret)
		r.byID[k.ID] = uint8(i + 1)
	}
	return r, nil
}

// midnight is the beginning of the day (UTC).
func midnight(at time.Time) time.Time { return at.UTC().Truncate(24 * time.Hour) }

// Signer is the key that signs at a moment: of those that began to sign by the
// beginning of its day (UTC), the youngest. So it is the same for the whole day, and what is signed
// twice on a day is signed alike. Where no key began so early, which is the
// first day of all, the first one signs as soon as it may.
func (r Ring) Signer(at time.Time) (Key, bool) {
	first := -1
	day := midnight(at)
	for i := len(r.keys) - 1; i >= 0; i-- {
		k := &r.keys[i]
		if k.SignsFrom.IsZero() || !k.alive(at) || k.SignsFrom.After(at) {
			continue
		}
		if !k.SignsFrom.After(day) {
			return *k, true
		}
		first = i
	}
	if first < 0 {
		return Key{}, false
	}
	return r.keys[first], true
}

// Verifier is the key with the number, if there is one that is not retired. A key verifies
// before it signs: another machine may have begun already.
func (r Ring) Verifier(id ID, at time.Time) (Key, bool) {
	if id >= IDs || r.byID[id] == 0 {
		return Key{}, false
	}
	k := &r.keys[r.byID[id]-1]
	if !k.alive(at) {
		return Key{}, false
	}
	return *k, true
}

// Keys are all keys, retired ones too, in the order in which they sign.
func (r Ring) Keys() []Key { return slices.Clone(r.keys) }

// Len is how many keys there are.
func (r Ring) Len() int { return len(r.keys) }

// Secrets are those of the keys that are not retired, the one that signs first,
// for forms that do not name their key (SRS).
func (r Ring) Secrets(at time.Time) [][]byte {
	signer, signs := r.Signer(at)
	var all [][]byte
	if signs {
		all = append(all, signer.Secret)
	}
	for i := len(r.keys) - 1; i >= 0; i-- {
		if k := &r.keys[i]; k.alive(at) && !(signs && k.ID == signer.ID) {
			all = append(all, k.Secret)
		}
	}
	return all
}

// Needed says until when the key must verify, so that whatever it signed can still be
// proven for the lifetime of what it signed. The zero time: it is needed for as
// long as it signs, and no other key takes over from it.
func (r Ring) Needed(id ID, lifetime time.Duration) time.Time {
	if id >= IDs || r.byID[id] == 0 {
		return time.Time{}
	}
	k := &r.keys[r.byID[id]-1]
	if k.SignsFrom.IsZero() { // somebody else signs, or signed, with it: nobody here knows since when
		return k.Created.Add(lifetime)
	}
	for i := int(r.byID[id]); i < len(r.keys); i++ {
		next := &r.keys[i]
		if !next.alive(next.SignsFrom.Add(24 * time.Hour)) {
			continue // never took over
		}
		over := midnight(next.SignsFrom)
		if over.Before(next.SignsFrom) {
			over = over.Add(24 * time.Hour)
		}
		return over.Add(lifetime)
	}
	return time.Time{}
}
