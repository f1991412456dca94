package keyfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"backstop/internal/keyring"
	"backstop/internal/safefile"
)

// firstID is the number of the first key: 0 is left to signers that know no numbers.
const firstID keyring.ID = 1

// New makes a key, which signs from the next midnight (UTC); where none signs yet, at once.
func (f *File) New(now time.Time) (made keyring.Key, err error) {
	err = f.change(now, func(keys []keyring.Key) ([]keyring.Key, error) {
		keys, made, err = newKey(keys, now)
		return keys, err
	})
	return made, err
}

// Import takes over the secret of another signer under the number that it uses there. It signs as one of New
// does, unless it is to verify only. The same secret under the same number comes back from retirement.
func (f *File) Import(id keyring.ID, secret []byte, verifyOnly bool, now time.Time) (made keyring.Key, err error) {
	if len(secret) == 0 || len(secret) > MaxSecret {
		return made, hint("name the file that holds the other signer's secret and nothing else", "a secret has 1 to %d octets, not %d", MaxSecret, len(secret))
	}
	if len(secret) < MinSigns && !verifyOnly {
		return made, hint("import it with --verify-only, so that what the other signer made is known, and sign with a key of `backstop keys new`",
			"a secret of %s does not sign here, for who sees a tag of it can try all that are so short: it has %d at least", octets(len(secret)), MinSigns)
	}
	err = f.change(now, func(keys []keyring.Key) ([]keyring.Key, error) {
		if at := slices.IndexFunc(keys, func(k keyring.Key) bool { return k.ID == id }); at >= 0 {
			k := &keys[at]
			switch {
			case k.Retired.IsZero() && string(k.Secret) == string(secret):
				return nil, hint("`backstop keys list` shows it", "key %v has this very secret already", id)
			case k.Retired.IsZero():
				return nil, hint("`backstop keys list` shows the keys; the other signer may be able to use another number", "number %v is taken by another key", id)
			case now.Before(k.Retired.Add(Lifetime)) && string(k.Secret) != string(secret):
				return nil, hint("the other signer may be able to use another number", "number %v was another key's, and is free again from %s", id, when(k.Retired.Add(Lifetime)))
			}
			keys = slices.Delete(keys, at, at+1)
		}
		made = keyring.Key{ID: id, Secret: secret, Created: second(now), Imported: true}
		if !verifyOnly {
			made.SignsFrom = signsFrom(keys, now)
		}
		return append(keys, made), nil
	})
	return made, err
}

// Retire takes a key out of use: from now on it neither signs nor verifies. One that is still needed is a
// NeededError, unless force is given, as for a key that has leaked; if that one signs and there is no other to do it, the next
// one begins at once, and where there is none one is made.
func (f *File) Retire(id keyring.ID, now time.Time, force bool) error {
	return f.change(now, func(keys []keyring.Key) ([]keyring.Key, error) {
		at := slices.IndexFunc(keys, func(k keyring.Key) bool { return k.ID == id })
		if at < 0 {
			return nil, hint("`backstop keys list` shows the keys", "there is no key %v", id)
		}
		k := &keys[at]
		if !k.Retired.IsZero() && !now.Before(k.Retired) {
			return nil, hint("there is nothing to do", "key %v was retired at %s", id, when(k.Retired))
		}
		ring, err := keyring.New(living(keys, now)...)
		if err != nil {
			return nil, err
		}
		if until, needed := NeededUntil(ring, *k, now); !force && needed && (until.IsZero() || now.Before(until)) {
			return nil, &NeededError{ID: id, Until: until}
		}
		signer, signs := ring.Signer(now)
		k.Retired = second(now)
		if signs && signer.ID == id {
			return succeed(keys, now)
		}
		return keys, nil
	})
}

// NeededUntil says whether a key of the ring may have signed anything, and until when that can be under way; the zero
// time: it signs on, and nobody takes over.
func NeededUntil(ring keyring.Ring, k keyring.Key, now time.Time) (until time.Time, needed bool) {
	if !k.SignsFrom.After(now) {
		return ring.Needed(k.ID, Lifetime), true
	}
	return k.Created.Add(Lifetime), k.Imported // where it comes from it has signed already
}

// succeed sees to it that a key signs, now that the one that did is retired.
func succeed(keys []keyring.Key, now time.Time) ([]keyring.Key, error) {
	ring, err := keyring.New(living(keys, now)...)
	if err != nil {
		return nil, err
	}
	if _, ok := ring.Signer(now); ok {
		return keys, nil
	}
	today := now.UTC().Truncate(24 * time.Hour) // and not now: what was tried first this morning is signed anew as well
	for _, next := range ring.Keys() {          // in the order in which they sign
		if next.SignsFrom.IsZero() {
			continue
		}
		at := slices.IndexFunc(keys, func(k keyring.Key) bool { return k.ID == next.ID })
		keys[at].SignsFrom = today
		return keys, nil
	}
	keys, _, err = newKey(keys, now)
	if err == nil {
		keys[len(keys)-1].SignsFrom = today
	}
	return keys, err
}

