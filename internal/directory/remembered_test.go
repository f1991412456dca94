package directory

import (
	"slices"
	"testing"
	"time"

	"backstop/internal/evidence"
)

func TestRemembered(t *testing.T) {
	f, other := newFake("store"), newFake("other")
	for _, s := range []string{"ann@example.com", "bob@example.com"} {
		f.set(s, evidence.Exists)
	}
	f.set("carl@example.com", evidence.Missing)
	other.set("dora@example.com", evidence.Exists)
	d := New(Config{})
	defer d.Close()
	for _, s := range []string{"ann@example.com", "bob@example.com", "carl@example.com"} {
		d.Lookup(t.Context(), NewChain("example.com", Member{Source: f}), Query{Address: address(t, s)})
	}
	d.Lookup(t.Context(), NewChain("example.com", Member{Source: other}), Query{Address: address(t, "dora@example.com")})
	var keys []string
	d.Remembered("store", "", func(key string, at time.Time) bool {
		if at.IsZero() {
			t.Errorf("%s was said at no time", key)
		}
		keys = append(keys, key)
		return true
	})
	if slices.Sort(keys); !slices.Equal(keys, []string{"ann@example.com", "bob@example.com"}) {
		t.Errorf("remembered of store: %q", keys)
	}
	n := 0
	d.Remembered("store", "", func(string, time.Time) bool { n++; return false })
	if n != 1 {
		t.Errorf("called %d times after it was enough", n)
	}
}
