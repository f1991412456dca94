package keyring

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// at is a moment on a day of 2026.
func at(month, day, hour int) time.Time {
	return time.Date(2026, time.Month(month), day, hour, 0, 0, 0, time.UTC)
}

func ring(t *testing.T, keys ...Key) Ring {
	t.Helper()
	r, err := New(keys...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestNew(t *testing.T) {
	for want, keys := range map[string][]Key{
		"one digit":       {{ID: 10, Secret: Secret("x")}},
		"has no secret":   {{ID: 3}},
		"have the number": {{ID: 3, Secret: Secret("x")}, {ID: 3, Secret: Secret("y")}},
	} {
		if r, err := New(keys...); err == nil || !strings.Contains(err.Error(), want) || r.Len() != 0 {
			t.Errorf("%v: %v, want %q", keys, err, want)
		}
	}
	secret := Secret("octets")
	r := ring(t, Key{ID: 3, Secret: secret, SignsFrom: at(1, 1, 0)})
	secret[0] = 'X'
	if k, _ := r.Signer(at(1, 2, 0)); string(k.Secret) != "octets" {
		t.Error("the ring shares its secret with whoever made it")
	}
}

func TestParseID(t *testing.T) {
	for i := range 256 {
		s := string([]byte{byte(i)})
		id, err := ParseID(s)
		if isDigit := i >= '0' && i <= '9'; isDigit != (err == nil) || isDigit && id.String() != s {
			t.Errorf("%q: %v, %v", s, id, err)
		}
	}
	for _, s := range []string{"", "12", " 1"} {
		if _, err := ParseID(s); err == nil {
			t.Errorf("%q is a number", s)
		}
	}
}

func TestSigner(t *testing.T) {
	old := Key{ID: 1, Secret: Secret("old"), SignsFrom: at(1, 1, 15)}
	next := Key{ID: 2, Secret: Secret("next"), SignsFrom: at(3, 1, 9)}
	imported := Key{ID: 3, Secret: Secret("imported")}
	leaked := old
	leaked.Retired = at(2, 1, 12)
	for _, tc := range []struct {
		name string
		keys []Key
		at   time.Time
		want int // -1: nobody
	}{
		{"no key", nil, at(1, 2, 0), -1},
		{"one that only verifies", []Key{imported}, at(1, 2, 0), -1},
		{"before the first", []Key{old, next}, at(1, 1, 14), -1},
		{"the first signs at once", []Key{old, next}, at(1, 1, 15), 1},
		{"the first, next day", []Key{next, old}, at(1, 2, 0), 1},
		{"the next waits for midnight", []Key{old, next}, at(3, 1, 23), 1},
		{"the next", []Key{old, next, imported}, at(3, 2, 0), 2},
		{"long after", []Key{old, next, imported}, at(9, 2, 0), 2},
		{"leaked", []Key{leaked}, at(2, 1, 12), -1},
		{"leaked, an hour before", []Key{leaked}, at(2, 1, 11), 1},
		{"leaked, another begins at once", []Key{leaked, {ID: 4, Secret: Secret("x"), SignsFrom: at(2, 1, 12)}}, at(2, 1, 12), 4},
	} {
		k, ok := ring(t, tc.keys...).Signer(tc.at)
		if ok != (tc.want >= 0) || ok && int(k.ID) != tc.want {
			t.Errorf("%s: key %v (%v), want %d", tc.name, k.ID, ok, tc.want)
		}
	}
}

func TestVerifierAndSecrets(t *testing.T) {
	r := ring(t,
		Key{ID: 1, Secret: Secret("one"), SignsFrom: at(1, 1, 0), Retired: at(4, 1, 0)},
		Key{ID: 2, Secret: Secret("two"), SignsFrom: at(3, 1, 0)},
		Key{ID: 3, Secret: Secret("three")},
		Key{ID: 4, Secret: Secret("four"), SignsFrom: at(12, 1, 0)})
	for when, want := range map[time.Time]string{at(2, 1, 0): "one four two three", at(3, 1, 0): "two four one three", at(4, 1, 0): "two four three"} {
		var got []string
		for _, s := range r.Secrets(when) {
			got = append(got, string(s))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%v: %v, want %s", when, got, want)
		}
		for id := range ID(12) {
			k, ok := r.Verifier(id, when)
			if ok != (id >= 1 && id <= 4 && strings.Contains(want, []string{"one", "two", "three", "four"}[id-1])) || ok && k.ID != id {
				t.Errorf("%v: key %d is %v (%v)", when, id, k.ID, ok)
			}
		}
	}
	if (Ring{}).Secrets(at(1, 1, 0)) != nil {
		t.Error("an empty ring has secrets")
	}
}

func TestNeeded(t *testing.T) {
	const week = 7 * 24 * time.Hour
	r := ring(t,
		Key{ID: 1, Secret: Secret("x"), SignsFrom: at(1, 1, 0)},
		Key{ID: 2, Secret: Secret("x"), SignsFrom: at(2, 1, 8), Retired: at(2, 1, 9)}, // withdrawn before it began
		Key{ID: 3, Secret: Secret("x"), SignsFrom: at(3, 1, 8)},
		Key{ID: 4, Secret: Secret("x"), Created: at(1, 10, 0)})
	for id, want := range map[ID]time.Time{1: at(3, 9, 0), 3: {}, 4: at(1, 17, 0), 7: {}, 99: {}} {
		if got := r.Needed(id, week); !got.Equal(want) {
			t.Errorf("key %d is needed until %v, want %v", id, got, want)
		}
	}
}

// A key that is retired when it is no longer needed was never missed: whatever was signed verifies for its
// lifetime, through any number of rotations.
func TestOverlap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lifetime := time.Duration(rapid.IntRange(1, 20).Draw(t, "days")) * 24 * time.Hour
		var keys []Key
		begin := at(1, 1, 0)
		for i := range rapid.IntRange(1, IDs).Draw(t, "keys") {
			begin = begin.Add(time.Duration(rapid.IntRange(0, 1000).Draw(t, "hours")) * time.Hour)
			keys = append(keys, Key{ID: ID(i), Secret: Secret{byte(i)}, SignsFrom: begin})
		}
		all, err := New(keys...)
		if err != nil {
			t.Fatal(err)
		}
		for i := range keys {
			keys[i].Retired = all.Needed(keys[i].ID, lifetime)
		}
		kept, err := New(keys...)
		if err != nil {
			t.Fatal(err)
		}
		first := keys[0].SignsFrom
		for range 20 {
			signed := first.Add(time.Duration(rapid.IntRange(0, 10000).Draw(t, "signed")) * time.Hour)
			k, ok := kept.Signer(signed)
			if !ok {
				t.Fatalf("nobody signs at %v", signed)
			}
			later := signed.Add(time.Duration(rapid.Int64Range(0, int64(lifetime)-1).Draw(t, "later")))
			if _, ok := kept.Verifier(k.ID, later); !ok {
				t.Fatalf("key %v signed at %v, and is not there at %v (retired %v)", k.ID, signed, later, k.Retired)
			}
			// the whole day signs alike, but for the day on which the first key came
			end := midnight(signed).Add(24*time.Hour - 1)
			if again, _ := kept.Signer(end); again.ID != k.ID && !midnight(signed).Before(first) {
				t.Fatalf("key %v signs at %v, and key %v at %v", k.ID, signed, again.ID, end)
			}
		}
	})
}

