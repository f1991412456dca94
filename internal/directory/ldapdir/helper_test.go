package ldapdir

import (
	"context"
	"crypto/tls"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"

	"backstop/internal/directory"
	"backstop/internal/evidence"
	"backstop/internal/mail"
	"backstop/internal/mailtest/rig"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func parseURL(t testing.TB, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func newSource(t testing.TB, cfg Config) *Source {
	t.Helper()
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// asking makes a source that asks slapd as its administrator.
func asking(t testing.TB, d *rig.Slapd, change func(*Config)) *Source {
	t.Helper()
	cfg := Config{
		Name: "corp", URLs: []*url.URL{parseURL(t, d.URL())}, BindDN: d.Admin, Password: d.Password, Base: d.Base,
		TLSConfig: &tls.Config{RootCAs: d.Authority.Pool()},
	}
	if change != nil {
		change(&cfg)
	}
	return newSource(t, cfg)
}

func address(t testing.TB, s string) mail.Address {
	t.Helper()
	a, err := mail.ParseAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// says asks for an address and wants this answer; why is in the detail of one that is unavailable.
func says(t testing.TB, s *Source, addr string, want evidence.Standing, why string) {
	t.Helper()
	a := s.Lookup(t.Context(), address(t, addr))
	if a.Standing != want || !strings.Contains(a.Detail, why) {
		t.Errorf("%s: %v, want %v with %q; %s", addr, a.Standing, want, why, a.Detail)
	}
	if definite := want != evidence.Unavailable; a.Cacheable != definite {
		t.Errorf("%s: cacheable %v", addr, a.Cacheable)
	}
}

// holding is what a synced source keeps, in a map.
type holding struct {
	known  map[string][]string // id: addresses
	named  map[string]bool
	takes  int
	stills int
	took   func() error // nil, or called at each Take
}

func (h *holding) Take(id string, addresses ...string) error {
	h.takes++
	h.named[id] = true
	if len(addresses) == 0 {
		delete(h.known, id)
	} else {
		h.known[id] = slices.Clone(addresses)
	}
	if h.took != nil {
		return h.took()
	}
	return nil
}

func (h *holding) Has(id string) bool { return len(h.known[id]) > 0 }

func (h *holding) Still(id string) error {
	h.stills++
	h.named[id] = true
	return nil
}

// kept is a copy with its cursor, as the synced source works with it.
type kept struct {
	known  map[string][]string
	cursor []byte
	fulls  int // pulls that were full
	last   holding
}

// pull brings the copy up to date.
func (k *kept) pull(ctx context.Context, p directory.Puller) error {
	if k.cursor != nil {
		h := holding{known: maps.Clone(k.known), named: map[string]bool{}}
		done, err := p.Changes(ctx, k.cursor, &h)
		if err != nil {
			return err
		}
		if done.Listed {
			maps.DeleteFunc(h.known, func(id string, _ []string) bool { return !h.named[id] })
		}
		k.known, k.cursor, k.last = h.known, done.Cursor, h
		return nil
	}
	h := holding{known: map[string][]string{}, named: map[string]bool{}}
	done, err := p.Full(ctx, &h)
	if err != nil {
		return err
	}
	k.fulls++
	k.known, k.cursor, k.last = h.known, done.Cursor, h
	return nil
}

// addresses are all that the copy has, in lower case.
func (k *kept) addresses() []string {
	all := map[string]bool{}
	for _, as := range k.known {
		for _, a := range as {
			all[strings.ToLower(a)] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

func (k *kept) mustPull(t testing.TB, p directory.Puller) {
	t.Helper()
	if err := k.pull(t.Context(), p); err != nil {
		t.Fatalf("pull: %v", err)
	}
}