// Ensure makes a key that signs at once, if there is none that does or will.
func (f *File) Ensure(now time.Time) (made bool, err error) {
	if f.memory != nil {
		return false, nil
	}
	err = f.change(now, func(keys []keyring.Key) ([]keyring.Key, error) {
		if slices.ContainsFunc(living(keys, now), func(k keyring.Key) bool { return !k.SignsFrom.IsZero() }) {
			return nil, errNothing
		}
		keys, _, err := newKey(keys, now)
		made = err == nil
		return keys, err
	})
	return made && err == nil, err
}

// newKey appends a key with the next number that is free. The retired one that had it is taken out.
func newKey(keys []keyring.Key, now time.Time) ([]keyring.Key, keyring.Key, error) {
	id, err := nextID(keys, now)
	if err != nil {
		return nil, keyring.Key{}, err
	}
	keys = slices.DeleteFunc(keys, func(k keyring.Key) bool { return k.ID == id })
	made := keyring.Key{ID: id, Secret: newSecret(), Created: second(now), SignsFrom: signsFrom(keys, now)}
	return append(keys, made), made, nil
}

// nextID is the number behind that of the youngest key, or the first one after it that is free.
func nextID(keys []keyring.Key, now time.Time) (keyring.ID, error) {
	id := firstID
	var youngest time.Time
	taken := map[keyring.ID]time.Time{} // number: when it is free again; zero: its key is in use
	for _, k := range keys {
		if !k.Created.Before(youngest) {
			youngest, id = k.Created, (k.ID+1)%keyring.IDs
		}
		taken[k.ID] = time.Time{}
		if !k.Retired.IsZero() {
			taken[k.ID] = k.Retired.Add(Lifetime)
		}
	}
	var soonest time.Time
	for range keyring.IDs {
		free, is := taken[id]
		if !is || !free.IsZero() && !now.Before(free) {
			return id, nil
		}
		if !free.IsZero() && (soonest.IsZero() || free.Before(soonest)) {
			soonest = free
		}
		id = (id + 1) % keyring.IDs
	}
	if soonest.IsZero() {
		return 0, hint("`backstop keys list` shows which ones can be retired", "all %d numbers are taken by keys in use", keyring.IDs)
	}
	return 0, hint("`backstop keys list` shows the keys; numbers of retired ones are kept until nothing that they signed is under way", "no number is free for a new key before %s", when(soonest))
}

// signsFrom is when a new key begins: at the next midnight (UTC), as tags are the same for a whole day, and at once
// where nobody signs yet.
func signsFrom(keys []keyring.Key, now time.Time) time.Time {
	if ring, err := keyring.New(living(keys, now)...); err == nil {
		if _, ok := ring.Signer(now); !ok {
			return second(now)
		}
	}
	return now.UTC().Truncate(24 * time.Hour).Add(24 * time.Hour)
}

// second is a moment as it stands in the file.
func second(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

// octets counts them in words.
func octets(n int) string {
	if n == 1 {
		return "1 octet"
	}
	return fmt.Sprintf("%d octets", n)
}

func when(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// errNothing says that there is nothing to change.
var errNothing = errors.New("nothing to change")

// change reads the file as it is, and writes what edit makes of its keys, while nobody else does. The
// keys hold when it returns.
func (f *File) change(now time.Time, edit func([]keyring.Key) ([]keyring.Key, error)) error {
	if f.memory != nil {
		return hint(`set state = "DIR"`, "%w", ErrMemory)
	}
	unlock, err := lock(f.folder, f.wait)
	if err != nil {
		return err
	}
	defer unlock()
	keys, err := f.read()
	if err != nil {
		return err
	}
	if keys, err = edit(keys); err == nil {
		if _, _, err = contentOf(keys, now); err == nil {
			err = f.write(keys)
		}
	}
	if err != nil && !errors.Is(err, errNothing) {
		return err
	}
	return f.follow()
}

// read reads the file as it is now; where there is none there are no keys.
func (f *File) read() ([]keyring.Key, error) {
	in, err := os.Open(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer in.Close()
	return decode(f.path, in)
}

// write replaces the file. The caller has the lock, so what a crash left of an earlier writing is nobody's.
func (f *File) write(keys []keyring.Key) error {
	path := f.path
	if behind, err := filepath.EvalSymlinks(path); err == nil {
		path = behind
	}
	clean(path)
	return safefile.WriteFor(path, func(w io.Writer) error { return encode(w, keys) }, 0o600)
}

// clean removes what crashes left beside the file: it holds secrets. That it cannot be removed harms no key.
func clean(path string) {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), filepath.Base(path)+".new") {
			_ = os.Remove(filepath.Join(filepath.Dir(path), e.Name()))
		}
	}
}