func TestSecretsStaySecret(t *testing.T) {
	k := Key{ID: 1, Secret: Secret("hush-hush")}
	var b strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&b, verb+" "+verb+" "+verb+"\n", k, &k, k.Secret)
	}
	j, err := json.Marshal(map[string]any{"key": k, "secret": k.Secret})
	if err != nil {
		t.Fatal(err)
	}
	b.Write(j)
	for _, h := range []slog.Handler{slog.NewTextHandler(&b, nil), slog.NewJSONHandler(&b, nil)} {
		slog.New(h).Info("x", "key", k, "secret", k.Secret)
	}
	for _, leak := range []string{"hush", fmt.Sprintf("%x", "hush"), "aHVzaC", "104 117"} {
		if strings.Contains(b.String(), leak) {
			t.Errorf("%q is in\n%s", leak, b.String())
		}
	}
}

func TestAllocatesNothing(t *testing.T) {
	r := ring(t, Key{ID: 1, Secret: Secret("x"), SignsFrom: at(1, 1, 0)}, Key{ID: 2, Secret: Secret("x"), SignsFrom: at(2, 1, 0)})
	now := at(3, 1, 0)
	if n := testing.AllocsPerRun(100, func() { _, _ = r.Signer(now); _, _ = r.Verifier(1, now) }); n != 0 {
		t.Errorf("asking a ring allocates %v times", n)
	}
}
