package daemon

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// FuzzLookup: whatever is asked there is a question that can be decided, or an error on one line with advice.
func FuzzLookup(f *testing.F) {
	for _, query := range []string{
		"address=alice@example.com", "address64=YWxpY2VAZXhhbXBsZS5jb20=&client=::ffff:192.0.2.1", "address=a@b.example&client=192.0.2.1&from=<a@b.example>",
		"address=example.com", "address=&from=", "address=a@b@c", "address=j%C3%BCrgen@example.com&helo=x", "address=a@b.example&no-ask=false&at=2026-05-06T12:00:00Z", "x=y", "address64=?",
	} {
		f.Add(query)
	}
	f.Fuzz(func(t *testing.T, query string) {
		form, _ := url.ParseQuery(query)
		q, err := parseLookup(form)
		if err == nil {
			if q.address.Domain() == "" || q.from != nil && !q.client.IsValid() || q.client.Is4In6() || q.client.Zone() != "" {
				t.Errorf("%+v", q)
			}
			return
		}
		var advised interface{ Hint() string }
		if !errors.As(err, &advised) || advised.Hint() == "" || strings.ContainsAny(err.Error(), "\r\n") {
			t.Errorf("%q: no advice, or more than one line", err)
		}
	})
}

// TestWantsPlain: by name, and with a weight that is not none.
func TestWantsPlain(t *testing.T) {
	for accept, want := range map[string]bool{
		"": false, "*/*": false, "text/plain": true, "Text/Plain; charset=utf-8": true, "text/plain;q=0": false, "text/plain; q=0.0": false,
		"application/json, text/plain;q=0.5": true, "text/plainer": false, "text/html, */*;q=0.1": false, "text/plain;q=x": false,
	} {
		if got := wantsPlain(http.Header{"Accept": {accept}}); got != want {
			t.Errorf("%q: %v", accept, got)
		}
	}
}
