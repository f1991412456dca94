package sqldir

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"backstop/internal/directory"
	"backstop/internal/directory/health"
	"backstop/internal/evidence"
	"backstop/internal/mail"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is long enough for a machine that is busy with other things.
const patience = 20 * time.Second

// leap is a clock on which every pause is over at the next look.
func leap() func() time.Time {
	var n atomic.Int64
	return func() time.Time { return time.Unix(1_000_000+n.Add(60), 0) }
}

// setup is a Config with what most tests want.
type setup struct {
	url      string
	query    string
	sync     bool
	password string
	tls      *tls.Config
	timeout  time.Duration
	log      *slog.Logger
}

func (o setup) open(t testing.TB) *Source {
	t.Helper()
	s := o.openFor(t)
	t.Cleanup(s.Close)
	return s
}

// openFor leaves the closing to who asked for it.
func (o setup) openFor(t interface{ Fatal(...any) }) *Source {
	u, err := url.Parse(o.url)
	if err != nil {
		t.Fatal(err)
	}
	if o.timeout == 0 {
		o.timeout = patience
	}
	s, err := New(Config{Name: "db", URL: u, Query: o.query, Sync: o.sync, Password: o.password, TLSConfig: o.tls, Timeout: o.timeout, Logger: o.log, Now: leap()})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func address(t testing.TB, s string) mail.Address {
	t.Helper()
	a, err := mail.ParseAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// mustParse is for addresses that are constants.
func mustParse(s string) mail.Address {
	a, err := mail.ParseAddress(s)
	if err != nil {
		panic(err)
	}
	return a
}

// expect asks for an address; detail must be part of the answer's.
func expect(t testing.TB, s *Source, addr string, want evidence.Standing, detail string) directory.Answer {
	t.Helper()
	a := s.Lookup(context.Background(), address(t, addr))
	if a.Standing != want || !strings.Contains(a.Detail, detail) {
		t.Fatalf("%s is %v (%s), want %v (…%s…)", addr, a.Standing, a.Detail, want, detail)
	}
	if definite := want != evidence.Unavailable; a.Cacheable != definite {
		t.Fatalf("%s: cacheable is %v", addr, a.Cacheable)
	}
	return a
}

// well says that nothing went wrong that counts against the database. (A question takes a minute
// by the clock of leap, so it may be slow.)
func well(t testing.TB, s *Source) {
	t.Helper()
	if st := s.State(); st.Failures != 0 || st.Condition == health.Down {
		t.Errorf("state: %+v", st)
	}
}

// taker is a directory.Copy.
type taker struct {
	got  []string
	each func(n int) error // after the nth
}

func (c *taker) Take(id string, addresses ...string) error {
	c.got = append(c.got, addresses...)
	if c.each != nil {
		return c.each(len(c.got))
	}
	return nil
}
func (c *taker) Has(string) bool    { return false }
func (c *taker) Still(string) error { return nil }
