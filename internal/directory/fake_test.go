package directory

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"backstop/internal/evidence"
	"backstop/internal/mail"
)

type fake struct {
	name  string
	mu    sync.Mutex
	says  map[string]Answer
	other Answer
	asked []string
	gate  chan struct{} // not nil: an answer waits for it
	blind atomic.Bool
}

func newFake(name string) *fake {
	return &fake{name: name, says: map[string]Answer{}, other: Answer{Standing: evidence.Missing, Cacheable: true, Detail: "550 no"}}
}

func (f *fake) Name() string { return f.name }

func (f *fake) Lookup(ctx context.Context, addr mail.Address) Answer {
	f.mu.Lock()
	f.asked = append(f.asked, addr.Key())
	a, ok := f.says[addr.Key()]
	if !ok {
		a = f.other
	}
	gate := f.gate
	f.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return Answer{Standing: evidence.Unavailable, Detail: ctx.Err().Error()}
		}
	}
	return a
}

func (f *fake) set(addr string, s evidence.Standing) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.says[addr] = Answer{Standing: s, Cacheable: true, Detail: "said so"}
}

func (f *fake) away() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.says)
	f.other = Answer{Standing: evidence.Unavailable, Cacheable: true, Detail: "connection refused"}
}

func (f *fake) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.asked)
}

type judged struct{ *fake }

func (j judged) Blind(string) (bool, bool) { return j.blind.Load(), true }

type names []string

func (n names) Name() string { return "list:names" }
func (n names) Lookup(_ context.Context, a mail.Address) Answer {
	return Answer{Standing: n.Known(a.Key())}
}
func (n names) Known(key string) evidence.Standing {
	if slices.Contains(n, key) {
		return evidence.Exists
	}
	return evidence.NotAsked
}

func address(t testing.TB, s string) mail.Address {
	t.Helper()
	a, err := mail.ParseAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func want(t *testing.T, d *Directory, c *Chain, addr string, s evidence.Standing) evidence.Directory {
	t.Helper()
	e := d.Lookup(context.Background(), c, Query{Address: address(t, addr)})
	if e.Standing != s {
		t.Fatalf("%s: %v (%s), want %v", addr, e.Standing, e.Detail, s)
	}
	return e
}

type panicky struct{ *fake }

func (panicky) Lookup(context.Context, mail.Address) Answer { panic("broken") }

var errDisk = errors.New("no space left on device")
